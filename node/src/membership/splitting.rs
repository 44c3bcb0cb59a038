//! A shard becomes two: the leader of the shard has its log say so, and the leader of the new group says that it serves. Both
//! may do it again at any time, and so may whoever leads after them.

use std::time::Duration;

use cluster_config::{ClusterConfig, Command, Outcome, Split};
use raft::{Group, GroupStatus};

use super::Membership;
use super::follow::STEP_AGAIN;

impl Membership {
    /// What shall be split off a group and is still its own here.
    pub(super) fn split_due(
        &self,
        group: &Group,
        status: &GroupStatus,
        config: &ClusterConfig,
    ) -> Option<Split> {
        let split = config.shards.get(&group.id())?.splitting.as_ref()?;
        // Whoever belongs to the group when it is split belongs to the new one: not in the middle of a change.
        let due = !status.changing && self.owners.holds(group.id(), &split.slots);
        due.then(|| split.clone())
    }

    /// Has the group's log say it. A wish is never taken back, so an old one is as good as a new one.
    pub(super) async fn split(&self, group: &Group, split: &Split) -> Duration {
        let proposed = group.propose(proto::encode_split(split.to, &split.slots)).await;
        if let Err(error) = &proposed {
            tracing::info!(group = %group.id(), %error, "a split is proposed again");
            return STEP_AGAIN;
        }
        // The next entry tells the followers that the last one is committed: they need not wait for a heartbeat.
        if let Err(error) = group.propose(proto::encode_outbox_done(0)).await {
            tracing::debug!(group = %group.id(), %error, "a split is heard of later");
        }
        STEP_AGAIN
    }

    /// Says that a group that was split off serves, if it is led from here.
    pub(super) async fn begun(&self, group: &Group, status: &GroupStatus) -> Duration {
        let to = group.id();
        if status.is_leader
            && let Some(config) = self.newest().await
            && let Some((group, _)) = config.split_into(to)
            && let Some(Outcome::Refused(refusal)) =
                self.propose(&Command::FinishSplit { group, to }).await
        {
            tracing::warn!(%group, %to, %refusal, "a split did not end");
        }
        STEP_AGAIN
    }
}
