//! Asks one issuer about tokens (RFC 7662), as seldom as correctness allows.
//!
//! Answers are kept by the hash of the token and never past its `exp`. What is kept is what the issuer said; whether a request
//! may use the token is decided for each. What it refuses to be asked about a token is kept for that token: anybody can make one
//! up, and must not make it unusable for others by that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use keybound_client::{Client, ClientError, RequestError, ResponseError};
use keybound_protocol::access_token::{AccessTokenClaims, AccessTokenError};
use keybound_protocol::introspection::{ActiveToken, IntrospectionResponse};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::time::Timestamp;
use quick_cache::sync::Cache;
use tokio::sync::OnceCell;

use crate::cached_token::{CachedToken, TokenHash};
use crate::caller::Asker;
use crate::limits::Limits;
use crate::moment::Moment;
use crate::refusal::AccessTokenRefusal;

mod availability;
mod permits;

use availability::Availability;
use permits::Permits;

/// Asks one issuer.
#[derive(Debug)]
pub(crate) struct Introspector {
    /// The position of the issuer in the resource server's list.
    position: usize,
    issuer: Issuer,
    client: Arc<Client>,
    unusable: Cache<TokenHash, UnusableToken>,
    availability: Availability,
    permits: Arc<Permits>,
    under_way: Mutex<HashMap<TokenHash, Arc<OnceCell<Answer>>>>,
    limits: Limits,
}

#[derive(Clone, Debug)]
struct UnusableToken {
    asked: Moment,
    answer: Unusable,
    /// For how long that is believed.
    believed: Duration,
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
    /// It refuses to be asked about this token.
    Question(Arc<ClientError>),
    /// It could not be asked.
    Unavailable(Option<Arc<ClientError>>),
}

impl Introspector {
    pub(crate) fn new(position: usize, issuer: Issuer, client: Arc<Client>, limits: Limits) -> Introspector {
        Introspector {
            position,
            issuer,
            client,
            unusable: Cache::new(limits.inactive_tokens_max),
            availability: Availability::new(limits.introspection_pause),
            permits: Permits::new(limits.introspections_max),
            under_way: Mutex::default(),
            limits,
        }
    }

    /// Asks about `token` for `asker`, unless it is known to be of no use or somebody is asking already.
    pub(crate) async fn introspect(&self, hash: TokenHash, token: &str, asker: Asker, now: Timestamp) -> Answer {
        let known = self.unusable.get(&hash);
        if let Some(known) = known.filter(|it| Moment::at(now).since(it.asked) < it.believed) {
            return Err(known.answer);
        }
        let question = Question::join(self, hash);
        // If whoever asks is given up, the next one who waits asks in his place.
        question
            .answer
            .get_or_init(|| self.ask(hash, token, asker, now))
            .await
            .clone()
    }

    /// Whether what was answered to a question of that moment is believed without asking again.
    pub(crate) fn still_believes(&self, asked: Moment, now: Timestamp) -> bool {
        Moment::at(now).since(asked) < self.limits.introspection_active_max
    }

    /// Forgets which tokens are of no use.
    pub(crate) fn forget(&self) {
        self.unusable.clear();
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
            Unusable::Question(error) => AccessTokenRefusal::QuestionRefused {
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

    async fn ask(&self, hash: TokenHash, token: &str, asker: Asker, now: Timestamp) -> Answer {
        // Before the permit: all of them may be with questions that an issuer does not answer, and this is no reason to wait.
        if self.availability.is_left_alone(asker.prefix, Moment::at(now)) {
            return Err(Unusable::Unavailable(None));
        }
        let Ok(_permit) = self.permits.acquire(asker).await else {
            return Err(Unusable::Unavailable(None));
        };
        let asked = Moment::at(now);
        let Some(attempt) = self.availability.begin(asker.prefix, asked) else {
            return Err(Unusable::Unavailable(None));
        };
        let answer = match self.client.introspect(token, now).await {
            Ok(IntrospectionResponse::Active(active)) => match active.issuer.as_deref() {
                Some(presented) if presented != self.issuer.as_str() => Unusable::OtherIssuer {
                    presented: presented.to_owned(),
                },
                _ => {
                    attempt.answered();
                    return Ok(Arc::new(self.token_of(*active, asked)));
                }
            },
            Ok(IntrospectionResponse::Inactive) => Unusable::Inactive,
            Err(error) => match subject_of(&error) {
                Subject::Answer => Unusable::Response(Arc::new(error)),
                Subject::Token => Unusable::Question(Arc::new(error)),
                Subject::Issuer { was_sent } => {
                    // From now on: the question itself may have taken longer than the pause.
                    let failed = Moment::at(now.plus(Moment::at(now).since(asked)));
                    if attempt.failed(was_sent, failed) {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(issuer = %self.issuer, error, "introspection failed");
                    }
                    self.remember(
                        hash,
                        failed,
                        Unusable::Unavailable(None),
                        self.limits.introspection_pause,
                    );
                    return Err(Unusable::Unavailable(Some(Arc::new(error))));
                }
            },
        };
        attempt.answered();
        self.remember(hash, asked, answer.clone(), self.limits.introspection_inactive_max);
        Err(answer)
    }

    fn remember(&self, hash: TokenHash, asked: Moment, answer: Unusable, believed: Duration) {
        let token = UnusableToken {
            asked,
            answer,
            believed,
        };
        self.unusable.insert(hash, token);
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

/// What a failed question says something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// The issuer did answer, and it is this token that its answer cannot be used for.
    Answer,
    /// The issuer refuses to be asked about this token: too long, or not of a form that it likes.
    Token,
    /// The issuer, or the way to it; also our own standing with it.
    Issuer {
        /// The token was on its way. If not, it has no part in the failure.
        was_sent: bool,
    },
}

fn subject_of(error: &ClientError) -> Subject {
    let was_sent = match error {
        ClientError::Response {
            source: ResponseError::Introspection(_),
            ..
        } => return Subject::Answer,
        ClientError::Refused(refusal) if is_about_our_client(&refusal.error) => true,
        ClientError::Refused(refusal) if is_about_the_token(refusal.status) => return Subject::Token,
        ClientError::Response { status, .. } if is_about_the_token(*status) => return Subject::Token,
        ClientError::Refused(_) | ClientError::Response { .. } => true,
        ClientError::Request { source, .. } => match source {
            RequestError::Resolve { .. } | RequestError::Connect { .. } | RequestError::ServerNotTrusted { .. } => {
                false
            }
            // TLS 1.3 may refuse our certificate after the request was sent, and a time-out does not say what it waited for.
            _ => true,
        },
        ClientError::Discovery(_)
        | ClientError::NoEndpoint { .. }
        | ClientError::NoCertificate
        | ClientError::Assertion(_) => false,
        // Nothing of this happens where no user is asked.
        ClientError::Authorization(_)
        | ClientError::IdToken { .. }
        | ClientError::NoS256 { .. }
        | ClientError::NoRequestObjectKey { .. }
        | ClientError::ApprovalExpired
        | ClientError::Ended => false,
    };
    Subject::Issuer { was_sent }
}

/// Statuses that refuse what was sent and not who sent it or when. 401 and 403 are about our own client, 408 and 429 about the
/// moment, 404 and its like about the endpoint.
fn is_about_the_token(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::URI_TOO_LONG
            | StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    )
}

/// Some servers say so with status 400 (RFC 6749 §5.2).
fn is_about_our_client(error: &str) -> bool {
    matches!(error, "invalid_client" | "unauthorized_client")
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
            .map(|n| introspector.introspect([n / 2; 32], "token", Asker::UNKNOWN, now))
            .collect();
        let moment = Duration::from_millis(20);
        for question in questions {
            assert!(tokio::time::timeout(moment, question).await.is_err());
        }
        assert!(introspector.under_way().is_empty());
        assert_eq!(introspector.permits.available(), Limits::DEFAULT.introspections_max);
    }
}
