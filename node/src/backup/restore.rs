//! `verify` and `restore`: from a folder of backups to a checked state, without a cluster.
//!
//! Law: a data folder appears under its name only when everything in it was checked and is durable; until then it lies beside
//! it. Both verbs walk the same way: what `verify` accepts is what `restore` would have prepared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cluster_config::{Addresses, ClusterId, Founder, GroupId, NodeId, Refounding};
use proto::backup::{BackupId, Manifest};
use store::NodeKey;

use super::check::{Found, check};
use super::rebuild::{Rebuild, Rebuilt};
use super::vault::{self, Vault};
use super::{Error, rfc3339};
use crate::config::{self, Config};
use crate::disk::{self, Home, Opened};

/// Ends the name of a folder that is not whole yet.
const UNFINISHED: &str = ".restoring";
/// The name that a verified state has for a moment.
const SCRATCH_CLUSTER: &str = "verify";

/// Which backup.
#[derive(Debug, Clone)]
pub struct Source {
    /// The folder.
    pub folder: PathBuf,
    /// The backup key's file.
    pub key: PathBuf,
    /// Its name; `None`: the newest.
    pub backup: Option<BackupId>,
    /// Only what was begun at or before this time, milliseconds since 1970.
    pub to_ms: Option<u64>,
}

/// A backup that was looked at.
#[derive(Debug)]
pub struct Verified {
    /// Which.
    pub manifest: Manifest,
    /// What is in it, and what is wrong.
    pub found: Found,
}

/// A data folder that was prepared.
#[derive(Debug)]
pub struct Restored {
    /// From which backup.
    pub manifest: Manifest,
    /// What is in it.
    pub found: Found,
    /// Where it is.
    pub data: PathBuf,
    /// The new cluster.
    pub cluster: String,
    /// Its history epoch.
    pub history_epoch: u64,
}

/// Rebuilds a backup in a folder of its own below `scratch`, looks at every row, and removes it again. What is wrong with
/// the state is in the answer.
///
/// # Errors
/// When the backup cannot be read, is damaged, or there is no room for it.
pub fn verify(source: &Source, scratch: &Path) -> Result<Verified, Error> {
    let (vault, manifest) = open(source)?;
    let rebuild = Rebuild { vault: &vault, manifest: &manifest };
    let address = "127.0.0.1:1".to_owned();
    let addresses =
        Addresses { client: address.clone(), peer: address.clone(), operations: address };
    let founder = Founder { addresses, zone: None, weight: 1 };
    // The one name that may be taken is the backup's own.
    let name = if manifest.cluster == SCRATCH_CLUSTER { "verified" } else { SCRATCH_CLUSTER };
    let by = refounding(name, BTreeMap::from([(NodeId(1), founder)]), 1, &manifest)?;
    let storage = config::Storage::default();
    let folder = scratch.join(format!("synod-verify-{}", std::process::id()));
    let home = Home { folder: &folder, storage: &storage, cluster: name, node: 1 };
    empty(&folder)?;
    let found = (|| {
        let opened = disk::open_home(&home)?;
        let rebuilt = prepare(&rebuild, &opened, &by, false);
        opened.journal.close();
        rebuilt.map(|(_, found)| found)
    })();
    fs::remove_dir_all(&folder).map_err(Error::io(&folder))?;
    Ok(Verified { found: found?, manifest })
}

/// Prepares the data folder that `config` names with the state of a backup, for a new cluster of the founders that it names.
/// Each of them restores the same backup with its own file; a founder that did not must join the others instead.
/// `cluster` is the new cluster's name, if `config` is not to say it.
///
/// # Errors
/// When the backup cannot be read or is damaged, its state is not sound, the folder is not empty, or the new cluster
/// cannot be. Nothing is left then but what was there.
pub fn restore(source: &Source, config: &Config, cluster: Option<&str>) -> Result<Restored, Error> {
    let (vault, manifest) = open(source)?;
    let name = cluster.unwrap_or(&config.cluster.id);
    if config.cluster.id != name {
        let what =
            format!("the file says cluster.id = {:?} and --cluster {name:?}", config.cluster.id);
        return Err(Error::Refused(what));
    }
    let founders = config.cluster.nodes.iter().map(crate::boot::founder).collect();
    let by = refounding(name, founders, config.cluster.replication, &manifest)?;
    let folder = unfinished(&config.data);
    empty(&config.data)?;
    empty(&folder)?;
    let node = config.node;
    let home = Home { folder: &folder, storage: &config.storage, cluster: name, node };
    let rebuild = Rebuild { vault: &vault, manifest: &manifest };
    let prepared = (|| {
        let opened = disk::open_home(&home)?;
        let prepared = prepare(&rebuild, &opened, &by, true);
        opened.journal.close();
        let (rebuilt, found) = prepared?;
        match &found.problems[..] {
            [] => Ok((rebuilt, found)),
            problems => Err(Error::Damaged { what: problems.join("; ") }),
        }
    })();
    let (rebuilt, found) = prepared.inspect_err(|_| {
        // What is left of it is refused by name the next time.
        let _ = fs::remove_dir_all(&folder);
    })?;
    settle(&folder, &config.data)?;
    Ok(Restored {
        manifest,
        found,
        data: config.data.clone(),
        cluster: name.to_owned(),
        history_epoch: rebuilt.config.history_epoch,
    })
}

/// Rows, assets, a look at all of it, and the beginning of each log: in this order, because a log that begins somewhere
/// says that the state before is durable.
fn prepare(
    rebuild: &Rebuild<'_>,
    opened: &Opened,
    by: &Refounding,
    keep_assets: bool,
) -> Result<(Rebuilt, Found), Error> {
    let rebuilt = rebuild.rows(&*opened.tables, by)?;
    rebuild.assets(keep_assets.then_some(&opened.blobs))?;
    let found = check(&*opened.tables)?;
    for (group, state) in &rebuilt.groups {
        raft::found_after(&opened.journal, GroupId(group.0), state)?;
    }
    Ok((rebuilt, found))
}

fn refounding(
    cluster: &str,
    nodes: BTreeMap<NodeId, Founder>,
    replication: u32,
    manifest: &Manifest,
) -> Result<Refounding, Error> {
    if cluster == manifest.cluster {
        let what = "a restored cluster needs a name of its own, so that no node of the old one takes part: \
                    change cluster.id (and the certificates that name it)";
        return Err(Error::Refused(format!("the backup is of cluster {cluster:?} too: {what}")));
    }
    let cluster = ClusterId::parse(cluster).map_err(|e| Error::Refused(format!("cluster: {e}")))?;
    Ok(Refounding { cluster, nodes, replication, at_ms: manifest.ended_at_ms })
}

/// The folder with its key, and the manifest that is asked for.
fn open(source: &Source) -> Result<(Vault, Manifest), Error> {
    let key = NodeKey::load(&source.key)?;
    let vault = Vault::new(source.folder.clone(), &key);
    let id = match &source.backup {
        Some(id) => id.clone(),
        None => newest(source)?,
    };
    let manifest = vault.manifest(&id)?;
    let later = source.to_ms.is_some_and(|to| manifest.begun_at_ms > to);
    if later {
        let wanted = format!("{id} from before {}", rfc3339(source.to_ms.unwrap_or_default()));
        return Err(Error::NoBackup { folder: source.folder.clone(), wanted });
    }
    Ok((vault, manifest))
}

/// The newest one at or before the time that is asked for. One that cannot be read counts: it is better told than skipped.
fn newest(source: &Source) -> Result<BackupId, Error> {
    let in_time = |listed: &vault::Listed| match (&listed.manifest, source.to_ms) {
        (Ok(manifest), Some(to)) => manifest.begun_at_ms <= to,
        (Err(_), Some(to)) => listed.id.as_str() <= super::time::compact(to).as_str(),
        (_, None) => true,
    };
    let listed = vault::list(&source.folder)?;
    let newest = listed.into_iter().rfind(in_time).ok_or_else(|| {
        let wanted =
            source.to_ms.map_or("at all".to_owned(), |to| format!("from before {}", rfc3339(to)));
        Error::NoBackup { folder: source.folder.clone(), wanted }
    })?;
    Ok(newest.id)
}

/// Refuses a folder with anything in it.
fn empty(folder: &Path) -> Result<(), Error> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(folder)(error)),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Error::NotEmpty { path: folder.to_owned() }),
        },
    }
}

fn unfinished(data: &Path) -> PathBuf {
    let name = data.file_name().map_or_else(Default::default, std::ffi::OsStr::to_os_string);
    let mut name = name;
    name.push(UNFINISHED);
    data.with_file_name(name)
}

/// Gives a whole folder its name.
fn settle(folder: &Path, data: &Path) -> Result<(), Error> {
    if data.exists() {
        fs::remove_dir(data).map_err(Error::io(data))?;
    }
    fs::rename(folder, data).map_err(Error::io(data))?;
    let parent = match data.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(Error::io(parent))
}
