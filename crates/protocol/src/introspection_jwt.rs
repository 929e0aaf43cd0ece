//! Introspection responses as signed JWTs (RFC 9701): who asks for one, and what it says.
//!
//! Such a JWT says *about* a token what the token would say itself. That it cannot be taken for one is left to its type, and to
//! what it has not: a `sub` and an `exp` of its own (RFC 9701 §5, §8.1).

use crate::base64url;
use crate::client::ClientId;
use crate::introspection::IntrospectionResponse;
use crate::issuer::Issuer;
use crate::signer::{Signer, SigningError};
use crate::time::Timestamp;

/// The `typ` of these JWTs (RFC 9701 §5).
pub const INTROSPECTION_JWT_TYPE: &str = "token-introspection+jwt";
/// The media type by which they are asked for and sent (RFC 9701 §4, §5).
pub const INTROSPECTION_JWT_MEDIA_TYPE: &str = "application/token-introspection+jwt";

/// The weight of a media range without `q`, in thousandths (RFC 9110 §12.4.2).
const WEIGHT_MAX: u16 = 1_000;

/// In what form an introspection response is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntrospectionFormat {
    /// `application/json` (RFC 7662 §2.2).
    Json,
    /// [`INTROSPECTION_JWT_MEDIA_TYPE`]
    Jwt,
}

impl IntrospectionFormat {
    /// Decides which form the values of a request's `Accept` fields ask for (RFC 9110 §12.5.1).
    ///
    /// A JWT is sent to those who name its type, and give JSON no more weight. A wildcard names nothing: whoever takes anything
    /// has always got JSON. So does whoever takes neither, for there was never another answer to give. What is no media range,
    /// or has a malformed weight, is passed over.
    pub fn of_accept<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut jwt = 0;
        // With how many parts of the range it was named, then the weight: the most specific range counts.
        let mut json = (0, 0);
        let ranges = fields.into_iter().flat_map(|field| split_unquoted(field, b','));
        for (range, weight) in ranges.filter_map(media_range) {
            let named = |media_type: &str| range.eq_ignore_ascii_case(media_type.as_bytes());
            if named(INTROSPECTION_JWT_MEDIA_TYPE) {
                jwt = weight.max(jwt);
            }
            let specificity = match range {
                b"*/*" => 1,
                _ if named("application/*") => 2,
                _ if named("application/json") => 3,
                _ => continue,
            };
            json = json.max((specificity, weight));
        }
        let (_, json) = json;
        if jwt > 0 && jwt >= json { Self::Jwt } else { Self::Json }
    }
}

/// What an introspection response says as a JWT.
#[derive(Debug, Clone, Copy)]
pub struct IntrospectionJwt<'a> {
    /// `iss`
    pub issuer: &'a Issuer,
    /// `aud`: the protected resource that asks, by the identifier that it authenticated with.
    pub audience: &'a ClientId,
    /// `iat`: when the response is made, and no date of the token's.
    pub issued_at: Timestamp,
    /// `token_introspection`: octet for octet what would be sent as JSON.
    pub response: &'a IntrospectionResponse,
}

/// An introspection response up to its signature: header and claims. Whoever signs may do so elsewhere, for it can take long.
#[derive(Debug)]
pub struct UnsignedIntrospectionJwt(String);

impl IntrospectionJwt<'_> {
    /// Makes header and claims. `signer` has to sign them: the header names its key.
    pub fn encode_unsigned(&self, signer: &dyn Signer) -> UnsignedIntrospectionJwt {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let header = format!(
            r#"{{"alg":"{}","kid":{},"typ":"{INTROSPECTION_JWT_TYPE}"}}"#,
            signer.algorithm(),
            text(signer.key_id()),
        );
        let mut claims = format!(
            r#"{{"iss":{},"aud":{},"iat":{},"token_introspection":"#,
            text(self.issuer.as_str()),
            text(self.audience.as_str()),
            self.issued_at.unix_secs(),
        )
        .into_bytes();
        claims.extend(self.response.to_json());
        claims.push(b'}');

        let mut jwt = base64url::encode(header.as_bytes());
        jwt.push('.');
        base64url::encode_to(&claims, &mut jwt);
        UnsignedIntrospectionJwt(jwt)
    }
}

impl UnsignedIntrospectionJwt {
    /// Completes the JWT.
    ///
    /// # Errors
    /// [`SigningError`] if the key cannot be used.
    pub fn sign(self, signer: &dyn Signer) -> Result<String, SigningError> {
        let Self(mut jwt) = self;
        let signature = signer.sign(jwt.as_bytes())?;
        jwt.push('.');
        base64url::encode_to(&signature, &mut jwt);
        Ok(jwt)
    }
}

/// A media range and its weight in thousandths. Parameters other than `q` do not count: neither of our types has any.
fn media_range(element: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = split_unquoted(element, b';').map(<[u8]>::trim_ascii);
    let range = parts.next()?;
    let mut weight = WEIGHT_MAX;
    for part in parts {
        if let [b'q' | b'Q', b'=', value @ ..] = part {
            weight = thousandths(value)?;
        }
    }
    Some((range, weight))
}

/// A `qvalue`: between 0 and 1, with three digits after the point at most (RFC 9110 §12.4.2).
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, digits) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => (whole, digits),
        _ => return None,
    };
    let places = [100, 10, 1];
    let fraction = digits
        .iter()
        .zip(places)
        .map(|(digit, place)| u16::from(digit - b'0') * place)
        .sum();
    match (whole, fraction) {
        (b'0', fraction) => Some(fraction),
        (b'1', 0) => Some(WEIGHT_MAX),
        _ => None,
    }
}

/// The parts between separators that are not inside a quoted string (RFC 9110 §5.6.4).
fn split_unquoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |octet| {
        let escaped = std::mem::take(&mut is_escaped);
        match octet {
            _ if escaped => false,
            b'\\' if is_quoted => {
                is_escaped = true;
                false
            }
            b'"' => {
                is_quoted = !is_quoted;
                false
            }
            octet => *octet == separator && !is_quoted,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[&str], expected: IntrospectionFormat) {
        let presented = IntrospectionFormat::of_accept(fields.iter().map(|field| field.as_bytes()));
        assert_eq!(presented, expected, "{fields:?}");
    }

    // covers R9701-1
    #[test]
    fn json_is_the_answer_unless_the_jwt_type_is_named_with_as_much_weight() {
        for fields in [
            &[][..],
            &[""],
            &["*/*"],
            &["application/*"],
            &["application/json"],
            &["application/jwt"],
            &["text/html"],
            &["token-introspection+jwt"],
            &["application/token-introspection+jwtx"],
            &["application/token-introspection"],
            &["application/token-introspection+jwt;q=0"],
            &["application/token-introspection+jwt;q=0.000"],
            &["application/token-introspection+jwt;q=0.5, application/json"],
            &["application/token-introspection+jwt;q=0.999, application/json;q=1.000"],
            &["application/token-introspection+jwt;q=0.899, application/json;q=.95, */*;q=0.9"],
            &["application/token-introspection+jwt;q=0.5, */*"],
            &["application/token-introspection+jwt;q=0.5, */*;q=0.1, application/*;q=0.6"],
            &["application/json", "application/token-introspection+jwt;q=0.9"],
            // A weight that is none says nothing, and the type is within a quoted string here.
            &["application/token-introspection+jwt;q=2"],
            &["application/token-introspection+jwt;q=1.001"],
            &["application/token-introspection+jwt;q=0.1234"],
            &["application/token-introspection+jwt;q=-1"],
            &["application/token-introspection+jwt;q="],
            &["application/token-introspection+jwt;q=\"1\""],
            &["text/plain;a=\",application/token-introspection+jwt,\""],
            &["text/plain;a=\"\\\",application/token-introspection+jwt"],
        ] {
            check(fields, IntrospectionFormat::Json);
        }
        for fields in [
            &["application/token-introspection+jwt"][..],
            &["Application/Token-Introspection+JWT"],
            &[" , application/token-introspection+jwt ;\tQ=0.001 ,"],
            &["application/token-introspection+jwt, application/json"],
            &["application/token-introspection+jwt, */*"],
            &["application/json;q=0.9, application/token-introspection+jwt"],
            &["application/json;q=0.5, application/token-introspection+jwt;q=0.50"],
            // The most specific range says how much JSON is wanted.
            &["application/token-introspection+jwt;q=0.5, application/json;q=0.4, */*"],
            &["application/json;q=0", "application/token-introspection+jwt;q=0.1, */*"],
            &["text/plain;a=\"\\\"\",application/token-introspection+jwt"],
            &["\u{ff}, application/token-introspection+jwt;v=1"],
        ] {
            check(fields, IntrospectionFormat::Jwt);
        }
    }
}
