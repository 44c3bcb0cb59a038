//! The folder of backups: manifests, and the chunks that they share. All calls wait for the disk.
//!
//! Laws: a backup exists when its manifest does, and its manifest is written last. A chunk appears under its name whole and
//! on stable storage. What is there is looked at before it is relied on: a chunk that rotted is written anew. Nothing is
//! removed that a manifest speaks of, nor anything while a manifest is there that this key cannot read.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use proto::backup::{
    BackupId, CHUNK_BYTES_MAX, Chunk, ChunkRef, MANIFEST_BYTES_MAX, Manifest, Name, PieceRef,
    Totals, decode_chunk, decode_manifest, encode_chunk, encode_manifest,
};
use ring::digest::{SHA256, digest};
use store::disk::Disk as _;
use store::seal::ContentKey;
use store::{FsDisk, NodeKey};

use super::Error;

pub(super) const CHUNKS: &str = "chunks";
const LOCK: &str = "LOCK";
pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const MARK: &str = "manifest.mark";
/// Ends the name of what is being written.
const PART: &str = ".part";
/// A backup leaves this part of its disk to others, which may be the disk that messages are written to: twice as much as
/// the journal calls low, or as much as a busy hour writes.
const FREE_ONE_IN: u64 = 10;
const FREE_BYTES: u64 = 2 << 30;

/// A folder of backups and the key to it.
pub(super) struct Vault {
    root: PathBuf,
    key: ContentKey,
    /// Folders with names that are not durable yet.
    touched: BTreeSet<PathBuf>,
    totals: Totals,
}

/// Held while a backup is made; the operating system releases it however the process ends.
pub(super) struct Lock(#[expect(dead_code, reason = "held, not used")] File);

/// A backup as a folder lists it.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub id: BackupId,
    /// Its manifest, or why it cannot be read.
    pub manifest: Result<Manifest, Error>,
}

/// The backups in a folder, oldest first. Needs no key, and hence believes what it reads.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(root: &Path) -> Result<Vec<Listed>, Error> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(root)(error)),
    };
    let mut listed = Vec::new();
    for entry in entries {
        let name = entry.map_err(Error::io(root))?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<BackupId>().ok()) else {
            continue;
        };
        let path = root.join(id.as_str()).join(MANIFEST);
        match bounded(&path, MANIFEST_BYTES_MAX) {
            Err(Error::Io { source, .. }) if is_absent(&source) => {}
            read => {
                let manifest = read
                    .and_then(|bytes| decode_manifest(&bytes).map_err(Error::of_manifest(&path)))
                    .and_then(|manifest| is_called(manifest, &id, &path));
                listed.push(Listed { id, manifest });
            }
        }
    }
    listed.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(listed)
}

/// The names of the backups in a folder, oldest first.
pub(super) fn list_ids(root: &Path) -> Result<Vec<BackupId>, Error> {
    Ok(list(root)?.into_iter().map(|listed| listed.id).collect())
}

/// No such file: `chunks/manifest.json`, or `LOCK/manifest.json`.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn is_called(manifest: Manifest, id: &BackupId, path: &Path) -> Result<Manifest, Error> {
    if manifest.id == *id { Ok(manifest) } else { Err(Error::damaged(path, "it is another one's")) }
}

impl Vault {
    /// The folder `root` with the key of its file.
    pub(super) fn new(root: PathBuf, key: &NodeKey) -> Self {
        let key = ContentKey::new(key);
        Self { root, key, touched: BTreeSet::new(), totals: Totals::default() }
    }

    /// Tells this key from others.
    pub(super) fn key_id(&self) -> String {
        self.key.id().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The folder.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// What was put so far.
    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// Makes the folder and takes it for one backup.
    pub(super) fn lock(&self) -> Result<Lock, Error> {
        fs::create_dir_all(&self.root).map_err(Error::io(&self.root))?;
        let path = self.root.join(LOCK);
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(Error::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(Error::Busy),
            Err(TryLockError::Error(error)) => Err(Error::io(path)(error)),
        }
    }

    /// Keeps a chunk, unless it is there.
    pub(super) fn put(&mut self, chunk: &Chunk) -> Result<ChunkRef, Error> {
        let plain = encode_chunk(chunk);
        let name = Name(self.key.name(&plain));
        let sealed = self.key.seal(&name.0, &plain);
        let bytes = sealed.len() as u64;
        assert!(bytes <= CHUNK_BYTES_MAX, "chunks are cut before they are so long");
        let path = self.path(name);
        self.totals.chunks += 1;
        self.totals.bytes += bytes;
        // The same piece has the same bytes, so anything else under its name is damage.
        let there = fs::read(&path).is_ok_and(|there| there == sealed);
        if !there {
            self.check_room()?;
            self.write(&path, &sealed)?;
            self.totals.new_chunks += 1;
            self.totals.new_bytes += bytes;
        }
        Ok(ChunkRef { name, bytes, sha256: sha256(&sealed) })
    }

    /// Whether a piece of an earlier backup is there, as far as can be told without reading it; it then counts as this
    /// backup's.
    pub(super) fn reuse(&mut self, piece: &PieceRef) -> bool {
        let there = fs::metadata(self.path(piece.name)).is_ok_and(|file| file.len() == piece.bytes);
        if there {
            self.totals.chunks += 1;
            self.totals.bytes += piece.bytes;
        }
        there
    }

    fn check_room(&self) -> Result<(), Error> {
        let disk = FsDisk::open_anywhere(&self.root)?;
        let tight = |space: store::disk::Space| {
            space.free_bytes < FREE_BYTES.min(space.total_bytes / FREE_ONE_IN)
        };
        if disk.space().is_some_and(tight) {
            return Err(Error::NoRoom { path: self.root.clone() });
        }
        Ok(())
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let folder = path.parent().expect("files of backups lie in folders");
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let part = path.with_extension(&PART[1..]);
        let written = File::create(&part).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_data()
        });
        let renamed = written.and_then(|()| fs::rename(&part, path));
        if let Err(error) = renamed {
            // Whatever is left of it is pruned some time; what matters is told.
            let _ = fs::remove_file(&part);
            return Err(match error.kind() {
                ErrorKind::StorageFull => Error::NoRoom { path: self.root.clone() },
                _ => Error::io(path)(error),
            });
        }
        self.touched.insert(folder.to_owned());
        Ok(())
    }

    /// Makes all names so far durable.
    fn settle(&mut self) -> Result<(), Error> {
        let parents = [self.root.clone(), self.root.join(CHUNKS)];
        let folders = std::mem::take(&mut self.touched).into_iter().chain(parents);
        for folder in folders.filter(|folder| folder.exists()) {
            File::open(&folder).and_then(|file| file.sync_all()).map_err(Error::io(&folder))?;
        }
        Ok(())
    }

    /// A backup comes to exist.
    pub(super) fn publish(&mut self, manifest: &Manifest) -> Result<(), Error> {
        self.settle()?;
        let folder = self.root.join(manifest.id.as_str());
        let bytes = encode_manifest(manifest);
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(Error::Refused("the manifest would be too long to be read again".into()));
        }
        let mark: String = self.key.mark(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        self.write(&folder.join(MARK), mark.as_bytes())?;
        self.write(&folder.join(MANIFEST), &bytes)?;
        self.settle()
    }

    /// A backup's manifest, if it was written with this key and is what was written.
    pub(super) fn manifest(&self, id: &BackupId) -> Result<Manifest, Error> {
        let folder = self.root.join(id.as_str());
        let path = folder.join(MANIFEST);
        let bytes = match bounded(&path, MANIFEST_BYTES_MAX) {
            Err(Error::Io { source, .. }) if is_absent(&source) => {
                return Err(Error::NoBackup { folder: self.root.clone(), wanted: id.to_string() });
            }
            read => read?,
        };
        let manifest = decode_manifest(&bytes).map_err(Error::of_manifest(&path))?;
        let manifest = is_called(manifest, id, &path)?;
        if manifest.key != self.key_id() {
            let (backup, found) = (id.to_string(), self.key_id());
            return Err(Error::WrongKey { backup, wanted: manifest.key, found });
        }
        let mark = folder.join(MARK);
        let text = fs::read_to_string(&mark).map_err(Error::io(&mark))?;
        let written = text.trim().parse::<Name>().map_err(|e| Error::damaged(&mark, e))?;
        if !self.key.is_marked(&bytes, &written.0) {
            return Err(Error::damaged(&path, "it is not what was marked"));
        }
        Ok(manifest)
    }

    /// A chunk that a manifest lists.
    pub(super) fn get(&self, chunk: &ChunkRef) -> Result<Chunk, Error> {
        let sealed = self.sealed(chunk.name, chunk.bytes)?;
        if sha256(&sealed) != chunk.sha256 {
            return Err(Error::damaged(self.path(chunk.name), "its SHA-256 is another"));
        }
        self.open(chunk.name, &sealed)
    }

    /// Bytes of an asset.
    pub(super) fn piece(&self, piece: &PieceRef) -> Result<Bytes, Error> {
        let sealed = self.sealed(piece.name, piece.bytes)?;
        match self.open(piece.name, &sealed)? {
            Chunk::Piece(bytes) => Ok(bytes),
            _ => Err(Error::damaged(self.path(piece.name), "it holds no bytes of an asset")),
        }
    }

    fn sealed(&self, name: Name, bytes: u64) -> Result<Vec<u8>, Error> {
        let path = self.path(name);
        let sealed = match bounded(&path, CHUNK_BYTES_MAX) {
            Err(Error::Io { source, .. }) if is_absent(&source) => {
                return Err(Error::Damaged { what: format!("{} is missing", path.display()) });
            }
            read => read?,
        };
        if sealed.len() as u64 != bytes {
            let found = format!("it has {} bytes instead of {bytes}", sealed.len());
            return Err(Error::damaged(path, found));
        }
        Ok(sealed)
    }

    fn open(&self, name: Name, sealed: &[u8]) -> Result<Chunk, Error> {
        let damaged = |what: &dyn std::fmt::Display| Error::damaged(self.path(name), what);
        let plain = self.key.open(&name.0, sealed).map_err(|error| damaged(&error))?;
        decode_chunk(plain).map_err(|error| damaged(&error))
    }

    /// Keeps the newest `keep` backups of this key and forgets the others, and then every chunk that nothing speaks of.
    /// Answers how many backups were forgotten. The caller holds the lock.
    pub(super) fn prune(&self, keep: usize) -> Result<usize, Error> {
        let ids = list_ids(&self.root)?;
        let (readable, foreign): (Vec<_>, Vec<_>) =
            ids.iter().map(|id| (id, self.manifest(id))).partition(|(_, read)| read.is_ok());
        let surplus = readable.len().saturating_sub(keep);
        for (id, _) in &readable[..surplus] {
            let folder = self.root.join(id.as_str());
            // In this order a crash leaves no backup whose chunks are gone.
            let manifest = folder.join(MANIFEST);
            fs::remove_file(&manifest).map_err(Error::io(&manifest))?;
            fs::remove_dir_all(&folder).map_err(Error::io(&folder))?;
        }
        if !foreign.is_empty() {
            tracing::warn!(
                backups = foreign.len(),
                "backups that this key does not read lie in the folder: no chunk is removed"
            );
            return Ok(surplus);
        }
        if surplus > 0 {
            let kept = readable[surplus..].iter().filter_map(|(_, read)| read.as_ref().ok());
            self.sweep(&self.spoken_of(kept)?)?;
        }
        Ok(surplus)
    }

    /// Every chunk that these backups need.
    fn spoken_of<'a>(
        &self,
        manifests: impl Iterator<Item = &'a Manifest>,
    ) -> Result<BTreeSet<Name>, Error> {
        let mut names = BTreeSet::new();
        for manifest in manifests {
            names.extend(manifest.chunks().map(|chunk| chunk.name));
            for chunk in &manifest.assets.chunks {
                let Chunk::Assets(assets) = self.get(chunk)? else { continue };
                let pieces = assets.into_iter().flat_map(|asset| asset.pieces.unwrap_or_default());
                names.extend(pieces.map(|piece| piece.name));
            }
        }
        Ok(names)
    }

    fn sweep(&self, keep: &BTreeSet<Name>) -> Result<(), Error> {
        let root = self.root.join(CHUNKS);
        for folder in fs::read_dir(&root).map_err(Error::io(&root))? {
            let folder = folder.map_err(Error::io(&root))?.path();
            for file in fs::read_dir(&folder).map_err(Error::io(&folder))? {
                let path = file.map_err(Error::io(&folder))?.path();
                let name = path.file_name().and_then(|name| name.to_str());
                let ours = name.is_some_and(|name| {
                    name.ends_with(PART)
                        || name.parse().is_ok_and(|name: Name| !keep.contains(&name))
                });
                if ours {
                    fs::remove_file(&path).map_err(Error::io(&path))?;
                }
            }
        }
        Ok(())
    }

    fn path(&self, name: Name) -> PathBuf {
        let name = name.to_string();
        self.root.join(CHUNKS).join(&name[..2]).join(name)
    }
}

fn sha256(bytes: &[u8]) -> Name {
    Name(digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// Reads a file that may not be longer than that.
fn bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes));
    read.map_err(Error::io(path))?;
    if bytes.len() as u64 > bytes_max {
        return Err(Error::damaged(path, "it is too long"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
