//! Path validation: one reason for each distinguishable offence, and what the verdict carries.

mod strict_anchors;

use keybound_protocol::certificate_chain::{self, ChainError, ChainRule, VerifiedChain};
use keybound_protocol::peer_certificate::{EndEntityCertificate, PeerCertificate, PresentedCertificate};
use keybound_protocol::time::Timestamp;
use keybound_protocol::trust_anchor::{CrlMissing, TrustAnchor, TrustAnchorError, TrustAnchors};

use crate::der::{common_name, explicit, implicit, name, sequence};
use crate::pki::{
    Authority, CLIENT_AUTH, DNS, Key, NOW, SERVER_AUTH, Template, alternative_names, anchors, authority_key_identifier,
    basic_constraints, days_from_now, extended_key_usage, extension, key_usage, subject_key_identifier,
};

pub(crate) fn verify_at(
    leaf: &[u8],
    intermediates: &[&[u8]],
    trust: &TrustAnchors,
    now: Timestamp,
) -> Result<VerifiedChain, ChainError> {
    let intermediates = intermediates.iter().map(|der| der.to_vec()).collect();
    let peer = PeerCertificate::assert_possession_proven(leaf.to_vec(), intermediates);
    let end_entity: &EndEntityCertificate = &peer;
    certificate_chain::verify(end_entity, &trust.iter().collect::<Vec<_>>(), now)
}

pub(crate) fn verify(leaf: &[u8], intermediates: &[&[u8]], trust: &TrustAnchors) -> Result<VerifiedChain, ChainError> {
    verify_at(leaf, intermediates, trust, NOW)
}

/// Asserts the reason by its variant's name and that of its rule.
pub(crate) fn refused(outcome: Result<VerifiedChain, ChainError>, reason: &str, rule: ChainRule) {
    let error = outcome
        .map(|chain| panic!("accepted: {chain:?}, expected {reason}"))
        .unwrap_err();
    let debug = format!("{error:?}");
    assert_eq!(debug.split([' ', '(', '{']).next(), Some(reason), "{debug}");
    assert_eq!(error.rule(), rule, "{debug}");
    assert!(!error.fix().is_empty());
}

pub(crate) struct World {
    pub(crate) root: Authority,
    pub(crate) middle: Authority,
    pub(crate) trust: TrustAnchors,
}

impl World {
    pub(crate) fn new() -> World {
        let root = Authority::root("Corp Root");
        let middle = root.intermediate("Corp Issuing");
        let trust = anchors(&[root.settings("corp")]);
        World { root, middle, trust }
    }

    fn leaf(&self) -> Vec<u8> {
        self.middle.issue(&Template::client("demo"))
    }
}

#[test]
fn a_path_names_its_anchor_and_ends_with_its_first_certificate_to_expire() {
    let world = World::new();
    let chain = verify(&world.leaf(), &[&world.middle.certificate], &world.trust).unwrap();
    assert_eq!(chain.anchor().as_str(), "corp");
    assert_eq!(chain.intermediates(), ["CN=Corp Issuing"]);
    assert_eq!(chain.valid_until(), days_from_now(90));
    assert!(chain.anchor_key().as_str().starts_with("sha256:"));

    let mut short = Template::authority("Corp Short");
    short.not_after = days_from_now(5);
    let short = world.root.intermediate_of(short);
    let leaf = short.issue(&Template::client("demo"));
    let chain = verify(&leaf, &[&short.certificate], &world.trust).unwrap();
    assert_eq!(chain.valid_until(), days_from_now(5));
    // The root may come along, in any order, and other certificates with it.
    let stranger = Authority::root("Stranger").certificate;
    let presented: [&[u8]; 4] = [
        &world.root.certificate,
        &stranger,
        &short.certificate,
        &world.middle.certificate,
    ];
    assert_eq!(
        verify(&leaf, &presented, &world.trust).unwrap().intermediates(),
        ["CN=Corp Short"]
    );
}

// covers MTLS-7.3-2
#[test]
fn an_empty_set_of_anchors_trusts_nobody() {
    let world = World::new();
    let outcome = verify(
        &world.leaf(),
        &[&world.middle.certificate, &world.root.certificate],
        &TrustAnchors::none(),
    );
    refused(outcome, "NoTrustAnchor", ChainRule::Path);
}

// covers MTLS-7.5-6
#[test]
fn a_chain_of_more_than_six_is_refused_before_anything_else() {
    let world = World::new();
    let leaf = world.leaf();
    let six = [world.middle.certificate.as_slice(); 6];
    assert!(verify(&leaf, &six, &world.trust).is_ok());
    let seven = [world.middle.certificate.as_slice(); 7];
    refused(verify(&leaf, &seven, &world.trust), "TooLong", ChainRule::Length);
    refused(
        verify(b"unreadable", &seven, &TrustAnchors::none()),
        "TooLong",
        ChainRule::Length,
    );
    let peer = PeerCertificate::assert_possession_proven(leaf, vec![world.middle.certificate.clone(); 7]);
    assert!(matches!(
        PresentedCertificate::from_peer(peer),
        PresentedCertificate::TooLong {
            presented_intermediates: 7
        }
    ));
}

#[test]
fn an_unreadable_certificate_is_refused_as_such() {
    let world = World::new();
    refused(
        verify(b"unreadable", &[], &world.trust),
        "Unreadable",
        ChainRule::Readable,
    );
    let twice = Template::client("demo").with(key_usage(&[0]));
    refused(
        verify(&world.root.issue(&twice), &[], &world.trust),
        "Unreadable",
        ChainRule::Readable,
    );
}

// covers MTLS-2.1-3, MTLS-7.5-3, X509-2
#[test]
fn validity_of_every_certificate_of_the_path_counts() {
    let world = World::new();
    let ended = world
        .middle
        .issue(&Template::client("demo").valid(days_from_now(-9), days_from_now(-1)));
    refused(
        verify(&ended, &[&world.middle.certificate], &world.trust),
        "Expired",
        ChainRule::Validity,
    );
    let begins = world
        .middle
        .issue(&Template::client("demo").valid(days_from_now(1), days_from_now(9)));
    refused(
        verify(&begins, &[&world.middle.certificate], &world.trust),
        "NotYetValid",
        ChainRule::Validity,
    );

    let authority = |from, to| {
        let authority = Template::authority("Corp Old").valid(days_from_now(from), days_from_now(to));
        world.root.intermediate_of(authority)
    };
    let ended = authority(-9, -1);
    let leaf = ended.issue(&Template::client("demo"));
    refused(
        verify(&leaf, &[&ended.certificate], &world.trust),
        "IssuerExpired",
        ChainRule::Path,
    );
    let begins = authority(1, 9);
    let leaf = begins.issue(&Template::client("demo"));
    refused(
        verify(&leaf, &[&begins.certificate], &world.trust),
        "IssuerNotYetValid",
        ChainRule::Path,
    );

    // To the second, both ends inside.
    let leaf = world.leaf();
    let at = |now| verify_at(&leaf, &[&world.middle.certificate], &world.trust, now).is_ok();
    let seconds = |timestamp: Timestamp, offset| Timestamp::from_unix_secs(timestamp.unix_secs() + offset);
    assert!(at(days_from_now(-1)) && at(days_from_now(90)));
    assert!(!at(seconds(days_from_now(-1), -1)) && !at(seconds(days_from_now(90), 1)));
    assert!(!at(Timestamp::from_unix_secs(-1)) && !at(Timestamp::from_unix_secs(i64::MAX)));
}

#[test]
fn an_unknown_issuer_a_missing_intermediate_and_a_namesake_are_three_reasons() {
    let world = World::new();
    // Somebody else's authority, with and without its certificate.
    let stranger = Authority::root("Stranger");
    let leaf = stranger.issue(&Template::client("demo"));
    refused(verify(&leaf, &[], &world.trust), "IssuerNotPresented", ChainRule::Path);
    refused(
        verify(&leaf, &[&stranger.certificate], &world.trust),
        "UnknownIssuer",
        ChainRule::Path,
    );
    let below = stranger.intermediate("Stranger Issuing");
    let leaf = below.issue(&Template::client("demo"));
    refused(
        verify(&leaf, &[&below.certificate], &world.trust),
        "IssuerNotPresented",
        ChainRule::Path,
    );
    refused(
        verify(&leaf, &[&below.certificate, &stranger.certificate], &world.trust),
        "UnknownIssuer",
        ChainRule::Path,
    );
    // Its own issuer.
    let own = Template::client("demo").self_sign(&Key::generate());
    refused(verify(&own, &[], &world.trust), "SelfSigned", ChainRule::Path);

    // An authority below ours whose certificate was not sent: its revocation list or its organisation shows whose it is.
    let settings = world.root.settings_with_crls(
        "corp",
        vec![world.middle.fresh_crl(&[]), world.root.fresh_crl(&[])],
        CrlMissing::Refuse,
    );
    refused(
        verify(&world.leaf(), &[], &anchors(&[settings])),
        "MissingIntermediate",
        ChainRule::Path,
    );
    let organization = |text: &str| {
        Template::authority("").subject(name(&[
            &[("2.5.4.10", 12, b"Corp Inc.")],
            &[("2.5.4.3", 12, text.as_bytes())],
        ]))
    };
    let root = Authority::root_of(&organization("Root"));
    let middle = root.intermediate_of(organization("Issuing"));
    let lowest = middle.intermediate_of(organization("Devices"));
    let trust = anchors(&[root.settings("corp")]);
    let leaf = lowest.issue(&Template::client("demo"));
    refused(verify(&leaf, &[], &trust), "MissingIntermediate", ChainRule::Path);
    refused(
        verify(&leaf, &[&lowest.certificate], &trust),
        "MissingIntermediate",
        ChainRule::Path,
    );
    refused(
        verify(&leaf, &[&middle.certificate], &trust),
        "MissingIntermediate",
        ChainRule::Path,
    );
    assert!(verify(&leaf, &[&middle.certificate, &lowest.certificate], &trust).is_ok());

    // Another authority of the same name.
    let namesake = Authority::root("Corp Root");
    let leaf = namesake.issue(&Template::client("demo"));
    refused(verify(&leaf, &[], &world.trust), "SameNameOtherKey", ChainRule::Path);
    refused(
        verify(&leaf, &[&namesake.certificate], &world.trust),
        "SameNameOtherKey",
        ChainRule::Path,
    );
    let namesake = world.root.intermediate("Corp Issuing");
    refused(
        verify(&world.leaf(), &[&namesake.certificate], &world.trust),
        "SameNameOtherKey",
        ChainRule::Path,
    );
}

#[test]
fn a_second_anchor_of_the_same_name_does_not_confuse() {
    let (old, new) = (Authority::root("Corp Root"), Authority::root("Corp Root"));
    let trust = anchors(&[old.settings("old"), new.settings("new")]);
    let of = |authority: &Authority| verify(&authority.issue(&Template::client("demo")), &[], &trust).unwrap();
    assert_eq!(of(&old).anchor().as_str(), "old");
    assert_eq!(of(&new).anchor().as_str(), "new");
    assert_ne!(of(&old).anchor_key(), of(&new).anchor_key());
}

// covers MTLS-2.1-3
#[test]
fn an_altered_certificate_is_told_from_a_namesake_where_the_key_is_named() {
    let root = Authority::root_of(&Template::authority("Corp Root").with(subject_key_identifier(b"key one")));
    let trust = anchors(&[root.settings("corp")]);
    let mut altered = root.issue(&Template::client("demo").with(authority_key_identifier(b"key one")));
    let position = altered.windows(4).position(|part| part == b"demo").unwrap();
    altered[position] = b'D';
    refused(verify(&altered, &[], &trust), "BadSignature", ChainRule::Path);
    let namesake = Authority::root_of(&Template::authority("Corp Root").with(subject_key_identifier(b"key two")));
    let leaf = namesake.issue(&Template::client("demo").with(authority_key_identifier(b"key two")));
    refused(verify(&leaf, &[], &trust), "SameNameOtherKey", ChainRule::Path);
}

// covers MTLS-7.5-3, X509-1, X509-2
#[test]
fn authorities_and_clients_do_not_stand_in_for_each_other() {
    let world = World::new();
    let authority = world.root.intermediate("demo").certificate;
    refused(
        verify(&authority, &[], &world.trust),
        "AuthorityAsEndEntity",
        ChainRule::Path,
    );
    refused(
        verify(&world.root.certificate, &[], &world.trust),
        "AuthorityAsEndEntity",
        ChainRule::Path,
    );

    let issue = |template: Template| {
        let issuer = world.root.intermediate_of(template);
        let leaf = issuer.issue(&Template::client("demo"));
        verify(&leaf, &[&issuer.certificate], &world.trust)
    };
    refused(issue(Template::client("Sub")), "IssuerNotAuthority", ChainRule::Path);
    refused(
        issue(Template::new(common_name("Sub"))),
        "IssuerNotAuthority",
        ChainRule::Path,
    );
    let not_ca = Template::authority("Sub")
        .without("2.5.29.19")
        .with(basic_constraints(false, None));
    refused(issue(not_ca), "IssuerNotAuthority", ChainRule::Path);
    let no_signing = Template::authority("Sub").without("2.5.29.15").with(key_usage(&[0, 6]));
    refused(issue(no_signing), "IssuerKeyUsage", ChainRule::Path);
    let for_servers = Template::authority("Sub").with(extended_key_usage(&[SERVER_AUTH]));
    refused(issue(for_servers), "IssuerExtendedKeyUsage", ChainRule::Path);
    for purposes in [&[CLIENT_AUTH][..], &[SERVER_AUTH, CLIENT_AUTH], &["2.5.29.37.0"]] {
        assert!(issue(Template::authority("Sub").with(extended_key_usage(purposes))).is_ok());
    }
    assert!(issue(Template::authority("Sub").without("2.5.29.15")).is_ok());
}

// covers X509-1, MTLS-7.5-3
#[test]
fn the_certificate_may_be_used_by_a_tls_client() {
    let world = World::new();
    let with = |template: &Template| verify(&world.root.issue(template), &[], &world.trust);
    let template = Template::client("demo").without("2.5.29.15");
    assert!(with(&template).is_ok());
    for bits in [&[2][..], &[4], &[1, 2, 3, 4]] {
        refused(
            with(&template.clone().with(key_usage(bits))),
            "KeyUsage",
            ChainRule::KeyUsage,
        );
    }
    assert!(with(&template.with(key_usage(&[0, 2]))).is_ok());

    let template = Template::client("demo").without("2.5.29.37");
    assert!(with(&template).is_ok());
    for purposes in [&[SERVER_AUTH][..], &["2.5.29.37.0"], &["1.2.3"]] {
        let outcome = with(&template.clone().with(extended_key_usage(purposes)));
        refused(outcome, "ExtendedKeyUsage", ChainRule::ExtendedKeyUsage);
    }
    assert!(with(&template.with(extended_key_usage(&[SERVER_AUTH, CLIENT_AUTH]))).is_ok());
}

// covers MTLS-7.5-6, X509-2
#[test]
fn path_lengths_of_intermediates_and_anchors_hold() {
    let chain = |root_limit, middle_limit| {
        let template = |text: &str, limit| {
            Template::authority(text)
                .without("2.5.29.19")
                .with(basic_constraints(true, limit))
        };
        let root = Authority::root_of(&template("Root", root_limit));
        let middle = root.intermediate_of(template("Middle", middle_limit));
        let lowest = middle.intermediate("Lowest");
        let trust = anchors(&[root.settings("corp")]);
        verify(
            &lowest.issue(&Template::client("demo")),
            &[&lowest.certificate, &middle.certificate],
            &trust,
        )
    };
    assert!(chain(None, None).is_ok());
    assert!(chain(Some(2), Some(1)).is_ok());
    refused(chain(None, Some(0)), "PathLength", ChainRule::Path);
    refused(chain(Some(1), None), "PathLength", ChainRule::Path);
    refused(chain(Some(0), None), "PathLength", ChainRule::Path);
}

// covers X509-2
#[test]
fn name_constraints_and_unknown_critical_extensions_hold() {
    let world = World::new();
    let permitted = explicit(0, &sequence(&[implicit(2, b"corp.example")]));
    let constrained = Template::authority("Sub").with(extension("2.5.29.30", true, &sequence(&[permitted])));
    let sub = world.root.intermediate_of(constrained);
    let leaf = |dns: &[u8]| sub.issue(&Template::client("demo").with(alternative_names(&[(DNS, dns)])));
    assert!(verify(&leaf(b"a.corp.example"), &[&sub.certificate], &world.trust).is_ok());
    let outside = verify(&leaf(b"a.example"), &[&sub.certificate], &world.trust);
    refused(outside, "NameConstraint", ChainRule::Path);

    let unknown = extension("1.2.3.4", true, &[]);
    let leaf = world.root.issue(&Template::client("demo").with(unknown.clone()));
    refused(
        verify(&leaf, &[], &world.trust),
        "UnsupportedCriticalExtension",
        ChainRule::Path,
    );
    let sub = world.root.intermediate_of(Template::authority("Sub").with(unknown));
    let leaf = sub.issue(&Template::client("demo"));
    refused(
        verify(&leaf, &[&sub.certificate], &world.trust),
        "UnsupportedCriticalExtension",
        ChainRule::Path,
    );
}

#[test]
fn old_versions_weak_keys_and_weak_signatures_are_refused() {
    let world = World::new();
    let mut version_1 = Template::new(common_name("demo"));
    version_1.version = 0;
    refused(
        verify(&world.root.issue(&version_1), &[], &world.trust),
        "UnsupportedVersion",
        ChainRule::Path,
    );

    let rsa = |bits: usize| {
        let mut modulus = vec![0xff; bits / 8];
        modulus.insert(0, 0);
        let key = sequence(&[crate::der::integer(&modulus), crate::der::integer(&[1, 0, 1])]);
        let algorithm = sequence(&[crate::der::oid("1.2.840.113549.1.1.1"), crate::der::tlv(5, &[])]);
        sequence(&[algorithm, crate::der::bit_string(&key)])
    };
    let with_key = |spki| {
        let mut template = Template::client("demo");
        template.spki = Some(spki);
        verify(&world.root.issue(&template), &[], &world.trust)
    };
    refused(with_key(rsa(1024)), "WeakKey", ChainRule::Path);
    refused(with_key(rsa(2040)), "WeakKey", ChainRule::Path);
    assert!(with_key(rsa(2048)).is_ok());
    let mut weak_authority = Template::authority("Sub");
    weak_authority.spki = Some(rsa(1024));
    let sub = world.root.intermediate_of(weak_authority);
    let leaf = sub.issue(&Template::client("demo"));
    refused(
        verify(&leaf, &[&sub.certificate], &world.trust),
        "WeakKey",
        ChainRule::Path,
    );

    let mut sha_1 = Template::client("demo");
    sha_1.signature_algorithm = "1.2.840.10045.4.1".to_owned();
    let outcome = verify(&world.root.issue(&sha_1), &[], &world.trust);
    refused(outcome, "UnsupportedSignatureAlgorithm", ChainRule::Path);
}

// covers MTLS-2.1-6, MTLS-7.5-6, TRAP-50
#[test]
fn a_loop_of_authorities_ends() {
    let (one, two) = (Authority::root("One"), Authority::root("Two"));
    let certify = |issuer: &Authority, subject: &Authority, text: &str| {
        let mut template = Template::authority(text);
        template.spki = Some(subject.key.spki());
        issuer.issue(&template)
    };
    let (one_by_two, two_by_one) = (certify(&two, &one, "One"), certify(&one, &two, "Two"));
    let leaf = one.issue(&Template::client("demo"));
    let world = World::new();
    let presented: [&[u8]; 6] = [
        &one_by_two,
        &two_by_one,
        &one.certificate,
        &two.certificate,
        &one_by_two,
        &two_by_one,
    ];
    assert!(verify(&leaf, &presented, &world.trust).is_err());
}

#[test]
fn what_cannot_be_an_anchor_is_said_at_once() {
    let load = |der: Vec<u8>| {
        let mut settings = Authority::root("Corp").settings("corp");
        settings.certificates = vec![der];
        TrustAnchor::load(&settings).map(|_| ())
    };
    let sign = |template: Template| template.self_sign(&Key::generate());
    assert!(matches!(
        load(b"junk".to_vec()),
        Err(TrustAnchorError::Unreadable { index: 0, .. })
    ));
    assert!(matches!(
        load(sign(Template::client("demo"))),
        Err(TrustAnchorError::NotAnAuthority { .. })
    ));
    let no_signing = Template::authority("Corp").without("2.5.29.15").with(key_usage(&[6]));
    assert!(matches!(load(sign(no_signing)), Err(TrustAnchorError::KeyUsage { .. })));
    let mut version_1 = Template::new(common_name("Old Root"));
    version_1.version = 0;
    assert!(load(sign(version_1)).is_ok());

    let root = Authority::root("Corp");
    let mut settings = root.settings("corp");
    settings.crls = vec![root.fresh_crl(&[]), b"junk".to_vec()];
    assert!(matches!(
        TrustAnchor::load(&settings),
        Err(TrustAnchorError::Crl { index: 1, .. })
    ));
    settings.certificates.clear();
    assert!(matches!(
        TrustAnchor::load(&settings),
        Err(TrustAnchorError::NoCertificate)
    ));
}
