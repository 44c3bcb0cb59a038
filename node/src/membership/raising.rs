//! The leader of group 0 raises the cluster's feature level, some time after the last node has come to speak the next one.

use std::time::Duration;

use cluster_config::{ClusterConfig, Command, FeatureLevel, Outcome};
use raft::GroupId;
use tokio::time::Instant;

use super::{LOOK_AGAIN, Membership};
use crate::upgrade::{self, Spoken};

/// How long all nodes must have spoken the next level: until then the release before it can be started again everywhere.
pub(crate) const GRACE: Duration = Duration::from_secs(5 * 60);

/// Since when all nodes have been heard to speak a level, in the eyes of the one who leads group 0. Whoever leads next
/// begins to count anew: the level rises late rather than early.
#[derive(Default)]
struct Agreed(Option<(FeatureLevel, Instant)>);

impl Agreed {
    /// The level to go to now.
    fn look(
        &mut self,
        level: FeatureLevel,
        common: Option<FeatureLevel>,
        grace: Duration,
        now: Instant,
    ) -> Option<FeatureLevel> {
        let next = common.filter(|common| *common > level);
        self.0 = match (next, self.0) {
            (Some(next), Some((before, since))) if next == before => Some((before, since)),
            (next, _) => next.map(|next| (next, now)),
        };
        let (next, since) = self.0?;
        (now.duration_since(since) >= grace).then_some(next)
    }
}

impl Membership {
    /// Looks after the level for ever. `grace`: see [`GRACE`]; none in a process that founded the cluster, for there was no
    /// release before it.
    pub(super) async fn raise(&self, grace: Duration) {
        let mut configured = self.council.configured();
        let mut agreed = Agreed::default();
        loop {
            let config = configured.borrow_and_update().clone();
            let council = self.raft.group(GroupId::CLUSTER);
            let leads = council.is_some_and(|group| group.status().is_leader);
            match config.filter(|config| leads && may_rise(config)) {
                Some(config) => self.raise_once(&config, &mut agreed, grace).await,
                None => agreed = Agreed::default(),
            }
            // What is gone ends this with the process.
            let _ = tokio::time::timeout(LOOK_AGAIN, configured.changed()).await;
        }
    }

    async fn raise_once(&self, config: &ClusterConfig, agreed: &mut Agreed, grace: Duration) {
        let spoken = upgrade::spoken_by_all(self.node, &self.peers, config).await;
        let common = upgrade::common(config, &spoken);
        let Some(to) = agreed.look(config.level(), common, grace, Instant::now()) else { return };
        let release = Spoken::here().release;
        let speak = upgrade::highest(&spoken);
        let raise = Command::RaiseLevel { from: config.level(), to, release, speak };
        match self.propose(&raise).await {
            Some(Outcome::Accepted { .. }) => tracing::info!(%to, "the feature level is raised"),
            outcome => tracing::info!(?outcome, "the feature level is looked at again"),
        }
    }
}

/// Whether there is more to speak than the cluster does, and nobody wants it kept as it is.
fn may_rise(config: &ClusterConfig) -> bool {
    config.settings.upgrade_automatic && config.level() < Spoken::here().max
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Option<FeatureLevel> = Some(FeatureLevel(2));

    #[test]
    fn a_level_rises_when_all_have_spoken_it_for_long_enough() {
        let (mut agreed, begun) = (Agreed::default(), Instant::now());
        let mut look = |common, after| {
            agreed.look(FeatureLevel::FIRST, common, GRACE, begun + GRACE.mul_f64(after))
        };
        assert_eq!(look(Some(FeatureLevel::FIRST), 0.0), None);
        assert_eq!(look(TWO, 0.5), None);
        assert_eq!(look(TWO, 1.4), None, "half of the grace is missing");
        assert_eq!(look(TWO, 1.5), TWO);
    }

    #[test]
    fn whoever_is_not_heard_or_goes_back_begins_the_count_anew() {
        let (mut agreed, begun) = (Agreed::default(), Instant::now());
        let mut look = |common, after| {
            agreed.look(FeatureLevel::FIRST, common, GRACE, begun + GRACE.mul_f64(after))
        };
        assert_eq!(look(TWO, 0.0), None);
        assert_eq!(look(None, 0.9), None);
        assert_eq!(look(TWO, 1.0), None);
        assert_eq!(look(Some(FeatureLevel(3)), 1.9), None, "another level");
        assert_eq!(look(Some(FeatureLevel(3)), 2.8), None);
        assert_eq!(look(Some(FeatureLevel(3)), 2.9), Some(FeatureLevel(3)));
    }

    #[test]
    fn a_cluster_that_was_founded_just_now_waits_for_nobody_to_go_back() {
        let now = Instant::now();
        let next = Agreed::default().look(FeatureLevel::FIRST, TWO, Duration::ZERO, now);
        assert_eq!(next, TWO);
        let above = Agreed::default().look(FeatureLevel(2), TWO, Duration::ZERO, now);
        assert_eq!(above, None, "it is there");
    }
}
