//! Proof Key for Code Exchange (RFC 7636), the client's half: S256 always, `plain` never.

use keybound_protocol::base64url;
use keybound_protocol::digest::sha256;

/// The only `code_challenge_method` that is ever sent. There is no way back to `plain` (RFC 7636 §7.2).
pub const CODE_CHALLENGE_METHOD: &str = "S256";

/// A code verifier: what proves that the code's redeemer is who asked for it.
#[derive(Clone)]
pub struct CodeVerifier(String);

impl CodeVerifier {
    /// The verifier of 32 random octets: 43 characters (RFC 7636 §4.1).
    pub fn from_octets(octets: &[u8; 32]) -> CodeVerifier {
        CodeVerifier(base64url::encode(octets))
    }

    /// `code_challenge`: BASE64URL(SHA-256(verifier)) (RFC 7636 §4.2).
    pub fn challenge(&self) -> String {
        base64url::encode(&sha256(self.0.as_bytes()))
    }

    pub(crate) fn expose_text(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for CodeVerifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("CodeVerifier")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers R7636-1
    #[test]
    fn the_example_of_the_specification_comes_out() {
        // RFC 7636 Appendix B.
        let octets = [
            116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77, 105, 214, 191,
            240, 91, 88, 5, 88, 83, 132, 141, 121,
        ];
        let verifier = CodeVerifier::from_octets(&octets);
        assert_eq!(verifier.expose_text(), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(verifier.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert_eq!(format!("{verifier:?}"), "CodeVerifier");
    }
}
