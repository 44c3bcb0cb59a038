//! A wire that goes through this process: frames come late, twice, in another order, damaged, or not at all.
//!
//! A host's link is moved from the bridge to a bridge of its own, and this process carries frames between the two. It
//! stands in for `netem`, which many kernels do not have, and needs no rule in the packet filter.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cluster::{Host, Setback, now_ns};
use crate::dice::Dice;

use super::namespace::Namespace;
use super::tap::{FRAME_BYTES_MAX, Tap};

/// Frames on their way in one wire; what comes on top is lost, as in a full queue.
const FRAMES_MAX: usize = 20_000;
/// Frames taken from one end before the others get a turn.
const TURN_FRAMES: usize = 64;
/// How long the carrier sleeps at most: within this it hears that it should end.
const NAP: Duration = Duration::from_millis(50);
/// Bytes of a frame that are never damaged, so that it still reaches the host that notices.
const HEAD_BYTES: usize = 42;

/// How a wire behaves. The default carries every frame at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manners {
    /// Every frame waits so long.
    pub delay: Duration,
    /// And up to so much longer, each for itself.
    pub jitter: Duration,
    /// Whether frames may overtake each other.
    pub overtake: bool,
    /// So many of a thousand frames are carried twice.
    pub twice_per_mille: u64,
    /// So many of a thousand have one bit turned.
    pub damage_per_mille: u64,
    /// So many of a thousand are lost.
    pub lose_per_mille: u64,
}

/// What a wire has done so far, in frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Carried to the other end, or on their way there.
    pub carried: u64,
    /// Arrived after one that had left later.
    pub overtaken: u64,
    /// Carried twice.
    pub twice: u64,
    /// Carried with a turned bit.
    pub damaged: u64,
    /// Not carried.
    pub lost: u64,
    /// Time that they wait, of all frames together, microseconds.
    pub waited_us: u64,
}

#[derive(Debug, Default)]
struct Counts {
    carried: AtomicU64,
    overtaken: AtomicU64,
    twice: AtomicU64,
    damaged: AtomicU64,
    lost: AtomicU64,
    waited_us: AtomicU64,
}

/// A host's wire while this process carries it.
#[derive(Debug)]
pub struct Line {
    host: Host,
    manners: Arc<Mutex<Manners>>,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    carrier: Option<JoinHandle<()>>,
}

impl Line {
    /// Lays the wire of `host` through this process.
    pub(super) fn lay(
        switch: &Namespace,
        host: Host,
        bridge: &str,
        port: &str,
    ) -> Result<Self, Setback> {
        let name = host.name();
        let ends =
            [Tap::open(switch, &format!("a{name}"))?, Tap::open(switch, &format!("b{name}"))?];
        switch.ip(&format!("link add name m{name} type bridge stp_state 0 forward_delay 0"))?;
        switch.ip(&format!("link set dev m{name} up"))?;
        switch.ip(&format!("link set dev a{name} master m{name} up"))?;
        switch.ip(&format!("link set dev b{name} master {bridge} up"))?;
        let (manners, counts, stop) = <(Arc<_>, Arc<Counts>, Arc<AtomicBool>)>::default();
        let carrier = Carrier {
            manners: Arc::clone(&manners),
            counts: Arc::clone(&counts),
            dice: Dice::new(now_ns(), 0),
            queue: BinaryHeap::new(),
            number: 0,
            newest: [0; 2],
            latest_due: [0; 2],
        };
        let carrier = start(carrier, ends, Arc::clone(&stop));
        switch.ip(&format!("link set dev {port} master m{name}"))?;
        Ok(Self { host, manners, counts, stop, carrier: Some(carrier) })
    }

    /// From now on the wire has these manners.
    pub(super) fn behave(&self, manners: Manners) {
        *self.manners.lock() = manners;
    }

    /// Its manners now.
    pub(super) fn manners(&self) -> Manners {
        *self.manners.lock()
    }

    /// What it has done so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            carried: count(&self.counts.carried),
            overtaken: count(&self.counts.overtaken),
            twice: count(&self.counts.twice),
            damaged: count(&self.counts.damaged),
            lost: count(&self.counts.lost),
            waited_us: count(&self.counts.waited_us),
        }
    }

    /// Connects the host to the bridge again.
    pub(super) fn straighten(
        self,
        switch: &Namespace,
        bridge: &str,
        port: &str,
    ) -> Result<(), Setback> {
        let own = format!("m{}", self.host.name());
        switch.ip(&format!("link set dev {port} master {bridge}"))?;
        drop(self);
        switch.ip(&format!("link del {own}")).map(drop)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(carrier) = self.carrier.take() {
            // It only panics if a lock was poisoned, and then the frames are gone anyway.
            let _ = carrier.join();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "frames are carried by a thread of their own")]
fn start(mut carrier: Carrier, ends: [Tap; 2], stop: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; FRAME_BYTES_MAX];
        while !stop.load(Ordering::Relaxed) {
            carrier.turn(&ends, &mut buffer);
        }
    })
}

/// A frame on its way: when it is due, its number, from which end, and its bytes.
type OnItsWay = Reverse<(u64, u64, usize, Vec<u8>)>;

struct Carrier {
    manners: Arc<Mutex<Manners>>,
    counts: Arc<Counts>,
    dice: Dice,
    queue: BinaryHeap<OnItsWay>,
    number: u64,
    /// The highest number that arrived, by the end that it came from.
    newest: [u64; 2],
    /// When the last frame is due, by the end that it came from.
    latest_due: [u64; 2],
}

impl Carrier {
    fn turn(&mut self, ends: &[Tap; 2], buffer: &mut [u8; FRAME_BYTES_MAX]) {
        self.wait(ends);
        let manners = *self.manners.lock();
        for (from, end) in ends.iter().enumerate() {
            for _ in 0..TURN_FRAMES {
                let Some(length) = end.read(buffer) else { break };
                self.take(now_ns(), manners, from, &buffer[..length]);
            }
        }
        while let Some(Reverse((_, number, from, frame))) = self.due(now_ns()) {
            ends[1 - from].write(&frame);
            self.arrived(from, number);
        }
    }

    /// Until a frame comes or one is due.
    fn wait(&self, ends: &[Tap; 2]) {
        let next = self.queue.peek().map(|Reverse((due, ..))| due.saturating_sub(now_ns()));
        let nap = next.map_or(NAP, Duration::from_nanos).min(NAP);
        let time = Timespec { tv_sec: 0, tv_nsec: nap.subsec_nanos().into() };
        let mut ends = [PollFd::new(&ends[0], PollFlags::IN), PollFd::new(&ends[1], PollFlags::IN)];
        // Interrupted: then the turn is a short one.
        let _ = poll(&mut ends, Some(&time));
    }

    /// Takes a frame and decides its fate.
    fn take(&mut self, now: u64, manners: Manners, from: usize, frame: &[u8]) {
        if self.queue.len() >= FRAMES_MAX || self.dice.chance(manners.lose_per_mille) {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut frame = frame.to_vec();
        if frame.len() > HEAD_BYTES && self.dice.chance(manners.damage_per_mille) {
            let place = HEAD_BYTES + self.dice.index(frame.len() - HEAD_BYTES);
            frame[place] ^= 1 << self.dice.below(8);
            self.counts.damaged.fetch_add(1, Ordering::Relaxed);
        }
        if self.dice.chance(manners.twice_per_mille) {
            self.counts.twice.fetch_add(1, Ordering::Relaxed);
            self.send_off(now, manners, from, frame.clone());
        }
        self.send_off(now, manners, from, frame);
    }

    fn send_off(&mut self, now: u64, manners: Manners, from: usize, frame: Vec<u8>) {
        let jitter = u64::try_from(manners.jitter.as_nanos()).unwrap_or(u64::MAX - 1);
        let wait = manners.delay + Duration::from_nanos(self.dice.below(jitter + 1));
        let mut due = now + u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX / 2);
        if !manners.overtake {
            due = due.max(self.latest_due[from]);
        }
        self.latest_due[from] = self.latest_due[from].max(due);
        self.number += 1;
        self.counts.carried.fetch_add(1, Ordering::Relaxed);
        self.counts.waited_us.fetch_add((due - now) / 1000, Ordering::Relaxed);
        self.queue.push(Reverse((due, self.number, from, frame)));
    }

    /// The next frame that is due by now.
    fn due(&mut self, now: u64) -> Option<OnItsWay> {
        self.queue.peek().filter(|Reverse((due, ..))| *due <= now)?;
        self.queue.pop()
    }

    fn arrived(&mut self, from: usize, number: u64) {
        if number < self.newest[from] {
            self.counts.overtaken.fetch_add(1, Ordering::Relaxed);
        }
        self.newest[from] = self.newest[from].max(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carrier() -> Carrier {
        Carrier {
            manners: Arc::default(),
            counts: Arc::default(),
            dice: Dice::new(7, 7),
            queue: BinaryHeap::new(),
            number: 0,
            newest: [0; 2],
            latest_due: [0; 2],
        }
    }

    /// The frames in the order in which they arrive when 1,000 leave one microsecond after the other.
    fn carry(manners: Manners) -> (Vec<u64>, Carrier) {
        let mut carrier = carrier();
        for n in 0..1000_u64 {
            let mut frame = vec![0; 60];
            frame[..8].copy_from_slice(&n.to_be_bytes());
            carrier.take(n * 1000, manners, 0, &frame);
        }
        let mut arrived = Vec::new();
        while let Some(Reverse((_, number, from, frame))) = carrier.due(u64::MAX) {
            arrived.push(u64::from_be_bytes(frame[..8].try_into().expect("eight bytes")));
            carrier.arrived(from, number);
        }
        (arrived, carrier)
    }

    #[test]
    fn a_wire_with_good_manners_carries_every_frame_in_order() {
        let (arrived, carrier) = carry(Manners::default());
        assert_eq!(arrived, (0..1000).collect::<Vec<_>>());
        assert_eq!(carrier.counts.overtaken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn frames_overtake_each_other_only_where_they_may() {
        let jitter = Duration::from_millis(3);
        let (arrived, kept) = carry(Manners { jitter, ..Manners::default() });
        assert!(arrived.is_sorted() && kept.counts.overtaken.load(Ordering::Relaxed) == 0);
        let (arrived, lost) = carry(Manners { jitter, overtake: true, ..Manners::default() });
        assert!(!arrived.is_sorted() && lost.counts.overtaken.load(Ordering::Relaxed) > 100);
    }

    #[test]
    fn frames_are_doubled_damaged_and_lost_about_as_often_as_asked() {
        let manners = Manners {
            twice_per_mille: 100,
            lose_per_mille: 100,
            damage_per_mille: 100,
            ..Manners::default()
        };
        let (arrived, carrier) = carry(manners);
        let counts = [&carrier.counts.twice, &carrier.counts.lost, &carrier.counts.damaged];
        for count in counts {
            assert!((50..200).contains(&count.load(Ordering::Relaxed)), "{:?}", carrier.counts);
        }
        let lost = carrier.counts.lost.load(Ordering::Relaxed);
        let twice = carrier.counts.twice.load(Ordering::Relaxed);
        assert_eq!(arrived.len() as u64, 1000 - lost + twice);
    }

    #[test]
    fn a_full_wire_loses_what_comes_on_top() {
        let mut carrier = carrier();
        for _ in 0..=FRAMES_MAX {
            carrier.take(0, Manners::default(), 0, &[0; 60]);
        }
        assert_eq!(carrier.queue.len(), FRAMES_MAX);
        assert_eq!(carrier.counts.lost.load(Ordering::Relaxed), 1);
    }
}
