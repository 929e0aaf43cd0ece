//! One JSON Web Key (RFC 7517): a public key, what it is for, and the certificates that carry it.
//!
//! Private and symmetric keys have no value here: a JWK that contains one is refused, whoever sent it. `x5u` is never
//! followed (FAPI 2.0 §5.4.3).

use std::fmt;

use aws_lc_rs::signature::ParsedPublicKey;
use serde_json::{Map, Value, json};

use crate::base64url::{self, Base64Error};
use crate::certificate::{self, CertificateError};
use crate::confirmation::{CertificateThumbprint, ThumbprintError};
use crate::json::{JsonError, JsonObject, JsonTypeError};
use crate::public_key::{Curve, PublicKey, PublicKeyError};
use crate::signature_algorithm::SignatureAlgorithm;

/// The most certificates one `x5c` may have.
pub const JWK_CERTIFICATES_MAX: usize = 8;

/// Why a JSON object is not a public key of ours.
#[derive(Debug, thiserror::Error)]
pub enum JwkError {
    /// Not a JSON object without duplicate members.
    #[error("not a JSON object")]
    Json(#[from] JsonError),
    /// A member has the wrong JSON type.
    #[error(transparent)]
    Type(#[from] JsonTypeError),
    /// A member that this `kty` must have is missing (RFC 7518 §6).
    #[error("member `{0}` is missing")]
    Missing(&'static str),
    /// A key member is not base64url.
    #[error("member `{member}` is not base64url")]
    Base64url {
        /// The member's name.
        member: &'static str,
        /// What is wrong with it.
        #[source]
        source: Base64Error,
    },
    /// The key members make no key.
    #[error("the key members make no key")]
    Key(#[source] PublicKeyError),
    /// A private or symmetric key: whoever can read this document can sign.
    #[error("member `{0}` is private key material")]
    PrivateKey(&'static str),
    /// A `kty` that is not supported.
    #[error("key type {0:?} is not supported")]
    UnsupportedKeyType(String),
    /// A `crv` that is not supported.
    #[error("curve {0:?} is not supported")]
    UnsupportedCurve(String),
    /// An RSA key outside the permitted sizes.
    #[error("an RSA key of {bits} bits is not permitted")]
    RsaSize {
        /// The modulus's length.
        bits: usize,
    },
    /// `alg` names an algorithm for another kind of key.
    #[error("`alg` {algorithm} does not fit the key type")]
    AlgorithmMismatch {
        /// What `alg` says.
        algorithm: SignatureAlgorithm,
    },
    /// `x5c` is empty or has more than [`JWK_CERTIFICATES_MAX`] certificates.
    #[error("`x5c` has {0} certificates")]
    CertificateCount(usize),
    /// An entry of `x5c` is not standard base64 with padding (RFC 7517 §4.7).
    #[error("`x5c` is not standard base64")]
    CertificateBase64(#[source] Base64Error),
    /// An entry of `x5c` is not a certificate.
    #[error("`x5c` does not hold a certificate")]
    Certificate(#[source] CertificateError),
    /// The first certificate's key cannot be read.
    #[error("the key of the first certificate in `x5c` cannot be read")]
    CertificateKey(#[source] PublicKeyError),
    /// The first certificate has another key than the JWK's own members (RFC 7517 §4.7).
    #[error("the first certificate in `x5c` has another key than the JWK")]
    CertificateKeyMismatch,
    /// `x5t#S256` is malformed.
    #[error("`x5t#S256` is not a thumbprint")]
    Thumbprint(#[from] ThumbprintError),
    /// `x5t#S256` is not the thumbprint of the first certificate in `x5c`.
    #[error("`x5t#S256` is not the thumbprint of the first certificate in `x5c`")]
    ThumbprintMismatch,
}

impl JwkError {
    /// Whether the key is of a kind that we do not use, rather than wrong: such keys are passed over in a set
    /// (RFC 7517 §5).
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self,
            Self::UnsupportedKeyType(_) | Self::UnsupportedCurve(_) | Self::RsaSize { .. }
        )
    }
}

/// A public JSON Web Key, parsed once and ready for verification.
#[derive(Clone)]
pub struct Jwk {
    public_key: PublicKey,
    key_id: Option<Box<str>>,
    algorithm: Option<Box<str>>,
    public_key_use: Option<Box<str>>,
    key_operations: Option<Vec<String>>,
    certificates: Vec<Vec<u8>>,
    certificate_thumbprint: Option<CertificateThumbprint>,
    verification_keys: Vec<(SignatureAlgorithm, ParsedPublicKey)>,
}

impl Jwk {
    /// Reads one JWK.
    ///
    /// # Errors
    /// See [`JwkError`].
    pub fn parse(json: &[u8]) -> Result<Self, JwkError> {
        Self::from_object(&JsonObject::parse(json)?)
    }

    /// Reads one JWK from an object that was already parsed.
    ///
    /// # Errors
    /// See [`JwkError`].
    pub fn from_object(object: &JsonObject) -> Result<Self, JwkError> {
        // Asked first: such a document must be refused also when its `kty` is unknown.
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
            if object.contains(member) {
                return Err(JwkError::PrivateKey(member));
            }
        }
        let public_key = public_key(object)?;
        let certificates = certificates(object)?;
        if let Some(first) = certificates.first() {
            let info = certificate::subject_public_key_info(first).map_err(JwkError::Certificate)?;
            let certified = PublicKey::of_subject_public_key_info(info).map_err(JwkError::CertificateKey)?;
            if certified != public_key {
                return Err(JwkError::CertificateKeyMismatch);
            }
        }
        let certificate_thumbprint = object
            .string("x5t#S256")?
            .map(str::parse::<CertificateThumbprint>)
            .transpose()?;
        if let (Some(thumbprint), Some(first)) = (certificate_thumbprint, certificates.first())
            && thumbprint != CertificateThumbprint::of_certificate(first)
        {
            return Err(JwkError::ThumbprintMismatch);
        }
        let algorithm = object.string("alg")?;
        if let Some(algorithm) = algorithm.and_then(SignatureAlgorithm::from_name)
            && !public_key.algorithms().contains(&algorithm)
        {
            return Err(JwkError::AlgorithmMismatch { algorithm });
        }
        let mut jwk = Self {
            public_key,
            key_id: object.string("kid")?.map(Into::into),
            algorithm: algorithm.map(Into::into),
            public_key_use: object.string("use")?.map(Into::into),
            key_operations: object
                .strings("key_ops")?
                .map(|operations| operations.into_iter().map(str::to_owned).collect()),
            certificates,
            certificate_thumbprint,
            verification_keys: Vec::new(),
        };
        jwk.verification_keys = jwk.prepare_verification_keys();
        Ok(jwk)
    }

    /// The JWK of a key that makes signatures of one algorithm: what a signer publishes. Its `kid` is the RFC 7638
    /// thumbprint.
    pub fn for_signing(public_key: PublicKey, algorithm: SignatureAlgorithm) -> Result<Self, JwkError> {
        if !public_key.algorithms().contains(&algorithm) {
            return Err(JwkError::AlgorithmMismatch { algorithm });
        }
        let mut jwk = Self {
            public_key,
            key_id: None,
            algorithm: Some(algorithm.name().into()),
            public_key_use: Some("sig".into()),
            key_operations: None,
            certificates: Vec::new(),
            certificate_thumbprint: None,
            verification_keys: Vec::new(),
        };
        jwk.key_id = Some(base64url::encode(&jwk.thumbprint()).into());
        jwk.verification_keys = jwk.prepare_verification_keys();
        Ok(jwk)
    }

    /// The JWK that registers a certificate for `self_signed_tls_client_auth` (RFC 8705 §2.2.2).
    ///
    /// # Errors
    /// [`JwkError::Certificate`] and [`JwkError::CertificateKey`] if `certificate`, DER, has no key that we can read.
    pub fn for_certificate(certificate: &[u8]) -> Result<Self, JwkError> {
        let info = certificate::subject_public_key_info(certificate).map_err(JwkError::Certificate)?;
        let public_key = PublicKey::of_subject_public_key_info(info).map_err(JwkError::CertificateKey)?;
        let mut jwk = Self {
            public_key,
            key_id: None,
            algorithm: None,
            public_key_use: None,
            key_operations: None,
            certificates: vec![certificate.to_vec()],
            certificate_thumbprint: None,
            verification_keys: Vec::new(),
        };
        jwk.verification_keys = jwk.prepare_verification_keys();
        Ok(jwk)
    }

    /// The key itself.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// `kid`
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The certificates of `x5c`, DER; the first one carries this key. Empty if there is no `x5c`.
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }

    /// The algorithms whose signatures this key may verify: of its kind, narrowed by `alg`, `use` and `key_ops`.
    pub fn algorithms(&self) -> impl Iterator<Item = SignatureAlgorithm> {
        self.verification_keys.iter().map(|(algorithm, _)| *algorithm)
    }

    /// Whether `signature` over `message` was made with this key by `algorithm`.
    ///
    /// `false` also for an algorithm that the key is not for (RFC 8725 §3.1: the algorithm belongs to the key).
    pub fn verifies(&self, algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        self.verification_keys
            .iter()
            .find(|(own, _)| *own == algorithm)
            .is_some_and(|(_, key)| key.verify_sig(message, signature).is_ok())
    }

    /// The JWK thumbprint (RFC 7638) with SHA-256. It names a key; `x5t#S256` names a certificate.
    pub fn thumbprint(&self) -> [u8; 32] {
        // The required members alone, in lexical order, without white space (RFC 7638 §3). Base64url needs no escapes.
        let encode = |octets: &[u8]| base64url::encode(octets);
        let canonical = match &self.public_key {
            PublicKey::Ec { curve, x, y } => {
                format!(
                    r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
                    curve.name(),
                    encode(x),
                    encode(y)
                )
            }
            PublicKey::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(x)),
            PublicKey::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encode(e), encode(n)),
        };
        crate::digest::sha256(canonical.as_bytes())
    }

    /// The key alone as JSON, without what it is for: how a DPoP proof carries it (RFC 9449 §4.2).
    pub fn public_members(&self) -> Value {
        let encode = |octets: &[u8]| base64url::encode(octets);
        match &self.public_key {
            PublicKey::Ec { curve, x, y } => {
                json!({"kty": "EC", "crv": curve.name(), "x": encode(x), "y": encode(y)})
            }
            PublicKey::Ed25519 { x } => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(x)}),
            PublicKey::Rsa { n, e } => json!({"kty": "RSA", "n": encode(n), "e": encode(e)}),
        }
    }

    /// The JWK as JSON: the members that are understood here, unknown ones are not kept.
    pub fn to_json(&self) -> Value {
        let mut members = self.public_members();
        let mut add = |member: &str, value: Value| {
            if let Value::Object(members) = &mut members {
                Map::insert(members, member.to_owned(), value);
            }
        };
        for (member, value) in [
            ("kid", &self.key_id),
            ("alg", &self.algorithm),
            ("use", &self.public_key_use),
        ] {
            if let Some(value) = value {
                add(member, json!(value));
            }
        }
        if let Some(operations) = &self.key_operations {
            add("key_ops", json!(operations));
        }
        if !self.certificates.is_empty() {
            add(
                "x5c",
                self.certificates
                    .iter()
                    .map(|der| base64url::encode_standard(der))
                    .collect(),
            );
        }
        if let Some(thumbprint) = &self.certificate_thumbprint {
            add("x5t#S256", json!(thumbprint));
        }
        members
    }

    fn prepare_verification_keys(&self) -> Vec<(SignatureAlgorithm, ParsedPublicKey)> {
        let for_signatures = self
            .public_key_use
            .as_deref()
            .is_none_or(|public_key_use| public_key_use == "sig");
        let may_verify = self
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if !for_signatures || !may_verify {
            return Vec::new();
        }
        self.public_key
            .algorithms()
            .iter()
            .filter(|algorithm| match self.algorithm.as_deref() {
                None => true,
                Some(registered) => SignatureAlgorithm::from_name(registered) == Some(**algorithm),
            })
            .filter_map(|algorithm| Some((*algorithm, self.public_key.verification_key(*algorithm)?)))
            .collect()
    }
}

impl fmt::Debug for Jwk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Jwk")
            .field("key_id", &self.key_id)
            .field("public_key", &self.public_key)
            .field("certificates", &self.certificates.len())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Jwk {
    fn eq(&self, other: &Self) -> bool {
        self.public_key == other.public_key
            && self.key_id == other.key_id
            && self.algorithm == other.algorithm
            && self.public_key_use == other.public_key_use
            && self.key_operations == other.key_operations
            && self.certificates == other.certificates
    }
}

impl Eq for Jwk {}

fn public_key(object: &JsonObject) -> Result<PublicKey, JwkError> {
    let octets = |member: &'static str| {
        let text = object.string(member)?.ok_or(JwkError::Missing(member))?;
        base64url::decode(text).map_err(|source| JwkError::Base64url { member, source })
    };
    let curve_name = || object.string("crv")?.ok_or(JwkError::Missing("crv"));
    let key = match object.string("kty")?.ok_or(JwkError::Missing("kty"))? {
        "EC" => {
            let name = curve_name()?;
            let curve = Curve::from_name(name).ok_or_else(|| JwkError::UnsupportedCurve(name.to_owned()))?;
            PublicKey::ec(curve, octets("x")?, octets("y")?)
        }
        "OKP" => match curve_name()? {
            "Ed25519" => PublicKey::ed25519(octets("x")?),
            name => return Err(JwkError::UnsupportedCurve(name.to_owned())),
        },
        "RSA" => PublicKey::rsa(octets("n")?, octets("e")?),
        name => return Err(JwkError::UnsupportedKeyType(name.to_owned())),
    };
    key.map_err(|error| match error {
        PublicKeyError::RsaSize { bits } => JwkError::RsaSize { bits },
        error => JwkError::Key(error),
    })
}

fn certificates(object: &JsonObject) -> Result<Vec<Vec<u8>>, JwkError> {
    let Some(texts) = object.strings("x5c")? else {
        return Ok(Vec::new());
    };
    if texts.is_empty() || texts.len() > JWK_CERTIFICATES_MAX {
        return Err(JwkError::CertificateCount(texts.len()));
    }
    texts
        .into_iter()
        .map(|text| base64url::decode_standard(text).map_err(JwkError::CertificateBase64))
        .collect()
}
