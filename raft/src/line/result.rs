//! What the engine's answer to an entry means for those who wait for it. The one place where
//! "certainly not appended" is told from "nobody knows".

use bytes::Bytes;
use openraft::errors::{ClientWriteError, ForwardReason};

use super::{AnswerSender, count_refusal};
use crate::{NodeId, ProposeError, figures, types::WriteResult};

/// The fate of an entry.
pub(super) enum Verdict {
    /// Applied; one outcome for each command.
    Outcomes(Vec<Bytes>),
    /// The same error for each command.
    Failed(ProposeError),
    /// The engine died with the entry in hand.
    EngineGone,
}

impl Verdict {
    pub(super) fn of(result: Option<WriteResult>) -> Self {
        match result {
            None => Self::EngineGone,
            Some(Ok(response)) => Self::Outcomes(response.data.0),
            // The engine's contract: rejected before the entry was appended.
            Some(Err(ClientWriteError::ForwardToLeader(forward))) => {
                Self::Failed(match forward.reason {
                    ForwardReason::LeaseExpired => ProposeError::Unavailable,
                    ForwardReason::NotLeader | ForwardReason::LeadershipTransfer => {
                        ProposeError::NotLeader { leader: forward.leader_id.map(NodeId) }
                    }
                })
            }
            // Discarded here, but another replica may have committed it. The rest cannot happen to
            // entries; if it does, nothing definite is known.
            Some(Err(
                ClientWriteError::LogEntryDiscarded(_)
                | ClientWriteError::ChangeMembershipError(_)
                | ClientWriteError::PreconditionFailed(_),
            )) => Self::Failed(ProposeError::Unknown),
        }
    }

    /// Answers everybody. Too few outcomes, a broken machine, leave the rest unknown.
    pub(super) fn tell(self, answers: Vec<AnswerSender>) {
        let mut outcomes = Vec::new();
        let error = match self {
            Self::Outcomes(all) => {
                outcomes = all;
                ProposeError::Unknown
            }
            Self::Failed(error) => error,
            Self::EngineGone => ProposeError::Unknown,
        };
        let mut outcomes = outcomes.into_iter();
        let (mut applied, mut waiting) = (0, answers.into_iter());
        for answer in waiting.by_ref().take(outcomes.len()) {
            applied += 1;
            let outcome = outcomes.next().expect("as many as were taken");
            // Nobody waits any more: then nobody needs to know.
            let _ = answer.send(Ok(outcome));
        }
        if applied > 0 {
            figures::APPLIED.increment(applied);
        }
        for answer in waiting {
            count_refusal(&error);
            let _ = answer.send(Err(error.clone()));
        }
    }
}
