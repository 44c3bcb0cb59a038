//! What can go wrong in this room, one small enum for each operation. Every error of a proposal
//! says whether the command may have been written ([`Certainty`]) and what to do ([`Retry`]).

use std::{sync::Arc, time::Duration};

use crate::NodeId;

/// Why a group, and with it the process, must stop. Nobody handles it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Fatal {
    reason: Arc<str>,
}

impl Fatal {
    /// A fatal condition with its reason, for the last line of the log.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into().into() }
    }

    /// The reason as text.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl From<store::StoreError> for Fatal {
    fn from(error: store::StoreError) -> Self {
        Self::new(error.to_string())
    }
}

/// Can the operation still take effect?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// It did not and never will.
    Definite,
    /// It may have, or may yet.
    Unknown,
}

/// What the caller may do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing helps.
    Never,
    /// The same request again, here.
    Same,
    /// The same request at another node.
    Elsewhere(NodeId),
    /// The same request again, not before this time has passed.
    After(Duration),
}

/// Why a command has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was written: this replica does not lead.
    #[error("this replica does not lead the group (leader: {leader:?})")]
    NotLeader {
        /// Who leads, if known here.
        leader: Option<NodeId>,
    },
    /// Nothing was written: too much waits already.
    #[error("too many commands wait; retry after {retry_after:?}")]
    Overloaded {
        /// When room is likely.
        retry_after: Duration,
    },
    /// Nothing was written: no quorum can be reached.
    #[error("no quorum is reachable")]
    Unavailable,
    /// It may have been written, or may yet be.
    #[error("the command may or may not have been written")]
    Unknown,
    /// Nothing was written: the group does not run any more.
    #[error("the group has stopped")]
    Stopped,
}

/// How long to wait before asking again when no better hint exists: about one failover.
const RETRY_SOON: Duration = Duration::from_millis(100);

impl ProposeError {
    /// Whether the command can still take effect.
    pub fn certainty(&self) -> Certainty {
        match self {
            Self::Unknown => Certainty::Unknown,
            Self::NotLeader { .. }
            | Self::Overloaded { .. }
            | Self::Unavailable
            | Self::Stopped => Certainty::Definite,
        }
    }

    /// What the caller may do.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NotLeader { leader: Some(node) } => Retry::Elsewhere(*node),
            Self::Overloaded { retry_after } => Retry::After(*retry_after),
            Self::NotLeader { leader: None } | Self::Unavailable => Retry::After(RETRY_SOON),
            Self::Unknown => Retry::Same,
            Self::Stopped => Retry::Never,
        }
    }
}

/// Why a linearizable read could not be confirmed. Nothing was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader could confirm its leadership in time.
    #[error("no leader confirmed the read")]
    Unavailable,
    /// The group does not run any more.
    #[error("the group has stopped")]
    Stopped,
}

impl ReadError {
    /// What the caller may do.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unavailable => Retry::After(RETRY_SOON),
            Self::Stopped => Retry::Never,
        }
    }
}

/// Why a call to another node has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It was not sent.
    #[error("the node is unreachable")]
    Unreachable,
    /// It may have arrived.
    #[error("the connection was lost before the answer")]
    Lost,
    /// It may have arrived; no answer in time.
    #[error("no answer in time")]
    Timeout,
    /// It arrived and was refused, with this code.
    #[error("refused: {0}")]
    Refused(String),
}

/// Why an operation of the room itself failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// This node has no such group.
    #[error("group {0:?} is not on this node")]
    NoSuchGroup(crate::GroupId),
    /// The group exists already.
    #[error("group {0:?} was started twice")]
    StartedTwice(crate::GroupId),
    /// Bytes from outside that are no message of this protocol.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// Which message.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The other side sent what it must not send; it was not used.
    #[error("refused: {0}")]
    Refused(String),
    /// The other node did not answer.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The group cannot do this now.
    #[error("not now: {0}")]
    NotNow(String),
    /// The room, or the group, does not run any more.
    #[error("stopped")]
    Stopped,
    /// The process must stop.
    #[error(transparent)]
    Fatal(#[from] Fatal),
}
