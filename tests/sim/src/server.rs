//! One node of the simulated cluster with its machine: a runtime of its own, a disk, tables and a wall clock. It can be
//! killed, lose its power, stand still and be started again.
//!
//! Everything between the ports is the product's own code. All tasks of a node live on its runtime and nowhere else, so
//! that dropping the runtime is what SIGKILL is.

mod clock;
pub(crate) mod door;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::StreamExt as _;
use node::config::Config;
use node::{DigestTempo, Front, Host, HostView, SeededEntropy, Surroundings};
use parking_lot::Mutex;
use store::{
    Blobs, Journal, JournalConfig, JournalSeen, MemoryDisk, MemoryTables, OneFolder, StoreError,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use transport::peer::{Lane, PeerError, PeerHandler};

use crate::dice::Dice;
use crate::disk::SimDisk;
use crate::plane::VirtualPlane;
use crate::swarm::Settings;
use crate::wire::{Arrival, Heard, Time, Wire};
use crate::world::Slot;

pub(crate) use clock::Wall;

/// Replicas are compared all the time: a run lasts seconds, and has few rows.
const TEMPO: DigestTempo = DigestTempo {
    entries: 100,
    rest: Duration::from_secs(1),
    latest: Duration::from_secs(3),
    look: Duration::from_millis(250),
    reached_within: Duration::from_secs(2),
    summed_within: Duration::from_secs(10),
    bytes_per_second: u64::MAX,
    aside: false,
};

/// How a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Up,
    /// The process does not run.
    Down,
    /// The process stands still (SIGSTOP).
    Paused,
    /// Its disk is damaged: it refuses to start, and that is right.
    Lost(String),
}

/// How a process goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// SIGKILL, or it stopped by itself: the page cache survives.
    Kill,
    /// The machine is without power; the number says what survives.
    Power(u64),
}

/// See the module.
pub(crate) struct Server {
    pub(crate) index: usize,
    settings: Arc<Settings>,
    wire: Wire,
    pub(crate) disk: SimDisk,
    tables: MemoryTables,
    /// The disk of assets.
    blobs: MemoryDisk,
    pub(crate) wall: Arc<Wall>,
    dice: Dice,
    /// How much longer the disk takes than usual, times.
    pub(crate) disk_slow: Arc<Mutex<u64>>,
    pub(crate) state: State,
    /// What the journal held before a bit of it rotted.
    held: Option<JournalSeen>,
    /// What the last start broke.
    pub(crate) broken: Vec<String>,
    up: Option<Up>,
}

/// A running process.
struct Up {
    // Dropped first: all tasks go before what they use.
    runtime: Runtime,
    base: Instant,
    since: Time,
    life: u64,
    handler: Arc<dyn PeerHandler>,
    view: HostView,
    front: Arc<Mutex<Option<Front>>>,
    journal: Journal,
    exited: Arc<Mutex<Option<String>>>,
    pace: Pace,
    ports: BTreeMap<u64, mpsc::UnboundedSender<Bytes>>,
}

/// When the journal's work is done.
struct Pace {
    asked: Arc<Mutex<bool>>,
    ask: Arc<dyn Fn() + Send + Sync>,
}

impl Server {
    pub(crate) fn new(index: usize, settings: Arc<Settings>, wire: Wire) -> Self {
        let seed = settings.seed;
        Self {
            index,
            disk: SimDisk::new(seed, index),
            tables: MemoryTables::new(),
            blobs: MemoryDisk::default(),
            wall: Arc::new(Wall::default()),
            dice: Dice::new(seed, &format!("server-{index}")),
            disk_slow: Arc::new(Mutex::new(1)),
            state: State::Down,
            held: None,
            broken: Vec::new(),
            up: None,
            settings,
            wire,
        }
    }

    /// Starts the process. A folder that is damaged or a disk that fails keeps it down.
    pub(crate) fn start(&mut self) {
        assert!(self.up.is_none(), "a process is started once");
        match self.boot() {
            Ok(up) => {
                self.up = Some(up);
                self.state = State::Up;
            }
            Err(
                error @ (StoreError::Corrupt { .. }
                | StoreError::WrongVersion { .. }
                | StoreError::WrongIdentity { .. }),
            ) => {
                self.state = State::Lost(error.to_string());
            }
            Err(_) => self.disk.kill(),
        }
    }

    fn boot(&mut self) -> Result<Up, StoreError> {
        let now = self.wire.now();
        let life = self.wire.0.lock().lives[self.index];
        let runtime = runtime(self.dice.number());
        let guard = runtime.enter();
        let mut config = JournalConfig::new(identity(self.index));
        config.segment_bytes = self.settings.segment_bytes;
        config.segments_max = self.settings.segments_max;
        config.cache_bytes_per_group = self.settings.cache_bytes;
        let journal = Journal::open(Arc::new(self.disk.clone()), config)?;
        self.judge_journal();
        let pace = self.pace(life);
        let ask = Arc::clone(&pace.ask);
        journal.set_on_work(Box::new(move || ask()));
        let surroundings = Surroundings {
            journal: journal.clone(),
            tables: Arc::new(self.tables.clone()),
            blobs: Blobs::new(Arc::new(OneFolder(Arc::new(self.blobs.clone()))), None),
            raft: self.settings.raft(self.index),
            clock: Arc::clone(&self.wall) as Arc<dyn node::Clock>,
            entropy: Arc::new(SeededEntropy::new(self.dice.number())),
            plane: Arc::new(VirtualPlane {
                node: self.index,
                nodes: self.settings.nodes,
                wire: self.wire.clone(),
            }),
            outgoing: Arc::new(node::NoOutgoing),
            mailboxes: self.settings.mailboxes,
            digests: TEMPO,
        };
        let host = Host::open(self.config(), surroundings, CancellationToken::new())
            .expect("the settings of a seed are legal");
        let (handler, view) = (host.handler(), host.view());
        let front = Arc::new(Mutex::new(None));
        let exited = Arc::new(Mutex::new(None));
        let (slot, reason) = (Arc::clone(&front), Arc::clone(&exited));
        runtime.spawn(async move {
            let error = host.run(move |front| *slot.lock() = Some(front)).await;
            *reason.lock() = Some(error.to_string());
        });
        drop(guard);
        let base = runtime.block_on(async { Instant::now() });
        let ports = BTreeMap::new();
        Ok(Up {
            runtime,
            base,
            since: now,
            life,
            handler,
            view,
            front,
            journal,
            exited,
            pace,
            ports,
        })
    }

    /// A journal that was opened has made durable what it found, and has left out nothing that a damaged file held.
    fn judge_journal(&mut self) {
        let held = self.held.take();
        let Some(seen) = self.disk.seen().filter(|seen| !seen.groups.is_empty()) else { return };
        let durable = self.disk.seen_on_platter().map(|durable| durable.groups);
        if durable.as_ref() != Some(&seen.groups) {
            let what = "adopted: what a start took over is not on the platter";
            self.broken.push(what.to_owned());
        }
        let end = |seen: &JournalSeen, group| {
            seen.groups.get(&group).and_then(|group| group.last).map(|last| last.index)
        };
        let shorter = |held: &JournalSeen| {
            held.groups.keys().any(|group| end(&seen, *group) < end(held, *group))
        };
        if held.is_some_and(|held| shorter(&held)) {
            let what = "damage: a start went on without what a damaged journal held";
            self.broken.push(what.to_owned());
        }
    }

    /// A bit decays of what the journal wrote before its last batch: the next start must refuse. Which bit is told.
    pub(crate) fn rot(&mut self) -> Option<String> {
        self.held = self.disk.seen();
        let what = self.disk.rot();
        self.held = self.held.take().filter(|_| what.is_some());
        what
    }

    /// Has the journal's work done some time after it is asked for.
    fn pace(&mut self, life: u64) -> Pace {
        let asked = Arc::new(Mutex::new(false));
        let pending = Arc::clone(&asked);
        let (wire, node, slow) = (self.wire.clone(), self.index, Arc::clone(&self.disk_slow));
        let dice = Mutex::new(Dice::new(self.dice.number(), "barrier"));
        let (min, max) = self.settings.barrier;
        let ask = Arc::new(move || {
            if !std::mem::replace(&mut *pending.lock(), true) {
                let after = dice.lock().skewed(min, max) * *slow.lock();
                wire.disk_step(node, life, after);
            }
        });
        Pace { asked, ask }
    }

    fn config(&self) -> Config {
        let text = self.settings.node_file(self.index);
        Config::parse(&text, std::path::Path::new("/")).expect("the simulation writes legal files")
    }

    /// Ends the process at once.
    pub(crate) fn end(&mut self, end: End) {
        let Some(up) = self.up.take() else { return };
        match end {
            End::Kill => {
                self.disk.kill();
                self.blobs = self.blobs.kill();
            }
            End::Power(seed) => {
                self.disk.lose_power(seed);
                self.blobs = self.blobs.power_loss(seed);
            }
        }
        let unflushed = self.tables.unflushed() as u64;
        let kept = self.dice.below(unflushed + 1);
        self.tables = self.tables.crash(usize::try_from(kept).expect("a count in memory"));
        self.state = State::Down;
        self.wire.ended(self.index, end == End::Kill);
        drop(up);
    }

    /// Stops the process where it stands, or lets it go on.
    pub(crate) fn pause(&mut self, pause: bool) {
        match (pause, &self.state) {
            (true, State::Up) => self.state = State::Paused,
            (false, State::Paused) => {
                self.state = State::Up;
                if let Some(up) = &self.up {
                    // The clock went on while nobody looked.
                    let behind = up.behind(self.wire.now());
                    up.runtime.block_on(async { tokio::time::advance(behind).await });
                }
            }
            _ => {}
        }
    }

    /// Runs until the present of the world; why the process has stopped by itself, if it has.
    pub(crate) fn run(&mut self) -> Option<String> {
        let up = self.up.as_ref().filter(|_| self.state == State::Up)?;
        let behind = up.behind(self.wire.now());
        if !behind.is_zero() {
            up.runtime.block_on(async { tokio::time::sleep(behind).await });
        }
        up.exited.lock().take()
    }

    /// Whether clients are served.
    pub(crate) fn is_ready(&self) -> bool {
        self.state == State::Up && self.up.as_ref().is_some_and(|up| up.front.lock().is_some())
    }

    /// In which life it is.
    pub(crate) fn life(&self) -> Option<u64> {
        self.up.as_ref().map(|up| up.life)
    }

    /// Has something done by the node, whatever comes of it.
    pub(crate) fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) {
        if let Some(up) = &self.up {
            up.runtime.spawn(work);
        }
    }

    /// Asks over REST, once; the answer will be in the slot. `None`: nobody serves.
    pub(crate) fn ask(&self, path: &str, token: &str) -> Option<Slot> {
        let front = self.up.as_ref().filter(|_| self.is_ready())?.front.lock().clone()?;
        let answer = front.ask(("GET", path), token, String::new());
        let slot = Slot::default();
        let place = Arc::clone(&slot);
        self.spawn(async move {
            let answer = answer.await;
            *place.lock() = Some(answer);
        });
        Some(slot)
    }

    /// An observer's eyes.
    pub(crate) fn view(&self) -> Option<&HostView> {
        self.up.as_ref().map(|up| &up.view)
    }

    /// Something reaches the node. A process that stands still gets it later, so the caller asks first.
    pub(crate) fn take(&mut self, what: Arrival) {
        let index = self.index;
        let wire = self.wire.clone();
        let Some(up) = self.up.as_mut() else { return };
        let _guard = up.runtime.enter();
        match what {
            Arrival::Call { from, lane, request, call } => {
                let mut answer = up.handler.call(from as u64 + 1, lane, request);
                let number = if lane == Lane::Raft { 0 } else { 1 };
                if let Some(result) = answer.as_mut().now_or_never() {
                    wire.answer((index, from), number, call, result.map_err(PeerError::Refused));
                    return;
                }
                up.runtime.spawn(async move {
                    let result = answer.await.map_err(PeerError::Refused);
                    wire.answer((index, from), number, call, result);
                });
            }
            Arrival::Bulk { from, header, chunks, call } => {
                let chunks = UnboundedReceiverStream::new(chunks).boxed();
                let answer = up.handler.bulk(from as u64 + 1, header, chunks);
                up.runtime.spawn(async move {
                    let result = answer.await.map_err(PeerError::Refused);
                    wire.answer((index, from), 2, call, result);
                });
            }
            Arrival::DiskStep => up.disk_step(),
            Arrival::Frame { link, frame } => {
                if let Some(port) = up.ports.get(&link) {
                    // The session may have ended; then the device is about to hear of it.
                    let _ = port.send(frame);
                }
            }
            Arrival::Hangup { link } => {
                up.ports.remove(&link);
            }
            Arrival::Knock(knock) => up.open(knock, index, wire),
            Arrival::Settled { call, result } => wire.settle(call, result),
        }
    }
}

impl Up {
    fn behind(&self, now: Time) -> Duration {
        let passed = self.runtime.block_on(async { Instant::now() }) - self.base;
        Duration::from_micros(now - self.since).saturating_sub(passed)
    }

    /// One batch or one chore; the next one follows while there is any.
    fn disk_step(&self) {
        *self.pace.asked.lock() = false;
        if self.journal.step() {
            (self.pace.ask)();
        }
    }
}

fn runtime(seed: u64) -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    let _ = seed;
    builder.build().expect("a runtime without IO needs nothing")
}

fn identity(index: usize) -> [u8; 16] {
    let mut identity = *b"simulation------";
    identity[15] = u8::try_from(index).unwrap_or(u8::MAX);
    identity
}

/// Keeps a device informed that its link is gone, whatever ended it.
pub(crate) fn gone(wire: &Wire, node: usize, device: usize, link: u64) {
    wire.to_device(node, device, Heard::Gone { link });
}
