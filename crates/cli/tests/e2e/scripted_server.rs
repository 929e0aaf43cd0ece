//! An authorization server that says what a test wants it to say, and a client's directory for it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use http::{Request, Response, StatusCode};
use keybound_tls::{
    ClientCertificatePolicy, Connection, HostPolicies, HostPolicy, Identity, Listener, ListenerSettings, RequestBody,
    ResponseBody, Runtimes, Service, Transport,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::installation::{Said, run_in};

/// One request to an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) authority: Option<String>,
    pub(crate) form: HashMap<String, String>,
    /// `x5t#S256` of the certificate on its connection.
    pub(crate) thumbprint: Option<String>,
}

type Answer = dyn Fn(&Asked) -> (u16, Value) + Send + Sync;

/// The server, and `client/` with a client of it.
pub(crate) struct ScriptedServer {
    directory: TempDir,
    pub(crate) issuer: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _runtimes: Runtimes,
}

impl ScriptedServer {
    /// `metadata` are members beside the usual ones (null takes one away); `answer` answers the endpoints.
    pub(crate) fn start(metadata: Value, answer: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pair = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            let certificate = params.signed_by(&key, &ca).unwrap();
            (certificate.pem(), key.serialize_pem())
        };
        let (certificate, key) = pair("localhost");
        let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        let policies = HostPolicies::one(HostPolicy::new("scripted", ClientCertificatePolicy::Optional, identity));
        let settings = ListenerSettings::new("scripted", ([127, 0, 0, 1], 0).into(), Transport::Tls(policies));
        let runtimes = Runtimes::start(1).unwrap();
        let listener = Listener::bind(settings, &runtimes).unwrap();
        let issuer = format!("https://localhost:{}", listener.local_addr().port());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        listener.serve(Scripted {
            document: document(&issuer, &metadata),
            answer: Box::new(answer),
            asked: Arc::clone(&asked),
        });

        let directory = tempfile::tempdir().unwrap();
        let client = directory.path().join("client");
        std::fs::create_dir(&client).unwrap();
        let (certificate, key) = pair("demo");
        let toml = format!(
            "issuer = \"{issuer}\"\nclient_id = \"demo\"\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\nca = \"ca.pem\"\n"
        );
        for (file, text) in [
            ("cert.pem", certificate),
            ("key.pem", key),
            ("ca.pem", ca.pem()),
            ("client.toml", toml),
        ] {
            std::fs::write(client.join(file), text).unwrap();
        }
        Self {
            directory,
            issuer,
            asked,
            _runtimes: runtimes,
        }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Every request to an endpoint so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The paths of those.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.path).collect()
    }

    /// Runs the binary beside `client/`.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        run_in(self.directory.path(), arguments)
    }
}

fn document(issuer: &str, more: &Value) -> Value {
    let mut document = json!({
        "issuer": issuer, "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    });
    for (member, path) in [
        ("authorization_endpoint", "authorize"),
        ("token_endpoint", "token"),
        ("pushed_authorization_request_endpoint", "par"),
        ("device_authorization_endpoint", "device_authorization"),
        ("backchannel_authentication_endpoint", "bc-authorize"),
        ("revocation_endpoint", "revoke"),
        ("jwks_uri", "jwks"),
    ] {
        document[member] = format!("{issuer}/{path}").into();
    }
    for (member, value) in more.as_object().unwrap() {
        document[member] = value.clone();
    }
    document.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    document
}

struct Scripted {
    document: Value,
    answer: Box<Answer>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Service for Scripted {
    async fn call(&self, connection: &Arc<Connection>, request: Request<RequestBody>) -> Response<ResponseBody> {
        let presented = connection.presented_for(request.extensions()).clone();
        let (parts, body) = request.into_parts();
        let (status, body) = if parts.uri.path().starts_with("/.well-known/") {
            (200, self.document.clone())
        } else {
            let body = body.collect().await.unwrap_or_default();
            let asked = Asked {
                path: parts.uri.path().to_owned(),
                authority: parts
                    .headers
                    .get("host")
                    .and_then(|host| host.to_str().ok())
                    .map(str::to_owned),
                form: url::form_urlencoded::parse(&body).into_owned().collect(),
                thumbprint: presented.end_entity().map(|it| it.thumbprint().to_string()),
            };
            self.asked.lock().unwrap().push(asked.clone());
            (self.answer)(&asked)
        };
        let mut response = Response::new(ResponseBody::from(body.to_string()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
            .headers_mut()
            .insert("content-type", "application/json".parse().unwrap());
        response
    }
}
