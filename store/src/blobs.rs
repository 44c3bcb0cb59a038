//! Blobs: large strings of bytes by name, written once as they come, read in pieces, never whole in memory.
//!
//! Law: a name appears only when all of its bytes and the name itself are on stable storage; until then there is only
//! a draft under another name, which is worth nothing after a restart unless it was paused. A blob never changes.
//! Bytes rest in segments, each sealed (or, without keys, checked by a CRC) under the blob's name and its place, so
//! that a piece is read without the rest, and nothing that was moved, altered or cut off is read as if it were whole.
//!
//! Folders carry the first two characters of a name, so that each of them stays short enough to be listed.

mod draft;
mod folders;
mod format;

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

pub use draft::Draft;
pub use folders::{Folders, FsFolders, OneFolder};
pub use format::SEGMENT_BYTES;

use crate::disk::{Disk, DiskFile, Pace};
use crate::error::StoreError;
use crate::journal::RecordSeal;
use format::{Frame, Layout, Role};

/// Ends the name of a draft that a restart forgets.
const PART: &str = ".part";
/// Ends the name of a draft that was paused and may be gone on with.
const PAUSED: &str = ".paused";
/// How many characters of a name make its folder.
const FOLDER_CHARS: usize = 2;

/// All blobs of a node. Cheap to clone. Calls wait for the disk: see [`Blobs::pace`].
#[derive(Clone)]
pub struct Blobs {
    folders: Arc<dyn Folders>,
    seal: Option<Arc<dyn RecordSeal>>,
    drafts: Arc<std::sync::atomic::AtomicU64>,
}

/// A blob that is open.
#[derive(Clone)]
pub struct Blob {
    file: Arc<dyn DiskFile>,
    frame: Frame,
    layout: Layout,
}

impl Blobs {
    /// The blobs in `folders`, sealed if there is a seal.
    #[must_use]
    pub fn new(folders: Arc<dyn Folders>, seal: Option<Arc<dyn RecordSeal>>) -> Self {
        Self { folders, seal, drafts: Arc::default() }
    }

    /// Whether calls may wait for a disk and belong on a thread that may wait.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.folders.pace()
    }

    /// Opens a blob; `None` when there is none of this name.
    ///
    /// # Errors
    /// When the disk fails, or the file is no blob.
    pub fn open(&self, name: &str) -> Result<Option<Blob>, StoreError> {
        let folder = self.folder(name)?;
        let file = match folder.open(name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open", name, &error)),
        };
        let frame = self.frame(name);
        let length = file.len().map_err(|error| failed("inspect", name, &error))?;
        let layout = frame.layout(length)?;
        frame.check_header(&*file)?;
        Ok(Some(Blob { file, frame, layout }))
    }

    /// Begins a blob. Several drafts of one name may be under way; each is whole or nothing.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn create(&self, name: &str) -> Result<Draft, StoreError> {
        let number = self.drafts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Draft::create(self.folder(name)?, self.frame(name), format!("{name}.{number}{PART}"))
    }

    /// Begins a blob that may be paused, and is gone on with after a restart by [`Blobs::resume`].
    ///
    /// # Errors
    /// When the disk fails.
    pub fn create_resumable(&self, name: &str) -> Result<Draft, StoreError> {
        Draft::create(self.folder(name)?, self.frame(name), format!("{name}{PAUSED}"))
    }

    /// Goes on with a draft: reads it from its beginning, hands each piece to `each`, and drops whatever lies beyond
    /// the last whole one. `None` when there is none.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn resume(&self, name: &str, each: impl FnMut(&[u8])) -> Result<Option<Draft>, StoreError> {
        Draft::resume(self.folder(name)?, self.frame(name), format!("{name}{PAUSED}"), each)
    }

    /// Forgets a blob or what was paused of one. Forgetting what is not there is fine.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let folder = self.folder(name)?;
        let paused = format!("{name}{PAUSED}");
        for file in [name.to_owned(), draft::tail_of(&paused), paused] {
            match folder.remove(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", name, &error));
                }
                _ => {}
            }
        }
        folder.sync_folder().map_err(|error| failed("sync the folder of", name, &error))
    }

    /// The names of all blobs, ascending.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn names(&self) -> Result<Vec<String>, StoreError> {
        let mut names = self.files()?;
        names.retain(|name| !name.contains('.'));
        Ok(names)
    }

    /// Removes the drafts that no process is writing any more. Call it before anything is written.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sweep(&self) -> Result<usize, StoreError> {
        let left: Vec<String> =
            self.files()?.into_iter().filter(|name| name.ends_with(PART)).collect();
        for name in &left {
            let folder = self.folders.folder(&name[..FOLDER_CHARS]);
            let removed = folder.and_then(|folder| folder.remove(name));
            removed.map_err(|error| failed("remove", name, &error))?;
        }
        Ok(left.len())
    }

    fn files(&self) -> Result<Vec<String>, StoreError> {
        let list = |prefix: &str| {
            let mut names = self.folders.folder(prefix)?.list()?;
            names.retain(|name| name.starts_with(prefix));
            Ok::<_, io::Error>(names)
        };
        let folders = self.folders.names().map_err(|error| failed("list", "", &error))?;
        let plain = folders.iter().filter(|name| name.len() == FOLDER_CHARS);
        let lists =
            plain.map(|prefix| list(prefix).map_err(|error| failed("list", prefix, &error)));
        Ok(lists.collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn folder(&self, name: &str) -> Result<Arc<dyn Disk>, StoreError> {
        let plain = name.len() >= FOLDER_CHARS && name.bytes().all(|b| b.is_ascii_alphanumeric());
        assert!(plain, "blobs have plain names, not {name:?}");
        self.folders.folder(&name[..FOLDER_CHARS]).map_err(|error| failed("open", name, &error))
    }

    fn frame(&self, name: &str) -> Frame {
        Frame { name: name.into(), seal: self.seal.clone() }
    }
}

impl Blob {
    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.layout.bytes
    }

    /// `length` bytes from `offset`; both have to lie inside.
    ///
    /// # Errors
    /// When the disk fails, or what is there is not what was written.
    pub fn read(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let end = offset + length as u64;
        assert!(end <= self.bytes(), "{offset}..{end} lies inside {} bytes", self.bytes());
        let mut read = BytesMut::with_capacity(length);
        let segment_bytes = SEGMENT_BYTES as u64;
        let mut at = offset;
        while at < end {
            let index = at / segment_bytes;
            let is_last = index + 1 == self.layout.segments;
            let role = if is_last { Role::Last } else { Role::Middle };
            let segment =
                self.frame.read(&*self.file, index, self.layout.length_of(index), role)?;
            let from = usize::try_from(at % segment_bytes).expect("below a segment");
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX);
            let to = segment.len().min(from.saturating_add(wanted));
            read.extend_from_slice(&segment[from..to]);
            at += (to - from) as u64;
        }
        assert_eq!(read.len(), length, "exactly what was asked for");
        Ok(read.freeze())
    }
}

fn failed(action: &'static str, name: &str, error: &io::Error) -> StoreError {
    StoreError::while_doing(action, format!("assets/{name}"), error)
}

#[cfg(test)]
mod tests;
