//! A small certification authority for tests. It makes every certificate that is asked of it, also the wrong ones.

use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use keybound_protocol::client::{Client, ClientId, ClientOrigin};
use keybound_protocol::client_metadata::ClientMetadata;
use keybound_protocol::peer_certificate::{PeerCertificate, PresentedCertificate};
use keybound_protocol::time::Timestamp;
use keybound_protocol::trust_anchor::{CrlMissing, TrustAnchor, TrustAnchorSettings, TrustAnchors};
use serde_json::Value;

use crate::der::{bit_string, boolean, common_name, explicit, implicit, integer, octet_string, oid, sequence, tlv};

/// The time of every test: 2026-01-01T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_secs(1_767_225_600);
pub(crate) const DAY: i64 = 86_400;

pub(crate) fn days_from_now(days: i64) -> Timestamp {
    Timestamp::from_unix_secs(NOW.unix_secs() + days * DAY)
}

pub(crate) const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
pub(crate) const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
pub(crate) const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";

/// A P-256 key.
pub(crate) struct Key {
    pair: EcdsaKeyPair,
}

impl Key {
    pub(crate) fn generate() -> Key {
        Key {
            pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
        }
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        self.pair.public_key().as_der().unwrap().as_ref().to_vec()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }
}

/// What a certificate will say. Every field can be wrong.
#[derive(Clone)]
pub(crate) struct Template {
    /// 0 for version 1, which leaves the field out.
    pub(crate) version: u8,
    pub(crate) serial: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) spki: Option<Vec<u8>>,
    pub(crate) extensions: Vec<Vec<u8>>,
    pub(crate) signature_algorithm: String,
    /// Octets between the extensions and the end of the signed part.
    pub(crate) after_extensions: Vec<u8>,
    /// An issuer other than the authority's own subject.
    pub(crate) issuer: Option<Vec<u8>>,
}

impl Template {
    /// A valid end-entity certificate with this common name.
    pub(crate) fn client(text: &str) -> Template {
        Template::new(common_name(text))
            .with(key_usage(&[0]))
            .with(extended_key_usage(&[CLIENT_AUTH]))
    }

    /// A certificate without extensions.
    pub(crate) fn new(subject: Vec<u8>) -> Template {
        Template {
            version: 2,
            serial: vec![0x42],
            subject,
            not_before: days_from_now(-1),
            not_after: days_from_now(90),
            spki: None,
            extensions: Vec::new(),
            signature_algorithm: ECDSA_SHA256.to_owned(),
            after_extensions: Vec::new(),
            issuer: None,
        }
    }

    pub(crate) fn authority(text: &str) -> Template {
        let mut template = Template::new(common_name(text));
        template.not_before = days_from_now(-365);
        template.not_after = days_from_now(365);
        template.with(basic_constraints(true, None)).with(key_usage(&[5, 6]))
    }

    pub(crate) fn with(mut self, extension: Vec<u8>) -> Template {
        self.extensions.push(extension);
        self
    }

    /// Without the extension with this identifier.
    pub(crate) fn without(mut self, identifier: &str) -> Template {
        let identifier = oid(identifier);
        self.extensions
            .retain(|extension| !extension.windows(identifier.len()).any(|part| part == identifier));
        self
    }

    pub(crate) fn subject(mut self, subject: Vec<u8>) -> Template {
        self.subject = subject;
        self
    }

    pub(crate) fn serial(mut self, serial: &[u8]) -> Template {
        self.serial = serial.to_vec();
        self
    }

    pub(crate) fn valid(mut self, not_before: Timestamp, not_after: Timestamp) -> Template {
        (self.not_before, self.not_after) = (not_before, not_after);
        self
    }

    /// Signs it with `key` in the name of `issuer`.
    pub(crate) fn sign(&self, issuer: &[u8], key: &Key) -> Vec<u8> {
        let algorithm = sequence(&[oid(&self.signature_algorithm)]);
        let mut fields = Vec::new();
        if self.version > 0 {
            fields.push(explicit(0, &integer(&[self.version])));
        }
        fields.push(integer(&self.serial));
        fields.push(algorithm.clone());
        fields.push(self.issuer.clone().unwrap_or_else(|| issuer.to_vec()));
        fields.push(sequence(&[time(self.not_before), time(self.not_after)]));
        fields.push(self.subject.clone());
        fields.push(self.spki.clone().unwrap_or_else(|| key.spki()));
        if !self.extensions.is_empty() {
            fields.push(explicit(3, &sequence(&self.extensions)));
        }
        fields.push(self.after_extensions.clone());
        let tbs = sequence(&fields);
        let signature = bit_string(&key.sign(&tbs));
        sequence(&[tbs, algorithm, signature])
    }

    /// Signs it with its own key.
    pub(crate) fn self_sign(&self, key: &Key) -> Vec<u8> {
        self.sign(&self.subject.clone(), key)
    }
}

/// UTCTime up to 2049, GeneralizedTime after (RFC 5280 §4.1.2.5).
pub(crate) fn time(timestamp: Timestamp) -> Vec<u8> {
    let digits: String = timestamp
        .to_string()
        .chars()
        .filter(|character| character.is_ascii_digit())
        .collect();
    let year: u32 = digits[..4].parse().unwrap();
    match year {
        1950..2050 => tlv(0x17, format!("{}Z", &digits[2..]).as_bytes()),
        _ => tlv(0x18, format!("{digits}Z").as_bytes()),
    }
}

pub(crate) fn extension(identifier: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut fields = vec![oid(identifier)];
    if critical {
        fields.push(boolean(true));
    }
    fields.push(octet_string(value));
    sequence(&fields)
}

pub(crate) fn basic_constraints(ca: bool, path_length_max: Option<u8>) -> Vec<u8> {
    let mut fields = Vec::new();
    if ca {
        fields.push(boolean(true));
    }
    fields.extend(path_length_max.map(|length| integer(&[length])));
    extension("2.5.29.19", true, &sequence(&fields))
}

/// The numbers of the bits in RFC 5280 §4.2.1.3.
pub(crate) fn key_usage(bits: &[u8]) -> Vec<u8> {
    let octets = bits.iter().fold([0u8; 2], |mut octets, bit| {
        octets[usize::from(bit / 8)] |= 0x80 >> (bit % 8);
        octets
    });
    let significant = if octets[1] == 0 { &octets[..1] } else { &octets[..] };
    let unused = significant.last().unwrap().trailing_zeros().min(7) as u8;
    extension("2.5.29.15", true, &tlv(0x03, &[&[unused], significant].concat()))
}

pub(crate) fn extended_key_usage(purposes: &[&str]) -> Vec<u8> {
    let purposes: Vec<Vec<u8>> = purposes.iter().map(|purpose| oid(purpose)).collect();
    extension("2.5.29.37", false, &sequence(&purposes))
}

/// Alternative names as (number in GeneralName, octets).
pub(crate) fn alternative_names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let names: Vec<Vec<u8>> = names.iter().map(|(number, octets)| implicit(*number, octets)).collect();
    extension("2.5.29.17", false, &sequence(&names))
}

pub(crate) const EMAIL: u8 = 1;
pub(crate) const DNS: u8 = 2;
pub(crate) const URI: u8 = 6;
pub(crate) const IP: u8 = 7;

pub(crate) fn authority_key_identifier(identifier: &[u8]) -> Vec<u8> {
    extension("2.5.29.35", false, &sequence(&[implicit(0, identifier)]))
}

pub(crate) fn subject_key_identifier(identifier: &[u8]) -> Vec<u8> {
    extension("2.5.29.14", false, &octet_string(identifier))
}

/// An authority: its key, its name, its certificate.
pub(crate) struct Authority {
    pub(crate) key: Key,
    pub(crate) name: Vec<u8>,
    pub(crate) certificate: Vec<u8>,
}

impl Authority {
    pub(crate) fn root(text: &str) -> Authority {
        Authority::root_of(&Template::authority(text))
    }

    pub(crate) fn root_of(template: &Template) -> Authority {
        let key = Key::generate();
        let certificate = template.self_sign(&key);
        Authority {
            key,
            name: template.subject.clone(),
            certificate,
        }
    }

    /// An authority below this one.
    pub(crate) fn intermediate(&self, text: &str) -> Authority {
        self.intermediate_of(Template::authority(text))
    }

    pub(crate) fn intermediate_of(&self, mut template: Template) -> Authority {
        let key = Key::generate();
        template.spki.get_or_insert_with(|| key.spki());
        let certificate = self.issue(&template);
        Authority {
            key,
            name: template.subject.clone(),
            certificate,
        }
    }

    /// Issues a certificate, for a key of its own if the template has none.
    pub(crate) fn issue(&self, template: &Template) -> Vec<u8> {
        let mut template = template.clone();
        template.spki.get_or_insert_with(|| Key::generate().spki());
        template.sign(&self.name, &self.key)
    }

    /// A revocation list with these serial numbers.
    pub(crate) fn crl(&self, revoked: &[&[u8]], this_update: Timestamp, next_update: Timestamp) -> Vec<u8> {
        self.crl_with(revoked, this_update, next_update, &[])
    }

    /// A revocation list with further extensions.
    pub(crate) fn crl_with(
        &self,
        revoked: &[&[u8]],
        this_update: Timestamp,
        next_update: Timestamp,
        extensions: &[Vec<u8>],
    ) -> Vec<u8> {
        let algorithm = sequence(&[oid(ECDSA_SHA256)]);
        let entry = |serial: &&[u8]| sequence(&[integer(serial), time(days_from_now(-2))]);
        let mut fields = vec![
            integer(&[1]),
            algorithm.clone(),
            self.name.clone(),
            time(this_update),
            time(next_update),
        ];
        if !revoked.is_empty() {
            fields.push(sequence(&revoked.iter().map(entry).collect::<Vec<_>>()));
        }
        let number = if extensions
            .iter()
            .any(|extension| extension.windows(5).any(|part| part == oid("2.5.29.20")))
        {
            Vec::new()
        } else {
            extension("2.5.29.20", false, &integer(&[1]))
        };
        let extensions = [&[number][..], extensions].concat();
        fields.push(explicit(0, &sequence(&extensions)));
        let tbs = sequence(&fields);
        let signature = bit_string(&self.key.sign(&tbs));
        sequence(&[tbs, algorithm, signature])
    }

    pub(crate) fn fresh_crl(&self, revoked: &[&[u8]]) -> Vec<u8> {
        self.crl(revoked, days_from_now(-1), days_from_now(7))
    }

    /// Trust in this authority alone, without revocation.
    pub(crate) fn settings(&self, name: &str) -> TrustAnchorSettings {
        TrustAnchorSettings {
            name: name.parse().unwrap(),
            certificates: vec![self.certificate.clone()],
            crls: Vec::new(),
            crl_missing: None,
            require_client_auth_eku: false,
            strict: false,
        }
    }

    pub(crate) fn settings_with_crls(
        &self,
        name: &str,
        crls: Vec<Vec<u8>>,
        missing: CrlMissing,
    ) -> TrustAnchorSettings {
        TrustAnchorSettings {
            crls,
            crl_missing: Some(missing),
            ..self.settings(name)
        }
    }
}

pub(crate) fn anchors(settings: &[TrustAnchorSettings]) -> TrustAnchors {
    let anchors = settings
        .iter()
        .flat_map(|settings| TrustAnchor::load(settings).unwrap())
        .collect();
    TrustAnchors::new(7, anchors)
}

/// A certificate as it comes from a handshake.
pub(crate) fn presented(leaf: &[u8], intermediates: &[&[u8]]) -> PresentedCertificate {
    let intermediates = intermediates.iter().map(|der| der.to_vec()).collect();
    PresentedCertificate::from_peer(PeerCertificate::assert_possession_proven(leaf.to_vec(), intermediates))
}

/// A client of this metadata.
pub(crate) fn client(metadata: &Value) -> Arc<Client> {
    let metadata = ClientMetadata::parse_stored(metadata.to_string().as_bytes()).unwrap();
    let client_id: ClientId = "demo".parse().unwrap();
    Arc::new(Client::new(client_id, metadata, ClientOrigin::ConfigurationFile, 3))
}

/// A `tls_client_auth` client with this subject parameter.
pub(crate) fn tls_client(parameter: &str, value: &str) -> Arc<Client> {
    client(&serde_json::json!({
        "token_endpoint_auth_method": "tls_client_auth", "grant_types": ["client_credentials"], parameter: value,
    }))
}
