//! Where the index rests: in memory first, then, from time to time and as one consistent whole, in sealed blobs.
//!
//! The index is derived: what a crash takes is read from the tables again. So nothing waits for a disk when it is
//! changed, and no barrier is taken from the journal; [`Folder::keep`] writes what is new since the last time, the list
//! of what belongs together last. Most small files are merged into others before they were ever written.
//!
//! Law: what lies on the disk is sealed like everything of this node, under the file's name and place.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lru::LruCache;
use parking_lot::{Condvar, Mutex};
use store::{Blob, Blobs, StoreError, blobs};
use tantivy::HasLen;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, Directory, DirectoryLock, FileHandle, Lock, OwnedBytes, TerminatingWrite,
    WatchCallback, WatchCallbackList, WatchHandle, WritePtr,
};

/// A file that grows beyond this goes to the disk while it is written.
const MEMORY_FILE_BYTES_MAX: usize = 4 << 20;
/// Pieces of files on the disk that stay in memory: what every look at the index begins with.
const PIECES_BYTES_MAX: usize = 32 << 20;
/// As many pieces at most, whatever their size.
const PIECES_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
/// The list of what belongs together.
const META: &str = "meta.json";
/// The list of everything that was ever begun.
const LISTED: &str = ".managed.json";

/// A file.
#[derive(Clone)]
enum File {
    Memory(OwnedBytes),
    Disk(Blob),
}

#[derive(Default)]
struct Files {
    open: BTreeMap<PathBuf, File>,
    /// Names that are on the disk.
    kept: BTreeSet<PathBuf>,
    /// Something is not on the disk as it is here.
    changed: bool,
}

struct Inner {
    blobs: Blobs,
    files: Mutex<Files>,
    pieces: Mutex<Pieces>,
    watchers: WatchCallbackList,
    /// Locks that somebody has.
    held: Mutex<BTreeSet<PathBuf>>,
    /// Somebody gave a lock back.
    freed: Condvar,
}

/// All files of an index. Cheap to clone.
#[derive(Clone)]
pub(super) struct Folder(Arc<Inner>);

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Folder")
    }
}

impl Folder {
    /// What was kept in `blobs`, or nothing.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn open(blobs: Blobs) -> Result<Self, StoreError> {
        let mut files = Files::default();
        for name in blobs.names()? {
            let Some(path) = path_of(&name) else { continue };
            if let Some(blob) = blobs.open(&name)? {
                files.open.insert(path.clone(), File::Disk(blob));
                files.kept.insert(path);
            }
        }
        let folder = Self(Arc::new(Inner {
            blobs,
            files: Mutex::new(files),
            pieces: Mutex::default(),
            watchers: WatchCallbackList::default(),
            held: Mutex::default(),
            freed: Condvar::new(),
        }));
        folder.forget_strays();
        Ok(folder)
    }

    /// Files that went to the disk and were on no list yet when the node stopped.
    fn forget_strays(&self) {
        let listed = self.atomic_read(Path::new(LISTED)).ok();
        let listed =
            listed.and_then(|list| serde_json::from_slice::<BTreeSet<PathBuf>>(&list).ok());
        let listed = listed.unwrap_or_default();
        let mut files = self.0.files.lock();
        // They leave the disk with the next [`Folder::keep`].
        files.open.retain(|path, _| is_list(path) || listed.contains(path));
    }

    /// Nothing, and nothing on the disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn empty(blobs: Blobs) -> Result<Self, StoreError> {
        blobs.names()?.iter().try_for_each(|name| blobs.remove(name))?;
        Self::open(blobs)
    }

    /// Bytes that only memory has; 0 when the disk has everything.
    pub(super) fn unkept_bytes(&self) -> usize {
        let files = self.0.files.lock();
        if !files.changed {
            return 0;
        }
        let memory = files.open.values().map(|file| match file {
            File::Memory(bytes) => bytes.len(),
            File::Disk(_) => 0,
        });
        memory.sum()
    }

    /// Puts everything as it is now on stable storage, and removes what is no part of it any more.
    ///
    /// # Errors
    /// When the disk fails; what was kept before is as good as it was.
    pub(super) fn keep(&self) -> Result<(), StoreError> {
        let (open, kept) = {
            let mut files = self.0.files.lock();
            files.changed = false;
            (files.open.clone(), files.kept.clone())
        };
        let done = self.keep_all(&open, &kept);
        if done.is_err() {
            self.0.files.lock().changed = true;
        }
        done
    }

    fn keep_all(
        &self,
        open: &BTreeMap<PathBuf, File>,
        kept: &BTreeSet<PathBuf>,
    ) -> Result<(), StoreError> {
        let (lists, plain): (Vec<_>, Vec<_>) = open.iter().partition(|(path, _)| is_list(path));
        let new = plain.into_iter().filter(|(path, _)| !kept.contains(*path));
        // The list comes last: until then what was kept before is whole.
        for (path, file) in new.chain(lists) {
            if let File::Memory(bytes) = file {
                self.keep_one(path, bytes)?;
            }
        }
        for path in kept.iter().filter(|path| !open.contains_key(*path)) {
            self.0.blobs.remove(&name_of(path))?;
            self.0.files.lock().kept.remove(path);
        }
        Ok(())
    }

    fn keep_one(&self, path: &Path, bytes: &OwnedBytes) -> Result<(), StoreError> {
        let name = name_of(path);
        let mut draft = self.0.blobs.create(&name)?;
        draft.append(bytes)?;
        draft.finish()?;
        let blob = self.0.blobs.open(&name)?.expect("it was written just now");
        let mut files = self.0.files.lock();
        files.kept.insert(path.to_owned());
        // A list may have been replaced meanwhile, and any file removed.
        if !is_list(path)
            && let Some(file) = files.open.get_mut(path)
        {
            *file = File::Disk(blob);
        }
        Ok(())
    }
}

/// Lists are replaced, all other files are written once.
fn is_list(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "json")
}

/// A file's name as a blob's, which has letters and digits only.
fn name_of(path: &Path) -> String {
    path.to_string_lossy().bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn path_of(name: &str) -> Option<PathBuf> {
    let digits = |at: usize| name.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let bytes: Option<Vec<u8>> = (0..name.len()).step_by(2).map(digits).collect();
    Some(PathBuf::from(String::from_utf8(bytes?).ok()?))
}

fn failed(error: &StoreError) -> io::Error {
    io::Error::other(error.to_string())
}

impl Directory for Folder {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let file = self.0.files.lock().open.get(path).cloned();
        match file {
            Some(File::Memory(bytes)) => Ok(Arc::new(bytes)),
            Some(File::Disk(blob)) => {
                let folder = self.clone();
                Ok(Arc::new(OnDisk { path: path.to_owned(), blob, folder }))
            }
            None => Err(OpenReadError::FileDoesNotExist(path.to_owned())),
        }
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        let mut files = self.0.files.lock();
        files.changed = true;
        match files.open.remove(path) {
            Some(_) => Ok(()),
            None => Err(DeleteError::FileDoesNotExist(path.to_owned())),
        }
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.0.files.lock().open.contains_key(path))
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        if self.0.files.lock().open.contains_key(path) {
            return Err(OpenWriteError::FileAlreadyExists(path.to_owned()));
        }
        let file =
            NewFile { folder: self.clone(), path: path.to_owned(), so_far: SoFar::default() };
        Ok(WritePtr::new(Box::new(file)))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let handle = self.get_file_handle(path)?;
        let read = handle.read_bytes(0..handle.len());
        let wrapped = |error| OpenReadError::wrap_io_error(error, path.to_owned());
        read.map(|bytes| bytes.to_vec()).map_err(wrapped)
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let file = File::Memory(OwnedBytes::new(data.to_vec()));
        let mut files = self.0.files.lock();
        files.changed = true;
        files.open.insert(path.to_owned(), file);
        drop(files);
        if path == Path::new(META) {
            drop(self.0.watchers.broadcast());
        }
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    /// Among the threads of this process, which alone has the data folder: whoever opens the files of a list must not find
    /// that another thread has just removed what a merge replaced.
    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        let mut held = self.0.held.lock();
        while held.contains(&lock.filepath) {
            if !lock.is_blocking {
                return Err(LockError::LockBusy);
            }
            self.0.freed.wait(&mut held);
        }
        held.insert(lock.filepath.clone());
        let held = Held { folder: self.clone(), path: lock.filepath.clone() };
        Ok(DirectoryLock::from(Box::new(held)))
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(self.0.watchers.subscribe(callback))
    }
}

/// A lock, for as long as it is held.
struct Held {
    folder: Folder,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.folder.0.held.lock().remove(&self.path);
        self.folder.0.freed.notify_all();
    }
}

/// Pieces that were read, the latest read kept longest.
struct Pieces {
    read: LruCache<(PathBuf, usize, usize), OwnedBytes>,
    bytes: usize,
}

impl Default for Pieces {
    fn default() -> Self {
        Self { read: LruCache::new(PIECES_MAX), bytes: 0 }
    }
}

impl Pieces {
    fn put(&mut self, key: (PathBuf, usize, usize), bytes: OwnedBytes) {
        self.bytes += bytes.len();
        if let Some((_, out)) = self.read.push(key, bytes) {
            self.bytes -= out.len();
        }
        while self.bytes > PIECES_BYTES_MAX
            && let Some((_, out)) = self.read.pop_lru()
        {
            self.bytes -= out.len();
        }
    }
}

/// A file on the disk.
struct OnDisk {
    path: PathBuf,
    blob: Blob,
    folder: Folder,
}

impl std::fmt::Debug for OnDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OnDisk").field(&self.path).finish()
    }
}

impl HasLen for OnDisk {
    fn len(&self) -> usize {
        usize::try_from(self.blob.bytes()).expect("files of an index fit an address space")
    }
}

impl FileHandle for OnDisk {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        let key = (self.path.clone(), range.start, range.end);
        if let Some(bytes) = self.folder.0.pieces.lock().read.get(&key) {
            return Ok(bytes.clone());
        }
        let read = self.blob.read(range.start as u64, range.len());
        let bytes = OwnedBytes::new(read.map_err(|error| failed(&error))?.to_vec());
        self.folder.0.pieces.lock().put(key, bytes.clone());
        Ok(bytes)
    }
}

/// A file that is being written.
struct NewFile {
    folder: Folder,
    path: PathBuf,
    so_far: SoFar,
}

/// What was written of it.
enum SoFar {
    Memory(Vec<u8>),
    Disk(Box<blobs::Draft>),
    Ended,
}

impl Default for SoFar {
    fn default() -> Self {
        Self::Memory(Vec::new())
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let SoFar::Memory(memory) = &mut self.so_far {
            if memory.len() + bytes.len() <= MEMORY_FILE_BYTES_MAX {
                memory.extend_from_slice(bytes);
                return Ok(bytes.len());
            }
            let draft = self.folder.0.blobs.create(&name_of(&self.path));
            let mut draft = draft.map_err(|error| failed(&error))?;
            draft.append(memory).map_err(|error| failed(&error))?;
            self.so_far = SoFar::Disk(Box::new(draft));
        }
        let SoFar::Disk(draft) = &mut self.so_far else {
            return Err(io::Error::other("this file has ended"));
        };
        draft.append(bytes).map_err(|error| failed(&error))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TerminatingWrite for NewFile {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        let file = match std::mem::replace(&mut self.so_far, SoFar::Ended) {
            SoFar::Memory(memory) => File::Memory(OwnedBytes::new(memory)),
            SoFar::Disk(draft) => {
                let name = name_of(&self.path);
                draft.finish().map_err(|error| failed(&error))?;
                let blob = self.folder.0.blobs.open(&name).map_err(|error| failed(&error))?;
                File::Disk(blob.expect("it was written just now"))
            }
            SoFar::Ended => return Err(io::Error::other("this file has ended")),
        };
        let mut files = self.folder.0.files.lock();
        if let File::Disk(_) = file {
            files.kept.insert(self.path.clone());
        }
        files.changed = true;
        files.open.insert(self.path.clone(), file);
        Ok(())
    }
}
