//! A device with the real client, over QUIC or a WebSocket: it sends with several messages under way, notes what comes in,
//! confirms, goes away and comes back. What the client retries by itself is one operation here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use chat::{MessageId, Seq};
use checkers::{Conn, F, Kind, payload_hash};
use client::{AskError, Certainty, Client, Incoming, Outgoing, Receipt, SendError, Sending};
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::cast::{Tongue, message_id};
use super::world::{Phase, World};
use crate::dice::Dice;
use crate::record::Spot;

/// Between two looks at what is to be confirmed.
const CONFIRM_EVERY: Duration = Duration::from_millis(250);
/// A device without a session looks for one again.
const AGAIN: Duration = Duration::from_millis(20);
/// What a client that keeps its patience may take longer.
const GRACE: Duration = Duration::from_secs(5);

/// A device with the real client.
#[derive(Debug)]
pub(crate) struct Native {
    world: Arc<World>,
    actor: usize,
    conn: Conn,
    session: Mutex<Option<Client>>,
    links: Mutex<u32>,
    node: AtomicU8,
    /// Messages so far, for each of its conversations.
    counts: Mutex<Vec<u64>>,
    /// The last sequence received, for each of its conversations.
    received: Vec<AtomicU64>,
}

/// One message under way.
struct Flight {
    spot: Spot,
    chat: usize,
    k: u64,
    h: u64,
}

impl Native {
    pub(crate) fn new(world: Arc<World>, actor: usize) -> Arc<Self> {
        let chats = world.cast.actors[actor].chats.len();
        let conn = match world.cast.actors[actor].tongue {
            Tongue::Quic => Conn::Quic,
            _ => Conn::WebSocket,
        };
        Arc::new(Self {
            world,
            actor,
            conn,
            session: Mutex::default(),
            links: Mutex::default(),
            node: AtomicU8::new(0),
            counts: Mutex::new(vec![0; chats]),
            received: (0..chats).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// Who it is.
    pub(crate) fn actor(&self) -> usize {
        self.actor
    }

    /// Its client, while it has one.
    pub(crate) fn client(&self) -> Option<Client> {
        self.session.lock().clone()
    }

    /// The number of its last session.
    pub(crate) fn link(&self) -> u32 {
        *self.links.lock()
    }

    /// The last sequence that came in, of the conversation that is its `mine`-th.
    pub(crate) fn received(&self, mine: usize) -> u64 {
        self.received[mine].load(Ordering::Relaxed)
    }

    /// Opens a session, beginning at node `first`, and listens to it from then on.
    pub(crate) fn arrive(self: &Arc<Self>, first: usize) {
        let tongue = self.world.cast.actors[self.actor].tongue;
        let config = self.world.config(tongue, first);
        let seat = &self.world.seats[self.actor];
        let mut session = self.session.lock();
        // A session whose tokens the client renewed goes on with those.
        let credentials = session.as_ref().map_or(seat.credentials.clone(), Client::credentials);
        let (client, mut inbox) = Client::connect(config, credentials).expect("a good plan");
        *session = Some(client);
        drop(session);
        let link = {
            let mut links = self.links.lock();
            *links += 1;
            *links
        };
        let device = Arc::clone(self);
        tokio::spawn(async move {
            let mut up = false;
            while let Some(item) = inbox.next().await {
                device.take(link, &mut up, item);
            }
            if up {
                device.disconnected(link);
            }
        });
    }

    /// Ends the session. What is under way is unknown from then on.
    pub(crate) async fn leave(&self) {
        let client = self.session.lock().take();
        if let Some(client) = client {
            client.stop().await;
        }
    }

    fn take(&self, link: u32, up: &mut bool, item: Incoming) {
        let world = &self.world;
        let d = world.seats[self.actor].d;
        let node = self.node.load(Ordering::Relaxed);
        match item {
            Incoming::Message(message) => {
                let Some(chat) = world.chat_of(&message.conversation) else { return };
                let entry = world.entry(&message);
                let (seq, from, k, h, chain) =
                    (entry.seq, entry.from, entry.k, entry.h, entry.chain);
                let c = world.cs[chat];
                world.tape.saw(node, self.conn, F::Deliver { c, d, link, seq, from, k, h, chain });
                world.saw(chat, seq);
                if let Some(mine) = self.mine(chat) {
                    self.received[mine].fetch_max(seq, Ordering::Relaxed);
                }
            }
            Incoming::Status { conversation, delivered, read } => {
                let Some(chat) = world.chat_of(conversation.as_bytes()) else { return };
                let c = world.cs[chat];
                let tell = |seq, read| {
                    let f = F::Status { c, d, seq, delivered: true, read };
                    world.tape.saw(node, self.conn, f);
                };
                if read.0 > 0 {
                    tell(read.0, true);
                }
                if delivered > read {
                    tell(delivered.0, false);
                }
            }
            // Nobody changes anything in these runs by a client of this kind, or watches, or has a store.
            Incoming::Change(_)
            | Incoming::Presence { .. }
            | Incoming::NotWatching { .. }
            | Incoming::Rewritten { .. }
            | Incoming::StoreFailed { .. } => {}
            Incoming::CaughtUp => {
                world.tape.saw(node, self.conn, F::CaughtUp { d, link, last: false });
            }
            Incoming::LinkUp { node } => {
                let node = u8::try_from(node).unwrap_or(0);
                self.node.store(node, Ordering::Relaxed);
                if !std::mem::replace(up, true) {
                    world.tape.saw(node, self.conn, F::Connect { d, link });
                }
            }
            Incoming::LinkDown { .. } | Incoming::SessionEnded { .. } => {
                if std::mem::replace(up, false) {
                    self.disconnected(link);
                }
            }
        }
    }

    fn disconnected(&self, link: u32) {
        let d = self.world.seats[self.actor].d;
        let node = self.node.swap(0, Ordering::Relaxed);
        self.world.tape.saw(node, self.conn, F::Disconnect { d, link });
    }

    fn mine(&self, chat: usize) -> Option<usize> {
        self.world.cast.actors[self.actor].chats.iter().position(|own| *own == chat)
    }

    fn spot(&self, process: u32) -> Spot {
        Spot { process, node: self.node.load(Ordering::Relaxed), conn: self.conn }
    }

    /// Sends, one after the other, until the run stops.
    pub(crate) async fn talk(self: Arc<Self>, mut dice: Dice) {
        let mut process = self.world.tape.process();
        let chats = self.world.cast.actors[self.actor].chats.len();
        while !self.world.stopping() {
            // A device that is away takes nobody's turn.
            if self.client().is_none() {
                sleep(AGAIN).await;
                continue;
            }
            if !self.world.pacer.take().await {
                return;
            }
            let Some(client) = self.client() else { continue };
            let (flight, sending) = self.submit(&client, process, dice.index(chats));
            let full = matches!(sending, Err(SendError::OutboxFull));
            let ended = match sending {
                Ok(sending) => self.landed(sending).await,
                Err(error) => Err(error),
            };
            if self.settle(&flight, &ended) {
                process = self.world.tape.process();
            }
            if full {
                sleep(AGAIN).await;
            }
        }
    }

    /// Takes the next count and the next place in line at once, so that the order of counts is the order of messages.
    fn submit(
        &self,
        client: &Client,
        process: u32,
        mine: usize,
    ) -> (Flight, Result<Sending, SendError>) {
        let world = &self.world;
        let chat = world.cast.actors[self.actor].chats[mine];
        let mut counts = self.counts.lock();
        counts[mine] += 1;
        let k = counts[mine];
        let id = message_id(&world.seats[self.actor].credentials, chat, k);
        let text = world.text(chat, self.actor, k);
        let h = payload_hash(&id, &text);
        let mut message = Outgoing::text(world.cast.to(chat, self.actor), text);
        message.message_id = Some(MessageId::parse(&id).expect("digits and dots"));
        let flight = Flight { spot: self.spot(process), chat, k, h };
        self.note(&flight, Kind::Invoke, 0, None);
        let sending = client.submit(message);
        (flight, sending)
    }

    async fn landed(&self, sending: Sending) -> Result<Receipt, SendError> {
        let patience = Duration::from_secs(self.world.plan.workload.patience_seconds) + GRACE;
        timeout(patience, sending).await.unwrap_or(Err(SendError::Unknown))
    }

    /// Notes what became of it; `true` when nobody knows.
    fn settle(&self, flight: &Flight, ended: &Result<Receipt, SendError>) -> bool {
        match ended {
            Ok(receipt) => {
                self.world.saw(flight.chat, receipt.seq.0);
                self.note(flight, Kind::Ok, receipt.seq.0, None);
                false
            }
            Err(error) => {
                let unknown = error.certainty() == Certainty::Unknown;
                let kind = if unknown { Kind::Info } else { Kind::Fail };
                let code = match error {
                    SendError::Refused(problem) | SendError::Unavailable(problem) => &problem.code,
                    SendError::Unreachable => "unreachable",
                    SendError::Unknown | SendError::Pending => "unanswered",
                    SendError::OutboxFull => "outbox_full",
                    SendError::Stopped => "stopped",
                };
                self.note(flight, kind, 0, Some(code));
                unknown
            }
        }
    }

    fn note(&self, flight: &Flight, kind: Kind, seq: u64, error: Option<&str>) {
        let tape = &self.world.tape;
        let (c, d) = (self.world.cs[flight.chat], self.world.seats[self.actor].d);
        let error = error.map(|code| tape.code(code));
        let (k, h) = (flight.k, flight.h);
        let spot = Spot { node: self.node.load(Ordering::Relaxed), ..flight.spot };
        tape.note(spot, kind, F::Send { c, d, k, h, seq, duplicate: false, error });
    }

    /// Confirms what came in of one conversation, again and again.
    pub(crate) async fn confirm(self: Arc<Self>, mine: usize, mut dice: Dice) {
        let mut process = self.world.tape.process();
        let mut confirmed = (0, false);
        while !self.world.stopping() {
            sleep(CONFIRM_EVERY).await;
            let seq = self.received(mine);
            let read = dice.chance(u64::from(self.world.plan.workload.read_marks));
            if seq == 0 || (seq, read) <= confirmed {
                continue;
            }
            if self.confirm_once(mine, seq, read, &mut process).await {
                confirmed = (seq, read);
            }
        }
    }

    /// One confirmation; `true` when it was taken.
    pub(crate) async fn confirm_once(
        &self,
        mine: usize,
        seq: u64,
        read: bool,
        process: &mut u32,
    ) -> bool {
        let Some(client) = self.client() else { return false };
        let world = &self.world;
        let chat = world.cast.actors[self.actor].chats[mine];
        let (c, d) = (world.cs[chat], world.seats[self.actor].d);
        let said = |error| F::Confirm { c, d, seq, read, error };
        world.tape.note(self.spot(*process), Kind::Invoke, said(None));
        match client.confirm(world.cast.chats[chat].id, Seq(seq), read).await {
            Ok(standing) => {
                let spot = self.spot(*process);
                world.tape.note(spot, Kind::Ok, said(None));
                let (delivered, read) = (standing.delivered.0, standing.read.0);
                world.tape.saw(
                    spot.node,
                    self.conn,
                    F::Cursor { c, d, delivered, read, last: false },
                );
                true
            }
            Err(error) => {
                let unknown = error.certainty() == Certainty::Unknown;
                let kind = if unknown { Kind::Info } else { Kind::Fail };
                let code = match &error {
                    AskError::Refused(problem) => &problem.code,
                    AskError::Unanswered => "unanswered",
                    AskError::Busy => "busy",
                    AskError::Stopped => "stopped",
                };
                world.tape.note(self.spot(*process), kind, said(Some(world.tape.code(code))));
                if unknown {
                    *process = world.tape.process();
                }
                false
            }
        }
    }

    /// Away while nodes are broken, back when they are whole.
    pub(crate) async fn be_away(self: Arc<Self>) {
        self.world.reaches(Phase::Faults).await;
        self.leave().await;
        self.world.reaches(Phase::Healed).await;
        self.arrive(self.actor);
    }

    /// Goes and comes, each time at another node, until the run stops.
    pub(crate) async fn be_restless(self: Arc<Self>, every: Duration, mut dice: Dice) {
        while !self.world.stopping() {
            let pause = dice.between(1, 2 * u64::try_from(every.as_millis()).unwrap_or(1));
            sleep(pause).await;
            if self.world.stopping() {
                return;
            }
            self.leave().await;
            sleep(dice.between(0, 400)).await;
            self.arrive(dice.index(self.world.plan.nodes.len()));
        }
    }
}
