//! The code that a consent ends with, made so that the same consent sent twice ends with the same code.
//!
//! Who presses "Allow" twice sends the form twice, and the browser shows the second answer alone. Were that an error, the code of the
//! first would be lost, with a grant that nobody uses. At rest codes are hashes, so the first one cannot be read again: it is derived,
//! as the successors of refresh tokens are, from what only this browser holds (the secrets of its interaction and of its session) and a
//! key that only this process has. The grant stays one, and so does the code: it is told again only to the browser that was told it
//! before, in the same session, while it lives and is not redeemed.
//!
//! The key dies with the process, and another node has another: there the second answer is the page that says so. A denial is not told
//! again: nothing is lost by it.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use keybound_protocol::base64url;

/// Derives codes.
pub(crate) struct ConsentCodes {
    key: hmac::Key,
}

impl ConsentCodes {
    /// With a key of its own.
    ///
    /// # Errors
    /// [`Unspecified`] if the system has no random numbers.
    pub(crate) fn new(random: &SystemRandom) -> Result<ConsentCodes, Unspecified> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, random)?;
        Ok(ConsentCodes { key })
    }

    /// The code of the interaction that has this cookie, allowed in the session that has that one. Each interaction ends once, so
    /// no two grants have the same.
    pub(crate) fn code(&self, interaction_secret: &str, session_secret: &str) -> String {
        // Cookies have no NUL: no two pairs make one message.
        let message = format!("{interaction_secret}\0{session_secret}");
        base64url::encode(hmac::sign(&self.key, message.as_bytes()).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_same_for_one_interaction_and_session_of_one_process() {
        let random = SystemRandom::new();
        let codes = [ConsentCodes::new(&random), ConsentCodes::new(&random)];
        let [Ok(codes), Ok(others)] = codes else {
            panic!("no random numbers")
        };
        let code = codes.code("interaction", "session");
        assert_eq!(code.len(), 43);
        assert_eq!(code, codes.code("interaction", "session"));
        for other in [
            codes.code("other", "session"),
            codes.code("interaction", "other"),
            codes.code("interactions", "ession"),
            others.code("interaction", "session"),
        ] {
            assert_ne!(code, other);
        }
    }
}
