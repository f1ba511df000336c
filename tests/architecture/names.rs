//! Reads the names that a Rust source file imports, exports and mentions.
//!
//! The scanner works on tokens. So comments and text in quotes name nothing, and paths inside macro
//! calls count like all others. Code under `#[cfg(test)]` is skipped.

use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module, as the names from the crate's root down to it. The root itself is empty.
pub type Module = Vec<String>;

/// A path in the source, such as `super::store::Cursor`, and the module that contains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub module: Module,
    pub segments: Vec<String>,
}

/// One name that a `use` item brings into its module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub path: Path,
    /// The name in the module, which is another one after `as`.
    pub name: String,
    /// `pub use`, also with a restriction such as `pub(crate)`.
    pub is_public: bool,
}

#[derive(Debug, Default)]
pub struct Names {
    pub imports: Vec<Import>,
    /// Paths of two or more segments outside `use` items.
    pub paths: Vec<Path>,
    /// Modules that exist only under `#[cfg(test)]`.
    pub test_modules: Vec<Module>,
}

impl Names {
    /// Reads the source of a module.
    pub fn of(module: &[String], source: &str) -> Self {
        let tokens = TokenStream::from_str(source)
            .unwrap_or_else(|error| panic!("{}: {error}", module.join("::")));
        let mut names = Self::default();
        names.scan(module, tokens);
        names
    }

    fn scan(&mut self, module: &[String], tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = self.scan_one(module, &tokens, at);
        }
    }

    /// Reads what begins at a token, and returns the position after it.
    fn scan_one(&mut self, module: &[String], tokens: &[TokenTree], at: usize) -> usize {
        match &tokens[at] {
            TokenTree::Punct(punct)
                if punct.as_char() == '#' && is_cfg_test(tokens.get(at + 1)) =>
            {
                let end = end_of_item(tokens, at + 2);
                self.test_modules
                    .extend(declared_module(module, &tokens[at + 2..end]));
                end
            }
            TokenTree::Ident(ident) if ident == "use" && !is_punct(tokens.get(at + 1), '<') => {
                let end = next_semicolon(tokens, at);
                self.add_imports(module, is_public(&tokens[..at]), &tokens[at + 1..end]);
                end
            }
            TokenTree::Ident(ident) if ident == "mod" => match (&tokens[at + 1], &tokens[at + 2]) {
                (TokenTree::Ident(name), TokenTree::Group(body)) => {
                    self.scan(&child(module, &name.to_string()), body.stream());
                    at + 3
                }
                _ => at + 2,
            },
            TokenTree::Ident(_) => self.add_path(module, tokens, at),
            TokenTree::Group(group) if is_visibility(tokens, at, group.delimiter()) => at + 1,
            TokenTree::Group(group) => {
                self.scan(module, group.stream());
                at + 1
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => at + 1,
        }
    }

    fn add_path(&mut self, module: &[String], tokens: &[TokenTree], start: usize) -> usize {
        let mut segments = vec![tokens[start].to_string()];
        let mut at = start + 1;
        while is_path_separator(tokens, at)
            && let Some(TokenTree::Ident(next)) = tokens.get(at + 2)
        {
            segments.push(next.to_string());
            at += 3;
        }
        // `<T as Trait>::name` and `::crate_name::name` are no paths of a module in this crate.
        let continues_another = start >= 2 && is_path_separator(tokens, start - 2);
        if segments.len() > 1 && !continues_another {
            self.paths.push(Path {
                module: module.to_vec(),
                segments,
            });
        }
        at
    }

    fn add_imports(&mut self, module: &[String], is_public: bool, tree: &[TokenTree]) {
        // `use ::name` names another crate.
        if is_path_separator(tree, 0) {
            return;
        }
        for (segments, name) in leaves(&[], tree) {
            let path = Path {
                module: module.to_vec(),
                segments,
            };
            self.imports.push(Import {
                path,
                name,
                is_public,
            });
        }
    }
}

/// The paths of a tree such as `a::{b, c::{self, d as e}}`, each with the name that it brings.
fn leaves(prefix: &[String], tree: &[TokenTree]) -> Vec<(Vec<String>, String)> {
    let mut path = prefix.to_vec();
    let mut alias = None;
    let mut tokens = tree.iter();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(ident) if ident == "as" => {
                alias = tokens.next().map(ToString::to_string);
            }
            TokenTree::Ident(ident) => path.push(ident.to_string()),
            TokenTree::Group(group) => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                let branches = inner.split(|token| is_punct(Some(token), ','));
                return branches.flat_map(|branch| leaves(&path, branch)).collect();
            }
            // A glob counts as an import of its module.
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let name = alias.or_else(|| path.last().cloned());
    name.map(|name| (path, name)).into_iter().collect()
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_path_separator(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')
}

/// Whether a token is the `[cfg(test)]` of an attribute.
fn is_cfg_test(attribute: Option<&TokenTree>) -> bool {
    attribute.is_some_and(|attribute| {
        attribute.to_string().split_whitespace().collect::<String>() == "[cfg(test)]"
    })
}

/// Whether a group is the `(crate)` of `pub(crate)` or the like.
fn is_visibility(tokens: &[TokenTree], at: usize, delimiter: Delimiter) -> bool {
    let follows_pub = at > 0 && is_word(&tokens[at - 1], "pub");
    follows_pub && delimiter == Delimiter::Parenthesis
}

/// Whether the tokens before an item end in its `pub` or `pub(…)`.
fn is_public(before: &[TokenTree]) -> bool {
    match before {
        [.., last] if is_word(last, "pub") => true,
        [.., keyword, TokenTree::Group(_)] => is_word(keyword, "pub"),
        _ => false,
    }
}

fn next_semicolon(tokens: &[TokenTree], from: usize) -> usize {
    let rest = tokens[from..]
        .iter()
        .position(|token| is_punct(Some(token), ';'));
    rest.map_or(tokens.len(), |rest| from + rest)
}

/// The position after the item that begins at a token: after its `;` or its `{…}`.
fn end_of_item(tokens: &[TokenTree], from: usize) -> usize {
    let semicolon = next_semicolon(tokens, from);
    if tokens[from..semicolon]
        .iter()
        .any(|token| is_word(token, "use"))
    {
        return semicolon;
    }
    let body = tokens[from..semicolon].iter().position(is_body);
    let last = body.map_or(semicolon, |body| from + body);
    tokens.len().min(last + 1)
}

fn is_body(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

/// The module that an item `mod name;` or `mod name {…}` declares.
fn declared_module(module: &[String], item: &[TokenTree]) -> Option<Module> {
    let keyword = item.iter().position(|token| is_word(token, "mod"))?;
    Some(child(module, &item.get(keyword + 1)?.to_string()))
}

pub fn child(module: &[String], name: &str) -> Module {
    let mut child = module.to_vec();
    child.push(name.to_owned());
    child
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &str) -> Names {
        Names::of(&["order".to_owned()], source)
    }

    fn paths(source: &str) -> Vec<String> {
        let paths = names(source).paths;
        paths.iter().map(|path| path.segments.join("::")).collect()
    }

    fn imports(source: &str) -> Vec<(String, String)> {
        let imports = names(source).imports;
        let each = imports
            .into_iter()
            .map(|import| (import.path.segments.join("::"), import.name));
        each.collect()
    }

    fn import(path: &str, name: &str) -> (String, String) {
        (path.to_owned(), name.to_owned())
    }

    #[test]
    fn each_leaf_of_a_use_tree_is_an_import() {
        let source = "use a::{self, b, c::{d as e, f::*}}; pub use g;";
        let expected = [
            import("a", "a"),
            import("a::b", "b"),
            import("a::c::d", "e"),
            import("a::c::f", "f"),
            import("g", "g"),
        ];
        assert_eq!(imports(source), expected);
    }

    #[test]
    fn public_imports_are_marked() {
        let source = "use a::A; pub use b::B; pub(crate) use c::C; pub struct S; use d::D;";
        let public: Vec<_> = names(source)
            .imports
            .iter()
            .map(|import| import.is_public)
            .collect();
        assert_eq!(public, [false, true, true, false]);
    }

    #[test]
    fn paths_are_found_in_types_expressions_and_macro_calls() {
        let source = r#"
            fn f(x: crate::api::Order) -> Vec<super::Reply> {
                store::insert::<u8>(x);
                info!("{}", crate::platform::output::text(x.field));
            }
        "#;
        let expected = [
            "crate::api::Order",
            "super::Reply",
            "store::insert",
            "crate::platform::output::text",
        ];
        assert_eq!(paths(source), expected);
    }

    #[test]
    fn comments_text_and_visibilities_name_nothing() {
        let source = r##"
            //! crate::a::B
            /// crate::a::B
            pub(in crate::a) struct S; // crate::a::B
            const C: &str = "crate::a::B"; /* crate::a::B */
            const D: &str = r#"crate::a::B"#;
        "##;
        assert_eq!(paths(source), [""; 0]);
    }

    #[test]
    fn code_under_cfg_test_is_skipped() {
        let source = "
            #[cfg(test)]
            mod tests { use crate::a::A; fn f() { crate::b::g() } }
            #[cfg(test)]
            #[path = \"x.rs\"]
            mod helpers;
            #[cfg(test)]
            use crate::c::{C, D};
            #[cfg(test)]
            fn f() { crate::d::g() }
            fn g() { crate::e::h() }
        ";
        let names = names(source);
        assert_eq!(names.imports, []);
        assert_eq!(paths(source), ["crate::e::h"]);
        let modules: Vec<_> = names.test_modules.iter().map(|m| m.join("::")).collect();
        assert_eq!(modules, ["order::tests", "order::helpers"]);
    }

    #[test]
    fn paths_of_an_inline_module_belong_to_it() {
        let paths = names("mod inner { fn f() { super::g::h() } }").paths;
        assert_eq!(paths[0].module, ["order", "inner"]);
    }

    #[test]
    fn qualified_paths_and_captured_lifetimes_are_no_names_of_modules() {
        let source = "fn f<'a>() -> impl Sized + use<'a> { <T as U>::a::b(); ::std::fs::read() }";
        assert_eq!(paths(source), [""; 0]);
        assert_eq!(imports(source), []);
    }
}
