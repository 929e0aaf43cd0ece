//! What this server's own protected resources have in common: they take certificate-bound tokens of this very server, and only
//! while the client still has the scope that they were issued for.

use std::sync::Arc;

use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use keybound_protocol::access_token::AccessTokenClaims;
use keybound_protocol::challenge::BearerChallenge;
use keybound_protocol::client::ClientId;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::rule::{Outcome, RuleOutcome};
use keybound_protocol::time::Timestamp;
use keybound_resource_server::{
    Dpop, IssuerSettings, KeySource, Refused, ResourceServer, RoutePolicy, SettingsError, Validation,
};
use keybound_store::{StoreError, TokenMarks};
use keybound_tls::Connection;

use crate::configuration::Configuration;
use crate::refusals::{Circumstances, Explained};
use crate::resources::InsideResource;
use crate::response::KEYBOUND_REFUSAL;
use crate::router::Route;
use crate::server::Server;

/// What a caller's token has to be.
pub(crate) struct TokenCheck {
    issuer: Issuer,
    resource_server: ResourceServer,
    policy: RoutePolicy,
    resource: InsideResource,
    route: Route,
}

/// A request of whose sender nothing is known yet.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) server: &'a Arc<Server>,
    pub(crate) connection: &'a Arc<Connection>,
    pub(crate) presented: &'a PresentedCertificate,
    pub(crate) parts: &'a Parts,
    pub(crate) now: Timestamp,
}

/// Somebody who may use the resource: proof that [`Caller::authorize`] said yes.
#[derive(Clone, Debug)]
pub(crate) struct Authorized {
    pub(crate) client_id: ClientId,
    pub(crate) thumbprint: CertificateThumbprint,
    token_id: String,
    issued_at: Timestamp,
}

/// A caller who may not. What is refused is recorded already.
#[derive(Debug)]
pub(crate) enum Unauthorized {
    /// The token does not count.
    Refused {
        status: StatusCode,
        code: Option<ErrorCode>,
        /// The challenge, when to come again, and the id of the refusal.
        headers: HeaderMap,
    },
    /// Whether it counts is not known.
    Store(StoreError),
}

/// Why a token that is good in itself does not count here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum NoLongerGood {
    #[error("the token is not one of a client's")]
    Incomplete,
    #[error("the token, its client or its certificate was revoked")]
    Revoked,
    #[error("its client is gone, or has the scope for this no more")]
    Client,
}

const NO_LONGER_GOOD: &str = "token and client still count";

impl TokenCheck {
    /// The check of `resource`, which `route` leads to.
    pub(crate) fn new(
        configuration: &Configuration,
        keys: JwkSet,
        resource: &InsideResource,
        route: Route,
    ) -> Result<TokenCheck, SettingsError> {
        let issuer = configuration.issuer.clone();
        let settings = IssuerSettings::new(issuer.clone(), Validation::Local(KeySource::Static(keys)));
        Ok(TokenCheck {
            issuer,
            resource_server: ResourceServer::new(vec![settings])?,
            // Certificates alone: what is inside here is not for clients that cannot do mutual TLS.
            policy: RoutePolicy::new(resource.uri.clone())
                .with_scopes(resource.scope.clone())
                .with_dpop(Dpop::Refused),
            resource: resource.clone(),
            route,
        })
    }

    /// From now on takes tokens that these keys signed.
    pub(crate) fn replace_keys(&self, keys: JwkSet) {
        self.resource_server.replace_keys(&self.issuer, keys);
    }
}

impl Caller<'_> {
    /// Decides whether this caller may use the resource.
    pub(crate) async fn authorize(&self, check: &TokenCheck) -> Result<Authorized, Unauthorized> {
        let checked = check
            .resource_server
            .check(self.parts, self.presented, &check.policy, self.now);
        let accepted = checked.finish().await.map_err(|refused| self.refuse(check, &refused))?;
        let authorized = accepted
            .as_bound()
            // Bound to a certificate: nothing else opens what is inside.
            .and_then(|bound| Authorized::of(bound.claims(), bound.certificate()?))
            .ok_or_else(|| self.refuse_no_longer_good(check, NoLongerGood::Incomplete))?;
        self.require_still_good(check, &authorized, self.now)?;
        Ok(authorized)
    }

    /// Decides it again at `now`, for a caller that has been kept waiting: whether anything was revoked meanwhile.
    ///
    /// What is revoked is never cached here: asked at each request, so that a revocation counts from the next one on.
    pub(crate) fn require_still_good(
        &self,
        check: &TokenCheck,
        authorized: &Authorized,
        now: Timestamp,
    ) -> Result<(), Unauthorized> {
        let marks = TokenMarks {
            token_id: &authorized.token_id,
            client_id: &authorized.client_id,
            thumbprint: Some(&authorized.thumbprint),
            key_id: None,
            issued_at: authorized.issued_at,
        };
        let found = self.server.store.revocations.find_revocation(marks, now);
        if found.map_err(Unauthorized::Store)?.is_some() {
            return Err(self.refuse_no_longer_good(check, NoLongerGood::Revoked));
        }
        let client = self
            .server
            .clients
            .find(&authorized.client_id)
            .map_err(Unauthorized::Store)?;
        let has_scope = client.is_some_and(|client| {
            let client = &client.client;
            client.origin().is_operator() && client.metadata().scope().contains(check.resource.word)
        });
        if has_scope {
            Ok(())
        } else {
            Err(self.refuse_no_longer_good(check, NoLongerGood::Client))
        }
    }

    fn refuse(&self, check: &TokenCheck, refused: &Refused) -> Unauthorized {
        let claimed = refused.claims().and_then(|claims| claims.client_id.as_deref());
        let explained = Explained {
            status: refused.status(),
            error_code: refused.code(),
            reason: refused.reason(),
            rules: refused.rules(),
            fix: Some(refused.fix()),
        };
        let headers = [
            (WWW_AUTHENTICATE, refused.challenge()),
            (RETRY_AFTER, refused.retry_after()),
        ];
        self.record(check, explained, claimed, headers)
    }

    fn refuse_no_longer_good(&self, check: &TokenCheck, reason: NoLongerGood) -> Unauthorized {
        let code = ErrorCode::InvalidToken;
        let challenge = BearerChallenge::bare(check.resource.uri.as_str())
            .with_error(code)
            .to_string();
        let explained = Explained {
            status: code.resource_status(),
            error_code: Some(code),
            reason: &reason,
            rules: vec![RuleOutcome::new(NO_LONGER_GOOD, Outcome::Failed).detail(reason.to_string())],
            fix: Some(format!(
                "get a new token, with a client that has scope {}",
                check.resource.word
            )),
        };
        self.record(
            check,
            explained,
            None,
            [(WWW_AUTHENTICATE, HeaderValue::try_from(challenge).ok())],
        )
    }

    fn record(
        &self,
        check: &TokenCheck,
        explained: Explained<'_>,
        claimed_client_id: Option<&str>,
        more_headers: impl IntoIterator<Item = (HeaderName, Option<HeaderValue>)>,
    ) -> Unauthorized {
        let (status, code) = (explained.status, explained.error_code);
        let circumstances = Circumstances {
            issuer: &check.issuer,
            route: Some(check.route),
            path: self.parts.uri.path(),
            claimed_client_id,
            client: None,
            remote_address: self.connection.remote_addr().ip(),
            presented: self.presented,
            authorization: self.parts.headers.get(AUTHORIZATION),
            now: self.now,
        };
        let id = self.server.refusals.record(explained, &circumstances);
        let id = (KEYBOUND_REFUSAL, HeaderValue::try_from(id.to_string()).ok());
        let headers = more_headers
            .into_iter()
            .chain([id])
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        Unauthorized::Refused { status, code, headers }
    }
}

impl Authorized {
    fn of(claims: &AccessTokenClaims, thumbprint: &CertificateThumbprint) -> Option<Authorized> {
        Some(Authorized {
            client_id: ClientId::parse(claims.client_id.as_deref()?).ok()?,
            thumbprint: *thumbprint,
            token_id: claims.token_id.clone()?,
            issued_at: claims.issued_at?,
        })
    }
}
