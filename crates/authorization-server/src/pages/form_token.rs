//! The hidden token of every form: made of the browser's cookie, which another site can neither read nor guess (RFC 6749 §10.12).
//!
//! Nothing is stored for it. It is bound to one form, so that the token of a harmless page is worth nothing at another.

use aws_lc_rs::hmac;
use keybound_protocol::base64url;
use keybound_protocol::form::Form;

use super::refusal::PageRefusal;

/// The parameter.
const FORM_TOKEN: &str = "form_token";

/// The token of the form `purpose` in the browser that has the cookie `secret`.
pub(crate) fn of(secret: &str, purpose: &str) -> String {
    base64url::encode(hmac::sign(&key(secret), message(purpose).as_bytes()).as_ref())
}

/// Requires that the form has it.
///
/// # Errors
/// [`PageRefusal::FormToken`]
pub(crate) fn require(form: &Form<'_>, secret: &str, purpose: &str) -> Result<(), PageRefusal> {
    let presented = form.get(FORM_TOKEN);
    if presented.is_some_and(|token| is_of(token, secret, purpose)) {
        Ok(())
    } else {
        Err(PageRefusal::FormToken)
    }
}

/// Whether this token is [of](of) that secret and purpose.
pub(crate) fn is_of(token: &str, secret: &str, purpose: &str) -> bool {
    let presented = base64url::decode(token);
    presented.is_ok_and(|tag| hmac::verify(&key(secret), message(purpose).as_bytes(), &tag).is_ok())
}

fn key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}

fn message(purpose: &str) -> String {
    format!("keybound form token\0{purpose}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(token: &str, secret: &str, purpose: &str, expected: bool) {
        let body = format!("form_token={token}");
        let form = Form::parse(body.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            require(&form, secret, purpose).is_ok(),
            expected,
            "{token} {secret} {purpose}"
        );
    }

    #[test]
    fn counts_for_one_browser_and_one_form() {
        let token = of("secret", "consent a");
        check(&token, "secret", "consent a", true);
        check(&token, "secret", "consent b", false);
        check(&token, "other", "consent a", false);
        check("", "secret", "consent a", false);
        check("AAAA", "secret", "consent a", false);
    }
}
