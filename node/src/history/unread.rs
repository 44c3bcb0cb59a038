//! How many messages of others a user has not read: the same number wherever it is told.
//!
//! What is unread is everything after the last message read, but the user's own. Those are not stored by sender, so they
//! are counted where they are few, and reckoned from what each device has said in all where they are many.

use chat::{Conversation, ConversationId, Message, Seq, UserId};
use store::StoreError;

use super::{Direction, Replica, Span};

/// How many messages are searched, on each side of the last one read, for own ones.
const SCAN_MAX: usize = 1000;

/// How many messages of others `user` has not read in `conversation`; 0 for whoever is not a member.
///
/// # Errors
/// When the disk fails.
pub(crate) fn unread(
    replica: &dyn Replica,
    id: ConversationId,
    conversation: &Conversation,
    user: &UserId,
) -> Result<u64, StoreError> {
    let Some(visible_from) = conversation.visible_from(user) else { return Ok(0) };
    let seen = conversation.best(user).read.max(Seq(visible_from.0 - 1));
    let own = own_after(replica, id, conversation, (user, seen))?;
    Ok(conversation.unread(user, own))
}

/// How many messages after `seen` are the user's own.
///
/// Few messages are counted. Of many, what each device had said by `seen` is taken from what it has said in all: its last
/// message up to there has that number. A device that said nothing in the messages that are searched before `seen` counts
/// with what it said among the newest ones: then the answer is a little too small.
fn own_after(
    replica: &dyn Replica,
    id: ConversationId,
    conversation: &Conversation,
    (user, seen): (&UserId, Seq),
) -> Result<u64, StoreError> {
    let newest = newest(replica, id, seen, None)?;
    if newest.len() < SCAN_MAX {
        return Ok(newest.iter().filter(|message| message.sender == *user).count() as u64);
    }
    let before = self::newest(replica, id, Seq(0), Some(seen.next()))?;
    let own = conversation.producers.iter().filter(|(_, producer)| producer.user == *user);
    let said = own.map(|(device, producer)| {
        match before.iter().find(|message| message.device == *device) {
            Some(last) => producer.last_order.0 - last.order.0,
            None if before.len() < SCAN_MAX => producer.last_order.0,
            None => newest.iter().filter(|message| message.device == *device).count() as u64,
        }
    });
    Ok(said.sum())
}

/// The newest messages after one and before another, as many as are searched.
fn newest(
    replica: &dyn Replica,
    id: ConversationId,
    after: Seq,
    before: Option<Seq>,
) -> Result<Vec<Message>, StoreError> {
    let span = Span { after, before, limit: SCAN_MAX, direction: Direction::NewestFirst };
    replica.messages(id, span)
}
