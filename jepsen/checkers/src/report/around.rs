//! What is around a violation: the places next to it as every replica and every acknowledgement has them, and what the
//! nodes logged then.

use super::{NodeLog, escape};
use crate::history::{C, Entry, F, History, Kind};
use crate::verdict::Violation;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Places before and after.
const PLACES: u64 = 4;
/// Places of one violation that are shown.
const PLACES_MAX: usize = 40;
/// Nanoseconds of log before and after.
const LOG_NS: u64 = 2_000_000_000;
/// Lines of one node.
const LINES_MAX: usize = 60;

/// The neighbourhood of the sequences that a violation is about.
pub(super) fn sequences(page: &mut String, history: &History, violation: &Violation) {
    let Some(c) = violation.conversation else { return };
    let mut wanted: Vec<u64> = violation
        .seqs
        .iter()
        .flat_map(|seq| seq.saturating_sub(PLACES).max(1)..=seq.saturating_add(PLACES))
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    wanted.truncate(PLACES_MAX);
    if wanted.is_empty() {
        return;
    }
    let columns = columns(history, c, &wanted);
    let _ = write!(
        page,
        "<p>Conversation {}</p><table><tr><th>seq</th>",
        escape(history.names.conversation_name(c))
    );
    columns.keys().for_each(|(_, name)| {
        let _ = write!(page, "<th>{}</th>", escape(name));
    });
    page.push_str("</tr>");
    for seq in wanted {
        let class = if violation.seqs.contains(&seq) { " class=\"here\"" } else { "" };
        let _ = write!(page, "<tr{class}><td>{seq}</td>");
        for column in columns.values() {
            let cell = column.get(&seq).map_or("–", String::as_str);
            let _ = write!(page, "<td>{}</td>", escape(cell));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>");
}

type Column = BTreeMap<u64, String>;

/// Acknowledgements first, then the replicas.
fn columns(history: &History, c: C, wanted: &[u64]) -> BTreeMap<(u8, String), Column> {
    let mut columns = BTreeMap::<(u8, String), Column>::new();
    let mut put = |column: (u8, String), entry: &Entry| {
        if wanted.binary_search(&entry.seq).is_ok() {
            let cell = format!(
                "{} #{} {:08x}",
                history.names.device_name(entry.from),
                entry.k,
                entry.h >> 32
            );
            columns.entry(column).or_default().insert(entry.seq, cell);
        }
    };
    for op in &history.ops {
        match &op.f {
            F::Send { c: of, d, k, h, seq, .. } if *of == c && op.kind == Kind::Ok => {
                let entry = Entry { seq: *seq, from: *d, k: *k, h: *h, chain: 0, at: 0 };
                put((0, "acknowledged".to_owned()), &entry);
            }
            F::Final { c: of, replica, entries, .. } if *of == c => {
                entries.iter().for_each(|entry| put((*replica, format!("n{replica}")), entry));
            }
            _ => {}
        }
    }
    columns
}

/// What the nodes said around the operations of a violation.
pub(super) fn logs(page: &mut String, history: &History, violation: &Violation, logs: &[NodeLog]) {
    let times: Vec<u64> = violation
        .ops
        .iter()
        .filter_map(|index| history.ops.get(*index as usize))
        .map(|op| op.time)
        .collect();
    let near = |time: u64| times.iter().any(|at| at.abs_diff(time) <= LOG_NS);
    for log in logs {
        let lines: Vec<&(u64, String)> =
            log.lines.iter().filter(|(time, _)| near(*time)).take(LINES_MAX).collect();
        if lines.is_empty() {
            continue;
        }
        let _ = write!(page, "<details><summary>n{} said</summary><pre>", log.node);
        for (time, line) in lines {
            let _ = writeln!(page, "{:10.3} {}", *time as f64 / 1e9, escape(line));
        }
        page.push_str("</pre></details>");
    }
}
