//! Reading a journal back after a stop, clean or not (rules W5 and W7).
//!
//! Law: every byte that is adopted has been checked. Only the batch that was being written may be
//! damaged; it was never acknowledged and is cut. All other damage refuses to open, with the file
//! and the offset. What is adopted is made durable again before anybody is told of it: it may have
//! come from a page cache that never reached the disk.

use super::JournalConfig;
use super::format::{
    BATCH_HEADER_BYTES, BadHeader, Kind, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader,
};
use super::found::FoundGroup;
use super::scan::{Scan, Stop};
use super::segments::{Files, Place, Segment, Segments, is_spare, segment_name, segment_number};
use super::writer::{SEAL_BYTES, Writer};
use super::written::Written;
use crate::disk::Disk;
use crate::error::StoreError;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A journal as found.
pub(crate) struct Found {
    pub(crate) segments: Segments,
    pub(crate) writer: Writer,
    pub(crate) groups: BTreeMap<u32, FoundGroup>,
}

/// Finds out what the folder holds, makes it durable, and removes what is left over.
pub(crate) fn recover(disk: Arc<dyn Disk>, config: &JournalConfig) -> Result<Found, StoreError> {
    let at = |error| StoreError::while_doing("list", disk.location(), &error);
    let names = disk.list().map_err(at)?;
    for draft in names.iter().filter(|name| name.ends_with(".draft")) {
        disk.remove(draft).map_err(at)?;
    }
    let mut files = Files {
        by_number: BTreeMap::new(),
        prepared: None,
        spares: names.iter().filter(|name| is_spare(name)).cloned().collect(),
    };
    let mut epoch = 0;
    for number in names.iter().filter_map(|name| segment_number(name)) {
        let (segment, header) = open_segment(&*disk, config, number)?;
        epoch = epoch.max(header.epoch);
        files.by_number.insert(number, segment);
    }
    drop_odd_spares(&*disk, config, &mut files)?;
    if files.by_number.is_empty() {
        let segments = Segments::new(disk, config.identity, config.segment_bytes, 1, files);
        let writer = Writer::begin(segments.first()?);
        return Ok(Found { segments, writer, groups: BTreeMap::new() });
    }
    let mut reader = Reader::new(newest_run(&files));
    let writer = reader.read_all()?;
    reader.complete(writer.oldest)?;
    adopt(&*disk, config, &reader, &writer)?;
    files.prepared =
        files.by_number.keys().next_back().copied().filter(|last| *last > writer.active.number);
    let segments = Segments::new(disk, config.identity, config.segment_bytes, epoch + 1, files);
    for slot in reader.groups.values().flat_map(|group| &group.slots) {
        segments.live().add(slot.place);
    }
    segments.remove_before(writer.oldest)?;
    Ok(Found { segments, writer, groups: reader.groups })
}

/// A journal as read by somebody who changes nothing.
pub(crate) struct Seen {
    /// Number and bytes of each segment.
    pub(crate) segments: Vec<(u32, u64)>,
    pub(crate) oldest: u32,
    pub(crate) groups: BTreeMap<u32, FoundGroup>,
}

/// Whose journal this is, as its first segment says.
pub(crate) fn identity(disk: &dyn Disk) -> Result<[u8; 16], StoreError> {
    let at = |error| StoreError::while_doing("read", disk.location(), &error);
    let names = disk.list().map_err(at)?;
    let Some(name) = names.iter().find(|name| segment_number(name).is_some()) else {
        return Err(StoreError::corrupt(disk.location(), 0, "there is no segment"));
    };
    let mut page = vec![0; SEGMENT_HEADER_BYTES];
    disk.open(name).and_then(|file| file.read_at(&mut page, 0)).map_err(at)?;
    let header = SegmentHeader::decode(&page);
    let wrong = |_| StoreError::corrupt(name, 0, "the header is not one that is known here");
    Ok(header.map_err(wrong)?.identity)
}

/// Reads what the folder holds and changes nothing.
pub(crate) fn read(disk: &dyn Disk, config: &JournalConfig) -> Result<Seen, StoreError> {
    let names =
        disk.list().map_err(|error| StoreError::while_doing("list", disk.location(), &error))?;
    let mut files = Files { by_number: BTreeMap::new(), prepared: None, spares: Vec::new() };
    for number in names.iter().filter_map(|name| segment_number(name)) {
        files.by_number.insert(number, open_segment(disk, config, number)?.0);
    }
    let segments = files.by_number.values().map(|one| (one.number, one.capacity)).collect();
    let mut reader = Reader::new(newest_run(&files));
    let writer = reader.read_all()?;
    reader.complete(writer.oldest)?;
    Ok(Seen { segments, oldest: writer.oldest, groups: reader.groups })
}

fn open_segment(
    disk: &dyn Disk,
    config: &JournalConfig,
    number: u32,
) -> Result<(Segment, SegmentHeader), StoreError> {
    let name = segment_name(number);
    let at = |error| StoreError::while_doing("open", &name, &error);
    let file = disk.open(&name).map_err(at)?;
    let capacity = file.len().map_err(at)?;
    let mut page = vec![0; SEGMENT_HEADER_BYTES];
    if capacity < page.len() as u64 {
        return Err(StoreError::corrupt(&name, capacity, "the file ends within its header"));
    }
    file.read_at(&mut page, 0).map_err(at)?;
    let header = match SegmentHeader::decode(&page) {
        Ok(header) => header,
        Err(BadHeader::Damaged) => {
            return Err(StoreError::corrupt(&name, 0, "the header is not one of a segment"));
        }
        Err(BadHeader::Version(found)) => {
            return Err(StoreError::WrongVersion {
                file: name,
                found,
                expected: super::format::VERSION,
            });
        }
    };
    if header.identity != config.identity {
        return Err(StoreError::WrongIdentity { file: name });
    }
    if header.segment != number {
        let what = format!("the header is the one of `{}`", segment_name(header.segment));
        return Err(StoreError::corrupt(&name, 0, what));
    }
    if capacity < header.made_bytes {
        // Never a torn tail: a segment has its length before anything is written to it.
        let what = format!("the file was made with {} bytes", header.made_bytes);
        return Err(StoreError::corrupt(&name, capacity, what));
    }
    Ok((Segment { number, file, salt: header.salt(), capacity }, header))
}

/// Spares of another size (the configuration changed) are of no use.
fn drop_odd_spares(
    disk: &dyn Disk,
    config: &JournalConfig,
    files: &mut Files,
) -> Result<(), StoreError> {
    let mut kept = Vec::new();
    for name in std::mem::take(&mut files.spares) {
        let at = |error| StoreError::while_doing("inspect", &name, &error);
        if disk.open(&name).and_then(|file| file.len()).map_err(at)? == config.segment_bytes {
            kept.push(name);
        } else {
            disk.remove(&name).map_err(at)?;
        }
    }
    files.spares = kept;
    Ok(())
}

/// The segments that follow each other without a gap up to the newest. What lies before a gap was
/// being removed, or something in between is lost; the records tell which.
fn newest_run(files: &Files) -> Vec<Segment> {
    let mut run: Vec<Segment> = Vec::new();
    for segment in files.by_number.values().rev() {
        if run.last().is_some_and(|next| next.number != segment.number + 1) {
            break;
        }
        run.push(segment.clone());
    }
    run.reverse();
    run
}

/// Where the last good batch is.
#[derive(Clone, Copy, Debug, Default)]
struct Tail {
    segment: u32,
    offset: u64,
    bytes: usize,
}

struct Reader {
    run: Vec<Segment>,
    groups: BTreeMap<u32, FoundGroup>,
    oldest: u32,
    /// Number and chain value of the last good batch.
    last: Option<(u64, u32)>,
    tail: Tail,
}

impl Reader {
    fn new(run: Vec<Segment>) -> Self {
        let oldest = run.first().map_or(1, |segment| segment.number);
        Self { run, groups: BTreeMap::new(), oldest, last: None, tail: Tail::default() }
    }

    /// Reads all segments and finds the place where the writer goes on.
    fn read_all(&mut self) -> Result<Writer, StoreError> {
        let run = std::mem::take(&mut self.run);
        let mut bytes = Vec::new();
        let mut place: Option<(Segment, u64)> = None;
        let mut sealed = true;
        for segment in &run {
            load(segment, &mut bytes)?;
            let mut scan = Scan::new(&bytes, segment.salt, self.last);
            if !sealed {
                // The segment before goes on, so this one was only prepared; a batch in it proves
                // the loss of others.
                if let Some(found) = scan.search(SEGMENT_HEADER_BYTES) {
                    let (before, end) = place.as_ref().expect("an unsealed segment was read");
                    let what = format!(
                        "a batch was expected; a later one is in `{}` at byte {found}",
                        segment_name(segment.number)
                    );
                    return Err(StoreError::corrupt(segment_name(before.number), *end, what));
                }
                continue;
            }
            let (end, seal) = self.read_segment(segment, &mut scan)?;
            sealed = seal;
            place = Some((segment.clone(), end));
        }
        let (active, offset) = place.expect("there is at least one segment");
        let name = segment_name(active.number);
        if sealed {
            return Err(StoreError::corrupt(
                name,
                offset,
                "the segment that must follow this one is missing",
            ));
        }
        let begins_segment = offset == SEGMENT_HEADER_BYTES as u64;
        if self.last.is_none() && active.number != 1 {
            return Err(StoreError::corrupt(name, offset, "there is no batch in any segment"));
        }
        let beyond = run.iter().filter(|segment| segment.number > active.number).count();
        if beyond > 1 {
            return Err(StoreError::corrupt(name, offset, "more than one empty segment follows"));
        }
        self.run = run;
        let (number, chain) = self.last.map_or((1, 0), |(number, chain)| (number + 1, chain));
        let written =
            self.groups.iter().map(|(group, found)| (*group, found.written.clone())).collect();
        let oldest = self.oldest;
        Ok(Writer { active, offset, number, chain, begins_segment, written, oldest })
    }

    /// Reads one segment; returns where it ends and whether it is sealed.
    fn read_segment(
        &mut self,
        segment: &Segment,
        scan: &mut Scan<'_>,
    ) -> Result<(u64, bool), StoreError> {
        let name = segment_name(segment.number);
        let mut first = true;
        loop {
            let offset = scan.offset();
            let batch = match scan.next() {
                Ok(batch) => batch,
                Err(Stop::Contradiction(what)) => {
                    return Err(StoreError::corrupt(name, offset as u64, what));
                }
                Err(Stop::End) => {
                    let later = scan.search(offset);
                    if let Some(later) =
                        later.filter(|_| !planted::bug(planted::Bug::TruncateAtFirstBad))
                    {
                        let what = format!(
                            "a batch is damaged although a later one, at byte {later}, is good"
                        );
                        return Err(StoreError::corrupt(name, offset as u64, what));
                    }
                    return Ok((offset as u64, false));
                }
            };
            if first && !batch.checkpoint {
                let what = "the first batch of a segment must hold the state of all groups";
                return Err(StoreError::corrupt(name, offset as u64, what));
            }
            for (header, payload, at) in &batch.records {
                let place = Place {
                    segment: segment.number,
                    offset: u32::try_from(*at).map_err(|_| {
                        StoreError::corrupt(&name, *at as u64, "a segment has less than 4 GiB")
                    })?,
                    bytes: u32::try_from(header.bytes()).expect("it lies within a segment"),
                };
                self.record(header, payload, place)
                    .map_err(|what| StoreError::corrupt(&name, *at as u64, what))?;
            }
            first = false;
            self.last = Some((batch.number, batch.chain));
            self.tail = Tail { segment: segment.number, offset: offset as u64, bytes: batch.bytes };
            if batch.seal {
                return Ok((scan.offset() as u64, true));
            }
        }
    }

    fn record(
        &mut self,
        header: &RecordHeader,
        payload: &[u8],
        place: Place,
    ) -> Result<(), String> {
        if header.kind == Kind::Dropped {
            self.oldest = u32::try_from(header.position.index).unwrap_or(u32::MAX);
            return Ok(());
        }
        let known = self.groups.contains_key(&header.group);
        let found = self.groups.entry(header.group).or_default();
        if header.kind == Kind::Checkpoint {
            let written = Written::decode(payload).ok_or("a checkpoint that says nothing")?;
            if known && found.written != written {
                return Err(format!(
                    "group {}: the records before say something else",
                    header.group
                ));
            }
            if !known {
                *found = FoundGroup::begin(written);
            }
            return Ok(());
        }
        let followed = found.follow(header, payload, place);
        followed.map_err(|what| format!("group {}: {what}", header.group))
    }

    /// All entries that should be there are there, and all segments that are needed.
    fn complete(&mut self, oldest: u32) -> Result<(), StoreError> {
        let begin = self.run.first().expect("there is at least one segment");
        if oldest < begin.number {
            let what = format!(
                "the file is missing; the oldest one at hand is `{}`",
                segment_name(begin.number)
            );
            return Err(StoreError::corrupt(segment_name(oldest), 0, what));
        }
        for (group, found) in &mut self.groups {
            if let Err(index) = found.complete() {
                let what = format!("entry {index} of group {group} is in no segment");
                return Err(StoreError::corrupt(segment_name(begin.number), 0, what));
            }
        }
        Ok(())
    }
}

/// Reads a whole segment into a buffer that is used again and again.
fn load(segment: &Segment, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
    let name = segment_name(segment.number);
    let len = usize::try_from(segment.capacity)
        .map_err(|_| StoreError::corrupt(&name, 0, "a segment has less than 4 GiB"))?;
    bytes.resize(len, 0);
    segment.file.read_at(bytes, 0).map_err(|error| StoreError::while_doing("read", name, &error))
}

/// Rule W7. The last good batch may have been read from a page cache in which a failed barrier left
/// it "clean", so it is written again before the barrier; and whatever follows it is stopped from
/// ever looking like a batch.
fn adopt(
    disk: &dyn Disk,
    config: &JournalConfig,
    reader: &Reader,
    writer: &Writer,
) -> Result<(), StoreError> {
    if planted::bug(planted::Bug::RecoveryWithoutBarrier) {
        return Ok(());
    }
    let tail = reader.tail;
    for segment in reader.run.iter().filter(|segment| segment.number >= tail.segment) {
        let name = segment_name(segment.number);
        let at = |error| StoreError::while_doing("sync", &name, &error);
        let (_, header) = open_segment(disk, config, segment.number)?;
        segment.file.write_at(&header.encode(), 0).map_err(at)?;
        if segment.number == tail.segment {
            let mut bytes = vec![0; tail.bytes];
            segment.file.read_at(&mut bytes, tail.offset).map_err(at)?;
            segment.file.write_at(&bytes, tail.offset).map_err(at)?;
        }
        if segment.number == writer.active.number && writer.room() >= SEAL_BYTES {
            segment.file.write_at(&[0; BATCH_HEADER_BYTES], writer.offset).map_err(at)?;
        }
        segment.file.sync_data().map_err(at)?;
    }
    disk.sync_folder().map_err(|error| StoreError::while_doing("sync", disk.location(), &error))
}
