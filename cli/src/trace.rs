//! `synod trace msg`: when a message passed each station on each node. Every node answers for itself, so each is asked.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::args::Trace;
use crate::desk::{each_of, show, standings, text};
use crate::exit::{Exit, Failure, Outcome};
use crate::talk;

/// One line of the table.
struct Line {
    at_us: u64,
    node: u64,
    station: String,
    more: String,
}

/// `synod trace …`.
pub(crate) async fn trace(args: Trace) -> Outcome {
    let Trace::Msg { desk, id } = args;
    id.parse::<chat::CanonicalId>().map_err(|_| {
        Failure::usage(format!("`{id}` is no canonical id: 32 hex digits, a hyphen and a sequence"))
    })?;
    let nodes: Vec<_> = standings(&desk).await?;
    let known =
        nodes.iter().filter_map(|(_, status)| Some(status.as_ref().ok()?.nodes.len())).max();
    let asked = nodes.into_iter().filter(|(_, status)| status.is_ok()).map(|(address, _)| address);
    let asked = each_of(&desk, asked)?;
    let path = ["trace", id.as_str()];
    let answers = join_all(asked.iter().map(|node| node.get(&path))).await;
    let mut told = Vec::new();
    for answer in answers {
        match answer {
            Ok(answer) => told.push(answer),
            Err(error) => eprintln!("synod: {}", talk::call(&error)),
        }
    }
    let missing = known.unwrap_or_default().saturating_sub(told.len());
    let lines = lines(&told);
    if lines.is_empty() {
        let detail = format!("{id}: nothing is remembered of it on the {} nodes", told.len());
        return Err(Failure::new(Exit::NotFound, detail));
    }
    let whole = json!({
        "schema": "synod/trace/v1", "message": id, "nodes": told, "missing": missing,
    });
    show(&desk, &whole, |_| table(&lines))?;
    if missing > 0 {
        eprintln!("synod: {missing} nodes did not answer");
        return Ok(Exit::Partial);
    }
    Ok(Exit::Ok)
}

/// All stations of all nodes, in the order of time. When it was proposed is told once: all say the same.
fn lines(told: &[Value]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for node in told {
        for passed in node["stations"].as_array().into_iter().flatten() {
            let station = text(passed, "station").to_owned();
            if station == "proposed" && lines.iter().any(|line| line.station == station) {
                continue;
            }
            let times = passed["times"].as_u64().unwrap_or_default();
            let lasted = passed["lastedUs"].as_u64().unwrap_or_default();
            let more = match times {
                0 | 1 => String::new(),
                _ => format!("{times} times, within {}", milliseconds(lasted)),
            };
            let at_us = passed["atUs"].as_u64().unwrap_or_default();
            let node = node["node"].as_u64().unwrap_or_default();
            lines.push(Line { at_us, node, station, more });
        }
    }
    lines.sort_by_key(|line| line.at_us);
    lines
}

fn table(lines: &[Line]) {
    say!("{:>4}  {:<10} {:>12} {:>12}", "node", "station", "since first", "since last");
    let mut last = lines[0].at_us;
    for line in lines {
        let (first, step) = (line.at_us - lines[0].at_us, line.at_us - last);
        let node = if line.station == "proposed" { "-".to_owned() } else { line.node.to_string() };
        let (first, step) = (milliseconds(first), milliseconds(step));
        say!("{node:>4}  {:<10} {first:>12} {step:>12}  {}", line.station, line.more);
        last = line.at_us;
    }
    say!(
        "Each node tells by its own clock; the leader stamps what it proposes in whole milliseconds."
    );
}

fn milliseconds(us: u64) -> String {
    format!("{}.{:03} ms", us / 1000, us % 1000)
}
