//! Which route a request takes: whole segments, the longest path wins, then the method.

use std::sync::Arc;

use http::{HeaderValue, Method};
use keybound_resource_server::RoutePolicy;

use crate::canonical_path::CanonicalPath;
use crate::limits::Limits;
use crate::resource_metadata;
use crate::settings::{
    Authorization, ClientCert, LongRunning, RouteSettings, SettingsError, UpstreamOrigin, UpstreamSettings,
};
use crate::upstream::Upstream;

/// A route, ready for requests.
#[derive(Debug)]
pub(crate) struct Route {
    /// Its place in the settings, for metrics and logs.
    pub(crate) index: usize,
    /// As routes are matched: without the trailing slash, so `/` is the empty text.
    path: String,
    methods: Vec<Method>,
    pub(crate) target: Target,
    pub(crate) policy: RoutePolicy,
    pub(crate) authorization: Authorization,
    pub(crate) client_cert: ClientCert,
    pub(crate) long_running: LongRunning,
}

/// Who answers.
#[derive(Debug)]
pub(crate) enum Target {
    Demo,
    Upstream(Arc<Upstream>),
}

/// What a path and a method lead to.
pub(crate) enum Matched<'a> {
    Route(&'a Arc<Route>),
    /// The path is served, for other methods: the value of `Allow`.
    MethodNotAllowed(HeaderValue),
    NotFound,
}

/// All routes, longest path first.
#[derive(Debug, Default)]
pub(crate) struct Routes(Vec<Arc<Route>>);

impl Routes {
    /// Prepares `settings`. Upstreams that `previous` also had keep their open connections.
    pub(crate) fn new(settings: &[RouteSettings], limits: &Limits, previous: &Self) -> Result<Self, SettingsError> {
        let mut routes: Vec<Arc<Route>> = Vec::with_capacity(settings.len());
        let mut upstreams: Vec<Arc<Upstream>> = previous
            .upstreams()
            .filter(|upstream| upstream.limits() == limits)
            .cloned()
            .collect();
        for (index, setting) in settings.iter().enumerate() {
            let path = CanonicalPath::parse(&setting.path).map_err(|source| SettingsError::RoutePath {
                path: setting.path.clone(),
                source,
            })?;
            let path = path.matched().trim_end_matches('/').to_owned();
            if routes
                .iter()
                .any(|other| other.path == path && overlap(&other.methods, &setting.methods))
            {
                return Err(SettingsError::DuplicateRoute {
                    path: setting.path.clone(),
                });
            }
            let target = match &setting.upstream {
                UpstreamSettings::Demo => Target::Demo,
                UpstreamSettings::Origin(origin) => Target::Upstream(shared(&mut upstreams, origin, limits)),
            };
            routes.push(Arc::new(Route {
                index,
                path,
                methods: setting.methods.clone(),
                target,
                policy: resource_metadata::announced(&setting.policy),
                authorization: setting.authorization,
                client_cert: setting.client_cert,
                long_running: setting.long_running,
            }));
        }
        // Stable, so that of equal paths the one written first is tried first.
        routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
        Ok(Self(routes))
    }

    /// The host names of the resources that are served.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|route| route.policy.audience().host())
    }

    /// Finds the route of a request.
    pub(crate) fn find(&self, path: &str, method: &Method) -> Matched<'_> {
        let Some(first) = self.0.iter().position(|route| route.covers(path)) else {
            return Matched::NotFound;
        };
        // A longer path for other methods does not fall through to a shorter one: its policy was meant to cover the path.
        let length = self.0.get(first).map_or(0, |route| route.path.len());
        let candidates = || {
            self.0
                .iter()
                .skip(first)
                .take_while(|route| route.path.len() == length)
                .filter(|route| route.covers(path))
        };
        match candidates().find(|route| route.serves(method)) {
            Some(route) => Matched::Route(route),
            None => Matched::MethodNotAllowed(allow(candidates())),
        }
    }

    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.0.iter().filter_map(|route| match &route.target {
            Target::Demo => None,
            Target::Upstream(upstream) => Some(upstream),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Route {
    /// The path as configured, without a trailing slash.
    pub(crate) fn path(&self) -> &str {
        if self.path.is_empty() { "/" } else { &self.path }
    }

    /// Whether the route is for some methods only, so that a method smuggled in a header would escape its policy.
    pub(crate) fn restricts_methods(&self) -> bool {
        !self.methods.is_empty()
    }

    fn covers(&self, path: &str) -> bool {
        path.strip_prefix(self.path.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn serves(&self, method: &Method) -> bool {
        serves(&self.methods, method)
    }
}

fn serves(methods: &[Method], method: &Method) -> bool {
    methods.is_empty() || methods.contains(method) || *method == Method::HEAD && methods.contains(&Method::GET)
}

fn overlap(some: &[Method], others: &[Method]) -> bool {
    some.is_empty() || others.is_empty() || some.iter().any(|method| others.contains(method))
}

fn allow<'a>(routes: impl Iterator<Item = &'a Arc<Route>>) -> HeaderValue {
    let mut methods: Vec<&str> = Vec::new();
    for method in routes.flat_map(|route| &route.methods) {
        let implied = (*method == Method::GET).then_some(Method::HEAD.as_str());
        for name in std::iter::once(method.as_str()).chain(implied) {
            if !methods.contains(&name) {
                methods.push(name);
            }
        }
    }
    // Methods are tokens, so the list is always a valid value.
    HeaderValue::from_str(&methods.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

/// One pool per origin, however many routes lead there.
fn shared(upstreams: &mut Vec<Arc<Upstream>>, origin: &UpstreamOrigin, limits: &Limits) -> Arc<Upstream> {
    if let Some(upstream) = upstreams.iter().find(|upstream| upstream.origin() == origin) {
        return Arc::clone(upstream);
    }
    let upstream = Upstream::new(origin.clone(), limits.clone());
    upstreams.push(Arc::clone(&upstream));
    upstream
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use keybound_protocol::resource::ResourceUri;

    use super::*;

    fn setting(path: &str, methods: &[Method]) -> RouteSettings {
        let policy = RoutePolicy::new(ResourceUri::parse("https://api.example").unwrap());
        RouteSettings {
            methods: methods.to_vec(),
            ..RouteSettings::new(path, UpstreamSettings::Demo, policy)
        }
    }

    fn routes(settings: &[RouteSettings]) -> Result<Routes, SettingsError> {
        Routes::new(settings, &Limits::default(), &Routes::default())
    }

    fn check(routes: &Routes, method: Method, path: &str, expected: Result<usize, &str>) {
        let found = match routes.find(path, &method) {
            Matched::Route(route) => Ok(route.index),
            Matched::MethodNotAllowed(allow) => Err(allow.to_str().unwrap().to_owned()),
            Matched::NotFound => Err("not found".to_owned()),
        };
        assert_eq!(found, expected.map_err(str::to_owned), "{method} {path}");
    }

    #[test]
    fn the_longest_path_of_whole_segments_wins() {
        let routes = routes(&[
            setting("/", &[]),
            setting("/api", &[]),
            setting("/api/admin/", &[Method::GET]),
            setting("/api/admin", &[Method::PUT]),
        ])
        .unwrap();
        for (path, index) in [
            ("/", 0),
            ("/x", 0),
            ("/apix", 0),
            ("/api", 1),
            ("/api/", 1),
            ("/api/x/admin", 1),
        ] {
            check(&routes, Method::GET, path, Ok(index));
        }
        check(&routes, Method::GET, "/api/admin", Ok(2));
        check(&routes, Method::HEAD, "/api/admin/x", Ok(2));
        check(&routes, Method::PUT, "/api/admin/x", Ok(3));
        check(&routes, Method::GET, "/api/administrator", Ok(1));
        check(&routes, Method::GET, "/API/admin", Ok(0));
    }

    #[test]
    fn a_method_that_the_longest_path_lacks_does_not_fall_to_a_shorter_one() {
        let routes = routes(&[
            setting("/", &[]),
            setting("/a", &[Method::GET]),
            setting("/a", &[Method::PUT]),
        ])
        .unwrap();
        check(&routes, Method::POST, "/a/b", Err("GET, HEAD, PUT"));
        check(&routes, Method::POST, "/b", Ok(0));
    }

    #[test]
    fn nothing_is_served_that_no_route_names() {
        check(&routes(&[]).unwrap(), Method::GET, "/", Err("not found"));
        check(
            &routes(&[setting("/a", &[])]).unwrap(),
            Method::GET,
            "/",
            Err("not found"),
        );
    }

    #[test]
    fn two_routes_for_the_same_requests_are_refused() {
        let twice = [setting("/a", &[Method::GET]), setting("/a/", &[])];
        assert_eq!(
            routes(&twice).err(),
            Some(SettingsError::DuplicateRoute { path: "/a/".into() })
        );
        assert!(matches!(
            routes(&[setting("/a/../b", &[])]).err(),
            Some(SettingsError::RoutePath { .. })
        ));
    }
}
