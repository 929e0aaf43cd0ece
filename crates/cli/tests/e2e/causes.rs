//! Why was it refused? Each cause is produced for real, and the first ✘ of `keybound explain` has to be it.
//!
//! One test for each place that refuses: the authentication of a client, the rest of a token request, the listener and a proxy in
//! front of it, a protected resource, a server that has too much to do. Each begins with the request as it should be, which succeeds.

mod certificates;
mod overload;
mod protected_resources;
mod token_requests;
mod transport;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::installation::{Answer, Installation, Said};

/// The causes that were shown so far.
pub(crate) struct Causes<'a> {
    installation: &'a Installation,
    shown: BTreeSet<String>,
}

impl<'a> Causes<'a> {
    pub(crate) fn new(installation: &'a Installation) -> Self {
        Self {
            installation,
            shown: BTreeSet::new(),
        }
    }

    /// Asserts the answer, and that `explain` names `rule` first and says `says` about it.
    pub(crate) fn refused(
        &mut self,
        cause: &str,
        answer: &Answer,
        (status, error): (u16, &str),
        rule: &str,
        says: &str,
    ) {
        let sent = match answer.body.is_empty() {
            true => String::new(),
            false => answer.error(),
        };
        assert_eq!((answer.status, &*sent), (status, error), "{cause}: {answer:?}");
        let id = answer.refusal();
        let record = self.installation.explain(&id);
        let rules = record["rules"].as_array().unwrap();
        let failed = rules.iter().position(|rule| rule["outcome"] == "failed");
        let failed = failed.unwrap_or_else(|| panic!("{cause}: no rule failed in {record}"));
        assert_eq!(rules[failed]["rule"], rule, "{cause}: {record}");
        assert!(
            rules[failed].to_string().contains(says),
            "{cause}: {says:?} is not in {record}"
        );
        assert!(
            rules[..failed].iter().all(|rule| rule["outcome"] == "passed"),
            "{cause}: {record}"
        );
        assert!(record["fix"].is_string(), "{cause}: no fix in {record}");
        let shown = self.shown(&id);
        let first = shown.stdout.lines().find(|line| line.contains('✘')).unwrap();
        assert!(first.ends_with(&format!("✘ {rule}")), "{cause}: {shown:#?}");
        assert!(self.shown.insert(cause.to_owned()), "{cause} is shown twice");
    }

    fn shown(&self, id: &str) -> Said {
        let gateway = format!("http://127.0.0.1:{}", 9445 + self.installation.offset);
        self.installation
            .run(&["explain", id, "--gateway", &gateway])
            .expect_code(0)
    }
}

pub(crate) const INVALID_CLIENT: (u16, &str) = (400, "invalid_client");
pub(crate) const INVALID_REQUEST: (u16, &str) = (400, "invalid_request");

/// The metadata of a client that proves one subject parameter by a certificate of one anchor.
pub(crate) fn tls_client_auth(anchor: &str, parameter: &str, value: &str) -> Value {
    json!({ "token_endpoint_auth_method": "tls_client_auth", parameter: value, "keybound_trust_anchors": [anchor] })
}

const PRESENTED: &str = "client certificate presented";
const VALIDITY: &str = "inside its validity period";
const PATH: &str = "path to a trust anchor of this client";
const REVOCATION: &str = "not revoked";
