//! The real disk: one folder of a real file system and real threads.
//!
//! Adapter of the port in `disk.rs`. It keeps no state beyond the folder, never retries, and
//! refuses network file systems unless it is told otherwise, because their barriers and locks mean
//! less than they say.

use super::{Disk, DiskFile, DiskLock, DiskThread, Pace, Space, Work};
use crate::error::StoreError;
use crate::figures::{SYNC_SECONDS, since_first_asked, timed};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Magic numbers of file systems that are served over a network (statfs(2)).
const NETWORK_FILE_SYSTEMS: [u64; 6] = [
    0x6969,      // NFS
    0x517b,      // SMB
    0xfe53_4d42, // SMB 2
    0xff53_4d42, // CIFS
    0x00c3_6400, // Ceph
    0x0102_1997, // 9P
];

/// One folder of a real file system.
#[derive(Clone, Debug)]
pub struct FsDisk {
    folder: PathBuf,
    /// Whether files may be written; if not, none is made either.
    writable: bool,
}

impl FsDisk {
    /// Opens `folder`, creating it (and its parents) when missing.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the folder cannot be made or lies on a network file system.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let disk = Self::open_anywhere(folder)?;
        let status = rustix::fs::statfs(&disk.folder)
            .map_err(|error| StoreError::while_doing("inspect", &disk.folder, &error.into()))?;
        if NETWORK_FILE_SYSTEMS.contains(&(status.f_type as u64)) {
            let refusal = io::Error::new(
                io::ErrorKind::Unsupported,
                "it lies on a network file system, whose barriers cannot be relied on; use a local disk",
            );
            return Err(StoreError::while_doing("use", &disk.folder, &refusal));
        }
        Ok(disk)
    }

    /// As [`FsDisk::open`], on any file system. What a power loss does then is between you and your
    /// server.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the folder cannot be made.
    pub fn open_anywhere(folder: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let folder = folder.into();
        let failed = |error| StoreError::while_doing("create", &folder, &error);
        let missing: Vec<_> = folder.ancestors().take_while(|path| !path.exists()).collect();
        if !missing.is_empty() {
            std::fs::create_dir_all(&folder).map_err(failed)?;
        }
        // The name of a new folder must survive too: it is in its parent.
        for parent in missing.iter().filter_map(|path| path.parent()) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        }
        Ok(Self { folder, writable: true })
    }

    /// A folder that is looked at and not changed: nothing is made, and files are opened for reading alone.
    #[must_use]
    pub fn to_read(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), writable: false }
    }

    fn path(&self, name: &str) -> PathBuf {
        debug_assert!(!name.contains('/'), "names of the port have no separators");
        self.folder.join(name)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

struct FsFile(File);

impl DiskFile for FsFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        timed(&SYNC_SECONDS, || self.0.sync_data())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

/// The lock belongs to the open file: the operating system releases it when the process ends,
/// however it ends.
struct FsLock(#[expect(dead_code, reason = "held, not used")] File);

impl DiskLock for FsLock {}

struct FsThread(JoinHandle<()>);

impl DiskThread for FsThread {
    fn join(self: Box<Self>) {
        if self.0.thread().id() == std::thread::current().id() {
            return; // The last handle was dropped by a completion that ran on this very thread.
        }
        if let Err(panic) = self.0.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Disk for FsDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(self.writable).open(self.path(name))?;
        Ok(Arc::new(FsFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(true).open(self.path(name))?;
        Ok(Arc::new(FsFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn DiskLock>> {
        let mut options = OpenOptions::new();
        options.read(true).write(self.writable).create(self.writable).truncate(false);
        let file = options.open(self.path(name))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(FsLock(file))),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn space(&self) -> Option<Space> {
        let status = rustix::fs::statvfs(&self.folder).ok()?;
        Some(Space {
            free_bytes: status.f_bavail.saturating_mul(status.f_frsize),
            total_bytes: status.f_blocks.saturating_mul(status.f_frsize),
        })
    }

    fn location(&self) -> String {
        self.folder.display().to_string()
    }

    fn now(&self) -> Duration {
        since_first_asked()
    }

    fn pace(&self) -> Pace {
        Pace::Threads
    }

    #[expect(clippy::disallowed_methods, reason = "the adapter that gives the journal its threads")]
    fn spawn(&self, name: &str, work: Work) -> io::Result<Box<dyn DiskThread>> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Box::new(FsThread(thread)))
    }
}
