//! One token for the next link: with it, only conversations that had news since are looked at.
//!
//! A link is given a [`Bookmark`]: how far each shard's log was applied when everything up to there had reached the link,
//! and the conversations of which something was still unconfirmed. The next link, on whichever node, looks at those and
//! at what has changed in the logs since. Every node remembers which conversations changed lately ([`Recent`]), so that it
//! costs nothing for those that did not. Where a node does not remember so far back, or a bookmark says nothing to it, the
//! link begins as one without, and is told so.
//!
//! Law: a link that begins with a bookmark is sent exactly what one without would be. What a bookmark names is where to
//! look, never what was received: that is what the device confirmed.

mod bookmark;
mod recent;

pub(crate) use bookmark::{Bookmark, Stand};
pub(crate) use recent::{Noted, Recent};
