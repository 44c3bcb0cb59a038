//! The segment files: which there are, how much of each is still needed, and how a new one comes
//! into being.
//!
//! Law: a file that has a segment's name has a durable, valid header; its name is durable before
//! anything is written to it; numbers are never used twice. Files are filled with zeros (or are old
//! segments, recycled) before use, so that a barrier need not allocate. What a barrier costs is the
//! writer's business, when to make and remove files the chores'.

use super::format::{Salt, SegmentHeader};
use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A segment made in a hurry, and the first one of a folder: small, so that a node starts at once
/// and idles cheaply.
pub(crate) const SHORT_SEGMENT_BYTES: u64 = 1 << 20;
/// Old segments kept for reuse.
const SPARES_MAX: usize = 2;
/// Zeros are written and synced in pieces, so that the writer's barriers do not wait behind many of
/// them.
const FILL_BYTES: usize = 1 << 20;

/// A file that is becoming a segment. The writer and the chores may each have one at the same time.
struct Draft {
    name: &'static str,
    file: Arc<dyn DiskFile>,
    capacity: u64,
}

/// How the name of a damaged segment ends once nobody needs it; at most one is kept.
const ASIDE: &str = ".damaged";

const CHORES_DRAFT: &str = "ahead.draft";
const WRITERS_DRAFT: &str = "hurried.draft";

/// A record's place on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the segment; 0 = not known.
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    /// Bytes of the record with its header.
    pub(crate) bytes: u32,
}

impl Place {
    pub(crate) fn is_known(&self) -> bool {
        self.segment != 0
    }
}

/// File name of a segment.
pub(crate) fn segment_name(segment: u32) -> String {
    format!("{segment:08x}.segment")
}

/// Number of the segment with this file name.
pub(crate) fn segment_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".segment").filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(digits, 16).ok().filter(|number| segment_name(*number) == name)
}

/// Whether the file is an old segment kept for reuse.
pub(crate) fn is_spare(name: &str) -> bool {
    name.ends_with(".spare")
}

/// One segment file.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) number: u32,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) salt: Salt,
    pub(crate) capacity: u64,
}

#[derive(Clone, Copy, Default)]
struct Live {
    records: u64,
    bytes: u64,
}

/// Records still needed, by segment.
#[derive(Default)]
pub(crate) struct LiveMap {
    by_segment: BTreeMap<u32, Live>,
    bytes: u64,
}

impl LiveMap {
    pub(crate) fn add(&mut self, place: Place) {
        let live = self.by_segment.entry(place.segment).or_default();
        live.records += 1;
        live.bytes += u64::from(place.bytes);
        self.bytes += u64::from(place.bytes);
    }

    /// Does nothing for a place that is not known.
    pub(crate) fn remove(&mut self, place: Place) {
        if !place.is_known() {
            return;
        }
        let live = self.by_segment.get_mut(&place.segment).expect("it was added when it was told");
        live.records -= 1;
        live.bytes -= u64::from(place.bytes);
        self.bytes -= u64::from(place.bytes);
        if live.records == 0 {
            assert_eq!(live.bytes, 0, "no record has no bytes");
            self.by_segment.remove(&place.segment);
        }
    }

    /// The oldest segment with a record that is needed.
    pub(crate) fn oldest(&self) -> Option<u32> {
        self.by_segment.keys().next().copied()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Files by number, without the spares.
pub(crate) struct Files {
    pub(crate) by_number: BTreeMap<u32, Segment>,
    /// Made ahead, nothing written yet.
    pub(crate) prepared: Option<u32>,
    pub(crate) spares: Vec<String>,
}

/// See the module.
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    identity: [u8; 16],
    epoch: u64,
    segment_bytes: u64,
    files: Mutex<Files>,
    live: Mutex<LiveMap>,
    /// Held while a new segment gets its number and name.
    naming: Mutex<()>,
    /// The newest segment that is known to be damaged; 0: none.
    damaged: AtomicU32,
}

impl Segments {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        identity: [u8; 16],
        segment_bytes: u64,
        epoch: u64,
        files: Files,
    ) -> Self {
        let (files, live, naming) = (Mutex::new(files), Mutex::default(), Mutex::default());
        let damaged = AtomicU32::new(0);
        Self { disk, identity, epoch, segment_bytes, files, live, naming, damaged }
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, LiveMap> {
        self.live.lock()
    }

    pub(crate) fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock()
    }

    /// The segment, unless it is gone.
    pub(crate) fn get(&self, number: u32) -> Option<Segment> {
        self.files.lock().by_number.get(&number).cloned()
    }

    /// Takes note that a segment is damaged.
    pub(crate) fn leave(&self, number: u32) {
        self.damaged.fetch_max(number, Ordering::AcqRel);
    }

    /// Whether nothing more may be written there.
    pub(crate) fn is_left(&self, number: u32) -> bool {
        number <= self.damaged.load(Ordering::Acquire)
    }

    /// Bytes of a small segment under this configuration.
    pub(crate) fn short_bytes(&self) -> u64 {
        SHORT_SEGMENT_BYTES.min(self.segment_bytes)
    }

    /// The next segment for the writer: the prepared one or, in a hurry, a small one.
    pub(crate) fn next(&self) -> Result<Segment, StoreError> {
        let naming = self.naming.lock();
        let prepared = {
            let mut files = self.files.lock();
            let number = files.prepared.take();
            number.map(|number| files.by_number[&number].clone())
        };
        let segment = match prepared {
            Some(segment) => segment,
            None => self.name(self.fresh(WRITERS_DRAFT, self.short_bytes())?)?,
        };
        self.files.lock().by_number.insert(segment.number, segment.clone());
        drop(naming);
        Ok(segment)
    }

    /// Grows the writer's segment to at least `capacity`, for a batch that is larger than a
    /// segment.
    pub(crate) fn grow(&self, segment: &mut Segment, capacity: u64) -> Result<(), StoreError> {
        if segment.capacity >= capacity {
            return Ok(());
        }
        assert!(u32::try_from(capacity).is_ok(), "offsets in a segment have 32 bits");
        self.fill(&*segment.file, segment.capacity, capacity)?;
        segment.capacity = capacity;
        self.files.lock().by_number.insert(segment.number, segment.clone());
        Ok(())
    }

    /// Makes the segment after the present last one. Slow; for the chores.
    pub(crate) fn prepare(&self) -> Result<(), StoreError> {
        if self.files.lock().prepared.is_some() {
            return Ok(());
        }
        let spare = self.files.lock().spares.pop();
        let draft = match spare {
            Some(name) => {
                let at = |error| StoreError::while_doing("recycle", &name, &error);
                let file = self.disk.open(&name).map_err(at)?;
                self.disk.rename(&name, CHORES_DRAFT).map_err(at)?;
                Draft { name: CHORES_DRAFT, file, capacity: self.segment_bytes }
            }
            None => self.fresh(CHORES_DRAFT, self.segment_bytes)?,
        };
        let naming = self.naming.lock();
        let segment = self.name(draft)?;
        let mut files = self.files.lock();
        files.prepared = Some(segment.number);
        files.by_number.insert(segment.number, segment);
        drop(naming);
        Ok(())
    }

    /// The first segment of an empty folder.
    pub(crate) fn first(&self) -> Result<Segment, StoreError> {
        let naming = self.naming.lock();
        let segment = self.name(self.fresh(WRITERS_DRAFT, self.short_bytes())?)?;
        self.files.lock().by_number.insert(segment.number, segment.clone());
        drop(naming);
        Ok(segment)
    }

    /// A new file full of zeros.
    fn fresh(&self, name: &'static str, capacity: u64) -> Result<Draft, StoreError> {
        let at = |error| StoreError::while_doing("create", name, &error);
        let file = self.disk.create(name).map_err(at)?;
        if let Err(error) = self.fill(&*file, 0, capacity) {
            // A full disk must not stay full because of half a segment; the failure itself is what
            // is told.
            let _ = self.disk.remove(name);
            return Err(error);
        }
        Ok(Draft { name, file, capacity })
    }

    fn fill(&self, file: &dyn DiskFile, from: u64, to: u64) -> Result<(), StoreError> {
        let at = |error| StoreError::while_doing("fill", self.disk.location(), &error);
        let zeros = vec![0; FILL_BYTES];
        let mut offset = from;
        while offset < to {
            let piece = usize::try_from(to - offset).unwrap_or(FILL_BYTES).min(FILL_BYTES);
            file.write_at(&zeros[..piece], offset).map_err(at)?;
            offset += piece as u64;
            file.sync_data().map_err(at)?;
        }
        Ok(())
    }

    /// Turns the draft into the segment after the last one. Under `naming`.
    fn name(&self, draft: Draft) -> Result<Segment, StoreError> {
        let Draft { name: draft, file, capacity } = draft;
        let last = self.files.lock().by_number.keys().next_back().copied();
        let number = last.unwrap_or(0).checked_add(1).expect("2^32 segments are 64 PiB");
        let (identity, epoch) = (self.identity, self.epoch);
        let header = SegmentHeader { identity, segment: number, epoch, made_bytes: capacity };
        let name = segment_name(number);
        let at = |error| StoreError::while_doing("create", &name, &error);
        file.write_at(&header.encode(), 0).map_err(at)?;
        file.sync_data().map_err(at)?;
        self.disk.rename(draft, &name).map_err(at)?;
        if !planted::bug(planted::Bug::SegmentWithoutFolderSync) {
            self.disk.sync_folder().map_err(at)?;
        }
        Ok(Segment { number, file, salt: header.salt(), capacity })
    }

    /// Keeps a damaged file for whoever wants to know what hit it; the one before goes.
    fn set_aside(&self, name: &str) -> Result<(), StoreError> {
        let at = |error| StoreError::while_doing("set aside", name, &error);
        for older in self.disk.list().map_err(at)?.iter().filter(|name| name.ends_with(ASIDE)) {
            self.disk.remove(older).map_err(at)?;
        }
        self.disk.rename(name, &format!("{name}{ASIDE}")).map_err(at)
    }

    /// Removes the files of all segments before `oldest`, or keeps them for reuse. Nothing refers
    /// to them any more.
    pub(crate) fn remove_before(&self, oldest: u32) -> Result<(), StoreError> {
        let gone = {
            let mut files = self.files.lock();
            let kept = files.by_number.split_off(&oldest);
            std::mem::replace(&mut files.by_number, kept)
        };
        let mut spares = Vec::new();
        let room = SPARES_MAX.saturating_sub(self.files.lock().spares.len());
        for (number, segment) in gone {
            let name = segment_name(number);
            let at = |error| StoreError::while_doing("remove", &name, &error);
            // A reader that still holds the file must not see it change.
            let unread = Arc::strong_count(&segment.file) == 1;
            if number == self.damaged.load(Ordering::Acquire) {
                self.set_aside(&name)?;
            } else if unread && segment.capacity == self.segment_bytes && spares.len() < room {
                let spare = format!("{number:08x}.spare");
                self.disk.rename(&name, &spare).map_err(at)?;
                spares.push(spare);
            } else {
                self.disk.remove(&name).map_err(at)?;
            }
        }
        let at = |error| StoreError::while_doing("sync", self.disk.location(), &error);
        self.disk.sync_folder().map_err(at)?;
        // Only now: a file may be overwritten once its old name is surely gone.
        self.files.lock().spares.append(&mut spares);
        Ok(())
    }
}
