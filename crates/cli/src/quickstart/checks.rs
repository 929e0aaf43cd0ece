//! What `quickstart` shows: RFC 8705's Figure 1, and what a thief can do with the token.

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::files::Layout;
use crate::acting::ClientProfile;
use crate::exit_code::CommandError;
use crate::session::{Session, Wanted, send_with_token};
use crate::terminal::{DIM, styled};

/// The checks and what came of them.
pub(crate) struct Checks {
    /// In the order they were made.
    pub outcomes: Vec<Outcome>,
    /// The alias under which tokens are asked for with a certificate.
    pub mtls_token_endpoint: String,
    /// What the demo client called.
    pub protected_resource: String,
    /// A refusal that `explain` can explain.
    pub refusal_id: Option<String>,
}

/// One request and its answer.
pub(crate) struct Outcome {
    name: &'static str,
    /// For people.
    pub title: &'static str,
    request: String,
    expected: StatusCode,
    /// What was answered.
    pub status: StatusCode,
    note: &'static str,
}

impl Outcome {
    /// Whether the answer is the one that must come.
    pub(crate) fn passed(&self) -> bool {
        self.status == self.expected
    }

    /// What is worth saying beside the status.
    pub(crate) fn remark(&self) -> String {
        match (self.passed(), self.note) {
            (false, _) => format!("   expected {}", self.expected.as_u16()),
            (true, "") => String::new(),
            (true, note) => format!("   {}", styled(DIM, note)),
        }
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "name": self.name, "request": self.request, "status": self.status.as_u16(), "expected": self.expected.as_u16(),
        })
    }
}

const PLAIN: Wanted = Wanted {
    scope: Vec::new(),
    resource: Vec::new(),
};

/// Runs every check against the daemons that are running.
///
/// # Errors
/// If a daemon cannot be reached at all, or gives a client no token.
pub(crate) async fn run(layout: &Layout, gateway: &str) -> Result<Checks, CommandError> {
    let session = |name: &str| {
        let profile = ClientProfile::load(&layout.client(name).join("client.toml"));
        async { Session::start(profile?, false).await }
    };
    let demo = session("demo").await?;
    let self_signed = session("demo-self-signed").await?;
    let stranger = session("stranger").await?;
    let token_endpoint = demo.token_endpoint()?.to_string();
    let url = format!("{}/hello", gateway.trim_end_matches('/'));
    let mut outcomes = Vec::new();
    let mut note = |name, title, request: String, expected, status, note| {
        outcomes.push(Outcome {
            name,
            title,
            request,
            expected,
            status,
            note,
        });
    };

    let token = demo.access_token(&PLAIN).await?.expose_text().to_owned();
    note(
        "token_issued",
        "Token obtained, bound to the certificate",
        format!("POST {token_endpoint}"),
        StatusCode::OK,
        StatusCode::OK,
        "tls_client_auth",
    );
    let get = |with: &str| format!("GET {url} {with}");
    let status = demo.call(&PLAIN, request(&url)?).await?.status();
    note(
        "bound_token_accepted",
        "API call with the certificate",
        get("with demo's certificate"),
        StatusCode::OK,
        status,
        "",
    );
    let response = stranger.send_with_token(&token, request(&url)?).await?;
    let refusal_id = response
        .headers()
        .get("keybound-refusal")
        .and_then(|id| id.to_str().ok())
        .map(str::to_owned);
    note(
        "replay_with_other_certificate",
        "Same token with another certificate",
        get("with stranger's certificate"),
        StatusCode::UNAUTHORIZED,
        response.status(),
        "stolen, and useless",
    );
    let status = send_with_token(&stranger.without_certificate(), &token, request(&url)?)
        .await?
        .status();
    note(
        "replay_without_certificate",
        "Same token without a certificate",
        get("without a certificate"),
        StatusCode::UNAUTHORIZED,
        status,
        "← this is what RFC 8705 buys you",
    );
    let status = self_signed.call(&PLAIN, request(&url)?).await?.status();
    note(
        "self_signed_token_accepted",
        "API call by the self-signed client",
        get("with demo-self-signed's certificate"),
        StatusCode::OK,
        status,
        "self_signed_tls_client_auth",
    );
    let status = stranger.token_request_status(&PLAIN).await?;
    note(
        "stranger_gets_no_token",
        "Token for a certificate nobody registered",
        format!("POST {token_endpoint}"),
        StatusCode::BAD_REQUEST,
        status,
        "invalid_client",
    );
    Ok(Checks {
        outcomes,
        mtls_token_endpoint: token_endpoint,
        protected_resource: url,
        refusal_id,
    })
}

fn request(url: &str) -> Result<Request<Bytes>, CommandError> {
    Ok(Request::get(url).body(Bytes::new()).map_err(anyhow::Error::from)?)
}
