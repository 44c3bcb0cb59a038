//! The peer plane: what nodes say to each other, over tonic and mutual TLS with the cluster's own authority.
//!
//! Three lanes on separate connections (raft, forward, bulk), so that none waits behind another.
//! For each direction of calling there is one long-lived stream of batches per peer and lane:
//! calls that wait together travel together, and nothing is spawned for a single call.
//! A node is who its certificate says (`node-<id>.<cluster>.synod`), checked at both ends; what a
//! message claims about its sender does not exist. Node-level liveness lives here too: one
//! heartbeat per pair and direction instead of one per raft group.
//!
//! It does not know what the bytes mean, does not retry calls, and does not resolve leaders.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};

mod bulk;
mod calls;
mod detector;
mod disk;
mod error;
mod gate;
mod identity;
mod inbound;
mod limits;
mod link;
mod pace;
mod peers;
mod plane;
mod service;

pub use disk::DiskState;
pub use error::{Certainty, Error, LinkFailure, PeerError, RefusedLinks, Retry, code};
pub use identity::Identity;
pub use plane::{PeerPlane, PeerStatus};

/// Which connection a call travels on; each has its own flow control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Consensus: small, urgent, carries the heartbeats.
    Raft,
    /// Requests passed on to the node that leads.
    Forward,
    /// Snapshots and blobs.
    Bulk,
}

impl Lane {
    /// Every lane, in the order of urgency.
    pub const ALL: [Lane; 3] = [Lane::Raft, Lane::Forward, Lane::Bulk];

    /// The lane's name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Lane::Raft => "raft",
            Lane::Forward => "forward",
            Lane::Bulk => "bulk",
        }
    }
}

/// What a node needs to take part in the peer plane.
#[derive(Debug)]
pub struct Config {
    /// This node's id, as in its certificate.
    pub node: u64,
    /// The cluster's name, as in every certificate.
    pub cluster: String,
    /// Where peers reach this node. Port 0 takes a free one, see [`PeerPlane::local_addr`].
    pub listen: SocketAddr,
    /// Certificate, key and the authority that vouches for peers.
    pub identity: Identity,
    /// The other nodes: id to `host:port`. More may come with [`PeerPlane::add_peer`].
    pub peers: BTreeMap<u64, String>,
    /// A sign of life is sent when a raft stream has been silent this long.
    pub heartbeat: Duration,
    /// A peer not heard for this long is held for dead.
    pub dead_after: Duration,
}

impl Config {
    /// The usual distance of heartbeats.
    pub const HEARTBEAT: Duration = Duration::from_millis(100);
    /// The usual patience: three heartbeats may be lost or late, the fourth may not.
    pub const DEAD_AFTER: Duration = Duration::from_millis(400);
}

/// What a node does with calls of its peers.
///
/// Both methods are invoked synchronously in the order in which calls arrived on their lane, on
/// the stream's own task: take what needs an order before returning the future. The future is
/// polled on that task too (no hop, no spawn), so it must wait, not compute. It is dropped when
/// the caller's link ends.
pub trait PeerHandler: Send + Sync + 'static {
    /// Answers one call of node `from`. `Err` is a stable failure code that the caller sees as
    /// [`PeerError::Refused`].
    fn call(
        &self,
        from: u64,
        lane: Lane,
        request: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, String>>;

    /// Takes one bulk transfer of node `from`. A chunk stream that ends with `None` is complete;
    /// one whose sender gave up yields an error first. Not reading it is backpressure. When the
    /// sender goes away or its link ends, the future is dropped where it stands.
    fn bulk(
        &self,
        from: u64,
        header: Bytes,
        chunks: BoxStream<'static, Result<Bytes, PeerError>>,
    ) -> BoxFuture<'static, Result<Bytes, String>>;
}

/// A change in what this node believes about a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Liveness {
    /// The peer.
    pub node: u64,
    /// Heard within the last `dead_after`, and its connection stands.
    pub alive: bool,
}
