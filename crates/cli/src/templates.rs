//! The commented configuration files that `init` and `quickstart` write: also the reference of every key.

/// The places of `keybound.toml` that differ from one installation to the next; whole lines where a key may be absent.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    /// `issuer`.
    pub issuer: String,
    /// `mutual_tls_origin`.
    pub mutual_tls_origin: String,
    /// `listen.public`.
    pub public: String,
    /// `listen.mutual_tls`.
    pub mutual_tls: String,
    /// `listen.operations`.
    pub operations: String,
    /// `tls.certificate`.
    pub certificate: String,
    /// `tls.key`.
    pub key: String,
    /// `tokens.default_resource`.
    pub default_resource: String,
    /// A line in `[outgoing]`.
    pub outgoing_ca: String,
    /// A line in `[outgoing]`.
    pub allow_addresses: String,
    /// `[[trust_anchors]]` tables.
    pub trust_anchors: String,
    /// `[[resources]]` tables.
    pub resources: String,
}

/// A commented `keybound.toml`.
pub(crate) fn keybound_toml(template: &Template) -> String {
    filled(
        include_str!("templates/keybound.toml"),
        &[
            ("issuer", &template.issuer),
            ("mutual_tls_origin", &template.mutual_tls_origin),
            ("public", &template.public),
            ("mutual_tls", &template.mutual_tls),
            ("operations", &template.operations),
            ("certificate", &template.certificate),
            ("key", &template.key),
            ("default_resource", &template.default_resource),
            ("outgoing_ca", &template.outgoing_ca),
            ("allow_addresses", &template.allow_addresses),
            ("trust_anchors", &template.trust_anchors),
            ("resources", &template.resources),
        ],
    )
}

/// A commented `gateway.toml` with one route to `demo:`.
pub(crate) fn gateway_toml(listen: &str, operations: &str, resource: &str, issuer: &str) -> String {
    filled(
        include_str!("templates/gateway.toml"),
        &[
            ("listen", listen),
            ("operations", operations),
            ("resource", resource),
            ("certificate", "pki/server.pem"),
            ("key", "pki/server.key"),
            ("ca", "pki/ca.pem"),
            ("issuer", issuer),
            ("upstream", "demo:"),
        ],
    )
}

fn filled(template: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{{{name}}}}}"), value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_stays_empty() {
        let text = gateway_toml("a", "b", "c", "d");
        assert!(!text.contains("{{"), "{text}");
    }
}
