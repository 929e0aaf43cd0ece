//! Certificates for tests: authorities, and leaves that are right or wrong in one respect each.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_tls::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};

/// A certification authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
    above: Vec<Vec<u8>>,
}

/// A certificate with its key, and what has to be sent beside it.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) der: Vec<u8>,
    pub(crate) intermediates: Vec<Vec<u8>>,
    pub(crate) key_pem: String,
    pub(crate) serial: u64,
    x: String,
    y: String,
}

/// What a leaf is like; the default is right in every respect.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) common_name: &'static str,
    pub(crate) sans: Vec<SanType>,
    pub(crate) extended_key_usages: Vec<ExtendedKeyUsagePurpose>,
    pub(crate) key_usages: Vec<KeyUsagePurpose>,
    pub(crate) valid: (i32, i32),
    pub(crate) serial: u64,
}

impl Default for Wish {
    fn default() -> Wish {
        Wish {
            common_name: "demo",
            sans: Vec::new(),
            extended_key_usages: vec![ExtendedKeyUsagePurpose::ClientAuth],
            key_usages: vec![KeyUsagePurpose::DigitalSignature],
            valid: (2020, 2049),
            serial: 7,
        }
    }
}

/// A leaf for a client known by this dNSName.
pub(crate) fn dns(name: &str) -> Wish {
    Wish {
        sans: vec![SanType::DnsName(name.try_into().unwrap())],
        ..Wish::default()
    }
}

impl Authority {
    /// A self-signed root.
    pub(crate) fn root(common_name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let params = authority_params(common_name);
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Authority {
            issuer: Issuer::new(params, key),
            certificate,
            above: Vec::new(),
        }
    }

    /// An authority certified by this one.
    pub(crate) fn intermediate(&self, common_name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let params = authority_params(common_name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        let mut above = vec![certificate.clone()];
        above.extend(self.above.clone());
        Authority {
            issuer: Issuer::new(params, key),
            certificate,
            above,
        }
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.certificate
    }

    pub(crate) fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// A leaf with a key of its own.
    pub(crate) fn issue(&self, wish: Wish) -> Leaf {
        self.issue_for(&KeyPair::generate().unwrap(), wish)
    }

    /// A leaf for a key that already exists.
    pub(crate) fn issue_for(&self, key: &KeyPair, wish: Wish) -> Leaf {
        let serial = wish.serial;
        let der = leaf_params(wish).signed_by(key, &self.issuer).unwrap().der().to_vec();
        Leaf::new(der, self.above.clone(), key, serial)
    }

    /// A revocation list, DER, that names these serial numbers.
    pub(crate) fn revocation_list(&self, serials: &[u64], valid: (i32, i32)) -> Vec<u8> {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(valid.0, 1, 1),
            next_update: date_time_ymd(valid.1, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }
}

/// A certificate that signs itself.
pub(crate) fn self_signed(wish: Wish) -> Leaf {
    self_signed_by(&KeyPair::generate().unwrap(), wish)
}

/// A certificate that signs itself, with a key that already exists.
pub(crate) fn self_signed_by(key: &KeyPair, wish: Wish) -> Leaf {
    let serial = wish.serial;
    let der = leaf_params(wish).self_signed(key).unwrap().der().to_vec();
    Leaf::new(der, Vec::new(), key, serial)
}

impl Leaf {
    fn new(der: Vec<u8>, intermediates: Vec<Vec<u8>>, key: &KeyPair, serial: u64) -> Leaf {
        // An uncompressed point: 04, x, y.
        let point = key.public_key_raw();
        let (x, y) = point[1..].split_at(32);
        Leaf {
            der,
            intermediates,
            key_pem: key.serialize_pem(),
            serial,
            x: URL_SAFE_NO_PAD.encode(x),
            y: URL_SAFE_NO_PAD.encode(y),
        }
    }

    /// For the TLS stack.
    pub(crate) fn identity(&self) -> Identity {
        let mut chain = pem("CERTIFICATE", &self.der);
        for certificate in &self.intermediates {
            chain.push_str(&pem("CERTIFICATE", certificate));
        }
        Identity::from_pem(chain.as_bytes(), self.key_pem.as_bytes()).unwrap()
    }

    /// The leaf alone, with these certificates beside it.
    pub(crate) fn with_intermediates(mut self, intermediates: &[&[u8]]) -> Leaf {
        self.intermediates = intermediates.iter().map(|der| der.to_vec()).collect();
        self
    }

    pub(crate) fn thumbprint(&self) -> String {
        CertificateThumbprint::of_certificate(&self.der).to_string()
    }

    /// The certificate as one key of a JWK set.
    pub(crate) fn jwk(&self) -> serde_json::Value {
        serde_json::json!({"kty": "EC", "crv": "P-256", "x": self.x, "y": self.y, "x5c": [STANDARD.encode(&self.der)]})
    }

    /// The key of the certificate, for signatures.
    pub(crate) fn key(&self) -> KeyPair {
        KeyPair::from_pem(&self.key_pem).unwrap()
    }
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, "GB");
    name.push(DnType::OrganizationName, "Example");
    name.push(DnType::CommonName, common_name);
    name
}

fn authority_params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
    params
}

fn leaf_params(wish: Wish) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(wish.common_name);
    params.subject_alt_names = wish.sans;
    params.extended_key_usages = wish.extended_key_usages;
    params.key_usages = wish.key_usages;
    params.not_before = date_time_ymd(wish.valid.0, 1, 1);
    params.not_after = date_time_ymd(wish.valid.1, 1, 1);
    params.serial_number = Some(SerialNumber::from(wish.serial));
    params
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> = base64
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
