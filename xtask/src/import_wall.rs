//! Which crate may depend on which: the walls that the compiler holds because the manifests do.
//!
//! Looked at are the normal and build dependencies that `cargo metadata` reports; tests may import anything. Adding a
//! crate to the workspace, or a dependency between two of its crates, means changing [`MAY_IMPORT`] and saying why.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// Each crate of the workspace with the crates of the workspace it may import.
pub const MAY_IMPORT: [(&str, &[&str]); 9] = [
    ("keybound-protocol", &[]),
    ("keybound-tls", &["keybound-protocol"]),
    ("keybound-store", &["keybound-protocol"]),
    ("keybound-client", &["keybound-protocol", "keybound-tls"]),
    ("keybound-resource-server", &["keybound-protocol", "keybound-client"]),
    (
        "keybound-authorization-server",
        &[
            "keybound-protocol",
            "keybound-tls",
            "keybound-store",
            "keybound-client",
            "keybound-resource-server",
        ],
    ),
    (
        "keybound-gateway",
        &["keybound-protocol", "keybound-tls", "keybound-resource-server"],
    ),
    (
        "keybound-cli",
        &[
            "keybound-protocol",
            "keybound-tls",
            "keybound-store",
            "keybound-authorization-server",
            "keybound-client",
            "keybound-resource-server",
            "keybound-gateway",
        ],
    ),
    ("xtask", &[]),
];

/// Crates of other people that only some crates of ours may name, and why.
pub const CONFINED: [Confined; 4] = [
    Confined {
        names: &["rustls", "tokio-rustls", "hyper-rustls", "rustls-native-certs"],
        only_in: &["keybound-tls"],
        because: "only tls imports rustls: one place to get a handshake right, one place to change when rustls does",
    },
    Confined {
        names: &["rusqlite", "libsqlite3-sys", "tokio-postgres", "deadpool-postgres"],
        only_in: &["keybound-store"],
        because: "only store contains SQL",
    },
    Confined {
        names: &["anyhow", "miette"],
        only_in: &["keybound-cli", "xtask"],
        because: "libraries have typed errors; a reason that became a string cannot be matched",
    },
    Confined {
        names: &["mimalloc"],
        only_in: &["keybound-cli"],
        because: "the allocator is the binary's choice",
    },
];

/// What may not be reached from a crate even through others: `protocol` does no I/O, and nobody may smuggle it in.
pub const UNREACHABLE: [(&str, &[&str]); 3] = [
    (
        "keybound-protocol",
        &["tokio", "hyper", "rustls", "rusqlite", "tracing", "socket2", "mio"],
    ),
    ("keybound-resource-server", &["rusqlite"]),
    ("keybound-gateway", &["rusqlite"]),
];

/// One row of [`CONFINED`].
#[derive(Debug)]
pub struct Confined {
    /// The confined packages.
    pub names: &'static [&'static str],
    /// Where they may be named.
    pub only_in: &'static [&'static str],
    /// The rule in a sentence.
    pub because: &'static str,
}

/// The part of `cargo metadata`'s answer that the walls need.
#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    /// Every package of the dependency graph.
    pub packages: Vec<Package>,
    /// Ids of ours.
    pub workspace_members: Vec<String>,
    /// The graph as resolved.
    pub resolve: Resolve,
}

/// One package.
#[derive(Debug, Clone, Deserialize)]
pub struct Package {
    /// Its name in the registry, or ours.
    pub name: String,
    /// Unique in this answer.
    pub id: String,
    /// As declared in its manifest.
    pub dependencies: Vec<Dependency>,
    /// Where it came from; `None` for a path.
    pub source: Option<String>,
    /// Its licence expression.
    pub license: Option<String>,
}

/// One declared dependency.
#[derive(Debug, Clone, Deserialize)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    pub kind: Option<String>,
}

/// The resolved graph.
#[derive(Debug, Clone, Deserialize)]
pub struct Resolve {
    /// One node per package.
    pub nodes: Vec<Node>,
}

/// One package's edges.
#[derive(Debug, Clone, Deserialize)]
pub struct Node {
    /// The package.
    pub id: String,
    /// What it depends on.
    pub deps: Vec<Edge>,
}

/// One edge of the resolved graph.
#[derive(Debug, Clone, Deserialize)]
pub struct Edge {
    /// The package depended on.
    pub pkg: String,
    /// Of which kinds the dependency is.
    pub dep_kinds: Vec<EdgeKind>,
}

/// One kind of an edge.
#[derive(Debug, Clone, Deserialize)]
pub struct EdgeKind {
    /// As in [`Dependency::kind`].
    pub kind: Option<String>,
}

impl Metadata {
    /// Asks cargo, which may have to download a package that no build has needed yet.
    ///
    /// # Errors
    /// If cargo fails or answers in another shape.
    pub fn load() -> anyhow::Result<Self> {
        let mut command = crate::workspace::cargo();
        command.args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--all-features",
        ]);
        // Only what is built on this kind of machine: other platforms' crates need not be downloaded.
        let answer = crate::workspace::output_of(command.args(["--filter-platform", HOST]))?;
        Ok(serde_json::from_str(&answer)?)
    }

    fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.workspace_members.contains(&package.id))
    }
}

const HOST: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-gnu"
} else {
    "x86_64-unknown-linux-gnu"
};

/// Every dependency that goes through a wall, as sentences; empty when the walls hold.
pub fn breaches(metadata: &Metadata) -> Vec<String> {
    let mut breaches = Vec::new();
    let table: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    let members: BTreeSet<&str> = metadata.members().map(|package| package.name.as_str()).collect();
    for package in metadata.members() {
        let Some(allowed) = table.get(package.name.as_str()) else {
            breaches.push(format!(
                "{} is not in the table of crates: name its role or its wall first",
                package.name
            ));
            continue;
        };
        let ships = |dependency: &&Dependency| dependency.kind.as_deref() != Some("dev");
        for dependency in package.dependencies.iter().filter(ships) {
            let name = dependency.name.as_str();
            if members.contains(name) && !allowed.contains(&name) {
                breaches.push(format!("{} may not import {name}", package.name));
            }
            for confined in CONFINED.iter().filter(|confined| confined.names.contains(&name)) {
                if !confined.only_in.contains(&package.name.as_str()) {
                    breaches.push(format!("{} may not import {name}: {}", package.name, confined.because));
                }
            }
        }
    }
    breaches.extend(reached(metadata));
    breaches
}

fn reached(metadata: &Metadata) -> Vec<String> {
    let name_of: BTreeMap<&str, &str> = metadata
        .packages
        .iter()
        .map(|package| (package.id.as_str(), package.name.as_str()))
        .collect();
    let edges: BTreeMap<&str, &[Edge]> = metadata
        .resolve
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node.deps.as_slice()))
        .collect();
    let mut found = Vec::new();
    for (from, forbidden) in UNREACHABLE {
        let Some(start) = metadata.members().find(|package| package.name == from) else {
            continue;
        };
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut unread = vec![start.id.as_str()];
        while let Some(id) = unread.pop() {
            for edge in edges.get(id).copied().unwrap_or_default() {
                // Build scripts run on the builder's machine and are no part of what ships.
                let ships = edge.dep_kinds.iter().any(|kind| kind.kind.is_none());
                if ships && edge.pkg != start.id && !came_from.contains_key(edge.pkg.as_str()) {
                    came_from.insert(&edge.pkg, id);
                    unread.push(&edge.pkg);
                }
            }
        }
        for id in came_from.keys() {
            let name = name_of.get(id).copied().unwrap_or(id);
            if forbidden.contains(&name) {
                let mut path = vec![name];
                let mut step = *id;
                while let Some(previous) = came_from.get(step) {
                    path.push(name_of.get(previous).copied().unwrap_or(previous));
                    step = previous;
                }
                path.reverse();
                found.push(format!("{from} reaches {name}: {}", path.join(" → ")));
            }
        }
    }
    found
}
