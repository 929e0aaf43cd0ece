//! `gateway.toml`: what the gateway is told.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use keybound_gateway::settings::UpstreamSettings;
use keybound_protocol::client::ClientId;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_resource_server::Dpop;
use keybound_tls::{Identity, OperatorFileError, Roots};
use url::Url;

use super::diagnostic::{Diagnostic, Located, Location};
use super::document::{Document, Section};
use super::limits::{self, GatewayLimits};
use super::value::{https_url, identity, roots, socket_address, word};
use super::{Base, Reading, read};

/// A `gateway.toml`, interpreted. Paths can be opened as they are.
#[derive(Debug, Clone)]
pub(crate) struct GatewayFile {
    /// The file itself, for findings about all of it.
    pub location: Location,
    /// Every file that it names.
    pub files: Vec<PathBuf>,
    /// Where callers connect.
    pub listen: SocketAddr,
    /// Plain HTTP: health, metrics, refusals.
    pub operations: SocketAddr,
    /// The gateway's own certificate.
    pub tls: Identity,
    /// Authorities of issuers and upstreams; `None` means the system's.
    pub outgoing_roots: Option<Roots>,
    /// The expected `aud`.
    pub resource: ResourceUri,
    /// Whose tokens are accepted.
    pub issuers: Vec<IssuerEntry>,
    /// What is served, by path.
    pub routes: Vec<RouteEntry>,
    /// `dpop.nonce`: whether DPoP proofs need a nonce of ours.
    pub dpop_nonces: bool,
    /// `limits.*`.
    pub limits: GatewayLimits,
}

/// `[[issuers]]`.
#[derive(Debug, Clone)]
pub(crate) struct IssuerEntry {
    /// Compared as a string with `iss`.
    pub issuer: Located<Issuer>,
    /// How its tokens are checked.
    pub validation: Validation,
    /// Where its keys are; discovered from its metadata if absent.
    pub jwks_uri: Option<Url>,
    /// JOSE names; empty means the default list.
    pub algorithms: Vec<SignatureAlgorithm>,
    /// `typ` values; empty means the default list.
    pub token_types: Vec<String>,
    /// Further accepted `aud` values.
    pub audience: Vec<String>,
    /// How its revocations are followed; `None` if they are not.
    pub revocations: Option<Revocations>,
}

/// `revocations` and `on_stale`.
#[derive(Debug, Clone)]
pub(crate) struct Revocations {
    /// `{mutual_tls_origin}/revocations` of a Keybound server.
    pub url: Url,
    /// What its silence means.
    pub on_stale: OnStale,
    /// Where it is asked about tokens then; discovered from its metadata if absent.
    pub introspection_endpoint: Option<Url>,
    /// Who asks.
    pub client: OwnClient,
}

/// The rule about an issuer that has not said for a while what it revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnStale {
    /// Tokens pass by what is known.
    Continue,
    /// No token passes.
    Refuse,
    /// The issuer is asked about each token.
    Introspect,
}

/// The gateway as a client of the issuer.
#[derive(Debug, Clone)]
pub(crate) struct OwnClient {
    /// Its identifier there.
    pub client_id: ClientId,
    /// Its certificate.
    pub identity: Identity,
}

/// How an issuer's tokens are checked.
#[derive(Debug, Clone)]
pub(crate) enum Validation {
    /// As JWTs, with the issuer's keys.
    Local,
    /// By asking the issuer (RFC 7662).
    Introspection {
        /// Discovered from the metadata if absent.
        endpoint: Option<Url>,
        /// Who asks.
        client: OwnClient,
    },
}

/// `[[routes]]`.
#[derive(Debug, Clone)]
pub(crate) struct RouteEntry {
    /// Whole segments; the longest match wins.
    pub path: Located<String>,
    /// Empty means every method.
    pub methods: Vec<String>,
    /// Where requests go.
    pub upstream: UpstreamSettings,
    /// Every one of them must be granted.
    pub scopes: Scope,
    /// Whether tokens must be bound.
    pub binding: Binding,
    /// Whether they may be bound to a key.
    pub dpop: Dpop,
    /// Whether the `Authorization` header reaches the upstream.
    pub forward_authorization: bool,
    /// Issuers accepted here; empty means all.
    pub issuers: Vec<Located<Issuer>>,
    /// Whether an answer may outlive the token that started it.
    pub until_close: bool,
}

/// The rule about `cnf` on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binding {
    /// Only bound tokens.
    Required,
    /// Unbound tokens pass; bound ones are checked.
    Optional,
    /// No binding is checked. A listener with no other routes asks nobody for a certificate.
    None,
}

/// Reads a `gateway.toml`.
///
/// # Errors
/// If the file cannot be read at all; what is wrong inside it is in the [`Reading`].
pub(crate) fn load(path: &Path, environment: &[(String, String)]) -> Result<Reading<GatewayFile>, OperatorFileError> {
    read(path, environment, interpret)
}

/// Takes the keys out of the document.
pub(crate) fn interpret(document: &Document, base: &Base) -> Option<GatewayFile> {
    let root = document.root();
    let listen = root.required_parsed("listen", socket_address);
    let operations = root.parsed("operations", socket_address);
    let operations_written = root.contains("operations");
    let tls_section = root.section("tls");
    let tls = identity(&tls_section, base);
    tls_section.finish();
    let outgoing = root.section("outgoing");
    let outgoing_roots = roots(&outgoing, base, "ca");
    outgoing.finish();
    let resource = root.required_parsed("resource", ResourceUri::parse);
    let issuers: Vec<IssuerEntry> = root
        .sections("issuers")
        .into_iter()
        .filter_map(|section| issuer(section, base))
        .collect();
    if !root.contains("issuers") {
        let message = "no `[[issuers]]`: no token could ever be accepted";
        document.report(Diagnostic::error("C014", root.location(), message));
    }
    let routes: Vec<RouteEntry> = root.sections("routes").into_iter().filter_map(route).collect();
    check_routes(document, &issuers, &routes);
    let dpop = root.section("dpop");
    let dpop_nonces = dpop
        .parsed("nonce", word(&[("off", false), ("required", true)]))
        .is_some_and(|located| located.value);
    dpop.finish();
    let limits = limits::gateway(root.section("limits"));
    let location = root.location().clone();
    root.finish();
    Some(GatewayFile {
        location,
        files: document.files(),
        listen: listen?.value,
        operations: match operations {
            Some(located) => located.value,
            None if operations_written => return None,
            None => SocketAddr::from(([127, 0, 0, 1], 9445)),
        },
        tls: tls?,
        outgoing_roots,
        resource: resource?.value,
        issuers,
        routes,
        dpop_nonces,
        limits,
    })
}

fn issuer(section: Section<'_>, base: &Base) -> Option<IssuerEntry> {
    let issuer = section.required_parsed("issuer", |text| {
        https_url(text)?;
        Issuer::parse(text).map_err(|error| error.to_string())
    });
    let introspects = section
        .parsed("validation", word(&[("local", false), ("introspection", true)]))
        .is_some_and(|located| located.value);
    let jwks_uri = section.parsed("jwks_uri", https_url).map(|located| located.value);
    let endpoint = section
        .parsed("introspection_endpoint", https_url)
        .map(|located| located.value);
    let algorithms = section
        .parsed_strings("algorithms", str::parse::<SignatureAlgorithm>)
        .into_iter()
        .map(|located| located.value)
        .collect();
    let token_types = section
        .strings("token_types")
        .into_iter()
        .map(|located| located.value)
        .collect();
    let audience = section
        .strings("audience")
        .into_iter()
        .map(|located| located.value)
        .collect();
    let feed = section.parsed("revocations", https_url);
    let falls_back = endpoint.is_some() && !introspects;
    let on_stale = on_stale(&section, falls_back, feed.is_some());
    let client = if introspects || feed.is_some() {
        let client_id = section.required_parsed("client_id", ClientId::parse);
        let identity = identity(&section, base);
        section.finish();
        Some(OwnClient {
            client_id: client_id?.value,
            identity: identity?,
        })
    } else {
        for key in ["client_id", "certificate", "key"] {
            if let Some(unused) = section.string(key) {
                let message = format!("`{key}` is used only with validation = \"introspection\" or `revocations`");
                section.report(Diagnostic::warning("C015", &unused.location, message));
            }
        }
        section.finish();
        None
    };
    let revocations = feed.zip(client.clone()).map(|(feed, client)| Revocations {
        url: feed.value,
        on_stale,
        introspection_endpoint: endpoint.clone(),
        client,
    });
    Some(IssuerEntry {
        issuer: issuer?,
        validation: match client.filter(|_| introspects) {
            Some(client) => Validation::Introspection { endpoint, client },
            None => Validation::Local,
        },
        jwks_uri,
        algorithms,
        token_types,
        audience,
        revocations,
    })
}

fn on_stale(section: &Section<'_>, falls_back: bool, is_followed: bool) -> OnStale {
    const WORDS: &[(&str, OnStale)] = &[
        ("continue", OnStale::Continue),
        ("refuse", OnStale::Refuse),
        ("introspect", OnStale::Introspect),
    ];
    let written = section.parsed("on_stale", word(WORDS));
    if let Some(unused) = written.as_ref().filter(|_| !is_followed) {
        let message = "`on_stale` is used only with `revocations`";
        section.report(Diagnostic::warning("C015", &unused.location, message));
    }
    match written {
        Some(written) => written.value,
        None if falls_back => OnStale::Introspect,
        None => OnStale::Continue,
    }
}

fn route(section: Section<'_>) -> Option<RouteEntry> {
    let path = section.required_parsed("path", |text| match text {
        _ if !text.starts_with('/') => Err("must begin with /"),
        _ if text.contains(['?', '#', '%', '\\', ';']) || text.contains("//") => {
            Err("must be a plain path of whole segments")
        }
        _ if text.split('/').any(|segment| segment == "." || segment == "..") => Err("must have no dot segments"),
        _ => Ok(text.to_owned()),
    });
    let methods = section.parsed_strings("methods", |text| {
        let token = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        if token {
            Ok(text.to_owned())
        } else {
            Err("a method is written in capitals, as in \"GET\"")
        }
    });
    let upstream = section.required_parsed("upstream", str::parse::<UpstreamSettings>);
    let scopes = scopes(&section);
    let binding = section
        .parsed(
            "binding",
            word(&[
                ("required", Binding::Required),
                ("optional", Binding::Optional),
                ("none", Binding::None),
            ]),
        )
        .map_or(Binding::Required, |located| located.value);
    let dpop = section
        .parsed(
            "dpop",
            word(&[
                ("accepted", Dpop::Accepted),
                ("refused", Dpop::Refused),
                ("required", Dpop::Required),
            ]),
        )
        .map_or(Dpop::Accepted, |located| located.value);
    let forward_authorization = section
        .parsed("authorization", word(&[("forward", true), ("strip", false)]))
        .is_none_or(|located| located.value);
    let issuers = section.parsed_strings("issuers", Issuer::parse);
    let until_close = section
        .parsed("long_running", word(&[("until-close", true), ("until-expiry", false)]))
        .is_some_and(|it| it.value);
    section.finish();
    Some(RouteEntry {
        path: path?,
        methods: methods.into_iter().map(|located| located.value).collect(),
        upstream: upstream?.value,
        scopes: scopes?,
        binding,
        dpop,
        forward_authorization,
        issuers,
        until_close,
    })
}

/// All words together: there is a limit to how many they may be.
fn scopes(section: &Section<'_>) -> Option<Scope> {
    let words: Vec<String> = section
        .parsed_strings("scopes", |text| {
            Scope::parse(text).map(|scope| scope.as_str().to_owned())
        })
        .into_iter()
        .map(|located| located.value)
        .collect();
    match Scope::parse(&words.join(" ")) {
        Ok(scope) => Some(scope),
        Err(error) => {
            let message = format!("`routes.scopes`: {error}");
            section.report(Diagnostic::error("C006", section.place_of("scopes"), message));
            None
        }
    }
}

fn check_routes(document: &Document, issuers: &[IssuerEntry], routes: &[RouteEntry]) {
    let unchecked = |route: &&RouteEntry| route.binding == Binding::None;
    if let Some(route) = routes.iter().find(unchecked)
        && !routes.iter().all(|route| unchecked(&route))
    {
        let message = "binding = \"none\" belongs on a listener that asks for no certificate: this one asks, for its other routes, \
                       and tokens bound to a certificate pass here without it";
        let finding = Diagnostic::warning("C018", &route.path.location, message);
        document.report(finding.with_help("\"optional\" lets tokens without cnf pass and checks the others"));
    }
    for (index, route) in routes.iter().enumerate() {
        let overlaps = |other: &&RouteEntry| {
            other.path.value == route.path.value
                && (other.methods.is_empty()
                    || route.methods.is_empty()
                    || other.methods.iter().any(|method| route.methods.contains(method)))
        };
        if routes.iter().take(index).any(|other| overlaps(&other)) {
            let message = format!("a second route for `{}` and the same methods", route.path.value);
            document.report(Diagnostic::error("C016", &route.path.location, message));
        }
        warn_of_shown_tokens(document, issuers, route);
        for named in &route.issuers {
            if !issuers.iter().any(|issuer| issuer.issuer.value == named.value) {
                let message = format!("`{}` is not among `[[issuers]]`", named.value);
                document.report(Diagnostic::error("C017", &named.location, message));
            }
        }
    }
}

/// A token that is no JWT says nothing about who issued it, so every introspected issuer of the route is asked in turn; those
/// that did not issue it learn it.
fn warn_of_shown_tokens(document: &Document, issuers: &[IssuerEntry], route: &RouteEntry) {
    let is_admitted = |issuer: &IssuerEntry| {
        let name = &issuer.issuer.value;
        route.issuers.is_empty() || route.issuers.iter().any(|named| named.value == *name)
    };
    let asked: Vec<&str> = issuers
        .iter()
        .filter(|issuer| is_admitted(issuer) && matches!(issuer.validation, Validation::Introspection { .. }))
        .map(|issuer| issuer.issuer.value.as_str())
        .collect();
    if asked.len() > 1 {
        let message = format!(
            "an opaque token for `{}` is shown to each of {} until one of them knows it",
            route.path.value,
            asked.join(", ")
        );
        let finding = Diagnostic::warning("C026", &route.path.location, message);
        document.report(finding.with_help("routes with `issuers = [\"…\"]` show it to one alone"));
    }
}
