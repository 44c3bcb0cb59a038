//! The half of the driver that proposes: at once, or when the assets of a message are handed on.

use std::sync::Arc;

use chat::ConversationId;
use proto::{Problem, ProblemCode};

use super::{Done, Driver, Flight};
use crate::session::core::NoOutcome;
use crate::session::line::Waiting;

impl Driver {
    /// Begins to hand on the assets of the messages that are first in their lines now.
    pub(super) fn hand_on(&mut self) {
        while let Some((id, assets)) = self.line.poll() {
            let who = self.who.clone().expect("only an admitted session sends");
            let parts = Arc::clone(&self.parts);
            self.rest.push(Box::pin(async move {
                let handed_on = match assets {
                    Some(assets) => parts.assets.hand_on(&who.user, &assets, id).await,
                    None => Err(Problem::of(ProblemCode::AssetNotAccessible)),
                };
                Done::HandedOn(id, handed_on.map_err(|problem| problem.about("attachmentURI")))
            }));
        }
    }

    pub(super) fn handed_on(&mut self, id: ConversationId, result: Result<(), Problem>) {
        let (first, others) = self.line.settle(id);
        match result {
            Ok(()) => self.submit(first),
            Err(problem) => self.outcome(first.ticket, Err(NoOutcome::NotProposed(problem))),
        }
        others.into_iter().for_each(|waiting| self.submit(waiting));
        self.hand_on();
    }

    pub(super) fn submit(&mut self, Waiting { ticket, proposal }: Waiting) {
        let id = proposal.conversation;
        let command = proto::encode_conversation_command(id, &proposal.command);
        let _span = tracing::debug_span!("route", slot = id.slot()).entered();
        let routed = self.parts.router.submit(id.slot(), command);
        // Binary frames tell of a status apart from the answer.
        let router = (!self.binary).then(|| self.parts.router.clone());
        self.outcomes.push(Flight { ticket, slot: id.slot(), routed, router });
    }
}
