//! What happened over time: how much, how fast, under which faults, led by whom.

use super::svg::{Drawing, height_of_rows};
use crate::history::{F, History, Kind, Phase};
use std::collections::BTreeMap;

/// Points of a line.
const BUCKETS: u64 = 120;
/// Shards whose leaders are drawn.
const SHARDS_MAX: usize = 64;
const HEIGHT: f64 = 200.0;
const COLOURS: [&str; 8] =
    ["#0969da", "#1a7f37", "#bf8700", "#8250df", "#cf222e", "#1b7c83", "#953800", "#57606a"];

fn end(history: &History) -> u64 {
    history.ops.last().map_or(1, |op| op.time.max(1))
}

fn bucket(time: u64, end: u64) -> usize {
    (u128::from(time) * u128::from(BUCKETS) / (u128::from(end) + 1)) as usize
}

fn middle(at: usize, end: u64) -> u64 {
    (u128::from(end) * (at as u128 * 2 + 1) / (u128::from(BUCKETS) * 2)) as u64
}

/// Faults from their installation to their end.
fn bands(history: &History, drawing: &mut Drawing) {
    let mut open = BTreeMap::<&str, (u64, &str)>::new();
    for op in &history.ops {
        let F::Fault { name, detail, phase, .. } = &op.f else { continue };
        match phase {
            Phase::Installed => {
                open.insert(name, (op.time, detail));
            }
            Phase::Healed => {
                if let Some((from, detail)) = open.remove(name.as_str()) {
                    drawing.band(from, op.time, &format!("{name} {detail}"));
                }
            }
            Phase::Install | Phase::Heal | Phase::Skipped => {}
        }
    }
    let last = end(history);
    for (name, (from, detail)) in open {
        drawing.band(from, last, &format!("{name} {detail}"));
    }
}

/// Operations that ended in each moment, by their end.
pub(super) fn rate(history: &History) -> String {
    let end = end(history);
    let seconds = end as f64 / 1e9 / BUCKETS as f64;
    let mut counts = [const { Vec::new() }; 3];
    counts.iter_mut().for_each(|line: &mut Vec<f64>| line.resize(BUCKETS as usize, 0.0));
    for op in history.ops.iter().filter(|op| op.f.is_asked_for()) {
        let line = match op.kind {
            Kind::Invoke => continue,
            Kind::Ok => 0,
            Kind::Fail => 1,
            Kind::Info => 2,
        };
        counts[line][bucket(op.time, end)] += 1.0 / seconds.max(1e-9);
    }
    let most = counts.iter().flatten().copied().fold(0.0, f64::max);
    let mut drawing = Drawing::new("answers a second", HEIGHT, end, (most, "/s"));
    bands(history, &mut drawing);
    let names = [("ok", COLOURS[1]), ("fail", COLOURS[2]), ("unknown", COLOURS[4])];
    for (line, (_, colour)) in counts.iter().zip(names) {
        let points: Vec<_> =
            line.iter().enumerate().map(|(at, rate)| (middle(at, end), *rate)).collect();
        drawing.line(&points, colour);
    }
    drawing.legend(&names);
    drawing.finish()
}

/// How long acknowledged sends took, by their end.
pub(super) fn latency(history: &History) -> String {
    let end = end(history);
    let mut times: Vec<Vec<u64>> = vec![Vec::new(); BUCKETS as usize];
    for op in history.ops.iter().filter(|op| op.kind == Kind::Ok && matches!(op.f, F::Send { .. }))
    {
        times[bucket(op.time, end)].push(op.time - history.invoked_at(op));
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    let part = |times: &[u64], part: f64| {
        let at = ((times.len() as f64 * part) as usize).min(times.len() - 1);
        times[at] as f64 / 1e6
    };
    let line = |of: f64| -> Vec<(u64, f64)> {
        let some = times.iter().enumerate().filter(|(_, times)| !times.is_empty());
        some.map(|(at, times)| (middle(at, end), part(times, of))).collect()
    };
    let (half, most) = (line(0.5), line(0.99));
    let top = most.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let mut drawing = Drawing::new("time to acknowledge", HEIGHT, end, (top, "ms"));
    bands(history, &mut drawing);
    drawing.line(&most, COLOURS[4]);
    drawing.line(&half, COLOURS[0]);
    drawing.legend(&[("half", COLOURS[0]), ("99 of 100", COLOURS[4])]);
    drawing.finish()
}

/// Who led each shard in which term, as nodes said.
pub(super) fn leaders(history: &History) -> String {
    let mut shards = BTreeMap::<u32, Vec<(u64, u8, u64)>>::new();
    for op in &history.ops {
        let F::Leader { shard, node, term } = op.f else { continue };
        let terms = shards.entry(shard).or_default();
        if terms.last().is_none_or(|(_, _, last)| term > *last) {
            terms.push((op.time, node, term));
        }
    }
    if shards.is_empty() {
        return "<p>Nobody said who leads.</p>".to_owned();
    }
    let end = end(history);
    let rows = shards.len().min(SHARDS_MAX);
    let mut drawing = Drawing::new("leaders by shard", height_of_rows(rows), end, (1.0, ""));
    bands(history, &mut drawing);
    for (row, (shard, terms)) in shards.iter().take(SHARDS_MAX).enumerate() {
        drawing.label(row, &format!("shard {shard}"));
        for (at, (from, node, term)) in terms.iter().enumerate() {
            let to = terms.get(at + 1).map_or(end, |(next, ..)| *next);
            let colour = COLOURS[usize::from(*node) % COLOURS.len()];
            drawing.bar(row, (*from, to), colour, &format!("n{node}, term {term}"));
        }
    }
    let names: Vec<String> = (1..=5).map(|node| format!("n{node}")).collect();
    let legend: Vec<(&str, &str)> = names
        .iter()
        .enumerate()
        .map(|(at, name)| (name.as_str(), COLOURS[(at + 1) % COLOURS.len()]))
        .collect();
    drawing.legend(&legend);
    drawing.finish()
}
