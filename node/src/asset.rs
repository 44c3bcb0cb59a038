//! Assets: the bytes that messages refer to. Taken in as they come, kept by a quorum of nodes, served by any.
//!
//! Deciding is `chat`'s (who owns what, where it was sent, what counts), the record is replicated like everything
//! else, and the bytes rest in `store`'s blobs beside it. This room moves them: from a client to this disk, from here
//! to the other replicas over the bulk lane, and back in pieces over the forward lane for whoever asks a node that
//! does not have them.
//!
//! Laws:
//! * An upload is answered when its bytes are on stable storage of a majority of its replicas, or in the object store
//!   when there is one, **and** its record is committed; until then there is nothing that anybody could refer to.
//! * Whoever reads must be the owner, or at that moment a member of a conversation that it was sent to.
//! * It is sent to a conversation (granted) before the message that names it is proposed, and only by those who may
//!   read it.

mod access;
mod intake;
mod kind;
mod local;
mod mention;
mod pieces;
mod spread;
mod steps;
mod stored;
mod sweep;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use chat::AssetId;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub(crate) use local::Local;
pub(crate) use mention::mentioned;
pub(crate) use steps::{Progress, Step};
pub(crate) use upload::{Incoming, Made};

use crate::clock::{Clock, Entropy};
use crate::config;
use crate::history::Replica;
use crate::objects::Objects;
use crate::peers::Peers;
use crate::router::Router;

/// Uploads that one node takes at a time: each holds half a megabyte, an open file and a place on the bulk lane.
const UPLOADS_MAX: usize = 64;
/// Assets that are remembered as damaged here until the sweep comes by.
const SUSPECTS_MAX: usize = 1024;
/// One piece that travels or is read at a time.
pub(crate) const PIECE_BYTES: usize = 256 << 10;
/// Longest piece that one node asks another for.
pub(crate) const PIECE_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(PIECE_BYTES <= PIECE_BYTES_MAX);
const _: () = assert!(PIECE_BYTES.is_multiple_of(store::blobs::SEGMENT_BYTES), "whole segments");

/// The nodes that are to have what lies in a slot; the fan of replicas as group 0 has it now.
pub(crate) type Placement = Arc<dyn Fn(u16) -> Vec<u64> + Send + Sync>;

/// Whether this node leads the shard of a slot now.
pub(crate) type Leads = Arc<dyn Fn(u16) -> bool + Send + Sync>;

/// What this room is built on.
pub(crate) struct Ports {
    /// This node.
    pub(crate) node: u64,
    /// Its disk.
    pub(crate) local: Local,
    /// The others.
    pub(crate) peers: Peers,
    /// Who is to have what.
    pub(crate) placement: Placement,
    /// Whether this node leads the shard of a slot.
    pub(crate) leads: Leads,
    /// The way to the shards.
    pub(crate) router: Router,
    /// Applied state.
    pub(crate) replica: Arc<dyn Replica>,
    /// Wall time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Randomness: ids.
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Where bytes are kept instead of on the nodes' disks, if anywhere.
    pub(crate) objects: Option<Objects>,
    /// Limits.
    pub(crate) settings: config::Assets,
    /// When it is over.
    pub(crate) stop: CancellationToken,
}

/// A cheap handle on this node's part in assets.
#[derive(Clone)]
pub(crate) struct Assets {
    ports: Arc<Ports>,
    state: Arc<State>,
}

/// What is under way.
struct State {
    /// Places for uploads.
    uploads: Arc<Semaphore>,
    /// Places for copies, by the node that they go to.
    copies: Mutex<BTreeMap<u64, Arc<Semaphore>>>,
    /// Those that could not be read here. The sweep looks at them first of all.
    suspects: Mutex<BTreeSet<AssetId>>,
    /// Uploads in steps that are open.
    sessions: steps::Sessions,
}

/// A handle that keeps nothing open: for those whom assets themselves reach, as the other nodes do.
#[derive(Clone)]
pub(crate) struct WeakAssets {
    ports: Weak<Ports>,
    state: Arc<State>,
}

impl WeakAssets {
    /// The handle, while this node serves.
    pub(crate) fn upgrade(&self) -> Option<Assets> {
        Some(Assets { ports: self.ports.upgrade()?, state: Arc::clone(&self.state) })
    }
}

impl Assets {
    /// Assets over these ports.
    pub(crate) fn new(ports: Ports) -> Self {
        let state = State {
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
            copies: Mutex::default(),
            suspects: Mutex::default(),
            sessions: steps::Sessions::default(),
        };
        Self { ports: Arc::new(ports), state: Arc::new(state) }
    }

    /// See [`WeakAssets`].
    pub(crate) fn downgrade(&self) -> WeakAssets {
        WeakAssets { ports: Arc::downgrade(&self.ports), state: Arc::clone(&self.state) }
    }

    /// Largest asset.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.ports.settings.bytes_max
    }

    /// Notes that an asset cannot be read here.
    fn suspect(&self, id: AssetId) {
        let mut suspects = self.state.suspects.lock();
        if suspects.len() < SUSPECTS_MAX {
            suspects.insert(id);
        }
    }

    fn new_id(&self) -> AssetId {
        let mut id = [0; 16];
        self.ports.entropy.fill(&mut id);
        AssetId::new(id)
    }

    /// Lets something go on by itself, at most until this node stops.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.ports.stop.clone();
        tokio::spawn(async move {
            stop.run_until_cancelled(work).await;
        });
    }
}
