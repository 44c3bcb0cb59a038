//! Sealing at rest, from outside: keys rotate while tables are open, a wrong key is told apart from
//! damage, a moved or altered value is refused, and the bytes of today stay readable for ever.

#[path = "support/tables.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use store::seal::{SEALED_BYTES_MORE, SealError};
use store::{
    Batch, Entropy, MemoryTables, NodeKey, RecordSeal, Sealed, Sealer, StoreError, SystemEntropy,
    Tables,
};
use support::{put, rows};

fn sealer(folder: &Path, node_key: u8) -> Result<Sealer, StoreError> {
    let node_key = NodeKey::from_bytes([node_key; 32]);
    Sealer::open(&folder.join("keys"), node_key, Box::new(SystemEntropy))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn keys_rotate_while_the_tables_are_open_and_rows_follow_when_written() {
    let folder = folder();
    let sealer = Arc::new(sealer(folder.path(), 1).expect("a new ring"));
    let inner = MemoryTables::new();
    let tables = Sealed::new(inner.clone(), Arc::clone(&sealer));
    put(&tables, "old", "sealed before");
    put(&tables, "both", "first");
    let key_of = |row: &[u8]| inner.get(row).expect("read").expect("there")[1..5].to_vec();
    let first = key_of(b"old");

    let id = sealer.rotate().expect("rotated");
    put(&tables, "both", "second");
    assert_eq!(key_of(b"both"), id.0.to_be_bytes(), "the newest key seals");
    assert_eq!(key_of(b"old"), first, "an old row stays as it is until it is written");
    assert_eq!(tables.get(b"old").expect("read").as_deref(), Some(b"sealed before".as_slice()));
    assert_eq!(rows(&tables).len(), 2);

    let reopened = self::sealer(folder.path(), 1).expect("the ring is on disk");
    assert_eq!(reopened.key_ids(), sealer.key_ids());
    let tables = Sealed::new(inner, Arc::new(reopened));
    assert_eq!(tables.get(b"both").expect("read").as_deref(), Some(b"second".as_slice()));
}

#[test]
fn another_node_key_is_told_apart_from_damage() {
    let folder = folder();
    sealer(folder.path(), 1).expect("a new ring");
    let error = sealer(folder.path(), 2).expect_err("another key");
    assert!(matches!(error, StoreError::WrongKey { .. }), "{error:?}");

    let ring = folder.path().join("keys");
    let whole = std::fs::read(&ring).expect("read");
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&ring, bytes).expect("written");
        let error = sealer(folder.path(), 1).expect_err("damage");
        assert!(matches!(error, StoreError::Corrupt { .. }), "byte {at}: {error:?}");
        std::fs::write(&ring, &whole[..at]).expect("written");
        let error = sealer(folder.path(), 1).expect_err("cut short");
        assert!(matches!(error, StoreError::Corrupt { .. }), "{at} bytes: {error:?}");
    }
}

#[test]
fn a_changed_node_key_opens_what_the_old_one_sealed() {
    let folder = folder();
    let before = sealer(folder.path(), 1).expect("a new ring");
    let sealed = before.seal(b"name", b"secret");
    before.change_node_key(NodeKey::from_bytes([2; 32])).expect("wrapped anew");
    assert!(matches!(sealer(folder.path(), 1), Err(StoreError::WrongKey { .. })));
    let after = sealer(folder.path(), 2).expect("the new key opens");
    assert_eq!(after.open_value(b"name", &sealed).expect("opens"), b"secret".as_slice());
}

#[test]
fn a_moved_altered_or_foreign_value_is_refused() {
    let folder = folder();
    let sealer = sealer(folder.path(), 1).expect("a new ring");
    let sealed = sealer.seal(b"alice", b"her secret");
    assert_eq!(sealed.len(), 10 + SEALED_BYTES_MORE);
    assert_eq!(sealer.open_value(b"bob", &sealed), Err(SealError::Altered), "moved");
    for at in 0..sealed.len() {
        let mut bytes = sealed.to_vec();
        bytes[at] ^= 0x40;
        assert!(sealer.open_value(b"alice", &bytes).is_err(), "byte {at}");
        assert!(sealer.open_value(b"alice", &sealed[..at]).is_err(), "{at} bytes");
    }
    let other = self::folder();
    let foreign = self::sealer(other.path(), 1).expect("another ring").seal(b"alice", b"x");
    let error = sealer.open_value(b"alice", &foreign).expect_err("foreign");
    assert!(matches!(error, SealError::UnknownKey(_)), "{error:?}");
}

#[test]
fn tables_report_a_foreign_key_and_a_swapped_row_in_types() {
    let folders = [folder(), folder()];
    let inner = MemoryTables::new();
    let mine = Sealed::new(inner.clone(), Arc::new(sealer(folders[0].path(), 1).expect("a ring")));
    let other = Sealed::new(inner.clone(), Arc::new(sealer(folders[1].path(), 1).expect("a ring")));
    put(&mine, "a", "1");
    assert!(matches!(other.get(b"a"), Err(StoreError::WrongKey { .. })));
    let mut swap = Batch::new();
    swap.put("b", inner.get(b"a").expect("read").expect("there"));
    swap.put("c", "never sealed");
    inner.write(swap).expect("written");
    assert!(matches!(mine.get(b"b"), Err(StoreError::Corrupt { .. })));
    assert!(matches!(mine.get(b"c"), Err(StoreError::Corrupt { .. })));
    let mut view = mine.view(support::everything()).expect("a view");
    assert!(view.next().expect("the sound row").is_some());
    assert!(view.next().is_err());
}

#[test]
fn the_same_value_never_looks_the_same_at_rest() {
    let folder = folder();
    let sealer = sealer(folder.path(), 1).expect("a new ring");
    assert_ne!(sealer.seal(b"name", b"value"), sealer.seal(b"name", b"value"));
}

#[test]
fn records_of_the_journal_are_bound_to_their_place() {
    let folder = folder();
    let sealer = sealer(folder.path(), 1).expect("a new ring");
    let seal: &dyn RecordSeal = &sealer;
    let sealed = seal.seal(b"group 1 index 7", b"entry");
    assert_eq!(seal.open(b"group 1 index 7", &sealed).expect("opens"), b"entry");
    assert!(seal.open(b"group 1 index 8", &sealed).is_err());
}

/// Counts up, so that the bytes below are always the same.
struct Counting(AtomicU8);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const GOLDEN_RING: &str = include_str!("golden/keys.hex");
const GOLDEN_VALUE: &str = include_str!("golden/sealed.hex");

#[test]
fn the_bytes_of_format_1_are_kept() {
    let folder = folder();
    let ring = folder.path().join("keys");
    let counting = Box::new(Counting(AtomicU8::new(0)));
    let sealer = Sealer::open(&ring, NodeKey::from_bytes([7; 32]), counting).expect("a new ring");
    let sealed = sealer.seal(b"name", b"value");
    assert_eq!(hex(&std::fs::read(&ring).expect("read")), GOLDEN_RING.trim());
    assert_eq!(hex(&sealed), GOLDEN_VALUE.trim());
    assert_eq!(sealer.open_value(b"name", &sealed).expect("opens"), b"value".as_slice());
}
