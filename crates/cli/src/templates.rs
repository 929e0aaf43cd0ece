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

/// The places of `gateway.toml` that differ from one installation to the next.
#[derive(Debug, Clone)]
pub(crate) struct GatewayTemplate {
    /// `listen`.
    pub listen: String,
    /// `operations`.
    pub operations: String,
    /// `resource`.
    pub resource: String,
    /// `issuer` of the one issuer.
    pub issuer: String,
    /// `upstream` of the one route.
    pub upstream: String,
    /// `revocations` of the one issuer, if they are followed.
    pub revocations: Option<String>,
}

/// A commented `gateway.toml` with one route, which shares the server's certificate.
pub(crate) fn gateway_toml(template: &GatewayTemplate) -> String {
    let (revocations, client) = match &template.revocations {
        Some(url) => (
            format!("revocations = \"{url}\"  # what it revokes reaches its tokens here at once"),
            "client_id = \"gateway\"               # the gateway as a client of the issuer, to follow and to introspect,\n\
             certificate = \"clients/gateway/cert.pem\"  # its certificate\n\
             key = \"clients/gateway/key.pem\"   # and key"
                .to_owned(),
        ),
        None => (
            "# revocations = \"https://…/revocations\"  # a Keybound server: what it revokes reaches its tokens here at once".to_owned(),
            "# client_id = \"gateway\"             # the gateway as a client of the issuer, to follow and to introspect,\n\
             # certificate = \"pki/gateway.pem\"   # its certificate\n\
             # key = \"pki/gateway.key\"           # and key"
                .to_owned(),
        ),
    };
    filled(
        include_str!("templates/gateway.toml"),
        &[
            ("listen", &template.listen),
            ("operations", &template.operations),
            ("resource", &template.resource),
            ("certificate", "pki/server.pem"),
            ("key", "pki/server.key"),
            ("ca", "pki/ca.pem"),
            ("issuer", &template.issuer),
            ("upstream", &template.upstream),
            ("revocations", &revocations),
            ("client", &client),
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

    fn gateway() -> GatewayTemplate {
        GatewayTemplate {
            listen: "a".to_owned(),
            operations: "b".to_owned(),
            resource: "c".to_owned(),
            issuer: "d".to_owned(),
            upstream: "demo:".to_owned(),
            revocations: None,
        }
    }

    /// The template with every key that it shows, those commented out included, as `table.key`.
    fn shown(template: &str) -> std::collections::BTreeSet<String> {
        let mut table = String::new();
        let mut keys = std::collections::BTreeSet::new();
        for line in template.lines() {
            let line = line.strip_prefix("# ").unwrap_or(line);
            if let Some(name) = line.strip_prefix('[') {
                table = format!(
                    "{}.",
                    name.trim_start_matches('[').split(']').next().unwrap_or_default()
                );
                keys.insert(table.trim_end_matches('.').to_owned());
            } else if let Some((key, _)) = line.split_once(" = ")
                && key
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            {
                keys.insert(format!("{table}{key}"));
            }
        }
        keys
    }

    #[test]
    fn the_templates_show_every_key_there_is_and_no_other() {
        use crate::configuration::document::Document;
        use crate::configuration::{Base, gateway, server};

        let empty = Template {
            issuer: "https://localhost".to_owned(),
            mutual_tls_origin: "https://localhost".to_owned(),
            public: "127.0.0.1:8443".to_owned(),
            mutual_tls: "127.0.0.1:8444".to_owned(),
            operations: "127.0.0.1:8445".to_owned(),
            certificate: "a".to_owned(),
            key: "a".to_owned(),
            default_resource: "https://localhost".to_owned(),
            outgoing_ca: "ca = []".to_owned(),
            allow_addresses: "allow_addresses = []".to_owned(),
            trust_anchors: String::new(),
            resources: String::new(),
        };
        // One of each table, so that its keys are asked for.
        let tables = "[[registration.policies]]\n[[software_statement_issuers]]\n[[tls.names]]\n[[trust_anchors]]\n[[scopes]]\n[[resources]]\n[[forwarded_certificate]]\n[[token_exchange]]\n[[authorization_details_types]]\n[[authorization_details_types.fields]]\n[[upstream_providers]]\n";
        let document = Document::parse("keybound.toml", tables, &[]);
        let _ = server::interpret(&document, &Base::default());
        assert_eq!(shown(&keybound_toml(&empty)), document.asked());

        let mut asked = std::collections::BTreeSet::new();
        for validation in ["local", "introspection"] {
            let tables = format!("[[issuers]]\nvalidation = \"{validation}\"\n[[routes]]\n");
            let document = Document::parse("gateway.toml", &tables, &[]);
            let _ = gateway::interpret(&document, &Base::default());
            asked.extend(document.asked());
        }
        assert_eq!(shown(&gateway_toml(&gateway())), asked);
    }

    #[test]
    fn no_place_stays_empty() {
        let text = gateway_toml(&gateway());
        assert!(!text.contains("{{"), "{text}");
    }
}
