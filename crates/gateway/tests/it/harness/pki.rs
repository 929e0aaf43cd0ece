//! One authority, a server certificate and a few clients'.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) der: Vec<u8>,
    pub(crate) chain_pem: String,
    pub(crate) key_pem: String,
    pub(crate) key_der: Vec<u8>,
}

pub(crate) struct Pki {
    pub(crate) ca_der: Vec<u8>,
    pub(crate) ca_pem: String,
    pub(crate) server: Leaf,
    /// What tokens are usually bound to.
    pub(crate) client: Leaf,
    /// Another client of the same authority.
    pub(crate) other: Leaf,
    /// The same name as `client`, another key.
    pub(crate) namesake: Leaf,
    /// The key of `client`, certified again.
    pub(crate) reissued: Leaf,
    /// A certificate of more than 8 KiB.
    pub(crate) large: Leaf,
    /// The name of `client`, signed by itself.
    pub(crate) self_signed: Leaf,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = name("Test CA");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = || KeyPair::generate().unwrap();
        let client_key = key();
        let signed = |params: CertificateParams, key: &KeyPair| leaf(&params.signed_by(key, &ca).unwrap(), key);
        let self_key = key();
        Self {
            ca_der: ca.der().to_vec(),
            ca_pem: ca.pem(),
            server: signed(
                CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap(),
                &key(),
            ),
            client: signed(client("demo"), &client_key),
            other: signed(client("other"), &key()),
            namesake: signed(client("demo"), &key()),
            reissued: signed(client("demo"), &client_key),
            large: signed(large(), &key()),
            self_signed: leaf(&client("demo").self_signed(&self_key).unwrap(), &self_key),
        }
    }
}

fn client(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![format!("{common_name}.client.test")]).unwrap();
    params.distinguished_name = name(common_name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn large() -> CertificateParams {
    let names: Vec<String> = (0..300)
        .map(|number| format!("name-{number}.a-long-domain.client.test"))
        .collect();
    CertificateParams::new(names).unwrap()
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn leaf(certificate: &rcgen::Certificate, key: &KeyPair) -> Leaf {
    Leaf {
        der: certificate.der().to_vec(),
        chain_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
        key_der: key.serialize_der(),
    }
}
