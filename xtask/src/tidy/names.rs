//! Words that name nothing. The glossary has the words to use; these are the ones that no name of
//! ours may hold, because they say neither what a thing is nor what it does.

use crate::finding::Finding;
use crate::tree::Source;

/// Last words of types and modules that stand for "something to do with".
const EMPTY_WORDS: [&str; 8] =
    ["manager", "helper", "helpers", "util", "utils", "impl", "common", "misc"];

/// Words that the glossary gave up for another one.
const OTHER_WORDS: [(&str, &str); 6] = [
    ("chatroom", "conversation"),
    ("watermark", "cursor"),
    ("partition_id", "slot or shard"),
    ("leaderboard", "nothing"),
    ("zookeeper", "cluster-config"),
    ("websocket_manager", "session directory"),
];

/// What a name is declared by.
const DECLARATIONS: [&str; 6] = ["struct", "enum", "trait", "mod", "type", "fn"];

/// Checks the names that a file declares outside tests.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    if source.is_test() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (at, line) in source.code_before_tests().lines().enumerate() {
        if let Some((kind, name)) = declared(line)
            && let Some(what) = objection(kind, name)
        {
            findings.push(Finding::new(&source.path, at + 1, what));
        }
    }
    findings
}

/// The kind and name that a line declares. A function or type alias without `pub` may be somebody
/// else's trait that we fulfil, with names that are not ours.
fn declared(line: &str) -> Option<(&str, &str)> {
    let public = line.trim_start().starts_with("pub");
    let mut words = line.split_whitespace();
    let kind = words.find(|word| DECLARATIONS.contains(word))?;
    let rest = words.next()?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let ours = public || !["fn", "type"].contains(&kind);
    (ours && end > 0).then(|| (kind, &rest[..end]))
}

fn objection(kind: &str, name: &str) -> Option<String> {
    let snake = snake(name);
    if kind == "fn" && snake.starts_with("get_") {
        return Some(format!("fn {name}: say what it is, without `get_`"));
    }
    let last = snake.rsplit('_').next().unwrap_or_default();
    if kind != "fn" && EMPTY_WORDS.contains(&last) {
        return Some(format!("{kind} {name}: `{last}` says nothing, name what it is or does"));
    }
    let (word, instead) = OTHER_WORDS.iter().find(|(word, _)| snake.contains(word))?;
    Some(format!("{kind} {name}: not `{word}` but `{instead}`, see docs/glossary.md"))
}

fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() && !snake.ends_with('_') {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        check(&Source::new("node/src/a.rs", text)).len()
    }

    #[test]
    fn empty_words_are_caught_in_types_and_modules() {
        for text in [
            "pub struct SessionManager;",
            "enum PeerHelper {",
            "pub(crate) mod utils;",
            "struct RaftImpl<T>(T);",
            "trait Helper {}",
        ] {
            assert_eq!(found(text), 1, "{text}");
        }
        for text in
            ["struct Managers;", "impl Manager for A {}", "let manager = 1;", "pub fn util()"]
        {
            assert_eq!(found(text), 0, "{text}");
        }
    }

    #[test]
    fn getters_and_given_up_words_are_caught() {
        assert_eq!(found("    pub fn get_leader(&self) -> u64 {"), 1);
        assert_eq!(found("    pub fn get(&self) -> u64 {"), 0);
        assert_eq!(found("    fn get_log_state(&mut self) {"), 0, "a foreign trait's name");
        assert_eq!(found("struct HighWatermark(u64);"), 1);
    }

    #[test]
    fn tests_may_use_any_word() {
        assert_eq!(found("#[cfg(test)]\nmod tests {\n    struct FakeManager;\n}\n"), 0);
    }
}
