//! `verify` and `restore`: from a folder of backups to a checked state, without a cluster.
//!
//! Law: a data folder appears under its name only when everything in it was checked and is durable; until then it lies beside
//! it. Both verbs walk the same way: what `verify` accepts is what `restore` would have prepared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cluster_config::{Addresses, ClusterId, Door, Founder, GroupId, NodeId, Refounding};
use proto::backup::{BackupId, Manifest};
use store::NodeKey;

use super::check::{Found, check};
use super::rebuild::{Rebuild, Rebuilt};
use super::vault::{self, Vault};
use super::{Error, rfc3339};
use crate::boot;
use crate::clock::{SystemClock, SystemEntropy};
use crate::config::{self, Config};
use crate::disk::{self, Home, Opened};
use crate::identity::{self, Founded};

/// Ends the name of a folder that is not whole yet.
const UNFINISHED: &str = ".restoring";
/// How many nodes may join a restored cluster by its first token.
const JOINERS_MAX: u32 = 16;
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
    /// What lets other nodes and the first operator in; `None` for a founder that its file names.
    pub founded: Option<Founded>,
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
    let by = Refounding {
        cluster: named(name, &manifest)?,
        nodes: BTreeMap::from([(NodeId(1), founder)]),
        replication: 1,
        door: Door::default(),
        at_ms: manifest.ended_at_ms,
    };
    let storage = config::Storage::default();
    let folder = scratch.join(format!("synod-verify-{}", std::process::id()));
    let home =
        Home { folder: &folder, storage: &storage, cluster: name, node: 1, has_others: false };
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

/// Prepares the data folder that `config` names with the state of a backup, for a new cluster. Without `cluster.nodes` it
/// is one of this node alone, which others then join, as `synod init` makes one. With them it is one of the founders that
/// they name: each of these restores the same backup with its own file; one that did not must join the others instead.
/// `cluster` is the new cluster's name, if `config` is not to say it.
///
/// # Errors
/// When the backup cannot be read or is damaged, its state is not sound, the folder is not empty, or the new cluster
/// cannot be. Nothing is left then but what was there.
pub fn restore(source: &Source, config: &Config, cluster: Option<&str>) -> Result<Restored, Error> {
    let (vault, manifest) = open(source)?;
    let name = cluster.unwrap_or(&config.cluster.id);
    if config.is_formed_by_file() && config.cluster.id != name {
        let said = &config.cluster.id;
        return Err(Error::Refused(format!("the file says cluster.id = {said:?}, not {name:?}")));
    }
    named(name, &manifest)?;
    let folder = unfinished(&config.data);
    empty(&config.data)?;
    empty(&folder)?;
    let mut config = config.clone();
    config.cluster.id = name.to_owned();
    let data = std::mem::replace(&mut config.data, folder.clone());
    let prepared = restored(&vault, &manifest, &config);
    let (rebuilt, found, mut founded) = prepared.inspect_err(|_| {
        // What is left of it is refused by name the next time.
        let _ = fs::remove_dir_all(&folder);
    })?;
    settle(&folder, &data)?;
    if let Some(founded) = &mut founded {
        founded.authority = data.join("identity").join("ca.pem");
    }
    Ok(Restored {
        manifest,
        found,
        founded,
        data,
        cluster: name.to_owned(),
        history_epoch: rebuilt.config.history_epoch,
    })
}

/// Everything of a restore but the last step, in the folder that `config` names.
fn restored(
    vault: &Vault,
    manifest: &Manifest,
    config: &Config,
) -> Result<(Rebuilt, Found, Option<Founded>), Error> {
    let rebuild = Rebuild { vault, manifest };
    let (by, node, founded) = founding(config, manifest)?;
    let home = Home {
        folder: &config.data,
        storage: &config.storage,
        cluster: &config.cluster.id,
        node,
        has_others: false,
    };
    let opened = disk::open_home(&home)?;
    let prepared = prepare(&rebuild, &opened, &by, true);
    opened.journal.close();
    let (rebuilt, found) = prepared?;
    if !found.problems.is_empty() {
        return Err(Error::Damaged { what: found.problems.join("; ") });
    }
    // The cluster is founded, and holds its authority's key itself.
    identity::Founding::forget(config);
    Ok((rebuilt, found, founded))
}

/// Who founds, and as which node this folder does.
fn founding(
    config: &Config,
    manifest: &Manifest,
) -> Result<(Refounding, u64, Option<Founded>), Error> {
    let refused = |error: &dyn std::fmt::Display| Error::Refused(error.to_string());
    let cluster = named(&config.cluster.id, manifest)?;
    let at_ms = manifest.ended_at_ms;
    if config.is_formed_by_file() {
        let nodes = config.cluster.nodes.iter().map(boot::founder).collect();
        // No claim: when it ends would be another on each founder. Operators go on, and can invite.
        let authority = boot::authority(config).map_err(|error| refused(&error))?;
        let door = Door { authority, ..Door::default() };
        let replication = config.cluster.replication;
        let by = Refounding { cluster, nodes, replication, door, at_ms };
        return Ok((by, config.node, None));
    }
    let founded = identity::found(config, JOINERS_MAX, &SystemClock, &SystemEntropy);
    let founded = founded.map_err(|error| refused(&error))?;
    let load = identity::Founding::load(config).map_err(|error| refused(&error))?;
    let identity::Founding { replication, node, door, .. } = load.expect("it was just written");
    let first = NodeId(identity::FIRST);
    let by = Refounding { cluster, nodes: [(first, node)].into(), replication, door, at_ms };
    Ok((by, first.0, Some(founded)))
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

/// The name of the new cluster, which is never the old one's.
fn named(cluster: &str, manifest: &Manifest) -> Result<ClusterId, Error> {
    if cluster == manifest.cluster {
        let what = "a restored cluster needs a name of its own, so that no node of the old one takes part: \
                    say --cluster, or change cluster.id and the certificates that name it";
        return Err(Error::Refused(format!("the backup is of cluster {cluster:?} too: {what}")));
    }
    ClusterId::parse(cluster).map_err(|error| Error::Refused(format!("cluster: {error}")))
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
