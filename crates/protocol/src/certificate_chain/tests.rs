//! How many signatures a verdict takes, whatever was presented.

#![expect(clippy::unwrap_used, reason = "tests")]

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, SignatureAlgorithm, date_time_ymd,
};

use super::search::Search;
use super::signature::SIGNATURES_MAX;
use super::{ChainError, VerifiedChain};
use crate::peer_certificate::{INTERMEDIATES_MAX, PeerCertificate};
use crate::time::Timestamp;
use crate::trust_anchor::{TrustAnchor, TrustAnchorSettings};

/// 2026-01-01T00:00:00Z.
const NOW: Timestamp = Timestamp::from_unix_secs(1_767_225_600);
const P256: &SignatureAlgorithm = &PKCS_ECDSA_P256_SHA256;

struct Authority {
    name: &'static str,
    key: KeyPair,
    certificate: Vec<u8>,
}

fn template(name: &str, is_ca: IsCa, names_key: bool) -> CertificateParams {
    let mut template = CertificateParams::new(Vec::new()).unwrap();
    template.distinguished_name = DistinguishedName::new();
    template.distinguished_name.push(DnType::CommonName, name);
    template.not_before = date_time_ymd(2025, 1, 1);
    template.not_after = date_time_ymd(2027, 1, 1);
    template.is_ca = is_ca;
    template.use_authority_key_identifier_extension = names_key;
    template
}

fn authority_template(name: &str) -> CertificateParams {
    template(name, IsCa::Ca(BasicConstraints::Unconstrained), false)
}

impl Authority {
    fn root(name: &'static str, algorithm: &'static SignatureAlgorithm) -> Authority {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = authority_template(name).self_signed(&key).unwrap().der().to_vec();
        Authority { name, key, certificate }
    }

    /// Certifies another authority's key under that authority's name.
    fn certify(&self, other: &Authority) -> Vec<u8> {
        self.sign(&authority_template(other.name), &other.key)
    }

    fn below(&self, name: &'static str) -> Authority {
        let mut below = Authority::root(name, P256);
        below.certificate = self.certify(&below);
        below
    }

    fn leaf(&self) -> Vec<u8> {
        self.sign(
            &template("demo", IsCa::NoCa, false),
            &KeyPair::generate_for(P256).unwrap(),
        )
    }

    fn leaf_that_names_its_issuers_key(&self) -> Vec<u8> {
        self.sign(
            &template("demo", IsCa::NoCa, true),
            &KeyPair::generate_for(P256).unwrap(),
        )
    }

    fn sign(&self, template: &CertificateParams, key: &KeyPair) -> Vec<u8> {
        let own = authority_template(self.name);
        let issuer = Issuer::from_params(&own, &self.key);
        template.signed_by(key, &issuer).unwrap().der().to_vec()
    }
}

/// Authorities of one name, each certified by the next one and the last by the first. A leaf of the first comes with them.
fn ring(name: &'static str, algorithm: &'static SignatureAlgorithm) -> (Vec<u8>, Vec<Vec<u8>>) {
    let authorities: Vec<Authority> = (0..INTERMEDIATES_MAX)
        .map(|_| Authority::root(name, algorithm))
        .collect();
    let issuers = authorities.iter().cycle().skip(1);
    let certified = authorities
        .iter()
        .zip(issuers)
        .map(|(subject, issuer)| issuer.certify(subject))
        .collect();
    (authorities[0].leaf(), certified)
}

/// The verdict, and how many signatures it took.
fn verify(leaf: &[u8], presented: &[Vec<u8>], roots: &[&Authority]) -> (Result<VerifiedChain, ChainError>, usize) {
    let settings = TrustAnchorSettings {
        name: "corp".parse().unwrap(),
        certificates: roots.iter().map(|root| root.certificate.clone()).collect(),
        crls: Vec::new(),
        crl_missing: None,
        require_client_auth_eku: false,
        strict: false,
    };
    let anchors = TrustAnchor::load(&settings).unwrap();
    let anchors: Vec<&TrustAnchor> = anchors.iter().collect();
    let peer = PeerCertificate::assert_possession_proven(leaf.to_vec(), presented.to_vec());
    let search = Search::new(peer.end_entity(), peer.certificate().unwrap(), &anchors, NOW);
    (search.run(), search.signatures.verified())
}

// The positive controls: a count that is too low would show here.
#[test]
fn each_link_of_a_path_is_verified_once_in_whatever_order_it_came() {
    let root = Authority::root("Corp Root", P256);
    let one = root.below("Corp One");
    let two = one.below("Corp Two");
    let three = two.below("Corp Three");
    let mut presented = vec![
        three.certificate.clone(),
        two.certificate.clone(),
        one.certificate.clone(),
    ];
    for _ in 0..2 {
        let (verdict, verified) = verify(&three.leaf(), &presented, &[&root]);
        let verdict = verdict.unwrap();
        assert_eq!(verdict.intermediates(), ["CN=Corp Three", "CN=Corp Two", "CN=Corp One"]);
        assert_eq!(verified, 4);
        presented.reverse();
    }
    presented.push(root.certificate.clone());
    let (verdict, verified) = verify(&three.leaf(), &presented, &[&root]);
    assert!(verdict.is_ok() && verified == 4, "{verified}");
    let (verdict, verified) = verify(&root.leaf(), &[], &[&root]);
    assert!(verdict.is_ok() && verified == 1, "{verified}");
}

#[test]
fn self_made_authorities_with_the_name_of_an_anchor_cost_one_signature_each() {
    for algorithm in [P256, &PKCS_ECDSA_P384_SHA384] {
        let root = Authority::root("Corp Root", algorithm);
        let (leaf, presented) = ring("Corp Root", algorithm);
        let (verdict, verified) = verify(&leaf, &presented, &[&root]);
        let refused = verdict.unwrap_err();
        assert!(matches!(refused, ChainError::SameNameOtherKey { .. }), "{refused:?}");
        assert_eq!(verified, INTERMEDIATES_MAX + 1);
        // They do not take a genuine client's path away either.
        let (verdict, verified) = verify(&root.leaf(), &presented, &[&root]);
        assert!(verdict.is_ok() && verified == 1, "{verified}");
    }
}

#[test]
fn with_several_anchors_of_one_name_the_work_ends_at_the_limit() {
    let roots: Vec<Authority> = (0..3).map(|_| Authority::root("Corp Root", P256)).collect();
    let roots: Vec<&Authority> = roots.iter().collect();
    let (leaf, presented) = ring("Corp Root", P256);
    let (verdict, verified) = verify(&leaf, &presented, &roots);
    let refused = verdict.unwrap_err();
    assert!(matches!(refused, ChainError::TooComplex), "{refused:?}");
    assert_eq!(verified, SIGNATURES_MAX);
    for root in &roots {
        assert!(verify(&root.leaf(), &presented, &roots).0.is_ok());
    }
}

#[test]
fn authorities_of_a_name_that_no_anchor_has_cost_no_more_than_their_diagnosis() {
    let root = Authority::root("Corp Root", P256);
    let (leaf, presented) = ring("Nobody", P256);
    let (verdict, verified) = verify(&leaf, &presented, &[&root]);
    assert!(verdict.is_err());
    assert!(verified <= INTERMEDIATES_MAX, "{verified}");
}

#[test]
fn an_authority_that_certifies_its_own_name_again_and_again_ends_at_the_limit() {
    let root = Authority::root("Corp Root", P256);
    let first = root.below("Corp Insider");
    let others: Vec<Authority> = (1..INTERMEDIATES_MAX).map(|_| first.below("Corp Insider")).collect();
    let mut presented: Vec<Vec<u8>> = others.iter().map(|other| other.certificate.clone()).collect();
    presented.push(first.certificate.clone());
    let (verdict, verified) = verify(&Authority::root("Corp Insider", P256).leaf(), &presented, &[&root]);
    assert!(verdict.is_err());
    assert!(verified <= SIGNATURES_MAX, "{verified}");
    // One of them is the right one.
    assert!(verify(&others[4].leaf(), &presented, &[&root]).0.is_ok());
}

#[test]
fn all_generations_of_an_authority_can_come_along() {
    let root = Authority::root("Corp Root", P256);
    let generations: Vec<Authority> = (0..INTERMEDIATES_MAX).map(|_| root.below("Corp Issuing")).collect();
    let presented: Vec<Vec<u8>> = generations.iter().map(|one| one.certificate.clone()).collect();
    for (index, generation) in generations.iter().enumerate() {
        let (verdict, verified) = verify(&generation.leaf(), &presented, &[&root]);
        assert!(verdict.is_ok(), "{index}: {verdict:?}");
        assert_eq!(verified, 2 * (index + 1));
        let leaf = generation.leaf_that_names_its_issuers_key();
        let (verdict, verified) = verify(&leaf, &presented, &[&root]);
        assert!(verdict.is_ok() && verified == 2, "{index}: {verified}");
    }
}

#[test]
fn cross_certificates_and_a_change_of_keys_lead_to_the_anchor_that_there_is() {
    let (old, new) = (Authority::root("Corp Root", P256), Authority::root("Corp Root", P256));
    let other = Authority::root("Other Root", P256);
    let issuing = new.below("Corp Issuing");
    let leaf = issuing.leaf();
    // The new key under the old one, which is the anchor and has the same name; or under somebody else's.
    let (by_old, by_other) = (old.certify(&new), other.certify(&new));
    let presented = [
        new.certificate.clone(),
        by_other,
        by_old,
        other.certificate.clone(),
        issuing.certificate.clone(),
    ];
    for root in [&old, &new, &other] {
        let (verdict, verified) = verify(&leaf, &presented, &[root]);
        assert!(verdict.is_ok(), "{}: {verdict:?}", root.name);
        assert!(verified <= SIGNATURES_MAX, "{verified}");
    }
    assert!(
        verify(&leaf, &presented, &[&Authority::root("Corp Root", P256)])
            .0
            .is_err()
    );
}
