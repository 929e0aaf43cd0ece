//! What is kept of a refusal, however much the one who is refused sends.

use http::Method;
use keybound_protocol::refusal::{REFUSAL_JSON_BYTES_MAX, Refusal};
use keybound_protocol::rule::Outcome;
use rcgen::SanType;

use crate::pki::{Authority, Wish};
use crate::world::{Plan, Reply, Side, World, credentials, tls_client, with};

/// As many names as a certificate may have, and most of the octets.
const NAMES: usize = 250;

fn names() -> impl Iterator<Item = String> {
    let label = "a".repeat(58);
    (0..NAMES).map(move |number| format!("{number:03}-{label}.{label}.{label}.example"))
}

fn many_names() -> Wish {
    Wish {
        sans: names().map(|name| SanType::DnsName(name.try_into().unwrap())).collect(),
        ..Wish::default()
    }
}

async fn bounded(world: &World, reply: &Reply) -> Refusal {
    let refusal = world.refusal(reply).await;
    let json = serde_json::to_vec(&refusal).unwrap();
    assert!(json.len() <= REFUSAL_JSON_BYTES_MAX, "{} {refusal:#?}", json.len());
    assert!(refusal.failed_rule().is_some());
    refusal
}

#[tokio::test]
async fn a_record_is_small_whatever_a_stranger_presents() {
    let (corp, stranger) = (Authority::root("corp"), Authority::root("stranger"));
    let registered = format!("{}.registered.example", "c".repeat(60));
    let world = Plan::new()
        .trusts("corp", &corp)
        .client("demo", tls_client(&registered))
        .client(
            "same-scope",
            with(tls_client(&registered), serde_json::json!({"scope": "read"})),
        )
        .start()
        .await;
    let untrusted = stranger.issue(many_names());
    assert!(untrusted.der.len() > 46 * 1024, "{}", untrusted.der.len());

    let refusal = bounded(&world, &world.token(Some(&untrusted), "demo").await).await;
    let failed = refusal.failed_rule().unwrap();
    assert_eq!(failed.rule, "path to a trust anchor of this client");
    assert!(failed.presented.as_deref().unwrap().contains("CN=stranger"));
    let shown = refusal.certificate.unwrap().subject_alternative_names;
    let first = names().next().unwrap();
    assert!(shown.first().unwrap().contains(&first[..20]), "{shown:?}");
    assert_eq!(shown.last().unwrap(), &format!("and {} more", NAMES + 1 - shown.len()));

    // Trusted, and of other names: what was compared is what the operator looks for.
    let trusted = corp.issue(many_names());
    let refusal = bounded(&world, &world.token(Some(&trusted), "demo").await).await;
    let failed = refusal.failed_rule().unwrap();
    assert_eq!(failed.rule, "tls_client_auth_san_dns");
    assert_eq!(failed.registered.as_deref(), Some(registered.as_str()));
    assert!(failed.presented.as_deref().unwrap().starts_with(&first), "{failed:?}");
    assert!(refusal.rules.iter().any(|rule| rule.outcome == Outcome::Passed));

    // Everything else that is long, at once.
    let long = "\u{10348}\"\\".repeat(1000);
    let unknown = [&credentials(&long)[..], &[("scope", long.as_str())]].concat();
    let refusal = bounded(&world, &world.post(Some(&untrusted), "/token", &unknown).await).await;
    assert_eq!(refusal.failed_rule().unwrap().rule, "client registered");
    let path = format!("/{}", "p".repeat(8000));
    let peer = world.peer(Side::MutualTls, Some(&untrusted));
    let refusal = bounded(&world, &peer.send(Method::GET, &path, &[], None).await).await;
    assert_eq!(refusal.failed_rule().unwrap().rule, "path of an endpoint");
}
