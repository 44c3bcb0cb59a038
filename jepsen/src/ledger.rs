//! The ledger of all runs: one line of JSON each, appended and never rewritten, and a page for people made from it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::pairs;
use crate::scenario::Scenario;

/// The lines, within the project.
pub const LINES: &str = "docs/evidence/ledger.jsonl";
/// The page, within the project.
pub const PAGE: &str = "docs/evidence/ledger.md";
/// The scenario that names the most dangerous faults, within the project.
const DANGEROUS: &str = "jepsen/scenarios/every-pair.toml";
/// Where the page begins to show runs.
const RUNS: &str = "\n## The last ";
/// Runs that the page shows one by one, the last of them.
const SHOWN_MAX: usize = 60;

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When it ended, seconds since 1970.
    pub at: u64,
    /// The commit of the project; ends with `+` when there was more than that.
    pub commit: String,
    /// The first digits of the binary's SHA-256.
    pub binary: String,
    /// The scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// How often each fault bit.
    pub faults: BTreeMap<String, u64>,
    /// Seconds during which nodes were being broken.
    pub fault_seconds: u64,
    /// Seconds of the whole run.
    pub seconds: u64,
    /// Operations that were judged.
    pub operations: u64,
    /// Messages that were acknowledged.
    pub acknowledged: u64,
    /// The same for each second in which messages were sent.
    pub acknowledged_per_second: u64,
    /// `valid`, `violated`, `unknown`, or `failed` for the harness.
    pub verdict: String,
    /// The names of what was found, or why nothing is known.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Faults that bit at the same time, two by two: `kill-leader + ring`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<String>,
}

/// Appends a line.
///
/// # Errors
/// When the file will not take it.
pub fn append(project: &Path, line: &Line) -> io::Result<()> {
    let path = project.join(LINES);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let text = serde_json::to_string(line).expect("plain data");
    writeln!(file, "{text}")
}

/// Reads all lines; those that are none are passed over.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read(project: &Path) -> io::Result<Vec<Line>> {
    match std::fs::read_to_string(project.join(LINES)) {
        Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Writes the page anew.
///
/// # Errors
/// When a file will not do it.
pub fn render(project: &Path) -> io::Result<PathBuf> {
    let path = project.join(PAGE);
    let lines = read(project)?;
    let mut page = page(&lines);
    if let Ok(scenario) = Scenario::load(&project.join(DANGEROUS)) {
        page.insert_str(
            page.find(RUNS).unwrap_or(page.len()),
            &pairs::page(&lines, &scenario.nemesis.faults),
        );
    }
    std::fs::write(&path, page)?;
    Ok(path)
}

fn page(lines: &[Line]) -> String {
    let mut page = String::from(
        "# Evidence: black-box runs\n\nWritten by `cargo xtask jepsen report` from `ledger.jsonl`, to which every run appends a line. \
         A run that shows too little is unknown, never a pass.\n\n",
    );
    let sum = |of: fn(&Line) -> u64| lines.iter().map(of).sum::<u64>();
    let count = |verdict: &str| lines.iter().filter(|line| line.verdict == verdict).count();
    page.push_str(&format!(
        "{} runs: {} valid, {} violated, {} unknown, {} failures of the harness. {:.1} hours of faults, {} operations judged, \
         {} messages acknowledged.\n\n",
        lines.len(),
        count("valid"),
        count("violated"),
        count("unknown"),
        count("failed"),
        sum(|line| line.fault_seconds) as f64 / 3600.0,
        sum(|line| line.operations),
        sum(|line| line.acknowledged),
    ));
    page.push_str("## Faults that bit\n\n| Fault | Times | Runs |\n| --- | --- | --- |\n");
    let mut faults: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (name, times) in lines.iter().flat_map(|line| &line.faults) {
        let entry = faults.entry(name).or_default();
        entry.0 += times;
        entry.1 += u64::from(*times > 0);
    }
    for (name, (times, runs)) in faults.iter().filter(|(_, (times, _))| *times > 0) {
        page.push_str(&format!("| {name} | {times} | {runs} |\n"));
    }
    page.push_str(&format!(
        "{RUNS}{} runs\n\n| Scenario | Seed | Verdict | Commit | Faults that bit | Operations | Acknowledged | A second | \
         Seconds | Notes |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        lines.len().min(SHOWN_MAX)
    ));
    for line in lines.iter().rev().take(SHOWN_MAX) {
        let bit: Vec<String> =
            line.faults.iter().map(|(name, times)| format!("{name} {times}")).collect();
        page.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            line.scenario,
            line.seed,
            line.verdict,
            line.commit,
            bit.join(", "),
            line.operations,
            line.acknowledged,
            line.acknowledged_per_second,
            line.seconds,
            line.notes.join("; ").replace('|', "/"),
        ));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(verdict: &str) -> Line {
        Line {
            at: 1,
            commit: "abc".to_owned(),
            binary: "00".to_owned(),
            scenario: "mixed".to_owned(),
            seed: 3,
            faults: BTreeMap::from([("kill".to_owned(), 2)]),
            fault_seconds: 60,
            seconds: 90,
            operations: 10,
            acknowledged: 5,
            acknowledged_per_second: 1,
            verdict: verdict.to_owned(),
            notes: vec!["a|b".to_owned()],
            pairs: Vec::new(),
        }
    }

    #[test]
    fn lines_are_kept_in_order_and_counted_on_the_page() {
        let project = tempfile::tempdir().expect("a folder");
        for verdict in ["valid", "violated", "valid"] {
            append(project.path(), &line(verdict)).expect("room for a line");
        }
        let lines = read(project.path()).expect("own lines");
        assert_eq!(
            lines.iter().map(|line| line.verdict.as_str()).collect::<Vec<_>>(),
            ["valid", "violated", "valid"]
        );
        let page = std::fs::read_to_string(render(project.path()).expect("room")).expect("a page");
        assert!(page.contains("3 runs: 2 valid, 1 violated"), "{page}");
        assert!(page.contains("| kill | 6 | 3 |"), "{page}");
    }
}
