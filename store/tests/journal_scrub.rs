//! Damage at rest is found while the journal runs: whatever a start would miss or refuse, a scrub tells before.

#[path = "support/journal.rs"]
mod support;

use store::disk::Pace;
use store::{Journal, MemoryDisk, StoreError};
use support::{Random, Run, open, record, wait};

/// Batches of one record, over several segments, all needed.
fn filled() -> (MemoryDisk, Journal) {
    let disk = MemoryDisk::new(Pace::Inline);
    let journal = open(disk.clone()).expect("an empty disk");
    for index in 1..=500_u64 {
        let log = journal.group(index as u32 % 2);
        let index = index.div_ceil(2);
        wait(|done| log.append(vec![record(log.id(), index, 1)], done)).expect("durable");
    }
    (disk, journal)
}

/// Looks at every segment: records that are there, and what is wrong.
fn scrub(journal: &Journal) -> (u64, Vec<StoreError>) {
    let (mut after, mut records, mut wrong) = (0, 0, Vec::new());
    while let Some(mut scrub) = journal.scrub(after) {
        after = scrub.segment();
        while scrub.read().expect("the disk reads") > 0 {}
        match scrub.check() {
            Ok(found) => records += found,
            Err(error) => wrong.push(error),
        }
    }
    (records, wrong)
}

fn names(disk: &MemoryDisk) -> Vec<String> {
    use store::Disk as _;
    let names = disk.list().expect("a live disk");
    names.into_iter().filter(|name| name.ends_with(".segment")).collect()
}

#[test]
fn a_sound_journal_is_read_whole_and_nothing_is_found() {
    let (_disk, journal) = filled();
    let (records, wrong) = scrub(&journal);
    assert_eq!(wrong, []);
    assert!(records >= 500, "every entry was looked at: {records}");
}

#[test]
fn a_changed_bit_is_found_wherever_it_would_be_missed() {
    let (disk, journal) = filled();
    let whole: Vec<_> = (0..2).map(|g| journal.group(g).state()).collect();
    let (mut told, mut random) = (0, Random(11));
    for name in names(&disk) {
        let used = disk.contents(&name).expect("there");
        let used = used.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for _ in 0..150 {
            let (offset, mask) = (random.below(used as u64), 1 << random.below(8));
            disk.damage(&name, offset, mask).expect("there");
            let (_, wrong) = scrub(&journal);
            if let [StoreError::Corrupt { file, .. }] = &wrong[..] {
                assert_eq!(*file, name, "the segment is named");
                told += 1;
            } else {
                assert_eq!(wrong, [], "{name} byte {offset}");
                let start = open(disk.copy().kill()).expect("a start does not mind either");
                let found: Vec<_> = (0..2).map(|g| start.group(g).state()).collect();
                assert_eq!(found, whole, "{name} byte {offset}: a start loses nothing");
            }
            disk.damage(&name, offset, mask).expect("there");
        }
    }
    assert!(told > 500, "most bits are of records: {told}");
    assert_eq!(scrub(&journal).1, [], "all of them were set right again");
}

#[test]
fn damage_in_the_batch_that_was_written_last_is_found_although_a_start_would_cut_it() {
    let (disk, journal) = filled();
    let last = names(&disk).into_iter().rev().find_map(|name| {
        let bytes = disk.contents(&name).expect("there");
        let end = bytes.iter().rposition(|byte| *byte != 0)?;
        (end > 4096).then_some((name, end as u64))
    });
    let (name, end) = last.expect("something was written");
    disk.damage(&name, end, 1).expect("there");
    assert_eq!(scrub(&journal).1.len(), 1);
    let start = open(disk.copy().kill()).expect("taken for a torn tail");
    assert_eq!(start.group(0).state().last.map(|last| last.index), Some(249), "one is gone");
}

#[test]
fn whatever_is_called_a_sound_journal_stays_sound() {
    for seed in 0..20 {
        let disk = MemoryDisk::new(Pace::Inline);
        let journal = open(disk.clone()).expect("an empty disk");
        let mut run = Run::new(seed, 3);
        for call in 0..400 {
            run.call(&journal);
            if call % 40 == 0 {
                assert_eq!(scrub(&journal).1, [], "seed {seed}, call {call}");
            }
        }
        journal.close();
        let journal = open(disk.power_loss(seed)).expect("opens");
        assert_eq!(scrub(&journal).1, [], "seed {seed}, after power was lost");
    }
}
