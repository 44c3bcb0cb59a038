//! The pure rooms decide and do nothing else: no waiting, clock, randomness, hashing order, floating
//! point or files. Replicas then reach the same state from the same log.

use crate::finding::Finding;
use crate::tree::Source;

const PURE_ROOMS: [&str; 2] = ["chat/src/", "cluster-config/src/"];

/// What a replica must not depend on, and why.
const IMPURE: [(&str, &str); 14] = [
    ("async fn", "deciding does not wait"),
    (".await", "deciding does not wait"),
    ("HashMap", "its order differs from process to process: BTreeMap"),
    ("HashSet", "its order differs from process to process: BTreeSet"),
    ("tokio::", "deciding does not wait"),
    ("Instant::", "time is stamped by the proposer and comes in as a value"),
    ("SystemTime", "time is stamped by the proposer and comes in as a value"),
    ("std::fs", "no files"),
    ("TcpStream", "no network"),
    ("std::env", "no environment"),
    ("std::thread", "no threads"),
    ("rand::", "no randomness"),
    ("f64", "no floating point"),
    ("f32", "no floating point"),
];

/// Checks the code of a pure room, its tests apart.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    if source.is_test() || !PURE_ROOMS.iter().any(|room| source.path.starts_with(room)) {
        return Vec::new();
    }
    let lines = source.code_before_tests().lines().enumerate();
    let found = lines.flat_map(|(at, line)| {
        let impure = IMPURE.iter().filter(|(word, _)| holds(line, word));
        impure.map(move |(word, why)| (at + 1, format!("{word} in a pure room: {why}")))
    });
    found.map(|(line, what)| Finding::new(&source.path, line, what)).collect()
}

/// Whether the line holds the word, not as a part of a longer one.
fn holds(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let starts = !part(before) || word.starts_with('.');
        let ends = !part(after) || word.ends_with(':');
        starts && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&Source::new(path, text)).len()
    }

    const SAMPLES: [&str; 14] = [
        "pub async fn wait() {",
        "let a = b().await?;",
        "use std::collections::HashMap;",
        "let a: HashSet<u8> = b;",
        "tokio::time::sleep(a)",
        "let a = Instant::now();",
        "at: SystemTime,",
        "use std::fs;",
        "use std::net::TcpStream;",
        "std::env::var(a)",
        "std::thread::current()",
        "rand::random::<u8>()",
        "let a: f64 = b;",
        "fn a(b: f32) {",
    ];

    #[test]
    fn every_impurity_is_caught_in_the_pure_rooms() {
        for (sample, (word, _)) in SAMPLES.into_iter().zip(IMPURE) {
            assert!(sample.contains(word), "{sample}: a sample for {word}");
            assert_eq!(found("chat/src/a.rs", sample), 1, "{sample}");
            assert_eq!(found("cluster-config/src/a.rs", sample), 1, "{sample}");
            assert_eq!(found("node/src/a.rs", sample), 0, "{sample}");
        }
    }

    #[test]
    fn longer_words_and_tests_are_left_alone() {
        assert_eq!(found("chat/src/a.rs", "struct MyHashMapLike; // HashMap\n"), 0);
        let text = "#[cfg(test)]\nmod tests {\n    use std::collections::HashMap;\n}\n";
        assert_eq!(found("chat/src/a.rs", text), 0);
    }
}
