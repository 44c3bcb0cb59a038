//! What this node carries: starts the group of every shard, at the beginning and whenever a split has made another one.
//!
//! Law: a group starts only when no other group here holds any of its slots. So one that was split off starts where the
//! split was applied, with the state that this left; where the old group came by a snapshot from after the split, with
//! nothing, to be sent all by its leader; and where the old group lags, not yet.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use cluster_config::{ClusterConfig, GroupId, NodeId, SHARDS_MAX};
use proto::keys;
use raft::{Fatal, Raft};
use store::tables::{Direction, KeyRange, Tables};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::membership::{Membership, founding};
use crate::router::{Owners, Router};
use crate::shard::{self, Outbox, Publish, ShardMachine};

/// How often is looked for groups to start, when nothing says that there are any.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the groups of a node are built on.
pub(crate) struct Carrying {
    /// Where they run.
    pub(crate) raft: Raft,
    /// Their rows.
    pub(crate) tables: Arc<dyn Tables>,
    /// Where their events go.
    pub(crate) publish: Arc<dyn Publish>,
    /// The way to all shards.
    pub(crate) router: Router,
    /// Who owns which slots.
    pub(crate) owners: Owners,
    /// Looks after who belongs to each.
    pub(crate) membership: Membership,
    /// Ends their tasks.
    pub(crate) stop: CancellationToken,
}

impl Carrying {
    /// Goes on until `stop`, with the tasks of the groups that run already.
    pub(crate) async fn run(self, mut tasks: JoinSet<()>) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.go_on(&mut tasks)).await;
        tasks.shutdown().await;
    }

    async fn go_on(&self, tasks: &mut JoinSet<()>) {
        let mut configured = self.membership.council.configured();
        let mut news = self.owners.news();
        loop {
            if let Some(config) = configured.borrow_and_update().clone() {
                self.owners.learn(&config);
            }
            news.mark_unchanged();
            match self.start(tasks).await {
                Ok(()) => {}
                Err(raft::Error::Fatal(fatal)) => self.raft.fail(fatal),
                Err(error) => tracing::warn!(%error, "a group starts later"),
            }
            let changed = async {
                tokio::select! {
                    changed = configured.changed() => changed.is_ok(),
                    changed = news.changed() => changed.is_ok(),
                }
            };
            // What is gone ends this with the process.
            let _ = tokio::time::timeout(LOOK_AGAIN, changed).await;
        }
    }

    /// Starts every group that can start now.
    ///
    /// # Errors
    /// When one cannot; those before it run.
    pub(crate) async fn start(&self, tasks: &mut JoinSet<()>) -> Result<(), raft::Error> {
        let config = self.membership.council.config();
        // In the order of their numbers: what came of a group, after it.
        for (group, slots) in self.due(&config)? {
            if self.owners.is_free(group, &slots) {
                self.start_one(&config, group, slots, tasks).await?;
            }
        }
        Ok(())
    }

    /// The groups that do not run yet, with their slots: those of the map, and those whose beginning lies here.
    fn due(&self, config: &ClusterConfig) -> Result<BTreeMap<GroupId, Range<u16>>, Fatal> {
        let of_map = |id: &GroupId| Some((*id, config.slots_at_first(*id)?));
        let mut due: BTreeMap<_, _> = config.shards.keys().filter_map(of_map).collect();
        let range = keys::applied_range();
        let range = KeyRange::new(range.start, range.end);
        let rows = self.tables.scan(range, Direction::Ascending, 1 + SHARDS_MAX as usize)?;
        for (key, row) in rows {
            let group = keys::decode_applied(&key).map_err(|e| Fatal::new(e.to_string()))?;
            if let Some(slots) = shard::slots_in_force(&row)? {
                due.insert(group, slots);
            }
        }
        due.retain(|group, _| self.raft.group(*group).is_none());
        Ok(due)
    }

    async fn start_one(
        &self,
        config: &ClusterConfig,
        id: GroupId,
        slots: Range<u16>,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), raft::Error> {
        let outbox = Outbox::new(id, Arc::clone(&self.tables), self.router.clone());
        let machine = ShardMachine::open(
            id,
            slots,
            Arc::clone(&self.tables),
            Arc::clone(&self.publish),
            outbox.wake(),
            self.owners.clone(),
        )?;
        let founding = founding(config, id, self.membership.node);
        let preferred = preferred(config, id).unwrap_or(self.membership.node);
        let group = self.raft.start(id, Box::new(machine), founding, preferred).await?;
        let (membership, stop) = (self.membership.clone(), self.stop.clone());
        tasks.spawn(outbox.run(group.clone(), self.stop.clone()));
        tasks.spawn(async move {
            stop.run_until_cancelled(membership.follow(group)).await;
        });
        self.owners.tell();
        Ok(())
    }
}

/// Who should lead a group, also one that the map will only show when it serves; `None`: that is not known here.
fn preferred(config: &ClusterConfig, id: GroupId) -> Option<NodeId> {
    if let Some(first) = config.voters_wished(id).first() {
        return Some(*first);
    }
    // As the map will have it: one of those who hear of the split second, so that a majority has begun when it campaigns.
    let (group, _) = config.split_into(id)?;
    let voters = config.voters_wished(group);
    voters.get(1).or(voters.first()).copied()
}
