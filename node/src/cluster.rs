//! The machine of group 0 as raft drives it: `cluster_config` decides, the tables keep, a watch tells the node.
//!
//! Serves station 7 for the cluster's own group. The state is one row of a few kilobytes, so a snapshot of it is that row.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use cluster_config::{ClusterConfig, Raised, Unspoken};
use prost::Message as _;
use proto::cluster::ClusterCommand;
use proto::keys;
use raft::{AppliedState, CommittedEntry, Fatal, GroupId, Machine, Payload, Rows};
use store::tables::{Batch, Tables};
use tokio::sync::watch;

use crate::upgrade::Spoken;

/// The cluster's configuration as this node has applied it; `None` before the cluster is founded.
pub(crate) type Configured = watch::Receiver<Option<Arc<ClusterConfig>>>;

/// Drives `cluster_config` and persists what it decides.
pub(crate) struct ClusterMachine {
    tables: Arc<dyn Tables>,
    state: Option<ClusterConfig>,
    applied: AppliedState,
    staged: Vec<(Bytes, Bytes)>,
    unspoken: Arc<OnceLock<Unspoken>>,
    tell: watch::Sender<Option<Arc<ClusterConfig>>>,
}

impl ClusterMachine {
    /// Reads what survived and tells it at once. `unspoken` is set when the log comes to a feature level that this program does
    /// not speak: then it stops there.
    ///
    /// # Errors
    /// When the tables cannot be read or hold what no version of this program wrote.
    pub(crate) fn open(
        tables: Arc<dyn Tables>,
        unspoken: Arc<OnceLock<Unspoken>>,
    ) -> Result<(Self, Configured), Fatal> {
        let state = match tables.get(&keys::cluster_config()).map_err(fatal)? {
            Some(row) => Some(proto::cluster::decode_cluster_config(&row).map_err(fatal)?),
            None => None,
        };
        let applied = match tables.get(&keys::applied(GroupId::CLUSTER)).map_err(fatal)? {
            Some(row) => crate::shard::decode_applied(&row)?,
            None => AppliedState::default(),
        };
        let (tell, told) = watch::channel(state.clone().map(Arc::new));
        Ok((Self { tables, state, applied, staged: Vec::new(), unspoken, tell }, told))
    }

    fn apply_commands(&mut self, entry: &Bytes) -> Result<Vec<Bytes>, Fatal> {
        let entry = proto::log::Entry::decode(entry.clone()).map_err(fatal)?;
        let mut outcomes = Vec::with_capacity(entry.commands.len());
        for command in entry.commands {
            let ClusterCommand { actor, command } =
                proto::cluster::decode_cluster_command(&command).map_err(fatal)?;
            let applied = cluster_config::apply(&mut self.state, entry.at_ms, &actor, &command);
            if let Some(event) = &applied.event {
                tracing::info!(?event, "the cluster changed");
            }
            self.must_speak(self.state.as_ref().and_then(|state| state.raised.as_ref()))?;
            outcomes.push(proto::cluster::encode_cluster_outcome(&applied.outcome));
        }
        Ok(outcomes)
    }

    /// Nothing beyond this is applied or written: the next release goes on here.
    fn must_speak(&self, raised: Option<&Raised>) -> Result<(), Fatal> {
        Spoken::here().must_read(raised).map_err(|unspoken| {
            let reason = fatal(&unspoken);
            // Whoever was first has said the same.
            let _ = self.unspoken.set(unspoken);
            reason
        })
    }

    fn persist(&mut self) -> Result<(), Fatal> {
        let mut batch = Batch::new();
        if let Some(state) = &self.state {
            batch.put(keys::cluster_config(), proto::cluster::encode_cluster_config(state));
        }
        batch.put(keys::applied(GroupId::CLUSTER), crate::shard::encode_applied(&self.applied));
        self.tables.write(batch).map_err(fatal)?;
        let state = self.state.clone().map(Arc::new);
        self.tell.send_if_modified(|told| {
            let changed = *told != state;
            *told = state;
            changed
        });
        Ok(())
    }
}

impl Machine for ClusterMachine {
    fn applied(&self) -> Result<AppliedState, Fatal> {
        Ok(self.applied.clone())
    }

    fn apply(&mut self, entries: Vec<CommittedEntry>) -> Result<Vec<Vec<Bytes>>, Fatal> {
        let mut outcomes = Vec::with_capacity(entries.len());
        for entry in entries {
            assert!(self.applied.position.is_none_or(|last| last.index < entry.position.index));
            let answered = match &entry.payload {
                Payload::Entry(bytes) => self.apply_commands(bytes)?,
                Payload::Membership(_) | Payload::Blank => Vec::new(),
            };
            outcomes.push(if entry.wants_outcomes { answered } else { Vec::new() });
            self.applied = AppliedState {
                position: Some(entry.position),
                membership: entry.applied_membership,
            };
        }
        self.persist()?;
        Ok(outcomes)
    }

    fn flush(&mut self) -> Result<(), Fatal> {
        self.tables.flush().map_err(fatal)
    }

    fn view(&self) -> Result<Box<dyn Rows>, Fatal> {
        let row = self
            .state
            .as_ref()
            .map(|state| (keys::cluster_config(), proto::cluster::encode_cluster_config(state)));
        Ok(Box::new(OneRow(row)))
    }

    fn begin_install(&mut self) -> Result<(), Fatal> {
        self.staged.clear();
        Ok(())
    }

    fn stage(&mut self, rows: Vec<(Bytes, Bytes)>) -> Result<(), Fatal> {
        self.staged.extend(rows);
        Ok(())
    }

    fn install(&mut self, applied: AppliedState) -> Result<(), Fatal> {
        for (key, row) in std::mem::take(&mut self.staged) {
            if key != keys::cluster_config() {
                return Err(fatal("a snapshot of group 0 holds a foreign row"));
            }
            let raised = proto::cluster::decode_cluster_level(&row).map_err(fatal)?;
            self.must_speak(raised.as_ref())?;
            self.state = Some(proto::cluster::decode_cluster_config(&row).map_err(fatal)?);
        }
        self.applied = applied;
        self.persist()?;
        self.flush()
    }

    fn leading(&mut self, _is_leader: bool, _term: u64) {}
}

struct OneRow(Option<(Bytes, Bytes)>);

impl Rows for OneRow {
    fn next_chunk(&mut self, _bytes_max: usize) -> Result<Option<Vec<(Bytes, Bytes)>>, Fatal> {
        Ok(self.0.take().map(|row| vec![row]))
    }
}

fn fatal(error: impl std::fmt::Display) -> Fatal {
    Fatal::new(format!("group 0: {error}"))
}
