//! The direction of dependencies between the top-level modules, which ARCHITECTURE.md describes,
//! and the absence of cycles. The tests read the sources below `src`.
//!
//! A dependency is a `use` line or a path in the code, outside `#[cfg(test)]`. `mod` declarations,
//! and `pub use` of a module's own child, are no dependencies.

#![allow(
    clippy::unwrap_used,
    reason = "a failed unwrap fails its test, which is what it should do"
)]

mod graph;
mod names;

use std::fs;
use std::path::{Path, PathBuf};

use graph::Graph;

const SERVICES: [&str; 3] = ["inventory", "order", "payment"];
const COMMANDS: [&str; 11] = [
    "demo",
    "describe",
    "gremlin",
    "healthcheck",
    "load",
    "operator_client",
    "orders",
    "prove",
    "retention",
    "soak",
    "stock",
];

/// Modules that every service, the audit and every command may import.
const SHARED: [&str; 3] = ["api", "domain", "platform"];

/// Whether one top-level module may import another one.
fn may_import(from: &str, to: &str) -> bool {
    match from {
        "platform" | "lib" => false,
        "api" => to == "platform",
        "domain" => to == "api",
        "testbed" => ["api", "platform"].contains(&to),
        "audit" => SHARED.contains(&to),
        // The order service serves `GET /audit`.
        "order" if to == "audit" => true,
        service if SERVICES.contains(&service) => SHARED.contains(&to),
        command if COMMANDS.contains(&command) => {
            let allowed = [&SHARED[..], &SERVICES, &COMMANDS, &["audit", "testbed"]];
            allowed.iter().any(|modules| modules.contains(&to))
        }
        "cli" => to != "main",
        "main" => true,
        unknown => panic!("add the module {unknown} to tests/architecture/main.rs"),
    }
}

fn sources_below(directory: &Path) -> Vec<PathBuf> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources.extend(sources_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
    sources
}

fn crate_graph() -> Graph {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: PathBuf| {
        let name = path
            .strip_prefix(&src)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        (name, fs::read_to_string(&path).unwrap())
    };
    let sources: Vec<_> = sources_below(&src).into_iter().map(read).collect();
    let graph = Graph::of(
        sources
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
    );
    // A scanner that finds nothing would pass every check.
    assert!(graph.files() > 100, "only {} files", graph.files());
    assert!(
        graph.dependencies() > 300,
        "only {} dependencies",
        graph.dependencies()
    );
    graph
}

#[track_caller]
fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn every_dependency_between_top_level_modules_is_allowed() {
    assert_none(&crate_graph().wrong_imports(may_import));
}

#[test]
fn files_form_no_cycle() {
    assert_none(&crate_graph().cycles());
}

#[test]
fn top_level_modules_form_no_cycle() {
    assert_none(&crate_graph().cycles_of_top_level_modules());
}
