//! Backups of a running node: one at a time, when somebody asks or when it is time, and what there is of them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chat::Timestamp;
use parking_lot::Mutex;
use proto::backup::{BackupId, Manifest};
use raft::{GroupId, Raft};
use serde_json::{Value, json};
use store::{NodeKey, SystemEntropy};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::mirror::{self, Copied};
use super::take::{Begun, Take, blocking};
use super::vault::{self, Vault};
use super::{Error, time};
use crate::asset::WeakAssets;
use crate::clock::Clock;
use crate::cluster::Configured;
use crate::config::Config;
use crate::objects::Objects;

/// How often the node looks whether it is time.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The first backup of a folder is not made while its node starts.
const FIRST_AFTER: Duration = Duration::from_secs(600);

/// What backups are made of and with.
pub(crate) struct Ports {
    pub(crate) config: Config,
    pub(crate) raft: Raft,
    pub(crate) configured: Configured,
    pub(crate) assets: Arc<OnceLock<WeakAssets>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stop: CancellationToken,
}

/// A handle on the backups of this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Backups(Arc<Inner>);

struct Inner {
    ports: Ports,
    state: Mutex<State>,
}

/// What is going on.
#[derive(Default)]
struct State {
    running: Option<(BackupId, Timestamp)>,
    /// Why the last one that was begun came to nothing.
    failed: Option<(BackupId, String)>,
}

impl Backups {
    pub(crate) fn new(ports: Ports) -> Self {
        Self(Arc::new(Inner { ports, state: Mutex::default() }))
    }

    /// Begins a backup, which goes on by itself.
    ///
    /// # Errors
    /// When one is being made already.
    pub(crate) fn start(&self) -> Result<BackupId, Error> {
        let ports = &self.0.ports;
        let at = ports.clock.now();
        let id = format!("{}-n{}", time::compact(at.0), ports.config.node);
        let id: BackupId = id.parse().expect("a time and a number are a name");
        let mut state = self.0.state.lock();
        if state.running.is_some() {
            return Err(Error::Busy);
        }
        state.running = Some((id.clone(), at));
        drop(state);
        let (this, stop) = (self.clone(), ports.stop.clone());
        let name = id.clone();
        tokio::spawn(async move {
            let made = this.make(Begun { id: name.clone(), at_ms: at.0 });
            let made = stop.run_until_cancelled(Box::pin(made)).await;
            let mut state = this.0.state.lock();
            state.running = None;
            state.failed = match made {
                Some(Err(error)) => {
                    metrics::counter!("synod_backup_failures_total").increment(1);
                    tracing::error!(%error, backup = %name, "a backup failed");
                    Some((name, error.to_string()))
                }
                _ => None,
            };
        });
        Ok(id)
    }

    async fn make(&self, begun: Begun) -> Result<(), Error> {
        let ports = &self.0.ports;
        let settings = &ports.config.backup;
        let config = ports.configured.borrow().clone();
        let assets = ports.assets.get().and_then(WeakAssets::upgrade);
        let (Some(config), Some(assets)) = (config, assets) else {
            return Err(Error::Unavailable("this node does not serve yet".to_owned()));
        };
        let vault = self.vault().await?;
        let (lock, mut vault) = blocking(move || (vault.lock(), vault)).await;
        let lock = lock?;
        let take = Take {
            raft: ports.raft.clone(),
            config,
            configured: ports.configured.clone(),
            assets,
            node: ports.config.node,
            bytes_per_second: settings.bytes_per_second,
        };
        let begun_at = Instant::now();
        let clock = Arc::clone(&ports.clock);
        let manifest;
        (vault, manifest) = take.run(vault, begun, move || clock.now().0).await?;
        let keep = settings.keep;
        let done = blocking(move || {
            vault.publish(&manifest)?;
            Ok::<_, Error>((vault.prune(keep)?, manifest))
        });
        let (pruned, manifest) = done.await?;
        told(&manifest, pruned, begun_at.elapsed());
        let copied = self.copy().await;
        // Held until the last chunk that is not needed any more is gone, and the copy is made.
        drop(lock);
        copied.map_err(|error| Error::NotCopied(Box::new(error)))
    }

    /// Makes the copy in the object store what the folder is, when there is to be one.
    async fn copy(&self) -> Result<(), Error> {
        let config = &self.0.ports.config;
        let Some(url) = config.backup.copy_to.clone() else { return Ok(()) };
        let settings = config.object_store.clone();
        let opened = blocking(move || Objects::open(&url, &settings)).await;
        let objects = opened.map_err(|error| Error::Refused(error.to_string()))?;
        let objects = objects.below(&config.cluster.id).below("backups");
        let objects = objects.below(&format!("n{}", config.node));
        let copied = mirror::push(config.backup.folder(&config.data), &objects).await?;
        let Copied { files, bytes, removed } = copied;
        tracing::info!(
            files,
            bytes,
            removed,
            "the folder of backups was copied to the object store"
        );
        Ok(())
    }

    /// The folder with its key, which is made at first use.
    async fn vault(&self) -> Result<Vault, Error> {
        let config = &self.0.ports.config;
        let (folder, path) = (config.backup.folder(&config.data), config.backup.key(&config.data));
        let opened = blocking(move || {
            let is_new = !path.exists();
            let key = NodeKey::load_or_create(&path, &SystemEntropy)?;
            if is_new {
                tracing::warn!(
                    path = %path.display(),
                    "a backup key was made: keep a copy of it elsewhere, without it no backup can be read"
                );
            }
            Ok(Vault::new(folder, &key))
        });
        opened.await
    }

    /// What there is and what is going on, for operators.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) async fn list(&self) -> Result<Value, Error> {
        let config = &self.0.ports.config;
        let folder = config.backup.folder(&config.data);
        let at = folder.clone();
        let listed = blocking(move || vault::list(&at)).await?;
        let backups: Vec<Value> = listed.iter().map(super::to_json).collect();
        let state = self.0.state.lock();
        Ok(json!({
            "schema": "synod/backups/v1",
            "node": config.node,
            "folder": folder,
            "every_seconds": config.backup.every_seconds,
            "keep": config.backup.keep,
            "running": state.running.as_ref().map(|(id, at)| json!({ "id": id, "begun_at_ms": at.0 })),
            "failed": state.failed.as_ref().map(|(id, why)| json!({ "id": id, "why": why })),
            "backups": backups,
        }))
    }

    /// Makes one whenever it is time, while this node leads group 0.
    pub(crate) async fn schedule(self) {
        let every = Duration::from_secs(self.0.ports.config.backup.every_seconds);
        if every.is_zero() {
            return;
        }
        let started = Instant::now();
        loop {
            tokio::time::sleep(LOOK_EVERY.min(every)).await;
            let leads = self.0.ports.raft.group(GroupId::CLUSTER);
            let leads = leads.is_some_and(|group| group.status().is_leader);
            if leads && self.is_due(every, started.elapsed()).await {
                // Somebody who asked for one at this moment was quicker.
                let _ = self.start();
            }
        }
    }

    async fn is_due(&self, every: Duration, up: Duration) -> bool {
        let config = &self.0.ports.config;
        let folder = config.backup.folder(&config.data);
        let listed = match blocking(move || vault::list(&folder)).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::error!(%error, "the backup folder cannot be read");
                return false;
            }
        };
        let begun = listed.iter().filter_map(|listed| listed.manifest.as_ref().ok());
        let newest = begun.map(|manifest| manifest.begun_at_ms).max();
        is_time(newest, self.0.ports.clock.now().0, every, up)
    }
}

/// Whether a backup is due: `every` after the one before, and the first a while after the node's start.
fn is_time(newest_ms: Option<u64>, now_ms: u64, every: Duration, up: Duration) -> bool {
    let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
    match newest_ms {
        // A clock that was ahead is no reason to wait for years.
        Some(newest) => newest > now_ms || now_ms - newest >= every_ms,
        None => up >= FIRST_AFTER.min(every),
    }
}

fn told(manifest: &Manifest, pruned: usize, took: Duration) {
    let totals = manifest.totals;
    metrics::counter!("synod_backups_total").increment(1);
    metrics::counter!("synod_backup_bytes_total").increment(totals.new_bytes);
    metrics::gauge!("synod_backup_newest_timestamp_seconds")
        .set(manifest.begun_at_ms as f64 / 1000.0);
    metrics::histogram!("synod_backup_seconds").record(took.as_secs_f64());
    if manifest.assets.missing > 0 {
        tracing::warn!(
            assets = manifest.assets.missing,
            "of some assets no node had the bytes; they are missing in the backup too"
        );
    }
    tracing::info!(
        backup = %manifest.id, bytes = totals.bytes, new_bytes = totals.new_bytes, pruned,
        seconds = took.as_secs_f64(), "a backup was made"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_made_when_the_last_one_is_old_and_the_first_not_at_once() {
        let (every, long) = (Duration::from_secs(60), Duration::from_secs(3600));
        assert!(is_time(Some(1_000), 61_000, every, Duration::ZERO));
        assert!(!is_time(Some(1_001), 61_000, every, long));
        assert!(is_time(Some(99_000), 61_000, every, Duration::ZERO), "a clock went back");
        assert!(!is_time(None, 61_000, every, Duration::from_secs(59)));
        assert!(is_time(None, 61_000, every, every));
        assert!(is_time(None, 61_000, 24 * long, FIRST_AFTER));
    }
}
