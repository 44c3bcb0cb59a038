//! The laws and who hunts each: `docs/invariants.md` names every law of the design, and every test
//! that it names exists. A page that promises a test nobody wrote is worse than no page.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::tree::Tree;

const PAGE: &str = "docs/invariants.md";

/// What a row says in place of a test while the law has nothing to hold yet.
const NOT_BUILT: &str = "not built";

/// The laws of the design: conversations (C), delivery (D), Raft (R), membership (M), storage (S), assets (A), backups (B),
/// feature levels (L), splitting (P), judging (J). A law is added here first.
const LAWS: [&str; 83] = [
    "A1", "A2", "A3", "A4", "A5", "A6", "B1", "B2", "B3", "B4", "B5", "C1", "C2", "C3", "C4", "C5",
    "C6", "C7", "C8", "C9", "C10", "C11", "C12", "C13", "C14", "C15", "D1", "D2", "D3", "D4", "D5",
    "D6", "D7", "D8", "D9", "D10", "J1", "J2", "J3", "J4", "J5", "J6", "L1", "L2", "L3", "M1",
    "M2", "M3", "M4", "M5", "M6", "M7", "M8", "M9", "M10", "M11", "P1", "P2", "P3", "P4", "P5",
    "P6", "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "S1", "S2", "S3", "S4", "S5", "S6",
    "S7", "S8", "S9", "S10", "S11", "S12",
];

/// Checks the page against the list of laws and against the tests in the tree.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.pages.get(PAGE) else {
        return vec![Finding::new(PAGE, 0, "is missing")];
    };
    let codes = tree.sources.iter().map(|source| source.code.as_str());
    check_page(page, &functions(codes))
}

fn check_page(page: &str, functions: &BTreeSet<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let rows: Vec<Row<'_>> = rows(page).collect();
    for law in LAWS {
        if !rows.iter().any(|row| row.law == law) {
            findings.push(Finding::new(PAGE, 0, format!("says nothing about law {law}")));
        }
    }
    for row in &rows {
        let tests: Vec<&str> = row.tests.split('`').skip(1).step_by(2).collect();
        if tests.is_empty() && !row.tests.contains(NOT_BUILT) {
            let what = format!("{}: name the test that hunts it, or say \"{NOT_BUILT}\"", row.law);
            findings.push(Finding::new(PAGE, row.line, what));
        }
        for test in tests {
            let name = test.rsplit("::").next().unwrap_or(test);
            if !functions.contains(name) {
                let what = format!("{}: no function is called {name}", row.law);
                findings.push(Finding::new(PAGE, row.line, what));
            }
        }
    }
    findings
}

/// A row of a table of laws: `| C1 | the law | what holds it | who hunts it |`.
struct Row<'a> {
    line: usize,
    law: &'a str,
    tests: &'a str,
}

fn rows(page: &str) -> impl Iterator<Item = Row<'_>> {
    page.lines().enumerate().filter_map(|(at, line)| {
        let cells: Vec<&str> = line.trim().split('|').map(str::trim).collect();
        let ["", law, _, _, tests, ""] = cells.as_slice() else { return None };
        let (letter, number) = law.split_at_checked(1)?;
        // Any letter: a room of new laws is looked at from its first day.
        let is_law = letter.chars().all(|letter| letter.is_ascii_uppercase());
        let is_law = is_law && number.parse::<u32>().is_ok();
        is_law.then_some(Row { line: at + 1, law, tests })
    })
}

/// The names of all functions.
pub(crate) fn functions<'a>(codes: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let after_fn = codes.flat_map(|code| code.split("fn ").skip(1));
    let names = after_fn.map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(tests: &str) -> String {
        LAWS.iter().map(|law| format!("| {law} | it holds | an assert | {tests} |\n")).collect()
    }

    fn found(page: &str) -> usize {
        check_page(page, &functions(["#[test]\nfn it_holds() {}"].into_iter())).len()
    }

    #[test]
    fn a_page_with_all_laws_and_their_tests_passes() {
        assert_eq!(found(&page("`it_holds`, `room::tests::it_holds`")), 0);
        assert_eq!(found(&page("not built yet")), 0);
    }

    #[test]
    fn a_missing_law_is_caught() {
        let short = page("`it_holds`").replace("| C4 |", "| the fourth |");
        assert_eq!(found(&short), 1);
    }

    #[test]
    fn a_test_that_does_not_exist_is_caught() {
        assert_eq!(found(&page("`it_holds`").replacen("it_holds`", "it_held`", 1)), 1);
        assert_eq!(found(&page("somebody should")), LAWS.len());
    }
}
