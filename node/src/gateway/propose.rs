//! Proposals of requests: repeated while the answer is lost, because the same command twice is one command.

use chat::{Command, ConversationId, Outcome, UserCommand, UserId};
use proto::{Problem, ProblemCode};

use super::{Parts, problems};
use crate::router::{Certainty, RouteError, Router};

/// How often a request's command is offered while its answer is lost. Each attempt waits at most as long as the
/// router does; the client is told to repeat the rest.
const ATTEMPTS_MAX: usize = 2;

/// What a command came to.
pub(crate) struct Proposed {
    pub(crate) outcome: Outcome,
    /// An earlier attempt may have been carried out, so a refusal may be about this command's own effect.
    pub(crate) repeated: bool,
}

impl Parts {
    /// Proposes to a user's record.
    pub(super) async fn propose_to_user(
        &self,
        user: &UserId,
        command: &UserCommand,
    ) -> Result<Proposed, Problem> {
        propose(&self.router, user.slot(), proto::encode_user_command(user, command)).await
    }

    /// Proposes to a conversation.
    pub(super) async fn propose_to_conversation(
        &self,
        id: ConversationId,
        command: &Command,
    ) -> Result<Proposed, Problem> {
        propose(&self.router, id.slot(), proto::encode_conversation_command(id, command)).await
    }
}

/// Proposes any command of the shard of `slot` that is the same when it is done twice.
pub(crate) async fn propose(
    router: &Router,
    slot: u16,
    command: bytes::Bytes,
) -> Result<Proposed, Problem> {
    // What commits must be read by every replica, and stops those that cannot: nothing goes into the log that was
    // not read back here first.
    if let Err(error) = proto::decode_command(&command) {
        tracing::error!(%error, "a command that cannot be read back was not proposed");
        return Err(Problem::of(ProblemCode::Internal));
    }
    let mut last = RouteError::Unknown;
    for attempt in 0..ATTEMPTS_MAX {
        match router.submit(slot, command.clone()).await {
            Ok(outcome) => return Ok(Proposed { outcome, repeated: attempt > 0 }),
            Err(error) if error.certainty() == Certainty::Unknown => last = error,
            // A definite failure after a lost answer leaves the first attempt as unknown as it was.
            Err(error) if attempt == 0 => return Err(problems::of_route(&error)),
            Err(_) => break,
        }
    }
    Err(problems::of_route(&last))
}

/// The problem of an outcome that is none of the good ones.
pub(crate) fn accepted(outcome: &Outcome) -> Result<(), Problem> {
    match outcome {
        Outcome::Accepted(_) | Outcome::Duplicate(_) => Ok(()),
        Outcome::Refused(refusal) => Err(Problem::from(refusal)),
        Outcome::Conflict(conflict) => Err(Problem::from(conflict)),
    }
}
