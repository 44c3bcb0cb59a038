//! A device that knows nothing but the published contract: the specification's JSON over a WebSocket. It numbers its own
//! messages, tries each until it knows what became of it, sends some a second time over other links and nodes, and some
//! under a number that is taken.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use checkers::{Conn, F, Kind, payload_hash};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::cast::{self, message_id};
use super::wire::{Trust, Wire, items};
use super::world::World;
use crate::dice::Dice;
use crate::record::Spot;

/// An attempt that is not answered for so long is taken for lost.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Before the next link.
const REDIAL: Duration = Duration::from_millis(200);
/// Frames that wait to be written.
const UNWRITTEN_MAX: usize = 64;
/// Between two looks at what is to be confirmed.
const CONFIRM_EVERY: Duration = Duration::from_millis(250);

/// A stranger's device.
#[derive(Debug)]
pub(crate) struct Stranger {
    world: Arc<World>,
    trust: Trust,
    actor: usize,
    node: AtomicU8,
    links: AtomicU32,
    link: Mutex<Option<mpsc::Sender<Value>>>,
    /// Who waits for the answer to which message.
    waiting: Mutex<HashMap<String, oneshot::Sender<Value>>>,
    received: Vec<AtomicU64>,
    /// What it was told last of each conversation: delivered, read.
    told: Mutex<HashMap<usize, (u64, u64)>>,
}

/// A message of a stranger.
#[derive(Debug, Clone)]
struct Letter {
    chat: usize,
    k: u64,
    order: u64,
    id: String,
    text: String,
}

/// What one attempt came to.
#[derive(Debug)]
enum Answer {
    Stored(u64),
    Refused {
        code: String,
        retryable: bool,
        unknown: bool,
        expected: u64,
    },
    /// The link went, or nobody spoke in time.
    Lost,
}

/// What a whole operation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stored,
    /// Not stored, and its number is free again.
    Refused,
    /// Its number is taken.
    Taken,
    Unknown,
}

impl Stranger {
    pub(crate) fn new(world: Arc<World>, trust: Trust, actor: usize) -> Arc<Self> {
        let chats = world.cast.actors[actor].chats.len();
        Arc::new(Self {
            world,
            trust,
            actor,
            node: AtomicU8::new(0),
            links: AtomicU32::new(0),
            link: Mutex::default(),
            waiting: Mutex::default(),
            received: (0..chats).map(|_| AtomicU64::new(0)).collect(),
            told: Mutex::default(),
        })
    }

    /// Who it is.
    pub(crate) fn actor(&self) -> usize {
        self.actor
    }

    /// The number of its last link.
    pub(crate) fn link(&self) -> u32 {
        self.links.load(Ordering::Relaxed)
    }

    /// The last sequence that came in, of the conversation that is its `mine`-th.
    pub(crate) fn received(&self, mine: usize) -> u64 {
        self.received[mine].load(Ordering::Relaxed)
    }

    /// Keeps a link for as long as the process lives.
    pub(crate) async fn live(self: Arc<Self>) {
        let token = &self.world.seats[self.actor].credentials.access;
        let nodes = &self.world.plan.nodes;
        let mut at = self.actor;
        loop {
            at += 1;
            let node = at % nodes.len();
            if let Ok(wire) = Wire::open(&self.trust, nodes[node], token).await {
                let link = self.links.fetch_add(1, Ordering::Relaxed) + 1;
                self.serve(wire, u8::try_from(node + 1).unwrap_or(0), link).await;
            }
            sleep(REDIAL).await;
        }
    }

    /// One link, from its greeting to its end.
    async fn serve(&self, mut wire: Wire, node: u8, link: u32) {
        let d = self.world.seats[self.actor].d;
        let (sender, mut outgoing) = mpsc::channel(UNWRITTEN_MAX);
        self.node.store(node, Ordering::Relaxed);
        *self.link.lock() = Some(sender);
        self.world.tape.saw(node, Conn::Text, F::Connect { d, link });
        loop {
            tokio::select! {
                frame = wire.next() => match frame {
                    Some(frame) => items(frame).into_iter().for_each(|item| self.take(link, item)),
                    None => break,
                },
                item = outgoing.recv() => match item {
                    Some(item) if wire.say(&item).await.is_ok() => {}
                    _ => break,
                },
            }
        }
        *self.link.lock() = None;
        self.node.store(0, Ordering::Relaxed);
        self.waiting.lock().clear();
        self.world.tape.saw(node, Conn::Text, F::Disconnect { d, link });
        wire.close().await;
    }

    fn take(&self, link: u32, item: Value) {
        let world = &self.world;
        let text = |field: &str| item[field].as_str().unwrap_or_default();
        let id = text("messageId");
        let chat = text("conversationId").parse::<chat::ConversationId>().ok();
        let chat = chat.and_then(|id| world.chat_of(id.as_bytes()));
        let seq = item["sequence"].as_u64().unwrap_or(0);
        if item.get("messageText").is_some() {
            if let Some(chat) = chat {
                self.received_one(link, (chat, seq), text("senderId"), id, text("messageText"));
            }
            return;
        }
        if let Some(chat) = chat.filter(|_| seq > 0 && item["receivedServer"] == json!(true)) {
            self.status(chat, seq, item["delivered"] == json!(true), item["read"] == json!(true));
        }
        if let Some(waiter) = self.waiting.lock().remove(id) {
            // Whoever waited has given up.
            let _ = waiter.send(item);
        }
    }

    fn received_one(
        &self,
        link: u32,
        (chat, seq): (usize, u64),
        sender: &str,
        id: &str,
        text: &str,
    ) {
        let world = &self.world;
        let (device, k) = cast::read_id(id).unwrap_or(("?", 0));
        let from = world.tape.device(sender, device);
        let (c, d, h) = (world.cs[chat], world.seats[self.actor].d, payload_hash(id, text));
        let node = self.node.load(Ordering::Relaxed);
        world.tape.saw(node, Conn::Text, F::Deliver { c, d, link, seq, from, k, h, chain: 0 });
        world.saw(chat, seq);
        if let Some(mine) = world.cast.actors[self.actor].chats.iter().position(|own| *own == chat)
        {
            self.received[mine].fetch_max(seq, Ordering::Relaxed);
        }
    }

    fn status(&self, chat: usize, seq: u64, delivered: bool, read: bool) {
        let world = &self.world;
        let (c, d) = (world.cs[chat], world.seats[self.actor].d);
        let mut told = self.told.lock();
        let (has, seen) = told.entry(chat).or_default();
        let news = (delivered && seq > *has) || (read && seq > *seen);
        let worse = (!delivered && seq <= *has) || (!read && seq <= *seen);
        if delivered {
            *has = seq.max(*has);
        }
        if read {
            *seen = seq.max(*seen);
        }
        if news || worse {
            let node = self.node.load(Ordering::Relaxed);
            world.tape.saw(node, Conn::Text, F::Status { c, d, seq, delivered, read });
        }
    }

    fn item(&self, letter: &Letter) -> Value {
        let cast = &self.world.cast;
        let to = cast.path_name(letter.chat, self.actor);
        let field = if cast.chats[letter.chat].group.is_some() { "groupId" } else { "receiverId" };
        let mut item = json!({
            "senderId": cast.actors[self.actor].user.as_str(), "messageId": letter.id,
            "timestamp": "today", "attachment": false, "messageText": letter.text,
        });
        item[field] = to.into();
        if letter.order > 0 {
            item["orderNumber"] = letter.order.into();
        }
        item
    }

    /// Sends on the standing link and waits for the answer.
    async fn attempt(&self, letter: &Letter) -> Answer {
        let (waiter, answer) = oneshot::channel();
        let Some(link) = self.link.lock().clone() else {
            sleep(REDIAL).await;
            return Answer::Lost;
        };
        self.waiting.lock().insert(letter.id.clone(), waiter);
        if link.send(self.item(letter)).await.is_err() {
            return Answer::Lost;
        }
        match timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(item)) => read_answer(&item),
            _ => Answer::Lost,
        }
    }

    /// Sends on a link of its own to any node, and waits for the answer.
    async fn attempt_elsewhere(&self, letter: &Letter, node: usize) -> Answer {
        let token = &self.world.seats[self.actor].credentials.access;
        let address = self.world.plan.nodes[node];
        let Ok(mut wire) = Wire::open(&self.trust, address, token).await else {
            return Answer::Lost;
        };
        let asking = async {
            wire.say(&self.item(letter)).await.ok()?;
            loop {
                let frame = wire.next().await?;
                let answers = |item: &Value| {
                    item["messageId"] == letter.id && item.get("messageText").is_none()
                };
                if let Some(answer) = items(frame).into_iter().find(answers) {
                    return Some(read_answer(&answer));
                }
            }
        };
        let answer = timeout(ANSWER_WITHIN, asking).await;
        wire.close().await;
        answer.ok().flatten().unwrap_or(Answer::Lost)
    }

    fn spot(&self, process: u32) -> Spot {
        Spot { process, node: self.node.load(Ordering::Relaxed), conn: Conn::Text }
    }

    fn note(&self, spot: Spot, kind: Kind, letter: &Letter, seq: u64, code: Option<&str>) {
        let world = &self.world;
        let (c, d) = (world.cs[letter.chat], world.seats[self.actor].d);
        let h = payload_hash(&letter.id, &letter.text);
        let error = code.map(|code| world.tape.code(code));
        let f = F::Send { c, d, k: letter.k, h, seq, duplicate: false, error };
        world.tape.note(spot, kind, f);
    }

    /// Talks in one conversation, one message after the other, until the run stops.
    pub(crate) async fn talk(self: Arc<Self>, mine: usize, mut dice: Dice) {
        let work = &self.world.plan.workload;
        let chat = self.world.cast.actors[self.actor].chats[mine];
        let (mut process, mut k, mut stored) = (self.world.tape.process(), 0, 0);
        while self.world.pacer.take().await {
            k += 1;
            let id = message_id(&self.world.seats[self.actor].credentials, chat, k);
            let text = self.world.text(chat, self.actor, k);
            let mut letter = Letter { chat, k, order: stored + 1, id, text };
            loop {
                let end = self.deliver(&mut letter, &mut process, dice.chance(500)).await;
                match end {
                    End::Stored | End::Taken => stored = stored.max(letter.order),
                    End::Unknown if !self.world.stopping() => continue,
                    End::Refused | End::Unknown => {}
                }
                if end == End::Stored && dice.chance(u64::from(work.repeats)) {
                    self.repeat(&letter, &mut process, &mut dice).await;
                }
                if end == End::Stored && dice.chance(u64::from(work.conflicts)) {
                    self.contradict(&letter, &mut process).await;
                }
                break;
            }
        }
    }

    /// One operation: the message is tried until its fate is known or patience ends.
    async fn deliver(&self, letter: &mut Letter, process: &mut u32, gives_up: bool) -> End {
        let patience = Duration::from_secs(self.world.plan.workload.patience_seconds);
        let deadline = Instant::now() + patience;
        self.note(self.spot(*process), Kind::Invoke, letter, 0, None);
        let (mut lost, mut last) = (false, String::from("unanswered"));
        loop {
            match self.attempt(letter).await {
                Answer::Stored(seq) => {
                    self.world.saw(letter.chat, seq);
                    self.note(self.spot(*process), Kind::Ok, letter, seq, None);
                    return End::Stored;
                }
                Answer::Refused { code, expected, .. } if code == "out_of_order" => {
                    (letter.order, last) = (expected.max(1), code);
                }
                Answer::Refused { code, retryable: false, unknown: false, .. } => {
                    let taken = code == "conflict";
                    self.settle(letter, process, lost, &code);
                    return if taken { End::Taken } else { End::Refused };
                }
                Answer::Refused { code, unknown, .. } => {
                    lost |= unknown;
                    last = code;
                    if !lost && gives_up {
                        self.settle(letter, process, false, &last);
                        return End::Refused;
                    }
                    sleep(REDIAL).await;
                }
                Answer::Lost => lost = true,
            }
            if Instant::now() >= deadline || (lost && self.world.stopping()) {
                self.settle(letter, process, lost, &last);
                return if lost { End::Unknown } else { End::Refused };
            }
        }
    }

    /// Notes that it was not stored, or that nobody knows.
    fn settle(&self, letter: &Letter, process: &mut u32, lost: bool, code: &str) {
        let kind = if lost { Kind::Info } else { Kind::Fail };
        self.note(self.spot(*process), kind, letter, 0, Some(code));
        if lost {
            *process = self.world.tape.process();
        }
    }

    /// The same again, elsewhere or here, with its number or without: must be told the same place.
    async fn repeat(&self, letter: &Letter, process: &mut u32, dice: &mut Dice) {
        let mut again = letter.clone();
        if dice.chance(300) {
            again.order = 0;
        }
        self.note(self.spot(*process), Kind::Invoke, &again, 0, None);
        let answer = match dice.chance(700) {
            true => self.attempt_elsewhere(&again, dice.index(self.world.plan.nodes.len())).await,
            false => self.attempt(&again).await,
        };
        self.settle_once(&again, process, &answer);
    }

    /// Another message under the same number: must be refused, and never be seen.
    async fn contradict(&self, letter: &Letter, process: &mut u32) {
        let mut other = letter.clone();
        other.id.push('x');
        other.text.push_str(" or not");
        self.note(self.spot(*process), Kind::Invoke, &other, 0, None);
        let answer = self.attempt(&other).await;
        self.settle_once(&other, process, &answer);
    }

    fn settle_once(&self, letter: &Letter, process: &mut u32, answer: &Answer) {
        match answer {
            Answer::Stored(seq) => self.note(self.spot(*process), Kind::Ok, letter, *seq, None),
            Answer::Refused { code, unknown, .. } => self.settle(letter, process, *unknown, code),
            Answer::Lost => self.settle(letter, process, true, "unanswered"),
        }
    }

    /// Confirms what came in of one conversation. A confirmation that is taken is not answered, so nobody knows.
    pub(crate) async fn confirm(self: Arc<Self>, mine: usize, mut dice: Dice) {
        let world = &self.world;
        let chat = world.cast.actors[self.actor].chats[mine];
        let (c, d) = (world.cs[chat], world.seats[self.actor].d);
        let mut confirmed = 0;
        while !world.stopping() {
            sleep(CONFIRM_EVERY).await;
            let seq = self.received(mine);
            let Some(link) = self.link.lock().clone() else { continue };
            if seq <= confirmed {
                continue;
            }
            let read = dice.chance(u64::from(world.plan.workload.read_marks));
            let mut item =
                json!({"conversationId": world.cast.chats[chat].id.to_string(), "sequence": seq});
            item[if read { "read" } else { "delivered" }] = true.into();
            let spot = self.spot(world.tape.process());
            world.tape.note(spot, Kind::Invoke, F::Confirm { c, d, seq, read, error: None });
            if link.send(item).await.is_ok() {
                confirmed = seq;
            }
            world.tape.note(spot, Kind::Info, F::Confirm { c, d, seq, read, error: None });
        }
    }
}

fn read_answer(item: &Value) -> Answer {
    if item["receivedServer"] == json!(true) {
        return Answer::Stored(item["sequence"].as_u64().unwrap_or(0));
    }
    let error = &item["error"];
    let code = error["code"].as_str().unwrap_or("no_code").to_owned();
    Answer::Refused {
        retryable: error["retryable"] == json!(true),
        unknown: code == "unknown_outcome" || code == "internal",
        expected: error["expected"].as_u64().unwrap_or(0),
        code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_that_is_unknown_is_not_taken_for_a_refusal() {
        let error = json!({"code": "unknown_outcome", "retryable": true});
        let item = json!({"receivedServer": false, "error": error});
        assert!(matches!(read_answer(&item), Answer::Refused { unknown: true, .. }));
        let error = json!({"code": "unavailable", "retryable": true});
        let item = json!({"receivedServer": false, "error": error});
        assert!(matches!(read_answer(&item), Answer::Refused { unknown: false, .. }));
        let stored = json!({"receivedServer": true, "sequence": 7});
        assert!(matches!(read_answer(&stored), Answer::Stored(7)));
    }
}
