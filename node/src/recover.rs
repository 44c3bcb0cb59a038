//! A cluster whose quorum is gone for good: what the data folders of survivors hold, and how one of them goes on alone.
//!
//! Works on folders of nodes that do not run; their locks see to that. What the lost nodes had beyond the survivor's logs is lost,
//! and nobody can say what that was: a plan says how far the logs go, an operator decides. Everything else is as if the
//! membership had been changed in order: one more entry in each log. Group 0's log says who did it, and begins a new history
//! epoch.

use std::collections::BTreeMap;

use cluster_config::{ClusterConfig, Command};
use prost::Message as _;
use proto::cluster::ClusterCommand;
use raft::{Fatal, GroupId, NodeId, Reach};
use thiserror::Error;

use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::disk;
use crate::identity::{self, IdentityError};
use crate::shard;
use crate::upgrade::Spoken;

/// Why nothing was changed, or not everything.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// The folder is nobody's.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The folder cannot be opened: a node runs there, or a file is not what it was.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// A log cannot be read or written. Doing it again is safe.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// The node was never part of a cluster that decided anything.
    #[error("{0}")]
    Refused(String),
}

/// What one data folder holds.
#[derive(Debug)]
pub struct Survivor {
    /// Whose it is.
    pub node: u64,
    /// The cluster's name.
    pub cluster: String,
    /// All nodes of the cluster, as this one knew it last.
    pub nodes: Vec<u64>,
    /// How often its history began anew.
    pub history_epoch: u64,
    /// How far each group's log goes.
    pub groups: BTreeMap<u32, Reached>,
}

/// How far a group's log goes, in the order in which logs are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reached {
    /// Term of the last entry.
    pub term: u64,
    /// Its index.
    pub index: u64,
    /// Up to where it is applied here; the rest may or may not have been confirmed to anybody.
    pub applied: u64,
}

/// A folder that is open, and locked against its node.
struct Folder {
    opened: disk::Opened,
    config: Config,
    cluster: ClusterConfig,
}

/// Looks at the data folder of the file `config`. Nothing is changed.
///
/// # Errors
/// [`RecoverError`].
pub fn survey(config: Config) -> Result<Survivor, RecoverError> {
    let folder = Folder::open(config)?;
    let survivor = folder.survivor();
    folder.opened.journal.close();
    survivor
}

/// Makes the node of the file `config` the whole cluster, in the name of `actor`. Durable on return, which says what it was before.
///
/// # Errors
/// [`RecoverError`]. After [`RecoverError::Fatal`] it may be done again.
pub fn recover(config: Config, actor: &str) -> Result<Survivor, RecoverError> {
    let folder = Folder::open(config)?;
    let survivor = folder.survivor();
    let done = folder.recover(actor);
    folder.opened.journal.close();
    done?;
    survivor
}

impl Folder {
    fn open(mut config: Config) -> Result<Self, RecoverError> {
        identity::adopt(&mut config)?;
        let opened = disk::open(&config)?;
        let cluster = newest(&opened)?.ok_or_else(|| {
            RecoverError::Refused("this node never heard what the cluster is".to_owned())
        })?;
        Ok(Self { opened, config, cluster })
    }

    fn survivor(&self) -> Result<Survivor, RecoverError> {
        let mut groups = BTreeMap::new();
        for (group, Reach { last, .. }) in raft::reach(&self.opened.journal)? {
            let Some(last) = last else { continue };
            let applied = applied(&self.opened, group)?.unwrap_or(0);
            groups.insert(group.0, Reached { term: last.term, index: last.index, applied });
        }
        Ok(Survivor {
            node: self.config.node,
            cluster: self.cluster.cluster.to_string(),
            nodes: self.cluster.nodes.keys().map(|node| node.0).collect(),
            history_epoch: self.cluster.history_epoch,
            groups,
        })
    }

    /// Shards first: until group 0 is changed, the node waits for the others when it is started, and this can be done again.
    fn recover(&self, actor: &str) -> Result<(), RecoverError> {
        let survivor = NodeId(self.config.node);
        if !self.cluster.nodes.contains_key(&survivor) {
            let problem = format!("node {survivor} is no part of the cluster any more");
            return Err(RecoverError::Refused(problem));
        }
        let (journal, at_ms) = (&self.opened.journal, SystemClock.now().0);
        for group in self.cluster.shards.keys() {
            raft::recover(journal, *group, survivor, (at_ms, Vec::new()))?;
        }
        let command = proto::cluster::encode_cluster_command(actor, &Command::Recover { survivor });
        raft::recover(journal, GroupId::CLUSTER, survivor, (at_ms, vec![command]))?;
        Ok(())
    }
}

/// Up to which index the rows of a group are.
fn applied(opened: &disk::Opened, group: GroupId) -> Result<Option<u64>, RecoverError> {
    let Some(row) = opened.tables.get(&proto::keys::applied(group))? else { return Ok(None) };
    Ok(shard::decode_applied(&row)?.position.map(|at| at.index))
}

/// The cluster as it is at the end of this node's log: rows are written behind it.
fn newest(opened: &disk::Opened) -> Result<Option<ClusterConfig>, RecoverError> {
    let broken = |error: &dyn std::fmt::Display| Fatal::new(format!("group 0: {error}"));
    let row = opened.tables.get(&proto::keys::cluster_config())?;
    let config = row.map(|row| proto::cluster::decode_cluster_config(&row)).transpose();
    let mut config = config.map_err(|error| broken(&error))?;
    let must_speak = |config: &Option<ClusterConfig>| {
        let raised = config.as_ref().and_then(|config| config.raised.as_ref());
        Spoken::here().must_read(raised).map_err(|error| broken(&error))
    };
    must_speak(&config)?;
    let from = applied(opened, GroupId::CLUSTER)?.map_or(0, |index| index + 1);
    for said in raft::said_from(&opened.journal, GroupId::CLUSTER, from)? {
        let entry = proto::log::Entry::decode(said).map_err(|error| broken(&error))?;
        for command in entry.commands {
            let command = proto::cluster::decode_cluster_command(&command);
            let ClusterCommand { actor, command } = command.map_err(|error| broken(&error))?;
            cluster_config::apply(&mut config, entry.at_ms, &actor, &command);
            must_speak(&config)?;
        }
    }
    Ok(config)
}
