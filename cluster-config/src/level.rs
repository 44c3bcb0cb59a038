//! Feature levels: what the nodes of a cluster may write, so that each of them can read it.
//!
//! A level is a number that the cluster has and a range that a build speaks. Nothing of a level is written, neither to a
//! log nor into a row, a snapshot or a call between nodes, before the cluster has that level; and it gets it when every
//! node has said that it speaks it. A level never falls.
//!
//! | level | what it brings |
//! |---|---|
//! | 1 | what was written before the last commands that came without a level: no split, no word of certificates |
//! | 2 | `RaiseLevel`, group 0's row in an envelope that says its level first, `speaks` of a node that comes in, splits of shards, `HoldCertificate`, `RenewCertificate`, `RotateAuthority`, the setting `upgrade_automatic` |

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ClusterConfig, NodeId};

/// Longest name of a release, in bytes: it stands in the configuration and in the audit log.
pub const RELEASE_BYTES_MAX: usize = 64;

/// How much of what the formats can say may be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FeatureLevel(pub u32);

impl FeatureLevel {
    /// Of every cluster whose level was never raised, and of every node that does not say what it speaks.
    pub const FIRST: FeatureLevel = FeatureLevel(1);
    /// Shards may be split, and the level itself is written down.
    pub const SPLITS: FeatureLevel = FeatureLevel(2);
    /// Nodes say which certificates they hold, and certificates and the authority are renewed by the cluster.
    pub const CERTIFICATES: FeatureLevel = FeatureLevel(2);
    /// The lowest that this program reads and writes.
    pub const MIN: FeatureLevel = FeatureLevel(1);
    /// The highest that this program reads and writes.
    pub const MAX: FeatureLevel = FeatureLevel(2);

    pub(crate) fn first() -> FeatureLevel {
        FeatureLevel::FIRST
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(crate) fn is_first(&self) -> bool {
        *self == FeatureLevel::FIRST
    }
}

impl fmt::Display for FeatureLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The level of a cluster that is beyond the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raised {
    /// The level.
    pub level: FeatureLevel,
    /// The release that raised it; it and every later one can read the cluster.
    pub release: String,
}

/// The cluster's level is one that this program does not speak.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cluster is at feature level {level}, and this program speaks {min} to {max}: start synod \
     {release} or a later release here. Nothing was changed"
)]
pub struct Unspoken {
    /// The cluster's.
    pub level: FeatureLevel,
    /// The lowest that is spoken.
    pub min: FeatureLevel,
    /// The highest that is spoken.
    pub max: FeatureLevel,
    /// A release that speaks it.
    pub release: String,
}

impl ClusterConfig {
    /// What its nodes may write.
    pub fn level(&self) -> FeatureLevel {
        self.raised.as_ref().map_or(FeatureLevel::FIRST, |raised| raised.level)
    }

    /// The nodes that have not said that they speak `level`, of all that the cluster has: one that is silent or lost may come
    /// back as it was.
    pub fn cannot_speak(
        &self,
        level: FeatureLevel,
        speak: &BTreeMap<NodeId, FeatureLevel>,
    ) -> Vec<NodeId> {
        let cannot = |node: &NodeId| speak.get(node).is_none_or(|spoken| *spoken < level);
        self.nodes.keys().copied().filter(cannot).collect()
    }
}
