//! What `quickstart` shows: RFC 8705's Figure 1, and what a thief can do with the token.

use bytes::Bytes;
use http::{Request, StatusCode};
use keybound_protocol::peer_certificate::{PeerCertificate, PresentedCertificate};
use serde_json::{Value, json};

use super::files::Layout;
use crate::acting::ClientProfile;
use crate::certificate::read_chain;
use crate::exit_code::CommandError;
use crate::session::{Session, Wanted, send_with_token};
use crate::terminal::{DIM, styled};
use crate::token::{self, Binding};

/// The checks and what came of them.
pub(crate) struct Checks {
    /// In the order they were made.
    pub outcomes: Vec<Outcome>,
    /// The alias under which tokens are asked for with a certificate.
    pub mtls_token_endpoint: String,
    /// What the demo client called.
    pub protected_resource: String,
    /// The gateway's refusal of the stolen token: it is remembered while the gateway runs.
    pub gateway_refusal: Option<String>,
    /// The server's refusal of the stranger: it is in the database.
    pub server_refusal: Option<String>,
}

impl Checks {
    /// The names of those that did not come out as they must.
    pub(crate) fn failed(&self) -> Vec<&'static str> {
        let failed = self.outcomes.iter().filter(|outcome| !outcome.passed());
        failed.map(|outcome| outcome.name).collect()
    }

    /// For programs: first the three that RFC 8705 §3 is about, then what is needed for them and what goes beyond.
    pub(crate) fn to_json(&self) -> Value {
        let is_first = |outcome: &&Outcome| FIRST.contains(&outcome.name);
        let (first, others): (Vec<&Outcome>, Vec<&Outcome>) = self.outcomes.iter().partition(is_first);
        first.into_iter().chain(others).map(Outcome::to_json).collect()
    }
}

const FIRST: [&str; 3] = [
    "bound_token_accepted",
    "replay_with_other_certificate",
    "replay_without_certificate",
];

/// One request and its answer.
pub(crate) struct Outcome {
    name: &'static str,
    /// For people.
    pub title: &'static str,
    request: String,
    expected: StatusCode,
    /// What was answered.
    pub status: StatusCode,
    /// What is wrong with the answer though its status is the one expected.
    fault: Option<String>,
    note: &'static str,
}

impl Outcome {
    /// Whether the answer is the one that must come.
    pub(crate) fn passed(&self) -> bool {
        self.status == self.expected && self.fault.is_none()
    }

    /// What is worth saying beside the status.
    pub(crate) fn remark(&self) -> String {
        match (&self.fault, self.passed(), self.note) {
            (Some(fault), ..) => format!("   {fault}"),
            (None, false, _) => format!("   expected {}", self.expected.as_u16()),
            (None, true, "") => String::new(),
            (None, true, note) => format!("   {}", styled(DIM, note)),
        }
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "name": self.name, "request": self.request, "status": self.status.as_u16(), "expected": self.expected.as_u16(),
            "passed": self.passed(), "fault": self.fault,
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
            fault: None,
            note,
        });
    };

    let token = demo.access_token(&PLAIN).await?.expose_text().to_owned();
    note(
        "token_issued",
        "Token obtained, bound to the certificate",
        format!("POST {token_endpoint}"),
        StatusCode::OK,
        // There is no token without this status.
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
    let gateway_refusal = response
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
    let (status, server_refusal) = stranger.token_request_status(&PLAIN).await?;
    note(
        "stranger_gets_no_token",
        "Token for a certificate nobody registered",
        format!("POST {token_endpoint}"),
        StatusCode::BAD_REQUEST,
        status,
        "invalid_client",
    );
    let certificate = read_chain(&layout.client("demo").join("cert.pem"))?;
    if let Some(issued) = outcomes.first_mut() {
        issued.fault = not_bound(&token, certificate);
    }
    Ok(Checks {
        outcomes,
        mtls_token_endpoint: token_endpoint,
        protected_resource: url,
        gateway_refusal,
        server_refusal,
    })
}

/// Why `token` is not bound to `certificate`, if it is not: what its `cnf` says, read as a resource would read it (RFC 8705 §3.1).
fn not_bound(token: &str, certificate: PeerCertificate) -> Option<String> {
    let claims = match token::unverified_claims(token) {
        Ok(claims) => claims,
        Err(error) => return Some(format!("{:#}", error.cause)),
    };
    match Binding::of(&claims, Some(&PresentedCertificate::from_peer(certificate))) {
        Binding::Match { .. } => None,
        Binding::Mismatch { expected, presented } => {
            Some(format!("bound to x5t#S256 {expected}, the certificate is {presented}"))
        }
        Binding::Key { expected } => Some(format!("bound to key {expected}, not to a certificate")),
        Binding::Unbound | Binding::NotUnderstood { .. } | Binding::NotCompared { .. } => {
            Some("the token has no cnf: whoever has it can use it".to_owned())
        }
    }
}

fn request(url: &str) -> Result<Request<Bytes>, CommandError> {
    Ok(Request::get(url).body(Bytes::new()).map_err(anyhow::Error::from)?)
}
