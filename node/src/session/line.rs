//! Messages that name assets wait until these are handed on to the conversation; what the link sends there meanwhile
//! waits behind them, so that nothing overtakes. Other conversations do not wait.
//!
//! Bounded by what a session may send without an answer: a message in line has none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chat::{AssetId, Command, ConversationId};

use super::words::{Proposal, Ticket};
use crate::asset::mentioned;

/// A proposal in line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) ticket: Ticket,
    pub(super) proposal: Proposal,
}

/// The assets of a message; `None` when one of them cannot be.
type Assets = Option<BTreeSet<AssetId>>;

/// All lines of a link.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Never empty: the first one's assets are being handed on.
    waiting: BTreeMap<ConversationId, VecDeque<Waiting>>,
    /// To begin with.
    due: VecDeque<ConversationId>,
}

impl Line {
    /// Takes a proposal; gives it back when it need not wait.
    pub(super) fn pass(&mut self, ticket: Ticket, proposal: Proposal) -> Option<Waiting> {
        let id = proposal.conversation;
        let waiting = Waiting { ticket, proposal };
        if !matches!(waiting.proposal.command, Command::Send(_)) {
            return Some(waiting);
        }
        if let Some(line) = self.waiting.get_mut(&id) {
            line.push_back(waiting);
            return None;
        }
        if assets_of(&waiting).is_some_and(|assets| assets.is_empty()) {
            return Some(waiting);
        }
        self.waiting.insert(id, VecDeque::from([waiting]));
        self.due.push_back(id);
        None
    }

    /// The next conversation whose first message's assets are to be handed on.
    pub(super) fn poll(&mut self) -> Option<(ConversationId, Assets)> {
        let id = self.due.pop_front()?;
        let first = self.waiting.get(&id).and_then(VecDeque::front);
        Some((id, assets_of(first.expect("a line that is due has a first"))))
    }

    /// The first of this line need not wait any more, and neither need those behind it up to the next with assets.
    pub(super) fn settle(&mut self, id: ConversationId) -> (Waiting, Vec<Waiting>) {
        let line = self.waiting.get_mut(&id).expect("a line stays until it is settled");
        let first = line.pop_front().expect("a line is never empty");
        let mut others = Vec::new();
        while let Some(next) = line.pop_front() {
            if assets_of(&next).is_some_and(|assets| assets.is_empty()) {
                others.push(next);
                continue;
            }
            line.push_front(next);
            self.due.push_back(id);
            return (first, others);
        }
        self.waiting.remove(&id);
        (first, others)
    }
}

fn assets_of(waiting: &Waiting) -> Assets {
    match &waiting.proposal.command {
        Command::Send(message) => mentioned(&message.body),
        _ => Some(BTreeSet::new()),
    }
}

#[cfg(test)]
mod tests {
    use chat::{Body, DeviceId, MessageId, SendMessage, UserId};

    use super::*;

    fn proposal(to: &str, uris: &[&str]) -> Proposal {
        let user = |name: &str| UserId::parse(name).expect("legal");
        let attachment_uris = uris.iter().map(|uri| (*uri).to_owned()).collect();
        let message = SendMessage {
            sender: user("alice"),
            device: DeviceId(1),
            receiver: Some(user(to)),
            order: None,
            message_id: MessageId::parse("m").expect("legal"),
            body: Body { attachment_uris, ..Body::default() },
        };
        let conversation = ConversationId::direct(&user("alice"), &user(to));
        Proposal { conversation, command: Command::Send(message), must_exist: None }
    }

    #[test]
    fn what_is_sent_behind_an_asset_waits_and_other_conversations_do_not() {
        const ONE: &str = "/asset/30313233343536373839616263646566";
        let mut line = Line::default();
        assert!(line.pass(1, proposal("bob", &["https://elsewhere.example/x"])).is_some());
        assert!(line.pass(2, proposal("bob", &[ONE])).is_none());
        assert!(line.pass(3, proposal("bob", &[])).is_none(), "it must not overtake");
        assert!(line.pass(4, proposal("bob", &["/asset/no-id"])).is_none());
        assert!(line.pass(5, proposal("bob", &[])).is_none());
        assert!(line.pass(6, proposal("carol", &[])).is_some());
        let (id, assets) = line.poll().expect("one is due");
        assert_eq!(assets.expect("a good one").len(), 1);
        assert!(line.poll().is_none(), "one at a time");
        let tickets = |(first, others): (Waiting, Vec<Waiting>)| {
            let others: Vec<Ticket> = others.iter().map(|one| one.ticket).collect();
            (first.ticket, others)
        };
        assert_eq!(tickets(line.settle(id)), (2, vec![3]));
        assert_eq!(line.poll(), Some((id, None)), "a name that cannot be is due, too");
        assert_eq!(tickets(line.settle(id)), (4, vec![5]));
        assert!(line.poll().is_none() && line.waiting.is_empty());
        assert!(line.pass(7, proposal("bob", &[])).is_some());
    }
}
