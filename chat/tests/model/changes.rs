//! The naive model of changes: a list of all of them, walked from end to end for every answer. What
//! lies over a message is laid anew from the whole list each time.

use std::sync::Arc;

use chat::{
    Applied, Change, ChangeMessage, ChangeNumber, Conversation, DeviceId, EarlierChange, History,
    Kind, Message, MessageId, Outcome, Overlay, Reaction, Recorded, Refusal, Role, Seq, Subject,
    What, Wish,
};
use proptest::prelude::*;

use crate::{device_of, user};

const WISHES: [&str; 3] = ["", "one", "two"];

/// A wish in small numbers.
#[derive(Clone, Debug)]
pub(crate) struct Wished {
    by: usize,
    device: u64,
    id: u64,
    seq: u64,
    kind: usize,
    text: usize,
}

/// Wishes of these users.
pub(crate) fn wished(by: std::ops::Range<usize>) -> impl Strategy<Value = Wished> {
    (by, 0..2_u64, 0..5_u64, 0..6_u64, 0..6_usize, 0..WISHES.len())
        .prop_map(|(by, device, id, seq, kind, text)| Wished { by, device, id, seq, kind, text })
}

impl Wished {
    pub(crate) fn command(&self) -> ChangeMessage {
        let text = WISHES[self.text].to_owned();
        ChangeMessage {
            by: user(self.by),
            device: device_of(self.by, self.device),
            change_id: MessageId::parse(&format!("c{}", self.id)).expect("legal"),
            seq: Seq(self.seq),
            wish: match self.kind {
                0 => Wish::Delete,
                1 | 2 => Wish::Edit(text),
                _ => Wish::React(text),
            },
        }
    }
}

/// Every change there ever was, with the wish it came of.
#[derive(Default)]
pub(crate) struct Changes {
    all: Vec<Change>,
    wishes: Vec<(ChangeMessage, ChangeNumber)>,
    places: Vec<(DeviceId, MessageId, EarlierChange)>,
}

/// What the model expects of a wish.
#[derive(Debug, PartialEq)]
enum Expected {
    Changed(ChangeNumber),
    Original(ChangeNumber),
    Conflict,
    Refused(Refusal),
}

impl Changes {
    pub(crate) fn earlier(&self, wish: &ChangeMessage) -> Option<EarlierChange> {
        let same = |(device, id, _): &&(DeviceId, MessageId, EarlierChange)| {
            (device, id) == (&wish.device, &wish.change_id)
        };
        self.places.iter().find(same).map(|(_, _, place)| *place)
    }

    pub(crate) fn target(&self, said: &[Message], seq: Seq) -> Option<Subject> {
        let message = said.iter().find(|message| message.seq == seq)?;
        Some(Subject { message: Arc::new(message.clone()), overlay: self.overlay(seq) })
    }

    /// All changes of a message, laid over it one after the other.
    fn overlay(&self, seq: Seq) -> Overlay {
        let mut overlay = Overlay::default();
        for change in self.all.iter().filter(|change| change.what.seq() == Some(seq)) {
            match &change.what {
                What::Edited { text, .. } => {
                    overlay.text.clone_from(text);
                    overlay.edits.push(change.number);
                    overlay.edited_at = change.at;
                }
                What::Deleted { .. } => {
                    overlay.text = None;
                    overlay.reactions.clear();
                    overlay.deleted = Some(change.number);
                }
                What::Reacted { reaction, .. } => {
                    overlay.reactions.remove(&change.by);
                    if !reaction.is_empty() {
                        let reaction = Reaction { text: reaction.clone(), change: change.number };
                        overlay.reactions.insert(change.by.clone(), reaction);
                    }
                }
                other => unreachable!("it is about no message: {other:?}"),
            }
        }
        overlay
    }

    fn judge(
        &self,
        before: Option<&Conversation>,
        said: &[Message],
        wish: &ChangeMessage,
    ) -> Expected {
        let same = |(other, _): &&(ChangeMessage, ChangeNumber)| {
            (other.device, &other.change_id) == (wish.device, &wish.change_id)
        };
        match self.wishes.iter().find(same) {
            Some((other, number)) if other == wish => return Expected::Original(*number),
            Some(_) => return Expected::Conflict,
            None => {}
        }
        let Some(this) = before else { return Expected::Refused(Refusal::NoSuchConversation) };
        if let Err(refusal) = this.unless_member(&wish.by) {
            return Expected::Refused(refusal);
        }
        let theirs = match &this.head.kind {
            Kind::Group { history: History::SinceJoin, .. } => this.members[&wish.by].joined_at,
            _ => Seq(0),
        };
        let seen = theirs < wish.seq;
        if seen && wish.seq <= this.head.expired && wish.seq > Seq(0) {
            return Expected::Refused(Refusal::MessageExpired);
        }
        let Some(message) = said.iter().find(|message| seen && message.seq == wish.seq) else {
            return Expected::Refused(Refusal::NoSuchMessage);
        };
        let own = message.sender == wish.by;
        let manages =
            this.peer_of(&wish.by).is_none() && this.members[&wish.by].role >= Role::Admin;
        match (self.overlay(wish.seq).deleted, &wish.wish) {
            (Some(number), Wish::Delete) => Expected::Original(number),
            (Some(_), _) => Expected::Refused(Refusal::MessageDeleted),
            (None, Wish::Edit(_)) if !own => Expected::Refused(Refusal::NotAllowed),
            (None, Wish::Delete) if !own && !manages => Expected::Refused(Refusal::NotAllowed),
            (None, _) => Expected::Changed(ChangeNumber(self.all.len() as u64 + 1)),
        }
    }

    /// A wish was decided: the model must agree, with what lies over the message now, too.
    pub(crate) fn compare(
        &mut self,
        before: Option<&Conversation>,
        said: &[Message],
        wish: &ChangeMessage,
        applied: &Applied,
    ) {
        let expected = self.judge(before, said, wish);
        let actual = match &applied.outcome {
            Outcome::Accepted(place) => Expected::Changed(place.change),
            Outcome::Duplicate(place) => Expected::Original(place.change),
            Outcome::Conflict(_) => Expected::Conflict,
            Outcome::Refused(refusal) => Expected::Refused(*refusal),
        };
        assert_eq!(actual, expected, "{wish:?}");
        if let Some(recorded) = &applied.changed.change {
            self.wishes.push((wish.clone(), recorded.change.number));
            let place = recorded.place.expect("a wish has a place");
            self.places.push((wish.device, wish.change_id.clone(), place));
        }
    }

    /// Whatever was decided: if it is a change, it is the next one.
    pub(crate) fn note(&mut self, before: Option<&Conversation>, applied: &Applied) {
        let Some(recorded) = &applied.changed.change else { return };
        let change = &recorded.change;
        assert_eq!(change.number.0, self.all.len() as u64 + 1, "dense");
        assert!(self.all.last().is_none_or(|last| last.at <= change.at), "time runs forwards");
        let last_seq = before.expect("only what exists changes").head.last_seq;
        assert_eq!(change.after, last_seq, "it stands after what was said");
        self.all.push(Change::clone(change));
        self.assert_laid(recorded);
    }

    fn assert_laid(&self, recorded: &Recorded) {
        let Some(seq) = recorded.change.what.seq() else { return };
        assert_eq!(recorded.overlay, Some(self.overlay(seq)), "all changes in their order");
        let emptied: Vec<_> = match recorded.change.what {
            What::Deleted { .. } => self.overlay(seq).edits,
            _ => Vec::new(),
        };
        assert_eq!(recorded.emptied, emptied, "a deletion empties every edit");
        if let Some(erased) = &recorded.erased {
            assert!(erased.body.text.is_empty() && erased.erased.is_some());
        }
    }
}
