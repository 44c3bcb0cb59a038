//! Opens everything durable of a node: the key that seals, the journal, the tables; one folder, one process.

use std::path::Path;
use std::sync::Arc;

use store::seal::{NodeKey, Sealer, SystemEntropy};
use store::tables::{Engine, Tables, TablesOptions, open_tables};
use store::{Blobs, FsDisk, FsFolders, Journal, JournalConfig, StoreError};

use crate::config;

/// What a node keeps.
pub(crate) struct Opened {
    /// The log of all groups.
    pub(crate) journal: Journal,
    /// The state of all groups.
    pub(crate) tables: Arc<dyn Tables>,
    /// The bytes of assets.
    pub(crate) blobs: Blobs,
}

/// A data folder and whose it is.
pub(crate) struct Home<'a> {
    /// Where.
    pub(crate) folder: &'a Path,
    /// How things are kept.
    pub(crate) storage: &'a config::Storage,
    /// The cluster's name.
    pub(crate) cluster: &'a str,
    /// The node's id.
    pub(crate) node: u64,
}

/// Opens the data folder of `config`, which is made when it is new.
///
/// # Errors
/// When another process has it, it belongs to another node or cluster, its key is wrong, or a file is corrupt.
pub(crate) fn open(config: &config::Config) -> Result<Opened, StoreError> {
    let (folder, storage) = (&config.data, &config.storage);
    open_home(&Home { folder, storage, cluster: &config.cluster.id, node: config.node })
}

/// Opens a data folder, which is made when it is new.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_home(home: &Home<'_>) -> Result<Opened, StoreError> {
    let folder = home.folder;
    std::fs::create_dir_all(folder).map_err(|error| StoreError::io(folder, error))?;
    let sealer = sealer(home)?;
    let mut journal_config = JournalConfig::new(identity(home));
    journal_config.segment_bytes = home.storage.segment_bytes;
    journal_config.seal = Some(sealer.clone());
    let disk = Arc::new(FsDisk::open(folder.join("journal"))?);
    let journal = Journal::open(disk, journal_config)?;
    let folders = Arc::new(FsFolders::new(folder.join("assets")));
    let blobs = Blobs::new(folders, Some(sealer.clone()));
    blobs.sweep()?;
    let options = TablesOptions { sealer: Some(sealer), ..TablesOptions::default() };
    let tables = open_tables(engine(home.storage.engine), folder.join("tables"), &options)?;
    Ok(Opened { journal, tables, blobs })
}

fn sealer(home: &Home<'_>) -> Result<Arc<Sealer>, StoreError> {
    let named = home.storage.node_key.clone();
    let path = named.unwrap_or_else(|| home.folder.join("node.key"));
    let node_key = NodeKey::load_or_create(&path, &SystemEntropy)?;
    let ring = Sealer::open(&home.folder.join("data.keys"), node_key, Box::new(SystemEntropy))?;
    Ok(Arc::new(ring))
}

fn engine(engine: config::Engine) -> Engine {
    match engine {
        config::Engine::Fjall => Engine::Fjall,
        config::Engine::Sled => Engine::Sled,
        config::Engine::Memory => Engine::Memory,
    }
}

/// Which node of which cluster a journal belongs to: 8 bytes of the cluster's name hashed, 8 bytes of the node's id.
fn identity(home: &Home<'_>) -> [u8; 16] {
    let hashed = ring::digest::digest(&ring::digest::SHA256, home.cluster.as_bytes());
    let mut identity = [0; 16];
    identity[..8].copy_from_slice(&hashed.as_ref()[..8]);
    identity[8..].copy_from_slice(&home.node.to_be_bytes());
    identity
}
