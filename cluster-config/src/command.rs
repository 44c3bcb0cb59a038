//! Commands to group 0 and what comes of them. Bytes for the log are made elsewhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Addresses, Claim, ClusterId, Door, Fingerprint, GroupId, JoinToken, NodeId, NodeState, PushKey,
    Setting, TokenKey,
};

/// A node as it is named when the cluster is founded, or when it asks to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founder {
    /// Where it listens.
    pub addresses: Addresses,
    /// What fails together with it.
    pub zone: Option<String>,
    /// How much it should carry relative to others, at least 1.
    pub weight: u32,
}

/// A wish to change the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Founds the cluster. Everything else is refused before it, and it is refused after itself.
    Bootstrap {
        /// Name of the cluster.
        cluster: ClusterId,
        /// The first nodes; ready at once.
        nodes: BTreeMap<NodeId, Founder>,
        /// How many shards, for the cluster's life.
        shards: u32,
        /// Replicas of each shard; with fewer nodes, all of them.
        replication: u32,
        /// The first key.
        token_key: TokenKey,
        /// Who may come in.
        #[serde(default, skip_serializing_if = "Door::is_empty")]
        door: Door,
    },
    /// Moves a node along its life.
    SetNodeState {
        /// Which node.
        node: NodeId,
        /// Where it stands from now on.
        state: NodeState,
    },
    /// A node listens elsewhere.
    SetAddresses {
        /// Which node.
        node: NodeId,
        /// Where it listens from now on.
        addresses: Addresses,
    },
    /// Changes one replicated setting.
    ChangeSetting(Setting),
    /// Adds a key, which signs from now on.
    AddTokenKey(TokenKey),
    /// Ends a key: tokens signed with it are refused.
    RetireTokenKey {
        /// Which key.
        id: u64,
    },
    /// Sets the key by which push services know the cluster: once, for ever.
    SetPushKey(PushKey),
    /// Makes a join token good.
    AddJoinToken(JoinToken),
    /// Lets a node in; it gets the next id, which [`ClusterConfig::node_of`](crate::ClusterConfig::node_of) tells.
    Admit {
        /// Of the token that it shows.
        secret: Fingerprint,
        /// Of its public key.
        identity: Fingerprint,
        /// Where it listens and what it can carry.
        node: Founder,
    },
    /// A founder says by which key it is known from now on.
    Introduce {
        /// Which node.
        node: NodeId,
        /// Of its public key.
        identity: Fingerprint,
    },
    /// Opens a claim.
    AddClaim(Claim),
    /// Makes an operator.
    Claim {
        /// Of the claim's secret.
        secret: Fingerprint,
        /// Who it will be.
        name: String,
        /// Of the token that they will show.
        token: Fingerprint,
    },
    /// Ends an operator's rights.
    RemoveOperator {
        /// Whose.
        name: String,
    },
    /// Sends a group's voters, those of group 0 included, on their way to others; or turns a group that is on its way.
    /// With the same voters in another order it only says which of them should lead.
    MoveShard {
        /// Which group.
        group: GroupId,
        /// An odd number of nodes; the first should lead.
        to: Vec<NodeId>,
        /// The epoch that was planned on. Refused at any other.
        if_epoch: u64,
    },
    /// The group's leader says that those who should vote do.
    FinishMove {
        /// Which group.
        group: GroupId,
        /// Who votes in it now.
        replicas: Vec<NodeId>,
    },
    /// The group's voters stay, or become again, who they were.
    CancelMove {
        /// Which group.
        group: GroupId,
    },
    /// Keeps the planner from a shard, or no longer does.
    FreezeShard {
        /// Which group.
        group: GroupId,
        /// Whether it is left where it is.
        frozen: bool,
    },
    /// Forgets a node that is leaving or lost and votes nowhere.
    RemoveNode {
        /// Which node.
        node: NodeId,
    },
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done; the configuration has this epoch now.
    Accepted {
        /// The epoch it began.
        epoch: u64,
    },
    /// It was so already; nothing changed.
    Unchanged {
        /// The epoch it was so at.
        epoch: u64,
    },
    /// Not done.
    Refused(Refusal),
}

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
    /// A number or text lies outside its documented bounds.
    #[error("{what} is out of bounds")]
    OutOfBounds {
        /// Which one.
        what: String,
    },
}

/// What happened, for those who act on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The cluster exists.
    Founded,
    /// A node moved along its life.
    NodeStateChanged {
        /// Which node.
        node: NodeId,
        /// Where it stood.
        before: NodeState,
        /// Where it stands.
        after: NodeState,
    },
    /// A node listens elsewhere.
    AddressesChanged {
        /// Which node.
        node: NodeId,
    },
    /// A setting has a new value.
    SettingChanged(Setting),
    /// The key of this id signs from now on.
    TokenKeyAdded(u64),
    /// Tokens of this key are refused from now on.
    TokenKeyRetired(u64),
    /// Push services know the cluster by a key from now on.
    PushKeySet,
    /// Nodes may come in.
    JoinTokenAdded {
        /// How many.
        uses: u32,
        /// In whose place.
        replaces: Option<NodeId>,
    },
    /// A node came in.
    NodeAdmitted {
        /// Its id.
        node: NodeId,
        /// In whose place; that node leaves.
        replaces: Option<NodeId>,
    },
    /// A founder is known by its key.
    NodeIntroduced {
        /// Which node.
        node: NodeId,
    },
    /// Somebody may become an operator.
    ClaimAdded,
    /// An operator came in.
    OperatorAdded(String),
    /// An operator has no rights any more.
    OperatorRemoved(String),
    /// Another of a group's voters should lead.
    LeaderPreferred {
        /// Which group.
        group: GroupId,
        /// Who.
        node: NodeId,
    },
    /// A group is on its way to other voters.
    MoveBegun {
        /// Which group.
        group: GroupId,
        /// To whom.
        to: Vec<NodeId>,
    },
    /// A group has arrived.
    MoveFinished {
        /// Which group.
        group: GroupId,
    },
    /// A group stays where it was.
    MoveCancelled {
        /// Which group.
        group: GroupId,
    },
    /// A shard is left where it is, or no longer is.
    ShardFrozen {
        /// Which group.
        group: GroupId,
        /// Whether.
        frozen: bool,
    },
    /// A node is no part of the cluster any more.
    NodeRemoved {
        /// Which node.
        node: NodeId,
    },
}

/// An outcome with its event. There is an event exactly when the outcome is `Accepted`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// For whoever asked.
    pub outcome: Outcome,
    /// For everybody else.
    pub event: Option<Event>,
}
