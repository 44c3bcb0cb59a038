//! What a cluster means: its nodes, the map from slots to shards to nodes, replicated settings, token keys, an audit log.
//!
//! This is the state machine of group 0, which stands where other systems need a coordination service beside them. It is
//! pure: values in, values out. It opens no connection, reads no clock, draws no random number, and does not know how its
//! commands become bytes (`proto` does) or how they are agreed upon (`raft` does).
//!
//! Votes move by commands like everything else: each step of a plan is one small accepted change.

mod apply;
mod command;
mod config;
mod door;
mod ids;
mod level;
mod node;
mod place;
mod plan;
mod push_key;
mod refound;
mod refusal;
mod settings;
mod token_key;
mod trust;

pub use apply::apply;
pub use command::{Applied, Command, Event, Founder, Outcome};
pub use config::{
    AUDIT_RECORDS_MAX, AuditRecord, CLUSTER_VOTERS_MAX, ClusterConfig, NODES_MAX, REPLICATION_MAX,
    SHARDS_MAX, Shard, Split, TOKEN_KEYS_MAX,
};
pub use door::{
    AuthorityKey, Claim, Door, Fingerprint, FingerprintError, JOIN_TOKEN_USES_MAX, JoinToken,
    Operator,
};
pub use ids::{CLUSTER_ID_BYTES_MAX, ClusterId, ClusterIdError, GroupId, NodeId, SLOTS, Slot};
pub use level::{FeatureLevel, RELEASE_BYTES_MAX, Raised, Unspoken};
pub use node::{Addresses, Node, NodeState};
pub use place::place;
pub use plan::{PlanLimits, foresee, plan};
pub use push_key::PushKey;
pub use refound::Refounding;
pub use refusal::Refusal;
pub use settings::{Setting, Settings};
pub use token_key::TokenKey;
pub use trust::{Held, Rotation, Trust};
