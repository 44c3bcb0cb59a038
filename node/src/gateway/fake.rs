//! A cluster of one value: the machines of `chat` behind the ports of this room, for tests without raft.
//!
//! Decides, stores and publishes at once; what one shard owes another is carried out on the spot. Trouble is scripted.

mod reading;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chat::{
    Asset, AssetId, Change, ChangeNumber, Conversation, ConversationId, DeviceId, Digest, Earlier,
    EarlierChange, Event, Kept, Kind, Known, Message, MessageId, Outcome, Overlay, Owed, Recorded,
    Seq, Storage, Subject, Timestamp, User, UserCommand, UserId, What,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use store::{Blobs, MemoryDisk, OneFolder};
use tokio_util::sync::CancellationToken;

use super::issuers::Issuers;
use super::limits::Limits;
use super::passwords::Passwords;
use super::tokens::{Identity, KeySet, TokenSeed};
use super::{Parts, Ports};
use crate::asset::{self, Assets, Local};
use crate::clock::{Clock as _, ManualClock, SeededEntropy};
use crate::fanout::{Directory, Fanout, Typing};
use crate::history::Replica;
use crate::objects::Objects;
use crate::peers::Peers;
use crate::presence::{OtherNodes, Watches};
use crate::push::{ApplicationKey, Kinds};
use crate::resume::{Noted, Recent};
use crate::router::{Route, RouteError, Routed, Router};
use crate::shard::{Audience, Publish as _, ShardEvent};
use crate::trace::Trace;

/// How the next command fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is written and the answer is lost.
    AnswerLost,
}

#[derive(Default)]
struct State {
    conversations: BTreeMap<ConversationId, Conversation>,
    messages: BTreeMap<(ConversationId, Seq), Message>,
    earlier: BTreeMap<(ConversationId, MessageId, DeviceId), Earlier>,
    changes: BTreeMap<(ConversationId, ChangeNumber), Change>,
    overlays: BTreeMap<(ConversationId, Seq), Overlay>,
    wishes: BTreeMap<(ConversationId, MessageId, DeviceId), EarlierChange>,
    users: BTreeMap<UserId, User>,
    assets: BTreeMap<AssetId, Asset>,
    storages: BTreeMap<UserId, Storage>,
    kept: BTreeMap<(UserId, AssetId), Kept>,
}

/// The cluster.
pub(crate) struct Fake {
    state: Mutex<State>,
    pub(crate) troubles: Mutex<VecDeque<Trouble>>,
    /// Nothing can be made fresh while this is set.
    pub(crate) partitioned: AtomicBool,
    /// What is published goes nowhere while this is set.
    pub(crate) mute: AtomicBool,
    /// How many commands arrived.
    pub(crate) commands: Mutex<usize>,
    pub(crate) clock: Arc<ManualClock>,
    fanout: Fanout,
    /// Everything is in one shard.
    pub(crate) recent: Recent,
    index: AtomicU64,
}

/// No other nodes.
pub(crate) struct Alone;

impl OtherNodes for Alone {
    fn any_online(&self, _user: &UserId) -> BoxFuture<'static, bool> {
        Box::pin(async { false })
    }

    fn which_online(
        &self,
        _users: Arc<[UserId]>,
    ) -> BoxFuture<'static, Vec<(u64, Option<Vec<bool>>)>> {
        Box::pin(async { Vec::new() })
    }

    fn tell_typing(&self, _typing: &Typing) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// Shorthand for a user's id.
pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).expect("tests use legal names")
}

/// A whole client side over a fake cluster.
pub(crate) fn world() -> (Arc<Fake>, Arc<Parts>) {
    let directory = Directory::default();
    let fake = Arc::new(Fake {
        state: Mutex::default(),
        troubles: Mutex::default(),
        partitioned: AtomicBool::new(false),
        mute: AtomicBool::new(false),
        commands: Mutex::new(0),
        clock: Arc::new(ManualClock::at(1_700_000_000_000)),
        fanout: Fanout::new(directory.clone()),
        recent: Recent::default(),
        index: AtomicU64::new(0),
    });
    Noted::new(fake.fanout.clone(), fake.recent.clone()).stands(
        raft::GroupId(1),
        0..chat::SLOTS,
        0,
    );
    let parts = parts(&fake, directory);
    (fake, parts)
}

/// Another node's client side over the same cluster. It has its own directory and is not published to.
pub(crate) fn parts(fake: &Arc<Fake>, directory: Directory) -> Arc<Parts> {
    let seed = TokenSeed { id: "k1".to_owned(), seed: [7; 32], retired: false };
    let mut parts = Parts::new(Ports {
        node: 1,
        router: Router::new(Arc::clone(fake) as Arc<dyn Route>),
        replica: Arc::clone(fake) as Arc<dyn Replica>,
        assets: assets(fake),
        keys: Arc::new(Arc::new(KeySet::new(&[seed]))),
        issuers: Issuers::default(),
        limits: Limits::default(),
        directory,
        others: Arc::new(Alone),
        watches: Watches::default(),
        recent: fake.recent.clone(),
        trace: Trace::default(),
        clock: Arc::clone(&fake.clock) as Arc<dyn crate::clock::Clock>,
        entropy: Arc::new(SeededEntropy::new(42)),
        kinds: Kinds::default(),
        key: ApplicationKey::default(),
        search: None,
    });
    parts.passwords = Passwords::cheap();
    Arc::new(parts)
}

/// Assets of a cluster of this node alone, on a disk in memory.
fn assets(fake: &Arc<Fake>) -> Assets {
    assets_in(fake, None)
}

/// The same with an object store.
pub(crate) fn assets_in(fake: &Arc<Fake>, objects: Option<Objects>) -> Assets {
    let disk = Arc::new(MemoryDisk::default());
    Assets::new(asset::Ports {
        node: 1,
        local: Local::new(Blobs::new(Arc::new(OneFolder(disk)), None)),
        peers: Peers::default(),
        placement: Arc::new(|_| vec![1]),
        leads: Arc::new(|_| true),
        router: Router::new(Arc::clone(fake) as Arc<dyn Route>),
        replica: Arc::clone(fake) as Arc<dyn Replica>,
        clock: Arc::clone(&fake.clock) as Arc<dyn crate::clock::Clock>,
        entropy: Arc::new(SeededEntropy::new(43)),
        objects,
        settings: crate::config::Assets::default(),
        stop: CancellationToken::new(),
    })
}

impl Fake {
    /// Makes a user with one device.
    pub(crate) fn join(&self, name: &str, device: u64) -> Identity {
        let who = Identity { user: user(name), device: DeviceId(device) };
        self.apply_user(&who.user, &UserCommand::Create { password_hash: String::new() });
        self.device(&who);
        who
    }

    /// Gives the user a device.
    pub(crate) fn device(&self, who: &Identity) {
        let open = UserCommand::OpenSession {
            device: who.device,
            name: String::new(),
            refresh: Digest([0; 32]),
            starts: BTreeMap::new(),
        };
        let outcome = self.apply_user(&who.user, &open);
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }

    /// `from` says `text` to `to`, directly.
    pub(crate) fn say(&self, from: &Identity, to: &str, text: &str) -> Seq {
        let receiver = user(to);
        let id = ConversationId::direct(&from.user, &receiver);
        self.say_in(id, from, Some(receiver), text)
    }

    /// `from` says `text` in a conversation.
    pub(crate) fn say_in(
        &self,
        id: ConversationId,
        from: &Identity,
        receiver: Option<UserId>,
        text: &str,
    ) -> Seq {
        let body = chat::Body { text: text.to_owned(), ..Default::default() };
        let message_id = MessageId::parse(text).expect("tests use short texts");
        let (sender, device) = (from.user.clone(), from.device);
        let message = chat::SendMessage { sender, device, receiver, order: None, message_id, body };
        match self.apply(id, &chat::Command::Send(message)) {
            Outcome::Accepted(place) => place.seq,
            other => panic!("{other:?}"),
        }
    }

    /// Carries out any command at a conversation.
    pub(crate) fn apply(&self, id: ConversationId, command: &chat::Command) -> Outcome {
        let mut state = self.state.lock();
        let known = state.known(id, command);
        let mut this = state.conversations.remove(&id);
        let applied = chat::apply(&mut this, id, self.clock.now(), command, &known);
        let mut events = Vec::new();
        if let Some(conversation) = this {
            let audience = Arc::new(Audience {
                kind: conversation.head.kind.clone(),
                members: conversation.members.clone(),
            });
            events.extend(
                applied.event.into_iter().flat_map(|event| translate(id, event, &audience)),
            );
            state.conversations.insert(id, conversation);
        }
        if let Some(message) = applied.changed.message {
            state.keep(&message);
        }
        if let Some(recorded) = applied.changed.change {
            state.record(id, command, &recorded);
        }
        if let Some(expired) = applied.changed.expired {
            state.expire(id, &expired);
        }
        drop(state);
        self.publish(events);
        self.note(id);
        for owed in applied.owed {
            let user = owed.user().clone();
            let command = match owed {
                Owed::Link { conversation, to, .. } => UserCommand::Link { conversation, to },
                Owed::Unlink { conversation, .. } => UserCommand::Unlink { conversation },
            };
            self.apply_user(&user, &command);
        }
        applied.outcome
    }

    /// Carries out any command at a user's record.
    pub(crate) fn apply_user(&self, id: &UserId, command: &UserCommand) -> Outcome {
        let mut state = self.state.lock();
        let group = chat::GroupId::parse(id.as_str()).expect("one alphabet");
        let taken = state.conversations.contains_key(&ConversationId::group(&group));
        let mut this = state.users.remove(id);
        let applied = chat::apply_user(&mut this, self.clock.now(), command, taken);
        if let Some(user) = this {
            state.users.insert(id.clone(), user);
        }
        drop(state);
        let linked = applied.changed.link;
        let event = applied.event.map(|event| ShardEvent::User { user: id.clone(), event });
        self.publish(event.into_iter().collect());
        linked.into_iter().for_each(|conversation| self.note(conversation));
        applied.outcome
    }

    /// There is news of this conversation at the next index.
    fn note(&self, id: ConversationId) {
        let index = self.index.fetch_add(1, Ordering::Relaxed) + 1;
        let noted = Noted::new(self.fanout.clone(), self.recent.clone());
        noted.settled(raft::GroupId(1), index, &[id].into());
    }

    fn publish(&self, events: Vec<ShardEvent>) {
        if !self.mute.load(Ordering::Relaxed) {
            self.fanout.publish(events);
        }
    }

    fn carry_out(&self, command: &Bytes) -> Outcome {
        match proto::decode_command(command).expect("this room writes legal commands") {
            proto::Command::Conversation { id, command } => self.apply(id, &command),
            proto::Command::User { user, command } => self.apply_user(&user, &command),
            proto::Command::Asset { id, command } => {
                let mut state = self.state.lock();
                let mut this = state.assets.remove(&id);
                let applied = chat::apply_asset(&mut this, self.clock.now(), &command);
                state.assets.extend(this.map(|this| (id, this)));
                applied.outcome
            }
            proto::Command::Storage { user, asset, command } => {
                let mut state = self.state.lock();
                let mut kept = state.kept.remove(&(user.clone(), asset));
                let total = state.storages.entry(user.clone()).or_default();
                let outcome = chat::apply_storage(total, &mut kept, self.clock.now(), &command);
                state.kept.extend(kept.map(|kept| ((user, asset), kept)));
                outcome
            }
            proto::Command::OutboxDone(_) | proto::Command::Split { .. } => {
                panic!("no session proposes this")
            }
        }
    }
}

impl State {
    fn known(&self, id: ConversationId, command: &chat::Command) -> Known {
        match command {
            chat::Command::Send(send) => {
                let key = (id, send.message_id.clone(), send.device);
                Known { earlier: self.earlier.get(&key).copied(), ..Known::default() }
            }
            chat::Command::CreateGroup { group, .. } => {
                let name_taken = self.users.contains_key(&user(group.as_str()));
                Known { name_taken, ..Known::default() }
            }
            chat::Command::Change(change) => {
                let key = (id, change.change_id.clone(), change.device);
                let overlay = self.overlays.get(&(id, change.seq)).cloned().unwrap_or_default();
                let message = self.messages.get(&(id, change.seq)).cloned().map(Arc::new);
                Known {
                    change: self.wishes.get(&key).copied(),
                    target: message.map(|message| Subject { message, overlay }),
                    ..Known::default()
                }
            }
            chat::Command::Expire { up_to } => {
                let from = self.conversations.get(&id).map_or(Seq(0), |this| this.head.expired);
                let due = (from.0 + 1..=up_to.0).filter_map(|seq| {
                    let message = Arc::new(self.messages.get(&(id, Seq(seq)))?.clone());
                    let overlay = self.overlays.get(&(id, Seq(seq))).cloned().unwrap_or_default();
                    Some(Subject { message, overlay })
                });
                Known { expiring: due.collect(), ..Known::default() }
            }
            _ => Known::default(),
        }
    }

    fn expire(&mut self, id: ConversationId, expired: &chat::Expired) {
        for message in &expired.messages {
            self.messages.insert((id, message.seq), Message::clone(message));
        }
        for seq in &expired.laid {
            self.overlays.remove(&(id, *seq));
        }
        for number in &expired.emptied {
            self.changes.get_mut(&(id, *number)).expect("it was recorded").what.erase();
        }
    }

    fn record(&mut self, id: ConversationId, command: &chat::Command, recorded: &Recorded) {
        let change = Change::clone(&recorded.change);
        if let (chat::Command::Change(wish), Some(place)) = (command, recorded.place) {
            self.wishes.insert((id, wish.change_id.clone(), wish.device), place);
            self.overlays.extend(recorded.overlay.clone().map(|over| ((id, wish.seq), over)));
            let erased = recorded.erased.as_deref().cloned();
            self.messages.extend(erased.map(|message| ((id, wish.seq), message)));
        }
        for number in &recorded.emptied {
            self.changes.get_mut(&(id, *number)).expect("it was recorded").what.erase();
        }
        self.changes.insert((id, change.number), change);
    }

    fn keep(&mut self, message: &Message) {
        let id = message.conversation;
        let digest = message.body.digest();
        let (seq, at, order) = (message.seq, message.at, message.order);
        let key = (id, message.message_id.clone(), message.device);
        self.earlier.insert(key, Earlier { seq, at, order, digest });
        self.messages.insert((id, seq), message.clone());
    }
}

fn translate(
    conversation: ConversationId,
    event: Event,
    audience: &Arc<Audience>,
) -> Vec<ShardEvent> {
    let audience = Arc::clone(audience);
    let members = |added, removed| ShardEvent::Members { conversation, added, removed };
    vec![match event {
        Event::Changed(change) => {
            let members = match &change.what {
                What::Added { members: added } => {
                    Some(members(added.iter().cloned().collect(), Vec::new()))
                }
                What::Removed { member, .. } => Some(members(Vec::new(), vec![member.clone()])),
                _ => None,
            };
            let change = ShardEvent::Change { change, audience };
            return members.into_iter().chain([change]).collect();
        }
        Event::MessageSent(message) => ShardEvent::Message { message, audience },
        Event::CursorMoved { user, best_before, best_after, floors, .. } => {
            let delivered = (best_before.delivered, best_after.delivered);
            let read = (best_before.shown, best_after.shown);
            let floors = Arc::new(floors);
            ShardEvent::Cursors { conversation, user, delivered, read, audience, floors }
        }
        Event::GroupCreated => {
            let added = match audience.kind {
                Kind::Group { .. } => audience.members.keys().cloned().collect(),
                Kind::Direct { .. } => Vec::new(),
            };
            members(added, Vec::new())
        }
    }]
}

impl Route for Fake {
    fn submit(&self, _slot: u16, command: Bytes) -> Routed {
        *self.commands.lock() += 1;
        let trouble = self.troubles.lock().pop_front();
        let unavailable = RouteError::Unavailable { retry_after: Duration::from_millis(200) };
        let result = match trouble {
            _ if self.partitioned.load(Ordering::Relaxed) => Err(unavailable),
            Some(Trouble::AnswerLost) => {
                self.carry_out(&command);
                Err(RouteError::Unknown)
            }
            None => Ok(self.carry_out(&command)),
        };
        async move { result }.boxed()
    }

    fn linearize(&self, _slot: u16) -> BoxFuture<'static, Result<(), RouteError>> {
        let result = match self.partitioned.load(Ordering::Relaxed) {
            true => Err(RouteError::Unavailable { retry_after: Duration::from_millis(200) }),
            false => Ok(()),
        };
        async move { result }.boxed()
    }
}

/// A moment of the fake's clock, for comparing.
pub(crate) fn start() -> Timestamp {
    Timestamp(1_700_000_000_000)
}
