//! Reads of history while everything goes on, at the three levels and on every node, over REST; and the two other
//! questions that a user asks all the time: who is there, and what is new.

use std::sync::Arc;
use std::time::Duration;

use chat::ConversationId;
use checkers::{Conn, Entry, F, Kind, Level, payload_hash};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};
use transport::http::Method;
use transport::{Certainty, DialError};

use super::cast::read_id;
use super::world::World;
use crate::dice::Dice;
use crate::record::Spot;

/// A page begins this far before what is known: it is never full, so that it tells the end.
const BEFORE_HEAD: u64 = 40;
/// Readers that take turns.
const READERS: u64 = 6;
/// Messages of a page.
const PAGE: usize = 100;

/// What a question came to.
pub(crate) enum Told {
    Yes(Value),
    No(String),
    Nobody,
}

/// One authenticated question to one node.
pub(crate) async fn ask(world: &World, node: usize, actor: usize, path: &str) -> Told {
    let token = &world.seats[actor].credentials.access;
    let address = world.plan.nodes[node];
    match world.http.request(Method::GET, address, path, Some(token), None).await {
        Ok(answer) => {
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            match answer.status {
                200 => Told::Yes(body),
                _ => Told::No(body["code"].as_str().unwrap_or("no_code").to_owned()),
            }
        }
        Err(error) => match DialError::certainty(&error) {
            Certainty::Definite => Told::No("unreachable".to_owned()),
            Certainty::Unknown => Told::Nobody,
        },
    }
}

/// `text` as a part of a path or query: everything but the unreserved is escaped.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Waits between turns so that `per_mille` of them happen in a thousand seconds, `of` readers together.
async fn turn(next: &mut Instant, per_mille: u64, of: u64) {
    *next += Duration::from_micros(1_000_000_000 * of / per_mille.max(1));
    *next = (*next).max(Instant::now());
    sleep_until(*next).await;
}

/// Starts the readers.
pub(crate) fn start(world: &Arc<World>, seed: u64) {
    let work = &world.plan.workload;
    if work.reads > 0 {
        for reader in 0..READERS {
            tokio::spawn(read_on(Arc::clone(world), Dice::new(seed, 1000 + reader)));
        }
    }
    if work.presence > 0 {
        tokio::spawn(watch_presence(Arc::clone(world), Dice::new(seed, 2000)));
    }
    if work.inbox > 0 {
        tokio::spawn(watch_inboxes(Arc::clone(world), Dice::new(seed, 2001)));
    }
}

async fn read_on(world: Arc<World>, mut dice: Dice) {
    let mut process = world.tape.process();
    let mut next = Instant::now();
    while !world.stopping() {
        turn(&mut next, u64::from(world.plan.workload.reads) * 1000, READERS).await;
        let chat = dice.index(world.cast.chats.len());
        let stayers = &world.cast.chats[chat];
        let actor = *dice.pick(&stayers.members);
        if stayers.rover == Some(actor) {
            continue;
        }
        let node = dice.index(world.plan.nodes.len());
        let head = world.head(chat);
        let (level, after) = match dice.below(4) {
            0 => (Level::Local, head.saturating_sub(4 * BEFORE_HEAD)),
            1 => (Level::AtLeast(head), head.saturating_sub(BEFORE_HEAD)),
            _ => (Level::Linearizable, head.saturating_sub(BEFORE_HEAD)),
        };
        if read(&world, &mut process, (chat, actor, node), (level, after)).await {
            process = world.tape.process();
        }
    }
}

/// One page; `true` when nobody answered.
async fn read(
    world: &World,
    process: &mut u32,
    (chat, actor, node): (usize, usize, usize),
    (level, after): (Level, u64),
) -> bool {
    let (c, d) = (world.cs[chat], world.seats[actor].d);
    let spot =
        Spot { process: *process, node: u8::try_from(node + 1).unwrap_or(0), conn: Conn::Rest };
    let said = |entries, head, error| F::Read { c, d, level, after, entries, head, error };
    let mut path = format!("/messages/{}?limit={PAGE}", escape(world.cast.path_name(chat, actor)));
    if after > 0 {
        path.push_str(&format!("&after_id={}-{after}", world.cast.chats[chat].id));
    }
    match level {
        Level::Linearizable => {}
        Level::Local => path.push_str("&consistency=local"),
        Level::AtLeast(seq) => {
            path.push_str(&format!("&consistency=at_least&at_least={seq}"));
        }
    }
    world.tape.note(spot, Kind::Invoke, said(Vec::new(), None, None));
    let (kind, said, unknown) = match ask(world, node, actor, &path).await {
        Told::Yes(page) => {
            let entries = entries(world, &page);
            let last = entries.last().map_or(after, |entry| entry.seq);
            // A page after an unwritten place would tell nothing about the end.
            let ends = page["next_after_id"].is_null() && !(entries.is_empty() && after > 0);
            (Kind::Ok, said(entries, ends.then_some(last), None), false)
        }
        Told::No(code) => {
            let code = world.tape.code(&code);
            (Kind::Fail, said(Vec::new(), None, Some(code)), false)
        }
        Told::Nobody => {
            (Kind::Info, said(Vec::new(), None, Some(world.tape.code("unanswered"))), true)
        }
    };
    world.tape.note(spot, kind, said);
    unknown
}

fn entries(world: &World, page: &Value) -> Vec<Entry> {
    let holders = page["messages"].as_array().into_iter().flatten();
    let items = holders.flat_map(|holder| holder["payload"].as_array().into_iter().flatten());
    let entry = |item: &Value| {
        let text = |field: &str| item[field].as_str().unwrap_or_default();
        let (device, k) = read_id(text("messageId")).unwrap_or(("?", 0));
        Entry {
            seq: item["sequence"].as_u64().unwrap_or(0),
            from: world.tape.device(text("senderId"), device),
            k,
            h: payload_hash(text("messageId"), text("messageText")),
            chain: 0,
            at: 0,
        }
    };
    items.map(entry).collect()
}

async fn watch_presence(world: Arc<World>, mut dice: Dice) {
    let mut next = Instant::now();
    while !world.stopping() {
        turn(&mut next, u64::from(world.plan.workload.presence), 1).await;
        let chat = &world.cast.chats[dice.index(world.cast.chats.len())];
        let (observer, user) = (chat.members[0], *dice.pick(&chat.members[1..]));
        let node = dice.index(world.plan.nodes.len());
        let path = format!("/v1/presence/{}", escape(world.cast.actors[user].user.as_str()));
        if let Told::Yes(answer) = ask(&world, node, observer, &path).await {
            let observer = world.seats[observer].d;
            let (u, online) = (world.seats[user].u, answer["online"] == Value::Bool(true));
            let node = u8::try_from(node + 1).unwrap_or(0);
            world.tape.saw(node, Conn::Rest, F::Presence { observer, u, online });
        }
    }
}

async fn watch_inboxes(world: Arc<World>, mut dice: Dice) {
    let mut next = Instant::now();
    while !world.stopping() {
        turn(&mut next, u64::from(world.plan.workload.inbox), 1).await;
        let actor = dice.index(world.seats.len());
        let node = dice.index(world.plan.nodes.len());
        // Only the list at the end is judged; these are questions under fire.
        let _ = ask(&world, node, actor, "/v1/conversations?limit=100").await;
    }
}

/// A user's whole list: conversation, last sequence, unread, delivered, read.
pub(crate) async fn inbox(
    world: &World,
    node: usize,
    actor: usize,
) -> Option<Vec<(usize, [u64; 4])>> {
    let mut lines = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/v1/conversations?limit=100{after}");
        let Told::Yes(page) = ask(world, node, actor, &path).await else { return None };
        for line in page["conversations"].as_array()? {
            let id: ConversationId = line["conversationId"].as_str()?.parse().ok()?;
            let Some(chat) = world.chat_of(id.as_bytes()) else { continue };
            let number = |field: &str| line[field].as_u64().unwrap_or(0);
            let numbers = ["lastSequence", "unread", "delivered", "read"].map(number);
            lines.push((chat, numbers));
        }
        match page["next_after"].as_str() {
            Some(next) => after = format!("&after={}", escape(next)),
            None => return Some(lines),
        }
        sleep(Duration::from_millis(1)).await;
    }
}
