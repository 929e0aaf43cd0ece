//! Certificates for the tests.

use std::sync::{Arc, LazyLock};

use keybound_tls::{Identity, Roots};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize,
    SigningKey, date_time_ymd,
};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};

/// The authority that signs the servers' certificates.
pub(crate) static CA: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(|| authority("Test CA"));

pub(crate) fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(crate) fn roots() -> Roots {
    Roots::from_pem(CA.pem().as_bytes()).unwrap()
}

/// A server's identity for these names (addresses work, too), from [`CA`].
pub(crate) fn server(names: &[&str]) -> Identity {
    let (certificate, key) = server_pem(names);
    Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
}

pub(crate) fn server_pem(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &*CA).unwrap();
    (certificate.pem(), key.serialize_pem())
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyKind {
    Rsa2048,
    P256,
    P384,
    P521,
    Ed25519,
}

pub(crate) fn key(kind: KeyKind) -> KeyPair {
    // RSA keys take a second to find: one does for all.
    static RSA: LazyLock<Vec<u8>> = LazyLock::new(|| {
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
            .unwrap()
            .serialize_der()
    });
    match kind {
        KeyKind::Rsa2048 => {
            let key = PrivatePkcs8KeyDer::from(RSA.clone());
            KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_RSA_SHA256).unwrap()
        }
        KeyKind::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
        KeyKind::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
        KeyKind::P521 => KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).unwrap(),
        KeyKind::Ed25519 => KeyPair::generate_for(&PKCS_ED25519).unwrap(),
    }
}

/// A client's certificates, DER, leaf first, and the key it signs with, which need not be the leaf's.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Vec<u8>,
}

impl Client {
    pub(crate) fn new(leaf: Vec<u8>, key: &KeyPair) -> Client {
        Client {
            chain: vec![leaf],
            key: key.serialize_der(),
        }
    }

    pub(crate) fn self_signed(kind: KeyKind) -> Client {
        let key = key(kind);
        Client::new(params().self_signed(&key).unwrap().der().to_vec(), &key)
    }

    /// From 1990 to 1991.
    pub(crate) fn expired(kind: KeyKind) -> Client {
        let key = key(kind);
        let mut params = params();
        params.not_before = date_time_ymd(1990, 1, 1);
        params.not_after = date_time_ymd(1991, 1, 1);
        Client::new(params.self_signed(&key).unwrap().der().to_vec(), &key)
    }

    /// Signed by `issuer`, with one dNSName.
    pub(crate) fn issued(issuer: &CertifiedIssuer<'static, KeyPair>, name: &str) -> Client {
        let key = key(KeyKind::P256);
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Client::new(params.signed_by(&key, issuer).unwrap().der().to_vec(), &key)
    }

    /// X.509 version 1: no version, no extensions.
    pub(crate) fn v1(kind: KeyKind) -> Client {
        let key = key(kind);
        Client::new(certificate(None, &spki(&key), None, &key), &key)
    }

    /// Version 3, with an extension that is not even DER.
    pub(crate) fn malformed_extensions(kind: KeyKind) -> Client {
        let key = key(kind);
        let extension = sequence(&[der(0x06, &[0x55, 0x1D, 0x11]), der(0x04, b"not a subjectAltName")].concat());
        Client::new(certificate(Some(2), &spki(&key), Some(&extension), &key), &key)
    }

    /// A certificate with any SubjectPublicKeyInfo, signed by some other key.
    pub(crate) fn with_key(spki: &[u8], kind: KeyKind) -> Client {
        let key = key(kind);
        Client::new(certificate(Some(2), spki, None, &key), &key)
    }

    /// The same certificate, signing with another key of the same kind.
    pub(crate) fn with_wrong_key(self, kind: KeyKind) -> Client {
        Client {
            key: key(kind).serialize_der(),
            ..self
        }
    }

    /// The same leaf with `count` certificates beside it.
    pub(crate) fn with_intermediates(mut self, count: usize) -> Client {
        self.chain.extend(std::iter::repeat_n(CA.der().to_vec(), count));
        self
    }

    pub(crate) fn leaf(&self) -> &[u8] {
        &self.chain[0]
    }

    pub(crate) fn certified_key(&self) -> Arc<CertifiedKey> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.clone()));
        let chain = self
            .chain
            .iter()
            .map(|certificate| CertificateDer::from(certificate.clone()))
            .collect();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        Arc::new(CertifiedKey::new(chain, key))
    }

    pub(crate) fn identity(&self) -> Identity {
        let chain: String = self
            .chain
            .iter()
            .map(|certificate| pem("CERTIFICATE", certificate))
            .collect();
        Identity::from_pem(chain.as_bytes(), pem("PRIVATE KEY", &self.key).as_bytes()).unwrap()
    }
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> = base64
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "client");
    params
}

fn spki(key: &KeyPair) -> Vec<u8> {
    key.subject_public_key_info()
}

/// RSA of 1024 bits: rsaEncryption, an odd modulus, 65537.
pub(crate) fn spki_rsa_1024() -> Vec<u8> {
    let modulus = [&[0x00, 0xC1][..], &[0x5B; 126], &[0x4D]].concat();
    let key = sequence(&[der(0x02, &modulus), der(0x02, &[1, 0, 1])].concat());
    let oid = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];
    spki_of(&oid, &der(0x05, &[]), &key)
}

/// A point of a curve that TLS has and we have not, secp256k1.
pub(crate) fn spki_secp256k1() -> Vec<u8> {
    let curve = der(0x06, &[0x2B, 0x81, 0x04, 0x00, 0x0A]);
    spki_of(
        &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01],
        &curve,
        &[&[0x04][..], &[0x5B; 64]].concat(),
    )
}

fn spki_of(algorithm: &[u8], parameters: &[u8], key: &[u8]) -> Vec<u8> {
    let algorithm = sequence(&[&der(0x06, algorithm)[..], parameters].concat());
    sequence(&[algorithm, der(0x03, &[&[0][..], key].concat())].concat())
}

/// A certificate that rcgen would not make.
fn certificate(version: Option<u8>, spki: &[u8], extension: Option<&[u8]>, signer: &KeyPair) -> Vec<u8> {
    // The algorithm of the certificate's own signature, which nobody here looks at: ecdsa-with-SHA256.
    let algorithm = sequence(&der(0x06, &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02]));
    let name_value = [der(0x06, &[0x55, 0x04, 0x03]), der(0x0C, b"v1 client")].concat();
    let name = sequence(&der(0x31, &sequence(&name_value)));
    let validity = sequence(&[der(0x17, b"200101000000Z"), der(0x17, b"490101000000Z")].concat());
    let mut tbs = Vec::new();
    if let Some(version) = version {
        tbs.extend(der(0xA0, &der(0x02, &[version])));
    }
    for part in [&der(0x02, &[7])[..], &algorithm, &name, &validity, &name, spki] {
        tbs.extend(part);
    }
    if let Some(extension) = extension {
        tbs.extend(der(0xA3, &sequence(extension)));
    }
    let tbs = sequence(&tbs);
    let signature = der(0x03, &[vec![0], signer.sign(&tbs).unwrap()].concat());
    sequence(&[tbs, algorithm, signature].concat())
}

fn sequence(contents: &[u8]) -> Vec<u8> {
    der(0x30, contents)
}

fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len();
    let mut out = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    out.extend(contents);
    out
}
