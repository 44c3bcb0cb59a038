//! How a shard becomes two. The map says which slots shall be a group of their own; the shard's log decides when they are, and
//! the new group's leader says that it serves. A wish is never taken back: whoever leads the shard next goes on with it.

use std::ops::Range;

use super::within;
use crate::config::{SHARDS_MAX, is_end_of};
use crate::{ClusterConfig, Event, GroupId, Refusal, Shard, Split};

type Decided = Result<Option<Event>, Refusal>;

/// Wishes that these slots become a group of their own.
pub(super) fn split(
    config: &mut ClusterConfig,
    group: GroupId,
    slots: &Range<u16>,
    if_epoch: u64,
) -> Decided {
    if config.epoch != if_epoch {
        return Err(Refusal::StalePlan { planned_at: if_epoch, epoch: config.epoch });
    }
    let (to, groups) = (config.next_group(), config.groups_to_be());
    let shard = config.shards.get_mut(&group).ok_or(Refusal::NoSuchGroup(group))?;
    if shard.splitting.is_some() {
        return Err(Refusal::StillSplits(group));
    }
    if shard.moving.is_some() {
        return Err(Refusal::StillMoves(group));
    }
    if shard.frozen {
        return Err(Refusal::Frozen(group));
    }
    within(is_end_of(slots, &shard.slots), "slots")?;
    within(groups < SHARDS_MAX as usize, "shards")?;
    shard.splitting = Some(Split { to, slots: slots.clone() });
    Ok(Some(Event::SplitBegun { group, to, slots: slots.clone() }))
}

/// The new group serves. `None`: that was known.
pub(super) fn finish(config: &mut ClusterConfig, group: GroupId, to: GroupId) -> Decided {
    let is_done = config.shards.get(&to).is_some_and(|new| new.parent == Some(group));
    let shard = config.shards.get_mut(&group).ok_or(Refusal::NoSuchGroup(group))?;
    let Some(split) = shard.splitting.take_if(|split| split.to == to) else {
        return if is_done { Ok(None) } else { Err(Refusal::NotSplitting(group)) };
    };
    let mut replicas = shard.replicas.clone();
    // Its first leader is another node's: a hot shard's halves are led by two.
    replicas.rotate_left(1);
    let new = Shard {
        parent: Some(group),
        moves: shard.moves,
        ..Shard::new(split.slots.clone(), replicas)
    };
    let rest = match split.slots.start == shard.slots.start {
        true => split.slots.end..shard.slots.end,
        false => shard.slots.start..split.slots.start,
    };
    shard.slots = rest;
    let before = config.shards.insert(to, new);
    assert!(before.is_none(), "a number is given once");
    Ok(Some(Event::SplitFinished { group, to }))
}
