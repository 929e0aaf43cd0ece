//! The walls between the crates hold, and the check that says so notices each kind of breach.
#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

use std::sync::OnceLock;

use xtask::import_wall::{CONFINED, Dependency, MAY_IMPORT, Metadata, UNREACHABLE, breaches};

/// What cargo says of the workspace; asked once, because it takes a while.
fn metadata() -> Metadata {
    static METADATA: OnceLock<Metadata> = OnceLock::new();
    METADATA
        .get_or_init(|| Metadata::load().expect("cargo metadata answers"))
        .clone()
}

/// The workspace as it is, with one more declared dependency.
fn with_dependency(package: &str, dependency: &str, kind: Option<&str>) -> Metadata {
    let mut metadata = metadata();
    let package = metadata
        .packages
        .iter_mut()
        .find(|candidate| candidate.name == package)
        .expect("a known package");
    package.dependencies.push(Dependency {
        name: dependency.to_owned(),
        kind: kind.map(str::to_owned),
    });
    metadata
}

#[test]
fn no_dependency_goes_through_a_wall() {
    let breaches = breaches(&metadata());
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

// covers MTLS-7.5-1, MTLS-7.5-2
#[test]
fn certification_paths_are_built_by_webpki() {
    let metadata = metadata();
    let protocol = metadata
        .packages
        .iter()
        .find(|package| package.name == "keybound-protocol")
        .expect("it exists");
    assert!(
        protocol
            .dependencies
            .iter()
            .any(|dependency| dependency.name == "rustls-webpki" && dependency.kind.is_none())
    );
    let source = xtask::workspace::root().join("crates/protocol/src/certificate_chain.rs");
    let source = std::fs::read_to_string(source).expect("the one place that validates paths");
    assert!(
        source.contains("webpki"),
        "whoever replaces it answers RFC 8705 §7.5 first"
    );
}

#[test]
fn every_crate_of_the_table_exists() {
    let metadata = metadata();
    for (name, _) in MAY_IMPORT {
        assert!(
            metadata.packages.iter().any(|package| package.name == name),
            "{name} is in the table only"
        );
    }
}

#[test]
fn notices_each_import_between_crates_that_the_table_lacks() {
    for (package, allowed) in MAY_IMPORT {
        for (other, _) in MAY_IMPORT
            .iter()
            .filter(|(other, _)| *other != package && !allowed.contains(other))
        {
            for kind in [None, Some("build")] {
                let found = breaches(&with_dependency(package, other, kind));
                assert_eq!(found, [format!("{package} may not import {other}")], "{kind:?}");
            }
        }
    }
}

#[test]
fn notices_each_confined_crate_outside_its_place() {
    for confined in &CONFINED {
        for name in confined.names {
            for (package, _) in MAY_IMPORT
                .iter()
                .filter(|(package, _)| !confined.only_in.contains(package))
            {
                let found = breaches(&with_dependency(package, name, None));
                assert_eq!(
                    found,
                    [format!("{package} may not import {name}: {}", confined.because)]
                );
            }
        }
    }
}

#[test]
fn notices_a_forbidden_crate_reached_through_another() {
    for (from, forbidden) in UNREACHABLE {
        let mut metadata = metadata();
        let id_of = |name: &str| {
            metadata
                .packages
                .iter()
                .find(|package| package.name == name)
                .map(|package| package.id.clone())
        };
        let start = id_of(from).expect("a known package");
        // The first dependency of `from` gains an edge to the forbidden crate.
        let target = id_of(forbidden[0]).unwrap_or_else(|| panic!("{} is nowhere in the graph", forbidden[0]));
        let nodes = &mut metadata.resolve.nodes;
        let ships = |edge: &&xtask::import_wall::Edge| edge.dep_kinds.iter().any(|kind| kind.kind.is_none());
        let start_node = nodes.iter().find(|node| node.id == start).expect("a node per package");
        let mut edge = start_node.deps.iter().find(ships).expect("it has dependencies").clone();
        let through = edge.pkg.clone();
        edge.pkg.clone_from(&target);
        nodes
            .iter_mut()
            .find(|node| node.id == through)
            .expect("a node per package")
            .deps
            .push(edge);
        let found = breaches(&metadata);
        let expected = format!("{from} reaches {}: {from} → ", forbidden[0]);
        assert!(found.iter().any(|breach| breach.starts_with(&expected)), "{found:?}");
    }
}

#[test]
fn notices_a_crate_that_nobody_gave_a_role() {
    let mut metadata = metadata();
    let package = metadata
        .packages
        .iter_mut()
        .find(|package| package.name == "keybound-tls")
        .expect("it exists");
    package.name = "keybound-utils".to_owned();
    let found = breaches(&metadata);
    let expected = "keybound-utils is not in the table of crates: name its role or its wall first";
    assert!(found.iter().any(|breach| breach == expected), "{found:?}");
}

#[test]
fn tests_may_import_anything() {
    assert!(breaches(&with_dependency("keybound-gateway", "keybound-store", Some("dev"))).is_empty());
    assert!(breaches(&with_dependency("keybound-gateway", "rustls", Some("dev"))).is_empty());
}
