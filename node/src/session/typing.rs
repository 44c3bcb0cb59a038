//! Who is writing in the conversations of one link. Nothing of it is stored, and nothing is lost with it: whoever has said
//! nothing for some seconds is writing no more.

use std::collections::BTreeMap;
use std::time::Duration;

use chat::{ConversationId, UserId};
use tokio::time::Instant;

use crate::fanout::Typing;

/// How long somebody is taken to be writing after they said so. Clients say it again while they go on.
pub(crate) const TYPING_FOR: Duration = Duration::from_secs(6);
/// A client that says it more often than this in one conversation is not passed on.
const TELL_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Conversations in which one link may be writing at a time, and writers that it is told of. A screen shows a few.
const WRITERS_MAX: usize = 64;

/// What one link knows of it.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    /// When the link's own user was last passed on, and as what.
    told: BTreeMap<ConversationId, (Instant, bool)>,
    /// Others who are writing, and until when.
    writing: BTreeMap<(ConversationId, UserId), Instant>,
}

impl Writers {
    /// Whether to pass on that the link's own user is writing, or no more: not when it was said just now, and not beyond
    /// what one user can be doing.
    pub(crate) fn may_tell(&mut self, now: Instant, id: ConversationId, on: bool) -> bool {
        self.told.retain(|_, (at, _)| *at + TELL_INTERVAL_MIN > now);
        let same = self.told.get(&id).is_some_and(|(_, was)| *was == on);
        if same || self.told.len() >= WRITERS_MAX {
            return false;
        }
        self.told.insert(id, (now, on));
        true
    }

    /// Somebody else said so. True if that is news.
    pub(crate) fn heard(&mut self, now: Instant, typing: &Typing) -> bool {
        let key = (typing.conversation, typing.user.clone());
        if !typing.on {
            return self.writing.remove(&key).is_some();
        }
        if self.writing.len() >= WRITERS_MAX && !self.writing.contains_key(&key) {
            return false;
        }
        self.writing.insert(key, now + TYPING_FOR).is_none()
    }

    /// When `expired` has something to give.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.writing.values().min().copied()
    }

    /// Who has not been heard for long.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<Typing> {
        let over: Vec<_> = self.writing.iter().filter(|(_, until)| **until <= now).collect();
        let over: Vec<_> = over.into_iter().map(|(key, _)| key.clone()).collect();
        over.into_iter()
            .map(|key| {
                self.writing.remove(&key);
                let (conversation, user) = key;
                Typing { conversation, user, on: false }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use chat::GroupId;

    use super::*;

    fn typing(user: &str, on: bool) -> Typing {
        let conversation = ConversationId::group(&GroupId::parse("team").expect("legal"));
        Typing { conversation, user: UserId::parse(user).expect("legal"), on }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_more_is_writing_no_more() {
        let mut writers = Writers::default();
        let now = Instant::now();
        assert!(writers.heard(now, &typing("bob", true)));
        let later = now + TYPING_FOR / 2;
        assert!(!writers.heard(later, &typing("bob", true)), "that is no news");
        assert_eq!(writers.poll_timeout(), Some(later + TYPING_FOR), "but it lasts longer");
        assert_eq!(writers.expired(now + TYPING_FOR), []);
        assert_eq!(writers.expired(later + TYPING_FOR), [typing("bob", false)]);
        assert_eq!(writers.poll_timeout(), None);
        assert!(!writers.heard(later, &typing("bob", false)), "they had stopped already");
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_is_passed_on_once_in_a_while() {
        let mut writers = Writers::default();
        let (now, id) = (Instant::now(), typing("bob", true).conversation);
        assert!(writers.may_tell(now, id, true));
        assert!(!writers.may_tell(now, id, true));
        assert!(writers.may_tell(now, id, false), "the end is news");
        assert!(writers.may_tell(now + TELL_INTERVAL_MIN, id, false), "and later again");
    }
}
