//! Clients that send at a steady rate whatever happens, and remember what they were told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chat::{Seq, UserId};
use client::{
    Client, Config, Consistency, Credentials, HistoryQuery, To, Transport, login, register,
};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::site::Cluster;
use crate::cluster::time::rest;

/// Clients. Each sends to the next one, so that each conversation has one sender.
const CLIENTS: usize = 64;
const PASSWORD: &str = "correct horse battery";
/// Messages in a page that is read back.
const PAGE: u32 = 100;
/// How long an answer may be out: what a client waits before it gives up, and some time.
const ANSWERED_MAX: Duration = Duration::from_secs(40);
/// How often it is looked whether all is answered.
const LOOK: Duration = Duration::from_millis(20);
/// Differences that are told in words.
const DIFFERENCES_MAX: usize = 10;

/// One acknowledged message: when it was due and how long after that it was acknowledged.
#[derive(Debug, Clone, Copy)]
struct Acked {
    due: Instant,
    took: Duration,
}

#[derive(Default)]
struct Figures {
    acked: Vec<Acked>,
    /// When the message was due that each sender waits for.
    waiting: BTreeMap<UserId, Instant>,
    failed: Vec<String>,
}

/// The clients at work.
pub(super) struct Load {
    runtime: Runtime,
    stop: Arc<AtomicBool>,
    figures: Arc<Mutex<Figures>>,
    senders: JoinSet<Result<Sender, String>>,
}

/// One who sends, and what was acknowledged to it: the text by sequence number.
struct Sender {
    credentials: Credentials,
    to: UserId,
    acked: BTreeMap<Seq, String>,
    /// Nobody knows whether these were stored.
    unknown: Vec<String>,
}

/// What all of them were told.
pub(super) struct Said {
    runtime: Runtime,
    senders: Vec<Sender>,
    failures: Vec<String>,
    acked: usize,
}

/// What clients saw in a stretch of time.
pub(super) struct Seen {
    pub(super) acknowledged: usize,
    pub(super) p99_ms: f64,
    pub(super) longest_ms: u64,
}

impl Load {
    /// Opens the accounts and begins.
    pub(super) fn begin(nodes: Vec<SocketAddr>, ca: Vec<u8>, rate: f64) -> Result<Self, String> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|e| e.to_string())?;
        let (stop, figures) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let config = Config { transport: Transport::WebSocket, ..Config::new(nodes, ca) };
        let opened: Vec<Credentials> = runtime.block_on(async {
            let mut opened = Vec::new();
            for number in 0..CLIENTS {
                opened.push(open(&config, number).await?);
            }
            Ok::<_, String>(opened)
        })?;
        let pause = Duration::from_secs_f64(CLIENTS as f64 / rate);
        let mut senders = JoinSet::new();
        for (number, credentials) in opened.into_iter().enumerate() {
            let mut config = config.clone();
            let nodes = config.nodes.len();
            config.nodes.rotate_left(number % nodes);
            let to = name((number + 1) % CLIENTS);
            let begin = pause.mul_f64(number as f64 / CLIENTS as f64);
            let task = send(config, Sender::new(credentials, to), (begin, pause), &stop, &figures);
            senders.spawn_on(task, runtime.handle());
        }
        Ok(Self { runtime, stop, figures, senders })
    }

    /// What was seen of messages that were due in between.
    pub(super) fn seen(&self, from: Instant, to: Instant) -> Seen {
        let figures = self.figures.lock();
        let due = figures.acked.iter().filter(|acked| acked.due >= from && acked.due < to);
        let mut took: Vec<Duration> = due.map(|acked| acked.took).collect();
        drop(figures);
        took.sort_unstable();
        let place = (took.len() * 99).div_ceil(100).saturating_sub(1);
        let at = |place: usize| took.get(place).copied().unwrap_or_default();
        Seen {
            acknowledged: took.len(),
            p99_ms: at(place).as_secs_f64() * 1000.0,
            longest_ms: took.last().map_or(0, |took| took.as_millis() as u64),
        }
    }

    /// Waits until everything that was due before `time` is acknowledged or given up.
    ///
    /// # Errors
    /// Who still waits long after a client should have given up.
    pub(super) fn answered(&self, time: Instant) -> Result<(), String> {
        let deadline = Instant::now() + ANSWERED_MAX;
        loop {
            let waits =
                self.figures.lock().waiting.iter().find(|(_, due)| **due < time).map(
                    |(user, due)| format!("{user} has waited for {} s", due.elapsed().as_secs()),
                );
            match waits {
                None => return Ok(()),
                Some(who) if Instant::now() >= deadline => return Err(who),
                Some(_) => rest(LOOK),
            }
        }
    }

    /// Stops them and waits for what is under way.
    pub(super) fn end(mut self) -> Said {
        self.stop.store(true, Ordering::Relaxed);
        let (mut senders, mut failures) = (Vec::new(), Vec::new());
        self.runtime.block_on(async {
            while let Some(ended) = self.senders.join_next().await {
                match ended {
                    Ok(Ok(sender)) => senders.push(sender),
                    Ok(Err(why)) => failures.push(why),
                    Err(why) => failures.push(why.to_string()),
                }
            }
        });
        let mut figures = self.figures.lock();
        failures.append(&mut figures.failed);
        let acked = figures.acked.len();
        drop(figures);
        Said { runtime: self.runtime, senders, failures, acked }
    }
}

fn name(number: usize) -> UserId {
    UserId::parse(&format!("life-{number}")).expect("a legal name")
}

async fn open(config: &Config, number: usize) -> Result<Credentials, String> {
    let user = name(number);
    register(config, &user, PASSWORD).await.map_err(|e| e.to_string())?;
    login(config, &user, PASSWORD, "lifecycle").await.map_err(|e| e.to_string())
}

impl Sender {
    fn new(credentials: Credentials, to: UserId) -> Self {
        Self { credentials, to, acked: BTreeMap::new(), unknown: Vec::new() }
    }
}

/// Sends at its pace: what could not be sent in time is late, not left out.
fn send(
    config: Config,
    mut sender: Sender,
    (begin, pause): (Duration, Duration),
    stop: &Arc<AtomicBool>,
    figures: &Arc<Mutex<Figures>>,
) -> impl Future<Output = Result<Sender, String>> + use<> {
    let (stop, figures) = (Arc::clone(stop), Arc::clone(figures));
    async move {
        let connected = Client::connect(config, sender.credentials.clone());
        let (client, mut inbox) = connected.map_err(|e| e.to_string())?;
        tokio::spawn(async move { while inbox.next().await.is_some() {} });
        let mut due = Instant::now() + begin;
        for number in 0.. {
            let user = sender.credentials.user.clone();
            figures.lock().waiting.insert(user.clone(), due);
            tokio::time::sleep_until(due).await;
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let text = format!("{user}.{number}");
            match client.send(To::User(sender.to.clone()), text.clone()).await {
                Ok(receipt) => {
                    figures.lock().acked.push(Acked { due, took: due.elapsed() });
                    if let Some(before) = sender.acked.insert(receipt.seq, text) {
                        return Err(format!("two messages have one number: {before}"));
                    }
                }
                Err(error) => {
                    figures.lock().failed.push(format!("{text}: {error}"));
                    sender.unknown.push(text);
                }
            }
            due += pause;
            figures.lock().waiting.remove(&user);
        }
        sender.credentials = client.credentials();
        client.stop().await;
        Ok(sender)
    }
}

impl Said {
    pub(super) fn acknowledged(&self) -> usize {
        self.acked
    }

    pub(super) fn failed(&self) -> usize {
        self.failures.len()
    }

    /// Reads every conversation from every node. Returns how many messages that were, and what is not as it was
    /// acknowledged.
    pub(super) fn read_back(&self, cluster: &Cluster) -> Result<(usize, Vec<String>), String> {
        let mut differences: Vec<String> = self
            .failures
            .iter()
            .take(DIFFERENCES_MAX)
            .map(|why| format!("failed: {why}"))
            .collect();
        let mut count = 0;
        let ca = cluster.authority()?;
        for node in cluster.addresses() {
            let config = Config::new(vec![node], ca.clone());
            for sender in &self.senders {
                let read = self.runtime.block_on(read(&config, sender));
                let read = read.map_err(|why| format!("{node}: {why}"))?;
                count += read.len();
                if let Some(what) = difference(sender, &read)
                    && differences.len() < DIFFERENCES_MAX
                {
                    differences.push(format!("{node}, {}: {what}", sender.credentials.user));
                }
            }
        }
        Ok((count, differences))
    }
}

/// What is lost, altered, doubled or out of place, if anything is.
fn difference(sender: &Sender, read: &[(Seq, String)]) -> Option<String> {
    let mut next = 1;
    let mut texts = std::collections::BTreeSet::new();
    for (seq, text) in read {
        if seq.0 != next {
            return Some(format!("{seq} stands where {next} was due"));
        }
        next += 1;
        if !texts.insert(text) {
            return Some(format!("{text:?} is there twice"));
        }
        match sender.acked.get(seq) {
            Some(acked) if acked != text => {
                return Some(format!("{seq} is {text:?}, not {acked:?}"));
            }
            None if !sender.unknown.contains(text) => {
                return Some(format!("{seq} is {text:?}, which was never acknowledged"));
            }
            Some(_) | None => {}
        }
    }
    let last = sender.acked.keys().next_back()?;
    (last.0 >= next).then(|| format!("{last} was acknowledged and {} is the last", next - 1))
}

async fn read(config: &Config, sender: &Sender) -> Result<Vec<(Seq, String)>, String> {
    let connected = Client::connect(config.clone(), sender.credentials.clone());
    let (client, _inbox) = connected.map_err(|e| e.to_string())?;
    let mut all: Vec<(Seq, String)> = Vec::new();
    loop {
        let query = HistoryQuery {
            of: To::User(sender.to.clone()),
            after: all.last().map_or(Seq(0), |(seq, _)| *seq),
            before: None,
            limit: PAGE,
            consistency: Consistency::Linearizable,
        };
        let page = client.history(query).await.map_err(|e| e.to_string())?;
        if page.messages.is_empty() {
            client.stop().await;
            return Ok(all);
        }
        for message in page.messages {
            let text = message.body.map(|body| body.text).unwrap_or_default();
            all.push((Seq(message.seq), text));
        }
    }
}
