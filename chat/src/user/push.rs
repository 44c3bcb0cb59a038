//! What becomes of registrations.
//!
//! Laws: notices of a registration are numbered 1, 2, 3 … and what a number means is decided before it is sent, so that a
//! repetition says the same; `done` moves forward past what was taken or given up, and back only by a replay; everything
//! after `done` is kept, and of the rest the newest.

use std::collections::BTreeSet;

use super::{
    AppliedUser, User, UserChanged, UserEvent, accepted, answered, nothing_to_do, refused,
};
use crate::id::DeviceId;
use crate::limits::{
    DEAD_LETTERS_MAX, NOTICES_KEPT, NOTICES_OUTSTANDING_MAX, PUSH_TOKEN_BYTES_MAX,
    REASON_BYTES_MAX, REGISTRATIONS_MAX, URI_BYTES_MAX,
};
use crate::number::{Order, Seq, Timestamp};
use crate::outcome::{Outcome, Place, Refusal};
use crate::push::{DeadLetter, Notice, PushCommand, PushId, Registration, Target};
use crate::slot::ConversationId;

/// Which rows of registrations differ from before; whatever is absent now has its row deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushChanged {
    /// Registrations themselves.
    pub registrations: BTreeSet<PushId>,
    /// Notices by registration and number.
    pub notices: BTreeSet<(PushId, u64)>,
    /// Marks by registration and conversation.
    pub marks: BTreeSet<(PushId, ConversationId)>,
    /// Dead letters by registration and number.
    pub dead: BTreeSet<(PushId, u64)>,
}

pub(super) fn push(
    this: &mut User,
    at: Timestamp,
    id: PushId,
    command: &PushCommand,
) -> AppliedUser {
    let applied = match (this.pushes.get_mut(&id), command) {
        (_, PushCommand::Add { device, target }) => {
            add(this, at, id, Registration::new(*device, target.clone(), at))
        }
        (None, _) => refused(Refusal::NoSuchRegistration),
        (Some(_), PushCommand::Remove) => {
            let changed = remove(this, &[id]);
            pushed(at, Some(UserEvent::PushRemoved { push: id }), 0, changed)
        }
        (Some(_), PushCommand::Notify { after, items }) => notify(this, at, id, *after, items),
        (Some(push), PushCommand::MarkPushed { after, up_to }) => {
            mark_pushed(push, at, id, *after, *up_to)
        }
        (Some(push), PushCommand::GiveUp { number, attempts, reason }) => {
            give_up(push, at, id, *number, (*attempts, reason))
        }
        (Some(push), PushCommand::Replay { from }) => replay(push, at, id, *from),
        (Some(push), PushCommand::Revive { number }) => revive(push, at, id, *number),
    };
    if let Some(push) = this.pushes.get(&id) {
        assert_lawful(push);
    }
    assert!(this.pushes.len() <= REGISTRATIONS_MAX, "registrations are bounded");
    applied
}

/// Everything that belongs to `devices`, whose sessions have ended.
pub(super) fn end_devices(this: &mut User, devices: &BTreeSet<DeviceId>) -> PushChanged {
    let is_bound = |push: &Registration| push.device.is_some_and(|it| devices.contains(&it));
    let bound = this.pushes.iter().filter(|(_, push)| is_bound(push));
    let ids: Vec<PushId> = bound.map(|(id, _)| *id).collect();
    remove(this, &ids)
}

/// The marks of a conversation that left the list.
pub(super) fn unlink(this: &mut User, conversation: ConversationId) -> PushChanged {
    let mut changed = PushChanged::default();
    for (id, push) in &mut this.pushes {
        if push.marks.remove(&conversation).is_some() {
            changed.marks.insert((*id, conversation));
        }
    }
    changed
}

fn assert_lawful(push: &Registration) {
    assert!(push.done <= push.last, "nothing is done that was never decided");
    let kept = push.notices.range(push.done + 1..).count() as u64;
    assert_eq!(kept, push.outstanding(), "every outstanding notice is kept");
    assert!(push.notices.len() <= NOTICES_KEPT, "notices are bounded");
    assert!(push.dead.len() <= DEAD_LETTERS_MAX, "dead letters are bounded");
    let newest = push.notices.keys().next_back();
    assert!(newest.is_none_or(|number| *number <= push.last), "no number before its time");
}

fn add(this: &mut User, at: Timestamp, id: PushId, new: Registration) -> AppliedUser {
    if let Some(existing) = this.pushes.get(&id) {
        let same = existing.target == new.target && existing.device == new.device;
        let place = Place { at: existing.created_at, ..Place::default() };
        return match same {
            true => answered(Outcome::Duplicate(place)),
            false => answered(Outcome::Conflict(crate::outcome::Conflict::DeviceUsed)),
        };
    }
    if let Err(limit) = fits(&new.target) {
        return refused(Refusal::TooLarge { limit: limit as u64 });
    }
    if new.device.is_some_and(|device| !this.devices.contains_key(&device)) {
        return refused(Refusal::NoSuchDevice);
    }
    let same = this.pushes.iter().filter(|(_, push)| push.target.is_same_place(&new.target));
    let same: Vec<PushId> = same.map(|(id, _)| *id).collect();
    if this.pushes.len() - same.len() >= REGISTRATIONS_MAX {
        return refused(Refusal::TooManyRegistrations { limit: REGISTRATIONS_MAX as u64 });
    }
    let mut changed = remove(this, &same);
    this.pushes.insert(id, new);
    changed.registrations.insert(id);
    pushed(at, Some(UserEvent::PushAdded { push: id }), 0, changed)
}

fn fits(target: &Target) -> Result<(), usize> {
    let limit = match target {
        Target::Webhook { .. } | Target::WebPush { .. } => URI_BYTES_MAX,
        Target::Apns { .. } | Target::Fcm { .. } => PUSH_TOKEN_BYTES_MAX,
    };
    if target.address().len() <= limit { Ok(()) } else { Err(limit) }
}

fn remove(this: &mut User, ids: &[PushId]) -> PushChanged {
    let mut changed = PushChanged::default();
    for id in ids {
        let Some(gone) = this.pushes.remove(id) else { continue };
        changed.registrations.insert(*id);
        changed.notices.extend(gone.notices.keys().map(|number| (*id, *number)));
        changed.marks.extend(gone.marks.keys().map(|conversation| (*id, *conversation)));
        changed.dead.extend(gone.dead.keys().map(|number| (*id, *number)));
    }
    changed
}

/// A decision that did not know the newest number is refused: it may have been made already.
fn notify(
    this: &mut User,
    at: Timestamp,
    id: PushId,
    after: u64,
    items: &[(ConversationId, Seq)],
) -> AppliedUser {
    let push = this.pushes.get_mut(&id).expect("the caller found it");
    let room = NOTICES_OUTSTANDING_MAX.saturating_sub(push.outstanding());
    if after != push.last || items.len() as u64 > room {
        return refused(Refusal::OutOfOrder { expected: Order(push.last) });
    }
    let mut changed = PushChanged::default();
    for (conversation, seq) in items {
        let told = push.marks.get(conversation).copied().unwrap_or_default();
        if *seq <= told || !this.conversations.contains_key(conversation) {
            continue;
        }
        push.marks.insert(*conversation, *seq);
        changed.marks.insert((id, *conversation));
        append(push, id, Notice { conversation: *conversation, seq: *seq, at }, &mut changed);
    }
    if changed == PushChanged::default() {
        return nothing_to_do(at);
    }
    changed.registrations.insert(id);
    pushed(at, None, push.last, changed)
}

/// Gives a notice the next number, and lets the oldest of those that are done go.
fn append(push: &mut Registration, id: PushId, notice: Notice, changed: &mut PushChanged) {
    push.last += 1;
    push.notices.insert(push.last, notice);
    changed.notices.insert((id, push.last));
    while push.notices.len() > NOTICES_KEPT
        && let Some(oldest) = push.notices.keys().next().copied()
        && oldest <= push.done
    {
        push.notices.remove(&oldest);
        changed.notices.insert((id, oldest));
    }
}

/// Only from where the sender began: after a replay it began elsewhere, and what it sent must be sent again.
fn mark_pushed(
    push: &mut Registration,
    at: Timestamp,
    id: PushId,
    after: u64,
    up_to: u64,
) -> AppliedUser {
    if push.done == up_to {
        return nothing_to_do(at);
    }
    if push.done != after || up_to <= after || up_to > push.last {
        return refused(Refusal::OutOfOrder { expected: Order(push.done) });
    }
    push.done = up_to;
    let changed = PushChanged { registrations: [id].into(), ..PushChanged::default() };
    pushed(at, None, up_to, changed)
}

fn give_up(
    push: &mut Registration,
    at: Timestamp,
    id: PushId,
    number: u64,
    (attempts, reason): (u64, &str),
) -> AppliedUser {
    if push.done == number && push.dead.contains_key(&number) {
        return nothing_to_do(at);
    }
    if push.done + 1 != number || number > push.last {
        return refused(Refusal::OutOfOrder { expected: Order(push.done) });
    }
    if reason.len() > REASON_BYTES_MAX {
        return refused(Refusal::TooLarge { limit: REASON_BYTES_MAX as u64 });
    }
    let notice = push.notices[&number];
    let letter = DeadLetter { notice, at, attempts, reason: reason.to_owned() };
    let mut changed = PushChanged { registrations: [id].into(), ..PushChanged::default() };
    push.done = number;
    push.dead.insert(number, letter);
    changed.dead.insert((id, number));
    if push.dead.len() > DEAD_LETTERS_MAX
        && let Some((oldest, _)) = push.dead.pop_first()
    {
        changed.dead.insert((id, oldest));
    }
    pushed(at, None, number, changed)
}

/// From a number that is kept; an older one begins at the oldest that is, and the next one to come at nothing.
fn replay(push: &mut Registration, at: Timestamp, id: PushId, from: u64) -> AppliedUser {
    let oldest = push.notices.keys().next().copied().unwrap_or(push.last + 1);
    let from = from.max(oldest);
    if from > push.last + 1 {
        return refused(Refusal::BeyondEnd { last: Seq(push.last) });
    }
    if from > push.done {
        // It is still to be told anyway.
        return accepted(at, None, UserChanged::default());
    }
    push.done = from - 1;
    let changed = PushChanged { registrations: [id].into(), ..PushChanged::default() };
    pushed(at, None, from, changed)
}

fn revive(push: &mut Registration, at: Timestamp, id: PushId, number: u64) -> AppliedUser {
    if push.outstanding() >= NOTICES_OUTSTANDING_MAX {
        return refused(Refusal::OutOfOrder { expected: Order(push.last) });
    }
    let Some(letter) = push.dead.remove(&number) else {
        return refused(Refusal::NoSuchRegistration);
    };
    let mut changed = PushChanged { registrations: [id].into(), ..PushChanged::default() };
    changed.dead.insert((id, number));
    append(push, id, Notice { at, ..letter.notice }, &mut changed);
    pushed(at, None, push.last, changed)
}

/// Accepted; the number goes into the place as its order.
fn pushed(
    at: Timestamp,
    event: Option<UserEvent>,
    number: u64,
    changed: PushChanged,
) -> AppliedUser {
    let mut applied = accepted(at, event, UserChanged { push: changed, ..UserChanged::default() });
    applied.outcome = Outcome::Accepted(Place { at, order: Order(number), ..Place::default() });
    applied
}
