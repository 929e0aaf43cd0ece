//! Issuers whose access tokens may be traded for ours (RFC 8693), and whether one of their tokens is good.
//!
//! Tokens of others are checked as a protected resource would check them: signature, type, audience, dates, and, if they are bound,
//! the certificate of this request. Our own are looked up, so that one that was revoked is worth nothing here either.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, Request};
use keybound_client::Discovery;
use keybound_protocol::access_token::AccessTokenClaims;
use keybound_protocol::access_token::verification::UnverifiedAccessToken;
use keybound_protocol::base64url;
use keybound_protocol::client::ClientId;
use keybound_protocol::confirmation::{BindingError, Possession};
use keybound_protocol::dpop_proof::VerifiedDpopProof;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::json::JsonObject;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::time::Timestamp;
use keybound_protocol::token_exchange::{
    TokenExchangeError, TradedToken, act_of, actors_of as foreign_actors_of, subject_of,
};
use keybound_resource_server::{
    AccessTokenRefusal, Binding, IssuerSettings, KeySource, Refused, ResourceServer, RoutePolicy, SettingsError,
    Validation,
};
use keybound_store::StoreError;

use crate::server::Server;
use crate::settings::{Settings, TokenExchangeSettings, TrustedKeys};

/// The trusted issuers, with what is known of their keys.
pub(crate) struct TrustedIssuers {
    entries: Vec<Entry>,
    /// `None` if no other issuer is trusted.
    resource_server: Option<ResourceServer>,
}

/// One of them.
pub(crate) struct Entry {
    pub(crate) settings: TokenExchangeSettings,
    policy: RoutePolicy,
}

/// Who presents a token, and when.
#[derive(Clone, Copy)]
pub(crate) struct Presenter<'a> {
    pub(crate) client_id: &'a ClientId,
    pub(crate) presented: &'a PresentedCertificate,
    /// The DPoP proof of the request, by which a token of ours that is bound to its key is presented.
    pub(crate) proof: Option<&'a VerifiedDpopProof>,
    pub(crate) own_issuer: &'a Issuer,
    pub(crate) now: Timestamp,
}

/// Why a token is not traded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTraded {
    #[error(
        "issuer {} is not one whose tokens are traded",
        keybound_protocol::words::one_or_none(presented)
    )]
    UntrustedIssuer { presented: Option<String> },
    #[error("client {} may not trade tokens of {issuer}", client_id.as_str())]
    ClientNotPermitted { client_id: ClientId, issuer: Issuer },
    #[error(transparent)]
    Token(AccessTokenRefusal),
    #[error("it is no token of this server that counts now")]
    NotLive,
    #[error(
        "it is for {}, and tokens for that are not traded",
        keybound_protocol::words::all_or_none(presented)
    )]
    Audience { presented: Vec<String> },
    #[error("it is not presented by its holder")]
    Binding(#[source] BindingError),
    #[error("it speaks for nobody")]
    NoSubject,
    #[error("its `act` or `may_act` is not a JSON object")]
    Actor,
    #[error("its subject, or an actor, would be {subject:?}, which is a client or a user of this server")]
    SubjectTaken { subject: String },
    #[error(transparent)]
    Exchange(#[from] TokenExchangeError),
    #[error("the store did not answer")]
    Store(#[from] StoreError),
}

impl NotTraded {
    /// RFC 8693 §2.2.2: a token that is not good is an invalid request.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            NotTraded::Token(refusal) if refusal.code() == Some(ErrorCode::TemporarilyUnavailable) => {
                ErrorCode::TemporarilyUnavailable
            }
            NotTraded::Store(_) => ErrorCode::TemporarilyUnavailable,
            NotTraded::Exchange(error) => error.code(),
            NotTraded::ClientNotPermitted { .. } => ErrorCode::UnauthorizedClient,
            NotTraded::UntrustedIssuer { .. }
            | NotTraded::Token(_)
            | NotTraded::NotLive
            | NotTraded::Audience { .. }
            | NotTraded::Binding(_)
            | NotTraded::NoSubject
            | NotTraded::Actor
            | NotTraded::SubjectTaken { .. } => ErrorCode::InvalidRequest,
        }
    }
}

impl TrustedIssuers {
    /// Those of the settings, with the keys that `before` has of them.
    pub(crate) fn new(settings: &Settings, before: Option<&TrustedIssuers>) -> Result<TrustedIssuers, SettingsError> {
        let entries: Vec<Entry> = settings
            .token_exchange
            .iter()
            .filter_map(|entry| Entry::new(entry.clone(), &settings.issuer))
            .collect();
        let others: Vec<IssuerSettings> = entries
            .iter()
            .filter(|entry| entry.settings.issuer != settings.issuer)
            .map(|entry| entry.issuer_settings(&Discovery::new(settings.fetch.clone())))
            .collect();
        let resource_server = match (
            others.is_empty(),
            before.and_then(|before| before.resource_server.as_ref()),
        ) {
            (true, _) => None,
            (false, None) => Some(ResourceServer::new(others)?),
            (false, Some(before)) => Some(before.reconfigured(others)?),
        };
        Ok(TrustedIssuers {
            entries,
            resource_server,
        })
    }

    /// Decides whether a token is good, whether its holder presents it, and whether this client may trade it.
    ///
    /// Nobody is asked for keys on behalf of a client that may not trade the issuer's tokens.
    pub(crate) async fn examine(
        &self,
        server: &Server,
        token: &str,
        presenter: Presenter<'_>,
    ) -> Result<(TradedToken, &Entry), NotTraded> {
        let named = UnverifiedAccessToken::parse(token).ok();
        let named = named.as_ref().and_then(UnverifiedAccessToken::unverified_issuer);
        // What is no JWT can only be one of ours.
        let presented = named.unwrap_or(presenter.own_issuer.as_str());
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.settings.issuer.as_str() == presented);
        let entry = entry.ok_or_else(|| NotTraded::UntrustedIssuer {
            presented: named.map(str::to_owned),
        })?;
        if !entry.settings.clients.contains(presenter.client_id) {
            return Err(NotTraded::ClientNotPermitted {
                client_id: presenter.client_id.clone(),
                issuer: entry.settings.issuer.clone(),
            });
        }
        let traded = match &self.resource_server {
            _ if entry.settings.issuer == *presenter.own_issuer => entry.examine_own(server, token, presenter)?,
            Some(resource_server) => entry.examine_other(server, resource_server, token, presenter).await?,
            // Every other issuer is one of the resource server's.
            None => return Err(NotTraded::UntrustedIssuer { presented: None }),
        };
        Ok((traded, entry))
    }
}

impl Entry {
    fn new(settings: TokenExchangeSettings, own_issuer: &Issuer) -> Option<Entry> {
        let audience = match settings.audience.first() {
            Some(first) => first.clone(),
            // An issuer identifier has neither query nor fragment, so it is a resource indicator, too.
            None => ResourceUri::parse(own_issuer.as_str()).ok()?,
        };
        let policy = RoutePolicy::new(audience)
            .with_binding(Binding::Optional)
            .with_issuers(vec![settings.issuer.clone()]);
        Some(Entry { settings, policy })
    }

    fn issuer_settings(&self, discovery: &Discovery) -> IssuerSettings {
        let keys = match &self.settings.keys {
            TrustedKeys::Discovered => KeySource::Discovered(discovery.clone()),
            TrustedKeys::At(url) => KeySource::JwksUri {
                url: url.clone(),
                discovery: discovery.clone(),
            },
            TrustedKeys::Given(keys) => KeySource::Static(keys.clone()),
        };
        let mut settings = IssuerSettings::new(self.settings.issuer.clone(), Validation::Local(keys));
        settings.algorithms.clone_from(&self.settings.algorithms);
        settings.token_types.clone_from(&self.settings.token_types);
        settings.audiences = self.settings.audience.iter().map(ToString::to_string).collect();
        settings
    }

    /// One of our own: on file or signed by us, not revoked, its client still there.
    fn examine_own(&self, server: &Server, token: &str, presenter: Presenter<'_>) -> Result<TradedToken, NotTraded> {
        let live = server.tokens.find(token, presenter.own_issuer, presenter.now)?;
        let live = live.ok_or(NotTraded::NotLive)?;
        server.clients.find(&live.client_id)?.ok_or(NotTraded::NotLive)?;
        let is_traded = |audience: &String| match ResourceUri::parse(audience) {
            Ok(audience) => {
                let resources = &server.configuration.load().resources;
                let wanted = &self.settings.audience;
                resources.inside(&audience).is_none() && (wanted.is_empty() || wanted.contains(&audience))
            }
            Err(_) => false,
        };
        if !live.audience.iter().any(is_traded) {
            return Err(NotTraded::Audience {
                presented: live.audience,
            });
        }
        if let Some(confirmation) = &live.confirmation {
            // The proof is for the new token in the first place: to a token that is bound to a certificate it says nothing.
            let possession = Possession {
                certificate: presenter.presented,
                proof: presenter.proof.filter(|_| confirmation.key().is_some()),
            };
            confirmation.verify(possession).map_err(NotTraded::Binding)?;
        }
        let [actor, may_act] = actors_of(token)?;
        Ok(TradedToken {
            issuer: presenter.own_issuer.to_string(),
            issuer_subject: live.subject.clone(),
            subject: live.subject,
            scope: live.scope,
            audience: live.audience,
            expires_at: live.expires_at,
            actor,
            may_act,
            is_foreign: false,
        })
    }

    async fn examine_other(
        &self,
        server: &Server,
        resource_server: &ResourceServer,
        token: &str,
        presenter: Presenter<'_>,
    ) -> Result<TradedToken, NotTraded> {
        let headers = carrying(token).ok_or(NotTraded::NotLive)?;
        let checked = resource_server.check(&headers, presenter.presented, &self.policy, presenter.now);
        let refused = |refused: Box<Refused>| match refused.into_reason() {
            AccessTokenRefusal::Binding(error) => NotTraded::Binding(error),
            reason => NotTraded::Token(reason),
        };
        let accepted = checked.finish().await.map_err(refused)?;
        let claims: &Arc<AccessTokenClaims> = accepted.claims();
        let issuer_subject = claims.subject.clone().ok_or(NotTraded::NoSubject)?;
        let subject = subject_of(&self.settings.subject_prefix, &issuer_subject)?;
        require_free(server, &subject)?;
        let [actor, may_act] = actors_of(token)?;
        // Those who acted before are called as that issuer calls them, too.
        let actors = actor.map(|act| foreign_actors_of(&self.settings.subject_prefix, &act));
        let actors = actors.transpose()?.unwrap_or_default();
        for actor in &actors {
            require_free(server, actor)?;
        }
        Ok(TradedToken {
            issuer: claims.issuer.clone(),
            issuer_subject,
            subject,
            scope: claims.scope.clone(),
            audience: claims.audience.clone(),
            expires_at: claims.expires_at,
            actor: act_of(&actors),
            may_act,
            is_foreign: true,
        })
    }
}

/// However the prefix was chosen: nobody elsewhere becomes somebody here.
fn require_free(server: &Server, subject: &str) -> Result<(), NotTraded> {
    let named = ClientId::parse(subject).ok();
    let client = named.map(|named| server.clients.find(&named)).transpose()?;
    if client.flatten().is_some() || subject.starts_with(USER_PREFIX) {
        let subject = subject.to_owned();
        return Err(NotTraded::SubjectTaken { subject });
    }
    Ok(())
}

/// What the identifiers of our own users begin with.
const USER_PREFIX: &str = "u.";

/// The token, as a protected resource would get it.
fn carrying(token: &str) -> Option<Parts> {
    let mut authorization = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    authorization.set_sensitive(true);
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.headers.insert(AUTHORIZATION, authorization);
    Some(parts)
}

/// `act` and `may_act` of a JWT that was verified; none of anything else.
fn actors_of(token: &str) -> Result<[Option<JsonObject>; 2], NotTraded> {
    let payload = token
        .split('.')
        .nth(1)
        .and_then(|payload| base64url::decode(payload).ok());
    let claims = payload.and_then(|payload| JsonObject::parse(&payload).ok());
    let member = |name: &'static str| match &claims {
        Some(claims) => claims
            .object(name)
            .map(Option::<&JsonObject>::cloned)
            .map_err(|_| NotTraded::Actor),
        None => Ok(None),
    };
    Ok([member("act")?, member("may_act")?])
}
