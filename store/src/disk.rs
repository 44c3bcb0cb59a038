//! The port to files: everything that the journal asks of an operating system, and nothing more.
//!
//! Law: `write_at` and names are volatile until `sync_data` and `sync_folder` say otherwise.
//! Adapters: [`FsDisk`] (one folder of a real file system, real threads) and [`MemoryDisk`] (a
//! simulation that can be killed or lose power). The port has no notion of records, segments or
//! groups.

use std::io;
use std::sync::Arc;
use std::time::Duration;

mod fs;
mod memory;

pub use fs::FsDisk;
pub use memory::{Fault, MemoryDisk};

/// Who runs the work that a journal does besides its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// [`Disk::spawn`] gives threads.
    Threads,
    /// No threads: the call that brings work also does it, before it returns.
    Inline,
    /// No threads: work waits until `Journal::step` is called. For simulations in which a barrier
    /// takes time.
    Stepped,
}

/// One open file. Clones of the `Arc` share it.
pub trait DiskFile: Send + Sync + 'static {
    /// Fills `into` from `offset`; an end of file inside the range is an error.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`. Volatile until [`DiskFile::sync_data`].
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Barrier: all bytes written before, and the length, are on stable storage when it returns
    /// `Ok`.
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Grows (with zeros, not allocated) or shrinks the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
}

/// Held while a folder is in use; dropping it releases the folder.
pub trait DiskLock: Send + Sync + 'static {}

/// A thread given by [`Disk::spawn`].
pub trait DiskThread: Send + 'static {
    /// Waits for its end.
    fn join(self: Box<Self>);
}

/// Room on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes free for this process.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// The part of a disk below which it is low, however small it is.
const LOW_PART: u64 = 20;
/// Free bytes that are never low, however large the disk is: snapshots, table merges and a hundred journal segments fit
/// several times over.
const LOW_BYTES_MAX: u64 = 4 << 30;

impl Space {
    /// Less is free than the work in hand may need: a twentieth, and of a large disk no more than 4 GiB.
    #[must_use]
    pub fn is_low(self) -> bool {
        self.free_bytes < (self.total_bytes / LOW_PART).min(LOW_BYTES_MAX)
    }
}

/// What [`Disk::spawn`] runs.
pub type Work = Box<dyn FnOnce() + Send>;

/// One folder of files, named by plain names without separators.
pub trait Disk: Send + Sync + 'static {
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates an empty file for reading and writing; an existing one is emptied.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file over whatever has the new name. Durable after [`Disk::sync_folder`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Durable after [`Disk::sync_folder`].
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Names of all files, sorted.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Barrier for creations, renames and removals.
    fn sync_folder(&self) -> io::Result<()>;
    /// Takes the folder for this handle alone; `WouldBlock` when somebody else has it.
    fn lock(&self, name: &str) -> io::Result<Box<dyn DiskLock>>;
    /// Room on the disk, or `None` when the adapter cannot tell.
    fn space(&self) -> Option<Space>;
    /// For messages: where this is.
    fn location(&self) -> String;
    /// Time that has passed on this disk's clock, of which only differences mean anything. An adapter that has no clock
    /// stays at 0: nothing on it ever takes long.
    fn now(&self) -> Duration {
        Duration::ZERO
    }
    /// Who runs background work.
    fn pace(&self) -> Pace;
    /// Starts a thread. Only called when [`Disk::pace`] is [`Pace::Threads`].
    fn spawn(&self, name: &str, work: Work) -> io::Result<Box<dyn DiskThread>>;
}

#[cfg(test)]
mod tests {
    use super::Space;

    #[test]
    fn a_twentieth_is_low_on_a_small_disk_and_four_gigabytes_on_any() {
        let low = |free_bytes, total_bytes| Space { free_bytes, total_bytes }.is_low();
        assert!(low(4, 100) && !low(5, 100));
        let (gib, tib) = (1 << 30, 1 << 40);
        assert!(low(3 * gib, tib) && !low(4 * gib, tib), "a large disk keeps serving");
    }
}
