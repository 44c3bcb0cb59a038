//! The node's own file: everything about which two nodes may disagree. The rest is a replicated setting of group 0.
//!
//! Unknown keys are refused with the nearest known one; every value is checked before anything is opened.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use cluster_config::{ClusterId, Fingerprint, REPLICATION_MAX};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

mod auth;
mod backup;
mod describe;
mod limits;
mod objects;
mod push;
mod suggest;

use crate::{identity, objects as stores};

pub use auth::{Auth, ISSUERS_MAX, Issuer};
pub use backup::Backup;
pub(crate) use describe::changed;
pub use describe::{Key, Origin, default_file, keys, origins, schema};
pub use limits::{Limits, Quota, Rate};
pub use objects::ObjectStore;
pub use push::{Apns, Fcm, Push};

/// A node's configuration file.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This node's id; one of `cluster.nodes`. Never reused for another disk. Without `cluster.nodes` the cluster gives
    /// the id, and it is kept in the data folder.
    #[serde(default)]
    pub node: u64,
    /// The data folder. Everything durable is below it.
    #[serde(default = "data_default")]
    pub data: PathBuf,
    /// Where this node listens.
    #[serde(default)]
    pub listen: Listen,
    /// Where others reach this node, and what it can carry.
    #[serde(default)]
    pub advertise: Advertise,
    /// Certificates and keys, PEM files.
    #[serde(default)]
    pub tls: Tls,
    /// How the cluster is formed at its first start; ignored once group 0 has a state.
    #[serde(default)]
    pub cluster: Cluster,
    /// Issuers of tokens that are trusted besides the cluster itself.
    #[serde(default)]
    pub auth: Auth,
    /// How fast is too fast.
    #[serde(default)]
    pub limits: Limits,
    /// The disk.
    #[serde(default)]
    pub storage: Storage,
    /// Files that messages refer to.
    #[serde(default)]
    pub assets: Assets,
    /// Finding messages by their words.
    #[serde(default)]
    pub search: Search,
    /// Threads.
    #[serde(default)]
    pub runtime: Runtime,
    /// Logs.
    #[serde(default)]
    pub log: Log,
    /// Fault switches for demonstrations and tests.
    #[serde(default)]
    pub faults: Faults,
    /// Telling users who are away.
    #[serde(default)]
    pub push: Push,
    /// Backups.
    #[serde(default)]
    pub backup: Backup,
    /// A service that keeps files for whoever pays.
    #[serde(default)]
    pub object_store: ObjectStore,
}

/// Addresses to bind.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Clients: TCP (HTTPS, HTTP/2, WebSocket) and UDP (QUIC) on the same port.
    pub client: SocketAddr,
    /// Other nodes: TCP, mutual TLS.
    pub peer: SocketAddr,
    /// Operators: plain HTTP; bind it to loopback.
    pub operations: SocketAddr,
    /// Browsers on this machine: plain HTTP; must be a loopback address.
    pub plain: Option<SocketAddr>,
}

impl Default for Listen {
    fn default() -> Self {
        let everywhere = |port| SocketAddr::from(([0, 0, 0, 0], port));
        Self {
            client: everywhere(7400),
            peer: everywhere(7401),
            operations: SocketAddr::from(([127, 0, 0, 1], 7402)),
            plain: None,
        }
    }
}

/// How a node is known to the others.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Advertise {
    /// `host:port` where clients reach it; by default where it listens, at an address of this machine.
    pub client: Option<String>,
    /// `host:port` where other nodes reach it.
    pub peer: Option<String>,
    /// `host:port` where operators reach it.
    pub operations: Option<String>,
    /// What fails together with it, such as a rack; replicas are spread over zones.
    pub zone: Option<String>,
    /// How much it should carry relative to others.
    pub weight: u32,
}

impl Default for Advertise {
    fn default() -> Self {
        Self { client: None, peer: None, operations: None, zone: None, weight: 1 }
    }
}

/// Certificates and keys. Without `cluster.nodes` those that the cluster gave, in the data folder.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The cluster's own authority: signs every node, and here also the client plane.
    pub authority: PathBuf,
    /// The authority's key. Taken into group 0 at the founding, so that nodes can join by token; not read afterwards.
    pub authority_key: Option<PathBuf>,
    /// Chain for the client plane.
    pub client_certificate: PathBuf,
    /// Key of `client_certificate`.
    pub client_key: PathBuf,
    /// Chain for the peer plane; names this node's id.
    pub peer_certificate: PathBuf,
    /// Key of `peer_certificate`.
    pub peer_key: PathBuf,
}

/// The cluster at its first start.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// The cluster's name: part of every certificate and of every file header.
    pub id: String,
    /// Shards to create.
    pub shards: u32,
    /// Replicas of each shard.
    pub replication: u32,
    /// SHA-256, in hexadecimal, of a secret that makes its holder the first operator, once.
    pub claim: Option<String>,
    /// The first nodes, the same list in every file. Empty: `synod init` founds the cluster, or this node joins one.
    pub nodes: Vec<Member>,
}

impl Default for Cluster {
    fn default() -> Self {
        let id = "synod".to_owned();
        Self { id, shards: 16, replication: 3, claim: None, nodes: Vec::new() }
    }
}

/// One of the first nodes.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Where clients reach it.
    pub client: SocketAddr,
    /// Where nodes reach it.
    pub peer: SocketAddr,
    /// Where operators reach it.
    pub operations: SocketAddr,
}

/// The disk.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// `fjall`, `sled` or `memory`.
    pub engine: Engine,
    /// Size of a journal segment, bytes.
    pub segment_bytes: u64,
    /// File with the 32-byte node key that wraps the data keys; made at the first start when it is missing.
    pub node_key: Option<PathBuf>,
}

/// A table engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The default.
    Fjall,
    /// Selectable; slower, and its barrier is ours.
    Sled,
    /// Nothing survives the process: simulations only.
    Memory,
}

impl Default for Storage {
    fn default() -> Self {
        Self { engine: Engine::Fjall, segment_bytes: 16 << 20, node_key: None }
    }
}

/// Files that messages refer to. Nodes may disagree: each upload is judged by the node that takes it.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Assets {
    /// Where their bytes are kept instead of on the nodes' own disks: `s3://bucket/folder`, `gs://bucket/folder` or
    /// `az://container/folder`, the same in every node's file. Assets that are on nodes already stay there.
    pub store: Option<String>,
    /// Largest asset, bytes.
    pub bytes_max: u64,
    /// What one user may keep in all, bytes.
    pub quota_bytes: u64,
    /// Uploads that were never sent to anybody are deleted after so many seconds; so is what was begun and not ended.
    pub unsent_seconds: u64,
    /// In how many seconds a node looks at all its assets once: repairs what is missing, deletes what is over.
    pub sweep_seconds: u64,
}

impl Default for Assets {
    fn default() -> Self {
        let unsent_seconds = 24 * 60 * 60;
        Self {
            store: None,
            bytes_max: 256 << 20,
            quota_bytes: 2 << 30,
            unsent_seconds,
            sweep_seconds: 600,
        }
    }
}

/// Finding messages by their words. Nodes may disagree: each has an index of its own.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Search {
    /// Keep an index, and answer `/v1/search`. The index is sealed like everything in the data folder.
    pub enabled: bool,
}

impl Default for Search {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// Threads.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Runtime {
    /// Threads of the client and peer planes; 0: one per core.
    pub plane_threads: usize,
    /// Threads that groups are pinned to; 0: one per core.
    pub raft_threads: usize,
}

/// Logs.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A filter such as `info` or `info,node::session=debug`.
    pub filter: String,
    /// JSON lines instead of text.
    pub json: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info,openraft=warn".to_owned(), json: false }
    }
}

/// Fault switches.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Serve `POST /fault` on the operations port.
    pub enabled: bool,
}

/// Most shards a cluster may be made with: each costs every replica idle work.
pub const SHARDS_MAX: u32 = 256;
/// Smallest journal segment: below it, segment changes would dominate.
pub const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// Largest journal segment: above it, purging frees disk too coarsely.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

const _: () = assert!(SEGMENT_BYTES_MIN < SEGMENT_BYTES_MAX);

fn data_default() -> PathBuf {
    PathBuf::from("/var/lib/synod")
}

/// Why a configuration file cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, where, and what to write instead.
        problem: String,
    },
}

impl Config {
    /// Reads and checks the file at `path`. Relative paths inside are taken from its folder.
    ///
    /// # Errors
    /// When the file cannot be read, does not parse, has an unknown key or a value that cannot work.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let base = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, base)
            .map_err(|problem| ConfigError::Invalid { path: path.to_owned(), problem })
    }

    /// Parses and checks `text`; relative paths are taken from `base`.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to write instead.
    pub fn parse(text: &str, base: &Path) -> Result<Self, String> {
        let mut config: Self = toml::from_str(text).map_err(|error| suggest::explain(&error))?;
        config.resolve(base);
        config.check()?;
        Ok(config)
    }

    /// Whether the first nodes are named in files, so that none of them was let in by another.
    #[must_use]
    pub fn is_formed_by_file(&self) -> bool {
        !self.cluster.nodes.is_empty()
    }

    fn resolve(&mut self, base: &Path) {
        self.data = base.join(&self.data);
        let given = identity::Files::below(&self.data);
        let tls = &mut self.tls;
        for (file, given) in [
            (&mut tls.authority, given.authority),
            (&mut tls.client_certificate, given.client_certificate),
            (&mut tls.client_key, given.key.clone()),
            (&mut tls.peer_certificate, given.peer_certificate),
            (&mut tls.peer_key, given.key),
        ] {
            *file = if file.as_os_str().is_empty() { given } else { base.join(&*file) };
        }
        let others = self.storage.node_key.as_mut().into_iter().chain(self.auth.files());
        let others = others.chain(self.tls.authority_key.as_mut());
        let others = others.chain(self.push.files()).chain(self.backup.files());
        for file in others.chain(self.object_store.files()) {
            *file = base.join(&*file);
        }
    }

    fn check(&self) -> Result<(), String> {
        self.auth.check()?;
        self.limits.check()?;
        self.push.check()?;
        self.backup.check()?;
        self.check_cluster()?;
        require(self.advertise.weight >= 1, "advertise.weight: at least 1")?;
        require(
            (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.storage.segment_bytes),
            format_args!("storage.segment_bytes: {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}"),
        )?;
        if let Some(url) = &self.assets.store {
            stores::check(url).map_err(|problem| format!("assets.store: {problem}"))?;
        }
        require(self.assets.bytes_max > 0, "assets.bytes_max: at least 1")?;
        require(self.assets.unsent_seconds > 0, "assets.unsent_seconds: at least 1")?;
        require(self.assets.sweep_seconds > 0, "assets.sweep_seconds: at least 1")?;
        require(
            self.listen.plain.is_none_or(|plain| plain.ip().is_loopback()),
            "listen.plain: plain HTTP is for loopback addresses only",
        )
    }
}

impl Config {
    fn check_cluster(&self) -> Result<(), String> {
        let Cluster { id, shards, replication, claim, nodes } = &self.cluster;
        ClusterId::parse(id).map_err(|error| format!("cluster.id: {error}"))?;
        require(
            (1..=SHARDS_MAX).contains(shards),
            format_args!("cluster.shards: 1 to {SHARDS_MAX}"),
        )?;
        if let Some(claim) = claim {
            Fingerprint::try_from(claim.clone())
                .map_err(|error| format!("cluster.claim: {error}"))?;
        }
        if nodes.is_empty() {
            require(
                self.node == 0,
                "node: leave it out: without cluster.nodes the cluster gives ids",
            )?;
            return require(
                (1..=REPLICATION_MAX).contains(replication),
                format_args!("cluster.replication: 1 to {REPLICATION_MAX}"),
            );
        }
        let ids: BTreeSet<u64> = nodes.iter().map(|member| member.id).collect();
        require(ids.len() == nodes.len(), "cluster.nodes: two nodes have the same id")?;
        require(!ids.contains(&0), "cluster.nodes: ids begin at 1")?;
        require(ids.contains(&self.node), "node: this id is not among cluster.nodes")?;
        let nodes = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        require(
            (1..=nodes.min(REPLICATION_MAX)).contains(replication),
            format_args!("cluster.replication: 1 to the number of nodes, {nodes}"),
        )
    }
}

fn require(holds: bool, problem: impl fmt::Display) -> Result<(), String> {
    if holds { Ok(()) } else { Err(problem.to_string()) }
}

#[cfg(test)]
mod tests;
