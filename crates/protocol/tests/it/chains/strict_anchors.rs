//! Trust anchors with `strict`: what RFC 5280 §4 asks of issuers alone is asked of a path.

use keybound_protocol::certificate_chain::ChainRule;
use keybound_protocol::trust_anchor::{TrustAnchorSettings, TrustAnchors};

use super::{refused, verify};
use crate::der::{boolean, common_name, implicit, sequence};
use crate::pki::{Authority, Key, Template, anchors, authority_key_identifier, extension};

const AUTHORITY_KEY_IDENTIFIER: &str = "2.5.29.35";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const MISSING: &str = "AuthorityKeyIdentifierMissing";

fn strict(anchor: &Authority) -> TrustAnchors {
    anchors(&[strict_settings(anchor)])
}

fn strict_settings(anchor: &Authority) -> TrustAnchorSettings {
    TrustAnchorSettings {
        strict: true,
        ..anchor.settings("corp")
    }
}

/// A certificate that names the key of its issuer.
fn client() -> Template {
    Template::client("demo").with(authority_key_identifier(b"issuer"))
}

fn middle_template() -> Template {
    Template::authority("Corp Issuing").with(authority_key_identifier(b"root"))
}

fn not_critical() -> Vec<u8> {
    extension(BASIC_CONSTRAINTS, false, &sequence(&[boolean(true)]))
}

#[test]
fn a_certificate_that_does_not_name_its_issuers_key_is_refused() {
    let root = Authority::root("Corp Root");
    let middle = root.intermediate_of(middle_template());
    let unnamed = root.intermediate("Corp Issuing");
    let trust = strict(&root);
    let of_name_and_serial = sequence(&[implicit(2, &[7])]);
    for leaf in [
        Template::client("demo"),
        Template::client("demo").with(authority_key_identifier(b"")),
        // The serial number of the issuer's certificate is the other form; §4.2.1.1 demands this one.
        Template::client("demo").with(extension(AUTHORITY_KEY_IDENTIFIER, false, &of_name_and_serial)),
        Template::client("demo").with(extension(AUTHORITY_KEY_IDENTIFIER, false, b"no DER")),
    ] {
        refused(verify(&root.issue(&leaf), &[], &trust), MISSING, ChainRule::Path);
        let below = middle.issue(&leaf);
        refused(verify(&below, &[&middle.certificate], &trust), MISSING, ChainRule::Path);
        // Another anchor's strictness is its own.
        let lenient = anchors(&[root.settings("lenient")]);
        assert!(verify(&below, &[&middle.certificate], &lenient).is_ok());
        let either = anchors(&[strict_settings(&root), root.settings("lenient")]);
        let chain = verify(&below, &[&middle.certificate], &either).unwrap();
        assert_eq!(chain.anchor().as_str(), "lenient");
    }
    let below = unnamed.issue(&client());
    let error = verify(&below, &[&unnamed.certificate], &trust).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the certificate of CN=Corp Issuing has no authorityKeyIdentifier with a keyIdentifier (RFC 5280 §4.2.1.1), and trust anchor \
         corp is strict"
    );
    assert!(error.fix().contains("strict = false"));

    assert!(verify(&root.issue(&client()), &[], &trust).is_ok());
    let chain = verify(&middle.issue(&client()), &[&middle.certificate], &trust).unwrap();
    assert_eq!(chain.intermediates(), ["CN=Corp Issuing"]);
}

#[test]
fn only_a_self_signed_certificate_need_not_name_its_issuers_key() {
    // An authority's new key, certified with its old one: of one name and not self-signed.
    let old = Authority::root("Corp Root");
    let renewed = |template: Template| old.intermediate_of(template);
    let unnamed = renewed(Template::authority("Corp Root"));
    let named = renewed(Template::authority("Corp Root").with(authority_key_identifier(b"old")));
    let trust = strict(&old);
    refused(
        verify(&unnamed.issue(&client()), &[&unnamed.certificate], &trust),
        MISSING,
        ChainRule::Path,
    );
    assert!(verify(&named.issue(&client()), &[&named.certificate], &trust).is_ok());

    // The anchor's own name and key once more: this one is.
    let mut own = Template::client("Corp Root");
    own.spki = Some(old.key.spki());
    assert!(verify(&old.issue(&own), &[], &trust).is_ok());

    // An anchor that another authority issued is not self-signed either.
    let unnamed = old.intermediate("Corp Issuing");
    refused(
        verify(&unnamed.issue(&client()), &[], &strict(&unnamed)),
        MISSING,
        ChainRule::Path,
    );
    let named = old.intermediate_of(middle_template());
    assert!(verify(&named.issue(&client()), &[], &strict(&named)).is_ok());
}

#[test]
fn an_anchor_whose_basic_constraints_are_not_critical_is_refused() {
    let template = Template::authority("Corp Root")
        .without(BASIC_CONSTRAINTS)
        .with(not_critical());
    let root = Authority::root_of(&template);
    let middle = root.intermediate_of(middle_template());
    let (leaf, below) = (root.issue(&client()), middle.issue(&client()));
    let (trust, lenient) = (strict(&root), anchors(&[root.settings("corp")]));
    for (leaf, presented) in [(&leaf, &[][..]), (&below, &[middle.certificate.as_slice()][..])] {
        let refusal = verify(leaf, presented, &trust);
        assert_eq!(
            refusal.as_ref().unwrap_err().to_string(),
            "the basicConstraints of CN=Corp Root are not marked critical (RFC 5280 §4.2.1.9), and trust anchor corp is strict"
        );
        refused(refusal, "BasicConstraintsNotCritical", ChainRule::Path);
        assert!(verify(leaf, presented, &lenient).is_ok());
    }
    let critical = Authority::root("Corp Root");
    assert!(verify(&critical.issue(&client()), &[], &strict(&critical)).is_ok());
}

#[test]
fn a_version_1_anchor_is_asked_for_no_extensions() {
    let key = Key::generate();
    let mut template = Template::new(common_name("Corp Root"));
    template.version = 0;
    let root = Authority {
        certificate: template.self_sign(&key),
        name: template.subject,
        key,
    };
    let trust = strict(&root);
    let unnamed = root.issue(&Template::client("demo"));
    refused(verify(&unnamed, &[], &trust), MISSING, ChainRule::Path);
    assert!(verify(&root.issue(&client()), &[], &trust).is_ok());
}
