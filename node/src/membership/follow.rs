//! The leader of a group takes it where the map says, one step at a time, and says so when it has arrived.

use std::sync::Arc;
use std::time::Duration;

use cluster_config::{ClusterConfig, Command, Outcome};
use raft::{Group, GroupStatus, NodeId, Progress, Wish};

use super::{LOOK_AGAIN, Membership, wish};

/// The pause before a step is tried again that could not be taken: somebody must catch up, or leads no more.
pub(super) const STEP_AGAIN: Duration = Duration::from_millis(100);
/// How long a node that was removed is still told what group 0 decides: long enough to hear that it was.
const FAREWELL: Duration = Duration::from_secs(2);

impl Membership {
    /// Looks after one group for ever.
    pub(crate) async fn follow(&self, group: Group) {
        let mut configured = self.council.configured();
        let mut preferred = None;
        loop {
            let config = configured.borrow_and_update().clone();
            let pause = match config {
                Some(config) => {
                    self.prefer(&group, &config, &mut preferred).await;
                    self.look_after(&group, &config).await
                }
                None => LOOK_AGAIN,
            };
            // What is gone ends this with the process.
            let _ = tokio::time::timeout(pause, configured.changed()).await;
        }
    }

    /// One look; how long to wait for the next one.
    async fn look_after(&self, group: &Group, config: &ClusterConfig) -> Duration {
        let status = group.status();
        if config.replicas(group.id()).is_empty() {
            // Until the map shows it there is nowhere else to go.
            return self.begun(group, &status).await;
        }
        if !status.is_leader {
            return LOOK_AGAIN;
        }
        if let Some(split) = self.split_due(group, &status, config) {
            return self.split(group, &split).await;
        }
        let wished = wish(config, group.id());
        if !is_as_wished(&status, &wished) {
            return self.step(group, &status, &wished).await;
        }
        if config.moving(group.id()).is_some() {
            self.arrived(group, &status).await;
        }
        LOOK_AGAIN
    }

    /// One step of the group, towards the newest wish there is.
    async fn step(&self, group: &Group, status: &GroupStatus, wished: &Wish) -> Duration {
        let is_wished = |id| wished.voters.contains(id) || wished.observers.contains(id);
        if group.id().is_cluster() && !status.observers.iter().all(is_wished) {
            tokio::time::sleep(FAREWELL).await;
        }
        // This node may be behind; an old wish must not undo what a newer one has done.
        let Some(config) = self.newest().await else { return STEP_AGAIN };
        let step = group.set_members(wish(&config, group.id())).await;
        tracing::debug!(group = %group.id(), ?step, "membership");
        match step {
            Ok(Progress::Stepped | Progress::Done) => Duration::ZERO,
            Ok(Progress::CatchingUp(_)) | Err(_) => STEP_AGAIN,
            Ok(Progress::Unheard(_) | Progress::HandedOver(_)) => LOOK_AGAIN,
        }
    }

    /// The map, with everything that was decided before this call.
    pub(super) async fn newest(&self) -> Option<Arc<ClusterConfig>> {
        self.council.linearize().await.ok()?;
        Some(self.council.config())
    }

    /// Notes who should lead. When that was changed just now, it takes over at once; otherwise whoever should lead is given the
    /// group back after it has been there for a while, which `raft` sees to. Nothing is given to a slow disk.
    async fn prefer(&self, group: &Group, config: &ClusterConfig, before: &mut Option<NodeId>) {
        let Some(first) = config.voters_wished(group.id()).first().copied() else { return };
        group.prefer(first);
        let changed = before.replace(first).is_some_and(|before| before != first);
        let status = group.status();
        if changed
            && status.is_leader
            && status.leader != Some(first)
            && status.voters.contains(&first)
            && !self.peers.disk(first.0).slow
            && let Err(error) = group.transfer_leader(first).await
        {
            tracing::debug!(group = %group.id(), %error, "it is handed over later");
        }
    }

    /// Says that those who should vote do.
    async fn arrived(&self, group: &Group, status: &GroupStatus) {
        let replicas = status.voters.iter().copied().collect();
        let finish = Command::FinishMove { group: group.id(), replicas };
        if let Some(Outcome::Refused(refusal)) = self.propose(&finish).await {
            // Meanwhile it was sent elsewhere.
            tracing::info!(group = %group.id(), %refusal, "a move did not end");
        }
    }
}

/// Whether there is nothing to do for a group's leader.
fn is_as_wished(status: &GroupStatus, wished: &Wish) -> bool {
    !status.changing && status.voters == wished.voters && status.observers == wished.observers
}
