//! The specification's demands and what proves each: every row of `docs/specification.md` names a test that exists, a
//! measurement, or says that the demand is not met yet. The rows are numbered without a gap.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::laws::functions;
use crate::tree::Tree;

const PAGE: &str = "docs/specification.md";

/// What a row may say in place of a test.
const WITHOUT_TEST: [&str; 2] = ["not built", "measured by"];

/// Demands of the specification that the page must have rows for.
const DEMANDS_MIN: usize = 64;

/// Checks the page against the tests in the tree.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.pages.get(PAGE) else {
        return vec![Finding::new(PAGE, 0, "is missing")];
    };
    let codes = tree.sources.iter().map(|source| source.code.as_str());
    check_page(page, &functions(codes), DEMANDS_MIN)
}

fn check_page(page: &str, functions: &BTreeSet<&str>, demands: usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut last = 0;
    for (at, line) in page.lines().enumerate() {
        let Some((number, proof)) = row(line) else { continue };
        if number != last + 1 {
            findings.push(Finding::new(PAGE, at + 1, format!("row {number} follows {last}")));
        }
        last = number;
        let named: Vec<&str> =
            proof.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect();
        if named.is_empty() && !WITHOUT_TEST.iter().any(|words| proof.contains(words)) {
            let what = format!("row {number}: name the test that proves it");
            findings.push(Finding::new(PAGE, at + 1, what));
        }
        for test in named {
            let name = test.rsplit("::").next().unwrap_or(test);
            if !functions.contains(name) {
                let what = format!("row {number}: no function is called {name}");
                findings.push(Finding::new(PAGE, at + 1, what));
            }
        }
    }
    if last < demands {
        findings.push(Finding::new(PAGE, 0, format!("has {last} rows of {demands}")));
    }
    findings
}

/// Number and proof of a row: `| 7 | the demand | what proves it |`.
fn row(line: &str) -> Option<(usize, &str)> {
    let cells: Vec<&str> = line.trim().split('|').map(str::trim).collect();
    let ["", number, _, proof, ""] = cells.as_slice() else { return None };
    Some((number.parse().ok()?, proof))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(page: &str) -> usize {
        check_page(page, &functions(["fn it_holds() {}"].into_iter()), 2).len()
    }

    const GOOD: &str = "| # | Demand | Proven by |\n| --- | --- | --- |\n\
        | 1 | this | `room::it_holds` |\n| 2 | that | measured by `synod bench` |\n";

    #[test]
    fn a_page_whose_tests_exist_passes() {
        assert_eq!(found(GOOD), 0);
        assert_eq!(found(&GOOD.replace("measured by `synod bench`", "not built")), 0);
    }

    #[test]
    fn missing_tests_gaps_and_missing_rows_are_caught() {
        assert_eq!(found(&GOOD.replace("it_holds", "it_held")), 1);
        assert_eq!(found(&GOOD.replace("measured by", "perhaps")), 1);
        assert_eq!(found(&GOOD.replace("| 2 |", "| 3 |")), 1);
        assert_eq!(found("| 1 | this | `room::it_holds` |\n"), 1);
    }
}
