//! Real `synod` processes on one machine, each in its own network namespace and on its own disk image.
//!
//! Raises, watches, stops, kills and tears down; what is done to them for harm is in `nemesis`, with the means of `net`
//! and `disk`. Nothing here judges, and nothing here removes what this run did not make.

mod plan;
mod setback;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

pub use plan::{
    CLIENT_PORT, DiskKind, Host, NODES_MAX, OPERATIONS_PORT, PEER_PORT, PREFIX, Plan,
    RUN_ID_CHARS_MAX,
};
pub use setback::{Doing, Setback};

/// A raised cluster. Dropping it ends everything that it started.
#[derive(Debug)]
pub struct Cluster {
    plan: Plan,
}

impl Cluster {
    /// Raises it and waits until every node says that it serves.
    ///
    /// # Errors
    /// When the machine lacks what the plan needs, or a node does not come up; everything is removed again.
    pub fn raise(plan: &Plan) -> Result<Self, Setback> {
        let _ = plan;
        Err(Setback::new("not here yet"))
    }
    /// How many nodes.
    #[must_use]
    pub fn nodes(&self) -> u8 {
        self.plan.nodes
    }
    /// Where clients reach a node, from the client namespace.
    #[must_use]
    pub fn client_addr(&self, node: u8) -> SocketAddr {
        Host::Node(node).at(CLIENT_PORT)
    }
    /// Where operators reach a node, from the client namespace.
    #[must_use]
    pub fn operations_addr(&self, node: u8) -> SocketAddr {
        Host::Node(node).at(OPERATIONS_PORT)
    }
    /// The authority that signs every node's certificate, PEM. Certificates name the node's address.
    #[must_use]
    pub fn ca_pem(&self) -> Vec<u8> {
        Vec::new()
    }
    /// A node's log, over all its starts.
    #[must_use]
    pub fn logs(&self, node: u8) -> PathBuf {
        self.plan.home().join(format!("n{node}.log"))
    }
    /// Who leads which group, and in which term, as far as somebody knows it now.
    #[must_use]
    pub fn leaders(&self) -> BTreeMap<u32, (u8, u64)> {
        BTreeMap::new()
    }
    /// The same command, to be run in the client namespace. It can be spawned like the original.
    #[must_use]
    pub fn in_client_namespace(&self, command: Command) -> Command {
        command
    }
}
