//! One suite that every table engine passes, sealed and plain: what `Tables` promises while the
//! machine stays up. What survives a crash is the crash suite's business.

#[path = "support/tables.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use store::{Batch, Direction, KeyRange, StoreError, Tables, open_tables};
use support::{Kind, drain, everything, put, rows};

fn fresh(kind: Kind) -> (tempfile::TempDir, Arc<dyn Tables>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tables = kind.open(folder.path());
    (folder, tables)
}

fn keys(rows: &[store::Row]) -> Vec<String> {
    rows.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect()
}

fn a_row_is_read_back_until_it_is_deleted(kind: Kind) {
    let (_folder, tables) = fresh(kind);
    assert_eq!(tables.get(b"a").expect("read"), None);
    put(&*tables, "a", "1");
    put(&*tables, "a", "2");
    assert_eq!(tables.get(b"a").expect("read").as_deref(), Some(b"2".as_slice()));
    let mut batch = Batch::new();
    batch.delete("a");
    batch.delete("never there");
    tables.write(batch).expect("written");
    assert_eq!(tables.get(b"a").expect("read"), None);
    assert!(rows(&*tables).is_empty());
}

fn an_empty_value_is_a_row_and_an_empty_batch_is_nothing(kind: Kind) {
    let (_folder, tables) = fresh(kind);
    put(&*tables, "empty", "");
    tables.write(Batch::new()).expect("written");
    assert_eq!(tables.get(b"empty").expect("read").as_deref(), Some(b"".as_slice()));
    assert_eq!(keys(&rows(&*tables)), ["empty"]);
}

fn the_last_change_of_a_key_in_a_batch_wins(kind: Kind) {
    let (_folder, tables) = fresh(kind);
    let mut batch = Batch::new();
    batch.put("kept", "1");
    batch.delete("kept");
    batch.put("kept", "2");
    batch.put("gone", "1");
    batch.delete("gone");
    tables.write(batch).expect("written");
    assert_eq!(tables.get(b"kept").expect("read").as_deref(), Some(b"2".as_slice()));
    assert_eq!(tables.get(b"gone").expect("read"), None);
}

fn scans_go_both_ways_within_bounds_and_limits(kind: Kind) {
    let (_folder, tables) = fresh(kind);
    for key in ["d", "a", "c", "b", "aa", "b\u{0}"] {
        put(&*tables, key, key);
    }
    let scan = |start: &'static str, end: &'static str, direction, rows_max| {
        keys(&tables.scan(KeyRange::new(start, end), direction, rows_max).expect("scanned"))
    };
    use Direction::{Ascending, Descending};
    assert_eq!(scan("a", "z", Ascending, 100), ["a", "aa", "b", "b\u{0}", "c", "d"]);
    assert_eq!(scan("a", "z", Descending, 100), ["d", "c", "b\u{0}", "b", "aa", "a"]);
    assert_eq!(scan("aa", "c", Ascending, 100), ["aa", "b", "b\u{0}"], "end is exclusive");
    assert_eq!(scan("aa", "c", Descending, 2), ["b\u{0}", "b"]);
    assert_eq!(scan("a", "z", Ascending, 1), ["a"]);
    assert_eq!(scan("a", "z", Ascending, 0), [""; 0]);
    assert_eq!(scan("b", "b", Ascending, 9), [""; 0], "an empty range");
    assert_eq!(scan("c", "a", Descending, 9), [""; 0], "a range from high to low is empty");
    assert_eq!(scan("x", "z", Ascending, 9), [""; 0], "no row in range");
}

fn keys_are_ordered_as_bytes(kind: Kind) {
    let (_folder, tables) = fresh(kind);
    let mut wanted: Vec<Vec<u8>> =
        (0..=255u8).flat_map(|a| [vec![a], vec![a, 0], vec![a, 255]]).collect();
    let mut batch = Batch::new();
    for key in wanted.iter().rev() {
        batch.put(key.clone(), key.clone());
    }
    tables.write(batch).expect("written");
    wanted.sort();
    let found = tables.scan(KeyRange::new(vec![0], vec![255; 9]), Direction::Ascending, 1000);
    let found: Vec<Vec<u8>> = found.expect("scanned").iter().map(|(key, _)| key.to_vec()).collect();
    assert_eq!(found, wanted);
}

fn the_largest_keys_and_values_come_back_whole(kind: Kind) {
    let (_folder, tables) = fresh(kind);
    let key = vec![7; store::tables::KEY_BYTES_MAX];
    let value: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let mut batch = Batch::new();
    batch.put(key.clone(), value.clone());
    batch.put("small", "1");
    tables.write(batch).expect("written");
    tables.flush().expect("flushed");
    assert!(tables.get(&key).expect("read").as_deref() == Some(value.as_slice()));
}

fn what_was_flushed_is_there_after_a_reopen(kind: Kind) {
    if !kind.is_durable() {
        return;
    }
    let (folder, tables) = fresh(kind);
    put(&*tables, "stays", "1");
    put(&*tables, "goes", "1");
    tables.flush().expect("flushed");
    let mut batch = Batch::new();
    batch.delete("goes");
    batch.put("large", vec![3; 700_000]);
    tables.write(batch).expect("written");
    tables.flush().expect("flushed");
    let before = rows(&*tables);
    drop(tables);
    let tables = kind.open(folder.path());
    assert!(rows(&*tables) == before);
    assert_eq!(before.len(), 2);
}

fn a_folder_is_open_once(kind: Kind) {
    if !kind.is_durable() {
        return;
    }
    let (folder, tables) = fresh(kind);
    let path = folder.path().join("tables");
    let options = store::TablesOptions::default();
    let error = open_tables(kind.engine, &path, &options).err().expect("taken");
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    drop(tables);
    drop(kind.open(folder.path()));
}

fn a_view_shows_the_moment_it_was_taken(kind: Kind) {
    let (_folder, tables) = fresh(kind);
    // More rows than a view reads at once, so that writers get between its steps.
    let mut batch = Batch::new();
    for i in 0..2000 {
        batch.put(format!("k{i:05}"), format!("old {i}"));
    }
    tables.write(batch).expect("written");
    let before = rows(&*tables);
    let mut view = tables.view(everything()).expect("a view");
    let first = view.next().expect("read").expect("a row");
    assert_eq!(first, before[0]);

    let mut batch = Batch::new();
    for i in 0..2000 {
        match i % 4 {
            0 => batch.put(format!("k{i:05}"), "new"),
            1 => batch.delete(format!("k{i:05}")),
            2 => batch.put(format!("k{i:05}+"), "inserted"),
            _ => {}
        }
    }
    tables.write(batch).expect("written");
    put(&*tables, "k00000", "newer");
    tables.flush().expect("flushed");

    assert!(drain(&mut *view) == before[1..], "the view moved");
    assert!(view.next().expect("read").is_none(), "an ended view stays at its end");
    let after = rows(&*tables);
    assert_eq!(after.len(), 2000, "500 deleted, 500 inserted");
    assert!(drain(&mut *tables.view(everything()).expect("a view")) == after);
}

fn a_view_keeps_to_its_range(kind: Kind) {
    let (_folder, tables) = fresh(kind);
    for key in ["a", "b", "c", "d"] {
        put(&*tables, key, key);
    }
    let mut view = tables.view(KeyRange::new("b", "d")).expect("a view");
    let mut none = tables.view(KeyRange::new("d", "b")).expect("a view");
    for key in ["a", "bb", "d", "dd"] {
        put(&*tables, key, "later");
    }
    assert_eq!(keys(&drain(&mut *view)), ["b", "c"]);
    assert!(drain(&mut *none).is_empty());
}

/// Tells the writer to end, also when an assertion unwinds.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Every batch moves an amount between two rows; any consistent look finds the same sum.
fn readers_never_see_half_a_batch(kind: Kind) {
    let (_folder, tables) = fresh(kind);
    const ROWS: u64 = 600;
    const EACH: u64 = 1000;
    let key = |row: u64| format!("r{row:04}");
    let mut batch = Batch::new();
    for row in 0..ROWS {
        batch.put(key(row), EACH.to_be_bytes().to_vec());
    }
    tables.write(batch).expect("written");
    let amount = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("8 bytes"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut balance = [EACH; ROWS as usize];
            let mut step = 0u64;
            while !done.load(Ordering::Relaxed) {
                step += 1;
                let (from, to) = (step * 7 % ROWS, step * 13 % ROWS);
                if from == to || balance[from as usize] == 0 {
                    continue;
                }
                balance[from as usize] -= 1;
                balance[to as usize] += 1;
                let mut batch = Batch::new();
                for row in [from, to] {
                    batch.put(key(row), balance[row as usize].to_be_bytes().to_vec());
                }
                tables.write(batch).expect("written");
            }
        });
        let _end = EndOnDrop(&done);
        // The first view is opened early and always one stays behind.
        let mut views = vec![tables.view(everything()).expect("a view")];
        for look in 0..30 {
            let seen = match look % 3 {
                0 => rows(&*tables),
                1 => tables.scan(everything(), Direction::Descending, 9999).expect("scanned"),
                _ => {
                    views.push(tables.view(everything()).expect("a view"));
                    // Some views are read at once, some only when much more has been written.
                    let at = if look % 2 == 0 { 0 } else { views.len() - 1 };
                    drain(&mut *views.swap_remove(at))
                }
            };
            assert_eq!(seen.len() as u64, ROWS);
            let sum: u64 = seen.iter().map(|(_, value)| amount(value)).sum();
            assert_eq!(sum, ROWS * EACH, "look {look} saw half a batch");
        }
    });
}

macro_rules! suite {
    ($($name:ident: $engine:ident, $sealed:literal;)*) => {$(
        mod $name {
            use super::Kind;

            const KIND: Kind = Kind { engine: store::Engine::$engine, sealed: $sealed };

            suite!(@tests
                a_row_is_read_back_until_it_is_deleted,
                an_empty_value_is_a_row_and_an_empty_batch_is_nothing,
                the_last_change_of_a_key_in_a_batch_wins,
                scans_go_both_ways_within_bounds_and_limits,
                keys_are_ordered_as_bytes,
                the_largest_keys_and_values_come_back_whole,
                what_was_flushed_is_there_after_a_reopen,
                a_folder_is_open_once,
                a_view_shows_the_moment_it_was_taken,
                a_view_keeps_to_its_range,
                readers_never_see_half_a_batch,
            );
        }
    )*};
    (@tests $($test:ident,)*) => {$(
        #[test]
        fn $test() {
            super::$test(KIND);
        }
    )*};
}

suite! {
    fjall: Fjall, false;
    fjall_sealed: Fjall, true;
    sled: Sled, false;
    sled_sealed: Sled, true;
    memory: Memory, false;
    memory_sealed: Memory, true;
}
