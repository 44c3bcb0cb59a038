//! Looks after all groups of a node from time to time: gives up on what takes too long, finds groups
//! without a leader, gives groups back to their preferred leaders or away from a slow disk, and decides when to snapshot and how
//! much log to keep. Everything urgent happens elsewhere, at once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use openraft::async_runtime::watch::WatchReceiver as _;
use parking_lot::RwLock;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{GroupId, core::Core};

/// How often all groups are looked at. A tenth of what a human notices; costs next to nothing.
const TICK: Duration = Duration::from_millis(100);
/// Groups that a node with a slow disk hands over in one tick.
const GIVEN_UP_AT_ONCE: usize = 4;
/// Snapshots and purges are looked at once in this many ticks.
const HOUSEKEEPING_TICKS: u64 = 10;
/// When one group is due, all that have gone this part of the way take a snapshot with it: they share
/// the tables, so one flush serves them all.
const ALSO_DUE_PART: u64 = 4;
/// Entries that must be purgeable before a purge is asked for.
const PURGE_ENTRIES_MIN: u64 = 64;

/// The groups of a node.
pub(crate) type Groups = RwLock<BTreeMap<GroupId, Arc<Core>>>;

/// Runs until the groups are gone.
pub(crate) async fn run(groups: Weak<Groups>, journal: store::Journal, slow_disk: Arc<AtomicBool>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0u64;
    loop {
        let now = ticks.tick().await;
        let Some(groups) = groups.upgrade() else {
            return;
        };
        let cores: Vec<_> = groups.read().values().cloned().collect();
        for core in &cores {
            core.tick(now);
        }
        let slow = journal.look_at_disk();
        if slow_disk.swap(slow, Ordering::AcqRel) != slow {
            tracing::warn!(slow, "the journal's disk");
        }
        if slow {
            give_up(&cores);
        } else {
            give_back(&cores, now);
        }
        number += 1;
        if number.is_multiple_of(HOUSEKEEPING_TICKS) {
            let room = !journal.stats().low;
            cores.iter().for_each(|core| core.line.set_room(room));
            take_snapshots(&cores);
            cores.iter().for_each(purge);
            let led = cores.iter().filter(|core| core.status.borrow().is_leader).count();
            metrics::gauge!("raft_groups_led").set(led as f64);
        }
    }
}

/// At most one transfer a tick, so that a returning node is not flooded.
fn give_back(cores: &[Arc<Core>], now: Instant) {
    let mut due = cores.iter().filter(|core| core.should_give_back(now));
    let Some(core) = due.next() else {
        return;
    };
    let core = core.clone();
    core.runtime.clone().spawn(async move {
        if let Err(error) = core.transfer(core.preferred()).await {
            tracing::debug!(group = %core.id, %error, "the preferred leader did not take over");
        }
    });
}

/// This node's disk is slow: whoever has a better one should lead. A few groups a tick, so that they do not all stand still
/// at once; 256 of them are gone within seven seconds.
fn give_up(cores: &[Arc<Core>]) {
    let leads = cores.iter().filter_map(|core| Some((core.clone(), core.successor()?)));
    for (core, to) in leads.take(GIVEN_UP_AT_ONCE) {
        core.runtime.clone().spawn(async move {
            tracing::info!(group = %core.id, %to, "the disk is slow, another node leads");
            if let Err(error) = core.transfer(to).await {
                tracing::info!(group = %core.id, %to, %error, "it did not take over");
            }
        });
    }
}

fn take_snapshots(cores: &[Arc<Core>]) {
    if !cores.iter().any(|core| is_due(core, 1)) {
        return;
    }
    for core in cores.iter().filter(|core| is_due(core, ALSO_DUE_PART)) {
        let engine = core.engine.clone();
        core.runtime.spawn(async move {
            // An engine that has ended is noticed by `follow`.
            let _ = engine.trigger().snapshot().await;
        });
    }
}

/// Whether the group has gone this part of the way to its next snapshot.
fn is_due(core: &Core, part: u64) -> bool {
    let snapshot = core.engine.metrics().borrow_watched().snapshot.map_or(0, |at| at.index);
    let entries = core.seat.applied_index().unwrap_or(0).saturating_sub(snapshot);
    let bytes = core.log.bytes_since_snapshot();
    entries > 0
        && (entries >= core.config.snapshot_entries / part
            || bytes >= core.config.snapshot_bytes / part)
}

/// Purges what the snapshot covers, but keeps a tail for replicas that were away for a while.
fn purge(core: &Arc<Core>) {
    let (snapshot, purged) = {
        let metrics = core.engine.metrics();
        let metrics = metrics.borrow_watched();
        (metrics.snapshot.map(|at| at.index), metrics.purged.map_or(0, |at| at.index + 1))
    };
    let Some(snapshot) = snapshot else {
        return;
    };
    let by_count = (snapshot + 1).saturating_sub(core.config.keep_entries);
    let by_bytes = core.log.index_before_last(core.config.keep_bytes);
    let keep_from = by_count.max(by_bytes).min(snapshot + 1);
    if keep_from < purged + PURGE_ENTRIES_MIN.min(core.config.keep_entries.max(1)) {
        return;
    }
    let (engine, upto) = (core.engine.clone(), keep_from - 1);
    core.runtime.spawn(async move {
        // An engine that has ended is noticed by `follow`.
        let _ = engine.trigger().purge_log(upto).await;
    });
}
