//! The dependencies between the files of the crate, and between its top-level modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::names::{Import, Module, Names, Path, child};

/// The name of this crate, by which `main.rs` imports the library.
const CRATE: &str = "valerix";
/// A longer chain of re-exports, each through another one, is taken for an endless one.
const MAX_RE_EXPORTS: usize = 16;

/// A file below `src`, such as `order/store/mod.rs`.
type File = String;
/// Dependencies from each node to the nodes that it depends on.
type Dependencies = BTreeMap<String, BTreeSet<String>>;

/// The files of the crate and the dependencies between them.
pub struct Graph {
    dependencies: Dependencies,
}

impl Graph {
    /// Reads all sources, each given with its path below `src`.
    pub fn of<'a>(sources: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let tree = Tree::of(sources);
        let mut dependencies = Dependencies::new();
        for (module, (file, names)) in &tree.files {
            if tree.is_for_tests(module) {
                continue;
            }
            let of_file = dependencies.entry(file.clone()).or_default();
            let targets = tree.targets(names);
            of_file.extend(targets.filter(|target| target != file));
        }
        Self { dependencies }
    }

    pub fn files(&self) -> usize {
        self.dependencies.len()
    }

    pub fn dependencies(&self) -> usize {
        self.dependencies.values().map(BTreeSet::len).sum()
    }

    /// Describes each dependency on a top-level module that must not be imported there.
    pub fn wrong_imports(&self, may_import: impl Fn(&str, &str) -> bool) -> Vec<String> {
        let mut wrong = Vec::new();
        for (file, targets) in &self.dependencies {
            for target in targets {
                let (from, to) = (top_level_module(file), top_level_module(target));
                if from != to && !may_import(from, to) {
                    wrong.push(format!("{file} -> {target}: {from} must not import {to}"));
                }
            }
        }
        wrong
    }

    /// Describes each cycle of files, with the dependencies between its files.
    pub fn cycles(&self) -> Vec<String> {
        cycles(&self.dependencies)
    }

    /// Describes each cycle of top-level modules. Its files need not form a cycle.
    pub fn cycles_of_top_level_modules(&self) -> Vec<String> {
        let mut modules = Dependencies::new();
        for (file, targets) in &self.dependencies {
            let from = top_level_module(file);
            let others = targets
                .iter()
                .map(|target| top_level_module(target).to_owned());
            let of_module = modules.entry(from.to_owned()).or_default();
            of_module.extend(others.filter(|to| to != from));
        }
        cycles(&modules)
    }
}

/// The top-level module of a file: its folder below `src`, or the file itself.
fn top_level_module(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}

fn cycles(dependencies: &Dependencies) -> Vec<String> {
    let reachable: BTreeMap<_, _> = dependencies
        .keys()
        .map(|node| (node, reachable_from(dependencies, node)))
        .collect();
    let mut described = BTreeSet::new();
    let mut cycles = Vec::new();
    for (node, reached) in &reachable {
        if !reached.contains(*node) || described.contains(*node) {
            continue;
        }
        let cycle: BTreeSet<_> = reached
            .iter()
            .filter(|other| reachable[other].contains(*node))
            .cloned()
            .collect();
        cycles.push(describe(dependencies, &cycle));
        described.extend(cycle);
    }
    cycles
}

fn reachable_from(dependencies: &Dependencies, start: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![start];
    while let Some(node) = waiting.pop() {
        for target in dependencies.get(node).into_iter().flatten() {
            if reached.insert(target.clone()) {
                waiting.push(target);
            }
        }
    }
    reached
}

fn describe(dependencies: &Dependencies, cycle: &BTreeSet<String>) -> String {
    let mut text = format!("a cycle of {}:", cycle.len());
    for node in cycle {
        let targets: Vec<_> = dependencies[node].intersection(cycle).cloned().collect();
        write!(text, "\n    {node} -> {}", targets.join(", ")).expect("text in memory");
    }
    text
}

/// The modules of the crate, each with its file and what that names.
struct Tree {
    files: BTreeMap<Module, (File, Names)>,
    test_modules: BTreeSet<Module>,
}

impl Tree {
    fn of<'a>(sources: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let files: BTreeMap<_, _> = sources
            .into_iter()
            .map(|(file, source)| {
                let module = module_of(file);
                let names = Names::of(&module, source);
                (module, (file.to_owned(), names))
            })
            .collect();
        let test_modules = files
            .values()
            .flat_map(|(_, names)| names.test_modules.iter().cloned())
            .collect();
        Self {
            files,
            test_modules,
        }
    }

    fn is_for_tests(&self, module: &[String]) -> bool {
        (1..=module.len()).any(|length| self.test_modules.contains(&module[..length]))
    }

    /// The files that hold what a file names. A re-export of a module's own child is no dependency.
    fn targets(&self, names: &Names) -> impl Iterator<Item = File> {
        let imports = names
            .imports
            .iter()
            .filter(|import| !self.is_re_export_of_child(import))
            .filter_map(|import| self.resolve(&import.path, &[]));
        let paths = names
            .paths
            .iter()
            .filter_map(|path| self.resolve(path, &names.imports));
        imports
            .chain(paths)
            .map(|module| self.files[&module].0.clone())
    }

    fn is_re_export_of_child(&self, import: &Import) -> bool {
        let segments = match import.path.segments.as_slice() {
            [first, rest @ ..] if first == "self" => rest,
            segments => segments,
        };
        let child = segments
            .first()
            .map(|first| child(&import.path.module, first));
        import.is_public && child.is_some_and(|child| self.files.contains_key(&child))
    }

    /// The module whose file holds what a path names; `None` for other crates and the language.
    fn resolve(&self, path: &Path, imports: &[Import]) -> Option<Module> {
        let mut base = path.module.clone();
        let mut segments = path.segments.as_slice();
        match segments.split_first()? {
            (first, rest) if first == "crate" || first == CRATE => {
                base.clear();
                segments = rest;
            }
            (first, rest) if first == "self" => segments = rest,
            (first, _) if first == "super" => {
                while segments.first().is_some_and(|segment| segment == "super") {
                    base.pop();
                    segments = &segments[1..];
                }
            }
            (first, _) if self.files.contains_key(&child(&base, first)) => {}
            (first, rest) => {
                let is_it = |import: &&Import| import.name == *first && import.path.module == base;
                let mut imported = imports.iter().find(is_it)?.path.clone();
                imported.segments.extend_from_slice(rest);
                return self.resolve(&imported, &[]);
            }
        }
        Some(self.descend(base, segments, MAX_RE_EXPORTS))
    }

    /// Follows names from a module into its children, also through the re-exports of children.
    fn descend(&self, mut module: Module, segments: &[String], max_re_exports: usize) -> Module {
        for (at, segment) in segments.iter().enumerate() {
            let next = child(&module, segment);
            if self.files.contains_key(&next) {
                module = next;
                continue;
            }
            let re_export = self.re_export(&module, segment);
            if let Some(re_export) = re_export.filter(|_| max_re_exports > 0) {
                let path = re_export
                    .path
                    .segments
                    .iter()
                    .filter(|name| *name != "self");
                let path: Vec<_> = path.chain(&segments[at + 1..]).cloned().collect();
                return self.descend(module, &path, max_re_exports - 1);
            }
            break;
        }
        self.file_module(module)
    }

    fn re_export(&self, module: &Module, name: &str) -> Option<&Import> {
        let (_, names) = self.files.get(module)?;
        let mut imports = names.imports.iter();
        imports.find(|import| {
            import.name == name
                && import.path.module == *module
                && self.is_re_export_of_child(import)
        })
    }

    /// The module itself, or the one around it that has a file: an inline module has none.
    fn file_module(&self, mut module: Module) -> Module {
        while !self.files.contains_key(&module) {
            assert!(module.pop().is_some(), "no file of the crate's root");
        }
        module
    }
}

fn module_of(file: &str) -> Module {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let mut module: Module = path.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
        module.pop();
    }
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(sources: &[(&str, &str)]) -> Graph {
        let root = ("lib.rs", "");
        Graph::of([root].into_iter().chain(sources.iter().copied()))
    }

    fn platform_stands_alone(from: &str, _to: &str) -> bool {
        from != "platform"
    }

    #[test]
    fn a_dependency_in_the_wrong_direction_is_found() {
        let sources = [
            ("platform/mod.rs", "pub mod pool;"),
            ("platform/pool.rs", "fn f() { crate::order::place() }"),
            ("order/mod.rs", "use crate::platform::pool::Pool;"),
        ];
        assert_eq!(
            graph(&sources).wrong_imports(platform_stands_alone),
            ["platform/pool.rs -> order/mod.rs: platform must not import order"]
        );
    }

    #[test]
    fn a_dependency_in_the_wrong_direction_through_an_alias_is_found() {
        let sources = [
            (
                "platform.rs",
                "use crate::order::{store as s}; fn f() { s::rows::all() }",
            ),
            ("order/mod.rs", "pub mod store;"),
            ("order/store/mod.rs", "pub mod rows;"),
            ("order/store/rows.rs", ""),
        ];
        assert_eq!(
            graph(&sources).wrong_imports(platform_stands_alone),
            [
                "platform.rs -> order/store/mod.rs: platform must not import order",
                "platform.rs -> order/store/rows.rs: platform must not import order",
            ]
        );
    }

    #[test]
    fn a_cycle_is_found_with_its_dependencies() {
        let sources = [
            ("a.rs", "use crate::b::B; use crate::d::D;"),
            ("b.rs", "use super::c::C;"),
            ("c.rs", "fn f() { crate::a::g() }"),
            ("d.rs", "use crate::e::E;"),
            ("e.rs", ""),
        ];
        assert_eq!(
            graph(&sources).cycles(),
            ["a cycle of 3:\n    a.rs -> b.rs\n    b.rs -> c.rs\n    c.rs -> a.rs"]
        );
    }

    #[test]
    fn a_parent_and_a_child_that_import_from_each_other_are_a_cycle() {
        let sources = [
            (
                "soak/mod.rs",
                "mod sampler; use sampler::Sampler; pub struct Config;",
            ),
            ("soak/sampler.rs", "use super::Config;"),
        ];
        assert_eq!(graph(&sources).cycles().len(), 1);
    }

    #[test]
    fn a_cycle_through_a_re_export_is_found() {
        let sources = [
            ("order/mod.rs", "mod store; pub use store::Row;"),
            (
                "order/store.rs",
                "use crate::audit::Report; pub struct Row;",
            ),
            ("audit.rs", "use crate::order::Row; pub struct Report;"),
        ];
        assert_eq!(graph(&sources).cycles().len(), 1);
    }

    #[test]
    fn re_exports_and_declarations_of_children_are_no_dependencies() {
        let sources = [
            (
                "order/mod.rs",
                "mod store; mod routes; pub use store::{Row, rows}; pub use self::routes::R;",
            ),
            ("order/store/mod.rs", "pub mod rows; pub use rows::Row;"),
            ("order/store/rows.rs", ""),
            (
                "order/routes.rs",
                "use super::Row; fn f() { super::rows::all(); crate::order::R::new() }",
            ),
        ];
        let graph = graph(&sources);
        assert_eq!(graph.cycles(), [""; 0]);
        assert_eq!(
            graph.dependencies["order/routes.rs"],
            BTreeSet::from(["order/store/rows.rs".to_owned()])
        );
    }

    #[test]
    fn modules_for_tests_have_no_dependencies() {
        let sources = [
            ("a/mod.rs", "#[cfg(test)] mod tests; pub struct A;"),
            ("a/tests.rs", "use super::A; use crate::b::B;"),
            ("b.rs", "use crate::a::A;"),
        ];
        assert_eq!(graph(&sources).cycles(), [""; 0]);
        assert_eq!(graph(&sources).files(), 3);
    }

    #[test]
    fn cycles_of_top_level_modules_need_no_cycle_of_files() {
        let sources = [
            ("demo/mod.rs", ""),
            ("demo/a.rs", "use crate::soak::b::B;"),
            ("soak/mod.rs", ""),
            ("soak/b.rs", ""),
            ("soak/c.rs", "use crate::demo::D;"),
        ];
        assert_eq!(graph(&sources).cycles(), [""; 0]);
        assert_eq!(graph(&sources).cycles_of_top_level_modules().len(), 1);
    }

    #[test]
    fn a_top_level_module_is_a_folder_or_a_single_file() {
        let modules = ["order/store/mod.rs", "order/mod.rs", "load.rs"].map(top_level_module);
        assert_eq!(modules, ["order", "order", "load"]);
    }

    #[test]
    fn main_imports_the_library_by_its_name() {
        let sources = [("main.rs", "use valerix::cli::Cli;"), ("cli.rs", "")];
        assert_eq!(
            graph(&sources).dependencies["main.rs"],
            BTreeSet::from(["cli.rs".to_owned()])
        );
    }
}
