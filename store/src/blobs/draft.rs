//! A blob that is being written. The last up to 64 KiB stay in memory until it is known whether more follow.

use std::sync::Arc;

use super::PART;
use super::format::{Frame, Layout, Role, SEGMENT_BYTES};
use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;

/// Dropped without [`Draft::finish`] or [`Draft::pause`], it leaves nothing.
pub struct Draft {
    folder: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    frame: Frame,
    name: String,
    /// Whole segments on the disk.
    segments: u64,
    tail: Vec<u8>,
    keep: bool,
}

impl Draft {
    pub(super) fn create(
        folder: Arc<dyn Disk>,
        frame: Frame,
        name: String,
    ) -> Result<Self, StoreError> {
        let file = folder.create(&name).map_err(|error| frame.failed("create", &error))?;
        file.write_at(&frame.header(), 0).map_err(|error| frame.failed("write", &error))?;
        Ok(Self { folder, file, frame, name, segments: 0, tail: Vec::new(), keep: false })
    }

    pub(super) fn resume(
        folder: Arc<dyn Disk>,
        frame: Frame,
        name: String,
        mut each: impl FnMut(&[u8]),
    ) -> Result<Option<Self>, StoreError> {
        let file = match folder.open(&name) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(frame.failed("open", &error)),
        };
        let length = file.len().map_err(|error| frame.failed("inspect", &error))?;
        let mut draft =
            Self { folder, file, frame, name, segments: 0, tail: Vec::new(), keep: true };
        // A draft that was not even begun on the disk is one without bytes.
        if draft.frame.check_header(&*draft.file).is_err() {
            let header = draft.frame.header();
            draft.file.write_at(&header, 0).map_err(|error| draft.frame.failed("write", &error))?;
        }
        while let Some(segment) = draft.whole_segment(length) {
            each(&segment);
            draft.segments += 1;
        }
        draft.tail = draft.paused_tail()?;
        each(&draft.tail);
        let end = draft.frame.place(draft.segments);
        draft.file.set_len(end).map_err(|error| draft.frame.failed("cut", &error))?;
        Ok(Some(draft))
    }

    /// The next segment, if it is whole.
    fn whole_segment(&self, length: u64) -> Option<Vec<u8>> {
        let end = self.frame.place(self.segments + 1);
        let read = || self.frame.read(&*self.file, self.segments, SEGMENT_BYTES, Role::Middle);
        if end <= length { read().ok() } else { None }
    }

    /// The end of the draft as it was paused, unless more than that is whole by now.
    fn paused_tail(&self) -> Result<Vec<u8>, StoreError> {
        let failed = |error| self.frame.failed("read", &error);
        let file = match self.folder.open(&tail_of(&self.name)) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let there = usize::try_from(file.len().map_err(failed)?).unwrap_or(usize::MAX);
        let length = there.saturating_sub(self.frame.more()).min(SEGMENT_BYTES);
        // It is bound to its number: one of a segment that is whole by now does not open.
        Ok(self.frame.read_alone(&*file, self.segments, length).unwrap_or_default())
    }

    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments * SEGMENT_BYTES as u64 + self.tail.len() as u64
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// When the disk fails; nothing more may be added then.
    pub fn append(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            if self.tail.len() == SEGMENT_BYTES {
                self.frame.write(&*self.file, self.segments, &self.tail, Role::Middle)?;
                self.segments += 1;
                self.tail.clear();
            }
            let room = SEGMENT_BYTES - self.tail.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.tail.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Puts everything so far on stable storage, to be gone on with later, after a restart too.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn pause(&mut self) -> Result<(), StoreError> {
        self.sync()?;
        // In a file of its own that is replaced as a whole: its place in the draft is about to be written over.
        let (name, part) = (tail_of(&self.name), format!("{}{PART}", tail_of(&self.name)));
        let failed = |error| self.frame.failed("write", &error);
        let file = self.folder.create(&part).map_err(failed)?;
        self.frame.write_alone(&*file, self.segments, &self.tail)?;
        file.sync_data().map_err(failed)?;
        self.folder.rename(&part, &name).map_err(failed)?;
        self.folder.sync_folder().map_err(failed)?;
        self.keep = true;
        Ok(())
    }

    /// Makes it a blob: from now on it is under its name, on stable storage. Answers how many bytes it has.
    ///
    /// # Errors
    /// When the disk fails; then there is no such blob.
    pub fn finish(mut self) -> Result<u64, StoreError> {
        let end = self.frame.write(&*self.file, self.segments, &self.tail, Role::Last)?;
        let cut = self.file.set_len(end);
        cut.map_err(|error| self.frame.failed("cut", &error))?;
        let layout = self.frame.layout(end)?;
        let segments = self.segments + 1;
        assert_eq!(layout, Layout { bytes: self.bytes(), segments }, "it reads as it was written");
        self.file.sync_data().map_err(|error| self.frame.failed("sync", &error))?;
        let renamed = self.folder.rename(&self.name, &self.frame.name);
        renamed.map_err(|error| self.frame.failed("rename", &error))?;
        self.keep = true;
        let synced = self.folder.sync_folder();
        synced.map_err(|error| self.frame.failed("sync the folder of", &error))?;
        // There is one if it was ever paused; one that stays behind is worth nothing and hurts nobody.
        let _ = self.folder.remove(&tail_of(&self.name));
        Ok(layout.bytes)
    }

    fn sync(&self) -> Result<(), StoreError> {
        let synced = self.file.sync_data().and_then(|()| self.folder.sync_folder());
        synced.map_err(|error| self.frame.failed("sync", &error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed now is swept at the next start.
            let _ = self.folder.remove(&self.name);
        }
    }
}

/// The file with the end of a paused draft.
pub(super) fn tail_of(draft: &str) -> String {
    format!("{draft}.tail")
}
