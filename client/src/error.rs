//! Why something did not work, one small enum for each kind of operation. Each says whether it may have happened all the
//! same, and what the caller may do. What the client retries by itself never gets here.

use std::time::Duration;

use proto::ProblemCode;
use proto::frames::Problem;
pub use transport::{Certainty, Retry};

/// Why a message was not, or not certainly, stored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SendError {
    /// The cluster said no, for good. Nothing was stored.
    #[error("refused: {}: {}", .0.code, .0.detail)]
    Refused(Problem),
    /// It was tried for `send_patience`, and every attempt was answered with "not now". Nothing was stored.
    #[error("not possible for now: {}: {}", .0.code, .0.detail)]
    Unavailable(Problem),
    /// No node could be reached at all. Nothing was sent.
    #[error("no node could be reached")]
    Unreachable,
    /// It was sent, and no answer came: it may or may not have been stored. Sending the same message id again finds out.
    #[error("sent, and not answered: it may or may not have been stored")]
    Unknown,
    /// As many messages wait already as may wait. Nothing was sent.
    #[error("too many messages wait already")]
    OutboxFull,
    /// It is in this device's store and not answered yet: it is sent as soon as a node can be reached, by this life of the
    /// client or a later one.
    #[error("kept in the outbox, and not answered yet")]
    Pending,
    /// The client was stopped before the message was sent.
    #[error("the client has stopped")]
    Stopped,
}

impl SendError {
    /// Whether the message may have been stored.
    pub fn certainty(&self) -> Certainty {
        match self {
            SendError::Unknown | SendError::Pending => Certainty::Unknown,
            SendError::Refused(_)
            | SendError::Unavailable(_)
            | SendError::Unreachable
            | SendError::OutboxFull
            | SendError::Stopped => Certainty::Definite,
        }
    }

    /// What the caller may do with the same message, under the same message id.
    pub fn retry(&self) -> Retry {
        match self {
            // What is pending is repeated by the client itself.
            SendError::Refused(_) | SendError::Stopped | SendError::Pending => Retry::Never,
            SendError::Unavailable(problem) => after(problem),
            SendError::Unreachable | SendError::Unknown => Retry::Same,
            SendError::OutboxFull => Retry::After(Duration::from_millis(100)),
        }
    }
}

/// Why a confirmation was not taken or a page not read. Asking twice does no harm, so that certainty is no question.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AskError {
    /// The cluster said no, for good.
    #[error("refused: {}: {}", .0.code, .0.detail)]
    Refused(Problem),
    /// No node gave an answer within `ask_patience`.
    #[error("no node gave an answer in time")]
    Unanswered,
    /// As many questions wait already as may wait.
    #[error("too many questions wait already")]
    Busy,
    /// The client was stopped first.
    #[error("the client has stopped")]
    Stopped,
}

impl AskError {
    /// A page that was not read changed nothing; a confirmation may be asked for again without harm.
    pub fn certainty(&self) -> Certainty {
        match self {
            AskError::Refused(_) | AskError::Busy => Certainty::Definite,
            AskError::Unanswered | AskError::Stopped => Certainty::Unknown,
        }
    }

    /// What the caller may do.
    pub fn retry(&self) -> Retry {
        match self {
            AskError::Refused(_) | AskError::Stopped => Retry::Never,
            AskError::Unanswered => Retry::Same,
            AskError::Busy => Retry::After(Duration::from_millis(100)),
        }
    }
}

/// Why a REST call did not do what it should.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CallError {
    /// The cluster said no, for good.
    #[error("refused with {status}: {}: {}", problem.code, problem.detail)]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said.
        problem: Problem,
    },
    /// No node could be reached, or none would do it for now. Nothing was done.
    #[error("not available: {0}")]
    Unavailable(String),
    /// The call broke off after it was sent: it may or may not have been done.
    #[error("not answered: {0}")]
    Unknown(String),
    /// The answer makes no sense to this version.
    #[error("the answer makes no sense: {0}")]
    BadAnswer(String),
    /// The configured authorities cannot be used.
    #[error("the configured authorities cannot be used: {0}")]
    BadConfig(String),
}

impl CallError {
    /// Whether the call may have been carried out.
    pub fn certainty(&self) -> Certainty {
        match self {
            CallError::Refused { .. } | CallError::Unavailable(_) | CallError::BadConfig(_) => {
                Certainty::Definite
            }
            CallError::Unknown(_) | CallError::BadAnswer(_) => Certainty::Unknown,
        }
    }

    /// What the caller may do.
    pub fn retry(&self) -> Retry {
        match self {
            CallError::Refused { .. } | CallError::BadAnswer(_) | CallError::BadConfig(_) => {
                Retry::Never
            }
            CallError::Unavailable(_) | CallError::Unknown(_) => Retry::Same,
        }
    }

    /// The wire code, when the cluster refused with one that this version knows.
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            CallError::Refused { problem, .. } => problem.known_code(),
            _ => None,
        }
    }

    /// Whether the session is over: the only way on is to log in again.
    pub fn ends_session(&self) -> bool {
        matches!(self, CallError::Refused { status: 401, .. })
    }
}

fn after(problem: &Problem) -> Retry {
    match problem.retry_after_ms {
        0 => Retry::Same,
        ms => Retry::After(Duration::from_millis(ms)),
    }
}
