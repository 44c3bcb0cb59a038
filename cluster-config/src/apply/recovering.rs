//! A cluster that lost its quorum for good goes on with one node. Nothing here knows what was lost with the others: whoever
//! asks for this has looked, and said so by name.

use crate::{ClusterConfig, Event, NodeId, NodeState, Refusal};

/// The survivor alone is left: it votes in every group, and is ready. The others' ids are not given again. What was said and
/// is not in its logs is not in this cluster's history any more, hence the new history epoch.
pub(super) fn recover(
    config: &mut ClusterConfig,
    survivor: NodeId,
) -> Result<Option<Event>, Refusal> {
    if !config.nodes.contains_key(&survivor) {
        return Err(Refusal::NoSuchNode(survivor));
    }
    let newest = config.nodes.keys().next_back().copied().unwrap_or_default();
    config.last_node = config.last_node.max(newest);
    let lost: Vec<NodeId> = config.nodes.keys().copied().filter(|id| *id != survivor).collect();
    for id in &lost {
        config.nodes.remove(id);
        super::trusting::forget(config, *id);
    }
    config.nodes.get_mut(&survivor).expect("checked above").state = NodeState::Ready;
    config.voters = vec![survivor];
    config.voters_moving = None;
    for shard in config.shards.values_mut() {
        shard.replicas = vec![survivor];
        shard.moving = None;
        shard.moves += 1;
    }
    config.history_epoch += 1;
    Ok(Some(Event::Recovered { survivor, lost }))
}
