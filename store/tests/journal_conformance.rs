//! One suite for every disk: what the journal promises while nothing goes wrong.

#[path = "support/journal.rs"]
mod support;

use bytes::Bytes;
use std::sync::{Arc, Mutex};
use store::{Disk, FsDisk, Journal, JournalConfig, LogPosition, LogRecord, MemoryDisk, StoreError};
use support::{IDENTITY, Run, config, record, state, wait};

/// Gives the same folder again and again.
trait Folder {
    fn disk(&mut self) -> Arc<dyn Disk>;
}

struct Real(tempfile::TempDir);

impl Folder for Real {
    fn disk(&mut self) -> Arc<dyn Disk> {
        Arc::new(FsDisk::open(self.0.path().join("journal")).expect("the folder can be made"))
    }
}

struct Simulated(MemoryDisk);

impl Folder for Simulated {
    fn disk(&mut self) -> Arc<dyn Disk> {
        Arc::new(self.0.clone())
    }
}

fn open(folder: &mut dyn Folder) -> Journal {
    Journal::open(folder.disk(), config()).expect("opens")
}

macro_rules! on_both_disks {
    ($($name:ident),* $(,)?) => {
        mod on_a_real_disk {
            #[test] fn reads_that_race_with_recycling_never_fail() {
                super::reads_that_race_with_recycling_never_fail(&mut super::Real(
                    tempfile::tempdir().expect("a temporary folder"),
                ));
            }
            $(#[test] fn $name() {
                super::$name(&mut super::Real(tempfile::tempdir().expect("a temporary folder")));
            })*
        }
        mod on_a_simulated_disk {
            $(#[test] fn $name() {
                super::$name(&mut super::Simulated(store::MemoryDisk::default()));
            })*
        }
    };
}

on_both_disks!(
    a_new_journal_is_empty,
    everything_acknowledged_is_found_again,
    random_calls_match_the_model_over_many_lives,
    entries_are_readable_before_they_are_durable,
    truncated_entries_can_be_written_again,
    a_purge_beyond_the_end_moves_the_begin,
    committed_travels_with_the_next_batch,
    old_segments_go_after_a_purge,
    a_large_purge_leaves_a_small_journal_that_opens,
    a_lagging_group_does_not_pin_old_segments,
    a_batch_larger_than_a_segment_is_written,
    a_second_opener_is_refused,
    another_node_is_refused,
    reads_are_bounded_by_bytes_but_never_empty,
    completions_come_in_the_order_of_submission,
    a_closed_journal_answers_closed,
);

fn a_new_journal_is_empty(folder: &mut dyn Folder) {
    for _ in 0..2 {
        let journal = open(folder);
        assert_eq!(state(&journal, 1), Default::default());
        assert!(journal.group(1).read(0, 10, 1000).expect("readable").is_empty());
        assert!(journal.groups().is_empty());
        journal.close();
    }
}

fn everything_acknowledged_is_found_again(folder: &mut dyn Folder) {
    let journal = open(folder);
    let log = journal.group(7);
    wait(|done| log.save_vote(Bytes::from_static(b"vote"), done)).expect("durable");
    wait(|done| log.append((1..=50).map(|index| record(7, index, 3)).collect(), done))
        .expect("durable");
    let before = log.state();
    drop((journal, log));
    let journal = open(folder);
    let log = journal.group(7);
    assert_eq!(log.state(), before);
    assert_eq!(journal.groups(), [7]);
    let want: Vec<_> = (1..=50).map(|index| record(7, index, 3)).collect();
    assert_eq!(log.read(1, 51, usize::MAX).expect("readable"), want);
    assert_eq!(log.position(50), Some(LogPosition { term: 3, node: 1, index: 50 }));
}

fn random_calls_match_the_model_over_many_lives(folder: &mut dyn Folder) {
    let mut run = Run::new(1, 5);
    for life in 0..12 {
        let journal = open(folder);
        run.judge(&journal).unwrap_or_else(|why| panic!("life {life}: {why}"));
        for _ in 0..150 {
            run.call(&journal);
        }
        assert_eq!(run.model.difference(&journal, 5), None, "life {life}, before it ends");
        journal.close();
        assert_eq!(run.acknowledged(), run.submitted(), "closing writes what waits");
    }
    let journal = open(folder);
    run.judge(&journal).expect("the last life is found");
}

fn entries_are_readable_before_they_are_durable(folder: &mut dyn Folder) {
    let journal = open(folder);
    let log = journal.group(1);
    let (inner, seen) = (log.clone(), Arc::new(Mutex::new(None)));
    let result = Arc::clone(&seen);
    wait(|done| {
        log.append(
            vec![record(1, 1, 1)],
            Box::new(move |durable| {
                *result.lock().expect("not poisoned") = Some(inner.read(1, 2, 1 << 20));
                done(durable);
            }),
        );
        assert_eq!(log.read(1, 2, 1 << 20).expect("readable"), [record(1, 1, 1)]);
    })
    .expect("durable");
    assert_eq!(seen.lock().expect("not poisoned").take(), Some(Ok(vec![record(1, 1, 1)])));
}

fn truncated_entries_can_be_written_again(folder: &mut dyn Folder) {
    let journal = open(folder);
    let log = journal.group(1);
    let mut receivers = Vec::new();
    for term in 1..40 {
        let (done, receiver) = support::waiter();
        log.append((10..30).map(|index| record(1, index, term)).collect(), done);
        let (done, truncated) = support::waiter();
        log.truncate_after(if term % 2 == 0 { Some(9 + term % 3) } else { None }, done);
        let (done, again) = support::waiter();
        let from = log.state().last.map_or(10, |last| last.index + 1);
        log.append((from..20).map(|index| record(1, index, 100 + term)).collect(), done);
        let (done, emptied) = support::waiter();
        log.truncate_after(None, done);
        receivers.extend([receiver, truncated, again, emptied]);
    }
    let (done, receiver) = support::waiter();
    log.append((10..30).map(|index| record(1, index, 77)).collect(), done);
    receivers.push(receiver);
    for receiver in receivers {
        receiver.recv().expect("completed").expect("durable");
    }
    let want: Vec<_> = (10..30).map(|index| record(1, index, 77)).collect();
    assert_eq!(log.read(0, 100, usize::MAX).expect("readable"), want);
    drop((journal, log));
    assert_eq!(open(folder).group(1).read(0, 100, usize::MAX).expect("readable"), want);
}

fn a_purge_beyond_the_end_moves_the_begin(folder: &mut dyn Folder) {
    let journal = open(folder);
    let log = journal.group(1);
    wait(|done| log.append((0..5).map(|index| record(1, index, 1)).collect(), done))
        .expect("durable");
    let upto = LogPosition { term: 4, node: 2, index: 90 };
    wait(|done| log.purge(upto, done)).expect("durable");
    assert_eq!(
        (log.state().first, log.state().last, log.state().purged),
        (91, Some(upto), Some(upto))
    );
    wait(|done| log.purge(LogPosition { term: 1, node: 1, index: 3 }, done))
        .expect("an older purge is no news");
    wait(|done| log.append(vec![record(1, 91, 5)], done)).expect("durable");
    let before = log.state();
    drop((journal, log));
    let journal = open(folder);
    assert_eq!(state(&journal, 1), before);
    assert_eq!(journal.group(1).read(0, 1000, 1000).expect("readable"), [record(1, 91, 5)]);
}

fn committed_travels_with_the_next_batch(folder: &mut dyn Folder) {
    let journal = open(folder);
    let log = journal.group(1);
    log.save_committed(Bytes::from_static(b"one"));
    let batches = journal.stats().batches;
    assert_eq!(batches, 0, "it asks for no barrier of its own");
    assert_eq!(log.state().committed, Some(Bytes::from_static(b"one")));
    wait(|done| log.append(vec![record(1, 1, 1)], done)).expect("durable");
    log.save_committed(Bytes::from_static(b"two"));
    journal.close();
    assert_eq!(state(&open(folder), 1).committed, Some(Bytes::from_static(b"two")));
}

fn old_segments_go_after_a_purge(folder: &mut dyn Folder) {
    let journal = open(folder);
    let log = journal.group(1);
    let mut index = 1;
    for _ in 0..40 {
        let records = (index..index + 100).map(|index| record(1, index, 1)).collect();
        wait(|done| log.append(records, done)).expect("durable");
        index += 100;
        let upto = LogPosition { term: 1, node: 2, index: index - 20 };
        wait(|done| log.purge(upto, done)).expect("durable");
    }
    // 40 x 100 x 350 bytes were written, that is about 21 segments; two or three are needed.
    let few = |journal: &Journal| journal.stats().segments <= 4;
    support::wait_until("old segments go", || few(&journal));
    assert!(journal.stats().live_bytes < 32 << 10);
    drop((journal, log));
    let journal = open(folder);
    assert!(few(&journal));
    assert_eq!(state(&journal, 1).first, index - 19);
    assert_eq!(journal.group(1).read(0, u64::MAX, usize::MAX).expect("readable").len(), 19);
}

fn a_large_purge_leaves_a_small_journal_that_opens(folder: &mut dyn Folder) {
    let journal = open(folder);
    let log = journal.group(1);
    let empty = |index| LogRecord { payload: Bytes::new(), ..record(1, index, 2) };
    for from in (0..20_000).step_by(1000) {
        wait(|done| log.append((from..from + 1000).map(empty).collect(), done)).expect("durable");
    }
    // The newest segment begins with the state of before: of far more entries than will be left.
    wait(|done| log.purge(empty(19_998).position(), done)).expect("durable");
    support::wait_until("old segments go", || journal.stats().segments <= 3);
    drop((journal, log));
    let journal = open(folder);
    assert_eq!(journal.group(1).read(0, u64::MAX, usize::MAX).expect("readable"), [empty(19_999)]);
}

fn a_lagging_group_does_not_pin_old_segments(folder: &mut dyn Folder) {
    let journal = open(folder);
    let (lagging, busy) = (journal.group(1), journal.group(2));
    wait(|done| lagging.save_vote(Bytes::from_static(b"old vote"), done)).expect("durable");
    wait(|done| lagging.append((1..=30).map(|index| record(1, index, 1)).collect(), done))
        .expect("durable");
    let mut index = 1;
    for _ in 0..40 {
        let records = (index..index + 100).map(|index| record(2, index, 1)).collect();
        wait(|done| busy.append(records, done)).expect("durable");
        index += 100;
        wait(|done| busy.purge(LogPosition { term: 1, node: 2, index: index - 20 }, done))
            .expect("durable");
    }
    support::wait_until("the lagging entries are copied forward", || {
        // Some more load, because copies are looked for after a batch.
        wait(|done| busy.save_vote(Bytes::new(), done)).expect("durable");
        journal.stats().segments <= 7
    });
    let want: Vec<_> = (1..=30).map(|index| record(1, index, 1)).collect();
    let check = |journal: &Journal| {
        assert_eq!(state(journal, 1).vote, Some(Bytes::from_static(b"old vote")));
        assert_eq!(journal.group(1).read(0, u64::MAX, usize::MAX).expect("readable"), want);
        assert_eq!(journal.group(2).read(0, u64::MAX, usize::MAX).expect("readable").len(), 19);
    };
    check(&journal);
    drop((journal, lagging, busy));
    check(&open(folder));
}

fn a_batch_larger_than_a_segment_is_written(folder: &mut dyn Folder) {
    let journal = open(folder);
    let log = journal.group(1);
    let large = Bytes::from(vec![7; 300 << 10]);
    let mut records = vec![record(1, 1, 1), record(1, 2, 1), record(1, 3, 1)];
    records[1].payload = large.clone();
    wait(|done| log.append(records.clone(), done)).expect("durable");
    drop((journal, log));
    let journal = open(folder);
    let log = journal.group(1);
    assert_eq!(log.read(1, 4, usize::MAX).expect("readable"), records);
    wait(|done| log.append(vec![record(1, 4, 1)], done)).expect("durable");
}

fn a_second_opener_is_refused(folder: &mut dyn Folder) {
    let journal = open(folder);
    let second = Journal::open(folder.disk(), config());
    assert!(matches!(second.err(), Some(StoreError::Locked { .. })));
    journal.close();
    open(folder);
}

fn another_node_is_refused(folder: &mut dyn Folder) {
    open(folder).close();
    let other = JournalConfig { identity: *b"cluster-0-node-2", ..config() };
    let refused = Journal::open(folder.disk(), other);
    assert!(matches!(refused.err(), Some(StoreError::WrongIdentity { .. })));
    let _ = (IDENTITY, open(folder));
}

fn reads_are_bounded_by_bytes_but_never_empty(folder: &mut dyn Folder) {
    let journal = open(folder);
    let log = journal.group(1);
    wait(|done| log.append((1..=200).map(|index| record(1, index, 1)).collect(), done))
        .expect("durable");
    for from in [1, 100, 199] {
        assert_eq!(log.read(from, 201, 0).expect("readable"), [record(1, from, 1)]);
        let some = log.read(from, 201, 2000).expect("readable");
        assert!(some.iter().map(|record| record.payload.len()).sum::<usize>() <= 2000);
    }
    assert!(log.read(201, 300, 1).expect("readable").is_empty());
}

fn completions_come_in_the_order_of_submission(folder: &mut dyn Folder) {
    let journal = open(folder);
    let order = Arc::new(Mutex::new(Vec::new()));
    for number in 0..500_u64 {
        let log = journal.group(number as u32 % 7);
        let next = log.state().last.map_or(1, |last| last.index + 1);
        let order = Arc::clone(&order);
        let done = Box::new(move |result: Result<(), StoreError>| {
            result.expect("durable");
            order.lock().expect("not poisoned").push(number);
        });
        log.append(vec![record(log.id(), next, 1)], done);
    }
    journal.close();
    let order = order.lock().expect("not poisoned").clone();
    assert_eq!(order, (0..500).collect::<Vec<_>>());
}

fn a_closed_journal_answers_closed(folder: &mut dyn Folder) {
    let journal = open(folder);
    let log = journal.group(1);
    journal.close();
    assert_eq!(wait(|done| log.append(vec![record(1, 1, 1)], done)), Err(StoreError::Closed));
    assert_eq!(wait(|done| log.save_vote(Bytes::new(), done)), Err(StoreError::Closed));
}

/// Needs threads. A segment may go, and its file be used again, between the moment a reader learns
/// where an entry is and the moment it reads.
fn reads_that_race_with_recycling_never_fail(folder: &mut dyn Folder) {
    let config = JournalConfig { cache_bytes_per_group: 0, ..config() };
    let journal = Journal::open(folder.disk(), config).expect("opens");
    let log = journal.group(1);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (log, stop) = (log.clone(), &stop);
            scope.spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    for found in
                        log.read(0, u64::MAX, usize::MAX).expect("whatever is there is readable")
                    {
                        assert_eq!(found, record(1, found.index, 1));
                    }
                }
            });
        }
        let mut index = 1;
        for _ in 0..120 {
            let records = (index..index + 60).map(|index| record(1, index, 1)).collect();
            wait(|done| log.append(records, done)).expect("durable");
            index += 60;
            let upto = record(1, index - 30, 1).position();
            wait(|done| log.purge(upto, done)).expect("durable");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(journal.fatal(), None);
}
