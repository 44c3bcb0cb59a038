//! The half of the driver that counts what came of messages and what was handed out, and notes when.

use chat::{CanonicalId, Outcome};
use tokio::time::Instant;

use super::Driver;
use crate::figures;
use crate::session::core::NoOutcome;
use crate::session::words::{Say, Ticket};
use crate::trace::Station;

impl Driver {
    pub(super) fn outcome(&mut self, ticket: Ticket, result: Result<Outcome, NoOutcome>) {
        let stored = match &result {
            Ok(Outcome::Accepted(place)) => Some(place.seq),
            _ => None,
        };
        let sends = figures::sends(&result);
        let Some((since, conversation)) = self.session.handle_outcome(ticket, result) else {
            return;
        };
        sends.increment(1);
        if let Some(seq) = stored {
            let took = since.elapsed();
            figures::SENT.increment(1);
            figures::ACK_SECONDS.record(took.as_secs_f64());
            let now_us = self.parts.clock.now_us();
            self.parts.trace.answered(CanonicalId { conversation, seq }, took, now_us);
        }
    }

    pub(super) fn say(&mut self, say: Say) {
        match &say {
            Say::Live(delivery) => {
                figures::DELIVERED.increment(1);
                let (id, now_us) = (delivery.message().canonical_id(), self.parts.clock.now_us());
                self.parts.trace.note(id, Station::Delivered, now_us);
            }
            Say::CaughtUp => self.begin_bookmarks(),
            Say::Stored { messages, .. } => figures::DELIVERED.increment(messages.len() as u64),
            _ => {}
        }
        self.face.utter(say, Instant::now(), &mut self.out);
    }
}
