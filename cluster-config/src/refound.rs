//! A cluster that begins with the state of another: what of group 0's state goes on, and what begins anew.
//!
//! Everything that users and operators rely on goes on: settings, token keys, operators, the audit log. What names
//! machines begins anew: the cluster's name, its nodes, its voters, the rights to come in. The same arguments give the same
//! cluster, so that each founder prepares the same state by itself.

use std::collections::BTreeMap;

use crate::apply::{check_founder, node_of, record, voters, within};
use crate::config::{NODES_MAX, REPLICATION_MAX};
use crate::{ClusterConfig, ClusterId, Door, Founder, NodeId, Refusal, Shard, place};

/// Who founds a cluster with the state of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refounding {
    /// The new cluster's name; never the old one's, so that no old node takes part.
    pub cluster: ClusterId,
    /// Its first nodes.
    pub nodes: BTreeMap<NodeId, Founder>,
    /// Voters of each shard; with fewer nodes, all of them.
    pub replication: u32,
    /// Who may come in, besides the operators of the state, who go on.
    pub door: Door,
    /// The time for the audit log: the same for every founder, hence that of the state and not of the clock.
    pub at_ms: u64,
}

impl ClusterConfig {
    /// The cluster that these founders begin with this one's state.
    ///
    /// # Errors
    /// When the name is the old one, or a founder is out of bounds.
    pub fn refounded(&self, by: &Refounding) -> Result<Self, Refusal> {
        within(by.cluster != self.cluster, "cluster: a restored cluster needs a name of its own,")?;
        within((1..=NODES_MAX).contains(&by.nodes.len()), "nodes")?;
        within((1..=REPLICATION_MAX).contains(&by.replication), "replication")?;
        by.nodes.values().try_for_each(check_founder)?;
        let nodes: BTreeMap<_, _> = by.nodes.iter().map(|(id, f)| (*id, node_of(f))).collect();
        let count = u32::try_from(self.shards.len()).expect("shards are bounded");
        let placed = place(&nodes, count, by.replication).into_values();
        let shards = self.shards.iter().zip(placed).map(|((group, shard), placed)| {
            (*group, Shard::new(shard.slots.clone(), placed.replicas))
        });
        let mut config = Self {
            cluster: by.cluster.clone(),
            epoch: self.epoch + 1,
            history_epoch: self.history_epoch + 1,
            voters: voters(&nodes),
            voters_moving: None,
            last_node: NodeId::default(),
            replication: by.replication,
            shards: shards.collect(),
            nodes,
            door: Door { operators: self.door.operators.clone(), ..by.door.clone() },
            ..self.clone()
        };
        let what =
            format!("cluster {} founded with the state of cluster {}", by.cluster, self.cluster);
        within(config.door.is_within_bounds(), "door")?;
        record(&mut config, by.at_ms, "restore", what);
        config.assert_sound();
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Addresses, Command, GroupId, NodeState, TokenKey, apply};

    fn founders(ids: &[u64]) -> BTreeMap<NodeId, Founder> {
        let address = |port| format!("127.0.0.1:{port}");
        let addresses = Addresses { client: address(1), peer: address(2), operations: address(3) };
        let founder = Founder { addresses, zone: None, weight: 1 };
        ids.iter().map(|id| (NodeId(*id), founder.clone())).collect()
    }

    fn id(name: &str) -> ClusterId {
        ClusterId::parse(name).expect("legal")
    }

    fn by(nodes: &[u64], replication: u32) -> Refounding {
        let (nodes, door) = (founders(nodes), Door::default());
        Refounding { cluster: id("new"), nodes, replication, door, at_ms: 9 }
    }

    fn three() -> ClusterConfig {
        let mut state = None;
        let key = TokenKey { id: 7, seed: [7; 32], created_at_ms: 1, retired: false };
        let bootstrap = Command::Bootstrap {
            cluster: id("old"),
            nodes: founders(&[1, 2, 3]),
            shards: 4,
            replication: 3,
            token_key: key,
            door: Door::default(),
        };
        apply(&mut state, 1, "system", &bootstrap);
        let lost = Command::SetNodeState { node: NodeId(3), state: NodeState::Lost };
        apply(&mut state, 2, "anna", &lost);
        state.expect("founded")
    }

    #[test]
    fn what_users_rely_on_goes_on_and_what_names_machines_begins_anew() {
        let old = three();
        let by = by(&[8], 3);
        let new = old.refounded(&by).expect("sound");
        assert_eq!((&new.keys, &new.settings), (&old.keys, &old.settings));
        assert_eq!((new.epoch, new.history_epoch), (old.epoch + 1, 1));
        assert_eq!((&new.voters[..], new.nodes.len()), (&[NodeId(8)][..], 1));
        for (group, shard) in &new.shards {
            assert_eq!(shard.slots, old.shards[group].slots, "no slot moves");
            assert_eq!(shard.replicas, [NodeId(8)]);
        }
        assert_eq!(new.audit[..old.audit.len()], old.audit[..]);
        assert_eq!(new.audit.last().expect("recorded").actor, "restore");
        let again =
            new.refounded(&Refounding { cluster: id("newer"), nodes: founders(&[1, 2, 3]), ..by });
        let again = again.expect("sound");
        assert_eq!(again.history_epoch, 2);
        assert_eq!(again.replicas(GroupId(1)).len(), 3);
    }

    #[test]
    fn the_old_name_and_impossible_founders_are_refused() {
        let old = three();
        let by = by(&[1], 1);
        for wrong in [
            Refounding { cluster: id("old"), ..by.clone() },
            Refounding { nodes: BTreeMap::new(), ..by.clone() },
            Refounding { replication: 0, ..by.clone() },
        ] {
            assert!(matches!(old.refounded(&wrong), Err(Refusal::OutOfBounds { .. })));
        }
        assert_eq!(old.refounded(&by), old.refounded(&by), "each founder finds the same");
    }
}
