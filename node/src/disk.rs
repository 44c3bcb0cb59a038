//! Opens everything durable of a node: the key that seals, the journal, the tables; one folder, one process.
//!
//! Law: of damaged tables nothing is deleted or mended in place. They are set aside once, under another name, and the node
//! begins without a state: log and votes are whole, so each group takes what is missing from its log, or asks the others.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use store::seal::{NodeKey, Sealer, SystemEntropy};
use store::tables::{Engine, Tables, TablesOptions, open_tables};
use store::{Blobs, FsDisk, FsFolders, Journal, JournalConfig, StoreError};

use crate::clock::{Clock as _, SystemClock};
use crate::config;
use crate::damage::Damages;

/// What the folder of tables is called that were set aside, before the time.
const SET_ASIDE: &str = "tables.damaged-";
/// How often is looked whether an operator has removed it.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What a node keeps.
pub(crate) struct Opened {
    /// The log of all groups.
    pub(crate) journal: Journal,
    /// The state of all groups.
    pub(crate) tables: Arc<dyn Tables>,
    /// The bytes of assets.
    pub(crate) blobs: Blobs,
    /// The index of words.
    pub(crate) index: Blobs,
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
    /// Whether there may be others who have what damaged tables had.
    pub(crate) has_others: bool,
}

/// Opens the data folder of `config`, which is made when it is new.
///
/// # Errors
/// When another process has it, it belongs to another node or cluster, its key is wrong, or a file is corrupt.
pub(crate) fn open(config: &config::Config) -> Result<Opened, StoreError> {
    let (folder, storage) = (&config.data, &config.storage);
    // Whoever formed the cluster by itself may have been joined since, and has a log of that.
    let has_others = !config.is_formed_by_file() || config.cluster.nodes.len() > 1;
    let cluster = &config.cluster.id;
    open_home(&Home { folder, storage, cluster, node: config.node, has_others })
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
    let index = Arc::new(FsFolders::new(folder.join("search")));
    let index = Blobs::new(index, Some(sealer.clone()));
    index.sweep()?;
    let options = TablesOptions { sealer: Some(sealer), ..TablesOptions::default() };
    let open = || open_tables(engine(home.storage.engine), folder.join("tables"), &options);
    let tables = match open() {
        Err(damage @ StoreError::Corrupt { .. }) if home.has_others => {
            set_aside(folder, damage)?;
            open()?
        }
        opened => opened?,
    };
    Ok(Opened { journal, tables, blobs, index })
}

/// The tables that were set aside in `folder`.
fn aside(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let is_aside = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SET_ASIDE))
    };
    entries.filter_map(|entry| Some(entry.ok()?.path())).find(is_aside)
}

/// Moves damaged tables out of the way.
///
/// # Errors
/// The damage itself when there are such tables already: a disk that does this again is to be looked at by somebody.
fn set_aside(folder: &Path, damage: StoreError) -> Result<(), StoreError> {
    if aside(folder).is_some() {
        return Err(damage);
    }
    let to = folder.join(format!("{SET_ASIDE}{}", SystemClock.now().0));
    tracing::error!(%damage, to = %to.display(), "the tables are set aside");
    let failed = |error| StoreError::io(folder, error);
    std::fs::rename(folder.join("tables"), &to).map_err(failed)?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Tells of tables that were set aside for as long as they are there.
pub(crate) async fn tell_aside(folder: PathBuf, damages: Damages) {
    while let Some(found) = aside(&folder) {
        let what = format!(
            "its tables were damaged and are set aside as `{}`; the state comes from the log and from other nodes. Remove \
             the folder when all shards are well, and look at the disk",
            found.display()
        );
        damages.found("tables", what);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    damages.whole("tables");
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
