//! What survives: a child process writes numbered batches and flushes now and then; it is killed, or
//! its disk loses power, at a moment nobody chose. After reopening, the rows are exactly those of
//! some first batches, and of no fewer than the last finished flush covered.

#[path = "support/power.rs"]
mod power;
#[path = "support/tables.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use store::{Batch, Direction, Engine, Row, StoreError, Tables};
use support::{Kind, everything};

/// Tells the child what to open: engine, sealed or plain, honest or lying, folder.
const CHILD: &str = "TABLES_CRASH_CHILD";
const KILLS: u64 = 30;
const POWER_CUTS: u64 = 12;
/// How long a child may take to open what the one before left.
const OPEN_PATIENCE: Duration = Duration::from_secs(60);

type Model = BTreeMap<Bytes, Bytes>;

/// The changes of batch `n`: a counter, a few rows written and one deleted, of many sizes.
fn batch(n: u64) -> Batch {
    let row = |i: u64| format!("row {:03}", i % 211);
    let mut batch = Batch::new();
    batch.put("count", n.to_be_bytes().to_vec());
    batch.delete(row(n * 53));
    for i in 0..n % 4 {
        let length = (n * 131 + i * 977) % 1500;
        batch.put(row(n * 37 + i), vec![(n % 251) as u8; length as usize]);
    }
    batch
}

fn count(tables: &dyn Tables) -> Result<u64, StoreError> {
    let count = tables.get(b"count")?;
    Ok(count.map_or(0, |bytes| u64::from_be_bytes(bytes.as_ref().try_into().expect("8 bytes"))))
}

/// The state after the first `n` batches, moved on from an earlier one.
fn advance(model: &mut Model, from: u64, to: u64) {
    for n in from + 1..=to {
        for change in batch(n).into_changes() {
            match change.value {
                Some(value) => model.insert(change.key, value),
                None => model.remove(&change.key),
            };
        }
    }
}

/// Not a test of its own: the process that is killed. Without its variable it does nothing.
#[test]
fn child_writes_until_it_is_killed() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let mut words = told.splitn(4, ' ');
    let mut word = || words.next().expect("four words");
    let engine: Engine = word().parse().expect("an engine");
    let kind = Kind { engine, sealed: word() == "sealed" };
    let honest = word() == "honest";
    let tables = kind.open(Path::new(word()));
    let flush = || if honest { tables.flush() } else { Ok(()) };
    let say = |flushed: u64| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "flushed {flushed}").and_then(|()| out.flush()).is_ok()
    };
    let written = AtomicU64::new(count(&*tables).expect("read"));
    // Opening makes durable what it adopts.
    assert!(say(written.load(Ordering::SeqCst)));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let n = written.load(Ordering::SeqCst) + 1;
                if tables.write(batch(n)).is_err() {
                    stop.store(true, Ordering::SeqCst);
                }
                written.store(n, Ordering::SeqCst);
            }
        });
        let mut flushed = 0;
        while !stop.load(Ordering::SeqCst) {
            let now = written.load(Ordering::SeqCst);
            if now < flushed + now % 701 {
                std::thread::yield_now();
            } else if flush().is_ok() && say(now) {
                flushed = now;
            } else {
                stop.store(true, Ordering::SeqCst);
            }
        }
    });
}

/// A running child and what it said it flushed.
struct Writer {
    child: Child,
    flushed: Receiver<u64>,
    listener: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    fn start(kind: Kind, honest: bool, folder: &Path) -> Self {
        let sealed = if kind.sealed { "sealed" } else { "plain" };
        let honest = if honest { "honest" } else { "lying" };
        let mut child = Command::new(std::env::current_exe().expect("this test's program"))
            .args(["--exact", "child_writes_until_it_is_killed", "--nocapture"])
            .env(CHILD, format!("{} {sealed} {honest} {}", kind.engine, folder.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("a child starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (tell, flushed) = channel();
        let listen = move || {
            for line in lines.map_while(Result::ok) {
                if let Some(n) = line.strip_prefix("flushed ").and_then(|n| n.parse().ok()) {
                    let _ = tell.send(n);
                }
            }
        };
        #[expect(clippy::disallowed_methods, reason = "a test's pipe needs a reader of its own")]
        let listener = std::thread::spawn(listen);
        Self { child, flushed, listener: Some(listener) }
    }

    /// Lets it write for `time`, then kills it; what it last said it had flushed.
    fn kill_after(mut self, time: Duration) -> u64 {
        let last = self.write_for(time);
        self.end();
        self.listener.take().expect("once").join().expect("the listener ends with the pipe");
        last.max(self.said())
    }

    /// Lets it write for `time`, then cuts the power under it. Only what it had said before counts:
    /// a process that outlives its disk by a moment may be told that a barrier succeeded which
    /// raced with the cut.
    fn cut_after(mut self, time: Duration, disk: &power::Disk) -> u64 {
        let last = self.write_for(time);
        let last = last.max(self.said());
        disk.cut_power().expect("power is cut");
        self.end();
        last
    }

    fn write_for(&mut self, time: Duration) -> u64 {
        let opened = self.flushed.recv_timeout(OPEN_PATIENCE).expect("the child opens its tables");
        // Nobody speaks on this channel, so this waits for exactly that long.
        let (_open, pause) = channel::<()>();
        let _ = pause.recv_timeout(time);
        opened
    }

    fn said(&self) -> u64 {
        self.flushed.try_iter().max().unwrap_or(0)
    }
}

impl Writer {
    fn end(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Also when a check panics; harmless for a child that is reaped already.
        self.end();
    }
}

/// Moments to strike: the same every run, though what the child is at then is not.
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> Duration {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        Duration::from_millis(5 + (self.0 >> 33) % 150)
    }
}

/// How a round broke the law.
#[derive(Debug)]
#[expect(dead_code, reason = "the fields are for whoever reads why a suite failed")]
enum Breach {
    /// The engine says that its files are damaged.
    Refused(StoreError),
    /// A lawful state, but older than one that was durable.
    Older { durable: u64, found: u64 },
    /// A state that never was.
    NeverWas(u64),
}

/// What must be on the disk, round after round.
struct Known {
    kind: Kind,
    batches: u64,
    model: Model,
}

impl Known {
    fn new(kind: Kind) -> Self {
        Self { kind, batches: 0, model: Model::new() }
    }

    /// Compares what a round left behind with what it may have left.
    fn check(&mut self, folder: &Path, flushed: u64) -> Result<(), Breach> {
        let (found, rows) = read(self.kind, folder).map_err(Breach::Refused)?;
        let durable = self.batches.max(flushed);
        if found < self.batches {
            self.model.clear();
            self.batches = 0;
        }
        advance(&mut self.model, self.batches, found);
        self.batches = found;
        let wanted = self.model.iter().map(|(key, value)| (key.clone(), value.clone()));
        if rows != wanted.collect::<Vec<Row>>() {
            Err(Breach::NeverWas(found))
        } else if found < durable {
            Err(Breach::Older { durable, found })
        } else {
            Ok(())
        }
    }
}

fn read(kind: Kind, folder: &Path) -> Result<(u64, Vec<Row>), StoreError> {
    let tables = kind.try_open(folder)?;
    let rows = tables.scan(everything(), Direction::Ascending, usize::MAX)?;
    Ok((count(&*tables)?, rows))
}

/// Rounds of writing and being killed; the first breach is the error.
fn kill_often(kind: Kind, honest: bool) -> Result<u64, Breach> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut known, mut moments) = (Known::new(kind), Moments(kind.engine as u64));
    for _ in 0..KILLS {
        let writer = Writer::start(kind, honest, folder.path());
        let flushed = writer.kill_after(moments.next());
        known.check(folder.path(), flushed)?;
    }
    Ok(known.batches)
}

/// The same with the power cut, on to the end: all breaches. `None` where this machine has no disk
/// for it.
fn cut_power_often(kind: Kind, honest: bool) -> Option<Vec<Breach>> {
    let disk = power::Disk::plug_in(700)
        .inspect_err(|reason| eprintln!("skipped: no disk whose power can be cut ({reason})"))
        .ok()?;
    let (mut known, mut moments) = (Known::new(kind), Moments(7 + kind.engine as u64));
    let mut breaches = Vec::new();
    let mut folder = disk.path().join("node 0");
    std::fs::create_dir(&folder).expect("a folder");
    for round in 1..=POWER_CUTS {
        let writer = Writer::start(kind, honest, &folder);
        let flushed = writer.cut_after(moments.next(), &disk);
        disk.power_up().expect("mounted again");
        if let Err(breach) = known.check(&folder, flushed) {
            if matches!(breach, Breach::Refused(_)) {
                // What the node does: it begins anew and copies from its peers.
                folder = disk.path().join(format!("node {round}"));
                std::fs::create_dir(&folder).expect("a folder");
                known = Known::new(kind);
            }
            breaches.push(breach);
        }
    }
    eprintln!("{kind:?}: {POWER_CUTS} cuts, up to batch {}, breaches {breaches:?}", known.batches);
    Some(breaches)
}

const FJALL: Kind = Kind { engine: Engine::Fjall, sealed: false };
const FJALL_SEALED: Kind = Kind { engine: Engine::Fjall, sealed: true };
const SLED: Kind = Kind { engine: Engine::Sled, sealed: false };

#[test]
fn fjall_keeps_a_prefix_of_batches_when_killed() {
    let batches = kill_often(FJALL, true).expect("nothing flushed is lost");
    assert!(batches > KILLS, "the children wrote {batches} batches");
}

#[test]
fn sled_keeps_a_prefix_of_batches_when_killed() {
    let batches = kill_often(SLED, true).expect("nothing flushed is lost");
    assert!(batches > KILLS, "the children wrote {batches} batches");
}

#[test]
fn fjall_keeps_flushed_batches_when_power_fails() {
    let Some(breaches) = cut_power_often(FJALL_SEALED, true) else { return };
    assert!(breaches.is_empty(), "{breaches:?}");
}

/// The library reuses places in its file before what replaced them is on stable storage, and no
/// barrier from outside can help that: about one cut in a hundred leaves it damaged or set back. It
/// must then say so, or show an older state, which the law "purged up to at most what was durably
/// applied" notices when the node starts. It must never show a state that never was.
#[test]
fn sled_never_shows_a_state_that_never_was_when_power_fails() {
    let Some(breaches) = cut_power_often(SLED, true) else { return };
    let never_was = breaches.iter().find(|breach| matches!(breach, Breach::NeverWas(_)));
    assert!(never_was.is_none(), "{never_was:?}");
    assert!(breaches.len() as u64 <= POWER_CUTS / 2, "no barrier at all? {breaches:?}");
}

/// The suite itself is believed because it notices a flush that does nothing.
#[test]
fn a_flush_that_does_nothing_is_noticed_when_killed() {
    let breach = kill_often(FJALL, false).expect_err("the lie is noticed");
    assert!(matches!(breach, Breach::Older { .. }), "{breach:?}");
}

#[test]
fn a_flush_that_does_nothing_is_noticed_when_power_fails() {
    let Some(breaches) = cut_power_often(FJALL, false) else { return };
    assert!(!breaches.is_empty(), "the lie went unnoticed");
}
