//! The tree as values: sources, manifests and pages, read once. Checks do no reading of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{lexer, place};

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 3] = ["target", "node_modules", "vendor"];

/// Everything the checks look at. Paths are relative to the workspace, with `/`.
pub(crate) struct Tree {
    pub(crate) sources: Vec<Source>,
    /// Room (folder name) to the text of its manifest.
    pub(crate) manifests: BTreeMap<String, String>,
    /// Path to text of every page in Markdown.
    pub(crate) pages: BTreeMap<String, String>,
    /// Path to text of everything under `deploy/`.
    pub(crate) deploy: BTreeMap<String, String>,
}

/// A Rust file.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments and the insides of literals blanked, line for line.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: lexer::blank(text) }
    }

    /// Whether the whole file is test or bench code.
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.contains("/benches/")
            || self.path.ends_with("/tests.rs")
    }

    /// The code before the inline test module, all of it when there is none.
    pub(crate) fn code_before_tests(&self) -> &str {
        let mut from = 0;
        while let Some(at) = self.code[from..].find("#[cfg(test)]").map(|at| from + at) {
            let after = self.code[at..].trim_start_matches("#[cfg(test)]").trim_start();
            let opens = after.find(['{', ';']).is_some_and(|end| after.as_bytes()[end] == b'{');
            if after.starts_with("mod ") && opens {
                return &self.code[..at];
            }
            from = at + 1;
        }
        &self.code
    }
}

impl Tree {
    /// Reads the workspace that this program belongs to.
    pub(crate) fn read() -> Self {
        let root = place::root();
        let mut tree = Self {
            sources: Vec::new(),
            manifests: BTreeMap::new(),
            pages: BTreeMap::new(),
            deploy: BTreeMap::new(),
        };
        tree.walk(root, root);
        tree.sources.sort_by(|a, b| a.path.cmp(&b.path));
        tree
    }

    fn walk(&mut self, root: &Path, folder: &Path) {
        let entries = std::fs::read_dir(folder).expect("a folder of the workspace is readable");
        for entry in entries {
            let path = entry.expect("a folder of the workspace is readable").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !name.starts_with('.') && !SKIPPED.contains(&name) {
                    self.walk(root, &path);
                }
            } else {
                self.add(root, &path);
            }
        }
    }

    fn add(&mut self, root: &Path, path: &PathBuf) {
        let relative = path.strip_prefix(root).expect("found below the root");
        let relative = relative.display().to_string();
        let text = || std::fs::read_to_string(path).expect("a text file of the workspace");
        if relative.ends_with(".rs") {
            self.sources.push(Source::new(&relative, &text()));
        } else if relative.ends_with(".md") {
            self.pages.insert(relative, text());
        } else if let Some((room, "Cargo.toml")) = relative.rsplit_once('/') {
            self.manifests.insert(room.to_owned(), text());
        } else if relative.starts_with("deploy/") {
            self.deploy.insert(relative, text());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_before_tests_ends_at_an_inline_module_only() {
        let inline = Source::new("a/src/b.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(inline.code_before_tests(), "fn a() {}\n");
        let outside = "fn a() {}\n#[cfg(test)]\nmod tests;\nfn b() {}\n";
        assert_eq!(Source::new("a/src/b.rs", outside).code_before_tests(), outside);
        let one = "#[cfg(test)]\nuse x;\nfn b() {}\n";
        assert_eq!(Source::new("a/src/b.rs", one).code_before_tests(), one);
    }

    #[test]
    fn the_workspace_is_found() {
        let tree = Tree::read();
        assert!(tree.manifests.contains_key("xtask"));
        assert!(tree.sources.iter().any(|source| source.path == "xtask/src/tree.rs"));
    }
}
