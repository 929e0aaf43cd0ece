//! Clients that nobody is: what a request is judged against that names an unknown client.

use std::sync::Arc;

use keybound_protocol::client::{Client, ClientId, ClientOrigin};
use keybound_protocol::client_metadata::ClientMetadata;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::secret::SecretHash;

use super::presented::Explicit;
use crate::clients::PreparedClient;

/// The certificate and key of RFC 8705 Appendix A. Whoever had its private key would still be an unknown client.
const SELF_SIGNED: &str = r#"{"token_endpoint_auth_method":"self_signed_tls_client_auth","grant_types":["client_credentials"],
"jwks":{"keys":[{"kty":"EC","crv":"P-256","x":"1yfLHCpXqFjxCeHHHMVDTcLscpb07KUxudBmOMn8C7Q",
"y":"8_coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8","x5c":["MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY="]}]}}"#;
const PRIVATE_KEY_JWT: &str = r#"{"token_endpoint_auth_method":"private_key_jwt","grant_types":["client_credentials"],
"jwks":{"keys":[{"kty":"EC","crv":"P-256","x":"1yfLHCpXqFjxCeHHHMVDTcLscpb07KUxudBmOMn8C7Q","y":"8_coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8"}]}}"#;

const CLIENT_SECRET: &str =
    r#"{"token_endpoint_auth_method":"client_secret_basic","grant_types":["client_credentials"]}"#;

/// One decoy for certificates, one for assertions, one for secrets.
pub(super) struct Decoys {
    self_signed: Arc<PreparedClient>,
    private_key_jwt: Arc<PreparedClient>,
    client_secret: Arc<PreparedClient>,
}

impl Decoys {
    pub(super) fn new() -> Decoys {
        Decoys {
            self_signed: decoy(SELF_SIGNED),
            private_key_jwt: decoy(PRIVATE_KEY_JWT),
            client_secret: decoy(CLIENT_SECRET),
        }
    }

    /// The decoy that costs what a client would that could have made this request.
    pub(super) fn like(&self, explicit: &Explicit<'_>) -> &Arc<PreparedClient> {
        match explicit {
            Explicit::Assertion(_) => &self.private_key_jwt,
            Explicit::Secret(_) => &self.client_secret,
            Explicit::Nothing => &self.self_signed,
        }
    }
}

fn decoy(metadata: &str) -> Arc<PreparedClient> {
    let metadata =
        ClientMetadata::parse_stored(metadata.as_bytes()).expect("the metadata above is valid, which a test shows");
    let client_id = ClientId::parse("decoy").expect("five letters are a client identifier");
    let issuer = Issuer::parse("https://decoy.invalid").expect("this is an https URL");
    // The hash of nothing that anybody knows.
    let secret = SecretHash::from_bytes([0; 32]);
    let client = Client::new(client_id, metadata, ClientOrigin::Registration, 0).with_secret(Some(secret));
    Arc::new(PreparedClient::new(Arc::new(client), &issuer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keybound_protocol::authentication_method::AuthenticationMethod;
    use keybound_protocol::client_assertion::ClientAssertionError;
    use keybound_protocol::client_secret::PresentedClientSecret;

    #[test]
    fn the_decoys_are_what_they_pretend() {
        let decoys = Decoys::new();
        for (explicit, method) in [
            (Explicit::Nothing, AuthenticationMethod::SelfSignedTlsClientAuth),
            (
                Explicit::Assertion(Err(ClientAssertionError::Incomplete)),
                AuthenticationMethod::PrivateKeyJwt,
            ),
            (
                Explicit::Secret(PresentedClientSecret::of_form("x")),
                AuthenticationMethod::ClientSecretBasic,
            ),
        ] {
            let decoy = decoys.like(&explicit);
            assert_eq!(decoy.client.metadata().authentication_method(), method);
        }
    }
}
