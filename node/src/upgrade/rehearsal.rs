//! The release after this one, for tests alone: the same program, which also speaks one level more, and writes something
//! that this one cannot read once the cluster is there. Only in builds for tests, and only where an environment variable asks
//! for it. So the way to a next level is walked today and not when there is one.

#[cfg(any(debug_assertions, feature = "planted"))]
mod next {
    use std::sync::OnceLock;
    use std::time::Duration;

    use bytes::Bytes;
    use cluster_config::FeatureLevel;

    use crate::membership::Membership;

    /// Whoever sets it runs the next release; one that breaks the law if it is `early`.
    const VARIABLE: &str = "SYNOD_REHEARSE_NEXT";
    /// A command of a shard's log that this release does not know: field 1007 of `log.Command`, empty.
    const COMMAND: &[u8] = &[0xfa, 0x3e, 0x00];
    /// How often each leader says something new.
    const EVERY: Duration = Duration::from_millis(200);

    pub(crate) fn level() -> Option<FeatureLevel> {
        static REHEARSES: OnceLock<bool> = OnceLock::new();
        let rehearses = *REHEARSES.get_or_init(|| std::env::var_os(VARIABLE).is_some());
        rehearses.then_some(FeatureLevel(FeatureLevel::MAX.0 + 1))
    }

    /// Whether a command is one that the next release says. It means nothing.
    pub(crate) fn is_rehearsed(command: &[u8]) -> bool {
        level().is_some() && command == COMMAND
    }

    /// Says something new in every shard that is led from here, once the cluster's level allows it.
    pub(crate) async fn rehearse(membership: Membership) {
        let Some(next) = level() else { return };
        let mut configured = membership.council.configured();
        let early = std::env::var_os(VARIABLE).is_some_and(|how| how == "early");
        let is_there = |level: FeatureLevel| early || level >= next;
        if configured
            .wait_for(|config| config.as_ref().is_some_and(|config| is_there(config.level())))
            .await
            .is_err()
        {
            return;
        }
        tracing::info!(level = %next, "something new is written from here on");
        loop {
            let groups = membership.raft.groups().into_iter().filter(|group| !group.is_cluster());
            for group in groups.filter_map(|group| membership.raft.group(group)) {
                if group.status().is_leader
                    && let Ok(_) = group.propose(Bytes::from_static(COMMAND)).await
                {
                    tracing::debug!(group = %group.id(), "said something new");
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_the_next_release_says_is_unknown_to_this_one() {
            assert!(!is_rehearsed(COMMAND), "this is no rehearsal");
            assert!(proto::decode_command(COMMAND).is_err());
        }
    }
}

#[cfg(not(any(debug_assertions, feature = "planted")))]
mod next {
    use cluster_config::FeatureLevel;

    use crate::membership::Membership;

    pub(crate) const fn level() -> Option<FeatureLevel> {
        None
    }

    pub(crate) const fn is_rehearsed(_command: &[u8]) -> bool {
        false
    }

    pub(crate) async fn rehearse(_membership: Membership) {}
}

pub(super) use next::level;
pub(crate) use next::{is_rehearsed, rehearse};
