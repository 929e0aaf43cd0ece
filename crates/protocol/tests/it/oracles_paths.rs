//! Our verdict on paths beside those of x509-limbo and PKITS.
//!
//! Where the verdicts differ stands with its reason in docs/verifier-differences.md, and nothing else does: neither a verdict nor the
//! document can change alone.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keybound_protocol::certificate_chain;
use keybound_protocol::certificate_file;
use keybound_protocol::peer_certificate::PeerCertificate;
use keybound_protocol::time::Timestamp;
use keybound_protocol::trust_anchor::{CrlMissing, TrustAnchor, TrustAnchorSettings};
use serde_json::Value;

use crate::oracles::{document, shared_data};

/// One case: what is trusted, presented and known to be revoked, and when.
struct Case {
    anchors: Vec<Vec<u8>>,
    intermediates: Vec<Vec<u8>>,
    leaf: Vec<u8>,
    crls: Vec<Vec<u8>>,
    now: Timestamp,
    /// The most authorities between end entity and anchor, where the case limits them. The limit here is a fixed six, so that a
    /// smaller one is for the caller, who is told the path.
    intermediates_max: Option<u64>,
}

impl Case {
    /// Accepted, or why not: under strict anchors, or under such as are the default.
    fn verdict(&self, strict: bool) -> Result<(), String> {
        // An entry of its own for each: what cannot be an anchor is refused when the configuration is read, and does not disturb others.
        let missing = (!self.crls.is_empty()).then_some(CrlMissing::Refuse);
        let load = |certificate: &Vec<u8>| {
            TrustAnchor::load(&TrustAnchorSettings {
                name: "oracle".parse().unwrap(),
                certificates: vec![certificate.clone()],
                crls: self.crls.clone(),
                crl_missing: missing,
                require_client_auth_eku: false,
                strict,
            })
        };
        let anchors: Vec<TrustAnchor> = self.anchors.iter().filter_map(|der| load(der).ok()).flatten().collect();
        let anchors: Vec<&TrustAnchor> = anchors.iter().collect();
        let peer = PeerCertificate::assert_possession_proven(self.leaf.clone(), self.intermediates.clone());
        match certificate_chain::verify(&peer, &anchors, self.now) {
            Err(error) => Err(format!("{error:?}")),
            Ok(chain)
                if self
                    .intermediates_max
                    .is_some_and(|max| chain.intermediates().len() as u64 > max) =>
            {
                Err("more intermediates than the case allows".to_owned())
            }
            Ok(_) => Ok(()),
        }
    }
}

/// The rows of a table of the document: id and reason.
fn listed(heading: &str) -> BTreeMap<String, String> {
    let document = document("verifier-differences.md");
    let section = document
        .split("\n## ")
        .find(|section| section.starts_with(heading))
        .unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`').to_owned(), cells[2].to_owned())
    })
    .collect()
}

/// By case: whether the suite accepts it, and our verdict.
type Verdicts = BTreeMap<String, (bool, Result<(), String>)>;

/// What we accept although the suite refuses it.
fn accepted(verdicts: &Verdicts) -> BTreeSet<String> {
    let accepted = verdicts
        .iter()
        .filter(|(_, (expected, verdict))| !expected && verdict.is_ok());
    accepted.map(|(id, _)| id.clone()).collect()
}

/// Compares our verdicts with what is expected. Every difference is listed, and everything listed is a difference.
fn compare(suite: &str, verdicts: &Verdicts) {
    let known = listed(&format!("{suite}: accepted"));
    assert_eq!(
        accepted(verdicts),
        known.keys().cloned().collect(),
        "accepted although {suite} refuses them"
    );

    let refused: BTreeMap<&String, &String> = verdicts
        .iter()
        .filter_map(|(id, (expected, verdict))| Some((id, verdict.as_ref().err().filter(|_| *expected)?)))
        .collect();
    let known_refused = listed(&format!("{suite}: refused"));
    let found: BTreeSet<&String> = refused.keys().copied().collect();
    assert_eq!(
        found,
        known_refused.keys().collect(),
        "refused although {suite} accepts them: {refused:#?}"
    );
    assert!(
        known
            .values()
            .chain(known_refused.values())
            .all(|reason| !reason.is_empty()),
        "each has its reason"
    );
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn certificates(value: &Value) -> Vec<Vec<u8>> {
    let all = value.as_array().unwrap().iter();
    all.map(|pem| certificate_file::certificates(text(pem).as_bytes()).unwrap().remove(0))
        .collect()
}

// covers X509-2, MTLS-7.5-1, MTLS-7.5-3
#[test]
fn x509_limbo_is_decided_as_it_must_be() {
    let Some(limbo) = shared_data("x509-limbo-client.json.xz") else {
        return;
    };
    let (mut verdicts, mut strict_verdicts) = (Verdicts::new(), Verdicts::new());
    for case in limbo["testcases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| case["tier"] == "must")
    {
        let crls = case["crls"].as_array().unwrap().iter();
        let tested = Case {
            anchors: certificates(&case["trusted_certs"]),
            intermediates: certificates(&case["untrusted_intermediates"]),
            leaf: certificates(&Value::Array(vec![case["peer_certificate"].clone()])).remove(0),
            crls: crls
                .flat_map(|pem| certificate_file::revocation_lists(text(pem).as_bytes()).unwrap())
                .collect(),
            // Without a time any will do: those certificates are valid from 1970 to 2969.
            now: case["validation_time"].as_str().map_or(PKITS_NOW, time),
            intermediates_max: case["max_chain_depth"].as_u64(),
        };
        let (id, expected) = (text(&case["id"]), case["expected_result"] == "SUCCESS");
        verdicts.insert(id.to_owned(), (expected, tested.verdict(false)));
        strict_verdicts.insert(id.to_owned(), (expected, tested.verdict(true)));
    }
    assert_eq!(verdicts.len(), 107);
    compare("x509-limbo", &verdicts);

    assert_eq!(
        accepted(&strict_verdicts),
        BTreeSet::new(),
        "accepted under strict anchors"
    );
    // It refuses nothing else: what is listed as accepted, for a reason that names the option, is all that it changes.
    let changed = verdicts
        .iter()
        .filter(|(id, (_, verdict))| verdict.is_ok() != strict_verdicts[*id].1.is_ok());
    let changed: BTreeSet<String> = changed.map(|(id, _)| id.clone()).collect();
    let known = listed("x509-limbo: accepted");
    assert_eq!(changed, known.keys().cloned().collect());
    assert!(known.values().all(|reason| reason.contains("`strict = true`")));
}

/// Seconds of a time such as `2024-01-01T00:00:00+00:00`, found by trying days: this is no place for a calendar.
fn time(text: &str) -> Timestamp {
    let wanted = text.trim_end_matches("+00:00").trim_end_matches('Z');
    let days = (0..400_000).map(|day| Timestamp::from_unix_secs(day * 86_400));
    let day = days
        .into_iter()
        .find(|day| day.to_string()[..10] == wanted[..10])
        .unwrap();
    let part = |range: std::ops::Range<usize>| wanted[range].parse::<i64>().unwrap();
    Timestamp::from_unix_secs(day.unix_secs() + part(11..13) * 3600 + part(14..16) * 60 + part(17..19))
}

/// PKITS was made in 2010 and its certificates end in 2030.
const PKITS_NOW: Timestamp = Timestamp::from_unix_secs(1_767_225_600);

/// The sections that are about paths; the others need an engine for certificate policies, of which there is none here.
const PKITS_SECTIONS: [&str; 7] = ["4.1.", "4.2.", "4.5.", "4.6.", "4.7.", "4.13.", "4.16."];

// covers X509-2, MTLS-7.5-3, MTLS-7.5-6
#[test]
fn pkits_is_decided_as_it_must_be() {
    let Some(pkits) = shared_data("pkits.json.xz") else {
        return;
    };
    let der = |kind: &str, name: &Value| STANDARD.decode(text(&pkits[kind][text(name)])).unwrap();
    let mut verdicts = Verdicts::new();
    for test in pkits["tests"].as_array().unwrap() {
        let id = text(&test["id"]);
        let is_dsa = text(&test["title"]).contains("DSA");
        if is_dsa || !PKITS_SECTIONS.iter().any(|section| id.starts_with(section)) {
            continue;
        }
        let mut path: Vec<Vec<u8>> = test["certs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| der("certs", name))
            .collect();
        let leaf = path.pop().unwrap();
        let verdict = Case {
            anchors: vec![path.remove(0)],
            intermediates: path,
            leaf,
            crls: test["crls"]
                .as_array()
                .unwrap()
                .iter()
                .map(|name| der("crls", name))
                .collect(),
            now: PKITS_NOW,
            intermediates_max: None,
        }
        .verdict(false);
        verdicts.insert(id.to_owned(), (test["should_validate"] == true, verdict));
    }
    assert_eq!(verdicts.len(), 81);
    compare("PKITS", &verdicts);
}
