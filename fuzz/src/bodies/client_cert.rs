//! Field values, one a line: the first is `Client-Cert`, the others are `Client-Cert-Chain`. And any octets as a certificate.

use keybound_protocol::client_cert_header::{
    client_cert_chain_value, client_cert_value, parse_client_cert, parse_client_cert_chain,
};

/// Checks every property for one input.
pub(crate) fn check(octets: &[u8]) {
    let lines: Vec<&[u8]> = octets.split(|octet| *octet == b'\n').collect();
    let (first, others) = lines.split_at(1);
    let end_entity = match parse_client_cert(first) {
        Ok(end_entity) => end_entity,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    };
    if let Some(der) = &end_entity {
        // One spelling for one value, blanks around it aside.
        let written = client_cert_value(der);
        assert!(!der.is_empty());
        assert_eq!(written.as_bytes(), trim(first.concat().as_slice()));
        assert_eq!(parse_client_cert(&[written.as_bytes()]), Ok(Some(der.clone())));
    }
    // Twice is refused whatever it is.
    assert!(parse_client_cert(&[first, first].concat()).is_err());
    match parse_client_cert_chain(others, end_entity.as_deref()) {
        Ok(chain) => {
            assert!(chain.is_empty() || end_entity.is_some(), "a chain of nothing");
            assert!(!chain.contains(&end_entity.clone().unwrap_or_default()));
            assert!(chain.iter().all(|certificate| !certificate.is_empty()));
            if let Some(written) = client_cert_chain_value(&chain) {
                let reread = parse_client_cert_chain(&[written.as_bytes()], end_entity.as_deref());
                assert_eq!(reread.as_ref(), Ok(&chain));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if !octets.is_empty() && octets.len() <= 48 * 1024 {
        let written = client_cert_value(octets);
        assert_eq!(parse_client_cert(&[written.as_bytes()]), Ok(Some(octets.to_vec())));
        let chain = vec![octets.to_vec(); 3];
        let written = client_cert_chain_value(&chain).expect("not empty");
        let reread = parse_client_cert_chain(&[written.as_bytes()], Some(b"another"));
        assert!(reread == Ok(chain) || octets == b"another" || written.len() > 64 * 1024 / 3 * 4);
    }
}

fn trim(value: &[u8]) -> &[u8] {
    let blank = |octet: &u8| matches!(octet, b' ' | b'\t');
    let start = value.iter().take_while(|octet| blank(octet)).count();
    let end = value.len() - value[start..].iter().rev().take_while(|octet| blank(octet)).count();
    &value[start..end]
}
