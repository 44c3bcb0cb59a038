//! Confirmations: one device tells how far it has got. A cursor covers everything up to its
//! sequence, only moves forwards, and costs one small row however many messages it covers. Messages
//! and changes have each their own mark in it.
//!
//! What a user reads in secret (`hidden`) moves the mark of their own devices and not the one that
//! is shown to others: to them such a message is delivered and no more.

use super::{Conversation, Cursor, answered, refused};
use crate::event::{Applied, Changed, Event};
use crate::id::{DeviceId, UserId};
use crate::number::{ChangeNumber, Seq};
use crate::outcome::{Outcome, Place, Refusal};

/// Whether a message was read, and whether others may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// It was not.
    No,
    /// It was, and others are told.
    Open,
    /// It was, in secret.
    Hidden,
}

impl Reading {
    pub(super) fn of(read: bool, hidden: bool) -> Self {
        match (read, hidden) {
            (false, _) => Self::No,
            (true, false) => Self::Open,
            (true, true) => Self::Hidden,
        }
    }
}

/// Where the device stands; `None` when it is somebody else's.
fn cursor_of(this: &Conversation, user: &UserId, device: DeviceId) -> Option<Cursor> {
    match this.cursors.get(&device) {
        Some(cursor) if cursor.user != *user => None,
        Some(cursor) => Some(cursor.clone()),
        None => Some(Cursor::of(user.clone())),
    }
}

/// A device has all changes up to `change`.
pub(super) fn confirm_changes(
    this: &mut Conversation,
    user: &UserId,
    device: DeviceId,
    change: ChangeNumber,
) -> Applied {
    if let Err(refusal) = this.unless_member(user) {
        return refused(refusal);
    }
    if change > this.head.last_change {
        return refused(Refusal::BeyondEnd { last: Seq(this.head.last_change.0) });
    }
    let Some(mut cursor) = cursor_of(this, user, device) else {
        return refused(Refusal::NoSuchDevice);
    };
    let outcome = Outcome::Accepted(Place {
        at: this.head.last_at,
        delivered: cursor.delivered,
        read: cursor.read,
        change: cursor.changes.max(change),
        ..Place::default()
    });
    if change <= cursor.changes {
        return answered(outcome);
    }
    cursor.changes = change;
    this.progress.cursor_moved(&this.members, &cursor);
    this.cursors.insert(device, cursor);
    let changed = Changed { cursor: Some(device), ..Changed::default() };
    Applied { outcome, event: None, changed, owed: Vec::new() }
}

pub(super) fn confirm(
    this: &mut Conversation,
    user: &UserId,
    device: DeviceId,
    seq: Seq,
    read: Reading,
) -> Applied {
    if let Err(refusal) = this.unless_member(user) {
        return refused(refusal);
    }
    if seq > this.head.last_seq {
        return refused(Refusal::BeyondEnd { last: this.head.last_seq });
    }
    let Some(before) = cursor_of(this, user, device) else {
        return refused(Refusal::NoSuchDevice);
    };
    let overwritten = planted::bug(planted::Bug::CursorOverwritten);
    let delivered = if overwritten { seq } else { before.delivered.max(seq) };
    let raised = |mark: Seq, to: bool| if to { mark.max(seq) } else { mark }.min(delivered);
    let after = Cursor {
        user: user.clone(),
        delivered,
        read: raised(before.read, read != Reading::No),
        shown: raised(before.shown, read == Reading::Open),
        changes: before.changes,
    };
    let outcome = Outcome::Accepted(Place {
        seq,
        at: this.head.last_at,
        delivered: after.delivered,
        read: after.read,
        ..Place::default()
    });
    if after == before {
        return answered(outcome);
    }
    assert!(after.shown <= after.read && after.read <= after.delivered);
    assert!(after.delivered <= this.head.last_seq);
    let rises = before.read <= after.read && before.delivered <= after.delivered;
    let rises = rises && before.shown <= after.shown;
    assert!(rises || overwritten, "a cursor only moves forwards");
    this.cursors.insert(device, after.clone());
    let (best_before, best_after) = this.progress.cursor_moved(&this.members, &after);
    let floors = this.floors();
    let user = user.clone();
    Applied {
        outcome,
        event: Some(Event::CursorMoved {
            user,
            device,
            before,
            after,
            best_before,
            best_after,
            floors,
        }),
        changed: Changed { cursor: Some(device), ..Changed::default() },
        owed: Vec::new(),
    }
}
