//! Confirmations: one device tells how far it has got. A cursor covers everything up to its
//! sequence, only moves forwards, and costs one small row however many messages it covers.

use super::{Conversation, Cursor, answered, refused};
use crate::event::{Applied, Changed, Event};
use crate::id::{DeviceId, UserId};
use crate::number::Seq;
use crate::outcome::{Outcome, Place, Refusal};

pub(super) fn confirm(
    this: &mut Conversation,
    user: &UserId,
    device: DeviceId,
    seq: Seq,
    read: bool,
) -> Applied {
    if let Err(refusal) = this.unless_member(user) {
        return refused(refusal);
    }
    if seq > this.head.last_seq {
        return refused(Refusal::BeyondEnd { last: this.head.last_seq });
    }
    let before = match this.cursors.get(&device) {
        Some(cursor) if cursor.user != *user => return refused(Refusal::NoSuchDevice),
        Some(cursor) => cursor.clone(),
        None => Cursor { user: user.clone(), delivered: Seq(0), read: Seq(0) },
    };
    let overwritten = planted::bug(planted::Bug::CursorOverwritten);
    let delivered = if overwritten { seq } else { before.delivered.max(seq) };
    let after = Cursor {
        user: user.clone(),
        delivered,
        read: if read { before.read.max(seq) } else { before.read }.min(delivered),
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
    assert!(after.read <= after.delivered && after.delivered <= this.head.last_seq);
    let rises = before.read <= after.read && before.delivered <= after.delivered;
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
