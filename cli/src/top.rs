//! `synod top`: nodes, hot groups, links and queues, straight from the operations ports; no other system is asked.
//!
//! Each look is two scrapes of every node and what happened in between.

mod look;

use std::{
    io::{IsTerminal as _, Write as _},
    net::SocketAddr,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::{
    args::Top,
    exit::{Exit, Failure, Outcome},
    operations, status,
};
use look::{Group, Look, NodeLook, Sight};

/// Groups that are shown: what is hot is among the first.
const GROUPS_SHOWN: usize = 10;
/// Nobody reads faster, and nodes should not notice.
const INTERVAL_MIN: Duration = Duration::from_millis(200);
/// From the top of an empty screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// `synod top`.
pub(crate) async fn top(args: Top) -> Outcome {
    let addresses = status::addresses(&args.operations)?;
    let interval = args.interval.max(INTERVAL_MIN);
    let live = !args.once && !args.operations.desk.json && std::io::stdout().is_terminal();
    let mut before = sight(&addresses).await;
    loop {
        sleep_until(before.at + interval).await;
        let after = sight(&addresses).await;
        if after.nobody() {
            return Err(Failure::unavailable("no node answers: synod health"));
        }
        let look = Look::between(&before, &after);
        let text = if args.operations.desk.json { json(&look).to_string() } else { page(&look) };
        if !live {
            say!("{text}");
            // With `--json` and without `--once`: one object a line, until somebody has seen enough.
            if args.once || !args.operations.desk.json {
                return Ok(Exit::Ok);
            }
        } else if write!(std::io::stdout().lock(), "{CLEAR}{text}\n\nCtrl-C ends\n").is_err() {
            return Ok(Exit::Ok);
        }
        before = after;
    }
}

/// Every node as it is now.
async fn sight(addresses: &[SocketAddr]) -> Sight {
    let at = Instant::now();
    let node = async |address: &SocketAddr| {
        let (status, metrics) =
            tokio::join!(operations::glance(*address), operations::page(*address, "/metrics"));
        let metrics = metrics.ok().filter(|(code, _)| *code == 200).map(|(_, body)| body);
        (*address, status, metrics.unwrap_or_default())
    };
    let nodes = futures::future::join_all(addresses.iter().map(node)).await;
    Sight::new(at, nodes)
}

fn json(look: &Look) -> Value {
    let node = |node: &NodeLook| {
        json!({
            "operations": node.operations, "node": node.node, "serves": node.node.is_some(),
            "leads": node.leads, "links": node.links, "sent_per_s": node.sent,
            "delivered_per_s": node.delivered, "commit_p99_s": node.commit,
            "sync_p99_s": node.sync, "journal_waiting_bytes": node.waiting,
            "apply_lag_entries": node.lag, "cpu_cores": node.cpu, "resident_bytes": node.memory,
            "disk_free_bytes": node.free,
        })
    };
    let group = |group: &Group| {
        json!({
            "group": group.id, "leader": group.leader, "entries_per_s": group.entries,
            "lag_entries": group.lag,
        })
    };
    json!({
        "schema": "synod/top/v1", "cluster": look.cluster, "health": look.health,
        "seconds": look.seconds,
        "nodes": look.nodes.iter().map(node).collect::<Vec<_>>(),
        "groups": look.groups.iter().take(GROUPS_SHOWN).map(group).collect::<Vec<_>>(),
    })
}

fn page(look: &Look) -> String {
    let mut lines = vec![format!(
        "cluster {}: {}, {} groups",
        look.cluster.as_deref().unwrap_or("?"),
        look.health,
        look.groups.len()
    )];
    lines.push(format!(
        "{:<5} {:>5} {:>6} {:>8} {:>8} {:>10} {:>10} {:>9} {:>5} {:>8} {:>9}  operations",
        "node",
        "leads",
        "links",
        "sent/s",
        "deliv/s",
        "commit p99",
        "fsync p99",
        "waiting",
        "cpu",
        "memory",
        "disk free"
    ));
    for node in &look.nodes {
        let Some(id) = node.node else {
            lines.push(format!("?     away{:>83}  {}", "", node.operations));
            continue;
        };
        lines.push(format!(
            "{id:<5} {:>5} {:>6} {:>8} {:>8} {:>10} {:>10} {:>9} {:>5} {:>8} {:>9}  {}",
            node.leads,
            node.links,
            number(node.sent),
            number(node.delivered),
            time(node.commit),
            time(node.sync),
            bytes(node.waiting),
            node.cpu.map_or("-".to_owned(), |cpu| format!("{cpu:.2}")),
            bytes(node.memory),
            bytes(node.free),
            node.operations,
        ));
    }
    lines.push(String::new());
    lines.push(format!("{:<6} {:>6} {:>10} {:>6}", "group", "leader", "entries/s", "lag"));
    for group in look.groups.iter().take(GROUPS_SHOWN) {
        let leader = group.leader.map_or("none".to_owned(), |leader| leader.to_string());
        let entries = number(Some(group.entries));
        lines.push(format!("{:<6} {leader:>6} {entries:>10} {:>6}", group.id, group.lag));
    }
    lines.join("\n")
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.0}"))
}

/// At most so long: the bound of a histogram's bucket.
fn time(seconds: Option<f64>) -> String {
    seconds.map_or("-".to_owned(), |seconds| format!("{} ms", seconds * 1e3))
}

fn bytes(value: Option<f64>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    let units = [("G", f64::from(1 << 30)), ("M", f64::from(1 << 20)), ("K", 1024.0)];
    let unit = units.into_iter().find(|(_, size)| value >= *size);
    unit.map_or(format!("{value:.0}"), |(unit, size)| format!("{:.1}{unit}", value / size))
}
