//! How the cluster's feature level rises: with the word of every node that the cluster has at this entry of the log.

use std::collections::BTreeMap;

use super::within;
use crate::level::RELEASE_BYTES_MAX;
use crate::{ClusterConfig, Event, FeatureLevel, NodeId, Raised, Refusal};

/// `None`: the level is this one already.
pub(super) fn raise(
    config: &mut ClusterConfig,
    (from, to): (FeatureLevel, FeatureLevel),
    release: &str,
    speak: &BTreeMap<NodeId, FeatureLevel>,
) -> Result<Option<Event>, Refusal> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    within((1..=RELEASE_BYTES_MAX).contains(&release.len()), "release")?;
    within(release.chars().all(legal), "release")?;
    let level = config.level();
    if level == to {
        return Ok(None);
    }
    if level != from || to < level {
        return Err(Refusal::OtherLevel { planned_at: from, level });
    }
    let nodes = config.cannot_speak(to, speak);
    if !nodes.is_empty() {
        return Err(Refusal::CannotSpeak { level: to, nodes });
    }
    config.raised = Some(Raised { level: to, release: release.to_owned() });
    assert!(config.level() > level, "a level never falls");
    Ok(Some(Event::LevelRaised { level: to }))
}
