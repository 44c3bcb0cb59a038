//! Micro-benchmarks of the journal on the real disk of this machine: what one durable append costs,
//! alone and together, and what it costs to open a large journal.
//!
//! Each thread is one group in a closed loop: append one entry of 512 bytes, wait until it is
//! durable. Appends per second = threads / time. `JOURNAL_BENCH_FOLDER` chooses another disk.

use bytes::Bytes;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use store::{Disk, FsDisk, GroupLog, Journal, JournalConfig, LogPosition, LogRecord};

const PAYLOAD_BYTES: usize = 512;

fn main() {
    divan::main();
}

fn folder() -> tempfile::TempDir {
    let root = std::env::var_os("JOURNAL_BENCH_FOLDER").map_or_else(std::env::temp_dir, Into::into);
    tempfile::tempdir_in(root).expect("a folder for the benchmark")
}

fn open(folder: &tempfile::TempDir) -> Journal {
    let disk: Arc<dyn Disk> = Arc::new(FsDisk::open(folder.path()).expect("opens"));
    Journal::open(disk, JournalConfig::new([1; 16])).expect("opens")
}

fn record(index: u64) -> LogRecord {
    // Not all zeros, and different each time, as encrypted messages are.
    let payload: Bytes = (0..PAYLOAD_BYTES as u64).map(|at| (at * 31 + index * 17) as u8).collect();
    LogRecord { index, term: 1, node: 1, kind: 0, payload }
}

fn append_and_wait(log: &GroupLog, record: LogRecord) {
    let (done, thread) = (Arc::new(AtomicBool::new(false)), std::thread::current());
    let index = record.index;
    let seen = Arc::clone(&done);
    log.append(
        vec![record],
        Box::new(move |result| {
            result.expect("durable");
            seen.store(true, Ordering::Release);
            thread.unpark();
        }),
    );
    while !done.load(Ordering::Acquire) {
        std::thread::park();
    }
    if index.is_multiple_of(5000) {
        log.purge(LogPosition { term: 1, node: 1, index: index - 1000 }, Box::new(|_| ()));
    }
}

/// One durable append per thread and turn; a thread is a group.
#[divan::bench(threads = [1, 16, 64], sample_count = 3000, sample_size = 1)]
fn durable_append(bencher: divan::Bencher<'_, '_>) {
    static GROUPS: AtomicU32 = AtomicU32::new(0);
    thread_local!(static GROUP: Cell<Option<u32>> = const { Cell::new(None) });
    let folder = folder();
    let journal = open(&folder);
    bencher
        .with_inputs(|| {
            let group = GROUP.get().unwrap_or_else(|| GROUPS.fetch_add(1, Ordering::Relaxed));
            GROUP.set(Some(group));
            let log = journal.group(group);
            let index = log.state().last.map_or(1, |last| last.index + 1);
            (log, record(index))
        })
        .bench_values(|(log, record)| append_and_wait(&log, record));
}

/// What a caller pays before it may go on: encoding, index, queue. The barrier happens elsewhere.
#[divan::bench(sample_count = 20_000, sample_size = 1)]
fn submit_alone(bencher: divan::Bencher<'_, '_>) {
    let folder = folder();
    let journal = open(&folder);
    let log = journal.group(1);
    bencher
        .with_inputs(|| vec![record(log.state().last.map_or(1, |last| last.index + 1))])
        .bench_values(|records| log.append(records, Box::new(|_| ())));
}

/// A million entries of 512 bytes in 64 groups.
fn large() -> &'static tempfile::TempDir {
    static LARGE: OnceLock<tempfile::TempDir> = OnceLock::new();
    LARGE.get_or_init(|| {
        let folder = folder();
        let journal = open(&folder);
        for turn in 0..1000_u64 {
            let (sender, receiver) = mpsc::channel::<()>();
            for group in 0..64 {
                let sender = sender.clone();
                let records = (turn * 16 + 1..=turn * 16 + 16).map(record).collect();
                journal.group(group).append(records, Box::new(move |_| drop(sender)));
            }
            drop(sender);
            assert!(receiver.recv().is_err(), "all completions are dropped");
        }
        let stats = journal.stats();
        println!("  (a journal of {} MB in {} segments)", stats.bytes >> 20, stats.segments);
        journal.close();
        folder
    })
}

/// Opening it: every byte is read and checked.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn reopen_a_million_entries(bencher: divan::Bencher<'_, '_>) {
    let folder = large();
    bencher.bench(|| open(folder).close());
}

/// Opening an empty folder: what the first start of a node waits for.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn open_an_empty_folder(bencher: divan::Bencher<'_, '_>) {
    bencher.with_inputs(folder).bench_refs(|folder| open(folder));
}

/// Entries that are no longer in memory, 100 in one call.
#[divan::bench(sample_count = 2000, sample_size = 1)]
fn read_100_from_disk(bencher: divan::Bencher<'_, '_>) {
    let folder = large();
    let journal = open(folder);
    let log = journal.group(7);
    bencher.bench(|| log.read(5000, 5100, usize::MAX).expect("readable"));
}
