//! Revocation: lists per trust anchor, fresh ones only, for every certificate of the path.

use keybound_protocol::certificate_chain::ChainRule;
use keybound_protocol::certificate_revocation_list::CertificateRevocationList;
use keybound_protocol::trust_anchor::CrlMissing;

use crate::chains::{World, refused, verify};
use crate::der::{common_name, explicit, implicit, integer, sequence};
use crate::pki::{Authority, Key, NOW, Template, anchors, days_from_now, extension, key_usage};

#[test]
fn revocation_lists_are_those_of_the_anchor_and_fresh() {
    let world = World::new();
    let serial: &[u8] = &[0x11];
    let leaf = world.middle.issue(&Template::client("demo").serial(serial));
    let presented: [&[u8]; 1] = [&world.middle.certificate];
    let with = |crls: &[Vec<u8>], missing| {
        verify(
            &leaf,
            &presented,
            &anchors(&[world.root.settings_with_crls("corp", crls.to_vec(), missing)]),
        )
    };
    let (root_list, middle_list) = (world.root.fresh_crl(&[]), world.middle.fresh_crl(&[&[0x10]]));
    let both = [root_list.clone(), middle_list.clone()];
    let chain = with(&both, CrlMissing::Refuse).unwrap();
    assert_eq!(
        chain.valid_until(),
        days_from_now(7),
        "a list becomes stale before any certificate ends"
    );

    refused(
        with(
            &[root_list.clone(), world.middle.fresh_crl(&[serial])],
            CrlMissing::Refuse,
        ),
        "Revoked",
        ChainRule::Revocation,
    );
    // The intermediate itself (its serial number is that of the template).
    refused(
        with(
            &[world.root.fresh_crl(&[&[0x42]]), middle_list.clone()],
            CrlMissing::Refuse,
        ),
        "Revoked",
        ChainRule::Revocation,
    );
    refused(
        with(&[world.root.fresh_crl(&[&[0x42]])], CrlMissing::Accept),
        "Revoked",
        ChainRule::Revocation,
    );
    // A list for each authority of the path, or an explicit word that none is needed.
    refused(
        with(std::slice::from_ref(&root_list), CrlMissing::Refuse),
        "CrlMissing",
        ChainRule::Revocation,
    );
    refused(
        with(std::slice::from_ref(&middle_list), CrlMissing::Refuse),
        "CrlMissing",
        ChainRule::Revocation,
    );
    assert!(with(std::slice::from_ref(&root_list), CrlMissing::Accept).is_ok());
    // Stale is stale, whatever is said about missing ones; and a list from the future says nothing yet.
    for missing in [CrlMissing::Refuse, CrlMissing::Accept] {
        let stale = world.middle.crl(&[], days_from_now(-9), NOW);
        refused(
            with(&[root_list.clone(), stale], missing),
            "CrlStale",
            ChainRule::Revocation,
        );
        let premature = world.middle.crl(&[], days_from_now(1), days_from_now(9));
        refused(
            with(&[root_list.clone(), premature], missing),
            "CrlNotYetValid",
            ChainRule::Revocation,
        );
        // A namesake's list.
        let forged = Authority::root("Corp Issuing").fresh_crl(&[]);
        refused(
            with(&[root_list.clone(), forged], missing),
            "Crl",
            ChainRule::Revocation,
        );
    }
    // Of two lists of one issuer the newer one counts, in whatever order they are configured.
    let older = world.middle.crl(&[], days_from_now(-3), days_from_now(3));
    let newer = world.middle.crl(&[serial], days_from_now(-2), days_from_now(3));
    for lists in [
        [root_list.clone(), older.clone(), newer.clone()],
        [root_list.clone(), newer, older],
    ] {
        refused(with(&lists, CrlMissing::Refuse), "Revoked", ChainRule::Revocation);
    }
    let stale = world.middle.crl(&[], days_from_now(-9), days_from_now(-1));
    let chain = with(&[stale, root_list, middle_list], CrlMissing::Refuse).unwrap();
    assert_eq!(
        chain.valid_until(),
        days_from_now(7),
        "an old list beside a fresh one is not used"
    );
}

#[test]
fn an_issuer_that_may_not_sign_lists_cannot_clear_anybody() {
    let root = Authority::root_of(&Template::authority("Root").without("2.5.29.15").with(key_usage(&[5])));
    let leaf = root.issue(&Template::client("demo"));
    let trust = anchors(&[root.settings_with_crls("corp", vec![root.fresh_crl(&[])], CrlMissing::Refuse)]);
    refused(verify(&leaf, &[], &trust), "Crl", ChainRule::Revocation);
    let root = Authority::root("Root");
    let middle = root.intermediate_of(Template::authority("Middle").without("2.5.29.15").with(key_usage(&[5])));
    let leaf = middle.issue(&Template::client("demo"));
    let lists = vec![root.fresh_crl(&[]), middle.fresh_crl(&[])];
    let trust = anchors(&[root.settings_with_crls("corp", lists, CrlMissing::Refuse)]);
    refused(
        verify(&leaf, &[&middle.certificate], &trust),
        "Crl",
        ChainRule::Revocation,
    );
}

#[test]
fn revocation_policy_belongs_to_its_anchor() {
    let (checked, unchecked) = (Authority::root("Checked"), Authority::root("Unchecked"));
    let trust = anchors(&[
        checked.settings_with_crls("checked", vec![checked.fresh_crl(&[&[0x42]])], CrlMissing::Refuse),
        unchecked.settings("unchecked"),
    ]);
    refused(
        verify(&checked.issue(&Template::client("demo")), &[], &trust),
        "Revoked",
        ChainRule::Revocation,
    );
    assert_eq!(
        verify(&unchecked.issue(&Template::client("demo")), &[], &trust)
            .unwrap()
            .anchor()
            .as_str(),
        "unchecked"
    );
}

#[test]
fn another_path_is_taken_where_one_is_refused() {
    // The same authority, certified by two roots (a cross certificate); one of the two certificates is revoked.
    let (old, new) = (Authority::root("Old Root"), Authority::root("New Root"));
    let key = Key::generate();
    let cross = |root: &Authority, serial: &[u8]| {
        let mut template = Template::authority("Issuing").serial(serial);
        template.spki = Some(key.spki());
        root.issue(&template)
    };
    let (by_old, by_new) = (cross(&old, &[1]), cross(&new, &[2]));
    let mut leaf = Template::client("demo");
    leaf.spki = Some(Key::generate().spki());
    let leaf = leaf.sign(&common_name("Issuing"), &key);
    let trust = anchors(&[
        old.settings_with_crls("old", vec![old.fresh_crl(&[&[1]])], CrlMissing::Accept),
        new.settings_with_crls("new", vec![new.fresh_crl(&[])], CrlMissing::Accept),
    ]);
    for presented in [[&by_old[..], &by_new], [&by_new, &by_old]] {
        assert_eq!(verify(&leaf, &presented, &trust).unwrap().anchor().as_str(), "new");
    }
    refused(verify(&leaf, &[&by_old], &trust), "Revoked", ChainRule::Revocation);
}

/// `distributionPoint` with one URI, as it stands in both certificates and lists.
fn distribution_point(uri: &[u8]) -> Vec<u8> {
    explicit(0, &explicit(0, &implicit(6, uri)))
}

// covers MTLS-7.5-6
#[test]
fn a_list_of_one_distribution_point_speaks_for_its_own_certificates_only() {
    const ONE: &[u8] = b"http://crl.example/one";
    const TWO: &[u8] = b"http://crl.example/two";
    let root = Authority::root("Root");
    let scope = |uri: &[u8]| extension("2.5.29.28", true, &sequence(&[distribution_point(uri)]));
    let list = |revoked: &[&[u8]], uri| root.crl_with(revoked, days_from_now(-1), days_from_now(7), &[scope(uri)]);
    let leaf = |uri: Option<&[u8]>| {
        let template = Template::client("demo").serial(&[0x66]);
        root.issue(&match uri {
            None => template,
            Some(uri) => template.with(extension(
                "2.5.29.31",
                false,
                &sequence(&[sequence(&[distribution_point(uri)])]),
            )),
        })
    };
    let judge = |uri: Option<&[u8]>, crls: &[Vec<u8>], missing| {
        verify(
            &leaf(uri),
            &[],
            &anchors(&[root.settings_with_crls("corp", crls.to_vec(), missing)]),
        )
    };
    let (clear, revoked): (&[&[u8]], &[&[u8]]) = (&[], &[&[0x66]]);

    assert!(judge(Some(ONE), &[list(clear, ONE)], CrlMissing::Refuse).is_ok());
    refused(
        judge(Some(ONE), &[list(revoked, ONE)], CrlMissing::Refuse),
        "Revoked",
        ChainRule::Revocation,
    );
    // Another distribution point, or none: nothing is known of it.
    refused(
        judge(Some(ONE), &[list(clear, TWO)], CrlMissing::Refuse),
        "CrlMissing",
        ChainRule::Revocation,
    );
    refused(
        judge(None, &[list(clear, ONE)], CrlMissing::Refuse),
        "CrlMissing",
        ChainRule::Revocation,
    );
    assert!(judge(None, &[list(clear, ONE)], CrlMissing::Accept).is_ok());
    // Beside a complete list the partial one clears nobody, in whatever order, and may still revoke.
    for complete in [
        root.fresh_crl(revoked),
        root.crl(revoked, days_from_now(-5), days_from_now(7)),
    ] {
        for lists in [[list(clear, ONE), complete.clone()], [complete, list(clear, ONE)]] {
            refused(
                judge(None, &lists, CrlMissing::Refuse),
                "Revoked",
                ChainRule::Revocation,
            );
            refused(
                judge(Some(ONE), &lists, CrlMissing::Refuse),
                "Revoked",
                ChainRule::Revocation,
            );
        }
    }
    let lists = [list(revoked, ONE), root.fresh_crl(clear)];
    refused(
        judge(Some(ONE), &lists, CrlMissing::Accept),
        "Revoked",
        ChainRule::Revocation,
    );
    refused(
        judge(None, &lists, CrlMissing::Accept),
        "Revoked",
        ChainRule::Revocation,
    );
}

#[test]
fn an_authority_with_a_new_key_has_lists_under_both() {
    let (old, new) = (Authority::root("Root"), Authority::root("Root"));
    let lists =
        |old_revoked: &[&[u8]], new_revoked: &[&[u8]]| vec![old.fresh_crl(old_revoked), new.fresh_crl(new_revoked)];
    let judge = |issuer: &Authority, lists: Vec<Vec<u8>>| {
        let mut settings = old.settings_with_crls("corp", lists, CrlMissing::Refuse);
        settings.certificates.push(new.certificate.clone());
        verify(
            &issuer.issue(&Template::client("demo").serial(&[0x66])),
            &[],
            &anchors(&[settings]),
        )
    };
    for issuer in [&old, &new] {
        assert!(judge(issuer, lists(&[], &[])).is_ok());
    }
    // Each key's list is about what that key signed.
    refused(judge(&old, lists(&[&[0x66]], &[])), "Revoked", ChainRule::Revocation);
    assert!(judge(&new, lists(&[&[0x66]], &[])).is_ok());
    refused(judge(&new, lists(&[], &[&[0x66]])), "Revoked", ChainRule::Revocation);
    // The other key's list alone clears nobody.
    refused(judge(&new, vec![old.fresh_crl(&[])]), "Crl", ChainRule::Revocation);
}

#[test]
fn lists_of_kinds_that_are_not_read_are_refused_when_they_are_configured() {
    let root = Authority::root("Root");
    let load = |extensions: &[Vec<u8>]| {
        let list = root.crl_with(&[], days_from_now(-1), days_from_now(7), extensions);
        CertificateRevocationList::parse(&list).map(|_| ())
    };
    assert!(load(&[]).is_ok());
    let delta = extension("2.5.29.27", true, &integer(&[1]));
    let indirect = extension("2.5.29.28", true, &sequence(&[implicit(4, &[0xff])]));
    let unknown = extension("1.2.3", true, &[]);
    let critical_number = extension("2.5.29.20", true, &integer(&[1]));
    for refused in [delta, indirect, unknown, critical_number] {
        assert!(load(std::slice::from_ref(&refused)).is_err(), "{refused:?}");
    }
    assert!(CertificateRevocationList::parse(b"junk").is_err());
    assert!(CertificateRevocationList::parse(&root.certificate).is_err());
}
