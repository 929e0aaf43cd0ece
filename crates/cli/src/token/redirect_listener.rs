//! The loopback address that a browser brings the answer of the authorization endpoint to (RFC 8252 §7.3).
//!
//! It takes one answer, on 127.0.0.1 alone, and says nothing of it to the browser: the answer is judged elsewhere. Deliberately not
//! here: any reading of the query.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, REFERRER_POLICY};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use keybound_tls::{
    Connection, Listener, ListenerHandle, ListenerSettings, RequestBody, ResponseBody, Runtimes, Service, Transport,
};
use tokio::sync::oneshot;
use url::Url;

use crate::exit_code::{CommandError, ExitCode};

/// How long the browser has to take its page before the command goes on.
const LAST_PAGE: Duration = Duration::from_secs(2);

const PAGE: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Keybound</title></head>\n\
    <body><main><h1>You can close this window</h1>\n<p>The answer was handed to the program that asked. It goes on in the terminal.</p>\
    </main></body></html>\n";

/// A listener on the loopback interface that waits for one redirection.
pub(super) struct RedirectListener {
    redirect_uri: Url,
    handle: ListenerHandle,
    answer: oneshot::Receiver<String>,
}

impl RedirectListener {
    /// Listens on `port`, or on any free one for 0, for redirections to `path`.
    ///
    /// # Errors
    /// Usage, if `path` is none; conflict, if the port is taken.
    pub(super) fn open(port: u16, path: &str) -> Result<Self, CommandError> {
        let settings = ListenerSettings::new("redirect", ([127, 0, 0, 1], port).into(), Transport::Plain);
        let listener = Listener::bind(settings, &Runtimes::current()).map_err(|error| {
            CommandError::new(ExitCode::Conflict, error)
                .with_fix("--redirect-port names a port that is free and registered")
        })?;
        let authority = listener.local_addr().to_string();
        let no_path = || {
            CommandError::message(
                ExitCode::Usage,
                format!("--redirect-path {path}: a path like /callback is wanted"),
            )
        };
        let redirect_uri = Url::parse(&format!("http://{authority}{path}")).map_err(|_| no_path())?;
        if !path.starts_with('/') || redirect_uri.path() != path {
            return Err(no_path());
        }
        let (sender, answer) = oneshot::channel();
        let handle = listener.serve(Redirections {
            authority,
            path: path.to_owned(),
            sender: Mutex::new(Some(sender)),
        });
        Ok(Self {
            redirect_uri,
            handle,
            answer,
        })
    }

    /// What is sent as `redirect_uri`.
    pub(super) fn redirect_uri(&self) -> &Url {
        &self.redirect_uri
    }

    /// The query of the one redirection. The browser has its page by then, and nobody listens any more.
    ///
    /// # Errors
    /// Timed out, if nobody came within `limit`.
    pub(super) async fn answer(self, limit: Duration) -> Result<String, CommandError> {
        let answer = tokio::time::timeout(limit, self.answer).await;
        self.handle.drain_within(LAST_PAGE).await;
        match answer {
            Ok(Ok(query)) => Ok(query),
            _ => Err(CommandError::message(
                ExitCode::TimedOut,
                format!("no browser came back within {} s", limit.as_secs()),
            )
            .with_fix("--wait SECONDS waits longer")),
        }
    }
}

struct Redirections {
    authority: String,
    path: String,
    sender: Mutex<Option<oneshot::Sender<String>>>,
}

impl Service for Redirections {
    async fn call(&self, _: &Arc<Connection>, request: Request<RequestBody>) -> Response<ResponseBody> {
        // Another name that leads here is a page that wants to read what is not its own (DNS rebinding).
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        if host != Some(self.authority.as_str()) {
            return page(StatusCode::MISDIRECTED_REQUEST, "");
        }
        if request.uri().path() != self.path {
            return page(StatusCode::NOT_FOUND, "");
        }
        if request.method() != Method::GET {
            let mut response = page(StatusCode::METHOD_NOT_ALLOWED, "");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return response;
        }
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Whoever comes second changes nothing, and is told nothing of that.
        if let Some(sender) = sender {
            let _ = sender.send(request.uri().query().unwrap_or_default().to_owned());
        }
        page(StatusCode::OK, PAGE)
    }
}

fn page(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(text));
    *response.status_mut() = status;
    let fields: [(HeaderName, &'static str); 4] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        // The code is in this page's address.
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
