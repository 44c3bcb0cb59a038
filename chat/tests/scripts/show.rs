//! Prints what a decision comes to, one line for each part, nothing for a part that is empty.

use chat::{
    Applied, AppliedUser, Changed, Conversation, Event, LinkTo, Outcome, Owed, Place, UserEvent,
};

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
            format!("  event: message {seq} of {sender}/{device} as {id}: {text:?}")
        }
        Event::CursorMoved { user, device, before, after, .. } => format!(
            "  event: {user}/{} has {} -> {}, read {} -> {}",
            device.0, before.delivered, after.delivered, before.read, after.read
        ),
        Event::MembersAdded { by, members } => {
            let members: Vec<_> = members.iter().map(|user| user.as_str()).collect();
            format!("  event: {by} added {}", members.join(", "))
        }
        Event::MemberRemoved { by, member, promoted: None } => {
            format!("  event: {by} removed {member}")
        }
        Event::MemberRemoved { by, member, promoted: Some(promoted) } => {
            format!("  event: {by} removed {member}; {promoted} owns the group now")
        }
        Event::GroupCreated => "  event: group created".to_owned(),
    }
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
    rows.extend(changed.members.iter().map(|user| format!("member {user}")));
    rows.extend(changed.producer.map(|device| format!("producer {}", device.0)));
    rows.extend(changed.cursor.map(|device| format!("cursor {}", device.0)));
    (!rows.is_empty()).then(|| format!("  rows: {}", rows.join(", ")))
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
