//! What happened between two sights of a cluster. Nothing here asks or prints.

use std::{collections::BTreeMap, net::SocketAddr};

use tokio::time::Instant;

use crate::{
    operations::{AskError, NodeStatus},
    scrape::Scrape,
    status::Answers,
};

/// Every node at one moment.
pub(super) struct Sight {
    pub(super) at: Instant,
    answers: Answers,
    scrapes: BTreeMap<SocketAddr, Scrape>,
}

impl Sight {
    pub(super) fn new(
        at: Instant,
        nodes: Vec<(SocketAddr, Result<NodeStatus, AskError>, Vec<u8>)>,
    ) -> Sight {
        let mut scrapes = BTreeMap::new();
        let mut answers = Vec::new();
        for (address, status, metrics) in nodes {
            scrapes.insert(address, Scrape::parse(&String::from_utf8_lossy(&metrics)));
            answers.push((address, status));
        }
        Sight { at, answers: Answers { nodes: answers, at: "operations" }, scrapes }
    }

    /// Whether no node answered.
    pub(super) fn nobody(&self) -> bool {
        self.answers.living().next().is_none()
    }

    /// How far the best replica of each group has applied.
    fn applied(&self) -> BTreeMap<u32, u64> {
        let mut applied = BTreeMap::new();
        for shard in self.answers.living().flat_map(|node| &node.shards) {
            let most = applied.entry(shard.group).or_insert(0);
            *most = shard.applied.max(*most);
        }
        applied
    }
}

/// A cluster over some time.
pub(super) struct Look {
    pub(super) cluster: Option<String>,
    pub(super) health: &'static str,
    pub(super) seconds: f64,
    pub(super) nodes: Vec<NodeLook>,
    /// The hottest first.
    pub(super) groups: Vec<Group>,
}

/// A node over some time. What it does not tell is `None`.
pub(super) struct NodeLook {
    pub(super) operations: SocketAddr,
    /// `None`: it does not answer.
    pub(super) node: Option<u64>,
    pub(super) leads: usize,
    pub(super) links: u64,
    pub(super) sent: Option<f64>,
    pub(super) delivered: Option<f64>,
    pub(super) commit: Option<f64>,
    pub(super) sync: Option<f64>,
    pub(super) waiting: Option<f64>,
    pub(super) lag: Option<f64>,
    pub(super) cpu: Option<f64>,
    pub(super) memory: Option<f64>,
    pub(super) free: Option<f64>,
}

/// A group over some time.
#[derive(Debug, PartialEq)]
pub(super) struct Group {
    pub(super) id: u32,
    pub(super) leader: Option<u64>,
    pub(super) entries: f64,
    /// Of the replica that lags most.
    pub(super) lag: u64,
}

impl Look {
    pub(super) fn between(before: &Sight, after: &Sight) -> Look {
        let seconds = (after.at - before.at).as_secs_f64();
        let nothing = Scrape::default();
        let nodes = after.answers.nodes.iter().map(|(address, status)| {
            let of = |sight: &'_ Sight| sight.scrapes.get(address).cloned();
            let (earlier, now) = (of(before).unwrap_or_default(), of(after));
            let now = now.as_ref().unwrap_or(&nothing);
            node(*address, status.as_ref().ok(), (&earlier, now), seconds)
        });
        Look {
            cluster: after.answers.living().next().map(|node| node.cluster.clone()),
            health: after.answers.health().word(),
            seconds,
            nodes: nodes.collect(),
            groups: groups(before, after, seconds),
        }
    }
}

fn node(
    operations: SocketAddr,
    status: Option<&NodeStatus>,
    (before, now): (&Scrape, &Scrape),
    seconds: f64,
) -> NodeLook {
    let rate = |metric| now.rate(before, metric, seconds);
    NodeLook {
        operations,
        node: status.map(|status| status.node),
        leads: status.map_or(0, NodeStatus::leads),
        links: status.map_or(0, |status| status.links),
        sent: rate("synod_messages_sent_total"),
        delivered: rate("synod_messages_delivered_total"),
        commit: now.quantile(before, "raft_commit_seconds", 0.99),
        sync: now.quantile(before, "synod_disk_sync_seconds", 0.99),
        waiting: now.sum("synod_journal_waiting_bytes"),
        lag: now.sum("synod_apply_lag_entries"),
        cpu: rate("process_cpu_seconds_total"),
        memory: now.sum("process_resident_memory_bytes"),
        free: now.sum("synod_disk_free_bytes"),
    }
}

fn groups(before: &Sight, after: &Sight, seconds: f64) -> Vec<Group> {
    let (earlier, now) = (before.applied(), after.applied());
    let group = |(id, (_, leader, _)): (u32, (u64, Option<u64>, Vec<u64>))| {
        let applied = now.get(&id).copied().unwrap_or(0);
        let grown = applied.saturating_sub(earlier.get(&id).copied().unwrap_or(applied));
        let shards = after.answers.living().flat_map(|node| &node.shards);
        let replicas = shards.filter(|shard| shard.group == id);
        let lag = replicas.map(|shard| applied.saturating_sub(shard.applied)).max();
        Group { id, leader, entries: grown as f64 / seconds, lag: lag.unwrap_or(0) }
    };
    let mut groups: Vec<Group> = after.answers.shards().into_iter().map(group).collect();
    groups.sort_by(|a, b| b.entries.total_cmp(&a.entries).then(b.lag.cmp(&a.lag)));
    groups
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::operations::ShardStatus;

    fn sight(at: Instant, applied: [u64; 2], sent: u32) -> Sight {
        let shard = |group, applied| ShardStatus {
            group,
            leader: Some(1),
            role: "leader".into(),
            term: 1,
            applied,
            last: applied,
        };
        let node = |id, applied: [u64; 2]| NodeStatus {
            cluster: "c".into(),
            node: id,
            links: 3,
            now_ms: 0,
            nodes: Vec::new(),
            shards: vec![shard(1, applied[0]), shard(2, applied[1])],
            damaged: Vec::new(),
        };
        let metrics = format!("synod_messages_sent_total {sent}\n").into_bytes();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let behind = applied.map(|applied| applied.saturating_sub(5));
        let away = AskError::Status(address(3), 503);
        Sight::new(
            at,
            vec![
                (address(1), Ok(node(1, applied)), metrics),
                (address(2), Ok(node(2, behind)), Vec::new()),
                (address(3), Err(away), Vec::new()),
            ],
        )
    }

    #[tokio::test]
    async fn a_look_is_what_happened_in_between_and_the_hottest_group_is_first() {
        let at = Instant::now();
        let before = sight(at, [100, 100], 50);
        let after = sight(at + Duration::from_secs(2), [110, 300], 90);
        let look = Look::between(&before, &after);
        let group = |id, entries| Group { id, leader: Some(1), entries, lag: 5 };
        assert_eq!(look.groups, [group(2, 100.0), group(1, 5.0)]);
        assert_eq!(look.nodes[0].sent, Some(20.0));
        assert_eq!((look.nodes[0].leads, look.nodes[1].sent), (2, None));
        assert_eq!(look.nodes[2].node, None, "one is away");
        assert_eq!((look.health, look.seconds), ("degraded", 2.0));
    }
}
