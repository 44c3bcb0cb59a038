//! Damage: a torn tail is cut, everything else refuses to open and says where. Never does a journal
//! open with other contents than were written.

#[path = "support/journal.rs"]
mod support;

use store::{Disk, Journal, LogPosition, MemoryDisk, StoreError};
use support::{Model, Random, Run, open, record, state, wait};

const HEADER: usize = 4096;

/// Two groups, batches of one record, over about six segments of which none was removed. Returns
/// the segments' names.
fn filled() -> (MemoryDisk, Vec<String>) {
    let disk = MemoryDisk::default();
    let journal = open(disk.clone()).expect("opens");
    for index in 1..=500_u64 {
        let log = journal.group(index as u32 % 2);
        let index = index.div_ceil(2);
        wait(|done| log.append(vec![record(log.id(), index, 1)], done)).expect("durable");
    }
    journal.close();
    let names = segments(&disk);
    assert!(names.len() > 3);
    (disk, names)
}

fn segments(disk: &MemoryDisk) -> Vec<String> {
    let names = disk.list().expect("a live disk");
    names.into_iter().filter(|name| name.ends_with(".segment")).collect()
}

fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Name of the last segment with batches, and its bytes.
fn tail(disk: &MemoryDisk, names: &[String]) -> (String, Vec<u8>) {
    let mut with_batches = names.iter().rev().filter_map(|name| {
        let bytes = disk.contents(name).expect("it is there");
        (used(&bytes) > HEADER).then(|| (name.clone(), bytes))
    });
    with_batches.next().expect("there is one")
}

fn lengths(journal: &Journal) -> (usize, usize) {
    let read = |group| journal.group(group).read(0, u64::MAX, usize::MAX).expect("readable").len();
    (read(0), read(1))
}

fn refusal(disk: &MemoryDisk) -> (String, u64) {
    match open(disk.clone()).err() {
        Some(error @ StoreError::Corrupt { .. }) => {
            assert!(error.is_fatal());
            assert!(error.to_string().contains("join again"), "it says what to do: {error}");
            let StoreError::Corrupt { file, offset, .. } = error else { unreachable!() };
            (file, offset)
        }
        other => panic!("should be refused as corrupt, was {other:?}"),
    }
}

#[test]
fn a_flipped_byte_in_the_last_batch_cuts_that_batch_alone() {
    let (disk, names) = filled();
    let (name, mut bytes) = tail(&disk, &names);
    let end = used(&bytes);
    bytes[end - 1] ^= 1;
    disk.put(&name, bytes);
    let journal = open(disk.clone()).expect("a torn tail is legal");
    assert_eq!(lengths(&journal), (249, 250));
    // And it goes on from there.
    wait(|done| journal.group(0).append(vec![record(0, 250, 2)], done)).expect("durable");
    journal.close();
    assert_eq!(state(&open(disk).expect("opens"), 0).last.map(|last| last.term), Some(2));
}

#[test]
fn a_flipped_byte_before_the_last_batch_refuses() {
    let (disk, names) = filled();
    for name in &names[..names.len() - 2] {
        let good = disk.contents(name).expect("it is there");
        let mut bad = good.clone();
        let at = HEADER + used(&good[HEADER..]) / 2;
        bad[at] ^= 0x10;
        disk.put(name, bad);
        let (file, offset) = refusal(&disk);
        assert_eq!(&file, name);
        assert!((HEADER as u64..=at as u64).contains(&offset), "{offset} is the batch of {at}");
        disk.put(name, good);
    }
    open(disk).expect("all damage was undone");
}

#[test]
fn a_flipped_byte_in_the_tail_segment_before_its_last_batch_refuses() {
    let (disk, names) = filled();
    let (name, mut bytes) = tail(&disk, &names);
    bytes[HEADER + 50] ^= 1;
    disk.put(&name, bytes);
    assert_eq!(refusal(&disk).0, name);
}

#[test]
fn a_damaged_segment_header_refuses() {
    let (disk, names) = filled();
    for name in names {
        let good = disk.contents(&name).expect("it is there");
        let mut bad = good.clone();
        bad[30] ^= 1;
        disk.put(&name, bad);
        assert_eq!(refusal(&disk), (name.clone(), 0));
        disk.put(&name, good);
    }
}

#[test]
fn another_format_version_is_named() {
    let (disk, names) = filled();
    let mut bytes = disk.contents(&names[1]).expect("it is there");
    bytes[8] = 9;
    disk.put(&names[1], bytes);
    let refused = open(disk).err();
    let want = StoreError::WrongVersion { file: names[1].clone(), found: 9, expected: 1 };
    assert_eq!(refused, Some(want));
}

#[test]
fn a_tail_that_ends_within_its_last_batch_is_cut() {
    let (disk, names) = filled();
    let (name, mut bytes) = tail(&disk, &names);
    let end = used(&bytes);
    bytes[end - 3..].fill(0);
    disk.put(&name, bytes);
    let journal = open(disk.clone()).expect("a torn tail is legal");
    assert_eq!(lengths(&journal), (249, 250));
    for index in 250..300 {
        wait(|done| journal.group(0).append(vec![record(0, index, 2)], done)).expect("durable");
    }
    journal.close();
    assert_eq!(lengths(&open(disk).expect("opens")), (299, 250));
}

#[test]
fn a_last_segment_that_is_shorter_than_it_was_made_refuses() {
    let (disk, names) = filled();
    let (name, bytes) = tail(&disk, &names);
    for kept in [used(&bytes) - 3, used(&bytes) / 2, bytes.len() - 1] {
        disk.put(&name, bytes[..kept].to_vec());
        assert_eq!(refusal(&disk), (name.clone(), kept as u64), "{kept} of {} bytes", bytes.len());
    }
    disk.put(&name, bytes);
    assert_eq!(lengths(&open(disk).expect("opens")), (250, 250));
}

#[test]
fn a_segment_that_ends_early_refuses() {
    let (disk, names) = filled();
    let bytes = disk.contents(&names[1]).expect("it is there");
    disk.put(&names[1], bytes[..used(&bytes) / 2].to_vec());
    assert_eq!(refusal(&disk).0, names[1]);
}

#[test]
fn swapped_segments_refuse() {
    let (disk, names) = filled();
    let (one, two) = (disk.contents(&names[0]), disk.contents(&names[1]));
    disk.put(&names[0], two.expect("it is there"));
    disk.put(&names[1], one.expect("it is there"));
    assert_eq!(refusal(&disk), (names[0].clone(), 0));
}

#[test]
fn a_missing_segment_refuses_and_is_named() {
    for missing in 0..3 {
        let (disk, names) = filled();
        disk.remove(&names[missing]).expect("it is there");
        let (file, _) = refusal(&disk);
        assert!(
            file == names[missing] || missing > 0 && file == names[0],
            "{file} for {}",
            names[missing]
        );
    }
    // The last one with entries: its predecessor says that there is more.
    let (disk, names) = filled();
    let (last, _) = tail(&disk, &names);
    for name in names.iter().filter(|name| **name >= last) {
        disk.remove(name).expect("it is there");
    }
    refusal(&disk);
}

#[test]
fn a_batch_taken_from_another_place_is_no_batch() {
    // The old frames of a recycled segment, at the very places where they would be looked for.
    let (disk, names) = filled();
    let (name, bytes) = tail(&disk, &names);
    let old = disk.contents(&names[0]).expect("it is there");
    let end = used(&bytes).next_multiple_of(8);
    let mut mixed = bytes.clone();
    mixed[end..].copy_from_slice(&old[end..]);
    disk.put(&name, mixed);
    let journal = open(disk).expect("the old frames count for nothing");
    assert_eq!(lengths(&journal), (250, 250));
}

#[test]
fn recycled_segments_do_not_bring_old_entries_back() {
    let disk = MemoryDisk::default();
    let mut recycled = false;
    let mut journal = open(disk.clone()).expect("opens");
    for round in 0..60_u64 {
        let log = journal.group(1);
        let from = round * 60 + 1;
        for index in from..from + 60 {
            wait(|done| log.append(vec![record(1, index, 1)], done)).expect("durable");
        }
        wait(|done| log.purge(LogPosition { term: 1, node: 2, index: from + 50 }, done))
            .expect("durable");
        drop(log);
        journal.close();
        let newest = segments(&disk).pop().expect("there is one");
        let prepared = disk.contents(&newest).expect("it is there");
        recycled |= used(&prepared) > HEADER;
        journal = open(disk.clone()).expect("opens");
        assert_eq!(state(&journal, 1).last.map(|last| last.index), Some(from + 59));
        assert_eq!(journal.group(1).read(0, u64::MAX, usize::MAX).expect("readable").len(), 9);
    }
    assert!(recycled, "or the test says nothing");
}

#[test]
fn no_single_damage_anywhere_changes_what_is_read() {
    let disk = MemoryDisk::default();
    let mut run = Run::new(99, 3);
    let mut states: Vec<Model> = Vec::new();
    let journal = open(disk.clone()).expect("opens");
    for _ in 0..600 {
        run.call(&journal);
        states.push(run.model.clone());
    }
    journal.close();
    let (full, cut) = (&states[states.len() - 1], &states[states.len() - 2]);
    let files: Vec<_> = disk
        .list()
        .expect("a live disk")
        .into_iter()
        .map(|name| (disk.contents(&name).expect("it is there"), name))
        .collect();
    let segments: Vec<_> = files.iter().filter(|(_, name)| name.ends_with(".segment")).collect();
    let mut random = Random(7);
    let mut refused = 0;
    for _ in 0..400 {
        let (good, name) = segments[random.below(segments.len() as u64) as usize];
        let mut bad = good.clone();
        let at = random.below(used(good) as u64) as usize;
        bad[at] ^= 1 << random.below(8);
        let disk = MemoryDisk::default();
        files.iter().for_each(|(bytes, name)| disk.put(name, bytes.clone()));
        disk.put(name, bad);
        match open(disk) {
            // Padding, the tail, old frames of a recycled file, or a segment that was going to be
            // removed.
            Ok(journal) => {
                let explained =
                    [full, cut].iter().any(|state| state.difference(&journal, 3).is_none());
                assert!(explained, "byte {at} of {name}");
            }
            Err(StoreError::Corrupt { .. }) => refused += 1,
            Err(StoreError::WrongVersion { .. } | StoreError::WrongIdentity { .. }) => {
                assert!(at < HEADER);
                refused += 1;
            }
            Err(other) => panic!("byte {at} of {name}: {other}"),
        }
    }
    assert!(refused > 200, "only {refused} refusals");
}

#[test]
fn damage_is_noticed_by_a_read_too() {
    let (disk, names) = filled();
    let journal = open(disk.clone()).expect("opens");
    let name = &names[0];
    // Not through `put`, which would make a new file: through the file that the journal has open.
    let file = disk.open(name).expect("it is there");
    let mut byte = [0];
    file.read_at(&mut byte, 4096 + 400).expect("inside");
    file.write_at(&[byte[0] ^ 1], 4096 + 400).expect("inside");
    let errors = [0, 1].map(|group| journal.group(group).read(0, 100, usize::MAX).err());
    assert!(
        errors
            .iter()
            .flatten()
            .any(|error| matches!(error, StoreError::Corrupt { file, .. } if file == name))
    );
}
