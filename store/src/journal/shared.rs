//! What the handles, the writer and the chores of one journal share.

use super::format::{FLAG_SEALED, RecordHeader};
use super::group::{Group, Slot};
use super::queue::{Chunk, Queue};
use super::recovery;
use super::scrub::Reach;
use super::segments::Segments;
use super::tempo::Tempo;
use super::writer::{self, Writer};
use super::{JournalConfig, JournalStats, OnFatal, OnWork};
use crate::disk::{Disk, Pace, Space};
use crate::error::StoreError;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A batch is at most this long, so that the first of many waiting calls does not wait for the
/// bytes of all.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Room that entries leave to votes, truncations and purges once the disk is full: thousands of
/// them.
const RESERVE_BYTES: u64 = 256 << 10;

/// What a slow disk is tried with; a start removes drafts.
const TRIED: &str = "trial.draft";
/// Bytes of it: the smallest batch.
const TRIED_BYTES: usize = 4096;

/// See the module.
pub(crate) struct Shared {
    pub(crate) config: JournalConfig,
    pub(crate) pace: Pace,
    pub(crate) queue: Queue,
    pub(crate) segments: Segments,
    pub(crate) groups: Mutex<BTreeMap<u32, Arc<Group>>>,
    pub(crate) writer: Mutex<Writer>,
    /// How far the writer has got, for those who do not write.
    pub(crate) reach: Mutex<Reach>,
    pub(crate) chores: super::chores::Chores,
    pub(crate) fatal: Fatal,
    pub(crate) on_work: Mutex<Option<OnWork>>,
    pub(crate) counters: Counters,
    pub(crate) tempo: Tempo,
    disk: Arc<dyn Disk>,
}

/// Counts since the journal was opened.
#[derive(Default)]
pub(crate) struct Counters {
    batches: AtomicU64,
    operations: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self, chunk: &Chunk) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.operations.fetch_add(chunk.operations.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(chunk.buffer.len() as u64, Ordering::Relaxed);
    }
}

/// The first fatal error and whom to tell (rule W4).
#[derive(Default)]
pub(crate) struct Fatal {
    first: OnceLock<StoreError>,
    hook: Mutex<Option<OnFatal>>,
}

impl Fatal {
    pub(crate) fn first(&self) -> Option<&StoreError> {
        self.first.get()
    }

    pub(crate) fn raise(&self, error: &StoreError) {
        let hook = self.hook.lock();
        if self.first.set(error.clone()).is_err() {
            return;
        }
        tracing::error!(%error, "the journal stops");
        if let Some(hook) = &*hook {
            hook(error);
        }
    }

    pub(crate) fn set_hook(&self, hook: OnFatal) {
        let mut place = self.hook.lock();
        if let Some(first) = self.first.get() {
            hook(first);
        }
        *place = Some(hook);
    }
}

/// Tells that a thread ended by a panic, its own or a completion's: nobody would serve the queue.
pub(crate) struct Guard<'a> {
    shared: &'a Shared,
    thread: &'static str,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = format!("the journal's {} has panicked", self.thread);
            self.shared.queue.close();
            self.shared.fatal.raise(&StoreError::Poisoned { reason });
        }
    }
}

impl Shared {
    pub(crate) fn guard(&self, thread: &'static str) -> Guard<'_> {
        Guard { shared: self, thread }
    }

    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        config: JournalConfig,
    ) -> Result<Arc<Self>, StoreError> {
        let found = recovery::recover(Arc::clone(&disk), &config)?;
        let groups = found
            .groups
            .into_iter()
            .map(|(id, group)| (id, Arc::new(Group::new(id, group.written, group.slots))));
        let segment_bytes = config.segment_bytes;
        let quarter = usize::try_from(segment_bytes / 4).expect("segments fit in memory");
        let queue = Queue::new(
            BATCH_BYTES_MAX.min(quarter),
            RESERVE_BYTES.min(segment_bytes / 8),
            found.writer.room(),
        );
        Ok(Arc::new(Self {
            pace: disk.pace(),
            queue,
            segments: found.segments,
            groups: Mutex::new(groups.collect()),
            reach: Mutex::new(found.writer.reach()),
            writer: Mutex::new(found.writer),
            chores: super::chores::Chores::default(),
            fatal: Fatal::default(),
            on_work: Mutex::new(None),
            counters: Counters::default(),
            tempo: Tempo::default(),
            disk,
            config,
        }))
    }

    /// Something was queued: without threads, see to it.
    pub(crate) fn attend(self: &Arc<Self>) {
        match self.pace {
            Pace::Threads => {}
            Pace::Inline => writer::pump(self),
            Pace::Stepped => {
                if let Some(hook) = &*self.on_work.lock() {
                    hook();
                }
            }
        }
    }

    /// The disk's clock.
    pub(crate) fn now(&self) -> Duration {
        self.disk.now()
    }

    /// Does what waits for the disk, and takes note of how long that was.
    pub(crate) fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let number = self.tempo.begin(self.disk.now());
        let done = work();
        self.tempo.end(number, self.disk.now());
        done
    }

    /// Writes a few bytes beside the journal, as it writes a batch. What fails here fails there as well, where it counts.
    pub(crate) fn try_disk(&self) {
        let write = || {
            let file = self.disk.create(TRIED)?;
            file.write_at(&[0; TRIED_BYTES], 0)?;
            file.sync_data()
        };
        let written = self.timed(write);
        if let Err(error) = written.and_then(|()| self.disk.remove(TRIED)) {
            tracing::debug!(%error, "a slow disk could not be tried");
        }
    }

    pub(crate) fn location(&self) -> String {
        self.disk.location()
    }

    /// An entry from its segment, as stored (possibly sealed). `None` if the segment is gone.
    pub(crate) fn load(
        &self,
        group: u32,
        index: u64,
        slot: &Slot,
    ) -> Result<Option<(RecordHeader, Bytes)>, StoreError> {
        let Some(segment) = self.segments.get(slot.place.segment) else {
            return Ok(None);
        };
        let name = || super::segments::segment_name(segment.number);
        let offset = u64::from(slot.place.offset);
        let mut bytes = vec![0; slot.place.bytes as usize];
        segment
            .file
            .read_at(&mut bytes, offset)
            .map_err(|error| StoreError::while_doing("read", name(), &error))?;
        let what = match RecordHeader::decode(&bytes, segment.salt, offset) {
            Some((header, ..)) if header.group != group || header.position.index != index => {
                format!("the record is entry {} of group {}", header.position.index, header.group)
            }
            Some((header, ..)) => {
                let payload = Bytes::from(bytes).slice(super::format::RECORD_HEADER_BYTES..);
                return Ok(Some((header, payload)));
            }
            None => "the checksum does not match".to_owned(),
        };
        let what = format!("entry {index} of group {group}: {what}");
        Err(StoreError::corrupt(name(), offset, what))
    }

    /// Payload for the disk.
    pub(crate) fn seal(&self, header: &mut RecordHeader, payload: Bytes) -> Bytes {
        let Some(seal) = &self.config.seal else {
            return payload;
        };
        header.flags |= FLAG_SEALED;
        Bytes::from(seal.seal(&associated_data(header), &payload))
    }

    /// Payload for the caller.
    pub(crate) fn unseal(
        &self,
        header: &RecordHeader,
        payload: Bytes,
    ) -> Result<Bytes, StoreError> {
        if header.flags & FLAG_SEALED == 0 {
            return Ok(payload);
        }
        let what = || format!("entry {} of group {}", header.position.index, header.group);
        let Some(seal) = &self.config.seal else {
            return Err(StoreError::wrong_key(what()));
        };
        Ok(Bytes::from(seal.open(&associated_data(header), &payload)?))
    }

    pub(crate) fn stats(&self) -> JournalStats {
        let space = self.disk.space();
        JournalStats {
            batches: self.counters.batches.load(Ordering::Relaxed),
            operations: self.counters.operations.load(Ordering::Relaxed),
            bytes: self.counters.bytes.load(Ordering::Relaxed),
            waiting_bytes: self.queue.queued_bytes() as u64,
            segments: self.segments.files().by_number.len() as u64,
            live_bytes: self.segments.live().bytes(),
            free_bytes: space.map(|space| space.free_bytes),
            full: self.queue.is_full(),
            low: space.is_some_and(Space::is_low),
            slow: self.tempo.is_slow(),
        }
    }
}

/// What a sealed payload is bound to (rule W11). Not the place on disk: an entry may be copied
/// forward as it is.
fn associated_data(header: &RecordHeader) -> [u8; 44] {
    let mut data = [0; 44];
    data[..15].copy_from_slice(b"synod.journal.1");
    data[15] = header.entry_kind;
    data[16..20].copy_from_slice(&header.group.to_le_bytes());
    data[20..28].copy_from_slice(&header.position.index.to_le_bytes());
    data[28..36].copy_from_slice(&header.position.term.to_le_bytes());
    data[36..].copy_from_slice(&header.position.node.to_le_bytes());
    data
}
