//! Who is alive, as far as this node can tell.
//!
//! Two kinds of evidence. **Silence**: nothing heard on any lane for `dead_after`. **Loss**: an
//! established raft link ended *and* the attempt to dial again, made at once, was refused or broke.
//! A link that merely flaps is redialled within a millisecond or two and nobody is held for dead; a
//! killed process closes its sockets and its listener together, so it is noticed just as fast. A
//! dial that hangs proves nothing: then silence decides.
//!
//! A node that was itself stopped or starved has heard nobody, which says nothing about the others:
//! when the watch comes too late to its own appointment it judges no one for two heartbeats.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, broadcast, watch},
    time::Instant,
};

use super::{
    Liveness,
    limits::EVENTS_MAX,
    peers::{Peer, Peers},
};

/// What is known about one peer's pulse.
pub(super) struct Pulse {
    /// Microseconds since the detector began.
    heard: AtomicU64,
    alive: AtomicBool,
    /// Goes up each time the peer is held for dead: every link to it ends.
    deaths: watch::Sender<u64>,
}

impl Pulse {
    pub(super) fn new() -> Pulse {
        Pulse {
            heard: AtomicU64::new(0),
            alive: AtomicBool::new(false),
            deaths: watch::Sender::new(0),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    pub(super) fn deaths(&self) -> watch::Receiver<u64> {
        self.deaths.subscribe()
    }

    /// Tells every link to the peer to end.
    pub(super) fn end_links(&self) {
        self.deaths.send_modify(|n| *n += 1);
    }
}

/// The detector of one node.
pub(super) struct Detector {
    began: Instant,
    heartbeat: Duration,
    dead_after: Duration,
    events: broadcast::Sender<Liveness>,
    /// One change at a time, so that events are in the order of the changes.
    changing: Mutex<()>,
    born: Notify,
}

impl Detector {
    pub(super) fn new(heartbeat: Duration, dead_after: Duration) -> Detector {
        Detector {
            began: Instant::now(),
            heartbeat,
            dead_after,
            events: broadcast::Sender::new(EVENTS_MAX),
            changing: Mutex::new(()),
            born: Notify::new(),
        }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Liveness> {
        self.events.subscribe()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// A packet of this peer arrived.
    pub(super) fn heard(&self, peer: &Peer) {
        let pulse = &peer.pulse;
        pulse.heard.store(self.now(), Ordering::Release);
        if !pulse.is_alive() {
            self.change(peer, true);
            self.born.notify_one();
        }
    }

    /// The peer cannot be reached right after its link was lost, or it was removed.
    pub(super) fn lost(&self, peer: &Peer) {
        self.change(peer, false);
    }

    fn change(&self, peer: &Peer, alive: bool) {
        let _one_at_a_time = self.changing.lock();
        if peer.pulse.alive.swap(alive, Ordering::AcqRel) == alive {
            return;
        }
        let node = peer.node;
        tracing::info!(peer = node, alive, "peer liveness changed");
        if !alive {
            // Before anybody hears of it: whoever does finds that calls fail at once.
            peer.take_down();
        }
        // Nobody listens: then nobody needs to know.
        let _ = self.events.send(Liveness { node, alive });
    }

    /// Watches for silence. Never returns.
    pub(super) async fn watch(self: Arc<Self>, peers: Arc<Peers>) {
        let dead_after = micros(self.dead_after);
        let (mut due, mut lenient_until) = (u64::MAX, 0);
        loop {
            self.wait(due, lenient_until).await;
            let now = self.now();
            if due != u64::MAX && now > due.max(lenient_until) + micros(self.heartbeat) {
                lenient_until = now + 2 * micros(self.heartbeat);
            }
            due = u64::MAX;
            for peer in peers.all() {
                let pulse = &peer.pulse;
                if !pulse.is_alive() {
                    continue;
                }
                let silent_at = pulse.heard.load(Ordering::Acquire) + dead_after;
                if silent_at <= now && lenient_until <= now {
                    self.change(&peer, false);
                } else {
                    due = due.min(silent_at);
                }
            }
        }
    }

    /// Until the next appointment, or until somebody new is alive.
    async fn wait(&self, due: u64, lenient_until: u64) {
        if due == u64::MAX {
            return self.born.notified().await;
        }
        let at = self.began + Duration::from_micros(due.max(lenient_until));
        tokio::select! {
            () = tokio::time::sleep_until(at) => {}
            () = self.born.notified() => {}
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
