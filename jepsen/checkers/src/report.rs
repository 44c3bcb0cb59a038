//! One page for one run: verdicts, what happened over time, and each violation with what is around it. Everything is
//! in the page itself; it loads nothing and runs nothing.

use crate::history::{History, write_op};
use crate::judge::Judgement;
use crate::verdict::{Outcome, Verdict, Violation};
use std::fmt::Write as _;

mod around;
mod plots;
mod svg;

/// Violations that are shown in full; the rest is counted.
const SHOWN_MAX: usize = 20;

/// A node's log, its lines with their time in nanoseconds since the run began.
#[derive(Clone, Debug, Default)]
pub struct NodeLog {
    /// Counted from 1.
    pub node: u8,
    /// In order of time.
    pub lines: Vec<(u64, String)>,
}

/// What a page says beside the history.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// What was run.
    pub title: String,
    /// Seed, commit, options and the like, as names and values.
    pub facts: Vec<(String, String)>,
    /// The nodes' logs, as far as there are any.
    pub logs: Vec<NodeLog>,
}

/// The page of a run.
pub fn html(history: &History, judgement: &Judgement, about: &About) -> String {
    let mut page = String::with_capacity(64 * 1024);
    let title = escape(&about.title);
    page.push_str("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    let _ =
        write!(page, "<title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>");
    summary(&mut page, judgement, about);
    verdicts(&mut page, judgement);
    page.push_str("<h2>Over time</h2>");
    page.push_str(&plots::rate(history));
    page.push_str(&plots::latency(history));
    page.push_str("<h2>Leaders</h2>");
    page.push_str(&plots::leaders(history));
    violations(&mut page, history, judgement, about);
    page.push_str("</body></html>\n");
    page
}

const STYLE: &str = "body{font:14px/1.45 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#1b1f24}\
table{border-collapse:collapse;margin:.6em 0}td,th{border:1px solid #d0d7de;padding:.25em .6em;text-align:left;vertical-align:top}\
pre{background:#f6f8fa;padding:.8em;overflow:auto;font-size:12px}.valid{color:#116329}.violated{color:#a40e26;font-weight:600}\
.unknown{color:#9a6700;font-weight:600}.here{background:#ffebe9}svg{display:block;margin:.6em 0;max-width:100%}\
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#d1d7e0}pre{background:#161b22}td,th{border-color:#30363d}\
.valid{color:#3fb950}.violated{color:#ff7b72}.unknown{color:#d29922}.here{background:#3c1618}}";

fn summary(page: &mut String, judgement: &Judgement, about: &About) {
    let (class, name) = outcome_name(judgement.outcome);
    let _ = write!(page, "<p>Verdict: <span class=\"{class}\">{name}</span>");
    for doubt in &judgement.doubts {
        let _ = write!(page, "<br>{}", escape(doubt));
    }
    page.push_str("</p><table>");
    let counts = [
        ("operations", judgement.ops),
        ("ok", judgement.ok),
        ("messages acknowledged", judgement.acknowledged),
        ("violations", judgement.violations()),
    ];
    for (name, count) in counts {
        row(page, name, &count.to_string());
    }
    for (name, value) in &about.facts {
        row(page, name, value);
    }
    for (name, (installed, skipped)) in &judgement.faults {
        row(page, &format!("fault {name}"), &format!("bit {installed} times, skipped {skipped}"));
    }
    page.push_str("</table>");
}

fn row(page: &mut String, name: &str, value: &str) {
    let _ = write!(page, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(value));
}

fn outcome_name(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Valid => ("valid", "valid"),
        Outcome::Unknown => ("unknown", "unknown"),
        Outcome::Violated => ("violated", "violated"),
    }
}

fn verdicts(page: &mut String, judgement: &Judgement) {
    page.push_str("<h2>Checks</h2><table><tr><th>check</th><th>verdict</th><th></th></tr>");
    for (name, verdict) in &judgement.checks {
        let (class, word) = outcome_name(verdict.outcome());
        let more = match verdict {
            Verdict::Valid { judged: 0 } => "nothing to judge".to_owned(),
            Verdict::Valid { judged } => format!("{judged} facts"),
            Verdict::Violated { count, violations } => {
                format!("{count}: {}", violations.first().map_or("", |violation| &violation.what))
            }
            Verdict::Unknown { why } => why.clone(),
        };
        let more = escape(&more);
        let _ = write!(
            page,
            "<tr><td>{name}</td><td class=\"{class}\">{word}</td><td>{more}</td></tr>"
        );
    }
    page.push_str("</table>");
}

fn violations(page: &mut String, history: &History, judgement: &Judgement, about: &About) {
    let all = judgement.checks.iter();
    let all: Vec<(&str, &Violation)> = all
        .flat_map(|(name, verdict)| verdict.violations().iter().map(|one| (*name, one)))
        .collect();
    if all.is_empty() {
        return;
    }
    let _ = write!(
        page,
        "<h2>Violations</h2><p>{} of {} shown.</p>",
        all.len().min(SHOWN_MAX),
        judgement.violations()
    );
    for (check, violation) in all.into_iter().take(SHOWN_MAX) {
        let _ = write!(page, "<h3>{check}: {}</h3>", escape(&violation.what));
        page.push_str("<pre>");
        for op in violation.ops.iter().filter_map(|index| history.ops.get(*index as usize)) {
            page.push_str(&escape(&line(history, op)));
        }
        page.push_str("</pre>");
        around::sequences(page, history, violation);
        around::logs(page, history, violation, &about.logs);
    }
}

/// Bytes of one operation that are shown: a page of a hundred entries would bury the rest.
const LINE_MAX: usize = 1200;

fn line(history: &History, op: &crate::history::Op) -> String {
    let mut bytes = Vec::new();
    if write_op(&mut bytes, &history.names, op).is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match text.char_indices().nth(LINE_MAX) {
        Some((at, _)) => format!("{} …\n", &text[..at]),
        None => text,
    }
}

/// Text as it stands in a page.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(letter),
        }
    }
    out
}
