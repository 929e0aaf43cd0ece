//! Revocation: lists per trust anchor, fresh ones only, for every certificate of the path.

use keybound_protocol::certificate_chain::ChainRule;
use keybound_protocol::trust_anchor::CrlMissing;

use crate::chains::{World, refused, verify};
use crate::der::common_name;
use crate::pki::{Authority, Key, NOW, Template, anchors, days_from_now, key_usage};

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
