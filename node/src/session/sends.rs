//! Messages of this link that wait for their outcome.
//!
//! Also answers whether a stored message is this link's own, so that a sender does not get its own message back:
//! the hint of a message may come before its outcome.

use std::collections::{BTreeMap, VecDeque};

use chat::{ConversationId, MessageId};
use tokio::time::Instant;

use super::words::Ticket;

/// Messages of one session without an answer. Beyond it no further frame is read, so a client that sends faster
/// than a quorum can write waits at its own socket.
pub(crate) const CREDIT: usize = 256;
/// Messages with a lost answer that are remembered as this link's own: they may be stored later.
const UNKNOWN_MAX: usize = CREDIT;

/// One message without an answer.
#[derive(Debug)]
pub(crate) struct Flying {
    pub(crate) tag: u64,
    pub(crate) conversation: ConversationId,
    pub(crate) message_id: MessageId,
    pub(crate) since: Instant,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Sends {
    flying: BTreeMap<Ticket, Flying>,
    /// How many attempts of each message are flying or of unknown outcome.
    attempts: BTreeMap<(ConversationId, MessageId), u32>,
    unknown: VecDeque<(ConversationId, MessageId)>,
}

impl Sends {
    pub(crate) fn has_credit(&self) -> bool {
        self.flying.len() < CREDIT
    }

    pub(crate) fn begin(&mut self, ticket: Ticket, flying: Flying) {
        let key = (flying.conversation, flying.message_id.clone());
        *self.attempts.entry(key).or_default() += 1;
        let before = self.flying.insert(ticket, flying);
        assert!(before.is_none(), "tickets are unique within a session");
    }

    /// Whether `ticket` is a message's.
    pub(crate) fn knows(&self, ticket: Ticket) -> bool {
        self.flying.contains_key(&ticket)
    }

    /// The outcome is here. `certain` is false when the message may yet be stored.
    pub(crate) fn end(&mut self, ticket: Ticket, certain: bool) -> Option<Flying> {
        let flying = self.flying.remove(&ticket)?;
        let key = (flying.conversation, flying.message_id.clone());
        if certain {
            self.forget(&key);
        } else {
            self.unknown.push_back(key);
            if self.unknown.len() > UNKNOWN_MAX {
                let oldest = self.unknown.pop_front().expect("it is longer than its limit");
                self.forget(&oldest);
            }
        }
        Some(flying)
    }

    /// Whether a message of this device was sent on this link and not answered.
    pub(crate) fn is_waiting(&self, conversation: ConversationId, message_id: &MessageId) -> bool {
        !self.attempts.is_empty() && self.attempts.contains_key(&(conversation, message_id.clone()))
    }

    fn forget(&mut self, key: &(ConversationId, MessageId)) {
        let attempts = self.attempts.get_mut(key).expect("each attempt was counted when it began");
        *attempts -= 1;
        if *attempts == 0 {
            self.attempts.remove(key);
        }
    }
}
