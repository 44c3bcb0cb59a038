//! The conversation machine: its state, what can be read off it, and the one door to change it.
//!
//! The state is what its rows are: a head, members, producers, cursors. Messages are not part of it;
//! an accepted one leaves through [`Changed`](crate::Changed) and is never needed for a decision
//! again, except that its driver finds it by device and message id (see [`Known`]).
//!
//! Nothing is ever taken out but memberships: a removed member's producer stays, because a repeated
//! send must find its answer without a window in time, and so do its cursors, because a member who
//! comes back has seen what it has seen.

mod changes;
mod confirm;
mod membership;
mod progress;
mod retention;
mod send;

use std::collections::{BTreeMap, BTreeSet};

use crate::chain::Chain;
use crate::command::{Command, Known};
use crate::event::Applied;
use crate::id::{DeviceId, GroupId, UserId};
use crate::number::{ChangeNumber, Order, Seq, Timestamp};
use crate::outcome::{Outcome, Place, Refusal};
use crate::slot::ConversationId;
pub use progress::{Best, Floors};
pub use retention::Retention;

/// A conversation's whole state.
///
/// The parts may be read by anybody; only [`apply`] changes them, because what is derived from them
/// must change with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// What every message of it touches.
    pub head: Head,
    /// Who takes part.
    pub members: BTreeMap<UserId, Member>,
    /// How many messages each device has said here.
    pub producers: BTreeMap<DeviceId, Producer>,
    /// How far each device has got.
    pub cursors: BTreeMap<DeviceId, Cursor>,
    /// Derived from members and cursors.
    progress: progress::Progress,
}

/// What every message touches: small, it is written with each entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Between whom.
    pub kind: Kind,
    /// The last message's place; 0 before the first.
    pub last_seq: Seq,
    /// When the last message was accepted, or the conversation created.
    pub last_at: Timestamp,
    /// The hash chain after the last message.
    pub chain: Chain,
    /// When the conversation came into being.
    pub created_at: Timestamp,
    /// The last change's number; 0 before the first.
    pub last_change: ChangeNumber,
    /// When the last change was made; 0 before the first.
    pub last_change_at: Timestamp,
    /// For how long its messages are kept; `None`: for ever.
    pub retention: Option<Retention>,
    /// Everything up to here has expired.
    pub expired: Seq,
}

/// Between whom a conversation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Two users, or one with themselves.
    Direct {
        /// The lower id.
        low: UserId,
        /// The higher id; the same when a user writes to themselves.
        high: UserId,
    },
    /// A named set of members.
    Group {
        /// Its id.
        group: GroupId,
        /// Its name on screens.
        name: String,
        /// What newcomers see.
        history: History,
    },
}

/// What newcomers of a group see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// What was said after they came.
    SinceJoin,
    /// Everything.
    All,
}

/// What a member may do, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Say, read, leave.
    Member,
    /// Also add and remove members.
    Admin,
    /// Also remove admins and owners.
    Owner,
}

/// One user's part in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// What they may do.
    pub role: Role,
    /// The last sequence when they came.
    pub joined_at: Seq,
    /// The change that took them in; 0 for who was there from the start.
    pub joined_change: ChangeNumber,
}

/// One device as a source of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Whose device.
    pub user: UserId,
    /// The order of its last accepted message, from 1.
    pub last_order: Order,
}

/// How far one device has got: `shown <= read <= delivered <= last_seq`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Whose device.
    pub user: UserId,
    /// It has everything up to here.
    pub delivered: Seq,
    /// Its user has read everything up to here on it.
    pub read: Seq,
    /// What of it others may know.
    pub shown: Seq,
    /// It has all changes up to here.
    pub changes: ChangeNumber,
}

impl Cursor {
    /// A device of `user` that has got nowhere yet.
    pub fn of(user: UserId) -> Self {
        let (delivered, read, shown) = (Seq(0), Seq(0), Seq(0));
        Self { user, delivered, read, shown, changes: ChangeNumber(0) }
    }
}

impl Conversation {
    /// A conversation of its rows. Panics when they break a law, because they were written by
    /// [`apply`] and by nobody else.
    pub fn from_parts(
        head: Head,
        members: BTreeMap<UserId, Member>,
        producers: BTreeMap<DeviceId, Producer>,
        cursors: BTreeMap<DeviceId, Cursor>,
    ) -> Self {
        let progress = progress::Progress::of(&members, &cursors);
        let conversation = Self { head, members, producers, cursors, progress };
        conversation.assert_lawful();
        conversation
    }

    /// Whether the user takes part now.
    pub fn is_member(&self, user: &UserId) -> bool {
        self.members.contains_key(user)
    }

    /// What somebody without a part in it is told. That two people talk is their own business, and the id of
    /// their conversation follows from their names: to others there is no such conversation.
    pub fn unless_member(&self, user: &UserId) -> Result<(), Refusal> {
        match &self.head.kind {
            _ if self.is_member(user) => Ok(()),
            Kind::Direct { .. } => Err(Refusal::NoSuchConversation),
            Kind::Group { .. } => Err(Refusal::NotAMember),
        }
    }

    /// What a member is told of a message that is not there, or not theirs to see.
    pub(crate) fn unless_visible(&self, user: &UserId, seq: Seq) -> Result<(), Refusal> {
        let theirs = self.members.get(user).is_some_and(|member| self.theirs_from(member) <= seq);
        match theirs && seq <= self.head.last_seq {
            true if seq <= self.head.expired => Err(Refusal::MessageExpired),
            true => Ok(()),
            false => Err(Refusal::NoSuchMessage),
        }
    }

    /// The first sequence the user may see; `None` for whoever is not a member.
    pub fn visible_from(&self, user: &UserId) -> Option<Seq> {
        self.members.get(user).map(|member| self.visible_to(member))
    }

    fn visible_to(&self, member: &Member) -> Seq {
        self.theirs_from(member).max(self.head.expired.next())
    }

    /// The first sequence that is the member's to see, kept or not.
    fn theirs_from(&self, member: &Member) -> Seq {
        match self.head.kind {
            Kind::Group { history: History::SinceJoin, .. } => member.joined_at.next(),
            Kind::Group { history: History::All, .. } | Kind::Direct { .. } => Seq(1),
        }
    }

    /// The other user of a direct conversation, the user themselves if they write to themselves;
    /// `None` in groups and for strangers.
    pub fn peer_of(&self, user: &UserId) -> Option<&UserId> {
        match &self.head.kind {
            Kind::Direct { low, high } if user == low => Some(high),
            Kind::Direct { low, high } if user == high => Some(low),
            Kind::Direct { .. } | Kind::Group { .. } => None,
        }
    }

    /// How many messages of others the user has not read: the same number on all their devices.
    /// `own_after_read` is how many of the messages after [`Best::read`] are the user's own.
    pub fn unread(&self, user: &UserId, own_after_read: u64) -> u64 {
        let Some(from) = self.visible_from(user) else {
            return 0;
        };
        let seen = self.best(user).read.0.max(from.0 - 1);
        (self.head.last_seq.0 - seen).saturating_sub(own_after_read)
    }

    /// How far the user has got over all their devices.
    pub fn best(&self, user: &UserId) -> Best {
        self.progress.best(user)
    }

    /// How far everybody has got, as a value that outlives this state.
    pub fn floors(&self) -> Floors {
        self.progress.floors(self.head.last_seq)
    }

    /// Every other member has everything up to here. With nobody else there, the last sequence.
    pub fn delivered_floor(&self, except: &UserId) -> Seq {
        self.floors().delivered(except)
    }

    /// Every other member has read everything up to here. With nobody else there, the last sequence.
    pub fn read_floor(&self, except: &UserId) -> Seq {
        self.floors().read(except)
    }

    /// The members who have the message at `seq`, in the order of their ids. A sender who has not
    /// confirmed their own message is not among them.
    pub fn delivered_to(&self, seq: Seq) -> Vec<&UserId> {
        self.reached(seq, |best| best.delivered)
    }

    /// The members who have read the message at `seq` and let others know, in the order of their ids.
    pub fn read_by(&self, seq: Seq) -> Vec<&UserId> {
        self.reached(seq, |best| best.shown)
    }

    fn reached(&self, seq: Seq, mark: impl Fn(&Best) -> Seq) -> Vec<&UserId> {
        let reached = |(user, member): &(&UserId, &Member)| {
            self.visible_to(member) <= seq && mark(&self.best(user)) >= seq
        };
        self.members.iter().filter(reached).map(|(user, _)| user).collect()
    }

    /// Every law that the state alone can break. Walks everything: for tests, not for the path of a
    /// message.
    pub fn assert_lawful(&self) {
        self.assert_rows();
        assert_eq!(self.progress, progress::Progress::of(&self.members, &self.cursors));
    }

    fn assert_rows(&self) {
        let last_seq = self.head.last_seq;
        assert!(self.head.created_at <= self.head.last_at, "time ran backwards");
        assert!(self.members.len() <= crate::limits::MEMBERS_MAX, "too many members");
        match &self.head.kind {
            Kind::Direct { low, high } => {
                assert!(low <= high, "the two users are in order");
                let both: BTreeSet<_> = [low, high].into_iter().collect();
                assert!(self.members.keys().eq(both), "the two users are the members");
                assert!(last_seq > Seq(0), "a direct conversation begins with a message");
            }
            Kind::Group { .. } => {
                let owned = self.members.values().any(|member| member.role == Role::Owner);
                assert!(owned || self.members.is_empty(), "a group with members has an owner");
            }
        }
        assert_eq!(last_seq == Seq(0), self.head.chain == Chain::default(), "chain and seq agree");
        assert!(self.head.expired <= last_seq, "only what was said expires");
        let last_change = self.head.last_change;
        for member in self.members.values() {
            assert!(member.joined_at <= last_seq && member.joined_change <= last_change);
        }
        for cursor in self.cursors.values() {
            assert!(cursor.shown <= cursor.read && cursor.read <= cursor.delivered);
            assert!(cursor.delivered <= last_seq && cursor.changes <= last_change);
        }
        let said = self.producers.values().map(|producer| producer.last_order.0).sum::<u64>();
        assert_eq!(said, last_seq.0, "every message has one producer and one order");
        assert_eq!(self.progress, progress::Progress::of(&self.members, &self.cursors));
    }
}

/// Decides one command. Total: every state, time and command has an answer.
///
/// `this` is `None` while the conversation does not exist: a direct one comes into being with its
/// first message, a group with its creation. `at` is the proposer's clock; a time before the
/// conversation's last one is taken for the last one. Nothing but `this` is changed, and whatever
/// is changed is named in the answer.
pub fn apply(
    this: &mut Option<Conversation>,
    id: ConversationId,
    at: Timestamp,
    command: &Command,
    known: &Known,
) -> Applied {
    let before = this.as_ref().map(|conversation| Mark::of(&conversation.head));
    let applied = match command {
        Command::CreateGroup { group, name, owner, members, history } => {
            let new = membership::NewGroup { group, name, owner, members, history: *history };
            membership::create_group(this, id, at, &new, known)
        }
        Command::AddMembers { by, members } => match this {
            Some(conversation) => membership::add_members(conversation, id, at, by, members),
            None => refused(Refusal::NoSuchConversation),
        },
        Command::RemoveMember { by, member } => match this {
            Some(conversation) => membership::remove_member(conversation, id, at, by, member),
            None => refused(Refusal::NoSuchConversation),
        },
        Command::RenameGroup { by, name } => match this {
            Some(conversation) => membership::rename(conversation, id, at, by, name),
            None => refused(Refusal::NoSuchConversation),
        },
        Command::SetRole { by, member, role } => match this {
            Some(conversation) => membership::set_role(conversation, id, at, by, (member, *role)),
            None => refused(Refusal::NoSuchConversation),
        },
        Command::SetRetention { by, retention } => match this {
            Some(conversation) => retention::set(conversation, id, at, by, *retention),
            None => refused(Refusal::NoSuchConversation),
        },
        Command::Expire { up_to } => match this {
            Some(conversation) => retention::expire(conversation, at, *up_to, known),
            None => refused(Refusal::NoSuchConversation),
        },
        Command::Send(message) => send::send(this, id, at, message, known),
        Command::Change(change) => changes::change(this, id, at, change, known),
        Command::Confirm { user, device, seq, read, hidden } => match this {
            Some(conversation) => {
                let read = confirm::Reading::of(*read, *hidden);
                confirm::confirm(conversation, user, *device, *seq, read)
            }
            None => refused(Refusal::NoSuchConversation),
        },
        Command::ConfirmChanges { user, device, change } => match this {
            Some(conversation) => confirm::confirm_changes(conversation, user, *device, *change),
            None => refused(Refusal::NoSuchConversation),
        },
    };
    assert_step(before, this.as_ref(), &applied);
    applied
}

/// What of a head the step asserts compare.
struct Mark {
    last_seq: Seq,
    last_at: Timestamp,
    chain: Chain,
    last_change: ChangeNumber,
    last_change_at: Timestamp,
    expired: Seq,
}

impl Mark {
    fn of(head: &Head) -> Self {
        Self {
            last_seq: head.last_seq,
            last_at: head.last_at,
            chain: head.chain,
            last_change: head.last_change,
            last_change_at: head.last_change_at,
            expired: head.expired,
        }
    }

    /// Before there was anything.
    fn nothing() -> Self {
        Self {
            last_seq: Seq(0),
            last_at: Timestamp(0),
            chain: Chain::default(),
            last_change: ChangeNumber(0),
            last_change_at: Timestamp(0),
            expired: Seq(0),
        }
    }
}

/// The laws of one step, at a cost that does not grow with the conversation.
fn assert_step(before: Option<Mark>, after: Option<&Conversation>, applied: &Applied) {
    let accepted = matches!(applied.outcome, Outcome::Accepted(_));
    assert!(accepted || applied.changed.is_empty(), "only what is accepted is written");
    assert!(accepted || applied.event.is_none(), "only what is accepted has happened");
    assert!(accepted || applied.owed.is_empty(), "only what is accepted owes");
    let Some(after) = after else {
        assert!(before.is_none() && !accepted, "a conversation never ceases to exist");
        return;
    };
    let existed = before.is_some();
    let before = before.unwrap_or_else(Mark::nothing);
    assert_change(&before, &after.head, applied);
    assert_expired(&before, &after.head, applied);
    assert!(existed || applied.changed.head, "a new conversation writes its head");
    let forwards = before.last_at <= after.head.last_at;
    assert!(forwards || planted::bug(planted::Bug::TimeNotClamped), "time runs forwards");
    match &applied.changed.message {
        Some(message) => {
            assert_eq!(after.head.last_seq, before.last_seq.next(), "sequences are dense");
            assert_eq!(message.seq, after.head.last_seq, "the message has the new sequence");
            let place = applied.changed.place.map(|place| (place.seq, place.order));
            assert_eq!(place, Some((message.seq, message.order)), "its place is its own");
            assert_eq!(message.chain, after.head.chain, "the head ends the chain");
            assert_eq!(message.at, after.head.last_at, "the head has the message's time");
            let grown = before.chain != after.head.chain;
            assert!(grown || planted::bug(planted::Bug::ChainNotExtended), "the chain has grown");
        }
        None => {
            assert!(applied.changed.place.is_none(), "only messages have places");
            assert_eq!(after.head.last_seq, before.last_seq, "only messages take sequences");
            assert_eq!(after.head.chain, before.chain, "only messages extend the chain");
        }
    }
}

/// Changes are numbered densely, and nothing else takes a number of theirs.
fn assert_change(before: &Mark, after: &Head, applied: &Applied) {
    assert!(before.last_change_at <= after.last_change_at, "time runs forwards");
    let Some(recorded) = &applied.changed.change else {
        assert_eq!(after.last_change, before.last_change, "only changes take their numbers");
        return;
    };
    let change = &recorded.change;
    assert_eq!(change.number, before.last_change.next(), "changes are numbered densely");
    assert_eq!(change.number, after.last_change, "the head counts the changes");
    assert_eq!((change.at, change.after), (after.last_change_at, after.last_seq));
    assert!(applied.changed.head && applied.changed.message.is_none());
    assert_eq!(recorded.overlay.is_some(), change.what.seq().is_some(), "a message has an overlay");
    let deleted = matches!(change.what, crate::change::What::Deleted { .. });
    assert_eq!(recorded.erased.is_some(), deleted, "only deletions erase");
}

/// What expired stays so, and nothing expires unsaid.
fn assert_expired(before: &Mark, after: &Head, applied: &Applied) {
    let Some(expired) = &applied.changed.expired else {
        assert_eq!(after.expired, before.expired, "only expiry expires");
        return;
    };
    assert!(before.expired < after.expired && after.expired == expired.up_to);
    assert!(applied.changed.head && applied.changed.message.is_none());
    let kept = |message: &crate::message::Message| message.body.text.is_empty();
    assert!(expired.messages.iter().all(|message| message.erased.is_some() && kept(message)));
}

fn refused(refusal: Refusal) -> Applied {
    answered(Outcome::Refused(refusal))
}

/// An answer without any effect.
fn answered(outcome: Outcome) -> Applied {
    Applied { outcome, event: None, changed: Default::default(), owed: Vec::new() }
}

/// The place of a command that is no message and no confirmation.
fn place_of(head: &Head) -> Place {
    Place { seq: head.last_seq, at: head.last_at, ..Place::default() }
}
