//! What cluster to raise: pure values, and the names and addresses that follow from them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Most nodes of a cluster: more would only wait for each other on one machine.
pub const NODES_MAX: u8 = 7;
/// Port of the client plane, TCP and UDP, in each node's own network namespace.
pub const CLIENT_PORT: u16 = 9300;
/// Port of the peer plane.
pub const PEER_PORT: u16 = 9301;
/// Port of the operations plane.
pub const OPERATIONS_PORT: u16 = 9302;
/// Everything a run leaves on the machine is called after this and its run id.
pub const PREFIX: &str = "sj";
/// Longest run id: it is part of names of network namespaces and folders.
pub const RUN_ID_CHARS_MAX: usize = 16;

/// Where a node keeps its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskKind {
    /// An ext4 image of its own, loop-mounted: can lose power, be filled, frozen and throttled.
    LoopExt4 {
        /// Size of the image.
        mib: u32,
    },
    /// A plain folder: for machines without loop devices; the faults of a disk are skipped.
    Folder,
}

/// A cluster to raise.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Nodes, 1 to [`NODES_MAX`].
    pub nodes: u8,
    /// Shards of the cluster.
    pub shards: u32,
    /// Nodes that vote in each shard.
    pub replication: u8,
    /// Where nodes keep their data.
    pub disk: DiskKind,
    /// Part of every name on this machine: lower-case letters and digits.
    pub run_id: String,
    /// The binary to break.
    pub synod: PathBuf,
    /// Where images, logs and configuration files go; a folder of the run is made inside.
    pub folder: PathBuf,
    /// Size of a journal segment. Small ones make purges frequent.
    pub segment_bytes: u64,
    /// The nodes' log filter.
    pub log_filter: String,
    /// Whether nodes run with the shim of clocks and disk errors in front of the C library.
    pub shim: bool,
    /// More lines for every node's file, at its end: whole TOML tables.
    pub more: String,
}

impl Plan {
    /// Three nodes of `synod` with images of 1 GiB below the system's folder for temporary files.
    #[must_use]
    pub fn new(synod: impl Into<PathBuf>, run_id: impl Into<String>) -> Self {
        Self {
            nodes: 3,
            shards: 16,
            replication: 3,
            disk: DiskKind::LoopExt4 { mib: 1024 },
            run_id: run_id.into(),
            synod: synod.into(),
            folder: std::env::temp_dir(),
            segment_bytes: 4 << 20,
            log_filter: "info,openraft=warn".to_owned(),
            shim: true,
            more: String::new(),
        }
    }

    /// What is wrong with this plan, if anything.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if self.nodes == 0 || self.nodes > NODES_MAX {
            return Some(format!("nodes: 1 to {NODES_MAX}"));
        }
        let id = &self.run_id;
        if id.is_empty() || id.len() > RUN_ID_CHARS_MAX || !id.bytes().all(legal) {
            return Some(format!("run id: 1 to {RUN_ID_CHARS_MAX} of a-z and 0-9"));
        }
        if !self.synod.is_file() {
            return Some(format!("{} is not there", self.synod.display()));
        }
        None
    }

    /// The folder of this run.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.folder.join(format!("{PREFIX}-{}", self.run_id))
    }

    /// All nodes, counted from 1.
    pub fn all(&self) -> impl Iterator<Item = u8> + use<> {
        1..=self.nodes
    }

    /// The most nodes that can be missing while the others are a quorum.
    #[must_use]
    pub fn minority(&self) -> u8 {
        (self.nodes - 1) / 2
    }
}

/// Who has an interface on the bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A node, from 1.
    Node(u8),
    /// All clients together.
    Client,
}

impl Host {
    /// Short name, in namespaces and interfaces.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Node(node) => format!("n{node}"),
            Self::Client => "c".to_owned(),
        }
    }

    /// Its address, the same in every run: the networks of two runs do not know each other. From the range
    /// that is kept for measurements (RFC 2544).
    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        match self {
            Self::Node(node) => Ipv4Addr::new(198, 18, 0, 10 + node),
            Self::Client => Ipv4Addr::new(198, 18, 0, 200),
        }
    }

    /// A socket address of this host.
    #[must_use]
    pub const fn at(self, port: u16) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(self.address()), port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_that_could_name_something_else_is_refused() {
        let exe = std::env::current_exe().expect("a test has a file");
        for bad in ["", "../x", "a b", "UPPER", "a-b", "abcdefghijklmnopq"] {
            assert!(Plan::new(&exe, bad).problem().is_some(), "{bad}");
        }
        assert_eq!(Plan::new(&exe, "r7").problem(), None);
        assert!(Plan::new("/nowhere/synod", "r7").problem().is_some());
    }

    #[test]
    fn a_minority_leaves_a_quorum() {
        let mut plan = Plan::new("x", "r1");
        for (nodes, minority) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (7, 3)] {
            plan.nodes = nodes;
            assert_eq!(plan.minority(), minority);
            assert!((nodes - minority) * 2 > nodes);
        }
    }
}
