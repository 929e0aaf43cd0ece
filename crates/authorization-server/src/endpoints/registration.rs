//! `POST /register` (RFC 7591): a client registers itself. `/register/{client_id}` (RFC 7592): it reads, changes and ends that.
//!
//! Not form endpoints: JSON comes in, and the caller shows a bearer token, the initial access token for the first and the client's
//! own registration access token for the others. Nothing that a client names is fetched here.

mod refusal;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SecureRandom as _;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use keybound_protocol::base64url;
use keybound_protocol::bearer::BearerToken;
use keybound_protocol::client::{ClientId, ClientOrigin};
use keybound_protocol::client_metadata::ClientMetadata;
use keybound_protocol::json::{JsonObject, JsonValue};
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::profile::Profile;
use keybound_protocol::refusal::Refusal;
use keybound_protocol::secret::SecretHash;
use keybound_protocol::software_statement::SoftwareStatement;
use keybound_protocol::time::Timestamp;
use keybound_store::{
    Actor, AuditEntry, ClientReplacement, DeleteClient, NewClient, NewRegistration, RegisterClient,
    RegistrationReplacement, ReplaceClient, StoredRegistration,
};
use keybound_tls::{Connection, ResponseBody};
use serde_json::{Value, json};

use crate::client_deletion::delete_client;
use crate::client_secrets;
use crate::error::Reason;
use crate::rate_limit;
use crate::registration::{REGISTRATION_PATH, Registration};
use crate::response::{self, Response};
use crate::router::Side;
use crate::server::Server;
use crate::settings::{InitialAccessToken, trust_anchor_names};

pub(crate) use refusal::RegistrationRefusal;

/// Random octets of a client id that we choose.
const CLIENT_ID_RANDOM_BYTES: usize = 16;
/// What the server alone sets (RFC 7592 §2.2).
const SERVER_MEMBERS: [&str; 4] = [
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
];

/// A request about a registration, its body read.
#[derive(Clone, Copy)]
pub(crate) struct RegistrationRequest<'a> {
    pub(crate) server: &'a Server,
    pub(crate) registration: &'a Registration,
    pub(crate) side: Side,
    pub(crate) connection: &'a Connection,
    pub(crate) presented: &'a PresentedCertificate,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
    pub(crate) now: Timestamp,
}

/// What a client asks to be, judged by the policy of its initial access token.
struct Judged {
    metadata: ClientMetadata,
    statement: Option<SoftwareStatement>,
}

/// A client that showed the token of its registration.
struct Own<'a> {
    client_id: ClientId,
    stored: StoredRegistration,
    token: BearerToken<'a>,
}

/// What an answer says beside the metadata.
struct Shown<'a> {
    client_id: &'a ClientId,
    issued_at: Timestamp,
    token: &'a str,
    software_statement: Option<&'a str>,
}

/// The client that a path below the registration endpoint names.
pub(crate) fn client_id_of(issuer_path: &str, path: &str) -> Option<String> {
    let below = path.strip_prefix(issuer_path)?.strip_prefix(REGISTRATION_PATH)?;
    Some(below.strip_prefix('/')?.to_owned())
}

impl<'a> RegistrationRequest<'a> {
    /// `POST /register` (RFC 7591 §3.1): 201 with everything that is registered now.
    pub(crate) async fn register(&self) -> Result<Response, Reason> {
        let token = self.initial_access_token()?;
        let object = self.object()?;
        // Neither is metadata; the first is ours to choose, and so is the second.
        let object = object.without(&["client_id", "client_secret"]);
        let Judged { metadata, statement } = self.judge(object, token)?;
        let random = &self.server.tokens.random;
        let failed = |_: Unspecified| RegistrationRefusal::Random;
        let client_id = self.random_id()?;
        let registration_token = client_secrets::generate(random).map_err(failed)?;
        let secret = client_secrets::of_new_client(&metadata, random).map_err(failed)?;
        let new = NewRegistration {
            client: NewClient {
                client_id: client_id.clone(),
                metadata: metadata.to_json().to_string(),
                origin: ClientOrigin::Registration,
                secret: secret.as_ref().map(|secret| secret.hash()),
            },
            token: registration_token.hash(),
            policy: token.name.clone(),
            software_statement: statement.as_ref().map(|statement| statement.as_str().to_owned()),
            address: rate_limit::network(self.connection.remote_addr().ip()),
            quotas: self.registration.quotas(token),
        };
        let entry = self.entry(Actor::Registrant(token.name.clone()), self.now);
        match self.server.store.registrations.register_client(new, entry).await? {
            RegisterClient::TooMany(quota) => return Err(RegistrationRefusal::Quota(quota).into()),
            // 128 random bits that are taken: the generator is broken.
            RegisterClient::AlreadyExists => return Err(RegistrationRefusal::Random.into()),
            RegisterClient::Registered { .. } => self.server.clients.forget(),
        }
        let shown = Shown {
            client_id: &client_id,
            issued_at: self.now,
            token: registration_token.as_str(),
            software_statement: statement.as_ref().map(SoftwareStatement::as_str),
        };
        let shown = self.shown(&metadata, &shown, Some(token));
        let shown = client_secrets::shown_once(shown, secret.as_ref());
        Ok(response::json(StatusCode::CREATED, shown.to_string()))
    }

    /// `/register/{client_id}` (RFC 7592 §2), by method.
    pub(crate) async fn manage(&self, method: &Method, client_id: &str) -> Result<Response, Reason> {
        let own = self.own(client_id)?;
        if *method == Method::PUT {
            self.replace(own).await
        } else if *method == Method::DELETE {
            self.delete(own).await
        } else {
            self.read(&own)
        }
    }

    /// RFC 7592 §2.1. The registration access token is the one that was presented: reading makes no other.
    fn read(&self, own: &Own<'_>) -> Result<Response, Reason> {
        let metadata = ClientMetadata::parse_stored(own.stored.client.metadata.as_bytes());
        let metadata = metadata.map_err(RegistrationRefusal::from)?;
        let token = self.registration.named(&own.stored.policy);
        let shown = Shown {
            client_id: &own.client_id,
            issued_at: own.stored.client.created_at,
            token: own.token.as_str(),
            software_statement: own.stored.software_statement.as_deref(),
        };
        let shown = self.shown(&metadata, &shown, token);
        Ok(response::json(StatusCode::OK, shown.to_string()))
    }

    /// RFC 7592 §2.2: replaces the whole set. What is left out is gone, a software statement included.
    async fn replace(&self, own: Own<'_>) -> Result<Response, Reason> {
        let policy = &own.stored.policy;
        let token = self.registration.named(policy);
        let token = token.ok_or_else(|| RegistrationRefusal::PolicyGone { name: policy.clone() })?;
        let object = self.object()?;
        require_own_members(&object, &own)?;
        let object = object.without(&["client_id", "client_secret"]);
        let Judged { metadata, statement } = self.judge(object, token)?;
        let random = &self.server.tokens.random;
        let (change, secret) = client_secrets::of_changed_client(&metadata, own.stored.client.secret.as_ref(), random)
            .map_err(|_| RegistrationRefusal::Random)?;
        let replacement = RegistrationReplacement {
            client: ClientReplacement {
                client_id: own.client_id.clone(),
                metadata: metadata.to_json().to_string(),
                secret: change,
                if_version: Some(own.stored.client.version),
            },
            software_statement: statement.as_ref().map(|statement| statement.as_str().to_owned()),
        };
        let entry = self.entry(Actor::Client(own.client_id.clone()), self.now);
        let registrations = &self.server.store.registrations;
        match registrations.replace_registered_client(replacement, entry).await? {
            ReplaceClient::Unknown => return Err(unknown(&own.client_id).into()),
            ReplaceClient::VersionConflict { .. } => return Err(RegistrationRefusal::Changed.into()),
            ReplaceClient::Replaced { .. } => self.server.clients.forget(),
        }
        let shown = Shown {
            client_id: &own.client_id,
            issued_at: own.stored.client.created_at,
            token: own.token.as_str(),
            software_statement: statement.as_ref().map(SoftwareStatement::as_str),
        };
        let shown = self.shown(&metadata, &shown, Some(token));
        let shown = client_secrets::shown_once(shown, secret.as_ref());
        Ok(response::json(StatusCode::OK, shown.to_string()))
    }

    /// RFC 7592 §2.3: 204. Its tokens are denied from now on, and the token that did this with them.
    async fn delete(&self, own: Own<'_>) -> Result<Response, Reason> {
        let entry = |now| self.entry(Actor::Client(own.client_id.clone()), now);
        match delete_client(self.server, &own.client_id, None, entry).await? {
            DeleteClient::Unknown => Err(unknown(&own.client_id).into()),
            DeleteClient::VersionConflict { .. } => Err(RegistrationRefusal::Changed.into()),
            DeleteClient::Deleted => {
                let mut response = response::json(StatusCode::NO_CONTENT, "");
                response.headers_mut().remove(CONTENT_TYPE);
                *response.body_mut() = ResponseBody::Empty;
                Ok(response)
            }
        }
    }

    fn bearer(&self) -> Result<BearerToken<'a>, RegistrationRefusal> {
        let values = self.headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
        BearerToken::from_authorization(values).map_err(RegistrationRefusal::Bearer)
    }

    fn initial_access_token(&self) -> Result<&'a InitialAccessToken, RegistrationRefusal> {
        let presented = self.bearer()?;
        let token = self.registration.initial_access_token(presented.as_str());
        token.ok_or(RegistrationRefusal::InitialAccessToken)
    }

    /// The client, if this request shows the token of its registration. To everybody else it does not exist.
    fn own(&self, client_id: &str) -> Result<Own<'a>, Reason> {
        let token = self.bearer()?;
        let unknown = || RegistrationRefusal::UnknownClient {
            client_id: Refusal::presented_text(client_id),
        };
        let client_id = ClientId::parse(client_id).map_err(|_| unknown())?;
        let stored = self.server.store.registrations.find_registration(&client_id)?;
        // One of a file is that one, whatever the store has under its name.
        let stored = stored.filter(|_| !self.server.clients.is_configured(&client_id));
        let nobody = SecretHash::from_bytes([0; 32]);
        let is_right = stored
            .as_ref()
            .map_or(nobody, |stored| stored.token)
            .matches(token.as_str());
        match stored {
            None => Err(unknown().into()),
            Some(_) if !is_right => Err(RegistrationRefusal::RegistrationAccessToken.into()),
            Some(stored) => Ok(Own {
                client_id,
                stored,
                token,
            }),
        }
    }

    fn object(&self) -> Result<JsonObject, RegistrationRefusal> {
        require_json(self.headers)?;
        Ok(JsonObject::parse(self.body)?.without_nulls())
    }

    fn judge(&self, object: JsonObject, token: &InitialAccessToken) -> Result<Judged, RegistrationRefusal> {
        let statement = match object.string("software_statement")? {
            Some(text) => {
                let audience: Vec<&str> = self.registration.audience.iter().map(String::as_str).collect();
                let issuers = &self.registration.software_statement_issuers;
                Some(SoftwareStatement::verify(text, issuers, &audience, self.now)?)
            }
            None if token.policy.software_statement_required => {
                return Err(RegistrationRefusal::SoftwareStatementMissing {
                    name: token.name.clone(),
                });
            }
            None => None,
        };
        let object = object.without(&["software_statement"]);
        let mut object = match &statement {
            Some(statement) => statement.over(object),
            None => object,
        };
        // What the policy demands holds at every request of the client, so it is registered.
        if token.policy.profile > Profile::Default && !object.contains("keybound_profile") {
            let profile = JsonValue::String(token.policy.profile.name().to_owned());
            object = object.with("keybound_profile", profile);
        }
        let anchors = self.server.trust.anchors();
        let policy = self
            .registration
            .policy(token, anchors.iter().flat_map(trust_anchor_names));
        if object.contains("redirect_uris")
            && !object.contains("scope")
            && let Some(scope) = self.registration.scope_if_omitted(&policy)
        {
            object = object.with("scope", JsonValue::String(scope));
        }
        let metadata = ClientMetadata::from_object(object, &policy)?;
        Ok(Judged { metadata, statement })
    }

    /// RFC 7591 §3.2.1, RFC 7592 §3: everything that is registered. Members of our own are there only where the client has something
    /// else than its policy gives, and so has to send it again: others know registered members alone.
    fn shown(&self, metadata: &ClientMetadata, shown: &Shown<'_>, token: Option<&InitialAccessToken>) -> Value {
        let mut object = metadata.to_json();
        if let (Some(token), Some(members)) = (token, object.as_object_mut()) {
            let policy = &token.policy;
            let anchors = policy.trust_anchors.as_ref().map(|names| json!(names));
            members.retain(|member, value| match member.as_str() {
                "keybound_trust_anchors" => Some(&*value) != anchors.as_ref(),
                "keybound_profile" => *value != json!(policy.profile.name()),
                _ => true,
            });
        }
        object["client_id"] = json!(shown.client_id);
        object["client_id_issued_at"] = json!(shown.issued_at);
        object["registration_access_token"] = json!(shown.token);
        object["registration_client_uri"] = json!(self.registration.client_uri(self.side, shown.client_id));
        if let Some(statement) = shown.software_statement {
            object["software_statement"] = json!(statement);
        }
        object
    }

    fn entry(&self, actor: Actor, now: Timestamp) -> AuditEntry {
        let end_entity = self.presented.end_entity();
        AuditEntry {
            remote_address: Some(self.connection.remote_addr().ip().to_string()),
            thumbprint: end_entity.map(|certificate| *certificate.thumbprint()),
            ..AuditEntry::new(now, actor)
        }
    }

    fn random_id(&self) -> Result<ClientId, RegistrationRefusal> {
        let mut random = [0; CLIENT_ID_RANDOM_BYTES];
        let filled = self.server.tokens.random.fill(&mut random);
        filled.map_err(|_| RegistrationRefusal::Random)?;
        ClientId::parse(&base64url::encode(&random)).map_err(|_| RegistrationRefusal::Random)
    }
}

fn unknown(client_id: &ClientId) -> RegistrationRefusal {
    RegistrationRefusal::UnknownClient {
        client_id: client_id.as_str().to_owned(),
    }
}

/// RFC 7592 §2.2: the client names itself, sets nothing that is the server's, and sends no secret but its own.
fn require_own_members(object: &JsonObject, own: &Own<'_>) -> Result<(), RegistrationRefusal> {
    let presented = object.string("client_id")?;
    if presented != Some(own.client_id.as_str()) {
        return Err(RegistrationRefusal::ClientIdDiffers {
            presented: presented.map(Refusal::presented_text),
        });
    }
    if let Some(member) = SERVER_MEMBERS.into_iter().find(|member| object.contains(member)) {
        return Err(RegistrationRefusal::ServerMember(member));
    }
    let secret = own.stored.client.secret.as_ref();
    match object.string("client_secret")? {
        Some(presented) if !secret.is_some_and(|secret| secret.matches(presented)) => {
            Err(RegistrationRefusal::SecretChosen)
        }
        _ => Ok(()),
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), RegistrationRefusal> {
    let presented = headers.get(CONTENT_TYPE);
    let presented = presented.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let media_type = presented
        .as_deref()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    match media_type.trim().eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => Err(RegistrationRefusal::MediaType { presented }),
    }
}
