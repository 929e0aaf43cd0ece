//! Asks one issuer about tokens (RFC 7662), as seldom as correctness allows.
//!
//! Answers are kept by the hash of the token and never past its `exp`. What is kept is what the issuer said; whether a request
//! may use the token is decided for each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keybound_client::{Client, ClientError, ResponseError};
use keybound_protocol::access_token::{AccessTokenClaims, AccessTokenError};
use keybound_protocol::introspection::{ActiveToken, IntrospectionResponse};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::time::Timestamp;
use quick_cache::sync::Cache;
use tokio::sync::{OnceCell, Semaphore};

use crate::cached_token::{CachedToken, TokenHash};
use crate::limits::Limits;
use crate::moment::Moment;
use crate::refusal::AccessTokenRefusal;

/// Asks one issuer.
#[derive(Debug)]
pub(crate) struct Introspector {
    /// The position of the issuer in the resource server's list.
    position: usize,
    issuer: Issuer,
    client: Arc<Client>,
    inactive: Cache<TokenHash, InactiveToken>,
    /// When it could not be asked, the last time that it could not.
    unavailable: Mutex<Option<Moment>>,
    permits: Semaphore,
    under_way: Mutex<HashMap<TokenHash, Arc<OnceCell<Answer>>>>,
    limits: Limits,
}

#[derive(Clone, Debug)]
struct InactiveToken {
    asked: Moment,
    answer: Unusable,
}

/// What came of a question. Cheap to clone: everybody who waits for it gets one.
type Answer = Result<Arc<CachedToken>, Unusable>;

/// Why a token cannot be used.
#[derive(Clone, Debug)]
pub(crate) enum Unusable {
    Inactive,
    /// The issuer vouches for it as the token of another one.
    OtherIssuer {
        presented: String,
    },
    /// The issuer says something about it that we cannot go by, such as a binding that we cannot verify.
    Response(Arc<ClientError>),
    /// It could not be asked.
    Unavailable(Option<Arc<ClientError>>),
}

impl Introspector {
    pub(crate) fn new(position: usize, issuer: Issuer, client: Arc<Client>, limits: Limits) -> Introspector {
        Introspector {
            position,
            issuer,
            client,
            inactive: Cache::new(limits.inactive_tokens_max),
            unavailable: Mutex::default(),
            permits: Semaphore::new(limits.introspections_max),
            under_way: Mutex::default(),
            limits,
        }
    }

    /// Asks about `token`, unless it is known to be inactive or somebody is asking already.
    pub(crate) async fn introspect(&self, hash: TokenHash, token: &str, now: Timestamp) -> Answer {
        let moment = Moment::at(now);
        let is_recent = |then: Moment, limit| moment.since(then) < limit;
        let inactive = self.inactive.get(&hash);
        if let Some(inactive) = inactive.filter(|it| is_recent(it.asked, self.limits.introspection_inactive_max)) {
            return Err(inactive.answer);
        }
        if self
            .last_unavailable()
            .is_some_and(|then| is_recent(then, self.limits.introspection_pause))
        {
            return Err(Unusable::Unavailable(None));
        }
        let question = Question::join(self, hash);
        // If whoever asks is given up, the next one who waits asks in his place.
        question.answer.get_or_init(|| self.ask(hash, token, now)).await.clone()
    }

    /// Whether what was answered to a question of that moment is believed without asking again.
    pub(crate) fn still_believes(&self, asked: Moment, now: Timestamp) -> bool {
        Moment::at(now).since(asked) < self.limits.introspection_active_max
    }

    /// Forgets which tokens are inactive.
    pub(crate) fn forget(&self) {
        self.inactive.clear();
    }

    /// What is said to the caller.
    pub(crate) fn refusal(&self, unusable: Unusable) -> AccessTokenRefusal {
        match unusable {
            Unusable::Inactive => AccessTokenRefusal::Inactive,
            Unusable::OtherIssuer { presented } => AccessTokenError::Issuer {
                presented,
                expected: self.issuer.to_string(),
            }
            .into(),
            Unusable::Response(error) => AccessTokenRefusal::Introspection {
                issuer: self.issuer.to_string(),
                source: error,
            },
            Unusable::Unavailable(source) => AccessTokenRefusal::IssuerUnavailable {
                issuer: self.issuer.to_string(),
                retry_after: self.limits.introspection_pause,
                source,
            },
        }
    }

    async fn ask(&self, hash: TokenHash, token: &str, now: Timestamp) -> Answer {
        // Not waited for: whoever makes tokens up must not make the others queue behind him.
        let Ok(_permit) = self.permits.try_acquire() else {
            return Err(Unusable::Unavailable(None));
        };
        let asked = Moment::at(now);
        let answer = match self.client.introspect(token, now).await {
            Ok(IntrospectionResponse::Active(active)) => match active.issuer.as_deref() {
                Some(presented) if presented != self.issuer.as_str() => Unusable::OtherIssuer {
                    presented: presented.to_owned(),
                },
                _ => return Ok(Arc::new(self.token_of(*active, asked))),
            },
            Ok(IntrospectionResponse::Inactive) => Unusable::Inactive,
            Err(error) if is_about_the_token(&error) => Unusable::Response(Arc::new(error)),
            Err(error) => {
                tracing::warn!(issuer = %self.issuer, error = &error as &dyn std::error::Error, "introspection failed");
                // From now on: the question itself may have taken longer than the pause.
                let taken = Moment::at(now).since(asked);
                *self.last_unavailable() = Some(Moment::at(now.plus(taken)));
                return Err(Unusable::Unavailable(Some(Arc::new(error))));
            }
        };
        self.inactive.insert(
            hash,
            InactiveToken {
                asked,
                answer: answer.clone(),
            },
        );
        Err(answer)
    }

    fn token_of(&self, active: ActiveToken, asked: Moment) -> CachedToken {
        // An issuer need not say when a token expires; it is asked again soon.
        let expires_at = active.expires_at.unwrap_or(Timestamp::NO_EXPIRATION);
        let claims = AccessTokenClaims {
            issuer: self.issuer.as_str().to_owned(),
            subject: active.subject,
            audience: active.audience,
            client_id: active.client_id,
            scope: active.scope.unwrap_or_default(),
            issued_at: active.issued_at,
            not_before: active.not_before,
            expires_at,
            token_id: active.token_id,
            confirmation: active.confirmation,
        };
        CachedToken::introspected(Arc::new(claims), self.position, asked)
    }

    fn last_unavailable(&self) -> MutexGuard<'_, Option<Moment>> {
        self.unavailable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<TokenHash, Arc<OnceCell<Answer>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A share in one question. The last share takes it off the list, also if its request was given up: else whoever makes up tokens and
/// hangs up would fill the list.
struct Question<'a> {
    introspector: &'a Introspector,
    hash: TokenHash,
    answer: Arc<OnceCell<Answer>>,
}

impl<'a> Question<'a> {
    fn join(introspector: &'a Introspector, hash: TokenHash) -> Question<'a> {
        let answer = Arc::clone(introspector.under_way().entry(hash).or_default());
        Question {
            introspector,
            hash,
            answer,
        }
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let mut under_way = self.introspector.under_way();
        // Shares are made and given back under this lock alone: with only the list's own left, this was the last.
        drop(std::mem::take(&mut self.answer));
        if under_way
            .get(&self.hash)
            .is_some_and(|answer| Arc::strong_count(answer) == 1)
        {
            under_way.remove(&self.hash);
        }
    }
}

/// Whether the issuer did answer, and it is this token that its answer cannot be used for.
fn is_about_the_token(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Response {
            source: ResponseError::Introspection(_),
            ..
        }
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use std::time::Duration;

    use keybound_client::{
        AuthorizationServer, ClientAuthentication, ClientSettings, HttpClientSettings, Identity, Roots,
    };
    use keybound_protocol::endpoint::Endpoint;
    use keybound_protocol::server_metadata::ServerMetadata;

    use super::*;

    #[tokio::test]
    async fn questions_that_are_given_up_leave_nothing_behind() {
        // Takes connections and never says a word.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Issuer::parse("https://as.example").unwrap();
        let url = format!("https://{}/introspect", silent.local_addr().unwrap())
            .parse()
            .unwrap();
        let ca = rcgen::generate_simple_self_signed(vec!["ca".to_owned()]).unwrap();
        let client = Client::new(ClientSettings {
            server: AuthorizationServer::given(ServerMetadata::new(issuer.clone()).with_endpoint(
                Endpoint::Introspection,
                url,
                None,
            )),
            client_id: "resource".parse().unwrap(),
            authentication: ClientAuthentication::None,
            identity: Identity::new(HttpClientSettings::new(
                Roots::from_pem(ca.cert.pem().as_bytes()).unwrap(),
            )),
        });
        let introspector = Introspector::new(0, issuer, Arc::new(client), Limits::DEFAULT);
        let now = Timestamp::from_unix_secs(1_800_000_000);
        let questions: Vec<_> = (0..20u8)
            .map(|n| introspector.introspect([n / 2; 32], "token", now))
            .collect();
        let moment = Duration::from_millis(20);
        for question in questions {
            assert!(tokio::time::timeout(moment, question).await.is_err());
        }
        assert!(introspector.under_way().is_empty());
        assert_eq!(
            introspector.permits.available_permits(),
            Limits::DEFAULT.introspections_max
        );
    }
}
