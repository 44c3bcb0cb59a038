//! The journal: one segmented log shared by all Raft groups of a node (station 6, record).
//!
//! Law: one queue, one writer, one barrier for all groups. A completion runs only after the barrier
//! that covers its operation, in the order of submission, on failure too; a vote is therefore
//! durable before any entry that was submitted after it. The first failed write or barrier ends all
//! writing in this process. What the bytes mean is the caller's business. There are no
//! transactions, no timers and no repair.
//!
//! ```text
//! callers ──► group (index, cache) ──► queue ──► writer ──► segment files ──► completions
//!                      ▲                            │
//!                      └────── places on disk ──────┴──► chores: prepare, remove, move
//! ```

mod chores;
mod format;
mod found;
mod group;
mod group_log;
mod look;
mod queue;
mod recovery;
mod scan;
mod scrub;
mod segments;
mod shared;
mod tempo;
pub(crate) mod thrown;
mod writer;
mod written;

pub use group_log::GroupLog;
pub use look::{GroupSeen, JournalSeen, look};
pub use scrub::Scrub;

#[cfg(doc)]
use crate::disk::Space;
use crate::disk::{Disk, DiskLock, DiskThread, Pace, Work};
use crate::error::StoreError;
use bytes::Bytes;
use parking_lot::Mutex;
use shared::Shared;
use std::sync::Arc;

/// Runs once, after the barrier that covers the operation (on the writer's thread) or when it has
/// failed; in the order of submission of the whole journal. It must be short and must not wait for
/// the journal.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Called once, with the first fatal error.
pub type OnFatal = Box<dyn Fn(&StoreError) + Send + Sync>;
/// Called when there is work for [`Journal::step`].
pub type OnWork = Box<dyn Fn() + Send + Sync>;

/// The largest vote or committed position.
pub const VOTE_BYTES_MAX: usize = 4096;

/// One entry of a group's log. The journal gives `kind` and `payload` no meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Place in the group's log; dense.
    pub index: u64,
    /// Term in which a leader wrote it.
    pub term: u64,
    /// Node part of the leader id.
    pub node: u64,
    /// The caller's own kind, kept as it is.
    pub kind: u8,
    /// The caller's bytes, at most 64 MiB.
    pub payload: Bytes,
}

impl LogRecord {
    /// Term, node and index.
    #[must_use]
    pub fn position(&self) -> LogPosition {
        LogPosition { term: self.term, node: self.node, index: self.index }
    }
}

/// A place in a group's log with the leader that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// Term.
    pub term: u64,
    /// Node part of the leader id.
    pub node: u64,
    /// Index.
    pub index: u64,
}

/// What a group has in the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// Last saved vote.
    pub vote: Option<Bytes>,
    /// Last saved committed position; after a restart possibly an older one.
    pub committed: Option<Bytes>,
    /// Index of the first record, or of the next one when there is none (0 when there never was
    /// any).
    pub first: u64,
    /// Last record, or the purged position when there is none.
    pub last: Option<LogPosition>,
    /// Up to where records were purged.
    pub purged: Option<LogPosition>,
}

/// Encrypts payloads at rest. `aad` binds group, index, term, node and kind, so that swapped
/// records do not open.
pub trait RecordSeal: Send + Sync + 'static {
    /// Seals `plaintext` under `aad`.
    fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Vec<u8>;
    /// Opens what [`RecordSeal::seal`] made under the same `aad`.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`] for any other bytes, key or `aad`.
    fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreError>;
}

/// Settings of a journal.
#[derive(Clone)]
pub struct JournalConfig {
    /// Bytes of a full segment, 64 KiB to 1 GiB. May differ from one start to the next.
    pub segment_bytes: u64,
    /// Bytes of recent payloads kept in memory for each group.
    pub cache_bytes_per_group: usize,
    /// Cluster and node to which the folder belongs.
    pub identity: [u8; 16],
    /// Encryption of payloads at rest. Records written without it stay readable.
    pub seal: Option<Arc<dyn RecordSeal>>,
    /// From this number of segments on, the few live entries of the oldest are copied forward so
    /// that it can go.
    pub segments_max: usize,
}

impl JournalConfig {
    /// 16 MiB segments (a full one is filled in some ten milliseconds and covers seconds of load),
    /// 1 MiB of cache for each group (a follower that lags by less is served from memory), no
    /// encryption, copying from 16 segments on.
    #[must_use]
    pub fn new(identity: [u8; 16]) -> Self {
        Self {
            segment_bytes: 16 << 20,
            cache_bytes_per_group: 1 << 20,
            identity,
            seal: None,
            segments_max: 16,
        }
    }
}

/// Figures for metrics, and for a watchdog: `waiting_bytes > 0` while `batches` stands still means
/// a stuck disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Batches written, one barrier each.
    pub batches: u64,
    /// Operations that were completed by them.
    pub operations: u64,
    /// Bytes of batches.
    pub bytes: u64,
    /// Bytes submitted and not yet durable.
    pub waiting_bytes: u64,
    /// Segment files, with the one prepared ahead, without those kept for reuse.
    pub segments: u64,
    /// Bytes of entries that are still needed.
    pub live_bytes: u64,
    /// Free bytes of the disk, if it can tell.
    pub free_bytes: Option<u64>,
    /// New entries are refused for want of room.
    pub full: bool,
    /// Little of the disk is free, by [`Space::is_low`]: time to refuse new messages at the door.
    pub low: bool,
    /// The disk takes long over batches, by what [`Journal::look_at_disk`] found last.
    pub slow: bool,
}

/// Handle on a node's journal; cheap to clone. The last one that goes closes the journal.
#[derive(Clone)]
pub struct Journal {
    owner: Arc<Owner>,
}

struct Owner {
    shared: Arc<Shared>,
    threads: Mutex<Vec<Box<dyn DiskThread>>>,
    lock: Mutex<Option<Box<dyn DiskLock>>>,
}

impl Journal {
    /// Opens or creates the journal in the disk's folder. Everything reported afterwards is
    /// durable.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::WrongIdentity`], [`StoreError::WrongVersion`],
    /// [`StoreError::Corrupt`], or a failure of the disk. In no case was anything of value changed.
    ///
    /// # Panics
    /// When `segment_bytes` is out of its bounds.
    pub fn open(disk: Arc<dyn Disk>, config: JournalConfig) -> Result<Self, StoreError> {
        let bounds = 64 << 10..=1 << 30;
        assert!(bounds.contains(&config.segment_bytes), "segments have 64 KiB to 1 GiB");
        let lock = disk.lock("LOCK").map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => StoreError::Locked { path: disk.location() },
            _ => StoreError::while_doing("lock", disk.location(), &error),
        })?;
        let shared = Shared::open(Arc::clone(&disk), config)?;
        let owner = Owner { shared, threads: Mutex::new(Vec::new()), lock: Mutex::new(Some(lock)) };
        if disk.pace() == Pace::Threads {
            let (of_writer, of_chores) = (Arc::clone(&owner.shared), Arc::clone(&owner.shared));
            owner.start(&*disk, "journal-writer", Box::new(move || writer::run(&of_writer)))?;
            owner.start(&*disk, "journal-chores", Box::new(move || chores::run(&of_chores)))?;
        }
        Ok(Self { owner: Arc::new(owner) })
    }

    /// The log of one group, empty if nothing was ever written to it.
    #[must_use]
    pub fn group(&self, id: u32) -> GroupLog {
        GroupLog::new(Arc::clone(&self.owner.shared), id)
    }

    /// Groups that have ever written something, ascending.
    #[must_use]
    pub fn groups(&self) -> Vec<u32> {
        let groups = self.owner.shared.groups.lock();
        let written = groups.values().filter(|group| group.lock().state() != GroupState::default());
        written.map(|group| group.id).collect()
    }

    /// Sets the hook for the first fatal error; called at once if there was one already.
    pub fn set_on_fatal(&self, hook: OnFatal) {
        self.owner.shared.fatal.set_hook(hook);
    }

    /// Sets the hook that is called when [`Journal::step`] has something to do (stepped disks
    /// only).
    pub fn set_on_work(&self, hook: OnWork) {
        *self.owner.shared.on_work.lock() = Some(hook);
    }

    /// The first fatal error, if there was one.
    #[must_use]
    pub fn fatal(&self) -> Option<StoreError> {
        self.owner.shared.fatal.first().cloned()
    }

    /// Figures as of now.
    #[must_use]
    pub fn stats(&self) -> JournalStats {
        self.owner.shared.stats()
    }

    /// Judges how long the disk takes: whether it is slow, so that others should lead (rule W10). To be called about ten
    /// times a second, by one caller. A slow disk that nobody writes to is tried beside the journal.
    #[must_use]
    pub fn look_at_disk(&self) -> bool {
        let shared = &self.owner.shared;
        let seen = shared.tempo.look(shared.now());
        if seen.untried {
            shared.chores.try_disk();
        }
        seen.slow
    }

    /// Begins to look at the first segment after the one of this number, of which 0 is before all; `None` after the last.
    /// It is read by whoever asks, as slowly as they like.
    #[must_use]
    pub fn scrub(&self, after: u32) -> Option<Scrub> {
        Scrub::begin(&self.owner.shared, after)
    }

    /// This segment is damaged: nothing more is written to it or to those before it, and its file is set aside instead of
    /// being used again, once no entry in it or before it is needed. To have it go, purge.
    pub fn leave_segment(&self, number: u32) {
        self.owner.shared.segments.leave(number);
    }

    /// On a stepped disk: writes one batch and runs its completions; when none waits, does one chore
    /// (makes the next segment, removes old ones, copies entries forward). Whether there was anything
    /// to do. A simulation that is slow to call it has chores that lag behind, as a busy disk has.
    pub fn step(&self) -> bool {
        let shared = &self.owner.shared;
        writer::step(shared) == Some(true) || shared.chores.run_pending(shared)
    }

    /// Writes what waits, stops the threads and releases the folder, whoever else still has a
    /// handle. Operations submitted later are answered [`StoreError::Closed`].
    pub fn close(self) {
        self.owner.close();
    }
}

impl Owner {
    fn start(&self, disk: &dyn Disk, name: &str, work: Work) -> Result<(), StoreError> {
        let thread = disk.spawn(name, work);
        let thread = thread.map_err(|error| StoreError::while_doing("start", name, &error))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    fn close(&self) {
        self.shared.queue.close();
        self.shared.chores.close();
        for thread in self.threads.lock().drain(..) {
            thread.join();
        }
        if self.shared.pace != Pace::Threads {
            while writer::step(&self.shared) == Some(true) {}
        }
        self.lock.lock().take();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.close();
    }
}
