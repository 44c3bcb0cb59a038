//! The peers this node knows, and what it keeps for each of them.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    Lane, LinkFailure,
    calls::Line,
    detector::Pulse,
    disk::SaidDisk,
    gate::Gate,
    limits::{CONNECTIONS_MAX, TRANSFERS_MAX},
};

/// One peer.
pub(super) struct Peer {
    pub(super) node: u64,
    pub(super) address: Mutex<String>,
    pub(super) gate: Arc<Gate>,
    pub(super) pulse: Pulse,
    /// What it says of its disk.
    pub(super) disk: SaidDisk,
    /// Ends when the peer is removed or the plane stops.
    pub(super) stop: CancellationToken,
    /// Connections that this peer has opened to us.
    pub(super) connections: Arc<Semaphore>,
    /// Bulk transfers that this peer has under way to us.
    pub(super) transfers: Arc<Semaphore>,
    lines: [Arc<Line>; 3],
    failures: Mutex<[Option<LinkFailure>; 3]>,
}

impl Peer {
    pub(super) fn new(node: u64, address: String, stop: CancellationToken) -> Peer {
        Peer {
            node,
            address: Mutex::new(address),
            gate: Arc::default(),
            pulse: Pulse::new(),
            disk: SaidDisk::default(),
            stop,
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            transfers: Arc::new(Semaphore::new(TRANSFERS_MAX)),
            lines: Default::default(),
            failures: Mutex::default(),
        }
    }

    pub(super) fn line(&self, lane: Lane) -> &Arc<Line> {
        &self.lines[lane as usize]
    }

    /// Ends every link to the peer; calls fail from now on, and those under way are answered.
    pub(super) fn take_down(&self) {
        self.lines.iter().for_each(|line| line.down());
        self.pulse.end_links();
    }

    /// Notes why a lane is down, or that it is up. Returns true when this is news.
    pub(super) fn note(&self, lane: Lane, failure: Option<LinkFailure>) -> bool {
        let mut failures = self.failures.lock();
        let news = failures[lane as usize] != failure;
        failures[lane as usize] = failure;
        news
    }

    pub(super) fn failures(&self) -> [Option<LinkFailure>; 3] {
        self.failures.lock().clone()
    }
}

/// All known peers by id. Read for every call, written when the cluster changes.
#[derive(Default)]
pub(super) struct Peers {
    by_node: RwLock<BTreeMap<u64, Arc<Peer>>>,
}

impl Peers {
    pub(super) fn find(&self, node: u64) -> Option<Arc<Peer>> {
        self.by_node.read().get(&node).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Peer>> {
        self.by_node.read().values().cloned().collect()
    }

    /// Adds a peer. Gives back the known one if the id is taken.
    pub(super) fn insert(&self, peer: Arc<Peer>) -> Result<(), Arc<Peer>> {
        let mut by_node = self.by_node.write();
        if let Some(known) = by_node.get(&peer.node) {
            return Err(known.clone());
        }
        by_node.insert(peer.node, peer);
        Ok(())
    }

    pub(super) fn remove(&self, node: u64) -> Option<Arc<Peer>> {
        self.by_node.write().remove(&node)
    }
}
