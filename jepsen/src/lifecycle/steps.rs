//! What happens to the cluster, in order. Each step ends when the cluster is at rest again.

use std::time::Duration;

use tokio::time::Instant;

use super::load::Load;
use super::site::Cluster;
use super::{Kind, Lifecycle, Step};
use crate::cluster::time::rest;

/// How long after a kill sends are watched, and the shortest that any step is.
const AFTERMATH: Duration = Duration::from_secs(3);

/// Measures one step after the other.
struct Watch<'a, T: FnMut(Step)> {
    load: &'a Load,
    calm: Duration,
    tell: T,
}

impl<T: FnMut(Step)> Watch<'_, T> {
    /// Waits as long as the step will be compared with, then takes it.
    fn step(
        &mut self,
        name: impl Into<String>,
        act: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        rest(self.calm);
        self.at_once(name, Kind::Change, act)
    }

    fn at_once(
        &mut self,
        name: impl Into<String>,
        kind: Kind,
        act: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        let begun = Instant::now();
        act()?;
        let took = begun.elapsed();
        rest(AFTERMATH.saturating_sub(took));
        let before = self.load.seen(begun - self.calm, begun);
        let end = begun + took.max(AFTERMATH);
        self.load.answered(end)?;
        let during = self.load.seen(begun, end);
        (self.tell)(Step {
            name: name.into(),
            took,
            acknowledged: during.acknowledged,
            before_ms: before.p99_ms,
            before_longest_ms: before.longest_ms,
            during_ms: during.p99_ms,
            longest_ms: during.longest_ms,
            kind,
        });
        Ok(())
    }
}

/// The whole life. `tell` is given each step when it is over.
pub(super) fn run(
    plan: &Lifecycle<'_>,
    cluster: &mut Cluster,
    load: &Load,
    tell: impl FnMut(Step),
) -> Result<(), String> {
    let calm = Duration::from_secs(plan.seconds);
    let mut watch = Watch { load, calm, tell };
    if plan.only_handovers {
        return hand_over(plan, cluster, &mut watch);
    }
    watch.step("grow from three to five", || {
        let token = cluster.token(&["node", "join-token", "--uses", "2"])?;
        cluster.join(&token)?;
        cluster.join(&token)?;
        cluster.settle()
    })?;
    hand_over(plan, cluster, &mut watch)?;
    watch.step("drain node 1", || drain(cluster))?;
    watch.step("undrain node 1", || {
        cluster.ask(&["node", "undrain", "1"])?;
        cluster.settle()
    })?;
    // The kill has a measure of its own; the replacement is compared with the time after it.
    watch.at_once("node 3 and its disk are gone", Kind::Kill, || cluster.destroy(3))?;
    watch.step("replace node 3", || {
        let token = cluster.token(&["node", "replace", "3"])?;
        cluster.join(&token)?;
        gone(cluster, 3)
    })?;
    watch.step("decommission node 2: four are left", || {
        cluster.ask(&["node", "decommission", "2"])?;
        gone(cluster, 2)
    })?;
    cluster.stop(2)?;
    cluster.sites.retain(|site| site.node != 2);
    watch.step("split shard 1", || {
        cluster.ask(&["shard", "split", "1"])?;
        cluster.until("the halves are led", |cluster| {
            let groups = cluster.ask(&["shard", "show", "5"])?;
            Ok(groups["leader"].is_u64())
        })?;
        cluster.settle()
    })?;
    watch.step("restart every node in turn", || {
        let nodes: Vec<u64> = cluster.sites.iter().map(|site| site.node).collect();
        for node in nodes {
            cluster.ask(&["node", "drain", &node.to_string()])?;
            leads_nothing(cluster, node)?;
            cluster.stop(node)?;
            cluster.revive(node)?;
            back(cluster, node)?;
            cluster.ask(&["node", "undrain", &node.to_string()])?;
            cluster.settle()?;
        }
        Ok(())
    })?;
    for kill in 0..plan.kills {
        rest(calm);
        let place = kill as usize % cluster.sites.len();
        let mut nodes: Vec<u64> = cluster.sites.iter().map(|site| site.node).collect();
        nodes.sort_unstable();
        let node = nodes[place];
        watch.at_once(format!("kill node {node}"), Kind::Kill, || cluster.kill(node))?;
        cluster.revive(node)?;
        back(cluster, node)?;
        cluster.settle()?;
    }
    Ok(())
}

/// Waits until the cluster has forgotten a node and is at rest.
fn gone(cluster: &Cluster, node: u64) -> Result<(), String> {
    cluster.until("the node is forgotten", |cluster| {
        Ok(cluster.nodes()?.iter().all(|listed| listed["node"] != node))
    })?;
    cluster.settle()
}

/// Waits until a node that was started again serves.
fn back(cluster: &Cluster, node: u64) -> Result<(), String> {
    cluster.until("the node is heard again", |cluster| {
        let listed = cluster.nodes()?;
        let found = listed.iter().find(|listed| listed["node"] == node);
        Ok(found.is_some_and(|found| found["alive"] == true))
    })
}

fn leader(cluster: &Cluster, shard: &str) -> Result<u64, String> {
    let shown = cluster.ask(&["shard", "show", shard])?;
    shown["leader"].as_u64().ok_or_else(|| format!("nobody leads shard {shard}"))
}

/// Hands shard 1 over from voter to voter, as often as is planned.
fn hand_over<T: FnMut(Step)>(
    plan: &Lifecycle<'_>,
    cluster: &Cluster,
    watch: &mut Watch<'_, T>,
) -> Result<(), String> {
    cluster.ask(&["shard", "freeze", "1"])?;
    for _ in 0..plan.handovers {
        // So that what it is compared with is nothing of the last one.
        rest(watch.calm);
        let shown = cluster.ask(&["shard", "show", "1"])?;
        let voters: Vec<u64> = shown["votersInForce"]
            .as_array()
            .map(|voters| voters.iter().filter_map(serde_json::Value::as_u64).collect())
            .unwrap_or_default();
        let now = leader(cluster, "1")?;
        // In turn, so that each hands over to each other one.
        let next = voters.iter().find(|voter| **voter > now).or(voters.first());
        let to = *next.filter(|to| **to != now).ok_or("nobody to hand over to")?;
        watch.at_once(format!("node {now} hands over to node {to}"), Kind::Handover, || {
            cluster.ask(&["shard", "transfer", "1", "--to", &to.to_string()])?;
            cluster.until("it leads", |cluster| Ok(leader(cluster, "1")? == to))
        })?;
    }
    cluster.ask(&["shard", "freeze", "1", "--off"])?;
    cluster.settle()
}

fn drain(cluster: &Cluster) -> Result<(), String> {
    cluster.ask(&["node", "drain", "1"])?;
    leads_nothing(cluster, 1)
}

fn leads_nothing(cluster: &Cluster, node: u64) -> Result<(), String> {
    cluster.until("it leads nothing", |cluster| {
        for shard in 0..=4 {
            if leader(cluster, &shard.to_string())? == node {
                return Ok(false);
            }
        }
        Ok(true)
    })
}
