//! What this program can read and write, what the others say they can, and whether it may take part at all.
//!
//! The law: nothing of a feature level is written before every node has said that it speaks it, and a program that does not
//! speak the cluster's level does not start. What a level is and when it rises is decided in `cluster-config`; here is who
//! speaks what. A node is asked over the peer plane, never by an entry of a log: an older one could not read that.

mod rehearsal;

use std::collections::BTreeMap;

use cluster_config::{ClusterConfig, FeatureLevel, NodeId, Raised, Unspoken};
use futures::future::join_all;
use raft::Fatal;
use store::tables::Tables;

use crate::peers::Peers;
use crate::run::Error;

pub(crate) use rehearsal::{is_rehearsed, rehearse};

/// What a program speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spoken {
    /// The lowest level.
    pub(crate) min: FeatureLevel,
    /// The highest level.
    pub(crate) max: FeatureLevel,
    /// Its name; empty where it does not say.
    pub(crate) release: String,
}

impl Spoken {
    /// What this program speaks.
    pub(crate) fn here() -> Self {
        let release = env!("CARGO_PKG_VERSION");
        let (min, max) = (FeatureLevel::MIN, FeatureLevel::MAX);
        match rehearsal::level() {
            Some(next) => Self { min, max: next, release: format!("{release}-next") },
            None => Self { min, max, release: release.to_owned() },
        }
    }

    /// Whether a cluster of this level can be read.
    ///
    /// # Errors
    /// When it cannot.
    pub(crate) fn must_read(&self, raised: Option<&Raised>) -> Result<(), Unspoken> {
        let level = raised.map_or(FeatureLevel::FIRST, |raised| raised.level);
        if (self.min..=self.max).contains(&level) {
            return Ok(());
        }
        let release = raised.map_or_else(String::new, |raised| raised.release.clone());
        Err(Unspoken { level, min: self.min, max: self.max, release })
    }
}

/// Whether this program can read the cluster of this data folder. Asked before anything else is read from it.
///
/// # Errors
/// [`Error::Unspoken`] when it cannot.
pub(crate) fn must_read(tables: &dyn Tables) -> Result<(), Error> {
    let Some(row) = tables.get(&proto::keys::cluster_config())? else { return Ok(()) };
    let raised = proto::cluster::decode_cluster_level(&row)
        .map_err(|error| Fatal::new(format!("group 0: {error}")))?;
    Ok(Spoken::here().must_read(raised.as_ref())?)
}

/// What each node of the cluster says it speaks, asked now. Whoever does not answer is not in it.
pub(crate) async fn spoken_by_all(
    own: NodeId,
    peers: &Peers,
    config: &ClusterConfig,
) -> BTreeMap<NodeId, Spoken> {
    let asked = config.nodes.keys().map(|node| async move {
        let spoken = if *node == own { Some(Spoken::here()) } else { peers.spoken(node.0).await };
        Some((*node, spoken?))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// The highest level of each, as a command to group 0 says it.
pub(crate) fn highest(spoken: &BTreeMap<NodeId, Spoken>) -> BTreeMap<NodeId, FeatureLevel> {
    spoken.iter().map(|(node, spoken)| (*node, spoken.max)).collect()
}

/// The highest level that all nodes of the cluster speak; `None` unless all have said.
pub(crate) fn common(
    config: &ClusterConfig,
    spoken: &BTreeMap<NodeId, Spoken>,
) -> Option<FeatureLevel> {
    let highest = config.nodes.keys().map(|node| spoken.get(node).map(|spoken| spoken.max));
    highest.min().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised(level: u32) -> Raised {
        Raised { level: FeatureLevel(level), release: "9.9.0".to_owned() }
    }

    #[test]
    fn a_level_that_is_not_spoken_is_refused_with_the_release_that_speaks_it() {
        let here = Spoken { min: FeatureLevel(2), max: FeatureLevel(3), release: "0.3.0".into() };
        assert_eq!(here.must_read(Some(&raised(2))), Ok(()));
        assert_eq!(here.must_read(Some(&raised(3))), Ok(()));
        assert!(here.must_read(None).is_err(), "the first level is no longer written");
        let error = here.must_read(Some(&raised(4))).expect_err("too new");
        assert!(error.to_string().contains("start synod 9.9.0"), "{error}");
    }

    #[test]
    fn a_row_of_another_level_is_refused_before_it_is_understood() {
        let tables = store::MemoryTables::default();
        must_read(&tables).expect("an empty disk is at no level");
        let mut batch = store::tables::Batch::new();
        let row = br#"{"level":77,"release":"9.9.0","config":{"of":"another age"}}"#;
        batch.put(proto::keys::cluster_config(), row.to_vec());
        tables.write(batch).expect("memory takes it");
        let error = must_read(&tables).expect_err("nobody speaks 77");
        assert!(matches!(&error, Error::Unspoken(unspoken) if unspoken.level.0 == 77), "{error}");
    }
}
