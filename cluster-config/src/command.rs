//! Commands to group 0 and what comes of them. Bytes for the log are made elsewhere.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{
    Addresses, AuthorityKey, Claim, ClusterId, Door, FeatureLevel, Fingerprint, GroupId, Held,
    JoinToken, NodeId, NodeState, PushKey, Refusal, Setting, TokenKey,
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
        /// The highest feature level that it speaks. Only written where the cluster's is beyond the first.
        #[serde(default = "FeatureLevel::first", skip_serializing_if = "FeatureLevel::is_first")]
        speaks: FeatureLevel,
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
    /// Splits slots off a shard, which become one of their own with the same voters.
    SplitShard {
        /// Which group.
        group: GroupId,
        /// Some but not all of its slots, at one end: `start..end`.
        slots: Range<u16>,
        /// The epoch that was looked at. Refused at any other.
        if_epoch: u64,
    },
    /// The new group's leader says that it serves.
    FinishSplit {
        /// Which group was split.
        group: GroupId,
        /// The new one.
        to: GroupId,
    },
    /// Forgets a node that is leaving or lost and votes nowhere.
    RemoveNode {
        /// Which node.
        node: NodeId,
    },
    /// The quorum is lost for good: the cluster goes on with one node, as its logs are. Written into the survivor's log by hand,
    /// since nobody can agree on it.
    Recover {
        /// Which node.
        survivor: NodeId,
    },
    /// A node says which certificates it shows and trusts.
    HoldCertificate {
        /// Which node.
        node: NodeId,
        /// What it holds.
        held: Held,
    },
    /// Has a node get a new certificate.
    RenewCertificate {
        /// Which node.
        node: NodeId,
    },
    /// Has another authority take the present one's place, step by step.
    RotateAuthority {
        /// What will sign.
        next: AuthorityKey,
    },
    /// Lets the nodes write what another feature level brings.
    RaiseLevel {
        /// The level that was looked at. Refused at any other.
        from: FeatureLevel,
        /// The level from now on.
        to: FeatureLevel,
        /// The release that asks for it, which speaks that level.
        release: String,
        /// The highest level that each node has said it speaks. Refused unless all nodes are here.
        speak: BTreeMap<NodeId, FeatureLevel>,
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
    /// Slots are on their way to a group of their own.
    SplitBegun {
        /// Off which group.
        group: GroupId,
        /// The new one.
        to: GroupId,
        /// Which.
        slots: Range<u16>,
    },
    /// A shard is two.
    SplitFinished {
        /// Which was split.
        group: GroupId,
        /// The new one.
        to: GroupId,
    },
    /// A node is no part of the cluster any more.
    NodeRemoved {
        /// Which node.
        node: NodeId,
    },
    /// The cluster goes on with one node.
    Recovered {
        /// Which.
        survivor: NodeId,
        /// Whose logs are given up.
        lost: Vec<NodeId>,
    },
    /// A node shows and trusts other certificates than before.
    CertificateHeld {
        /// Which node.
        node: NodeId,
        /// When they run out, milliseconds since 1970.
        expires_at_ms: u64,
    },
    /// A node shall get a new certificate.
    RenewalAsked {
        /// Which node.
        node: NodeId,
    },
    /// Every node learns to trust another authority.
    RotationBegun,
    /// Every node trusts both, and the new one signs.
    AuthorityChanged {
        /// The new one's.
        generation: u32,
    },
    /// Every node shows a certificate of the new one, and the old one is trusted no more.
    RotationEnded {
        /// The new one's.
        generation: u32,
    },
    /// Nodes may write more than before.
    LevelRaised {
        /// The level from now on.
        level: FeatureLevel,
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
