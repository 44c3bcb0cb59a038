//! Random commands against a naive model: the conversation machine must come to the same answers as
//! a list of messages that is searched from end to end.
//!
//! The model keeps no producers, no floors and no derived state; it answers every question by
//! looking at everything that was ever said. Names, devices, ids and orders are drawn from small
//! sets, so that repetitions, gaps and collisions are frequent.

#[path = "model/changes.rs"]
mod changes;

use std::collections::{BTreeMap, BTreeSet};

use changes::{Changes, Wished};
use chat::{
    Applied, Body, ChangeNumber, Command, Conversation, ConversationId, Cursor, DeviceId, Earlier,
    Event, GroupId, History, Known, Message, MessageId, Order, Outcome, Retention, SendMessage,
    Seq, Timestamp, UserId, apply,
};
use proptest::prelude::*;

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const TEXTS: [&str; 2] = ["one", "two"];

/// What one step asks for, in small numbers.
#[derive(Clone, Debug)]
enum Step {
    Say { user: usize, device: u64, id: u64, order: Option<u64>, text: usize },
    Confirm { user: usize, device: u64, seq: u64, read: bool, hidden: bool },
    ConfirmChanges { user: usize, device: u64, change: u64 },
    Change(Wished),
    Rename { by: usize, name: usize },
    Add { by: usize, members: Vec<usize> },
    Remove { by: usize, member: usize },
    Keep { by: usize, seconds: u64 },
    Expire { up_to: u64, later: u64 },
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let user = 0..USERS.len();
    let say = (user.clone(), 0..2_u64, 0..6_u64, prop::option::of(0..6_u64), 0..TEXTS.len())
        .prop_map(|(user, device, id, order, text)| Step::Say { user, device, id, order, text });
    let confirm = (user.clone(), 0..2_u64, 0..9_u64, any::<bool>(), any::<bool>()).prop_map(
        |(user, device, seq, read, hidden)| Step::Confirm { user, device, seq, read, hidden },
    );
    let confirm_changes = (user.clone(), 0..2_u64, 0..9_u64)
        .prop_map(|(user, device, change)| Step::ConfirmChanges { user, device, change });
    let change = changes::wished(user.clone()).prop_map(Step::Change);
    let rename = (user.clone(), 0..TEXTS.len()).prop_map(|(by, name)| Step::Rename { by, name });
    let add = (user.clone(), prop::collection::vec(user.clone(), 0..3))
        .prop_map(|(by, members)| Step::Add { by, members });
    let keep = (user.clone(), 0..3_u64).prop_map(|(by, seconds)| Step::Keep { by, seconds });
    let expire = (0..5_u64, 0..3000_u64).prop_map(|(up_to, later)| Step::Expire { up_to, later });
    let remove = (user.clone(), user).prop_map(|(by, member)| Step::Remove { by, member });
    let step = prop_oneof![
        8 => say, 5 => confirm, 1 => confirm_changes, 5 => change, 1 => rename, 1 => add, 1 => remove,
        1 => keep, 1 => expire,
    ];
    prop::collection::vec((990..1010_u64, step), 1..60)
}

/// Everything that was ever accepted, and nothing derived from it.
#[derive(Default)]
struct Model {
    said: Vec<Message>,
    confirmed: Vec<(UserId, DeviceId, Seq, bool, bool)>,
    changes: Changes,
    /// For how long messages are kept, in seconds; 0: for ever.
    kept: u64,
    expired: u64,
}

/// What the model expects of a send.
#[derive(Debug, PartialEq)]
enum Expected {
    Stored(Order),
    Original(Seq),
    Conflict,
    OutOfOrder(Order),
    NotAMember,
}

impl Model {
    fn judge(&self, send: &SendMessage, member: bool) -> Expected {
        let own = || self.said.iter().filter(|said| said.device == send.device);
        let earlier = own().find(|said| said.message_id == send.message_id);
        let same = |said: &Message| {
            said.body == send.body && send.order.is_none_or(|order| order == said.order)
        };
        let next = Order(own().count() as u64 + 1);
        match (earlier, send.order) {
            (Some(said), _) if same(said) => Expected::Original(said.seq),
            _ if !member => Expected::NotAMember,
            (_, Some(order)) if order == Order(0) || order > next => Expected::OutOfOrder(next),
            (_, Some(order)) if order < next => Expected::Conflict,
            (Some(_), _) => Expected::Conflict,
            (None, _) => Expected::Stored(next),
        }
    }

    fn cursor(&self, device: DeviceId) -> (Seq, Seq) {
        let own = || self.confirmed.iter().filter(|(_, of, ..)| *of == device);
        let delivered = own().map(|(_, _, seq, ..)| *seq).max();
        let read = own().filter(|(_, _, _, read, _)| *read).map(|(_, _, seq, ..)| *seq).max();
        (delivered.unwrap_or_default(), read.unwrap_or_default())
    }

    /// What every member but one has, or has openly read, by definition.
    fn floor(&self, this: &Conversation, except: &UserId, read_only: bool) -> Seq {
        let others = this.members.iter().filter(|(user, _)| *user != except);
        let marks = others.map(|(user, member)| {
            let own = self
                .confirmed
                .iter()
                .filter(|(of, _, _, read, hidden)| of == user && (*read && !hidden || !read_only));
            own.map(|(_, _, seq, ..)| *seq).max().unwrap_or_default().max(member.joined_at)
        });
        marks.min().unwrap_or(this.head.last_seq)
    }
}

/// Machine and model side by side.
struct Pair {
    id: ConversationId,
    machine: Option<Conversation>,
    model: Model,
}

impl Pair {
    fn step(&mut self, at: u64, step: &Step, direct: bool) {
        let command = self.command(step, direct);
        let known = self.known(&command);
        let later = if let Step::Expire { later, .. } = step { *later } else { 0 };
        let (before, at) = (self.machine.clone(), Timestamp(at + later));
        let applied = apply(&mut self.machine, self.id, at, &command, &known);

        let mut again = before.clone();
        assert_eq!(apply(&mut again, self.id, at, &command, &known), applied, "deterministic");
        assert_eq!(again, self.machine, "deterministic");
        assert_rows(before.as_ref(), self.machine.as_ref(), &applied);
        match &command {
            Command::Send(send) => self.compare_send(before.as_ref(), send, &applied),
            Command::Change(change) => {
                self.model.changes.compare(before.as_ref(), &self.model.said, change, &applied);
            }
            Command::Confirm { user, device, seq, read, hidden } => {
                if let Outcome::Accepted(place) = applied.outcome {
                    self.model.confirmed.push((user.clone(), *device, *seq, *read, *hidden));
                    let cursor = self.model.cursor(*device);
                    assert_eq!((place.delivered, place.read), cursor, "cursors are maxima");
                }
            }
            Command::Expire { up_to } => self.compare_expiry(before.as_ref(), at, *up_to, &applied),
            Command::SetRetention { retention, .. } if applied.changed.retention => {
                self.model.kept = retention.map_or(0, |kept| kept.0);
            }
            _ => {}
        }
        self.model.changes.note(before.as_ref(), &applied);
        if let Some(this) = &self.machine {
            this.assert_lawful();
            self.compare_floors(this);
            self.assert_floors_stay(before.as_ref(), this);
        }
    }

    fn command(&self, step: &Step, direct: bool) -> Command {
        match step {
            Step::Say { user: by, device, id, order, text } => Command::Send(SendMessage {
                sender: user(*by),
                device: device_of(*by, *device),
                receiver: direct.then(|| user(1 - *by % 2)),
                order: order.map(Order),
                message_id: MessageId::parse(&format!("m{id}")).expect("legal"),
                body: Body { text: TEXTS[*text].to_owned(), ..Body::default() },
            }),
            Step::Confirm { user: by, device, seq, read, hidden } => Command::Confirm {
                user: user(*by),
                device: device_of(*by, *device),
                seq: Seq(*seq),
                read: *read,
                hidden: *hidden,
            },
            Step::ConfirmChanges { user: by, device, change } => Command::ConfirmChanges {
                user: user(*by),
                device: device_of(*by, *device),
                change: ChangeNumber(*change),
            },
            Step::Change(wished) => Command::Change(wished.command()),
            Step::Rename { by, name } => {
                Command::RenameGroup { by: user(*by), name: TEXTS[*name].to_owned() }
            }
            Step::Add { by, members } => Command::AddMembers {
                by: user(*by),
                members: members.iter().map(|member| user(*member)).collect(),
            },
            Step::Remove { by, member } => {
                Command::RemoveMember { by: user(*by), member: user(*member) }
            }
            Step::Keep { by, seconds } => Command::SetRetention {
                by: user(*by),
                retention: (*seconds > 0).then_some(Retention(*seconds)),
            },
            Step::Expire { up_to, .. } => Command::Expire { up_to: Seq(*up_to) },
        }
    }

    fn known(&self, command: &Command) -> Known {
        let mut known = Known { earlier: self.earlier(command), ..Known::default() };
        if let Command::Change(change) = command {
            known.change = self.model.changes.earlier(change);
            known.target = self.model.changes.target(&self.model.said, change.seq);
        }
        if let Command::Expire { up_to } = command {
            let due = self.model.expired + 1..=up_to.0;
            let target = |seq| self.model.changes.target(&self.model.said, Seq(seq));
            known.expiring = due.filter_map(target).collect();
        }
        known
    }

    fn earlier(&self, command: &Command) -> Option<Earlier> {
        let Command::Send(send) = command else {
            return None;
        };
        let same =
            |said: &&Message| said.device == send.device && said.message_id == send.message_id;
        self.model.said.iter().find(same).map(|said| Earlier {
            seq: said.seq,
            at: said.at,
            order: said.order,
            digest: said.body.digest(),
        })
    }

    fn compare_send(
        &mut self,
        before: Option<&Conversation>,
        send: &SendMessage,
        applied: &Applied,
    ) {
        // Before the first message, the two users of a direct conversation count as its members.
        let member = before.is_none_or(|this| this.is_member(&send.sender));
        let expected = self.model.judge(send, member);
        let actual = match &applied.outcome {
            Outcome::Accepted(place) => Expected::Stored(place.order),
            Outcome::Duplicate(place) => Expected::Original(place.seq),
            Outcome::Conflict(_) => Expected::Conflict,
            Outcome::Refused(chat::Refusal::OutOfOrder { expected }) => {
                Expected::OutOfOrder(*expected)
            }
            Outcome::Refused(_) => Expected::NotAMember,
        };
        assert_eq!(actual, expected, "{send:?}");
        if let Some(Event::MessageSent(message)) = &applied.event {
            let last = self.model.said.last();
            assert_eq!(message.seq.0, self.model.said.len() as u64 + 1, "dense");
            assert!(last.is_none_or(|last| last.at <= message.at), "time runs forwards");
            let chain = last.map(|last| last.chain).unwrap_or_default();
            assert_eq!(message.chain, chain.extend(message), "the chain covers all");
            self.model.said.push(Message::clone(message));
        }
    }

    /// What expires is what was said for long enough, and its places and chain stay as they were.
    fn compare_expiry(
        &mut self,
        before: Option<&Conversation>,
        at: Timestamp,
        up_to: Seq,
        applied: &Applied,
    ) {
        let last = self.model.said.len() as u64;
        let old = |seq: u64| {
            let said = self.model.said[usize::try_from(seq).expect("small") - 1].at;
            self.model.kept > 0 && said.0 + self.model.kept * 1000 <= at.0
        };
        let refused = before.is_none()
            || up_to.0 > last
            || (self.model.expired + 1..=up_to.0).any(|seq| !old(seq));
        assert_eq!(matches!(applied.outcome, Outcome::Refused(_)), refused, "{up_to} at {at}");
        let Some(expired) = &applied.changed.expired else { return };
        assert_eq!(expired.up_to, up_to);
        self.model.expired = up_to.0;
        for erased in &expired.messages {
            let said = &self.model.said[usize::try_from(erased.seq.0).expect("small") - 1];
            assert!(erased.body.text.is_empty() && erased.digest() == said.digest());
            assert_eq!(erased.chain, said.chain);
        }
        let machine = self.machine.as_ref().expect("it exists");
        for user in machine.members.keys() {
            assert!(machine.visible_from(user) > Some(up_to), "what expired is not served");
        }
    }

    fn compare_floors(&self, this: &Conversation) {
        for name in 0..USERS.len() {
            let user = user(name);
            let floors = (this.delivered_floor(&user), this.read_floor(&user));
            let model = |read| self.model.floor(this, &user, read);
            assert_eq!(floors, (model(false), model(true)), "floors of all but {user}");
        }
    }

    /// A status that was reached for a message is never lost, whoever joins, leaves or confirms.
    fn assert_floors_stay(&self, before: Option<&Conversation>, this: &Conversation) {
        for (user, _) in before.iter().flat_map(|before| &before.members) {
            let before = before.expect("it has members");
            assert!(before.delivered_floor(user) <= this.delivered_floor(user), "{user}");
            assert!(before.read_floor(user) <= this.read_floor(user), "{user}");
        }
    }
}

/// The rows that are named are exactly the rows that differ.
fn assert_rows(before: Option<&Conversation>, after: Option<&Conversation>, applied: &Applied) {
    let Some(after) = after else {
        return assert!(applied.changed.is_empty());
    };
    let changed = &applied.changed;
    assert_eq!(before.map(|this| &this.head) != Some(&after.head), changed.head);
    let empty = BTreeMap::new();
    let members = before.map_or(&empty, |this| &this.members);
    let differ: BTreeSet<UserId> = members
        .keys()
        .chain(after.members.keys())
        .filter(|user| members.get(*user) != after.members.get(*user))
        .cloned()
        .collect();
    assert_eq!(differ, changed.members);
    let producers = before.map(|this| this.producers.clone()).unwrap_or_default();
    let cursors: BTreeMap<_, Cursor> = before.map(|this| this.cursors.clone()).unwrap_or_default();
    for device in (0..10).map(DeviceId) {
        let same = producers.get(&device) == after.producers.get(&device);
        assert_eq!(same, changed.producer != Some(device));
        let same = cursors.get(&device) == after.cursors.get(&device);
        assert_eq!(same, changed.cursor != Some(device));
    }
}

fn user(number: usize) -> UserId {
    UserId::parse(USERS[number]).expect("legal")
}

/// Devices 0 and 1 of user 0, 2 and 3 of user 1, and so on.
fn device_of(user: usize, device: u64) -> DeviceId {
    DeviceId(user as u64 * 2 + device)
}

proptest! {
    #[test]
    fn groups_answer_like_the_model(steps in steps(), all in any::<bool>()) {
        let group = GroupId::parse("team").expect("legal");
        let id = ConversationId::group(&group);
        let mut pair = Pair { id, machine: None, model: Model::default() };
        let create = Command::CreateGroup {
            group,
            name: "Team".to_owned(),
            owner: user(0),
            members: [user(1), user(2)].into(),
            history: if all { History::All } else { History::SinceJoin },
        };
        apply(&mut pair.machine, id, Timestamp(1000), &create, &Known::default());
        for (at, step) in &steps {
            pair.step(*at, step, false);
        }
    }

    #[test]
    fn direct_conversations_answer_like_the_model(steps in steps()) {
        let id = ConversationId::direct(&user(0), &user(1));
        let mut pair = Pair { id, machine: None, model: Model::default() };
        for (at, step) in &steps {
            // Only the two of them speak; anybody may try to confirm, add or remove.
            if !matches!(step, Step::Say { user, .. } if *user > 1) {
                pair.step(*at, step, true);
            }
        }
    }
}
