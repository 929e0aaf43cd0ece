//! What becomes of tokens that are traded for one of ours (RFC 8693): whom the new token speaks for, what it may do, where, and for
//! how long.
//!
//! The new token never does more than the one it was made of: its scope is within that one's, it ends no later, and it is for a
//! resource that an operator named for the trade or that the old one was for. Whether the tokens presented are good, and whether their
//! holder presents them, is decided before, by whoever knows their issuers.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::error_code::ErrorCode;
use crate::json::{JsonObject, JsonTypeError, JsonValue};
use crate::resource::ResourceUri;
use crate::scope::Scope;
use crate::time::Timestamp;
use crate::token_request::TokenExchangeRequest;

/// `urn:ietf:params:oauth:token-type:access_token` (RFC 8693 §3).
pub const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
/// `urn:ietf:params:oauth:token-type:jwt` (RFC 8693 §3): an access token that is a JWT, here.
pub const JWT_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";
/// The longest `sub` that is made, in octets.
pub const SUBJECT_BYTES_MAX: usize = 255;
/// How many actors a chain may have: each trade adds one.
pub const ACTORS_MAX: usize = 8;

/// A token that was found to be good, and presented by its holder.
#[derive(Clone, Debug, PartialEq)]
pub struct TradedToken {
    /// Who issued it.
    pub issuer: String,
    /// `sub`, as its issuer has it.
    pub issuer_subject: String,
    /// The same among the identities of this server.
    pub subject: String,
    /// What it permits.
    pub scope: Scope,
    /// Where it may be used.
    pub audience: Vec<String>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// `act`: who has been acting so far.
    pub actor: Option<JsonObject>,
    /// `may_act`: who alone may act.
    pub may_act: Option<JsonObject>,
    /// Whether another issuer made it, whose `sub` is nobody here.
    pub is_foreign: bool,
}

/// Whose request it is, and what the operator permits.
#[derive(Clone, Copy, Debug)]
pub struct TradePolicy<'a> {
    /// The client that asks.
    pub client_id: &'a str,
    /// What it has registered.
    pub registered: &'a Scope,
    /// The resources that it may trade the token for; empty for those that the token itself is for.
    pub resources: &'a [ResourceUri],
    /// How long a token lives at most.
    pub lifetime: Duration,
}

/// The token to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Trade {
    /// `sub`
    pub subject: String,
    /// Within that of the token traded; may be empty.
    pub scope: Scope,
    /// The one resource it is for.
    pub resource: ResourceUri,
    /// How long it lives: not past the tokens that it is made of.
    pub lifetime: Duration,
    /// `act`, the JSON text of an object (RFC 8693 §4.1).
    pub actor: Option<String>,
}

/// Why tokens are not traded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenExchangeError {
    /// Another type of token than an access token.
    #[error("`{parameter}` is {presented:?}; access tokens alone are traded")]
    TokenType {
        /// The parameter.
        parameter: &'static str,
        /// What it says.
        presented: String,
    },
    /// It ends now: nothing made of it could live.
    #[error("the token ended at {expired_at}")]
    Ended {
        /// Its `exp`.
        expired_at: Timestamp,
    },
    /// `may_act` names somebody else (RFC 8693 §4.4).
    #[error("the subject token permits another actor alone")]
    ActorNotPermitted,
    /// `act` or `may_act` has the wrong form.
    #[error(transparent)]
    Type(#[from] JsonTypeError),
    /// As many have acted as a chain may have.
    #[error("more than {ACTORS_MAX} actors")]
    TooManyActors,
    /// Its `sub` makes no identity here.
    #[error("the identity would be longer than {SUBJECT_BYTES_MAX} octets, or is another one here already")]
    Subject,
    /// More than the token traded permits, or than the client has registered.
    #[error("scope `{presented}` exceeds the `{permitted}` that is left of it")]
    Scope {
        /// What is asked for.
        presented: Scope,
        /// What could be had.
        permitted: Scope,
    },
    /// `audience` names nothing that is known here.
    #[error("audience {presented:?} names no resource")]
    AudienceUnknown {
        /// What was sent.
        presented: String,
    },
    /// More than one place to use it.
    #[error("{count} targets were asked for; a token is for one")]
    SeveralTargets {
        /// How many.
        count: usize,
    },
    /// A resource that this token is not traded for.
    #[error("the token is not traded for {presented}")]
    Target {
        /// What is asked for.
        presented: ResourceUri,
    },
    /// None was asked for, and it is not clear which is meant.
    #[error("no target was asked for, and {count} are possible")]
    NoTarget {
        /// How many there are.
        count: usize,
    },
}

impl TokenExchangeError {
    /// The code that is sent (RFC 8693 §2.2.2: what is wrong with a token is `invalid_request`).
    pub fn code(&self) -> ErrorCode {
        match self {
            TokenExchangeError::TokenType { .. }
            | TokenExchangeError::Ended { .. }
            | TokenExchangeError::ActorNotPermitted
            | TokenExchangeError::Type(_)
            | TokenExchangeError::TooManyActors
            | TokenExchangeError::Subject => ErrorCode::InvalidRequest,
            TokenExchangeError::Scope { .. } => ErrorCode::InvalidScope,
            TokenExchangeError::AudienceUnknown { .. }
            | TokenExchangeError::SeveralTargets { .. }
            | TokenExchangeError::Target { .. }
            | TokenExchangeError::NoTarget { .. } => ErrorCode::InvalidTarget,
        }
    }
}

/// Whether the types that a request names are those that are traded here. To be asked before any token is looked at.
///
/// # Errors
/// [`TokenExchangeError::TokenType`]
pub fn require_access_tokens(asked: &TokenExchangeRequest) -> Result<(), TokenExchangeError> {
    let actor = asked.actor.as_ref().map(|(_, token_type)| token_type.as_str());
    for (parameter, presented) in [
        ("subject_token_type", Some(asked.subject_token_type.as_str())),
        ("actor_token_type", actor),
        ("requested_token_type", asked.requested_token_type.as_deref()),
    ] {
        if let Some(presented) = presented.filter(|presented| ![ACCESS_TOKEN_TYPE, JWT_TYPE].contains(presented)) {
            return Err(TokenExchangeError::TokenType {
                parameter,
                presented: presented.to_owned(),
            });
        }
    }
    Ok(())
}

/// The identity here of somebody whom another issuer calls `subject`: behind the prefix that an operator chose for that issuer, so
/// that two issuers never speak of the same one.
///
/// # Errors
/// [`TokenExchangeError::Subject`] if it is too long.
pub fn subject_of(prefix: &str, subject: &str) -> Result<String, TokenExchangeError> {
    let mapped = format!("{prefix}{subject}");
    let is_usable = !subject.is_empty() && mapped.len() <= SUBJECT_BYTES_MAX;
    is_usable.then_some(mapped).ok_or(TokenExchangeError::Subject)
}

/// The actors in `act` of a token of another issuer, the current one first, each [as this server calls it](subject_of).
///
/// # Errors
/// [`TokenExchangeError`] for one without `sub`, for one too long, and for more than [`ACTORS_MAX`].
pub fn actors_of(prefix: &str, act: &JsonObject) -> Result<Vec<String>, TokenExchangeError> {
    let mut actors = Vec::new();
    let mut next = Some(act);
    while let Some(act) = next {
        if actors.len() == ACTORS_MAX {
            return Err(TokenExchangeError::TooManyActors);
        }
        actors.push(subject_of(prefix, act.string("sub")?.unwrap_or_default())?);
        next = act.object("act")?;
    }
    Ok(actors)
}

/// `act` with these actors, the current one first, and nothing else that an issuer said of them. `None` if there are none.
pub fn act_of(actors: &[String]) -> Option<JsonObject> {
    let act = actors.iter().rev().fold(None, |inner: Option<Value>, actor| {
        let mut act = Map::new();
        act.insert("sub".to_owned(), actor.clone().into());
        act.extend(inner.map(|inner| ("act".to_owned(), inner)));
        Some(Value::Object(act))
    });
    JsonObject::parse(act?.to_string().as_bytes()).ok()
}

/// Decides what `subject`, and `actor` if there is one, are traded for.
///
/// # Errors
/// [`TokenExchangeError`], in the order: dates, actor, scope, target.
pub fn decide(
    asked: &TokenExchangeRequest,
    subject: &TradedToken,
    actor: Option<&TradedToken>,
    policy: &TradePolicy<'_>,
    now: Timestamp,
) -> Result<Trade, TokenExchangeError> {
    let mut lifetime = policy.lifetime;
    for token in std::iter::once(subject).chain(actor) {
        // No leeway: nothing is made of a token that has ended by our clock.
        if token.expires_at <= now {
            return Err(TokenExchangeError::Ended {
                expired_at: token.expires_at,
            });
        }
        lifetime = lifetime.min(token.expires_at.duration_since(now));
    }
    require_may_act(subject, actor, policy.client_id)?;
    Ok(Trade {
        subject: subject.subject.clone(),
        scope: scope(asked, &subject.scope, policy.registered)?,
        resource: target(asked, subject, policy.resources)?,
        lifetime,
        actor: acting(subject, actor)?,
    })
}

/// RFC 8693 §4.4: where the subject token says who may act, nobody else may.
fn require_may_act(
    subject: &TradedToken,
    actor: Option<&TradedToken>,
    client_id: &str,
) -> Result<(), TokenExchangeError> {
    let Some(may_act) = &subject.may_act else { return Ok(()) };
    let (named, issuer) = (may_act.string("sub")?, may_act.string("iss")?);
    let is_permitted = match actor {
        Some(actor) => {
            let own = issuer.unwrap_or(&subject.issuer);
            named == Some(actor.issuer_subject.as_str()) && own == actor.issuer
        }
        // What another issuer calls by the name of our client is somebody else.
        None if subject.is_foreign => {
            named.is_none() && may_act.string("client_id")? == Some(client_id) && issuer.is_none()
        }
        None => named.or(may_act.string("client_id")?) == Some(client_id) && issuer.is_none(),
    };
    is_permitted.then_some(()).ok_or(TokenExchangeError::ActorNotPermitted)
}

fn scope(asked: &TokenExchangeRequest, old: &Scope, registered: &Scope) -> Result<Scope, TokenExchangeError> {
    let words: Vec<&str> = old.words().filter(|word| registered.contains(word)).collect();
    // Words of one scope make another.
    let permitted = Scope::parse(&words.join(" ")).unwrap_or_default().without_reserved();
    match &asked.scope {
        None => Ok(permitted),
        Some(presented) if presented.is_subset_of(&permitted) => Ok(presented.clone()),
        Some(presented) => Err(TokenExchangeError::Scope {
            presented: presented.clone(),
            permitted,
        }),
    }
}

fn target(
    asked: &TokenExchangeRequest,
    subject: &TradedToken,
    permitted: &[ResourceUri],
) -> Result<ResourceUri, TokenExchangeError> {
    let mut targets = asked.resources.clone();
    for audience in &asked.audiences {
        let named = ResourceUri::parse(audience).map_err(|_| TokenExchangeError::AudienceUnknown {
            presented: audience.clone(),
        })?;
        targets.push(named);
    }
    targets.dedup();
    let is_permitted = |target: &ResourceUri| match permitted {
        [] => subject.audience.iter().any(|audience| audience == target.as_str()),
        permitted => permitted.contains(target),
    };
    match targets.as_slice() {
        [target] if is_permitted(target) => Ok(target.clone()),
        [target] => Err(TokenExchangeError::Target {
            presented: target.clone(),
        }),
        [] => match (permitted, subject.audience.as_slice()) {
            ([only], _) => Ok(only.clone()),
            ([], [only]) => ResourceUri::parse(only).map_err(|_| TokenExchangeError::AudienceUnknown {
                presented: only.clone(),
            }),
            ([], several) => Err(TokenExchangeError::NoTarget { count: several.len() }),
            (several, _) => Err(TokenExchangeError::NoTarget { count: several.len() }),
        },
        several => Err(TokenExchangeError::SeveralTargets { count: several.len() }),
    }
}

/// `act`: the current actor outside, those before it inside (RFC 8693 §4.1). Without an actor token it stays as it was.
fn acting(subject: &TradedToken, actor: Option<&TradedToken>) -> Result<Option<String>, TokenExchangeError> {
    let before = subject.actor.as_ref();
    let Some(actor) = actor else {
        return Ok(before.map(json_text));
    };
    let mut depth = 1;
    let mut inner = before;
    while let Some(one) = inner {
        depth += 1;
        inner = one.object("act")?;
    }
    if depth > ACTORS_MAX {
        return Err(TokenExchangeError::TooManyActors);
    }
    let mut act = Map::new();
    act.insert("sub".to_owned(), actor.subject.clone().into());
    if let Some(before) = before {
        let before = serde_json::from_str(&json_text(before)).unwrap_or(Value::Null);
        act.insert("act".to_owned(), before);
    }
    Ok(Some(Value::Object(act).to_string()))
}

fn json_text(object: &JsonObject) -> String {
    // A value that was read always serialises.
    serde_json::to_string(&JsonValue::Object(object.clone())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use super::*;
    use crate::token_request::PresentedSecret;

    const NOW: Timestamp = Timestamp::from_unix_secs(1_800_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn asked() -> TokenExchangeRequest {
        TokenExchangeRequest {
            subject_token: PresentedSecret::new("subject"),
            subject_token_type: ACCESS_TOKEN_TYPE.to_owned(),
            actor: None,
            requested_token_type: None,
            audiences: Vec::new(),
            scope: None,
            resources: Vec::new(),
        }
    }

    fn token(subject: &str) -> TradedToken {
        TradedToken {
            issuer: "https://idp.example".to_owned(),
            issuer_subject: subject.to_owned(),
            subject: format!("idp:{subject}"),
            scope: "read write admin".parse().unwrap(),
            audience: vec!["https://one.example".to_owned()],
            expires_at: NOW.plus(5 * MINUTE),
            actor: None,
            may_act: None,
            is_foreign: true,
        }
    }

    fn check(
        change: impl FnOnce(&mut TokenExchangeRequest, &mut TradedToken),
        actor: Option<&TradedToken>,
        resources: &[&str],
    ) -> Result<Trade, TokenExchangeError> {
        let (mut asked, mut subject) = (asked(), token("alice"));
        change(&mut asked, &mut subject);
        let resources: Vec<ResourceUri> = resources.iter().map(|uri| uri.parse().unwrap()).collect();
        let registered = "read write other".parse().unwrap();
        let policy = TradePolicy {
            client_id: "api",
            registered: &registered,
            resources: &resources,
            lifetime: 10 * MINUTE,
        };
        decide(&asked, &subject, actor, &policy, NOW)
    }

    fn object(text: &str) -> Option<JsonObject> {
        JsonObject::parse(text.as_bytes()).ok()
    }

    // covers R8693-2
    #[test]
    fn a_trade_has_no_more_scope_time_or_places_than_the_token_had() {
        let trade = check(|_, _| {}, None, &[]).unwrap();
        assert_eq!(trade.subject, "idp:alice");
        assert_eq!(trade.scope, "read write".parse().unwrap());
        assert_eq!(trade.resource.as_str(), "https://one.example");
        assert_eq!((trade.lifetime, trade.actor), (5 * MINUTE, None));
        for wider in ["read admin", "other", "read keybound:admin", "nothing"] {
            let error = check(|asked, _| asked.scope = Some(wider.parse().unwrap()), None, &[]).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidScope, "{wider}");
        }
        let reserved = |_: &mut TokenExchangeRequest, subject: &mut TradedToken| {
            subject.scope = "read keybound:admin".parse().unwrap();
        };
        assert_eq!(check(reserved, None, &[]).unwrap().scope, "read".parse().unwrap());
        let other = "https://other.example";
        let ask = |asked: &mut TokenExchangeRequest, _: &mut TradedToken| asked.resources.push(other.parse().unwrap());
        assert_eq!(check(ask, None, &[]).unwrap_err().code(), ErrorCode::InvalidTarget);
        assert_eq!(check(ask, None, &[other]).unwrap().resource.as_str(), other);
        let by_name = |asked: &mut TokenExchangeRequest, _: &mut TradedToken| asked.audiences.push(other.to_owned());
        assert_eq!(check(by_name, None, &[other]).unwrap().resource.as_str(), other);
        let both = ["https://one.example", other];
        let error = check(|_, _| {}, None, &both).unwrap_err();
        assert_eq!(error, TokenExchangeError::NoTarget { count: 2 });
        let no_name = |asked: &mut TokenExchangeRequest, _: &mut TradedToken| asked.audiences.push("other".to_owned());
        assert_eq!(
            check(no_name, None, &[other]).unwrap_err().code(),
            ErrorCode::InvalidTarget
        );
        let several = |asked: &mut TokenExchangeRequest, _: &mut TradedToken| {
            asked.resources = both.iter().map(|uri| uri.parse().unwrap()).collect();
        };
        assert_eq!(
            check(several, None, &both).unwrap_err().code(),
            ErrorCode::InvalidTarget
        );
        let ended = |_: &mut TokenExchangeRequest, subject: &mut TradedToken| subject.expires_at = NOW;
        assert_eq!(check(ended, None, &[]).unwrap_err().code(), ErrorCode::InvalidRequest);
    }

    // covers R8693-1, R8693-3
    #[test]
    fn the_current_actor_stands_outside_and_only_whom_the_token_permits_may_act() {
        let mut actor = token("service");
        actor.expires_at = NOW.plus(MINUTE);
        let trade = check(|_, _| {}, Some(&actor), &[]).unwrap();
        assert_eq!(trade.actor.as_deref(), Some(r#"{"sub":"idp:service"}"#));
        assert_eq!(trade.lifetime, MINUTE, "nor longer than the actor's");
        let acted = |_: &mut TokenExchangeRequest, subject: &mut TradedToken| {
            subject.actor = object(r#"{"sub":"first"}"#);
        };
        let chain = check(acted, Some(&actor), &[]).unwrap().actor.unwrap();
        assert_eq!(chain, r#"{"act":{"sub":"first"},"sub":"idp:service"}"#);
        assert_eq!(
            check(acted, None, &[]).unwrap().actor.as_deref(),
            Some(r#"{"sub":"first"}"#)
        );
        let nested = (0..ACTORS_MAX - 1).fold(r#"{"sub":"x"}"#.to_owned(), |inner, _| {
            format!(r#"{{"sub":"x","act":{inner}}}"#)
        });
        let long = |_: &mut TokenExchangeRequest, subject: &mut TradedToken| subject.actor = object(&nested);
        assert_eq!(
            check(long, Some(&actor), &[]).unwrap_err(),
            TokenExchangeError::TooManyActors
        );

        for (may_act, with_actor, without) in [
            (r#"{"sub":"service"}"#, true, false),
            (r#"{"sub":"service","iss":"https://idp.example"}"#, true, false),
            (r#"{"sub":"service","iss":"https://other.example"}"#, false, false),
            // Whom another issuer calls `api` is not the client of that name.
            (r#"{"sub":"api"}"#, false, false),
            (r#"{"sub":"api","client_id":"api"}"#, false, false),
            (r#"{"client_id":"api"}"#, false, true),
            (r#"{}"#, false, false),
        ] {
            let permitted = |_: &mut TokenExchangeRequest, subject: &mut TradedToken| subject.may_act = object(may_act);
            assert_eq!(check(permitted, Some(&actor), &[]).is_ok(), with_actor, "{may_act}");
            assert_eq!(check(permitted, None, &[]).is_ok(), without, "{may_act}");
        }
        let own = |_: &mut TokenExchangeRequest, subject: &mut TradedToken| {
            subject.is_foreign = false;
            subject.may_act = object(r#"{"sub":"api"}"#);
        };
        assert!(check(own, None, &[]).is_ok());
        let acts = object(r#"{"sub":"a","iss":"x","act":{"sub":"b"}}"#).unwrap();
        let actors = actors_of("idp:", &acts).unwrap();
        assert_eq!(actors, ["idp:a", "idp:b"]);
        assert_eq!(act_of(&actors), object(r#"{"sub":"idp:a","act":{"sub":"idp:b"}}"#));
        assert_eq!(act_of(&[]), None);
        for unusable in [
            r#"{}"#,
            r#"{"sub":""}"#,
            r#"{"sub":1}"#,
            r#"{"sub":"a","act":{"client_id":"b"}}"#,
        ] {
            assert!(actors_of("idp:", &object(unusable).unwrap()).is_err(), "{unusable}");
        }
    }

    // covers R8693-1
    #[test]
    fn access_tokens_alone_are_traded_and_identities_never_meet() {
        for other in ["", "urn:ietf:params:oauth:token-type:id_token", "access_token"] {
            let mut request = asked();
            request.subject_token_type = other.to_owned();
            assert_eq!(
                require_access_tokens(&request).unwrap_err().code(),
                ErrorCode::InvalidRequest
            );
            let mut request = asked();
            request.requested_token_type = Some(other.to_owned());
            assert!(require_access_tokens(&request).is_err(), "{other}");
            let mut request = asked();
            request.actor = Some((PresentedSecret::new("actor"), other.to_owned()));
            assert!(require_access_tokens(&request).is_err(), "{other}");
        }
        let mut request = asked();
        request.requested_token_type = Some(JWT_TYPE.to_owned());
        assert_eq!(require_access_tokens(&request), Ok(()));
        assert_eq!(subject_of("idp:", "alice").as_deref(), Ok("idp:alice"));
        assert_eq!(subject_of("idp:", ""), Err(TokenExchangeError::Subject));
        assert!(subject_of("idp:", &"a".repeat(SUBJECT_BYTES_MAX)).is_err());
    }
}
