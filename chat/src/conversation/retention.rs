//! How long messages are kept, and that their time has passed.
//!
//! Nothing expires by itself: a replica that reads a clock would differ from the others. Whoever leads asks for it, and it
//! is judged like everything else, at the time that stands in the log. What expired is gone for everybody, whether it
//! reached every device or not: its place and what the chain covers of it stay, what it said does not.

use std::sync::Arc;

use super::changes::{self, erase, record};
use super::{Conversation, Kind, Role, answered, place_of, refused};
use crate::change::{Recorded, What};
use crate::command::Known;
use crate::event::{Applied, Changed, Event, Expired};
use crate::id::UserId;
use crate::limits::{EXPIRE_MAX, RETENTION_SECONDS_MAX};
use crate::number::{Seq, Timestamp};
use crate::outcome::{Outcome, Refusal};
use crate::slot::ConversationId;

/// For how many seconds a conversation's messages are kept; at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Retention(pub u64);

impl Retention {
    /// Whether a message of `said` has been kept for that long at `now`.
    pub fn has_passed(self, said: Timestamp, now: Timestamp) -> bool {
        self.ends(said) <= now
    }

    /// When the time of a message of `said` has passed.
    pub fn ends(self, said: Timestamp) -> Timestamp {
        Timestamp(said.0.saturating_add(self.0.saturating_mul(1000)))
    }
}

/// In a group its owners say how long messages are kept, of a direct conversation either of the two.
pub(super) fn set(
    this: &mut Conversation,
    id: ConversationId,
    at: Timestamp,
    by: &UserId,
    retention: Option<Retention>,
) -> Applied {
    if let Err(refusal) = this.unless_member(by) {
        return refused(refusal);
    }
    let role = this.members.get(by).map(|member| member.role);
    if matches!(this.head.kind, Kind::Group { .. }) && role < Some(Role::Owner) {
        return refused(Refusal::NotAllowed);
    }
    let lawful = |kept: Retention| (1..=RETENTION_SECONDS_MAX).contains(&kept.0);
    if !retention.is_none_or(lawful) {
        return refused(Refusal::TooLarge { limit: RETENTION_SECONDS_MAX });
    }
    if this.head.retention == retention {
        return answered(Outcome::Accepted(place_of(&this.head)));
    }
    this.head.retention = retention;
    let change = record(this, id, at, by, What::RetentionSet { retention });
    let recorded = Recorded {
        change: Arc::clone(&change),
        place: None,
        overlay: None,
        erased: None,
        emptied: Vec::new(),
    };
    Applied {
        outcome: Outcome::Accepted(changes::place_of(&change)),
        event: Some(Event::Changed(change)),
        changed: Changed {
            head: true,
            retention: true,
            change: Some(Box::new(recorded)),
            ..Changed::default()
        },
        owed: Vec::new(),
    }
}

/// Everything up to `up_to` has expired, if its time has passed at `at`. Messages stand in the order of their times, so
/// the last one speaks for all.
pub(super) fn expire(this: &mut Conversation, at: Timestamp, up_to: Seq, known: &Known) -> Applied {
    if up_to > this.head.last_seq {
        return refused(Refusal::BeyondEnd { last: this.head.last_seq });
    }
    if up_to <= this.head.expired {
        return answered(Outcome::Accepted(place_of(&this.head)));
    }
    if up_to.0 - this.head.expired.0 > EXPIRE_MAX {
        return refused(Refusal::TooLarge { limit: EXPIRE_MAX });
    }
    let due = known.expiring.iter().map(|subject| subject.message.seq.0);
    assert!(due.eq(this.head.expired.0 + 1..=up_to.0), "exactly what is to expire was looked up");
    let last = known.expiring.last().expect("at least one is to expire");
    let has_passed = |kept: Retention| kept.has_passed(last.message.at, at);
    if !this.head.retention.is_some_and(has_passed) {
        return refused(Refusal::NotAllowed);
    }
    this.head.expired = up_to;
    let said = known.expiring.iter().filter(|subject| subject.message.erased.is_none());
    let expired = Expired {
        up_to,
        messages: said.map(|subject| Arc::new(erase(&subject.message))).collect(),
        laid: known.expiring.iter().map(|subject| subject.message.seq).collect(),
        emptied: known.expiring.iter().flat_map(|one| one.overlay.edits.iter().copied()).collect(),
    };
    Applied {
        outcome: Outcome::Accepted(place_of(&this.head)),
        event: None,
        changed: Changed { head: true, expired: Some(Box::new(expired)), ..Changed::default() },
        owed: Vec::new(),
    }
}
