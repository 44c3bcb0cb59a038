//! Tidiness that can be measured: sizes, openings, forbidden words.

mod functions;
mod names;
mod purity;

use crate::finding::Finding;
use crate::tree::Source;

/// Lines of a file before its tests. Above it a reader loses the thread.
const FILE_LINES_MAX: usize = 500;

/// A door says what is in the room; more than a screen is no door.
const DOOR_LINES_MAX: usize = 80;

/// What unfinished code says. Spelled in two parts so that this file does not say it.
const UNFINISHED: [(&str, &str); 3] = [
    ("todo!", "finish it, or answer with a typed error"),
    ("unimplemented!", "finish it, or answer with a typed error"),
    ("#[ignore", "a test that does not run is no test: repair or remove it"),
];

/// Checks every source file.
pub(crate) fn check(sources: &[Source]) -> Vec<Finding> {
    sources.iter().flat_map(check_source).collect()
}

fn check_source(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(opening(source));
    findings.extend(place(source));
    findings.extend(size(source));
    findings.extend(unfinished(source));
    findings.extend(functions::check(source));
    findings.extend(names::check(source));
    findings.extend(purity::check(source));
    findings
}

/// Every file opens by saying what it is.
fn opening(source: &Source) -> Option<Finding> {
    let what = "opens with `//!`: what this is, which law it serves, what it does not do";
    (!source.text.starts_with("//!")).then(|| Finding::new(&source.path, 1, what))
}

/// `foo.rs` beside `foo/`, so that a file's name says what it is.
fn place(source: &Source) -> Option<Finding> {
    let what = "is called `mod.rs`: call it after its module, beside the folder";
    source.path.ends_with("/mod.rs").then(|| Finding::new(&source.path, 0, what))
}

fn size(source: &Source) -> Option<Finding> {
    let lines = source.code_before_tests().lines().count();
    let door = source.path.ends_with("src/lib.rs");
    if door && lines >= DOOR_LINES_MAX {
        let what = format!("{lines} lines: a door has fewer than {DOOR_LINES_MAX}");
        return Some(Finding::new(&source.path, 0, what));
    }
    let what = || format!("{lines} lines before its tests: at most {FILE_LINES_MAX}, split it");
    (lines > FILE_LINES_MAX && !source.is_test()).then(|| Finding::new(&source.path, 0, what()))
}

fn unfinished(source: &Source) -> Vec<Finding> {
    let lines = source.code.lines().enumerate();
    let found = lines.flat_map(|(at, line)| {
        let says = UNFINISHED.iter().filter(|(word, _)| line.contains(word));
        says.map(move |(word, what)| (at + 1, format!("{word}: {what}")))
    });
    found.map(|(line, what)| Finding::new(&source.path, line, what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<Finding> {
        check(&[Source::new(path, text)])
    }

    #[test]
    fn a_tidy_file_passes() {
        let text = "//! Says what it is: no todo! here.\n\nfn a() {\n    say(\"todo!\");\n}\n";
        assert_eq!(findings("node/src/a.rs", text), []);
    }

    #[test]
    fn a_file_that_does_not_say_what_it_is_is_caught() {
        assert_eq!(findings("node/src/a.rs", "fn a() {}\n").len(), 1);
        assert_eq!(findings("node/src/a.rs", "\n//! Late.\n").len(), 1);
    }

    #[test]
    fn mod_rs_is_caught() {
        assert_eq!(findings("node/src/a/mod.rs", "//! A.\n").len(), 1);
    }

    #[test]
    fn a_file_too_long_is_caught_and_its_tests_do_not_count() {
        let lines = |count: usize| "const A: u8 = 1;\n".repeat(count);
        let long = format!("//! A.\n{}", lines(500));
        assert_eq!(findings("node/src/a.rs", &long).len(), 1);
        assert_eq!(findings("node/tests/a.rs", &long), []);
        let tested = format!("//! A.\n#[cfg(test)]\nmod tests {{\n{}}}\n", lines(600));
        assert_eq!(findings("node/src/a.rs", &tested), []);
    }

    #[test]
    fn a_wide_door_is_caught() {
        let door = format!("//! A.\n{}", "pub mod a;\n".repeat(79));
        assert_eq!(findings("node/src/lib.rs", &door).len(), 1);
        assert_eq!(findings("node/src/a.rs", &door), []);
    }

    #[test]
    fn unfinished_code_is_caught() {
        let text = "//! A.\nfn a() {\n    todo!()\n}\n#[ignore = \"slow\"]\nfn b() {\n    \
                    unimplemented!(\"later\")\n}\n";
        let lines: Vec<usize> =
            findings("node/src/a.rs", text).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [3, 5, 7]);
    }
}
