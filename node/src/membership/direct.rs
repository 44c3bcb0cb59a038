//! The leader of group 0 says what to do next: nodes that were silent for too long are lost, those that are heard again
//! are ready again, and the planner's next moves are proposed.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster_config::{ClusterConfig, Command, NodeState, Outcome, PlanLimits, plan};
use raft::{GroupId, NodeId};
use tokio::time::Instant;

use super::{LOOK_AGAIN, Membership};

/// Since when each silent node has not been heard, in the eyes of the one who leads group 0. Whoever leads next begins
/// to count anew: a node is given up late rather than early.
#[derive(Default)]
struct Silence(BTreeMap<NodeId, Instant>);

impl Membership {
    /// Looks after the cluster for ever.
    pub(super) async fn direct(&self) {
        let mut configured = self.council.configured();
        let mut silence = Silence::default();
        loop {
            let config = configured.borrow_and_update().clone();
            let council = self.raft.group(GroupId::CLUSTER);
            let leads = council.is_some_and(|group| group.status().is_leader);
            match config {
                Some(config) if leads => self.carry_out(next(&config, &mut silence, self)).await,
                _ => silence = Silence::default(),
            }
            // What is gone ends this with the process.
            let _ = tokio::time::timeout(LOOK_AGAIN, configured.changed()).await;
        }
    }

    /// Proposes them in order, and none after the first that is not accepted: what comes next is planned again.
    async fn carry_out(&self, commands: Vec<Command>) {
        for command in commands {
            match self.propose(&command).await {
                Some(Outcome::Accepted { .. }) => {}
                outcome => {
                    tracing::debug!(?command, ?outcome, "planned again");
                    return;
                }
            }
        }
    }

    fn hears(&self, node: NodeId) -> bool {
        node == self.node || self.peers.alive(node.0)
    }
}

/// What to propose now. While anybody's state is not what it should be, nothing else is planned.
fn next(config: &ClusterConfig, silence: &mut Silence, ears: &Membership) -> Vec<Command> {
    let changed = silence.look(config, |node| ears.hears(node), Instant::now());
    if !changed.is_empty() {
        return changed;
    }
    if !config.settings.rebalance {
        return Vec::new();
    }
    plan(config, PlanLimits::default())
}

impl Silence {
    /// The nodes whose state is another now.
    fn look(
        &mut self,
        config: &ClusterConfig,
        hears: impl Fn(NodeId) -> bool,
        now: Instant,
    ) -> Vec<Command> {
        self.0.retain(|node, _| config.nodes.contains_key(node) && !hears(*node));
        let mut changed = Vec::new();
        for (id, node) in &config.nodes {
            let silent = match hears(*id) {
                true => Duration::ZERO,
                false => now.duration_since(*self.0.entry(*id).or_insert(now)),
            };
            if let Some(state) = becomes(node.state, silent, config.settings.repair_after) {
                changed.push(Command::SetNodeState { node: *id, state });
            }
        }
        changed
    }
}

/// What becomes of a node that has been silent for so long.
fn becomes(state: NodeState, silent: Duration, repair_after: Duration) -> Option<NodeState> {
    match state {
        NodeState::Joining | NodeState::Ready | NodeState::Draining if silent >= repair_after => {
            Some(NodeState::Lost)
        }
        NodeState::Lost if silent.is_zero() => Some(NodeState::Ready),
        // Whoever leaves does so whether it is heard or not; whoever joins says itself when it is ready.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use cluster_config::{Addresses, ClusterId, Door, Founder, TokenKey, apply};

    use super::*;

    fn cluster() -> ClusterConfig {
        let at = || "h:1".to_owned();
        let addresses = || Addresses { client: at(), peer: at(), operations: at() };
        let founder = |id| (NodeId(id), Founder { addresses: addresses(), zone: None, weight: 1 });
        let bootstrap = Command::Bootstrap {
            cluster: ClusterId::parse("demo").expect("legal"),
            nodes: (1..=3).map(founder).collect(),
            shards: 2,
            replication: 3,
            token_key: TokenKey { id: 1, seed: [1; 32], created_at_ms: 0, retired: false },
            door: Door::default(),
        };
        let mut config = None;
        apply(&mut config, 0, "test", &bootstrap);
        config.expect("founded")
    }

    fn lost(node: u64) -> Command {
        Command::SetNodeState { node: NodeId(node), state: NodeState::Lost }
    }

    #[test]
    fn whoever_is_silent_for_long_is_lost_and_ready_when_it_is_heard_again() {
        let mut config = cluster();
        let after = config.settings.repair_after;
        let (mut silence, begun) = (Silence::default(), Instant::now());
        let hears = |node: NodeId| node != NodeId(2);
        assert_eq!(silence.look(&config, hears, begun), []);
        assert_eq!(silence.look(&config, hears, begun + after - Duration::from_secs(1)), []);
        assert_eq!(silence.look(&config, hears, begun + after), [lost(2)]);
        config.nodes.get_mut(&NodeId(2)).expect("there").state = NodeState::Lost;
        assert_eq!(silence.look(&config, hears, begun + after), [], "that is known");
        let ready = Command::SetNodeState { node: NodeId(2), state: NodeState::Ready };
        assert_eq!(silence.look(&config, |_| true, begun + after), [ready]);
    }

    #[test]
    fn a_sign_of_life_in_between_begins_the_count_anew() {
        let config = cluster();
        let after = config.settings.repair_after;
        let (mut silence, begun) = (Silence::default(), Instant::now());
        let hears = |node: NodeId| node != NodeId(2);
        silence.look(&config, hears, begun);
        silence.look(&config, |_| true, begun + after / 2);
        silence.look(&config, hears, begun + after / 2);
        assert_eq!(silence.look(&config, hears, begun + after), []);
        assert_eq!(silence.look(&config, hears, begun + after / 2 + after), [lost(2)]);
    }

    #[test]
    fn whoever_leaves_is_not_called_back() {
        for silent in [Duration::ZERO, Duration::MAX] {
            assert_eq!(becomes(NodeState::Leaving, silent, Duration::from_secs(10)), None);
        }
    }
}
