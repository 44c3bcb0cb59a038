//! Clients that talk all the while, remember what they were told, and read it back.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    reason = "each test file includes it and uses its part; it watches real processes in real time"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chat::{ConversationId, Seq, UserId};
use client::{
    Client, Config, Consistency, Credentials, HistoryQuery, Receipt, To, login, register,
};

use crate::synod::eventually;

const PASSWORD: &str = "correct horse battery";
/// Pairs that talk; in each one sends.
pub const PAIRS: usize = 4;
/// The pause of a sender between two messages.
const PAUSE: Duration = Duration::from_millis(15);

pub fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a legal name")
}

/// What one sender sent and was told.
pub struct Said {
    pub to: UserId,
    pub sender: Credentials,
    pub receipts: Vec<(Receipt, String)>,
}

/// Senders in threads of their own.
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    runtime: tokio::runtime::Runtime,
    senders: Vec<tokio::task::JoinHandle<Said>>,
}

impl Load {
    pub fn begin(config: &Config) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let senders = (0..PAIRS).map(|pair| {
            let (config, stop) = (config.clone(), Arc::clone(&stop));
            runtime.spawn(talk(config, pair, stop, Arc::clone(&acknowledged)))
        });
        let senders = senders.collect();
        Self { stop, acknowledged, runtime, senders }
    }

    /// Waits until so many more were acknowledged.
    pub fn goes_on(&self, more: usize) {
        let enough = self.acknowledged.load(Ordering::Relaxed) + more;
        eventually("messages are acknowledged", || {
            self.acknowledged.load(Ordering::Relaxed) >= enough
        });
    }

    pub fn end(self) -> (tokio::runtime::Runtime, Vec<Said>) {
        self.stop.store(true, Ordering::Relaxed);
        let Self { runtime, senders, .. } = self;
        let said = runtime.block_on(async {
            let mut said = Vec::new();
            for sender in senders {
                said.push(sender.await.expect("a sender ends by itself"));
            }
            said
        });
        (runtime, said)
    }
}

async fn talk(
    config: Config,
    pair: usize,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> Said {
    let (from, to) = (user(&format!("sender-{pair}")), user(&format!("receiver-{pair}")));
    for name in [&from, &to] {
        register(&config, name, PASSWORD).await.expect("a new name");
    }
    let sender = login(&config, &from, PASSWORD, "test").await.expect("it exists");
    let (client, mut inbox) = Client::connect(config, sender.clone()).expect("a legal config");
    // Nobody reads the inbox, but somebody must take things out of it.
    tokio::spawn(async move { while inbox.next().await.is_some() {} });
    let mut receipts = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let text = format!("{pair}.{number}");
        // Any error fails the test: within its patience the client tries again by itself.
        let receipt = client.send(To::User(to.clone()), text.clone()).await;
        receipts.push((receipt.expect("no send fails"), text));
        acknowledged.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
    let sender = client.credentials();
    client.stop().await;
    Said { to, sender, receipts }
}

/// The slot of what a pair says.
pub fn slot_of(pair: usize) -> u16 {
    let [from, to] = ["sender", "receiver"].map(|name| user(&format!("{name}-{pair}")));
    ConversationId::direct(&from, &to).slot()
}

/// Everything in a conversation, as this node tells it.
pub async fn read(config: &Config, said: &Said) -> Vec<(Seq, String)> {
    let (client, _inbox) =
        Client::connect(config.clone(), said.sender.clone()).expect("a legal config");
    let mut all: Vec<(Seq, String)> = Vec::new();
    loop {
        let after = all.last().map_or(Seq(0), |(seq, _)| *seq);
        let query = HistoryQuery {
            of: To::User(said.to.clone()),
            after,
            before: None,
            limit: 100,
            consistency: Consistency::Linearizable,
        };
        let page = client.history(query).await.expect("the node answers");
        if page.messages.is_empty() {
            client.stop().await;
            return all;
        }
        all.extend(
            page.messages
                .into_iter()
                .map(|message| (Seq(message.seq), message.body.expect("nothing was deleted").text)),
        );
    }
}

/// Asserts that each of these nodes has everything that was acknowledged, once and in order.
pub fn judge(runtime: &tokio::runtime::Runtime, said: &[Said], nodes: &[SocketAddr], ca: &[u8]) {
    for node in nodes {
        let config = Config::new(vec![*node], ca.to_vec());
        for said in said {
            let read = runtime.block_on(read(&config, said));
            let sent: Vec<(Seq, String)> =
                said.receipts.iter().map(|(receipt, text)| (receipt.seq, text.clone())).collect();
            assert_eq!(read, sent, "{node} has all of {} once and in order", said.to);
        }
    }
}

/// Devices of the receivers: what each is handed, as it comes.
pub struct Listeners(Vec<tokio::task::JoinHandle<Vec<u64>>>);

impl Listeners {
    /// Begins once all senders have registered their receivers.
    pub fn begin(load: &Load, config: &Config) -> Self {
        load.goes_on(PAIRS * 2);
        let listen = |pair| load.runtime.spawn(listen(config.clone(), pair, load.stop.clone()));
        Self((0..PAIRS).map(listen).collect())
    }

    /// Asserts that each was handed everything since it came, once and in order.
    pub fn judge(self, runtime: &tokio::runtime::Runtime, said: &[Said]) {
        for (pair, listener) in self.0.into_iter().enumerate() {
            let heard = runtime.block_on(listener).expect("it ends by itself");
            let to = user(&format!("receiver-{pair}"));
            let said = said.iter().find(|said| said.to == to).expect("one sends to each");
            let last = said.receipts.last().expect("something was said").0.seq.0;
            let first = *heard.first().expect("something was heard");
            let whole: Vec<u64> = (first..=last).collect();
            assert_eq!(heard, whole, "{to} was handed everything once and in order");
        }
    }
}

/// How long nothing may come before everything has come.
const QUIET: Duration = Duration::from_secs(3);

async fn listen(config: Config, pair: usize, stop: Arc<AtomicBool>) -> Vec<u64> {
    let name = user(&format!("receiver-{pair}"));
    let who = login(&config, &name, PASSWORD, "listener").await.expect("it exists");
    let (client, mut inbox) = Client::connect(config, who).expect("a legal config");
    let mut heard = Vec::new();
    loop {
        match tokio::time::timeout(QUIET, inbox.next()).await {
            Ok(Some(client::Incoming::Message(message))) => heard.push(message.seq),
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(_) if stop.load(Ordering::Relaxed) => break,
            Err(_) => {}
        }
    }
    client.stop().await;
    heard
}
