//! A simulated device: signs in, connects to any node, sends with orders and repeats until it is answered, reads,
//! confirms, goes away and comes back. It is no client of ours: it knows the frames and nothing else.
//!
//! It repeats a message under the same order until the answer is definite. It gives a message up only when it was refused
//! and no attempt of it was left without an answer; then the next message takes its order. Now and then it does so even
//! where it might repeat: what was refused for certain must never turn up.
//!
//! A device may be there twice: then the second link, at another node mostly, receives and confirms and says nothing.

mod answers;
mod changes;
mod group;

use std::collections::{BTreeMap, VecDeque};

use chat::{ConversationId, UserId};
use checkers::{C, D, F, Kind, Level, payload_hash};
use proto::frame::{ClientFrame, encode_client_frame};
use proto::frames;

use crate::book::{Book, Open};
use crate::dice::Dice;
use crate::server::door::Knock;
use crate::swarm::Settings;
use crate::wire::{Arrival, Heard, MS, SECOND, Time, Wire};

pub(crate) use group::Desk;

use changes::Wishes;

/// An answer that does not come within this time never will; the link is given up.
const PATIENCE: Time = 9 * SECOND;
/// A link that has not been welcomed by then is given up.
const WELCOME_MAX: Time = 3 * SECOND;
/// A sign of life is sent this often.
const PING: Time = 1500 * MS;
/// A node that says nothing for as long is gone.
const SILENCE_MAX: Time = 5 * SECOND;
/// Links of one device are numbered from a multiple of this.
pub(crate) const LINKS: u64 = 1_000_000;
/// The second links of a device that has two at once are numbered from here.
const SECOND_LINKS: u64 = LINKS / 2;
/// Cursors that a device is told of are seen by it alone: observers above all processes that ask for something.
const OBSERVERS: u32 = 1 << 29;

/// To whom a lane leads.
#[derive(Clone, Debug)]
pub(crate) enum To {
    User(UserId),
    Group(String),
}

/// A message on its way.
#[derive(Debug)]
struct Msg {
    k: u64,
    id: String,
    text: String,
    open: Open,
    /// The attempt that waits for its answer.
    tag: Option<u64>,
    sent: Time,
    /// The answer of some attempt was lost.
    unresolved: bool,
}

/// What a device sends to one conversation.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) to: To,
    id: ConversationId,
    c: C,
    next_k: u64,
    unacked: VecDeque<Msg>,
    wait_until: Time,
    window: usize,
    last_seq: u64,
    /// A group that does not exist yet is not spoken to.
    pub(crate) open: bool,
}

/// A link.
#[derive(Clone, Copy, Debug)]
struct Link {
    id: u64,
    node: usize,
    life: u64,
    since: Time,
    welcomed: bool,
    heard: Time,
    pinged: Time,
}

/// How far a device has got in a conversation.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    upto: u64,
    asked: u64,
    asked_read: u64,
}

#[derive(Debug)]
struct Asked<T> {
    tag: u64,
    open: Open,
    what: T,
}

#[derive(Clone, Debug)]
struct Reading {
    c: C,
    level: Level,
    after: u64,
}

#[derive(Clone, Copy, Debug)]
struct Confirming {
    id: ConversationId,
    c: C,
    seq: u64,
    read: bool,
}

/// What a device may touch while it acts.
pub(crate) struct Around<'a> {
    pub(crate) wire: &'a Wire,
    pub(crate) book: &'a mut Book,
    pub(crate) settings: &'a Settings,
    pub(crate) now: Time,
    /// New messages are begun.
    pub(crate) busy: bool,
}

/// See the module.
pub(crate) struct Device {
    index: usize,
    pub(crate) user: UserId,
    number: u64,
    pub(crate) d: D,
    dice: Dice,
    pub(crate) token: Option<String>,
    signing: bool,
    link: Option<Link>,
    links: u64,
    next_try: Time,
    pub(crate) away_until: Time,
    /// When it goes away next, if this world's devices do.
    leaves_at: Time,
    pub(crate) lanes: Vec<Lane>,
    seen: BTreeMap<ConversationId, Seen>,
    /// The highest floors it was told: delivered, read.
    floors: BTreeMap<ConversationId, (u64, u64)>,
    reading: Option<Asked<Reading>>,
    confirming: Option<Asked<Confirming>>,
    tags: u64,
    sent: u64,
    next_message: Time,
    next_read: Time,
    /// When it was last told something new.
    pub(crate) moved: Time,
    caught_up: bool,
    /// The last problem it was told.
    problem: String,
    pub(crate) desk: Desk,
    wishes: Wishes,
}

impl Device {
    /// One of the devices of `settings`, or after them a second link of one of them.
    pub(crate) fn new(index: usize, settings: &Settings, book: &Book) -> Self {
        let (first, links) = match index.checked_sub(settings.devices) {
            Some(first) => (first, SECOND_LINKS),
            None => (index, 0),
        };
        let user = UserId::parse(&user_name(first % settings.users)).expect("a legal name");
        let number = 1000 + first as u64;
        Self {
            d: book.device(user.as_str(), number),
            dice: Dice::new(settings.seed, &format!("device-{index}")),
            index,
            user,
            number,
            token: None,
            signing: false,
            link: None,
            links,
            next_try: 0,
            away_until: 0,
            leaves_at: 0,
            lanes: Vec::new(),
            seen: BTreeMap::new(),
            floors: BTreeMap::new(),
            reading: None,
            confirming: None,
            tags: 0,
            sent: 0,
            next_message: 0,
            next_read: 0,
            moved: 0,
            caught_up: false,
            problem: String::new(),
            desk: Desk::default(),
            wishes: Wishes::default(),
        }
    }

    /// Whether it belongs to this user.
    pub(crate) fn is_of(&self, user: usize) -> bool {
        self.user.as_str() == user_name(user)
    }

    /// Whether it is the second link of a device that has two at once.
    pub(super) fn is_second(&self) -> bool {
        self.links >= SECOND_LINKS
    }

    /// Whether it has a link that has told it all there was.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.caught_up
    }

    /// Who sees the cursors that it is told of.
    pub(super) fn observer(&self) -> u32 {
        OBSERVERS + u32::try_from(self.index).expect("few devices")
    }

    /// May speak to `to` from now on.
    pub(crate) fn add_lane(&mut self, to: To, settings: &Settings, book: &Book) {
        let (id, window, open) = match &to {
            To::User(other) => (ConversationId::direct(&self.user, other), settings.window, true),
            To::Group(name) => (
                ConversationId::group(&chat::GroupId::parse(name).expect("a legal name")),
                1,
                false,
            ),
        };
        let c = book.conversation(id);
        let (next_k, last_seq, wait_until) = (1, 0, 0);
        let unacked = VecDeque::new();
        self.lanes.push(Lane { to, id, c, next_k, unacked, wait_until, window, last_seq, open });
    }

    /// Its link to this node.
    pub(crate) fn link_to(&self, node: usize) -> Option<u64> {
        self.link.filter(|link| link.node == node).map(|link| link.id)
    }

    /// Whether it has a token.
    pub(crate) fn is_signed_in(&self) -> bool {
        self.token.is_some()
    }

    /// Whether everything it said was answered and it has been told everything that was missing when it came.
    pub(crate) fn is_drained(&self) -> bool {
        self.caught_up
            && self.link.is_some()
            && self.confirming.is_none()
            && self.reading.is_none()
            && self.desk.is_idle()
            && self.wishes.is_idle()
            && self.lanes.iter().all(|lane| lane.unacked.is_empty() || lane.is_shut())
    }

    /// What it still waits for, for a report.
    pub(crate) fn waits_for(&self) -> String {
        let unacked: Vec<_> = self
            .lanes
            .iter()
            .filter(|lane| !lane.unacked.is_empty())
            .map(|lane| format!("{:?} k={}", lane.to, lane.unacked[0].k))
            .collect();
        let (link, token) = (self.link.map(|link| link.node + 1), self.token.is_some());
        let (reads, confirms) = (self.reading.is_some(), self.confirming.is_some());
        format!(
            "{}/{}: signed in {token}, link to {link:?}, caught up {}, reads {reads}, confirms {confirms}, unanswered {unacked:?}, last problem {}",
            self.user, self.number, self.caught_up, self.problem
        )
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, around: &mut Around<'_>) {
        let now = around.now;
        if self.token.is_none() {
            self.sign_in(around);
            return;
        }
        self.go_away(around);
        if now < self.away_until {
            self.hang_up(around);
            return;
        }
        let Some(link) = self.link else {
            self.connect(around);
            return;
        };
        let welcome_late = !link.welcomed && now > link.since + WELCOME_MAX;
        if welcome_late || now > link.heard + SILENCE_MAX || self.has_waited(now) {
            self.hang_up(around);
            return;
        }
        if !link.welcomed {
            return;
        }
        if now > link.pinged + PING {
            self.say(around, ClientFrame::Ping(frames::Ping { tag: now }));
            if let Some(link) = &mut self.link {
                link.pinged = now;
            }
        }
        self.begin(around);
        self.repeat(around);
        self.confirm(around);
        self.read(around);
        self.wish(around);
    }

    /// Now and then it is out of reach for a while, but only as long as faults last: afterwards all is to be delivered.
    fn go_away(&mut self, around: &Around<'_>) {
        let (now, settings) = (around.now, around.settings);
        if !settings.goes_offline || now >= settings.faults_last || now < self.leaves_at {
            return;
        }
        if self.leaves_at > 0 {
            self.away_until = now + self.dice.within(200, 4000) * MS;
        }
        self.leaves_at = now.max(self.away_until) + self.dice.within(1000, 8000) * MS;
    }

    fn has_waited(&self, now: Time) -> bool {
        let waits = |msg: &Msg| msg.tag.is_some() && now > msg.sent + PATIENCE;
        self.lanes.iter().flat_map(|lane| &lane.unacked).any(waits)
            || self.wishes.have_waited(now, PATIENCE)
    }

    fn sign_in(&mut self, around: &mut Around<'_>) {
        if std::mem::replace(&mut self.signing, true) && around.now < self.next_try {
            return;
        }
        self.next_try = around.now + 4 * SECOND;
        let knock =
            Knock::SignIn { device: self.index, user: self.user.clone(), number: self.number };
        let node = self.dice.index(around.settings.nodes);
        self.knock(around, node, knock);
    }

    pub(super) fn knock(&self, around: &Around<'_>, node: usize, knock: Knock) {
        let life = around.wire.0.lock().lives[node];
        around.wire.to_node(self.index, node, life, Arrival::Knock(knock));
    }

    fn connect(&mut self, around: &mut Around<'_>) {
        if around.now < self.next_try {
            return;
        }
        self.links += 1;
        let id = self.index as u64 * LINKS + self.links;
        let node = self.dice.index(around.settings.nodes);
        let life = around.wire.0.lock().lives[node];
        let now = around.now;
        self.link =
            Some(Link { id, node, life, since: now, welcomed: false, heard: now, pinged: now });
        self.caught_up = false;
        let token = self.token.clone().expect("only who has a token connects");
        self.knock(around, node, Knock::Connect { device: self.index, link: id, token });
    }

    /// Ends the link, if there is one.
    pub(crate) fn hang_up(&mut self, around: &mut Around<'_>) {
        let Some(link) = self.link else { return };
        let hangup = Arrival::Hangup { link: link.id };
        around.wire.to_node(self.index, link.node, link.life, hangup);
        self.lose(around);
    }

    /// The link is gone: what was not answered may or may not have happened.
    fn lose(&mut self, around: &mut Around<'_>) {
        let Some(link) = self.link.take() else { return };
        let now = around.now;
        self.next_try = now + self.dice.within(5, 300) * MS;
        if link.welcomed {
            let link_number = self.link_number(link.id);
            around.book.saw(now, link.node, F::Disconnect { d: self.d, link: link_number });
        }
        for msg in self.lanes.iter_mut().flat_map(|lane| &mut lane.unacked) {
            msg.unresolved |= msg.tag.take().is_some();
        }
        if let Some(asked) = self.reading.take() {
            let f = self.read_op(&asked.what, Vec::new(), None, None);
            around.book.complete(now, asked.open, Kind::Info, f);
        }
        if let Some(asked) = self.confirming.take() {
            around.book.complete(now, asked.open, Kind::Info, self.confirm_op(&asked.what, None));
        }
        self.wishes.lose();
    }

    fn link_number(&self, id: u64) -> u32 {
        u32::try_from(id % LINKS).expect("a device makes few links")
    }

    fn say(&self, around: &Around<'_>, frame: ClientFrame) {
        let Some(link) = self.link else { return };
        let frame = Arrival::Frame { link: link.id, frame: encode_client_frame(frame) };
        around.wire.to_node(self.index, link.node, link.life, frame);
    }

    fn tag(&mut self) -> u64 {
        self.tags += 1;
        self.tags
    }

    /// Begins a new message now and then.
    fn begin(&mut self, around: &mut Around<'_>) {
        if !around.busy || around.now < self.next_message || self.lanes.is_empty() {
            return;
        }
        let think = around.settings.think;
        self.next_message = around.now + self.dice.within(think / 4, think * 2);
        let at = self.dice.index(self.lanes.len());
        let (number, index) = (self.sent, self.index);
        let bytes = self.dice.skewed(1, around.settings.text_bytes);
        let lane = &mut self.lanes[at];
        if !lane.open || lane.unacked.len() >= lane.window || around.now < lane.wait_until {
            return;
        }
        self.sent += 1;
        let id = format!("m-{index}-{number}");
        let text = format!("{number} ").repeat(usize::try_from(bytes / 2 + 1).expect("short"));
        let k = lane.next_k;
        lane.next_k += 1;
        let h = payload_hash(&id, &text);
        around.book.said(&id, &text);
        let f = F::Send { c: lane.c, d: self.d, k, h, seq: 0, duplicate: false, error: None };
        let node = self.link.map_or(0, |link| link.node);
        let open = around.book.invoke(around.now, node, f);
        lane.unacked.push_back(Msg {
            k,
            id,
            text,
            open,
            tag: None,
            sent: around.now,
            unresolved: false,
        });
    }

    /// Sends, in order, what is not on its way.
    fn repeat(&mut self, around: &mut Around<'_>) {
        let now = around.now;
        let mut frames = Vec::new();
        let tags = &mut self.tags;
        for lane in self.lanes.iter_mut().filter(|lane| now >= lane.wait_until) {
            for msg in lane.unacked.iter_mut().filter(|msg| msg.tag.is_none()) {
                *tags += 1;
                msg.tag = Some(*tags);
                msg.sent = now;
                let to = match &lane.to {
                    To::User(user) => frames::send::To::Receiver(user.as_str().to_owned()),
                    To::Group(group) => frames::send::To::Group(group.clone()),
                };
                let body = frames::MessageBody { text: msg.text.clone(), ..Default::default() };
                frames.push(ClientFrame::Send(frames::Send {
                    tag: *tags,
                    to: Some(to),
                    order: msg.k,
                    message_id: msg.id.clone(),
                    body: Some(body),
                }));
            }
        }
        for frame in frames {
            self.say(around, frame);
        }
    }

    fn confirm(&mut self, around: &mut Around<'_>) {
        if self.confirming.is_some() || !self.dice.happens(30) {
            return;
        }
        let behind = |seen: &Seen| seen.upto > seen.asked || seen.upto > seen.asked_read;
        let found = self.seen.iter().find(|(_, seen)| behind(seen)).map(|(id, seen)| (*id, *seen));
        let Some((id, seen)) = found else { return };
        let read = seen.upto <= seen.asked || self.dice.happens(300);
        let what = Confirming { id, c: around.book.conversation(id), seq: seen.upto, read };
        let tag = self.tag();
        let node = self.link.map_or(0, |link| link.node);
        let open = around.book.invoke(around.now, node, self.confirm_op(&what, None));
        let conversation = bytes::Bytes::copy_from_slice(id.as_bytes());
        self.say(
            around,
            ClientFrame::Confirm(frames::Confirm { tag, conversation, seq: what.seq, read }),
        );
        self.confirming = Some(Asked { tag, open, what });
    }

    fn read(&mut self, around: &mut Around<'_>) {
        if !around.busy
            || self.reading.is_some()
            || around.now < self.next_read
            || self.lanes.is_empty()
        {
            return;
        }
        self.next_read = around.now + self.dice.within(MS, 2 * around.settings.reads * 10 * MS);
        let lane = &self.lanes[self.dice.index(self.lanes.len())];
        if !lane.open {
            return;
        }
        let (level, consistency) = match self.dice.below(4) {
            0 => (Level::Local, frames::Consistency::Local),
            1 => (Level::AtLeast(lane.last_seq), frames::Consistency::AtLeast),
            _ => (Level::Linearizable, frames::Consistency::Linearizable),
        };
        let after = if self.dice.happens(500) { 0 } else { self.dice.below(lane.last_seq + 1) };
        let (id, at_least) = (lane.id, lane.last_seq);
        let what = Reading { c: lane.c, level, after };
        let tag = self.tag();
        let node = self.link.map_or(0, |link| link.node);
        let f = self.read_op(&what, Vec::new(), None, None);
        let open = around.book.invoke(around.now, node, f);
        let conversation = bytes::Bytes::copy_from_slice(id.as_bytes());
        let limit = *self.dice.pick(&[7, 100, 100]);
        self.say(
            around,
            ClientFrame::ReadHistory(frames::ReadHistory {
                tag,
                of: Some(frames::read_history::Of::Conversation(conversation)),
                after,
                before: 0,
                limit,
                consistency: consistency.into(),
                at_least,
                around: 0,
            }),
        );
        self.reading = Some(Asked { tag, open, what });
    }

    /// Takes what reaches it.
    pub(crate) fn hear(&mut self, what: Heard, around: &mut Around<'_>) {
        match what {
            Heard::SignedIn(token) => {
                self.signing = false;
                self.next_try = around.now + 20 * MS;
                if self.token.is_none() {
                    self.token = token;
                }
            }
            Heard::Gone { link } if self.link.is_some_and(|own| own.id == link) => {
                self.lose(around)
            }
            Heard::Gone { .. } => {}
            Heard::Frame { link, frame } if self.link.is_some_and(|own| own.id == link) => {
                if let Some(own) = &mut self.link {
                    own.heard = around.now;
                }
                match proto::frame::decode_server_frame(frame) {
                    Ok(Some(frame)) => self.take(frame, around),
                    Ok(None) => {}
                    Err(error) => {
                        around.book.broken(around.now, format!("a frame of a node: {error}"))
                    }
                }
            }
            Heard::Frame { .. } => {}
            Heard::Answer { ask, status, body } => self.answered(ask, status, &body, around),
        }
    }

    /// Everything that was never answered stays unknown.
    pub(crate) fn give_up(&mut self, around: &mut Around<'_>) {
        let (now, d) = (around.now, self.d);
        for lane in &mut self.lanes {
            for msg in lane.unacked.drain(..) {
                let h = payload_hash(&msg.id, &msg.text);
                let f =
                    F::Send { c: lane.c, d, k: msg.k, h, seq: 0, duplicate: false, error: None };
                around.book.complete(now, msg.open, Kind::Info, f);
            }
        }
    }

    /// It has waited for everything.
    pub(crate) fn finish(&self, around: &mut Around<'_>) {
        if let Some(link) = self.link {
            let link_number = self.link_number(link.id);
            around.book.saw(
                around.now,
                link.node,
                F::CaughtUp { d: self.d, link: link_number, last: true },
            );
        }
    }
}

impl Lane {
    /// Its message was refused after an answer was lost: it stays open, and nobody waits for it.
    fn is_shut(&self) -> bool {
        self.unacked.iter().all(|msg| msg.unresolved) && matches!(self.to, To::Group(_))
    }
}

/// The name of a user.
pub(crate) fn user_name(index: usize) -> String {
    format!("u{index}")
}
