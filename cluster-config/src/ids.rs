//! The names of a cluster's parts: cluster, node, Raft group, slot. Serves DESIGN sections 2 and 7.
//! None of them is derived here; ids are handed in with the commands that first speak of them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How many slots the hash of an id is spread over. A shard owns a contiguous set of them.
pub const SLOTS: u16 = 16_384;

/// Longest name of a cluster, in bytes: it becomes part of DNS names (RFC 1035: 63 per label).
pub const CLUSTER_ID_BYTES_MAX: usize = 63;

/// A node of the cluster. Never used again for another node, not even after a decommission.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<NodeId, Self::Err> {
        text.parse().map(NodeId)
    }
}

/// A Raft group: 0 decides the cluster configuration itself, shard `s` is group `s` (1 to N).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct GroupId(pub u32);

impl GroupId {
    /// The group whose machine is this room's [`ClusterConfig`](crate::ClusterConfig).
    pub const CLUSTER: GroupId = GroupId(0);

    /// Whether this is the cluster's own group, not a shard.
    pub fn is_cluster(self) -> bool {
        self == GroupId::CLUSTER
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A slot, `0..SLOTS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u16);

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The cluster's name: 1 to 63 of `a-z 0-9 -`, not beginning or ending with `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterId(String);

/// A text is no cluster name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a cluster name is 1 to 63 of a-z 0-9 and '-', and neither begins nor ends with '-'")]
pub struct ClusterIdError;

impl ClusterId {
    /// Checks a name.
    ///
    /// # Errors
    /// [`ClusterIdError`] when the text could not be a DNS label in lower case.
    pub fn parse(text: &str) -> Result<ClusterId, ClusterIdError> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=CLUSTER_ID_BYTES_MAX).contains(&text.len());
        if fits && text.bytes().all(legal) && !text.starts_with('-') && !text.ends_with('-') {
            Ok(ClusterId(text.to_owned()))
        } else {
            Err(ClusterIdError)
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ClusterId {
    type Error = ClusterIdError;

    fn try_from(text: String) -> Result<ClusterId, ClusterIdError> {
        ClusterId::parse(&text)
    }
}

impl From<ClusterId> for String {
    fn from(id: ClusterId) -> String {
        id.0
    }
}
