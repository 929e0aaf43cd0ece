//! Every path on one page: (listener, method, path) → endpoint.
//!
//! The issuer may have a path; endpoints lie below it, and the metadata of RFC 8414 §3.1 between host and path. The admin API
//! is at the root of the mutual-TLS origin whatever the issuer's path.

use http::Method;
use keybound_protocol::endpoint::Endpoint;

use crate::registration::REGISTRATION_PATH;

/// Where the admin API is.
pub(crate) const ADMIN_PREFIX: &str = "/admin/v1";

/// Where OpenID Connect Discovery looks for metadata.
const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";

/// What answers a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `POST /token` (RFC 6749 §3.2)
    Token,
    /// `POST /introspect` (RFC 7662 §2)
    Introspection,
    /// `POST /revoke` (RFC 7009 §2)
    Revocation,
    /// `POST /par` (RFC 9126 §2)
    PushedAuthorization,
    /// `POST /device_authorization` (RFC 8628 §3.1)
    DeviceAuthorization,
    /// `POST /bc-authorize` (CIBA Core §7)
    BackchannelAuthentication,
    /// `GET /jwks` (RFC 7517 §5)
    Jwks,
    /// `GET /.well-known/oauth-authorization-server` (RFC 8414 §3)
    Metadata,
    /// `GET /.well-known/openid-configuration` (OpenID Connect Discovery §4), where it is enabled
    OpenIdConfiguration,
    /// `GET` and `POST /userinfo` (OpenID Connect Core §5.3), where it is enabled
    Userinfo,
    /// `GET /revocations`, for whoever came over mutual TLS
    Revocations,
    /// `POST /register` (RFC 7591 §3), where it is enabled
    Registration,
    /// `/register/{client_id}` (RFC 7592 §2)
    ClientConfiguration,
    /// `/admin/v1/…`, for whoever came over mutual TLS
    Admin,
    /// `/authorize` (RFC 6749 §3.1)
    Authorization,
    /// `/interaction/{id}/login`
    Login,
    /// `/interaction/{id}/consent`
    Consent,
    /// `/interaction/{id}/upstream/{provider}` and `/sign-in/upstream/{provider}`: leaves for another OpenID provider
    UpstreamSignIn,
    /// `/upstream/{provider}`: comes back from there
    UpstreamAnswer,
    /// `/sign-in`, for users who came by themselves
    SignIn,
    /// `/sign-out`
    SignOut,
    /// `/grants`: what a user allowed
    Grants,
    /// `/device` (RFC 8628 §3.3)
    Device,
    /// `POST /theme`
    Theme,
    /// `GET /assets/…`
    Asset,
}

/// Which of our listeners a request came over. One port may be both, told apart by SNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Never asks for a certificate.
    Public,
    /// Asks for one.
    MutualTls,
}

/// The answer of the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routed {
    /// Call this.
    To(Route),
    /// 204 for OPTIONS: the methods, as `Allow` has them.
    Options(Route, &'static str),
    /// 405: the methods, as `Allow` has them.
    MethodNotAllowed(Route, &'static str),
    /// 404
    NotFound,
}

impl Route {
    pub(crate) const COUNT: usize = 25;
    /// In the order of their discriminants.
    pub(crate) const ALL: [Route; Route::COUNT] = [
        Route::Token,
        Route::Introspection,
        Route::Revocation,
        Route::PushedAuthorization,
        Route::DeviceAuthorization,
        Route::BackchannelAuthentication,
        Route::Jwks,
        Route::Metadata,
        Route::OpenIdConfiguration,
        Route::Userinfo,
        Route::Revocations,
        Route::Registration,
        Route::ClientConfiguration,
        Route::Admin,
        Route::Authorization,
        Route::Login,
        Route::Consent,
        Route::UpstreamSignIn,
        Route::UpstreamAnswer,
        Route::SignIn,
        Route::SignOut,
        Route::Grants,
        Route::Device,
        Route::Theme,
        Route::Asset,
    ];

    /// For labels of metrics and log lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Route::Token => "token",
            Route::Introspection => "introspection",
            Route::Revocation => "revocation",
            Route::PushedAuthorization => "pushed_authorization",
            Route::DeviceAuthorization => "device_authorization",
            Route::BackchannelAuthentication => "backchannel_authentication",
            Route::Jwks => "jwks",
            Route::Metadata => "metadata",
            Route::OpenIdConfiguration => "openid_configuration",
            Route::Userinfo => "userinfo",
            Route::Revocations => "revocations",
            Route::Registration => "registration",
            Route::ClientConfiguration => "client_configuration",
            Route::Admin => "admin",
            Route::Authorization => "authorization",
            Route::Login => "login",
            Route::Consent => "consent",
            Route::UpstreamSignIn => "upstream_sign_in",
            Route::UpstreamAnswer => "upstream_answer",
            Route::SignIn => "sign_in",
            Route::SignOut => "sign_out",
            Route::Grants => "grants",
            Route::Device => "device",
            Route::Theme => "theme",
            Route::Asset => "asset",
        }
    }

    /// The endpoint at which clients authenticate, with a form; `None` for what takes none.
    pub(crate) fn form_endpoint(self) -> Option<Endpoint> {
        match self {
            Route::Token => Some(Endpoint::Token),
            Route::Introspection => Some(Endpoint::Introspection),
            Route::Revocation => Some(Endpoint::Revocation),
            Route::PushedAuthorization => Some(Endpoint::PushedAuthorizationRequest),
            Route::DeviceAuthorization => Some(Endpoint::DeviceAuthorization),
            Route::BackchannelAuthentication => Some(Endpoint::BackchannelAuthentication),
            Route::Jwks
            | Route::Metadata
            | Route::OpenIdConfiguration
            | Route::Userinfo
            | Route::Revocations
            | Route::Registration
            | Route::ClientConfiguration
            | Route::Admin
            | Route::Authorization
            | Route::Login
            | Route::Consent
            | Route::UpstreamSignIn
            | Route::UpstreamAnswer
            | Route::SignIn
            | Route::SignOut
            | Route::Grants
            | Route::Device
            | Route::Theme
            | Route::Asset => None,
        }
    }

    /// The path of a form endpoint, below the issuer's.
    pub(crate) fn form_path(self) -> Option<&'static str> {
        match self {
            Route::Token => Some("/token"),
            Route::Introspection => Some("/introspect"),
            Route::Revocation => Some("/revoke"),
            Route::PushedAuthorization => Some("/par"),
            Route::DeviceAuthorization => Some("/device_authorization"),
            Route::BackchannelAuthentication => Some("/bc-authorize"),
            _ => None,
        }
    }

    /// Whether it is for people: its errors are pages, and its forms come from pages of ours.
    pub(crate) fn is_page(self) -> bool {
        matches!(
            self,
            Route::Authorization
                | Route::Login
                | Route::Consent
                | Route::UpstreamSignIn
                | Route::UpstreamAnswer
                | Route::SignIn
                | Route::SignOut
                | Route::Grants
                | Route::Device
                | Route::Theme
                | Route::Asset
        )
    }

    fn allow(self) -> Option<&'static str> {
        match self {
            Route::Token
            | Route::Introspection
            | Route::Revocation
            | Route::PushedAuthorization
            | Route::DeviceAuthorization
            | Route::BackchannelAuthentication => Some("POST, OPTIONS"),
            Route::Jwks | Route::Metadata | Route::OpenIdConfiguration => Some("GET, HEAD, OPTIONS"),
            Route::Userinfo => Some("GET, HEAD, POST, OPTIONS"),
            Route::Revocations => Some("GET, OPTIONS"),
            Route::Registration => Some("POST, OPTIONS"),
            Route::ClientConfiguration => Some("GET, PUT, DELETE, OPTIONS"),
            Route::Authorization
            | Route::Login
            | Route::Consent
            | Route::SignIn
            | Route::SignOut
            | Route::Grants
            | Route::Device => Some("GET, HEAD, POST, OPTIONS"),
            Route::Theme => Some("POST, OPTIONS"),
            Route::UpstreamSignIn | Route::UpstreamAnswer | Route::Asset => Some("GET, HEAD, OPTIONS"),
            // Its own router knows the methods of each of its paths.
            Route::Admin => None,
        }
    }
}

/// The endpoints at which clients authenticate: every one of them, for whoever has to look at all.
///
/// Each with its path below the issuer's. Not each is in the metadata of every server.
pub fn client_endpoints() -> impl Iterator<Item = (Endpoint, &'static str)> {
    let of_clients = |route: Route| Some((route.form_endpoint()?, route.form_path()?));
    Route::ALL.into_iter().filter_map(of_clients)
}

/// Finds what answers. `issuer_path` is the issuer's path without a trailing slash, mostly empty.
pub(crate) fn route(side: Side, issuer_path: &str, method: &Method, path: &str) -> Routed {
    let Some(route) = find(side, issuer_path, path) else {
        return Routed::NotFound;
    };
    match route.allow() {
        None => Routed::To(route),
        Some(allow) if *method == Method::OPTIONS => Routed::Options(route, allow),
        Some(allow) if allow.split(", ").any(|allowed| allowed == method.as_str()) => Routed::To(route),
        Some(allow) => Routed::MethodNotAllowed(route, allow),
    }
}

/// The endpoint at a path, whatever the method.
pub(crate) fn find(side: Side, issuer_path: &str, path: &str) -> Option<Route> {
    let admin = path.strip_prefix(ADMIN_PREFIX);
    if side == Side::MutualTls && admin.is_some_and(|below| below.is_empty() || below.starts_with('/')) {
        return Some(Route::Admin);
    }
    if let Some(below) = path.strip_prefix(issuer_path) {
        match below {
            "/token" => return Some(Route::Token),
            "/introspect" => return Some(Route::Introspection),
            "/revoke" => return Some(Route::Revocation),
            "/par" => return Some(Route::PushedAuthorization),
            "/device_authorization" => return Some(Route::DeviceAuthorization),
            "/bc-authorize" => return Some(Route::BackchannelAuthentication),
            "/jwks" => return Some(Route::Jwks),
            "/userinfo" => return Some(Route::Userinfo),
            // Appended to the issuer, where RFC 8414 §3.1 inserts.
            OPENID_CONFIGURATION => return Some(Route::OpenIdConfiguration),
            REGISTRATION_PATH => return Some(Route::Registration),
            "/revocations" if side == Side::MutualTls => return Some(Route::Revocations),
            // A browser at the mutual-TLS side would ask its user for a certificate (RFC 8705 §6.1).
            page if side == Side::Public => {
                if let Some(route) = find_page(page) {
                    return Some(route);
                }
            }
            _ => {}
        }
        let client_id = below
            .strip_prefix(REGISTRATION_PATH)
            .and_then(|below| below.strip_prefix('/'));
        if client_id.is_some_and(|client_id| !client_id.is_empty() && !client_id.contains('/')) {
            return Some(Route::ClientConfiguration);
        }
    }
    if path.strip_prefix(OPENID_CONFIGURATION) == Some(issuer_path) {
        return Some(Route::OpenIdConfiguration);
    }
    (path.strip_prefix("/.well-known/oauth-authorization-server")? == issuer_path).then_some(Route::Metadata)
}

/// The page at a path below the issuer's.
fn find_page(path: &str) -> Option<Route> {
    if let Some(below) = path.strip_prefix("/interaction/") {
        return match below.split_once('/') {
            Some((_, "login")) => Some(Route::Login),
            Some((_, "consent")) => Some(Route::Consent),
            Some((_, page)) => one_segment(page, "upstream/").then_some(Route::UpstreamSignIn),
            None => None,
        };
    }
    if one_segment(path, "/sign-in/upstream/") {
        return Some(Route::UpstreamSignIn);
    }
    if one_segment(path, "/upstream/") {
        return Some(Route::UpstreamAnswer);
    }
    match path {
        "/authorize" => Some(Route::Authorization),
        "/sign-in" => Some(Route::SignIn),
        "/sign-out" => Some(Route::SignOut),
        "/grants" => Some(Route::Grants),
        "/device" => Some(Route::Device),
        "/theme" => Some(Route::Theme),
        _ => one_segment(path, "/assets/").then_some(Route::Asset),
    }
}

/// Whether exactly one segment follows the prefix.
fn one_segment(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(issuer_path: &str, method: Method, path: &str, expected: Routed) {
        assert_eq!(
            route(Side::MutualTls, issuer_path, &method, path),
            expected,
            "{method} {path} below {issuer_path:?}"
        );
    }

    #[test]
    fn only_exact_paths_are_endpoints() {
        for path in [
            "/",
            "/Token",
            "/token/",
            "//token",
            "/token/x",
            "/tokenx",
            "/%74oken",
            "*",
            "",
            "/x/token",
            "/admin",
            "/admin/v10",
        ] {
            check("", Method::POST, path, Routed::NotFound);
        }
        check("", Method::POST, "/token", Routed::To(Route::Token));
    }

    #[test]
    fn an_issuer_path_comes_before_endpoints_and_after_the_well_known_part() {
        check("/a/b", Method::POST, "/a/b/token", Routed::To(Route::Token));
        check(
            "/a/b",
            Method::GET,
            "/.well-known/oauth-authorization-server/a/b",
            Routed::To(Route::Metadata),
        );
        for path in [
            "/token",
            "/a/btoken",
            "/a/b",
            "/.well-known/oauth-authorization-server",
            "/a/b/.well-known/oauth-authorization-server",
        ] {
            check("/a/b", Method::GET, path, Routed::NotFound);
        }
        check(
            "",
            Method::GET,
            "/.well-known/oauth-authorization-server/",
            Routed::NotFound,
        );
    }

    #[test]
    fn other_methods_are_told_which_are_allowed() {
        check(
            "",
            Method::GET,
            "/token",
            Routed::MethodNotAllowed(Route::Token, "POST, OPTIONS"),
        );
        check(
            "",
            Method::HEAD,
            "/token",
            Routed::MethodNotAllowed(Route::Token, "POST, OPTIONS"),
        );
        check(
            "",
            Method::OPTIONS,
            "/token",
            Routed::Options(Route::Token, "POST, OPTIONS"),
        );
        check("", Method::HEAD, "/jwks", Routed::To(Route::Jwks));
        check(
            "",
            Method::POST,
            "/jwks",
            Routed::MethodNotAllowed(Route::Jwks, "GET, HEAD, OPTIONS"),
        );
    }

    #[test]
    fn the_admin_api_is_not_on_the_public_side() {
        for path in ["/admin/v1", "/admin/v1/clients"] {
            check("", Method::GET, path, Routed::To(Route::Admin));
            assert_eq!(route(Side::Public, "", &Method::GET, path), Routed::NotFound);
        }
    }

    #[test]
    fn revocations_are_below_the_issuer_and_not_on_the_public_side() {
        check("/a", Method::GET, "/a/revocations", Routed::To(Route::Revocations));
        check("/a", Method::GET, "/revocations", Routed::NotFound);
        assert_eq!(route(Side::Public, "", &Method::GET, "/revocations"), Routed::NotFound);
    }

    #[test]
    fn the_admin_api_is_at_the_root_whatever_the_path_of_the_issuer() {
        for issuer_path in ["/a/b", "/admin", "/admin/v1"] {
            for path in ["/admin/v1", "/admin/v1/clients"] {
                check(issuer_path, Method::GET, path, Routed::To(Route::Admin));
                assert_eq!(route(Side::Public, issuer_path, &Method::GET, path), Routed::NotFound);
            }
        }
        for path in ["/a/b/admin/v1", "/a/b/admin/v1/clients", "/admin/v10", "/xadmin/v1"] {
            check("/a/b", Method::GET, path, Routed::NotFound);
        }
    }

    // covers TRAP-37
    #[test]
    fn pages_are_on_the_public_side_alone() {
        for (path, expected) in [
            ("/interaction/AAAA/login", Route::Login),
            ("/interaction/AAAA/consent", Route::Consent),
            ("/authorize", Route::Authorization),
            ("/sign-in", Route::SignIn),
            ("/sign-in/upstream/corp", Route::UpstreamSignIn),
            ("/sign-out", Route::SignOut),
            ("/grants", Route::Grants),
            ("/device", Route::Device),
            ("/assets/page.css", Route::Asset),
        ] {
            assert_eq!(
                route(Side::Public, "", &Method::GET, path),
                Routed::To(expected),
                "{path}"
            );
            check("", Method::GET, path, Routed::NotFound);
            assert_eq!(
                route(Side::Public, "/a", &Method::GET, path),
                Routed::NotFound,
                "{path}"
            );
        }
        for path in [
            "/interaction/AAAA",
            "/interaction//x",
            "/interaction/a/b/login",
            "/assets/a/b",
            "/assets",
        ] {
            assert_eq!(route(Side::Public, "", &Method::GET, path), Routed::NotFound, "{path}");
        }
    }

    #[test]
    fn every_endpoint_at_which_clients_authenticate_is_found_at_its_path() {
        for route in Route::ALL {
            assert_eq!(
                route.form_endpoint().is_some(),
                route.form_path().is_some(),
                "{route:?}"
            );
            if let Some(path) = route.form_path() {
                assert_eq!(find(Side::Public, "/a", &format!("/a{path}")), Some(route));
            }
        }
    }

    #[test]
    fn routes_index_arrays() {
        for (index, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, index);
        }
    }
}
