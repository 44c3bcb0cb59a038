//! What a session does about changes and about who is writing.

use chat::{Change, ChangeMessage, ChangeNumber, Command, ConversationId, Outcome, UserId};
use proto::frame::ChangeRequest;
use tokio::time::Instant;

use super::sending::placed;
use super::{NoOutcome, Session};
use crate::fanout::Typing;
use crate::gateway::limits::Bucket;
use crate::gateway::tokens::Identity;
use crate::presence::Told;
use crate::session::words::{Action, Altered, Proposal, Say, Wished};

/// Wishes and confirmations of changes of one session without an answer; beyond it no further frame is read.
pub(super) const WISHES_MAX: usize = 64;

impl Session {
    pub(super) fn change(
        &mut self,
        now: Instant,
        who: &Identity,
        budget: &Bucket,
        request: ChangeRequest,
    ) {
        let ChangeRequest { tag, conversation, seq, change_id, wish } = request;
        if let Err(too_fast) = budget.take(now) {
            let (change_id, result) = (change_id.as_str().to_owned(), Err(too_fast.into()));
            let conversation = Some(conversation);
            return self.say(Say::Changed { tag, conversation, change_id, result });
        }
        let wished = Wished { tag, conversation, change_id: Some(change_id.clone()) };
        let (by, device) = (who.user.clone(), who.device);
        let command = Command::Change(ChangeMessage { by, device, change_id, seq, wish });
        self.wish(wished, command);
    }

    pub(super) fn confirm_changes(&mut self, who: &Identity, wished: Wished, change: ChangeNumber) {
        let (user, device) = (who.user.clone(), who.device);
        self.wish(wished, Command::ConfirmChanges { user, device, change });
    }

    fn wish(&mut self, wished: Wished, command: Command) {
        let ticket = self.ticket();
        let conversation = wished.conversation;
        self.wishes.insert(ticket, wished);
        let proposal = Proposal { conversation, command, must_exist: None };
        self.actions.push_back(Action::Propose { ticket, proposal });
    }

    pub(super) fn wish_ended(&mut self, wished: Wished, result: Result<Outcome, NoOutcome>) {
        let duplicate = matches!(result, Ok(Outcome::Duplicate(_)));
        let Wished { tag, conversation, change_id } = wished;
        let result = placed(result);
        if let (None, Ok(place)) = (&change_id, &result) {
            self.deliveries.changes_confirmed(conversation, place.change);
        }
        let conversation = Some(conversation);
        self.say(match change_id {
            Some(change_id) => Say::Changed {
                tag,
                conversation,
                change_id: change_id.as_str().to_owned(),
                result: result.map(|place| Altered {
                    number: place.change,
                    at: place.at,
                    duplicate,
                }),
            },
            None => {
                let result = result.map(|place| place.change);
                Say::ChangesConfirmed { tag, conversation, result }
            }
        });
    }

    /// What [`Action::ReadChanges`] found; `None`: the user may not read there any more.
    pub(crate) fn handle_changes(&mut self, id: ConversationId, page: Option<Vec<Change>>) {
        if self.who().is_none() {
            return;
        }
        let changes = self.deliveries.page_of_changes(id, page);
        if !changes.is_empty() {
            self.say(Say::Changes(changes));
        }
    }

    /// The user is writing, or no more: everybody else there is told, unless they were just now.
    pub(super) fn typing(
        &mut self,
        now: Instant,
        who: &Identity,
        conversation: ConversationId,
        on: bool,
    ) {
        if self.writers.may_tell(now, conversation, on) {
            let typing = Typing { conversation, user: who.user.clone(), on };
            self.actions.push_back(Action::TellTyping(typing));
        }
    }

    /// Somebody is writing, or no more.
    pub(crate) fn handle_typing(&mut self, now: Instant, typing: &Typing) {
        let Some(who) = self.who() else { return };
        // A link that resumed knows only conversations with news; whoever posts hints knows who takes part.
        let known = self.resumed || self.deliveries.kind(typing.conversation).is_some();
        let theirs = typing.user != who.user && known;
        if theirs && self.writers.heard(now, typing) {
            self.say(Say::Typing(typing.clone()));
        }
    }

    /// Some of those who are watched came or went.
    pub(crate) fn handle_presence(&mut self, news: Vec<(UserId, Told)>) {
        if self.who().is_some() {
            self.say(Say::Presence(news));
        }
    }

    /// Whoever has not been heard for long is writing no more.
    pub(super) fn writers_expired(&mut self, now: Instant) {
        for typing in self.writers.expired(now) {
            self.say(Say::Typing(typing));
        }
    }
}
