//! How a client authenticates itself at the endpoints of an authorization server.

use std::sync::Arc;

use http::HeaderValue;
use keybound_protocol::base64url;
use keybound_protocol::client::ClientId;
use keybound_protocol::client_assertion::{CLIENT_ASSERTION_TYPE, client_assertion};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::signer::{Signer, SigningError};
use keybound_protocol::time::Timestamp;
use url::form_urlencoded;
use zeroize::Zeroizing;

/// How a client authenticates.
#[derive(Clone, Debug)]
pub enum ClientAuthentication {
    /// By the certificate of its identity: `tls_client_auth` or `self_signed_tls_client_auth`, which differ at the server alone.
    Certificate,
    /// By assertions that it signs: `private_key_jwt` (RFC 7523). Its tokens are bound all the same if its identity has a
    /// certificate and its registration says so.
    PrivateKeyJwt(AssertionKey),
    /// By a secret in the form: `client_secret_post` (RFC 6749 §2.3.1), for servers that offer nothing better.
    ClientSecretPost(ClientSecret),
    /// By a secret in a header: `client_secret_basic` (RFC 6749 §2.3.1), for servers that offer nothing better.
    ClientSecretBasic(ClientSecret),
    /// Not at all: `none`, a public client.
    None,
}

/// A secret that a server gave to a client. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct ClientSecret(Zeroizing<String>);

impl ClientSecret {
    /// Takes the secret as the server gave it.
    pub fn new(text: String) -> ClientSecret {
        ClientSecret(Zeroizing::new(text))
    }

    /// `Basic` credentials: both halves are form-encoded first (RFC 6749 §2.3.1), so that neither has a colon.
    fn basic(&self, client_id: &ClientId) -> HeaderValue {
        let encoded = |text: &str| Zeroizing::new(form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>());
        let credentials = Zeroizing::new(format!("{}:{}", *encoded(client_id.as_str()), *encoded(&self.0)));
        let text = Zeroizing::new(format!("Basic {}", base64url::encode_standard(credentials.as_bytes())));
        let mut value = HeaderValue::try_from(text.as_str()).expect("base64 is printable ASCII");
        value.set_sensitive(true);
        value
    }
}

impl std::fmt::Debug for ClientSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ClientSecret(…)")
    }
}

/// The key of a client that signs its assertions, and where their identifiers come from.
#[derive(Clone)]
pub struct AssertionKey {
    signer: Arc<dyn Signer>,
    new_assertion_id: Arc<dyn Fn() -> String + Send + Sync>,
}

impl AssertionKey {
    /// Signs with `signer`. Every call of `new_assertion_id` returns a `jti` that was never used: 128 random bits will do.
    pub fn new(signer: Arc<dyn Signer>, new_assertion_id: impl Fn() -> String + Send + Sync + 'static) -> AssertionKey {
        AssertionKey {
            signer,
            new_assertion_id: Arc::new(new_assertion_id),
        }
    }
}

impl std::fmt::Debug for AssertionKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AssertionKey")
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}

/// A form with what authenticates its sender.
#[derive(Debug)]
pub(crate) struct AuthenticatedForm {
    pub(crate) pairs: Vec<(&'static str, String)>,
    /// The value of the header of that name.
    pub(crate) authorization: Option<HeaderValue>,
}

impl ClientAuthentication {
    /// Adds to a form what this method needs.
    ///
    /// `client_id` is in every one, also where an assertion names the client: with mutual TLS it is the only thing that tells the
    /// server whose certificate to expect (RFC 8705 §2). The audience of an assertion is the issuer wherever it is sent.
    pub(crate) fn authenticate(
        &self,
        mut form: Vec<(&'static str, String)>,
        client_id: &ClientId,
        issuer: &Issuer,
        now: Timestamp,
    ) -> Result<AuthenticatedForm, SigningError> {
        let mut authorization = None;
        form.push(("client_id", client_id.as_str().to_owned()));
        match self {
            ClientAuthentication::PrivateKeyJwt(key) => {
                let assertion = client_assertion(&*key.signer, client_id, issuer, &(key.new_assertion_id)(), now)?;
                form.push(("client_assertion_type", CLIENT_ASSERTION_TYPE.to_owned()));
                form.push(("client_assertion", assertion));
            }
            ClientAuthentication::ClientSecretPost(ClientSecret(secret)) => {
                form.push(("client_secret", secret.as_str().to_owned()));
            }
            ClientAuthentication::ClientSecretBasic(secret) => authorization = Some(secret.basic(client_id)),
            ClientAuthentication::Certificate | ClientAuthentication::None => {}
        }
        Ok(AuthenticatedForm {
            pairs: form,
            authorization,
        })
    }
}
