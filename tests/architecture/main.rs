//! The direction of dependencies between the rooms of the house: the folders below `src`, as
//! ARCHITECTURE.md describes them. No database, no process: the test reads the sources.
//!
//! An arrow is a `use` line or a path in the code outside `#[cfg(test)]`. `mod` declarations, and
//! `pub use` of a module's own child, are no arrows.

mod graph;
mod names;

use std::fs;
use std::path::{Path, PathBuf};

use graph::Graph;

const SERVICES: [&str; 3] = ["inventory", "order", "payment"];
const COMMANDS: [&str; 8] = [
    "demo",
    "describe",
    "gremlin",
    "healthcheck",
    "load",
    "prove",
    "soak",
    "stock",
];

/// Whether a room may import another one.
fn may_import(from: &str, to: &str) -> bool {
    match from {
        "platform" | "lib" => false,
        "api" => to == "platform",
        "domain" => to == "api",
        "inventory" | "payment" | "audit" => ["platform", "api", "domain"].contains(&to),
        // The order service serves `GET /audit`.
        "order" => ["platform", "api", "domain", "audit"].contains(&to),
        "testbed" => ["platform", "api"].contains(&to),
        "cli" => to != "main",
        "main" => true,
        command if COMMANDS.contains(&command) => {
            let ground = ["platform", "api", "domain", "testbed", "audit"];
            [&SERVICES[..], &COMMANDS, &ground]
                .iter()
                .any(|rooms| rooms.contains(&to))
        }
        unknown => panic!("add the room {unknown} to the rules of tests/architecture/main.rs"),
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
    assert!(graph.arrows() > 300, "only {} arrows", graph.arrows());
    graph
}

#[track_caller]
fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn every_arrow_between_rooms_runs_in_an_allowed_direction() {
    assert_none(&crate_graph().wrong_arrows(may_import));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    assert_none(&crate_graph().circles());
}

#[test]
fn no_rooms_import_each_other_in_a_circle() {
    assert_none(&crate_graph().circles_of_rooms());
}
