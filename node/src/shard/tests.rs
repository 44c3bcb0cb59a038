//! The shard's laws over tables in memory, with commands drawn from a seed: small sets of names and numbers, so that
//! repetitions, gaps, collisions and refusals are frequent.

mod costs;
mod crashes;
mod draining;
mod installing;
mod overlay;
mod reading;
mod replay;
mod splitting;

use std::sync::Arc;

use bytes::Bytes;
use chat::{
    Body, ChangeMessage, ConversationId, DeviceId, GroupId as ChatGroup, History, LinkTo,
    MessageId, Order, Outcome, PushCommand, PushId, SendMessage, Seq, Target, Timestamp,
    UserCommand, UserId, Wish,
};
use parking_lot::Mutex;
use proto::{Answer, Command};
use raft::{CommittedEntry, Fatal, GroupId, Machine, Payload, Position};
use store::tables::{Direction, KeyRange, MemoryTables, Row, Tables};

use super::{Outbox, Publish, Reader, ShardEvent, ShardMachine};
use crate::clock::{Entropy, SeededEntropy};
use crate::router::{Owners, Route, RouteError, Routed, Router};

const GROUP: GroupId = GroupId(1);
const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "team"];

/// A machine over all slots, with what it told and what it answered.
struct Shard {
    tables: Arc<dyn Tables>,
    machine: ShardMachine,
    told: Arc<Told>,
    outbox: Outbox,
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>, Mutex<std::collections::BTreeSet<ConversationId>>);

impl Publish for Told {
    fn publish(&self, events: Vec<ShardEvent>) {
        self.0.lock().extend(events.iter().map(|event| format!("{event:?}")));
    }

    fn settled(
        &self,
        _group: GroupId,
        _index: u64,
        conversations: &std::collections::BTreeSet<ConversationId>,
    ) {
        self.1.lock().extend(conversations);
    }

    fn replaced(&self, slots: std::ops::Range<u16>) {
        self.0.lock().push(format!("replaced {slots:?}"));
    }
}

/// A router for shards whose outbox is not the point.
struct Nowhere;

impl Route for Nowhere {
    fn submit(&self, _slot: u16, _command: Bytes) -> Routed {
        Box::pin(async { Err(RouteError::Stopped) })
    }

    fn linearize(&self, _slot: u16) -> futures::future::BoxFuture<'static, Result<(), RouteError>> {
        Box::pin(async { Err(RouteError::Stopped) })
    }
}

impl Shard {
    fn new() -> Self {
        Self::open(Arc::new(MemoryTables::new()))
    }

    fn open(tables: Arc<dyn Tables>) -> Self {
        Self::try_open(tables, Arc::new(Nowhere)).expect("the tables are sound")
    }

    fn try_open(tables: Arc<dyn Tables>, route: Arc<dyn Route>) -> Result<Self, Fatal> {
        let told = Arc::new(Told::default());
        let outbox = Outbox::new(GROUP, Arc::clone(&tables), Router::new(route));
        let (publish, wake) = (Arc::clone(&told) as Arc<dyn Publish>, outbox.wake());
        let slots = 0..chat::SLOTS;
        let owners = Owners::default();
        let machine = ShardMachine::open(GROUP, slots, Arc::clone(&tables), publish, wake, owners)?;
        Ok(Self { tables, machine, told, outbox })
    }

    /// The same as `run`, also for what moved.
    fn answers(&mut self, commands: &[Command]) -> Vec<Answer> {
        let entry = committed(self.next_index(), entry(1000, commands));
        let answers = self.machine.apply(vec![entry]).expect("the disk is sound");
        let decode = |bytes: &Bytes| proto::decode_answer(bytes).expect("it was encoded");
        answers[0].iter().map(decode).collect()
    }

    /// Closes the machine and opens it again over the same tables.
    fn reopen(self) -> Self {
        Self::open(self.tables)
    }

    fn next_index(&self) -> u64 {
        let applied = self.machine.applied().expect("it was read");
        applied.position.map_or(0, |at| at.index + 1)
    }

    /// Applies entries as one batch.
    fn apply(&mut self, entries: &[Bytes]) -> Result<Vec<Vec<Outcome>>, Fatal> {
        let first = self.next_index();
        let entries = (first..).zip(entries).map(|(index, entry)| committed(index, entry.clone()));
        let answers = self.machine.apply(entries.collect())?;
        let decode = |bytes: &Bytes| proto::decode_outcome(bytes).expect("it was encoded");
        Ok(answers.iter().map(|answers| answers.iter().map(decode).collect()).collect())
    }

    /// Applies commands as one entry of one batch.
    fn run(&mut self, commands: &[Command]) -> Vec<Outcome> {
        let answers = self.apply(&[entry(1000, commands)]).expect("the disk is sound");
        answers.into_iter().flatten().collect()
    }

    fn rows(&self) -> Vec<Row> {
        rows(&*self.tables)
    }

    fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.tables))
    }
}

fn committed(index: u64, entry: Bytes) -> CommittedEntry {
    CommittedEntry {
        position: Position { term: 1, node: 1, index },
        payload: Payload::Entry(entry),
        applied_membership: Bytes::from_static(b"membership"),
        wants_outcomes: true,
    }
}

fn rows(tables: &dyn Tables) -> Vec<Row> {
    let everything = KeyRange::new(vec![0], vec![0xFF; 64]);
    tables.scan(everything, Direction::Ascending, usize::MAX).expect("memory can be read")
}

fn entry(at_ms: u64, commands: &[Command]) -> Bytes {
    let commands: Vec<_> = commands.iter().map(Command::encode).collect();
    proto::encode_entry(at_ms, &commands)
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("legal")
}

fn direct(one: &str, other: &str) -> ConversationId {
    ConversationId::direct(&user(one), &user(other))
}

fn team() -> ConversationId {
    ConversationId::group(&ChatGroup::parse("team").expect("legal"))
}

/// `device` says `text` to another user.
fn say(from: &str, to: &str, device: u64, id: &str, order: Option<u64>) -> Command {
    let mut send = message(from, device, id, order);
    send.receiver = Some(user(to));
    Command::Conversation { id: direct(from, to), command: chat::Command::Send(send) }
}

fn message(from: &str, device: u64, id: &str, order: Option<u64>) -> SendMessage {
    SendMessage {
        sender: user(from),
        device: DeviceId(device),
        receiver: None,
        order: order.map(Order),
        message_id: MessageId::parse(id).expect("legal"),
        body: Body { text: format!("text of {id}"), ..Body::default() },
    }
}

fn create(group: &str, owner: &str, members: &[&str]) -> Command {
    let group = ChatGroup::parse(group).expect("legal");
    Command::Conversation {
        id: ConversationId::group(&group),
        command: chat::Command::CreateGroup {
            group,
            name: "The team".to_owned(),
            owner: user(owner),
            members: members.iter().map(|name| user(name)).collect(),
            history: History::SinceJoin,
        },
    }
}

fn register(name: &str) -> Command {
    let command = UserCommand::Create { password_hash: "hash".to_owned() };
    Command::User { user: user(name), command }
}

fn remove(by: &str, member: &str) -> Command {
    let command = chat::Command::RemoveMember { by: user(by), member: user(member) };
    Command::Conversation { id: team(), command }
}

fn add(by: &str, member: &str) -> Command {
    let command = chat::Command::AddMembers { by: user(by), members: [user(member)].into() };
    Command::Conversation { id: team(), command }
}

/// Commands from a seed.
struct Dice(SeededEntropy);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    fn below(&self, limit: u64) -> u64 {
        self.0.number() % limit
    }

    fn name(&self) -> &'static str {
        NAMES[self.below(NAMES.len() as u64) as usize]
    }

    fn entries(&self, count: usize) -> Vec<Bytes> {
        (0..count)
            .map(|_| {
                let commands: Vec<_> = (0..self.below(5)).map(|_| self.command()).collect();
                entry(1000 + self.below(4) * 900 + self.below(50), &commands)
            })
            .collect()
    }

    fn command(&self) -> Command {
        match self.below(24) {
            0..8 => self.say(),
            8 => self.change(),
            9..12 => self.confirm(),
            12 => create("team", self.name(), &[self.name(), self.name()]),
            13 if self.below(2) == 0 => self.rename(),
            13 => add(self.name(), self.name()),
            14 => remove(self.name(), self.name()),
            15 => Command::OutboxDone(self.below(12)),
            16 => register(self.name()),
            17..20 => self.expire(),
            _ => Command::User { user: user(self.name()), command: self.user_command() },
        }
    }

    fn say(&self) -> Command {
        let (from, id) = (self.name(), format!("m{}", self.below(12)));
        let device = self.device(from);
        let order = (self.below(2) == 0).then(|| 1 + self.below(8));
        if self.below(2) == 0 {
            return say(from, self.name(), device, &id, order);
        }
        let mut send = message(from, device, &id, order);
        if self.below(8) == 0 {
            send.body.text.push('!');
        }
        Command::Conversation { id: team(), command: chat::Command::Send(send) }
    }

    fn change(&self) -> Command {
        let by = self.name();
        let id = if self.below(2) == 0 { team() } else { direct(by, self.name()) };
        let change = ChangeMessage {
            by: user(by),
            device: DeviceId(self.device(by)),
            change_id: MessageId::parse(&format!("c{}", self.below(9))).expect("legal"),
            seq: Seq(self.below(6)),
            wish: match self.below(5) {
                0 => Wish::Delete,
                1 | 2 => Wish::Edit(format!("edit {}", self.below(3))),
                _ => Wish::React(["", "+1"][self.below(2) as usize].to_owned()),
            },
        };
        Command::Conversation { id, command: chat::Command::Change(change) }
    }

    /// Messages are kept for a second, or for ever; or their time has passed.
    fn expire(&self) -> Command {
        let by = self.name();
        let id = if self.below(2) == 0 { team() } else { direct(by, self.name()) };
        let retention = (self.below(4) > 0).then_some(chat::Retention(1));
        let command = match self.below(3) {
            0 => chat::Command::SetRetention { by: user(by), retention },
            _ => chat::Command::Expire { up_to: Seq(1 + self.below(4)) },
        };
        Command::Conversation { id, command }
    }

    fn rename(&self) -> Command {
        let (by, name) = (user(self.name()), format!("name {}", self.below(3)));
        Command::Conversation { id: team(), command: chat::Command::RenameGroup { by, name } }
    }

    fn confirm(&self) -> Command {
        let by = self.name();
        let id = if self.below(2) == 0 { team() } else { direct(by, self.name()) };
        let command = chat::Command::Confirm {
            user: user(by),
            device: DeviceId(self.device(by)),
            seq: Seq(self.below(15)),
            read: self.below(2) == 0,
            hidden: self.below(4) == 0,
        };
        Command::Conversation { id, command }
    }

    fn user_command(&self) -> UserCommand {
        let device = DeviceId(1 + self.below(12));
        let conversation = direct(self.name(), self.name());
        let digest = |text: u64| Body { text: text.to_string(), ..Body::default() }.digest();
        match self.below(11) {
            6..=9 => {
                UserCommand::Push { push: PushId(1 + self.below(3)), command: self.push_command() }
            }
            10 => UserCommand::Configure { hide_read: self.below(2) == 0 },
            0 => UserCommand::OpenSession {
                device,
                name: "laptop".to_owned(),
                refresh: digest(self.below(3)),
                starts: [(conversation, Seq(3))].into(),
            },
            1 => UserCommand::RefreshSession {
                device,
                old: digest(self.below(3)),
                new: digest(self.below(3)),
            },
            2 => UserCommand::EndSession { device },
            3 => UserCommand::Link { conversation, to: LinkTo::Peer(user(self.name())) },
            4 => UserCommand::Unlink { conversation },
            _ => UserCommand::MarkSeen { at: Timestamp(self.below(9)), device: None },
        }
    }

    fn push_command(&self) -> PushCommand {
        let (one, other) = (self.below(6), self.below(6));
        match self.below(9) {
            0 => PushCommand::Add {
                device: (one == 0).then(|| DeviceId(1 + other)),
                target: Target::Apns { token: format!("t{other}") },
            },
            1 if one == 0 => PushCommand::Remove,
            2..=4 => {
                let items = (0..other).map(|n| (direct(self.name(), self.name()), Seq(n)));
                PushCommand::Notify { after: one, items: items.collect() }
            }
            5 => PushCommand::MarkPushed { after: one, up_to: other },
            6 => PushCommand::GiveUp { number: one, attempts: 3, reason: "tired".to_owned() },
            7 => PushCommand::Replay { from: one },
            _ => PushCommand::Revive { number: one },
        }
    }

    /// Two devices for each name, so that no two users share one.
    fn device(&self, name: &str) -> u64 {
        let number = NAMES.iter().position(|known| *known == name).expect("one of the names");
        2 * number as u64 + 1 + self.below(2)
    }
}
