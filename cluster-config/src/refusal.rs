//! Why group 0 does not do what it is asked: results like any other.

use serde::{Deserialize, Serialize};

use crate::{FeatureLevel, GroupId, NodeId, NodeState};

/// Why a command was not carried out. A result like any other: the same on every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// There is no cluster yet.
    #[error("the cluster has not been founded yet")]
    NotFounded,
    /// There is a cluster already.
    #[error("the cluster was founded already")]
    FoundedAlready,
    /// No such node.
    #[error("node {0} does not exist")]
    NoSuchNode(NodeId),
    /// No such token key.
    #[error("token key {0} does not exist")]
    NoSuchKey(u64),
    /// A key of this id exists or existed.
    #[error("token key {0} exists already")]
    KeyExists(u64),
    /// The one key that signs cannot be retired.
    #[error("the only signing key cannot be retired: add another first")]
    LastKey,
    /// A node in its present state cannot go there.
    #[error("node {node} is {from} and cannot become {to}", from = from.as_str(), to = to.as_str())]
    NoSuchStep {
        /// Which node.
        node: NodeId,
        /// Where it stands.
        from: NodeState,
        /// Where it was to go.
        to: NodeState,
    },
    /// Nobody here can sign for a node.
    #[error(
        "the cluster does not hold its authority's key, so no node can join by token: \
         it was founded without tls.authority_key"
    )]
    NoAuthority,
    /// No such join token.
    #[error(
        "the join token is unknown, used up or expired: make another with `synod node join-token`"
    )]
    NoSuchJoinToken,
    /// The node is known by another key.
    #[error(
        "node {0} is known by another key: this is not its disk. An id is never used again; \
         replace the node with `synod node replace {0}`"
    )]
    OtherIdentity(NodeId),
    /// No such claim.
    #[error("the claim is unknown, used or expired")]
    NoSuchClaim,
    /// An operator of this name exists.
    #[error("there is an operator {0} already, or the token is another's")]
    NameTaken(String),
    /// No such operator.
    #[error("there is no operator {0}")]
    NoSuchOperator(String),
    /// No such group.
    #[error("there is no shard {0}")]
    NoSuchGroup(GroupId),
    /// The cluster has changed since this was planned.
    #[error("planned at epoch {planned_at}, but the cluster is at {epoch}: plan again")]
    StalePlan {
        /// The epoch that was planned on.
        planned_at: u64,
        /// The epoch now.
        epoch: u64,
    },
    /// An even number of voters stands no more losses than one fewer would.
    #[error("voters must be an odd number")]
    EvenVoters,
    /// A node in this state is given no vote.
    #[error("node {node} is {state} and takes no replicas", state = state.as_str())]
    TakesNoReplicas {
        /// Which node.
        node: NodeId,
        /// Where it stands.
        state: NodeState,
    },
    /// The group is not on its way to those who were named.
    #[error("shard {0} is not on its way to these nodes")]
    NotMoving(GroupId),
    /// A group that is on its way to other voters is not split.
    #[error("shard {0} is on its way to other nodes: wait until it has arrived")]
    StillMoves(GroupId),
    /// A shard that is being split is not split again, and its voters stay.
    #[error("shard {0} is being split: wait until that is done")]
    StillSplits(GroupId),
    /// A shard that an operator wants left as it is.
    #[error("shard {0} is frozen: `synod shard freeze {0} --off` first")]
    Frozen(GroupId),
    /// These slots are not being split off that shard.
    #[error("shard {0} is not being split like this")]
    NotSplitting(GroupId),
    /// A node that votes cannot be forgotten.
    #[error("node {node} still votes in group {group}")]
    StillVotes {
        /// Which node.
        node: NodeId,
        /// One of the groups.
        group: GroupId,
    },
    /// A node that is neither leaving nor lost cannot be forgotten.
    #[error("node {node} is {state}: decommission it first", state = state.as_str())]
    StillServes {
        /// Which node.
        node: NodeId,
        /// Where it stands.
        state: NodeState,
    },
    /// The last operator stays.
    #[error("the last operator cannot be removed: let another in first")]
    LastOperator,
    /// One change of the authority at a time, and nobody comes in meanwhile.
    #[error("the authority is being changed: try again when `synod cert ls` says that it is done")]
    RotationUnderWay,
    /// A node would be left behind.
    #[error("node {node} cannot take part: {why}")]
    NotYetAll {
        /// Which node.
        node: NodeId,
        /// Why not.
        why: String,
    },
    /// The cluster's feature level is not the one that was looked at.
    #[error("planned at feature level {planned_at}, but the cluster is at {level}")]
    OtherLevel {
        /// What was looked at.
        planned_at: FeatureLevel,
        /// The level now.
        level: FeatureLevel,
    },
    /// A newcomer's program is too old.
    #[error(
        "the cluster is at feature level {level}, and the node that asks to come in speaks \
         {speaks}: start synod {release} or a later release there"
    )]
    SpeaksTooLittle {
        /// The cluster's.
        level: FeatureLevel,
        /// The newcomer's highest.
        speaks: FeatureLevel,
        /// A release that will do.
        release: String,
    },
    /// Nodes would be left behind.
    #[error(
        "feature level {level} is not spoken by {}: start a newer release there, or remove them \
         from the cluster",
        named(.nodes)
    )]
    CannotSpeak {
        /// The level that was asked for.
        level: FeatureLevel,
        /// Who has not said that it speaks it.
        nodes: Vec<NodeId>,
    },
    /// A number or text lies outside its documented bounds.
    #[error("{what} is out of bounds")]
    OutOfBounds {
        /// Which one.
        what: String,
    },
}

/// Nodes as a person names them.
fn named(nodes: &[NodeId]) -> String {
    let list = nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ");
    format!("node{} {list}", if nodes.len() == 1 { "" } else { "s" })
}
