//! What table engines cost: batches of 64 messages (three rows each and the applied index) and reads
//! of one row, by time; then, for each engine in a process of its own, processor time for a row and
//! memory, background threads included.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use divan::Bencher;
use divan::counter::ItemsCount;
use store::{Batch, Engine, NodeKey, Sealer, SystemEntropy, Tables, TablesOptions, open_tables};

/// Names the engine that this process is to measure.
const CHILD: &str = "TABLES_COST_OF";
const MESSAGES_PER_BATCH: u64 = 64;
const CONVERSATIONS: u64 = 2000;
/// Messages of a measured load: with 330-byte bodies some 200 MB, many memtables.
const LOAD_BATCHES: u64 = 8000;
const BATCHES_PER_FLUSH: u64 = 200;
const ROWS_PER_BATCH: u64 = 3 * MESSAGES_PER_BATCH + 1;
/// `utime` and `stime` in /proc are in ticks of 10 ms.
const MICROSECONDS_PER_TICK: u64 = 10_000;

const KINDS: [&str; 5] = ["fjall", "fjall sealed", "sled", "memory", "memory sealed"];

fn main() {
    match std::env::var(CHILD) {
        Ok(kind) => measure(&kind),
        Err(_) => {
            divan::main();
            for kind in KINDS {
                let program = std::env::current_exe().expect("this program");
                let status = std::process::Command::new(program).env(CHILD, kind).status();
                assert!(status.expect("a child").success(), "{kind}");
            }
        }
    }
}

fn open(kind: &str, folder: &Path) -> Arc<dyn Tables> {
    let engine: Engine = kind.split(' ').next().expect("a name").parse().expect("an engine");
    let sealer = kind.ends_with("sealed").then(|| {
        let key = NodeKey::from_bytes([1; 32]);
        let sealer = Sealer::open(&folder.join("keys"), key, Box::new(SystemEntropy));
        Arc::new(sealer.expect("a key ring"))
    });
    let options = TablesOptions { sealer, ..TablesOptions::default() };
    open_tables(engine, folder.join("tables"), &options).expect("tables open")
}

/// Batch `n` as a shard would write it: keys begin with the conversation in no order.
fn batch(n: u64) -> Batch {
    let mut batch = Batch::with_capacity(ROWS_PER_BATCH as usize);
    for i in n * MESSAGES_PER_BATCH..(n + 1) * MESSAGES_PER_BATCH {
        let conversation = (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) % CONVERSATIONS;
        let id = conversation.wrapping_mul(0xD134_2543_DE82_EF95).to_be_bytes();
        let key = |kind: u8, rest: &[u8]| [&id[..2], &[kind], &id, &id, rest].concat();
        let body: Vec<u8> = (0..330u64).map(|at| (i.wrapping_mul(at + 7) >> 3) as u8).collect();
        batch.put(key(5, &i.to_be_bytes()), body);
        batch.put(
            key(6, &[&i.to_be_bytes()[..], b"message-id-of-20"].concat()),
            i.to_be_bytes().to_vec(),
        );
        batch.put(key(4, b"device-8"), i.to_be_bytes().to_vec());
    }
    batch.put(vec![0xff, 0xff, 1], n.to_be_bytes().to_vec());
    batch
}

#[divan::bench(args = KINDS, sample_count = 200)]
fn write_batch_of_64_messages(bencher: Bencher<'_, '_>, kind: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tables = open(kind, folder.path());
    let next = AtomicU64::new(0);
    bencher
        .counter(ItemsCount::new(ROWS_PER_BATCH))
        .with_inputs(|| batch(next.fetch_add(1, Ordering::Relaxed)))
        .bench_values(|batch| tables.write(batch).expect("written"));
}

#[divan::bench(args = KINDS)]
fn read_one_row(bencher: Bencher<'_, '_>, kind: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tables = open(kind, folder.path());
    for n in 0..500 {
        tables.write(batch(n)).expect("written");
    }
    tables.flush().expect("flushed");
    let next = AtomicU64::new(0);
    bencher
        .with_inputs(|| {
            let n = next.fetch_add(1, Ordering::Relaxed) * 7919 % 500;
            batch(n).changes()[3 * (n as usize % 64)].key.clone()
        })
        .bench_refs(|key| tables.get(key).expect("read").expect("there"));
}

fn measure(kind: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tables = open(kind, folder.path());
    let empty = resident_megabytes();
    let prepare = processor_microseconds();
    for n in 0..LOAD_BATCHES {
        std::hint::black_box(batch(n));
    }
    let before = processor_microseconds();
    let preparing = before - prepare;
    for n in 0..LOAD_BATCHES {
        tables.write(batch(n)).expect("written");
        if n % BATCHES_PER_FLUSH == 0 {
            tables.flush().expect("flushed");
        }
    }
    tables.flush().expect("flushed");
    let spent = (processor_microseconds() - before).saturating_sub(preparing);
    let loaded = resident_megabytes();
    let rows = LOAD_BATCHES * ROWS_PER_BATCH;
    let each = spent as f64 / rows as f64;
    println!(
        "{kind}: {each:.2} us of processor a row, {:.2} a message; resident {empty} MB when \
         opened, {loaded} MB after {rows} rows",
        3.0 * each
    );
}

/// User and system time of all threads of this process.
fn processor_microseconds() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after_name = stat.rsplit(") ").next().expect("the fields after the name");
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
    (ticks(11) + ticks(12)) * MICROSECONDS_PER_TICK
}

fn resident_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("a resident size");
    let number = line.split_whitespace().nth(1).expect("a number");
    number.parse::<u64>().expect("kilobytes") / 1024
}
