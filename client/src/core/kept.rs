//! The core beside a store: what it begins with, what is to be recorded of each turn, and what happens when the cluster's
//! history turns out to be another one. Nothing is written here: the driver writes the records of a turn in one transaction
//! before it does anything that the turn wants done.

use std::collections::BTreeSet;
use std::time::Duration;

use chat::{ConversationId, Seq};

use super::limits::CONFIRM_PAUSE;
use super::{Action, Core};
use crate::Incoming;
use crate::store::{Head, Kept, Record};

/// What this core tells its store.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// There is a store at all.
    pub(super) on: bool,
    pub(super) records: Vec<Record>,
    /// Something of this turn may only be done when its records are durable.
    pub(super) durably: bool,
    /// No confirmation is written before.
    confirm_at: Duration,
    /// Conversations that were forgotten: what was delivered since is to be delivered anew, on another link.
    void: BTreeSet<ConversationId>,
}

impl Core {
    /// Begins where an earlier life of this device was.
    pub(crate) fn restore(&mut self, kept: Kept) {
        self.keeping.on = true;
        self.resume = kept.resume;
        self.outbox.restore(kept.outbox, &kept.lanes);
        for lane in kept.lanes {
            self.confirms.restore(lane.conversation, lane.wanted, lane.confirmed);
            self.delivery.restore(lane.conversation, lane.wanted.delivered, lane.status);
            self.changes.restore(lane.conversation, lane.changes_wanted, lane.changes_confirmed);
        }
    }

    /// The records since the last call, and whether they must be durable before anything else is done.
    pub(crate) fn records(&mut self) -> (Vec<Record>, bool) {
        if !self.keeping.on {
            return (Vec::new(), false);
        }
        let mut records = std::mem::take(&mut self.keeping.records);
        records.extend(self.outbox.numbers());
        records.extend(self.confirms.standings());
        records.extend(self.changes.taken());
        (records, std::mem::take(&mut self.keeping.durably))
    }

    pub(super) fn record(&mut self, record: Record) {
        if self.keeping.on {
            self.keeping.records.push(record);
        }
    }

    /// The store holds this: the answer to [`Action::Heads`].
    pub(crate) fn compare(&mut self, now: Duration, heads: Vec<Head>) {
        self.compare.heads(heads);
        self.flush(now);
    }

    /// The store was told a message that contradicts what it holds.
    pub(crate) fn contradicted(&mut self, now: Duration, conversation: ConversationId) {
        if !self.keeping.void.contains(&conversation) {
            self.rewritten(conversation);
        }
        self.relink(now);
    }

    /// A link begins: it delivers everything from the cluster's own cursors.
    pub(super) fn begins(&mut self) {
        self.keeping.void.clear();
    }

    /// This link began anew: what is held may be of another history.
    pub(super) fn began_anew(&mut self) {
        if self.keeping.on && self.compare.begin() {
            self.actions.push_back(Action::Heads);
        }
    }

    /// A comparison came to its end; `other`: there the history is another one.
    pub(super) fn compared(&mut self, now: Duration, other: Option<ConversationId>) {
        if let Some(conversation) = other {
            self.rewritten(conversation);
        }
        self.relink(now);
    }

    fn rewritten(&mut self, conversation: ConversationId) {
        self.record(Record::Forget(conversation));
        self.delivery.forget(conversation);
        self.confirms.forget(conversation);
        self.changes.forget(conversation);
        self.outbox.forget_count(conversation);
        self.compare.refill(conversation);
        self.incoming.push_back(Incoming::Rewritten { conversation });
        self.keeping.void.insert(conversation);
    }

    /// Once everything is compared: a new link delivers from the cluster's own cursors what was passed over meanwhile
    /// because its numbers were taken for known.
    fn relink(&mut self, now: Duration) {
        if self.keeping.void.is_empty() || !self.compare.is_settled() {
            return;
        }
        if let Some(main) = self.links.main_id() {
            self.actions.push_back(Action::Close(main));
            self.link_lost(now, main, "history was rewritten: all anew".to_owned());
        }
    }

    /// Whether confirmations may be written now. The store is durable before they are.
    pub(super) fn may_confirm(&mut self, now: Duration) -> bool {
        if !self.keeping.on {
            return true;
        }
        let waits = self.confirms.is_waiting() || self.changes.is_waiting();
        if !waits || self.confirms_are_held() || now < self.keeping.confirm_at {
            return false;
        }
        self.keeping.confirm_at = now + CONFIRM_PAUSE;
        self.keeping.durably = true;
        true
    }

    /// When confirmations may be written that wait only for their time.
    pub(super) fn confirm_timeout(&self) -> Option<Duration> {
        let waits = self.confirms.is_waiting() || self.changes.is_waiting();
        let held = !self.keeping.on || self.confirms_are_held() || !self.links.stands();
        (waits && !held).then_some(self.keeping.confirm_at)
    }

    fn confirms_are_held(&self) -> bool {
        !self.keeping.void.is_empty() || !self.compare.is_settled()
    }

    /// Everything up to here expired.
    pub(super) fn expired(&mut self, conversation: &[u8], up_to: u64) {
        if up_to == 0 {
            return;
        }
        if let Ok(conversation) = ConversationId::from_bytes(conversation) {
            self.record(Record::Expired { conversation, up_to: Seq(up_to) });
        }
    }

    /// The store cannot be written: nothing may be promised any more.
    pub(crate) fn store_failed(&mut self, reason: String) {
        if !self.stopped {
            self.incoming.push_back(Incoming::StoreFailed { reason });
        }
        self.stop();
        self.actions.retain(|action| !matches!(action, Action::Write(..)));
    }
}
