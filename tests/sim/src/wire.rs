//! The virtual network and the one queue of everything that is going to happen.
//!
//! A message is an event with a time; whether it is delayed, lost or doubled is drawn when it is sent and decided by the
//! conditions of that moment. Calls keep their order per pair and lane, as connections do, unless the seed asks for worse.
//! Who hears whom is worked out here as well, from heartbeats that travel as any message does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc, oneshot};
use transport::peer::{Lane, Liveness, PeerError};

use crate::dice::Dice;
use crate::trace::Trace;

/// Microseconds since the run began.
pub(crate) type Time = u64;

/// One millisecond.
pub(crate) const MS: Time = 1000;
/// One second.
pub(crate) const SECOND: Time = 1000 * MS;
/// A sign of life is sent this often; as the peer plane does.
pub(crate) const HEARTBEAT: Time = 100 * MS;
/// A peer not heard for this long is held for dead; as the peer plane does.
const DEAD_AFTER: Time = 400 * MS;

/// What happens to a node.
pub(crate) enum Arrival {
    /// A call of another node. `call` names who waits for the answer.
    Call { from: usize, lane: Lane, request: Bytes, call: u64 },
    /// A transfer begins; its chunks come through `chunks`.
    Bulk {
        from: usize,
        header: Bytes,
        chunks: mpsc::UnboundedReceiver<Result<Bytes, PeerError>>,
        call: u64,
    },
    /// The journal's disk has got that far.
    DiskStep,
    /// A frame of a device.
    Frame { link: u64, frame: Bytes },
    /// A device's link is gone.
    Hangup { link: u64 },
    /// The answer to a call, for a process that stood still.
    Settled { call: u64, result: Result<Bytes, PeerError> },
    /// A device wants something at the door.
    Knock(crate::server::door::Knock),
}

/// What happens to a device.
pub(crate) enum Heard {
    /// A token, or none.
    SignedIn(Option<String>),
    /// A frame on this link.
    Frame { link: u64, frame: Bytes },
    /// The link is gone.
    Gone { link: u64 },
    /// An answer to a request over REST.
    Answer { ask: u64, status: u16, body: Bytes },
}

/// Something that is going to happen.
pub(crate) enum Event {
    /// To a node in one of its lives.
    Node { node: usize, life: u64, what: Arrival },
    /// To whoever waits for this call.
    Answer { to: usize, call: u64, result: Result<Bytes, PeerError> },
    /// A sign of life.
    Beat { from: usize, to: usize },
    /// To a device.
    Device { device: usize, what: Heard },
}

/// Who waits for an answer.
struct Waiting {
    caller: usize,
    callee: usize,
    tell: oneshot::Sender<Result<Bytes, PeerError>>,
}

/// What the network does to messages from one node to another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    /// How many faults cut it now.
    pub(crate) cuts: u32,
    /// How many faults hold up what carries the log, and nothing else.
    pub(crate) stuck: u32,
    /// Lost, in a thousand.
    pub(crate) loss: u64,
    /// Doubled, in a thousand.
    pub(crate) doubled: u64,
    /// Delivered out of order, in a thousand.
    pub(crate) unordered: u64,
    /// Added to each delay at most.
    pub(crate) slow: Time,
}

/// From whom, to whom, and where the chunks go.
type Bulk = (usize, usize, mpsc::UnboundedSender<Result<Bytes, PeerError>>);

/// How one node hears another.
#[derive(Clone, Copy, Debug, Default)]
struct Ear {
    alive: bool,
    heard: Time,
}

/// Delays of a calm network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delays {
    pub(crate) min: Time,
    pub(crate) max: Time,
}

pub(crate) struct Inner {
    pub(crate) now: Time,
    next: u64,
    queue: BTreeMap<(Time, u64), Event>,
    dice: Dice,
    nodes: usize,
    pub(crate) delays: Delays,
    ways: Vec<Way>,
    /// Devices cannot reach these nodes: device, node.
    pub(crate) shut: BTreeSet<(usize, usize)>,
    /// Links that have lost something: a stream that has lost a byte carries nothing any more.
    torn: BTreeSet<u64>,
    ears: Vec<Ear>,
    /// Last delivery per ordered lane.
    lanes: BTreeMap<(usize, usize, u8), Time>,
    calls: BTreeMap<u64, Waiting>,
    streams: BTreeMap<u64, Bulk>,
    /// For each node: its life, and whether it runs.
    pub(crate) lives: Vec<u64>,
    pub(crate) tell: Vec<broadcast::Sender<Liveness>>,
    pub(crate) trace: Trace,
    pub(crate) messages: u64,
}

/// Shared by everything in one simulated world.
#[derive(Clone)]
pub(crate) struct Wire(pub(crate) Arc<Mutex<Inner>>);

/// Lanes of devices, after those of the peer plane.
const TO_DEVICE: u8 = 10;
const FROM_DEVICE: u8 = 11;
const BEATS: u8 = 12;
/// Lanes of answers.
const ANSWERS: u8 = 20;

fn lane_number(lane: Lane) -> u8 {
    match lane {
        Lane::Raft => 0,
        Lane::Forward => 1,
        Lane::Bulk => 2,
    }
}

impl Wire {
    pub(crate) fn new(seed: u64, nodes: usize, delays: Delays, traced: bool) -> Self {
        let inner = Inner {
            now: 0,
            next: 0,
            queue: BTreeMap::new(),
            dice: Dice::new(seed, "wire"),
            nodes,
            delays,
            ways: vec![Way::default(); nodes * nodes],
            shut: BTreeSet::new(),
            torn: BTreeSet::new(),
            ears: vec![Ear::default(); nodes * nodes],
            lanes: BTreeMap::new(),
            calls: BTreeMap::new(),
            streams: BTreeMap::new(),
            lives: vec![0; nodes],
            tell: (0..nodes).map(|_| broadcast::channel(64).0).collect(),
            trace: Trace::new(traced),
            messages: 0,
        };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// The next event that is due.
    pub(crate) fn due(&self) -> Option<Event> {
        let mut inner = self.0.lock();
        let (at, _) = *inner.queue.first_key_value()?.0;
        if at > inner.now {
            return None;
        }
        inner.queue.pop_first().map(|(_, event)| event)
    }

    pub(crate) fn now(&self) -> Time {
        self.0.lock().now
    }

    /// Makes a call; the answer comes through the receiver.
    pub(crate) fn call(
        &self,
        (from, to): (usize, usize),
        lane: Lane,
        request: Bytes,
    ) -> Result<(u64, oneshot::Receiver<Result<Bytes, PeerError>>), PeerError> {
        let mut inner = self.0.lock();
        if !inner.alive(from, to) {
            return Err(PeerError::Unreachable);
        }
        let (tell, told) = oneshot::channel();
        let call = inner.number();
        inner.calls.insert(call, Waiting { caller: from, callee: to, tell });
        inner.note("call", from, to, &request);
        let number = lane_number(lane);
        for at in inner.deliveries(from, to, number) {
            let what = Arrival::Call { from, lane, request: request.clone(), call };
            let life = inner.lives[to];
            inner.push(at, Event::Node { node: to, life, what });
        }
        Ok((call, told))
    }

    /// A call is not waited for any more.
    pub(crate) fn forget(&self, call: u64) {
        let gone = self.0.lock().calls.remove(&call);
        drop(gone);
    }

    /// Answers a call.
    pub(crate) fn answer(
        &self,
        (from, to): (usize, usize),
        lane: u8,
        call: u64,
        result: Result<Bytes, PeerError>,
    ) {
        let mut inner = self.0.lock();
        inner.note("answer", from, to, result.as_ref().map_or(&[], |bytes| bytes));
        for at in inner.deliveries(from, to, ANSWERS + lane) {
            inner.push(at, Event::Answer { to, call, result: result.clone() });
        }
    }

    /// Gives an answer to whoever waits for it.
    pub(crate) fn settle(&self, call: u64, result: Result<Bytes, PeerError>) {
        let waiting = self.0.lock().calls.remove(&call);
        if let Some(waiting) = waiting {
            // Whoever asked may have gone meanwhile.
            let _ = waiting.tell.send(result);
        }
    }

    /// Begins a transfer.
    pub(crate) fn begin(
        &self,
        (from, to): (usize, usize),
        header: Bytes,
    ) -> Result<(u64, oneshot::Receiver<Result<Bytes, PeerError>>), PeerError> {
        let mut inner = self.0.lock();
        if !inner.alive(from, to) {
            return Err(PeerError::Unreachable);
        }
        let (tell, told) = oneshot::channel();
        let (sender, chunks) = mpsc::unbounded_channel();
        let call = inner.number();
        inner.calls.insert(call, Waiting { caller: from, callee: to, tell });
        inner.streams.insert(call, (from, to, sender));
        inner.note("bulk", from, to, &header);
        let at = inner.ordered(from, to, lane_number(Lane::Bulk));
        let life = inner.lives[to];
        if inner.way(from, to).cuts == 0 {
            inner.push(
                at,
                Event::Node { node: to, life, what: Arrival::Bulk { from, header, chunks, call } },
            );
        }
        Ok((call, told))
    }

    /// One chunk of a transfer; `false` when it is over. How long the way took is for the caller to wait.
    pub(crate) fn chunk(&self, call: u64, chunk: Bytes) -> bool {
        let mut inner = self.0.lock();
        let Some((from, to, sender)) =
            inner.streams.get(&call).map(|(f, t, s)| (*f, *t, s.clone()))
        else {
            return false;
        };
        inner.note("chunk", from, to, &chunk);
        let way = *inner.way(from, to);
        if way.cuts > 0 || inner.dice.happens(way.loss / 4) {
            inner.streams.remove(&call);
            drop(inner);
            // The connection broke: both sides learn it.
            let _ = sender.send(Err(PeerError::Lost));
            self.settle(call, Err(PeerError::Lost));
            return false;
        }
        sender.send(Ok(chunk)).is_ok()
    }

    /// A transfer has no more chunks; `whole`: it is complete.
    pub(crate) fn finish(&self, call: u64, whole: bool) {
        let stream = self.0.lock().streams.remove(&call);
        if let (Some((_, _, sender)), false) = (stream, whole) {
            let _ = sender.send(Err(PeerError::Lost));
        }
    }

    /// From a node to a device, in order.
    pub(crate) fn to_device(&self, node: usize, device: usize, what: Heard) {
        let mut inner = self.0.lock();
        match &what {
            Heard::Frame { frame, .. } => inner.note("to-device", node, device, frame),
            Heard::SignedIn(_) => inner.note("signed-in", node, device, &[]),
            Heard::Gone { .. } => inner.note("gone", node, device, &[]),
            Heard::Answer { body, .. } => inner.note("rest", node, device, body),
        }
        let link = match &what {
            Heard::Frame { link, .. } | Heard::Gone { link } => Some(*link),
            Heard::SignedIn(_) | Heard::Answer { .. } => None,
        };
        if inner.is_torn((device, node), link) {
            return;
        }
        let at = inner.ordered(node, device, TO_DEVICE);
        inner.push(at, Event::Device { device, what });
    }

    /// From a device to a node, in order.
    pub(crate) fn to_node(&self, device: usize, node: usize, life: u64, what: Arrival) {
        let mut inner = self.0.lock();
        if let Arrival::Frame { frame, .. } = &what {
            inner.note("from-device", device, node, frame);
        }
        let link = match &what {
            Arrival::Frame { link, .. } | Arrival::Hangup { link } => Some(*link),
            _ => None,
        };
        if inner.is_torn((device, node), link) {
            return;
        }
        let at = inner.ordered(device, node, FROM_DEVICE);
        inner.push(at, Event::Node { node, life, what });
    }

    /// The disk of a node will have got somewhere.
    pub(crate) fn disk_step(&self, node: usize, life: u64, after: Time) {
        let mut inner = self.0.lock();
        let at = inner.now + after;
        inner.push(at, Event::Node { node, life, what: Arrival::DiskStep });
    }

    /// Sends signs of life of `from` to everybody.
    pub(crate) fn beat(&self, from: usize) {
        let mut inner = self.0.lock();
        for to in 0..inner.nodes {
            if to != from {
                for at in inner.deliveries(from, to, BEATS) {
                    inner.push(at, Event::Beat { from, to });
                }
            }
        }
    }

    /// A sign of life has arrived.
    pub(crate) fn heard(&self, from: usize, to: usize) {
        let mut inner = self.0.lock();
        let (now, nodes) = (inner.now, inner.nodes);
        let ear = &mut inner.ears[to * nodes + from];
        ear.heard = now;
        if !std::mem::replace(&mut ear.alive, true) {
            inner.opinion(to, from, true);
        }
    }

    /// Whoever was not heard for long is held for dead, and what was on the way to them is lost.
    pub(crate) fn listen(&self, node: usize) {
        let mut inner = self.0.lock();
        let (now, nodes) = (inner.now, inner.nodes);
        for other in (0..nodes).filter(|other| *other != node) {
            let ear = inner.ears[node * nodes + other];
            if ear.alive && now.saturating_sub(ear.heard) > DEAD_AFTER {
                inner.ears[node * nodes + other].alive = false;
                inner.opinion(node, other, false);
                inner.break_calls(node, other);
            }
        }
    }

    /// A process ended: its connections are reset, which others learn at once if they can be reached.
    pub(crate) fn ended(&self, node: usize, resets: bool) {
        let mut inner = self.0.lock();
        let nodes = inner.nodes;
        inner.lives[node] += 1;
        for other in (0..nodes).filter(|other| *other != node) {
            inner.ears[node * nodes + other] = Ear::default();
            inner.break_calls(node, other);
            if resets && inner.way(node, other).cuts == 0 && inner.ears[other * nodes + node].alive
            {
                inner.ears[other * nodes + node].alive = false;
                inner.opinion(other, node, false);
                inner.break_calls(other, node);
            }
        }
        inner.tell[node] = broadcast::channel(64).0;
    }

    /// Whether `node` hears `other`.
    pub(crate) fn alive(&self, node: usize, other: usize) -> bool {
        self.0.lock().alive(node, other)
    }

    /// Changes the way from one node to another.
    pub(crate) fn change(&self, from: usize, to: usize, change: impl FnOnce(&mut Way)) {
        let mut inner = self.0.lock();
        let nodes = inner.nodes;
        change(&mut inner.ways[from * nodes + to]);
    }

    /// Everything on the network is as calm as at the beginning.
    pub(crate) fn calm(&self) {
        let mut inner = self.0.lock();
        inner.ways.fill(Way::default());
        inner.shut.clear();
    }
}

impl Inner {
    /// Whether a device's message does not get through; then its link never carries anything again.
    fn is_torn(&mut self, at: (usize, usize), link: Option<u64>) -> bool {
        let shut = self.shut.contains(&at);
        if shut {
            self.torn.extend(link);
        }
        shut || link.is_some_and(|link| self.torn.contains(&link))
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn push(&mut self, at: Time, event: Event) {
        let number = self.number();
        self.queue.insert((at, number), event);
    }

    pub(crate) fn note(&mut self, what: &str, from: usize, to: usize, bytes: &[u8]) {
        self.messages += 1;
        let now = self.now;
        self.trace.note(now, what, from as u64, to as u64, bytes);
    }

    fn way(&mut self, from: usize, to: usize) -> &mut Way {
        &mut self.ways[from * self.nodes + to]
    }

    fn alive(&self, node: usize, other: usize) -> bool {
        node == other || self.ears[node * self.nodes + other].alive
    }

    fn opinion(&mut self, node: usize, about: usize, alive: bool) {
        self.note(if alive { "hears" } else { "misses" }, node, about, &[]);
        // Nobody may be listening yet.
        let _ = self.tell[node].send(Liveness { node: about as u64 + 1, alive });
    }

    fn break_calls(&mut self, node: usize, other: usize) {
        let broken: Vec<u64> = self
            .calls
            .iter()
            .filter(|(_, waiting)| waiting.caller == node && waiting.callee == other)
            .map(|(call, _)| *call)
            .collect();
        for call in broken {
            if let Some(waiting) = self.calls.remove(&call) {
                let _ = waiting.tell.send(Err(PeerError::Lost));
            }
        }
        let cut: Vec<u64> = self
            .streams
            .iter()
            .filter(|(_, (from, to, _))| {
                (*from, *to) == (node, other) || (*from, *to) == (other, node)
            })
            .map(|(call, _)| *call)
            .collect();
        for call in cut {
            if let Some((_, _, sender)) = self.streams.remove(&call) {
                let _ = sender.send(Err(PeerError::Lost));
            }
        }
    }

    fn delay(&mut self) -> Time {
        let Delays { min, max } = self.delays;
        self.dice.skewed(min, max)
    }

    /// A time not before the last one of this lane.
    fn ordered(&mut self, from: usize, to: usize, lane: u8) -> Time {
        let at = self.now + self.delay();
        let last = self.lanes.entry((from, to, lane)).or_default();
        *last = at.max(*last);
        *last
    }

    /// When a message arrives: never, once or twice.
    fn deliveries(&mut self, from: usize, to: usize, lane: u8) -> Vec<Time> {
        let way = *self.way(from, to);
        let raft = lane_number(Lane::Raft);
        let stuck = way.stuck > 0 && (lane == raft || lane == ANSWERS + raft);
        if way.cuts > 0 || stuck || self.dice.happens(way.loss) {
            return Vec::new();
        }
        let extra = if way.slow > 0 { self.dice.below(way.slow) } else { 0 };
        // Raft's port promises order per lane, and the engine relies on it; forwarded commands may overtake each other.
        let may_overtake = lane == lane_number(Lane::Forward);
        let first = if self.dice.happens(way.unordered) && may_overtake {
            self.now + self.delay() + extra
        } else {
            let at = self.now + self.delay() + extra;
            let last = self.lanes.entry((from, to, lane)).or_default();
            *last = at.max(*last);
            *last
        };
        let mut times = vec![first];
        if self.dice.happens(way.doubled) {
            let again = self.delay() * 4;
            times.push(first + again);
        }
        times
    }
}
