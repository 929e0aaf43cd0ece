//! Octets as a form, and as the requests that forms carry. A second reader, written here, must read the same.

use keybound_protocol::client_assertion::UnverifiedClientAssertion;
use keybound_protocol::form::{FORM_PARAMETERS_MAX, Form};
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;
use keybound_protocol::token_request::{RESOURCES_MAX, TokenRequest, grant_type};

/// Checks every property for one input.
pub(crate) fn check(octets: &[u8]) {
    let expected = read(octets);
    let form = match (Form::parse(octets), &expected) {
        (Ok(form), Some(_)) => form,
        (Err(error), None) => return assert!(!error.to_string().is_empty()),
        (Ok(_), None) => panic!("{octets:?} was read, and two readers would see two requests"),
        (Err(error), Some(_)) => panic!("{octets:?}: {error}"),
    };
    let parameters = expected.unwrap_or_default();
    for (name, value) in &parameters {
        let first = parameters
            .iter()
            .find(|(other, value)| other == name && !value.is_empty());
        assert_eq!(
            form.get(name),
            first.map(|(_, value)| value.as_str()),
            "{octets:?}, {name} = {value}"
        );
    }
    let resources = parameters
        .iter()
        .filter(|(name, value)| name == "resource" && !value.is_empty());
    assert!(
        form.resources().eq(resources.map(|(_, value)| value.as_str())),
        "{octets:?}"
    );
    // Written again, it is the same form.
    let written = write(&parameters);
    let reread = Form::parse(written.as_bytes()).unwrap_or_else(|error| panic!("{written}: {error}"));
    for (name, _) in &parameters {
        assert_eq!(reread.get(name), form.get(name));
    }
    // A debug print names the parameters and depends on none of their values.
    let masked: Vec<(String, String)> = parameters
        .into_iter()
        .map(|(name, value)| (name, if value.is_empty() { "" } else { "x" }.to_owned()))
        .collect();
    let masked = write(&masked);
    let masked = Form::parse(masked.as_bytes()).unwrap_or_else(|error| panic!("{masked}: {error}"));
    assert_eq!(format!("{masked:?}"), format!("{form:?}"));
    check_requests(&form);
}

fn check_requests(form: &Form<'_>) {
    if let Ok(Some(assertion)) = UnverifiedClientAssertion::from_form(form) {
        assertion.unverified_client_id();
    }
    let grant = grant_type(form);
    match TokenRequest::parse(form) {
        Ok(request) => {
            assert_eq!(grant, Ok(request.grant_type()));
            let (scope, resources) = match &request {
                TokenRequest::ClientCredentials(request) => (request.scope.as_ref(), &request.resources),
                TokenRequest::AuthorizationCode(request) => (None, &request.resources),
                TokenRequest::RefreshToken(request) => (request.scope.as_ref(), &request.resources),
                TokenRequest::DeviceCode(request) => (None, &request.resources),
                TokenRequest::TokenExchange(request) => (request.scope.as_ref(), &request.resources),
                TokenRequest::BackchannelAuthentication(request) => (None, &request.resources),
            };
            if let Some(scope) = scope {
                assert_eq!(Scope::parse(scope.as_str()).as_ref(), Ok(scope));
                assert!(scope.words().all(|word| scope.contains(word)) && scope.is_subset_of(scope));
                assert!(!scope.without_reserved().has_reserved() && scope.without_reserved().is_subset_of(scope));
            }
            assert!(resources.len() <= RESOURCES_MAX);
            for (position, resource) in resources.iter().enumerate() {
                assert_eq!(ResourceUri::parse(resource.as_str()).as_ref(), Ok(resource));
                assert!(!resources[..position].contains(resource));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty(), "{:?}", error.code()),
    }
}

/// RFC 6749 Appendix B by hand; `None` for everything that is to be refused.
fn read(octets: &[u8]) -> Option<Vec<(String, String)>> {
    if octets.len() > 64 * 1024 {
        return None;
    }
    let mut parameters: Vec<(String, String)> = Vec::new();
    let mut refused = false;
    for pair in octets.split(|octet| *octet == b'&').filter(|pair| !pair.is_empty()) {
        let mut parts = pair.splitn(2, |octet| *octet == b'=');
        let name = decode(parts.next().unwrap_or_default());
        let value = decode(parts.next().unwrap_or_default());
        let (Some(name), Some(value)) = (name, value) else {
            return None;
        };
        refused |= !["resource", "audience"].contains(&name.as_str())
            && parameters.iter().any(|(earlier, _)| *earlier == name);
        parameters.push((name, value));
    }
    (!refused && parameters.len() <= FORM_PARAMETERS_MAX).then_some(parameters)
}

fn decode(text: &[u8]) -> Option<String> {
    let mut octets = Vec::new();
    let mut rest = text.iter().copied();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            octet if octet.is_ascii() => octet,
            _ => return None,
        });
    }
    // The character that stands for what cannot be read is refused as such.
    String::from_utf8(octets).ok().filter(|text| !text.contains('\u{fffd}'))
}

fn write(parameters: &[(String, String)]) -> String {
    let encode = |text: &str| text.bytes().map(|octet| format!("%{octet:02x}")).collect::<String>();
    let pairs: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.join("&")
}
