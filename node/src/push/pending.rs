//! What waits for a user: read from applied state alone, cheap facts first.

use chat::limits::NOTICES_OUTSTANDING_MAX;
use chat::{ConversationId, Notice, Registration, Seq, UserId};
use store::StoreError;

use crate::history::{self, Direction, Replica, Span};

/// How many of the newest messages are searched for one of another user. Whoever said this much since has been there.
const SCAN_MAX: usize = 1000;

/// For each conversation the newest message of others that waits for `user` and that `push` was not told about; as many
/// conversations as a registration takes at once, the rest later.
pub(super) fn pending(
    replica: &dyn Replica,
    user: &UserId,
    push: &Registration,
) -> Result<Vec<(ConversationId, Seq)>, StoreError> {
    let room = NOTICES_OUTSTANDING_MAX.saturating_sub(push.outstanding());
    let room = usize::try_from(room).expect("a small number");
    let devices = replica.devices(user)?;
    let mut items = Vec::new();
    for (conversation, _) in replica.links(user)? {
        if items.len() >= room {
            break;
        }
        let Some(head) = replica.head(conversation)? else { continue };
        let told = push.marks.get(&conversation).copied().unwrap_or_default();
        if head.last_seq <= told || head.last_at < push.created_at {
            continue;
        }
        let mut reached = told;
        for (device, _) in &devices {
            let cursor = replica.cursor(conversation, *device)?;
            reached = reached.max(cursor.map_or(Seq(0), |cursor| cursor.delivered));
        }
        if head.last_seq > reached
            && let Some(seq) = newest_of_others(replica, user, conversation, (push, reached))?
        {
            items.push((conversation, seq));
        }
    }
    Ok(items)
}

/// The newest message of others after `reached`, and after whatever an earlier device had, that the user may see.
fn newest_of_others(
    replica: &dyn Replica,
    user: &UserId,
    id: ConversationId,
    (push, reached): (&Registration, Seq),
) -> Result<Option<Seq>, StoreError> {
    let Some(conversation) = replica.conversation(id)? else { return Ok(None) };
    let Some(visible_from) = conversation.visible_from(user) else { return Ok(None) };
    let best = conversation.best(user).delivered;
    let after = reached.max(best).max(Seq(visible_from.0 - 1));
    let span = Span { after, before: None, limit: SCAN_MAX, direction: Direction::NewestFirst };
    let messages = replica.messages(id, span)?;
    let waits = messages.iter().find(|one| one.sender != *user && one.at >= push.created_at);
    Ok(waits.map(|message| message.seq))
}

/// Whether what a notice is about reached the user meanwhile, or is theirs no more.
pub(super) fn is_obsolete(
    replica: &dyn Replica,
    user: &UserId,
    notice: &Notice,
) -> Result<bool, StoreError> {
    let conversation = replica.conversation(notice.conversation)?;
    let waits = conversation.is_some_and(|conversation| {
        // A member, to whom it has neither come nor expired.
        let waits = |from: Seq| from <= notice.seq;
        conversation.visible_from(user).is_some_and(waits)
            && conversation.best(user).delivered < notice.seq
    });
    Ok(!waits)
}

/// How many messages of others the user has not read there.
pub(super) fn unread(
    replica: &dyn Replica,
    user: &UserId,
    id: ConversationId,
) -> Result<u64, StoreError> {
    let Some(conversation) = replica.conversation(id)? else { return Ok(0) };
    history::unread(replica, id, &conversation, user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::fake::{user, world};

    #[test]
    fn a_push_tells_the_exact_number_to_those_who_wrote_thousands_since_they_read() {
        let (fake, _) = world();
        let (alice, bob) = (fake.join("alice", 1), fake.join("bob", 2));
        let id = ConversationId::direct(&alice.user, &bob.user);
        let say = |from: &crate::gateway::tokens::Identity, to: &str, count: u64, what: &str| {
            (0..count).for_each(|n| {
                fake.say(from, to, &format!("{what}{n}"));
            });
        };
        say(&bob, "alice", 3, "before");
        say(&alice, "bob", 1200, "much");
        say(&bob, "alice", 2, "after");
        assert_eq!(unread(&*fake, &user("alice"), id).expect("no disk"), 5);
        assert_eq!(unread(&*fake, &user("carol"), id).expect("no disk"), 0, "no member");
    }
}
