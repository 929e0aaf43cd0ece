//! The admin API seen from the command line: a protected resource that takes bound tokens of scope `keybound:admin`.

use bytes::Bytes;
use http::{Method, Request, Response, header};
use serde_json::Value;
use url::Url;

use crate::acting::ClientProfile;
use crate::advice;
use crate::arguments::ActingAdmin;
use crate::exit_code::{CommandError, ExitCode};
use crate::session::{Session, Wanted};

/// The scope that opens the admin API.
pub(crate) const SCOPE: &str = "keybound:admin";

const BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// An administrator's connection to one server.
pub(crate) struct AdminApi {
    session: Session,
    base: Url,
    wanted: Wanted,
}

/// What the API answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The body, null if it is none.
    pub body: Value,
    /// The entity tag of a representation.
    pub entity_tag: Option<String>,
}

impl AdminApi {
    /// Connects as the administrator of the arguments; asks for no token yet.
    ///
    /// # Errors
    /// If there is no such administrator, or the server's metadata cannot be had.
    pub(crate) async fn connect(arguments: &ActingAdmin) -> Result<Self, CommandError> {
        let profile = ClientProfile::from_admin_arguments(arguments)?;
        let (issuer, admin_api) = (profile.issuer.clone(), profile.admin_api.clone());
        let session = Session::start(profile, arguments.trace).await?;
        let base = match admin_api {
            Some(url) => url,
            None => session.mutual_tls_url("/admin/v1")?,
        };
        let resource = format!("{}/admin", issuer.trim_end_matches('/'));
        Ok(Self {
            session,
            base,
            wanted: Wanted {
                scope: vec![SCOPE.to_owned()],
                resource: vec![resource],
            },
        })
    }

    /// Sends one request with an optional JSON body; `path` is relative to `/admin/v1/`.
    ///
    /// # Errors
    /// A problem document of the API as its sentence, with the exit code of its status.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        if_match: Option<&str>,
    ) -> Result<Answer, CommandError> {
        let mut request = self.request(method, path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(tag) = if_match {
            request = request.header(header::IF_MATCH, tag);
        }
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        self.exchange(request, body).await
    }

    /// Sends the same request until there is no next page; returns what the pages say of clients.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub(crate) async fn clients(&self, method: Method, path: &str, body: Bytes) -> Result<Vec<Value>, CommandError> {
        self.pages(method, path, body, "clients").await
    }

    /// Everything that a listing has under its own name, such as `users`, page by page.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub(crate) async fn list(&self, noun: &str) -> Result<Vec<Value>, CommandError> {
        self.pages(Method::GET, noun, Bytes::new(), noun).await
    }

    async fn pages(&self, method: Method, path: &str, body: Bytes, member: &str) -> Result<Vec<Value>, CommandError> {
        let mut all = Vec::new();
        let mut page_path = path.to_owned();
        loop {
            let request = self.request(method.clone(), &page_path);
            let mut page = self.exchange(request, body.clone()).await?.body;
            if let Some(Value::Array(some)) = page.get_mut(member).map(Value::take) {
                all.extend(some);
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) => page_path = format!("{path}?after={}", segment(next)),
                None => return Ok(all),
            }
        }
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let url = format!("{}/{path}", self.base.as_str().trim_end_matches('/'));
        Request::builder().method(method).uri(url)
    }

    async fn exchange(&self, request: http::request::Builder, body: Bytes) -> Result<Answer, CommandError> {
        let request = request.body(body).map_err(anyhow::Error::from)?;
        answer(self.session.call(&self.wanted, request).await?).await
    }
}

async fn answer(response: Response<keybound_tls::IncomingBody>) -> Result<Answer, CommandError> {
    let (parts, body) = response.into_parts();
    let bytes = body
        .collect_at_most(BODY_BYTES_MAX)
        .await
        .map_err(|error| CommandError::new(ExitCode::Network, error))?;
    let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    if parts.status.is_success() {
        let entity_tag = parts
            .headers
            .get(header::ETAG)
            .and_then(|tag| tag.to_str().ok())
            .map(str::to_owned);
        return Ok(Answer { body, entity_tag });
    }
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let sentence = text("detail")
        .or_else(|| text("title"))
        .or_else(|| text("error_description"));
    let code = match parts.status.as_u16() {
        401 | 403 => ExitCode::Refused,
        404 => ExitCode::NotFound,
        409 | 412 | 428 => ExitCode::Conflict,
        429 | 503 => ExitCode::Unavailable,
        400 | 415 | 422 => ExitCode::Refused,
        _ => ExitCode::Unexpected,
    };
    let error = CommandError::message(
        code,
        sentence.map_or_else(|| format!("the server answered {}", parts.status), str::to_owned),
    );
    let id = parts.headers.get("keybound-refusal").and_then(|id| id.to_str().ok());
    Err(match (parts.status.as_u16(), id) {
        // `explain` would have to pass the very door that is shut.
        (401 | 403, id) => error.with_fix(format!(
            "this administrator's client needs the scope {SCOPE} and bound tokens; the server's log, or another administrator, \
             says more{}",
            id.map(|id| format!(" of {id}")).unwrap_or_default()
        )),
        (_, Some(id)) => error.with_fix(advice::explain(id, None)),
        (_, None) => error,
    })
}

/// Percent-encodes one path segment.
pub(crate) fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => segment.push(byte.into()),
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}
