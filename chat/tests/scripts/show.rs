//! Prints what a decision comes to, one line for each part, nothing for a part that is empty.

use chat::{
    Applied, AppliedUser, Change, Changed, Conversation, Event, LinkTo, Outcome, Overlay, Owed,
    Place, Recorded, UserEvent, UserId, What,
};
use std::collections::BTreeSet;

pub(crate) fn applied(applied: &Applied) -> Vec<String> {
    let mut lines = vec![outcome(&applied.outcome)];
    lines.extend(applied.event.as_ref().map(event));
    lines.extend(rows(&applied.changed));
    lines.extend(applied.owed.iter().map(owed));
    lines
}

pub(crate) fn applied_user(applied: &AppliedUser) -> Vec<String> {
    let mut lines = vec![outcome(&applied.outcome)];
    lines.extend(applied.event.as_ref().map(user_event));
    let mut rows = Vec::new();
    rows.extend(applied.changed.account.then(|| "account".to_owned()));
    rows.extend(applied.changed.settings.then(|| "settings".to_owned()));
    rows.extend(applied.changed.devices.iter().map(|device| format!("device {}", device.0)));
    rows.extend(applied.changed.link.map(|_| "link".to_owned()));
    let push = &applied.changed.push;
    rows.extend(push.registrations.iter().map(|id| format!("registration {}", id.0)));
    rows.extend(push.notices.iter().map(|(id, number)| format!("notice {}.{number}", id.0)));
    rows.extend(push.marks.iter().map(|(id, _)| format!("mark of {}", id.0)));
    rows.extend(push.dead.iter().map(|(id, number)| format!("dead letter {}.{number}", id.0)));
    lines.extend((!rows.is_empty()).then(|| format!("  rows: {}", rows.join(", "))));
    lines
}

pub(crate) fn conversation(this: &Conversation) -> Vec<String> {
    let mut lines = vec![format!("last seq {}, time {}", this.head.last_seq, this.head.last_at)];
    for (user, member) in &this.members {
        let best = this.best(user);
        let (delivered, read) = (this.delivered_floor(user), this.read_floor(user));
        lines.push(format!(
            "  {user}: {:?}, sees from {}, has {}, read {}; others have {delivered}, read {read}",
            member.role,
            this.visible_from(user).expect("a member sees"),
            best.delivered,
            best.read,
        ));
    }
    lines
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted(place) => format!("accepted {}", self::place(place)),
        Outcome::Duplicate(place) => format!("duplicate {}", self::place(place)),
        Outcome::Refused(refusal) => format!("refused {refusal}"),
        Outcome::Conflict(conflict) => format!("conflict {}", conflict.code()),
    }
}

fn place(place: &Place) -> String {
    let mut words = format!("seq={} at={}", place.seq, place.at);
    if place.order.0 > 0 {
        words.push_str(&format!(" order={}", place.order));
    }
    if place.delivered.0 > 0 {
        words.push_str(&format!(" delivered={} read={}", place.delivered, place.read));
    }
    if place.change.0 > 0 {
        words.push_str(&format!(" change={}", place.change));
    }
    words
}

fn event(event: &Event) -> String {
    match event {
        Event::MessageSent(message) => {
            let mut text: String = message.body.text.chars().take(40).collect();
            if text != message.body.text {
                text.push('…');
            }
            let (seq, sender, device, id) =
                (message.seq, &message.sender, message.device.0, &message.message_id);
            let refers = refers(&message.body);
            format!("  event: message {seq} of {sender}/{device} as {id}: {text:?}{refers}")
        }
        Event::CursorMoved { user, device, before, after, .. } => format!(
            "  event: {user}/{} has {} -> {}, read {} -> {}",
            device.0, before.delivered, after.delivered, before.read, after.read
        ),
        Event::Changed(change) => format!("  event: {}", self::change(change)),
        Event::GroupCreated => "  event: group created".to_owned(),
    }
}

fn refers(body: &chat::Body) -> String {
    let mut words = String::new();
    if let Some(seq) = body.reply_to {
        words.push_str(&format!(", answers {seq}"));
    }
    if let Some(seq) = body.thread {
        words.push_str(&format!(", in the thread of {seq}"));
    }
    if !body.mentions.is_empty() {
        words.push_str(&format!(", calls {}", names(&body.mentions)));
    }
    words
}

fn names(users: &BTreeSet<UserId>) -> String {
    users.iter().map(UserId::as_str).collect::<Vec<_>>().join(", ")
}

fn change(change: &Change) -> String {
    let (number, by) = (change.number, &change.by);
    let what = match &change.what {
        What::Edited { seq, text: Some(text) } => format!("edited message {seq}: {text:?}"),
        What::Edited { seq, text: None } => format!("edited message {seq}, deleted since"),
        What::Deleted { seq } => format!("deleted message {seq}"),
        What::Reacted { seq, reaction } => format!("reacted to message {seq}: {reaction:?}"),
        What::Renamed { name } => format!("renamed the group: {name:?}"),
        What::RoleSet { member, role } => format!("made {member} {role:?}"),
        What::Added { members } => format!("added {}", names(members)),
        What::RetentionSet { retention: None } => "keeps messages for ever".to_owned(),
        What::RetentionSet { retention: Some(retention) } => {
            format!("keeps messages for {} s", retention.0)
        }
        What::Removed { member, promoted: None } => format!("removed {member}"),
        What::Removed { member, promoted: Some(promoted) } => {
            format!("removed {member}; {promoted} owns the group now")
        }
    };
    format!("change {number}: {by} {what}")
}

/// What a message reads as now.
pub(crate) fn overlay(overlay: Option<&Overlay>) -> Vec<String> {
    let Some(overlay) = overlay else { return vec!["as it was said".to_owned()] };
    let mut lines = Vec::new();
    lines.extend(overlay.deleted.map(|number| format!("deleted by change {number}")));
    lines.extend(overlay.text.as_ref().map(|text| format!("reads {text:?}")));
    for (user, reaction) in &overlay.reactions {
        lines.push(format!("{user} reacts {:?} since change {}", reaction.text, reaction.change));
    }
    let trail: Vec<_> = overlay.trail().iter().map(ToString::to_string).collect();
    lines.push(format!("trail: {}", trail.join(", ")));
    lines
}

fn user_event(event: &UserEvent) -> String {
    match event {
        UserEvent::Created => "  event: created".to_owned(),
        UserEvent::SessionOpened { device } => format!("  event: session {} opened", device.0),
        UserEvent::SessionEnded { device } => format!("  event: session {} ended", device.0),
        UserEvent::PasswordChanged { ended } => {
            let ended: Vec<String> = ended.iter().map(|device| device.0.to_string()).collect();
            format!("  event: password changed, sessions {} ended", ended.join(", "))
        }
        UserEvent::Linked { to, .. } => format!("  event: linked to {}", link_to(to)),
        UserEvent::Unlinked { .. } => "  event: unlinked".to_owned(),
        UserEvent::PushAdded { push } => format!("  event: is told at {}", push.0),
        UserEvent::PushRemoved { push } => format!("  event: is told no more at {}", push.0),
    }
}

fn rows(changed: &Changed) -> Option<String> {
    let mut rows = Vec::new();
    rows.extend(changed.head.then(|| "head".to_owned()));
    rows.extend(changed.message.as_ref().map(|message| format!("message {}", message.seq)));
    rows.extend(changed.change.iter().flat_map(|recorded| recorded_rows(recorded)));
    rows.extend(changed.retention.then(|| "retention".to_owned()));
    if let Some(expired) = &changed.expired {
        rows.extend(expired.messages.iter().map(|one| format!("message {} emptied", one.seq)));
        rows.extend(expired.laid.iter().map(|seq| format!("nothing over {seq}")));
        rows.extend(expired.emptied.iter().map(|number| format!("change {number} emptied")));
    }
    rows.extend(changed.members.iter().map(|user| format!("member {user}")));
    rows.extend(changed.producer.map(|device| format!("producer {}", device.0)));
    rows.extend(changed.cursor.map(|device| format!("cursor {}", device.0)));
    (!rows.is_empty()).then(|| format!("  rows: {}", rows.join(", ")))
}

fn recorded_rows(recorded: &Recorded) -> Vec<String> {
    let mut rows = vec![format!("change {}", recorded.change.number)];
    rows.extend(recorded.place.map(|_| "place".to_owned()));
    let seq = recorded.change.what.seq().unwrap_or_default();
    rows.extend(recorded.overlay.as_ref().map(|_| format!("overlay {seq}")));
    rows.extend(recorded.erased.as_ref().map(|_| format!("message {seq} emptied")));
    rows.extend(recorded.emptied.iter().map(|number| format!("change {number} emptied")));
    rows
}

fn owed(owed: &Owed) -> String {
    match owed {
        Owed::Link { user, to, .. } => format!("  owed: {user} links {}", link_to(to)),
        Owed::Unlink { user, .. } => format!("  owed: {user} unlinks"),
    }
}

fn link_to(to: &LinkTo) -> String {
    match to {
        LinkTo::Peer(user) => format!("user {user}"),
        LinkTo::Group(group) => format!("group {group}"),
    }
}
