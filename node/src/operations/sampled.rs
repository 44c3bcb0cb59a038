//! Metrics that are read at a scrape instead of being counted: what the node knows about its groups, its disk and its
//! process at this moment, in Prometheus' text form. Nothing is kept between two scrapes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::metrics::list::{self, Metric};
use super::{Operated, Role, missing, process};

/// A value of one metric, under its labels.
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: f64,
}

/// A value without labels.
pub(super) fn sample(name: &'static str, value: f64) -> Sample {
    Sample { name, labels: Vec::new(), value }
}

fn labelled(name: &'static str, labels: Vec<(&'static str, String)>, value: f64) -> Sample {
    Sample { name, labels, value }
}

/// Everything that is known now.
pub(super) fn samples(node: &dyn Operated, uptime_seconds: f64) -> Vec<Sample> {
    let mut samples = identity(node, uptime_seconds);
    samples.extend(groups(node));
    samples.extend(journal(node));
    samples.extend(process::samples());
    samples
}

fn identity(node: &dyn Operated, uptime_seconds: f64) -> Vec<Sample> {
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    let who = vec![("cluster", node.cluster()), ("node", node.node().to_string())];
    let ready = missing(node).is_empty();
    let mut samples = vec![
        labelled("synod_build_info", version, 1.0),
        labelled("synod_node_info", who, 1.0),
        sample("synod_ready", flag(ready)),
        sample("synod_uptime_seconds", uptime_seconds),
        sample("synod_sessions", node.links() as f64),
    ];
    samples.extend(node.certificates().into_iter().map(|(plane, ends)| {
        let plane = vec![("plane", plane.to_owned())];
        labelled("synod_certificate_expires_timestamp_seconds", plane, ends as f64)
    }));
    samples.extend(node.peers().iter().map(|peer| {
        labelled("synod_peer_up", vec![("peer", peer.id.to_string())], flag(peer.alive))
    }));
    samples
}

fn groups(node: &dyn Operated) -> Vec<Sample> {
    let shards = node.shards();
    let roles =
        [(Role::Leader, "leader"), (Role::Follower, "follower"), (Role::Learner, "learner")];
    let of_role = |(role, word): (Role, &str)| {
        let count = shards.iter().filter(|shard| shard.role == role).count();
        labelled("synod_groups", vec![("role", word.to_owned())], count as f64)
    };
    let mut samples: Vec<Sample> = roles.into_iter().map(of_role).collect();
    let headless = shards.iter().filter(|shard| shard.leader.is_none()).count();
    let lag = shards.iter().map(|shard| shard.last.saturating_sub(shard.applied)).max();
    samples.push(sample("synod_groups_without_leader", headless as f64));
    samples.push(sample("synod_apply_lag_entries", lag.unwrap_or(0) as f64));
    samples.push(sample("synod_groups_diverged", node.divergences().len() as f64));
    // Before the shard map is known, as many as run, so that nobody is woken for it; `synod_ready` tells.
    let expected = node.groups_expected().unwrap_or(shards.len());
    samples.push(sample("synod_groups_expected", expected as f64));
    samples
}

fn journal(node: &dyn Operated) -> Vec<Sample> {
    let stats = node.journal();
    let mut samples = vec![
        sample("synod_journal_batches_total", stats.batches as f64),
        sample("synod_journal_operations_total", stats.operations as f64),
        sample("synod_journal_bytes_total", stats.bytes as f64),
        sample("synod_journal_waiting_bytes", stats.waiting_bytes as f64),
        sample("synod_journal_live_bytes", stats.live_bytes as f64),
        sample("synod_journal_segments", stats.segments as f64),
        sample("synod_journal_full", flag(stats.full)),
        sample("synod_disk_low", flag(stats.low)),
        sample("synod_disk_slow", flag(stats.slow)),
    ];
    samples.extend(stats.free_bytes.map(|free| sample("synod_disk_free_bytes", free as f64)));
    samples
}

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

/// Prometheus' text form, in the order of the list.
///
/// # Panics
/// When a sample is of a metric that is not in the list.
pub(super) fn text(samples: &[Sample]) -> String {
    let mut by_name: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        by_name.entry(sample.name).or_default().push(sample);
    }
    let mut text = String::new();
    for Metric { name, kind, help, .. } in list::all() {
        let Some(samples) = by_name.remove(name) else { continue };
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.word());
        for sample in samples {
            let _ = writeln!(text, "{name}{} {}", labels(&sample.labels), sample.value);
        }
    }
    assert!(by_name.is_empty(), "sampled and not in the list: {:?}", by_name.keys());
    text
}

fn labels(labels: &[(&str, String)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped =
        |value: &str| value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}
