//! After everything: every conversation is read from every replica, every device waits for what it must still get, and the
//! lists and cursors of every user are read back. What does not come within the deadline is noted as missing by not being
//! there: the judge sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chat::Seq;
use checkers::{Conn, D, Entry, F, InboxLine, Kind, Level};
use client::{Client, Consistency, HistoryQuery, Page, To};
use futures::{StreamExt as _, stream};
use tokio::time::{Instant, sleep};

use super::cast::Tongue;
use super::media;
use super::native::Native;
use super::reads;
use super::stranger::Stranger;
use super::world::World;
use crate::record::Spot;

/// Messages of a page.
const PAGE: u32 = 100;
/// Readers at once.
const COPIES_AT_ONCE: usize = 6;
/// Whoever was out of a group for a while may never get the last message: it is not waited for longer.
const ROVER_WAITS: Duration = Duration::from_secs(3);
/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(100);

/// Those whose devices listen.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) natives: Vec<Arc<Native>>,
    pub(crate) strangers: Vec<Arc<Stranger>>,
}

/// Reads everything back. Gives what could not be read.
pub(crate) async fn read_back(world: &Arc<World>, listeners: &Listeners) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(world.plan.drain_seconds);
    let mut missing = Vec::new();
    let mut heads: BTreeMap<usize, Vec<Entry>> = BTreeMap::new();
    let nodes = 0..world.plan.nodes.len();
    let copies =
        nodes.flat_map(|node| readers(world).into_iter().map(move |reader| (node, reader)));
    let copies = copies.map(|(node, (reader, chats))| copy(world, node, reader, chats, deadline));
    let mut copied = stream::iter(copies).buffer_unordered(COPIES_AT_ONCE);
    while let Some((read, unread)) = copied.next().await {
        for (chat, entries) in read {
            if heads.get(&chat).is_none_or(|known| known.len() < entries.len()) {
                heads.insert(chat, entries);
            }
        }
        missing.extend(unread);
    }
    await_devices(world, listeners, &heads, deadline).await;
    missing.extend(inboxes(world, deadline).await);
    missing.extend(media::read_back(world, deadline).await);
    missing
}

/// What one reader reads from one node, and what cannot be read.
async fn copy(
    world: &World,
    node: usize,
    reader: usize,
    chats: Vec<usize>,
    deadline: Instant,
) -> (Vec<(usize, Vec<Entry>)>, Vec<String>) {
    let copyist = Copyist::open(world, reader, node);
    let (mut read, mut unread) = (Vec::new(), Vec::new());
    for chat in chats {
        match copyist.chat(chat, deadline).await {
            Ok(entries) => read.push((chat, entries)),
            Err(why) => unread.push(format!("conversation {chat} at n{}: {why}", node + 1)),
        }
    }
    copyist.client.stop().await;
    (read, unread)
}

/// Who reads what: as few people as may read everything.
fn readers(world: &World) -> BTreeMap<usize, Vec<usize>> {
    let mut readers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, chat) in world.cast.chats.iter().enumerate() {
        // The first member made it, is a member from the beginning and never leaves.
        readers.entry(chat.members[0]).or_default().push(number);
    }
    readers
}

/// Reads from one node alone.
struct Copyist<'a> {
    world: &'a World,
    client: Client,
    reader: usize,
    node: usize,
    process: u32,
}

impl<'a> Copyist<'a> {
    fn open(world: &'a World, reader: usize, node: usize) -> Self {
        let mut config = world.config(Tongue::Quic, node);
        config.nodes.truncate(1);
        let credentials = world.seats[reader].credentials.clone();
        let (client, mut inbox) = Client::connect(config, credentials).expect("a good plan");
        // What comes in on this link was judged on the device's own.
        tokio::spawn(async move { while inbox.next().await.is_some() {} });
        Self { world, client, reader, node, process: world.tape.process() }
    }

    /// The strong end of the conversation, and then this replica's own copy once it has got there.
    async fn chat(&self, chat: usize, deadline: Instant) -> Result<Vec<Entry>, String> {
        let head = self.strong(chat, deadline).await?;
        let mut entries = Vec::new();
        loop {
            self.rest(chat, &mut entries, deadline).await?;
            let reached = entries.last().map_or(0, |entry: &Entry| entry.seq);
            if reached >= head || Instant::now() >= deadline {
                break;
            }
            sleep(AGAIN).await;
        }
        let replica = u8::try_from(self.node + 1).expect("few nodes");
        let chain = entries.last().map_or(0, |entry| entry.chain);
        let c = self.world.cs[chat];
        let said = F::Final { c, replica, entries: entries.clone(), chain };
        self.world.tape.saw(replica, Conn::Quic, said);
        Ok(entries)
    }

    /// The last page, strongly; gives the head.
    async fn strong(&self, chat: usize, deadline: Instant) -> Result<u64, String> {
        let world = self.world;
        let after = world.head(chat).saturating_sub(u64::from(PAGE) / 2);
        let (c, d) = (world.cs[chat], world.seats[self.reader].d);
        let node = u8::try_from(self.node + 1).expect("few nodes");
        let spot = Spot { process: self.process, node, conn: Conn::Quic };
        let level = Level::Linearizable;
        let said = |entries, head| F::Read { c, d, level, after, entries, head, error: None };
        loop {
            world.tape.note(spot, Kind::Invoke, said(Vec::new(), None));
            match self.page(chat, after, Consistency::Linearizable).await {
                Ok(page) => {
                    let entries = page.messages.iter().map(|message| world.entry(message));
                    world.tape.note(spot, Kind::Ok, said(entries.collect(), Some(page.last_seq.0)));
                    return Ok(page.last_seq.0);
                }
                Err(why) => {
                    world.tape.note(spot, Kind::Fail, said(Vec::new(), None));
                    if Instant::now() >= deadline {
                        return Err(why);
                    }
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// What the node has beyond `entries`, without asking anybody else.
    async fn rest(
        &self,
        chat: usize,
        entries: &mut Vec<Entry>,
        deadline: Instant,
    ) -> Result<(), String> {
        loop {
            let after = entries.last().map_or(0, |entry| entry.seq);
            match self.page(chat, after, Consistency::Local).await {
                Ok(page) if page.messages.is_empty() => return Ok(()),
                Ok(page) => {
                    entries.extend(page.messages.iter().map(|message| self.world.entry(message)));
                }
                Err(why) if Instant::now() >= deadline => return Err(why),
                Err(_) => sleep(AGAIN).await,
            }
        }
    }

    async fn page(&self, chat: usize, after: u64, level: Consistency) -> Result<Page, String> {
        let query = HistoryQuery {
            of: To::Conversation(self.world.cast.chats[chat].id),
            after: Seq(after),
            before: None,
            limit: PAGE,
            consistency: level,
        };
        self.client.history(query).await.map_err(|error| error.to_string())
    }
}

/// Waits until every device has got the last message that others sent in each of its conversations.
async fn await_devices(
    world: &World,
    listeners: &Listeners,
    heads: &BTreeMap<usize, Vec<Entry>>,
    deadline: Instant,
) {
    for native in &listeners.natives {
        let d = await_device(world, native.actor(), heads, deadline, |mine| native.received(mine));
        let d = d.await;
        world.tape.saw(0, Conn::None, F::CaughtUp { d, link: native.link(), last: true });
    }
    for stranger in &listeners.strangers {
        let received = |mine| stranger.received(mine);
        let d = await_device(world, stranger.actor(), heads, deadline, received).await;
        world.tape.saw(0, Conn::None, F::CaughtUp { d, link: stranger.link(), last: true });
    }
}

async fn await_device(
    world: &World,
    actor: usize,
    heads: &BTreeMap<usize, Vec<Entry>>,
    deadline: Instant,
    received: impl Fn(usize) -> u64,
) -> D {
    let d = world.seats[actor].d;
    for (mine, chat) in world.cast.actors[actor].chats.iter().enumerate() {
        let foreign = |entry: &&Entry| entry.from != d;
        let last = heads.get(chat).and_then(|entries| entries.iter().rev().find(foreign));
        let last = last.map_or(0, |entry| entry.seq);
        let roves = world.cast.chats[*chat].rover == Some(actor);
        let deadline = if roves { deadline.min(Instant::now() + ROVER_WAITS) } else { deadline };
        while received(mine) < last && Instant::now() < deadline {
            sleep(AGAIN).await;
        }
    }
    d
}

/// Every user's list and cursors.
async fn inboxes(world: &World, deadline: Instant) -> Vec<String> {
    let mut missing = Vec::new();
    for (actor, seat) in world.seats.iter().enumerate() {
        let node = actor % world.plan.nodes.len();
        let lines = loop {
            match reads::inbox(world, node, actor).await {
                Some(lines) => break Some(lines),
                None if Instant::now() >= deadline => break None,
                None => sleep(AGAIN).await,
            }
        };
        let Some(lines) = lines else {
            // A list that nobody could read is no empty list.
            missing.push(format!("the list of user {actor}"));
            continue;
        };
        let mut entries = Vec::new();
        for (chat, [last, unread, delivered, read]) in lines {
            let (c, d) = (world.cs[chat], seat.d);
            entries.push(InboxLine { c, last, unread });
            world.tape.saw(0, Conn::Rest, F::Cursor { c, d, delivered, read, last: true });
        }
        world.tape.saw(0, Conn::Rest, F::Inbox { u: seat.u, entries });
    }
    missing
}
