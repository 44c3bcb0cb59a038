//! What the client is given for its next link, as of now.

use std::time::Duration;

use tokio::time::Instant;

use super::Driver;
use crate::resume::Bookmark;

/// A client that asked for it is given something newer so often: what was given a minute ago names little that has not
/// changed since, and costs a sleeping device one frame.
const AGAIN: Duration = Duration::from_secs(60);

impl Driver {
    /// What would let the next link of this device begin where this one is now; `None` when that cannot be said for now, or
    /// would be too long. What was given before serves as well then.
    pub(super) fn bookmark(&mut self) -> Option<String> {
        let who = self.who.clone()?;
        let stand = self.parts.recent.stand();
        // Whatever the log brought up to there has been posted: now it has been taken, too.
        self.mailbox.as_mut()?.take_all(&mut self.hints);
        self.take_hints();
        let owed = self.session.owed().filter(|_| self.opening == 0)?;
        Bookmark { stand, owed: Some(owed) }.token(&who, &self.parts.tokens)
    }

    /// The link has caught up: from now on it is worth something to the next one.
    pub(super) fn begin_bookmarks(&mut self) {
        if self.wants_bookmarks {
            self.bookmark_at = Some(Instant::now());
        }
    }

    /// Gives the client something newer, if it is time.
    pub(super) fn bookmark_again(&mut self) {
        let now = Instant::now();
        if self.bookmark_at.is_some_and(|at| at <= now) {
            self.bookmark_at = Some(now + AGAIN);
            if let Some(token) = self.bookmark() {
                self.session.handle_bookmark(token);
            }
        }
    }
}
