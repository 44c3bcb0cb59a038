//! What the core wants looked up: messages and changes that are missing, where a device stands, who may be told that
//! somebody writes. Each is one read of the local replica, of its own moment.

use chat::{ChangeNumber, ConversationId, Seq};
use futures::FutureExt as _;

use super::{Done, Driver};
use crate::fanout::Typing;
use crate::history::{self, Direction, Span};
use crate::session::deliveries::Pile;
use crate::session::open;

/// Messages or changes of one read while something is missing: a page of small ones, and not too much of large ones.
const READ_MESSAGES: usize = 64;

impl Driver {
    pub(super) fn read(&mut self, id: ConversationId, after: Seq) {
        let _span = tracing::debug_span!("deliver").entered();
        let Some(who) = &self.who else { return };
        let read = || {
            // Asked at the moment of reading: whoever was removed is given nothing, and whoever came back
            // nothing of what was said meanwhile.
            let Some(head) = self.parts.replica.head(id)? else { return Ok(None) };
            let Some(member) = self.parts.replica.member(id, &who.user)? else { return Ok(None) };
            let hidden = Seq(history::visible_from(&head, &member).0 - 1);
            let direction = Direction::OldestFirst;
            let after = after.max(hidden);
            let span = Span { after, before: None, limit: READ_MESSAGES, direction };
            let messages = self.parts.replica.messages(id, span)?;
            let overlays = history::overlays(&*self.parts.replica, id, &head, &messages)?;
            Ok(Some(Pile { messages, overlays, visible_from: hidden.next() }))
        };
        match read() {
            Ok(page) => self.session.handle_page(id, page),
            Err(error) => self.broken(&error),
        }
    }

    pub(super) fn read_changes(&mut self, id: ConversationId, after: ChangeNumber) {
        let Some(who) = &self.who else { return };
        let replica = &*self.parts.replica;
        let read = || {
            let Some(head) = replica.head(id)? else { return Ok(None) };
            let Some(member) = replica.member(id, &who.user)? else { return Ok(None) };
            let hidden = history::changes_visible_from(&head.kind, &member).0.saturating_sub(1);
            let after = after.max(ChangeNumber(hidden));
            replica.changes(id, after, READ_MESSAGES).map(Some)
        };
        match read() {
            Ok(page) => self.session.handle_changes(id, page),
            Err(error) => self.broken(&error),
        }
    }

    /// Members only; whoever is none here says nothing to anybody.
    pub(super) fn tell_typing(&mut self, typing: Typing) {
        match self.parts.replica.member(typing.conversation, &typing.user) {
            Ok(Some(_)) => {
                self.parts.typing.tell(&typing);
                let told = self.parts.others.tell_typing(&typing);
                self.rest.push(told.map(|()| Done::Nothing).boxed());
            }
            Ok(None) => {}
            Err(error) => self.broken(&error),
        }
    }

    pub(super) fn refresh(&mut self, id: ConversationId) {
        let Some(who) = &self.who else { return };
        match open::position(&*self.parts.replica, who, id) {
            Ok(position) => self.session.handle_position(id, position),
            Err(error) => self.broken(&error),
        }
    }

    pub(super) fn floors(&mut self, id: ConversationId) {
        match self.parts.replica.conversation(id) {
            Ok(Some(conversation)) => self.session.handle_floors(id, &conversation.floors()),
            Ok(None) => {}
            Err(error) => self.broken(&error),
        }
    }
}
