//! Looking at a journal tells what a start would find, and changes nothing: not a byte, not a file.

#[path = "support/journal.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use store::journal::look;
use store::{FsDisk, Journal, LogPosition, StoreError};
use support::{IDENTITY, config, record, wait};

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("readable");
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("readable");
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, std::fs::read(entry.path()).expect("readable"))
    };
    entries.map(file).collect()
}

fn written(folder: &Path) -> Journal {
    let disk = Arc::new(FsDisk::open(folder).expect("the folder can be made"));
    let journal = Journal::open(disk, config()).expect("opens");
    for group in [0, 7] {
        let log = journal.group(group);
        wait(|done| log.save_vote(Bytes::from_static(b"vote"), done)).expect("durable");
        let entries = (1..=50).map(|index| record(group, index, 3)).collect();
        wait(|done| log.append(entries, done)).expect("durable");
    }
    let upto = LogPosition { term: 3, node: 1, index: 20 };
    wait(|done| journal.group(7).purge(upto, done)).expect("durable");
    journal
}

#[test]
fn a_journal_that_is_looked_at_is_told_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path()).close();
    let before = files(folder.path());
    let seen = look(&FsDisk::to_read(folder.path())).expect("readable");
    assert_eq!(files(folder.path()), before, "nothing was changed");
    assert_eq!(seen.identity, IDENTITY);
    assert!(!seen.segments.is_empty());
    assert_eq!(seen.groups.keys().copied().collect::<Vec<_>>(), [0, 7]);
    let last = Some(LogPosition { term: 3, node: 1, index: 50 });
    assert_eq!((seen.groups[&0].first, seen.groups[&0].last), (1, last));
    assert_eq!((seen.groups[&7].entries, seen.groups[&7].last), (30, last));
    assert_eq!(seen.groups[&7].purged.map(|purged| purged.index), Some(20));
    assert!(seen.groups[&7].bytes > 0);
}

#[test]
fn a_journal_that_a_node_has_open_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = written(folder.path());
    let refused = look(&FsDisk::to_read(folder.path()));
    assert!(matches!(refused, Err(StoreError::Locked { .. })), "{refused:?}");
    journal.close();
    assert!(look(&FsDisk::to_read(folder.path())).is_ok());
}

#[test]
fn damage_is_told_and_a_folder_without_a_journal_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path()).close();
    let name = files(folder.path()).keys().find(|name| name.ends_with(".segment")).cloned();
    let path = folder.path().join(name.expect("a segment"));
    let mut bytes = std::fs::read(&path).expect("readable");
    // Within the first batch, behind which good ones follow.
    bytes[4096 + 60] ^= 1;
    std::fs::write(&path, bytes).expect("writable");
    let refused = look(&FsDisk::to_read(folder.path()));
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
    let empty = tempfile::tempdir().expect("a folder");
    assert!(look(&FsDisk::to_read(empty.path())).is_err());
    assert_eq!(files(empty.path()).len(), 0, "not even a lock was made");
}
