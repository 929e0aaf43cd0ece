//! What a request presents to authenticate by, beside the certificate of its connection: read here, judged by the parent.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::client_assertion::{ClientAssertionError, UnverifiedClientAssertion};
use keybound_protocol::client_authentication::ClientAuthenticationError;
use keybound_protocol::client_secret::{BasicCredentials, BasicCredentialsError, PresentedClientSecret};
use keybound_protocol::refusal::Refusal;

use super::Attempt;

/// Form parameters that are credentials: in a query they are refused, for it lies in logs and histories (RFC 6749 §2.3.1).
const CREDENTIALS: [&str; 2] = ["client_secret", "client_assertion"];

/// The client that a request names, and by what it means to prove that.
pub(super) struct Presented<'a> {
    /// By `client_id`, or, where a method carries it elsewhere, there. Never by a certificate.
    pub(super) client_id: Cow<'a, str>,
    pub(super) explicit: Explicit<'a>,
}

/// Everything but the certificate by which a request can try to authenticate.
pub(super) enum Explicit<'a> {
    Nothing,
    Secret(PresentedClientSecret),
    Assertion(Result<UnverifiedClientAssertion<'a>, ClientAssertionError>),
}

/// A request that cannot be judged whoever its client is.
pub(super) struct Unreadable {
    pub(super) error: ClientAuthenticationError,
    pub(super) claimed_client_id: Option<String>,
}

type Basic = Option<Result<BasicCredentials, BasicCredentialsError>>;

impl<'a> Presented<'a> {
    /// Reads a request. No client is looked up, so nothing that is refused here tells anything about one.
    pub(super) fn read(attempt: &Attempt<'a>) -> Result<Presented<'a>, Unreadable> {
        let basic = basic(attempt.headers);
        let named = named(attempt, &basic);
        Presented::of(attempt, basic).map_err(|error| Unreadable {
            error,
            claimed_client_id: named,
        })
    }

    fn of(attempt: &Attempt<'a>, basic: Basic) -> Result<Presented<'a>, ClientAuthenticationError> {
        let form = attempt.form;
        require_no_credentials(attempt.query)?;
        if attempt.headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
            return Err(ClientAuthenticationError::AuthorizationRepeated);
        }
        let post = form.get("client_secret");
        let has_assertion = form.get("client_assertion").is_some() || form.get("client_assertion_type").is_some();
        require_one_method(basic.is_some(), post.is_some(), has_assertion)?;
        let form_client_id = form.get("client_id");
        let explicit = match (basic, post) {
            (Some(basic), _) => {
                let basic = basic.map_err(ClientAuthenticationError::BasicMalformed)?;
                if let Some(form) = form_client_id.filter(|form| *form != basic.client_id()) {
                    return Err(ClientAuthenticationError::SeveralClients {
                        form: Refusal::presented_text(form),
                        basic: Refusal::presented_text(basic.client_id()),
                    });
                }
                return Ok(Presented {
                    client_id: Cow::Owned(basic.client_id().to_owned()),
                    explicit: Explicit::Secret(basic.secret().clone()),
                });
            }
            (None, Some(secret)) => Explicit::Secret(PresentedClientSecret::of_form(secret)),
            (None, None) if has_assertion => Explicit::Assertion(
                UnverifiedClientAssertion::from_form(form)
                    .and_then(|assertion| assertion.ok_or(ClientAssertionError::Incomplete)),
            ),
            (None, None) => Explicit::Nothing,
        };
        let client_id = match (form_client_id, &explicit) {
            (Some(client_id), _) => Some(Cow::Borrowed(client_id)),
            (None, Explicit::Assertion(Ok(assertion))) => assertion
                .unverified_client_id()
                .map(|client_id| Cow::Owned(client_id.as_str().to_owned())),
            (None, _) => None,
        };
        Ok(Presented {
            client_id: client_id.ok_or(ClientAuthenticationError::NoClientId)?,
            explicit,
        })
    }
}

/// The client that a request names, for the record of a request that is not judged.
fn named(attempt: &Attempt<'_>, basic: &Basic) -> Option<String> {
    let of_basic = || Some(basic.as_ref()?.as_ref().ok()?.client_id().to_owned());
    attempt.form.get("client_id").map(str::to_owned).or_else(of_basic)
}

fn basic(headers: &HeaderMap) -> Basic {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    values.find_map(|value| BasicCredentials::parse(value.as_bytes()))
}

fn require_no_credentials(query: Option<&str>) -> Result<(), ClientAuthenticationError> {
    let mut parameters = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    match parameters.any(|(name, _)| CREDENTIALS.contains(&&*name)) {
        true => Err(ClientAuthenticationError::CredentialsInUri),
        false => Ok(()),
    }
}

/// RFC 6749 §2.3: one method in each request.
fn require_one_method(basic: bool, post: bool, assertion: bool) -> Result<(), ClientAuthenticationError> {
    let offered: Vec<AuthenticationMethod> = [
        (basic, AuthenticationMethod::ClientSecretBasic),
        (post, AuthenticationMethod::ClientSecretPost),
        (assertion, AuthenticationMethod::PrivateKeyJwt),
    ]
    .into_iter()
    .filter_map(|(offered, method)| offered.then_some(method))
    .collect();
    match offered.as_slice() {
        [first, second, ..] => Err(ClientAuthenticationError::SeveralMethods {
            first: *first,
            second: *second,
        }),
        _ => Ok(()),
    }
}
