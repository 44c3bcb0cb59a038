//! What the cluster knows of one node. Whether it is alive right now is not known here: that is measured, not decided.

use serde::{Deserialize, Serialize};

use crate::Fingerprint;

/// Where a node listens, each `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The client plane: one TCP and one UDP port of this number.
    pub client: String,
    /// The peer plane.
    pub peer: String,
    /// Metrics and health, plain HTTP, for operators.
    pub operations: String,
}

/// A node as the cluster decided it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Where it listens.
    pub addresses: Addresses,
    /// What fails together with it (a rack, a data centre); replicas are spread over zones.
    pub zone: Option<String>,
    /// How much it should carry relative to others, at least 1.
    pub weight: u32,
    /// Where it stands in its life.
    pub state: NodeState,
    /// Of its public key; `None` until a founder has introduced itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Fingerprint>,
}

/// Where a node stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Admitted, and not yet carrying replicas.
    Joining,
    /// Carries replicas and serves clients.
    Ready,
    /// Gives away its leaderships and its clients, and keeps its replicas.
    Draining,
    /// Gives away its replicas too, for good.
    Leaving,
    /// Silent for so long that its replicas are made again elsewhere.
    Lost,
}

impl NodeState {
    /// Whether the planner may give replicas to a node in this state.
    pub fn takes_replicas(self) -> bool {
        match self {
            NodeState::Joining | NodeState::Ready => true,
            NodeState::Draining | NodeState::Leaving | NodeState::Lost => false,
        }
    }

    /// Stable name, as operators read it.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeState::Joining => "joining",
            NodeState::Ready => "ready",
            NodeState::Draining => "draining",
            NodeState::Leaving => "leaving",
            NodeState::Lost => "lost",
        }
    }
}
