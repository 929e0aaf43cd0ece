//! `Client-Cert` and `Client-Cert-Chain` (RFC 9440): one spelling for one certificate.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use keybound_protocol::certificate::Certificate;
use keybound_protocol::client_cert_header::{
    client_cert_chain_value, client_cert_value, parse_client_cert, parse_client_cert_chain,
};
use keybound_protocol::peer_certificate::{ForwardingError, PeerCertificate};
use proptest::prelude::*;

/// The value of RFC 9440 Appendix A, without the line breaks that are there for printing.
const SAMPLE: &str = ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVy\
    bWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU\
    /IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0Z\
    aSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1\
    vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:";

fn parse(value: &str) -> Result<Vec<u8>, ForwardingError> {
    parse_client_cert(&[value.as_bytes()]).map(Option::unwrap)
}

// covers R9440-1
#[test]
fn the_sample_of_the_rfc_is_read_and_written() {
    let der = parse(SAMPLE).unwrap();
    let certificate = Certificate::parse(&der).unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=BC");
    assert_eq!(
        certificate.issuer().to_string(),
        "CN=LA Intermediate CA,O=Let's Authenticate"
    );
    assert_eq!(client_cert_value(&der), SAMPLE);
    assert_eq!(
        PeerCertificate::assert_possession_proven(der, Vec::new()).client_cert_value(),
        SAMPLE
    );
    assert_eq!(parse(&format!("  {SAMPLE} ")).map(|_| ()), Ok(()));
}

// covers R9440-2, TRAP-29
#[test]
fn there_is_one_field_with_one_certificate() {
    assert_eq!(parse_client_cert(&[]), Ok(None));
    let repeated = Err(ForwardingError::Repeated { header: "Client-Cert" });
    assert_eq!(parse_client_cert(&[SAMPLE.as_bytes(), SAMPLE.as_bytes()]), repeated);
    assert_eq!(parse_client_cert(&[SAMPLE.as_bytes(), b""]), repeated);
    let malformed = |value: &str| match parse(value) {
        Err(ForwardingError::Malformed {
            header: "Client-Cert",
            problem,
        }) => problem,
        other => panic!("{value:?}: {other:?}"),
    };
    for list in [
        format!("{SAMPLE}, {SAMPLE}"),
        format!("{SAMPLE},"),
        format!("({SAMPLE})"),
        format!("a={SAMPLE}"),
    ] {
        malformed(&list);
    }
}

// covers R9440-1, TRAP-1
#[test]
fn what_is_not_a_byte_sequence_in_its_one_spelling_is_refused() {
    let base64 = SAMPLE.trim_matches(':');
    let unpadded = base64.trim_end_matches('=');
    let values = [
        String::new(),
        " ".to_owned(),
        "::".to_owned(),
        base64.to_owned(),
        format!(":{base64}"),
        format!("\"{base64}\""),
        format!(":{unpadded}:"),
        format!(":{base64}=:"),
        format!("{SAMPLE};a=1"),
        format!("{SAMPLE};a"),
        format!("{SAMPLE} x"),
        format!(":{} :", base64),
        format!(":{}\n{}:", &base64[..64], &base64[64..]),
        SAMPLE.replace('/', "_").replace('+', "-"),
        // Unused bits that are not zero: another spelling of the same octets.
        format!(":{}l=:", &base64[..base64.len() - 2]),
        "-----BEGIN%20CERTIFICATE-----".to_owned(),
        "?1".to_owned(),
        "demo".to_owned(),
        "1".to_owned(),
        ":\u{fc}:".to_owned(),
    ];
    for value in values {
        let outcome = parse(&value);
        assert!(
            matches!(outcome, Err(ForwardingError::Malformed { .. })),
            "{value:?}: {outcome:?}"
        );
    }
    let with_parameter = ForwardingError::Malformed {
        header: "Client-Cert",
        problem: "parameters",
    };
    assert_eq!(parse(&format!("{SAMPLE};a=1")), Err(with_parameter));
    assert_eq!(parse(&format!(":{}:", STANDARD.encode([1, 2]))), Ok(vec![1, 2]));
    assert!(parse(&format!(":{}:", STANDARD_NO_PAD.encode([1, 2]))).is_err());
}

// covers R9440-3
#[test]
fn a_chain_is_a_list_beside_the_certificate() {
    let leaf: &[u8] = b"leaf";
    let chain = |values: &[&str], leaf: Option<&[u8]>| {
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        parse_client_cert_chain(&values, leaf)
    };
    let (one, two) = (":AQ==:", ":Ag==:");
    assert_eq!(chain(&[], None), Ok(vec![]));
    assert_eq!(chain(&[], Some(leaf)), Ok(vec![]));
    assert_eq!(chain(&[one], Some(leaf)), Ok(vec![vec![1]]));
    // Over one field or several, in order.
    assert_eq!(chain(&[":AQ==:, :Ag==:"], Some(leaf)), Ok(vec![vec![1], vec![2]]));
    assert_eq!(chain(&[":AQ==: ,  :Ag==:"], Some(leaf)), Ok(vec![vec![1], vec![2]]));
    assert_eq!(chain(&[one, two], Some(leaf)), Ok(vec![vec![1], vec![2]]));

    assert_eq!(chain(&[one], None), Err(ForwardingError::ChainWithoutCertificate));
    let repeats_leaf = client_cert_value(leaf);
    for refused in [
        "(:AQ==:)",
        ":AQ==:;a",
        ":AQ:",
        "AQ==",
        ":AQ==:,",
        ":AQ==: :Ag==:",
        "a",
        repeats_leaf.to_str().unwrap(),
    ] {
        let outcome = chain(&[refused], Some(leaf));
        assert!(
            matches!(
                outcome,
                Err(ForwardingError::Malformed {
                    header: "Client-Cert-Chain",
                    ..
                })
            ),
            "{refused}: {outcome:?}"
        );
    }
}

// covers R9440-8
#[test]
fn sizes_are_limited_and_eight_kibibytes_pass() {
    let of = |octets: usize| parse(client_cert_value(&vec![1; octets]).to_str().unwrap()).map(|der| der.len());
    assert_eq!(of(8 * 1024), Ok(8 * 1024));
    assert_eq!(of(65_532), Ok(65_532));
    assert!(matches!(
        of(65_540),
        Err(ForwardingError::TooLarge {
            header: "Client-Cert",
            ..
        })
    ));
    let chain = client_cert_chain_value(&vec![vec![1; 7000]; 10]).unwrap();
    let outcome = parse_client_cert_chain(&[chain.as_bytes()], Some(b"leaf"));
    assert!(matches!(
        outcome,
        Err(ForwardingError::TooLarge {
            header: "Client-Cert-Chain",
            ..
        })
    ));
    // More certificates than a chain may have are not all kept: one too many is enough to refuse it.
    let many = client_cert_chain_value(&vec![vec![1]; 100]).unwrap();
    assert_eq!(
        parse_client_cert_chain(&[many.as_bytes()], Some(b"leaf"))
            .unwrap()
            .len(),
        7
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        leaf in proptest::collection::vec(any::<u8>(), 1..300),
        chain in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..7),
    ) {
        prop_assume!(!chain.contains(&leaf));
        let value = client_cert_value(&leaf);
        prop_assert_eq!(parse_client_cert(&[value.as_bytes()]), Ok(Some(leaf.clone())));
        let value = client_cert_chain_value(&chain);
        let values: Vec<&[u8]> = value.iter().map(|value| value.as_bytes()).collect();
        prop_assert_eq!(parse_client_cert_chain(&values, Some(&leaf)), Ok(chain));
    }

    #[test]
    fn any_octets_are_read_or_refused_without_panic(value in proptest::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(Some(der)) = parse_client_cert(&[&value]) {
            let written = client_cert_value(&der);
            prop_assert_eq!(written.as_bytes(), value.trim_ascii());
        }
        let _ = parse_client_cert_chain(&[&value, &value], Some(b"leaf"));
    }
}
