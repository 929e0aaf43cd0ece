//! `[[forwarded_certificate]]`: the proxies that end TLS and say which certificate they saw.

use ipnet::IpNet;
use keybound_protocol::trust_anchor::TrustAnchorName;

use super::diagnostic::{Diagnostic, Located};
use super::document::{Document, Section};
use super::value::{network, word};

/// A proxy that ends TLS and says which certificate it saw.
#[derive(Debug, Clone)]
pub(crate) struct ForwardedCertificateEntry {
    /// `public` or `mutual_tls`.
    pub listener: Located<ListenerName>,
    /// Addresses of the proxy.
    pub from: Vec<IpNet>,
    /// The proxy's own certificate.
    pub proxy: Option<ProxyEntry>,
}

/// How a proxy's own certificate is known.
#[derive(Debug, Clone)]
pub(crate) struct ProxyEntry {
    /// dNSName in it.
    pub san_dns: String,
    /// Who vouches for it; never empty.
    pub trust_anchors: Vec<TrustAnchorName>,
}

/// The listeners by their configuration names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListenerName {
    /// `listen.public`.
    Public,
    /// `listen.mutual_tls`.
    MutualTls,
}

/// Takes `[[forwarded_certificate]]` out of the document. `anchors` are the names of all `[[trust_anchors]]`.
pub(super) fn entries(
    document: &Document,
    sections: Vec<Section<'_>>,
    anchors: &[TrustAnchorName],
) -> Vec<ForwardedCertificateEntry> {
    let mut entries: Vec<ForwardedCertificateEntry> = Vec::new();
    for entry in sections.into_iter().filter_map(|section| entry(section, anchors)) {
        // A listener believes one proxy in one way: a second entry would be a second way in.
        if entries.iter().any(|other| other.listener.value == entry.listener.value) {
            let message = "a second `[[forwarded_certificate]]` for the same listener";
            document.report(Diagnostic::error("C019", &entry.listener.location, message));
        }
        entries.push(entry);
    }
    entries
}

fn entry(section: Section<'_>, anchors: &[TrustAnchorName]) -> Option<ForwardedCertificateEntry> {
    let listener = section.required_parsed(
        "listener",
        word(&[
            ("public", ListenerName::Public),
            ("mutual_tls", ListenerName::MutualTls),
        ]),
    );
    let format = section.required_parsed("format", word(&[("client-cert", ())]));
    let from: Vec<IpNet> = section
        .parsed_strings("from", network)
        .into_iter()
        .map(|located| located.value)
        .collect();
    let san_dns = section.string("proxy_san_dns");
    let has_proxy = section.contains("proxy_san_dns");
    if from.is_empty() && !has_proxy {
        let message = "a forwarded certificate needs `from`, `proxy_san_dns` or both: nobody is believed by default";
        section.report(Diagnostic::error("C012", section.location(), message));
    }
    let everybody = |network: &IpNet| network.prefix_len() == 0;
    if !has_proxy && from.iter().any(everybody) {
        let message = "`from` names every address and `proxy_san_dns` is not set: anybody's header would be believed";
        section.report(Diagnostic::error("C023", section.location(), message));
    }
    let named = section.strings("trust_anchors");
    if !has_proxy && section.contains("trust_anchors") {
        let message = "`forwarded_certificate.trust_anchors` is used only with proxy_san_dns";
        section.report(Diagnostic::warning("C015", section.place_of("trust_anchors"), message));
    }
    let trust_anchors = san_dns.as_ref().and_then(|_| vouching(&section, &named, anchors));
    section.finish();
    format?;
    let proxy = match san_dns {
        Some(san_dns) => Some(ProxyEntry {
            san_dns: san_dns.value,
            trust_anchors: trust_anchors?,
        }),
        // Mistyped: a mistake that was reported, and never a proxy without a certificate.
        None if has_proxy => return None,
        None => None,
    };
    Some(ForwardedCertificateEntry {
        listener: listener?,
        from,
        proxy,
    })
}

/// Who vouches for the proxy. Whoever does can name anybody the proxy, and the proxy can name anybody a client; so no authority is
/// meant only because it is there, where there are several.
fn vouching(
    section: &Section<'_>,
    named: &[Located<String>],
    anchors: &[TrustAnchorName],
) -> Option<Vec<TrustAnchorName>> {
    let place = section.place_of("proxy_san_dns");
    match anchors {
        _ if !named.is_empty() => named.iter().map(|name| known(section, name, anchors)).collect(),
        [anchor] => Some(vec![anchor.clone()]),
        [] => {
            let message = "`proxy_san_dns` needs one of `[[trust_anchors]]` to vouch for the proxy, and there is none";
            section.report(Diagnostic::error("C027", place, message));
            None
        }
        several => {
            let message =
                "`proxy_san_dns` needs `trust_anchors`: any of several authorities could name anybody the proxy";
            let names: Vec<_> = several.iter().map(|name| format!("\"{}\"", name.as_str())).collect();
            let help = format!(
                "add trust_anchors = [\"…\"] with the authority of the proxy's own certificate: {}",
                names.join(" or ")
            );
            section.report(Diagnostic::error("C027", place, message).with_help(help));
            None
        }
    }
}

fn known(section: &Section<'_>, name: &Located<String>, anchors: &[TrustAnchorName]) -> Option<TrustAnchorName> {
    let anchor = anchors.iter().find(|anchor| anchor.as_str() == name.value);
    if anchor.is_none() {
        let message = format!("`{}` is not among `[[trust_anchors]]`", name.value);
        section.report(Diagnostic::error("C017", &name.location, message));
    }
    anchor.cloned()
}
