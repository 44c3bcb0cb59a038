//! Disks that fail, disks that are full, and records that are sealed.

#[path = "support/journal.rs"]
mod support;

use bytes::Bytes;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use store::disk::{DiskFile, DiskLock, DiskThread, Fault, Space, Work};
use store::{
    Disk, FsDisk, Journal, JournalConfig, LogPosition, MemoryDisk, Pace, RecordSeal, StoreError,
};
use support::{config, record, state, wait};

/// A disk of which one barrier fails, once, and whose reads can be held up.
struct TestDisk {
    inner: Arc<dyn Disk>,
    hooks: Arc<Hooks>,
}

#[derive(Default)]
struct Hooks {
    fail: AtomicBool,
    reads: AtomicUsize,
    /// Held by a test while reads shall wait.
    gate: Mutex<()>,
}

struct TestFile {
    inner: Arc<dyn DiskFile>,
    hooks: Arc<Hooks>,
}

impl TestDisk {
    fn wrap(&self, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(TestFile { inner, hooks: Arc::clone(&self.hooks) })
    }
}

impl DiskFile for TestFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.hooks.reads.fetch_add(1, Ordering::SeqCst);
        drop(self.hooks.gate.lock());
        self.inner.read_at(into, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        match self.hooks.fail.swap(false, Ordering::SeqCst) {
            true => Err(io::Error::other("the barrier failed, once")),
            false => self.inner.sync_data(),
        }
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
}

impl Disk for TestDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.inner.open(name)?))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.inner.create(name)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }
    fn sync_folder(&self) -> io::Result<()> {
        self.inner.sync_folder()
    }
    fn lock(&self, name: &str) -> io::Result<Box<dyn DiskLock>> {
        self.inner.lock(name)
    }
    fn space(&self) -> Option<Space> {
        self.inner.space()
    }
    fn location(&self) -> String {
        self.inner.location()
    }
    fn pace(&self) -> Pace {
        self.inner.pace()
    }
    fn spawn(&self, name: &str, work: Work) -> io::Result<Box<dyn DiskThread>> {
        self.inner.spawn(name, work)
    }
}

#[test]
fn after_one_failed_barrier_nothing_is_ever_acknowledged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let inner = FsDisk::open(folder.path()).expect("opens");
    let hooks = Arc::new(Hooks::default());
    let disk = TestDisk { inner: Arc::new(inner.clone()), hooks: Arc::clone(&hooks) };
    let journal = Journal::open(Arc::new(disk), config()).expect("opens");
    let (log, told) = (journal.group(1), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&told);
    journal.set_on_fatal(Box::new(move |error| {
        assert!(matches!(error, StoreError::Io { action: "sync", .. }));
        count.fetch_add(1, Ordering::SeqCst);
    }));
    wait(|done| log.append(vec![record(1, 1, 1)], done)).expect("durable");
    hooks.fail.store(true, Ordering::SeqCst);
    let first =
        wait(|done| log.append(vec![record(1, 2, 1)], done)).expect_err("the barrier failed");
    assert!(first.is_fatal() && matches!(first, StoreError::Io { .. }));
    // The disk is well again, and still:
    for index in 3..10 {
        let later = wait(|done| log.append(vec![record(1, index, 1)], done));
        assert!(matches!(later, Err(StoreError::Poisoned { .. })));
        assert!(wait(|done| log.save_vote(Bytes::new(), done)).is_err());
    }
    assert_eq!((told.load(Ordering::SeqCst), journal.fatal()), (1, Some(first)));
    drop((journal, log));
    let journal = Journal::open(Arc::new(inner), config()).expect("opens");
    let last = state(&journal, 1).last.expect("the first entry was acknowledged");
    assert!(last.index == 1 || last.index == 2, "what was not written is not there");
}

#[test]
fn a_failed_write_ends_all_writing_too() {
    let disk = MemoryDisk::default();
    let journal = support::open(disk.clone()).expect("opens");
    let log = journal.group(1);
    wait(|done| log.append(vec![record(1, 1, 1)], done)).expect("durable");
    disk.fail_next(Fault::Write);
    assert!(wait(|done| log.append(vec![record(1, 2, 1)], done)).is_err());
    assert!(wait(|done| log.append(vec![record(1, 3, 1)], done)).is_err());
    let journal = support::open(disk.kill()).expect("half a batch is a torn tail");
    assert_eq!(state(&journal, 1).last, Some(record(1, 1, 1).position()));
}

#[test]
fn a_hook_set_after_the_failure_is_told_at_once() {
    let disk = MemoryDisk::default();
    let journal = support::open(disk.clone()).expect("opens");
    disk.fail_next(Fault::Sync);
    assert!(wait(|done| journal.group(1).save_vote(Bytes::new(), done)).is_err());
    let told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&told);
    journal.set_on_fatal(Box::new(move |_| tell.store(true, Ordering::SeqCst)));
    assert!(told.load(Ordering::SeqCst));
}

#[test]
fn a_completion_that_panics_does_not_leave_a_silent_journal() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = FsDisk::open(folder.path()).expect("opens");
    let journal =
        std::mem::ManuallyDrop::new(Journal::open(Arc::new(disk), config()).expect("opens"));
    journal.group(1).save_vote(Bytes::new(), Box::new(|_| panic!("planned, by a test")));
    support::wait_until("the panic is told", || journal.fatal().is_some());
    support::wait_until("later calls are answered", || {
        wait(|done| journal.group(1).save_vote(Bytes::new(), done)).is_err()
    });
}

#[test]
fn a_failed_read_is_an_error_and_not_an_end_of_the_log() {
    let disk = MemoryDisk::default();
    let journal = support::open(disk.clone()).expect("opens");
    wait(|done| journal.group(1).append((1..50).map(|index| record(1, index, 1)).collect(), done))
        .expect("durable");
    let journal = {
        drop(journal);
        support::open(disk.clone()).expect("opens")
    };
    disk.fail_next(Fault::Read);
    assert!(matches!(
        journal.group(1).read(1, 50, 9000),
        Err(StoreError::Io { action: "read", .. })
    ));
    let refused = {
        drop(journal);
        disk.fail_next(Fault::Read);
        support::open(disk.clone()).err()
    };
    assert!(matches!(refused, Some(StoreError::Io { .. })), "an unreadable file is no empty file");
}

/// Appends until it is refused; the last index that was taken.
fn fill(journal: &Journal, from: u64) -> u64 {
    for index in from.. {
        match wait(|done| journal.group(1).append(vec![record(1, index, 1)], done)) {
            Ok(()) => {}
            Err(StoreError::Full { .. }) => return index - 1,
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a read that waits needs a thread to wait in")]
fn a_segment_that_is_being_read_is_not_recycled() {
    let (disk, hooks) = (MemoryDisk::default(), Arc::new(Hooks::default()));
    let under_test = TestDisk { inner: Arc::new(disk.clone()), hooks: Arc::clone(&hooks) };
    let config = JournalConfig { cache_bytes_per_group: 0, ..config() };
    let journal = Journal::open(Arc::new(under_test), config).expect("opens");
    let log = journal.group(1);
    wait(|done| log.append((1..=100).map(|index| record(1, index, 1)).collect(), done))
        .expect("durable");
    let gate = hooks.gate.lock().expect("not poisoned");
    let before = hooks.reads.load(Ordering::SeqCst);
    let reader = {
        let log = log.clone();
        std::thread::spawn(move || log.read(50, 51, 1))
    };
    support::wait_until("the reader is at the disk", || {
        hooks.reads.load(Ordering::SeqCst) > before
    });
    for index in 101..2000 {
        wait(|done| log.append(vec![record(1, index, 1)], done)).expect("durable");
        wait(|done| log.purge(record(1, index, 1).position(), done)).expect("durable");
    }
    let names = disk.list().expect("a live disk");
    assert!(!names.contains(&"00000001.segment".to_owned()), "it has gone meanwhile: {names:?}");
    drop(gate);
    let read = reader.join().expect("no panic");
    assert_eq!(read, Ok(vec![record(1, 50, 1)]));
}

#[test]
fn a_full_disk_refuses_entries_but_takes_votes_truncations_and_purges() {
    let disk = MemoryDisk::default();
    let mut journal = support::open(disk.clone()).expect("opens");
    disk.set_capacity(400 << 10);
    let last = fill(&journal, 1);
    assert!(journal.stats().full && journal.stats().low && last > 500);
    for life in 0..3 {
        let log = journal.group(1);
        assert_eq!(
            log.state().last.map(|last| last.index),
            Some(last),
            "a refused entry is not there"
        );
        let refused = wait(|done| log.append(vec![record(1, last + 1, 1)], done));
        assert!(matches!(&refused, Err(error) if !error.is_fatal()) || life > 0 && refused.is_ok());
        if refused.is_ok() {
            wait(|done| log.truncate_after(Some(last), done))
                .expect("a full disk takes truncations");
        }
        wait(|done| log.save_vote(Bytes::from(vec![life; 16]), done))
            .expect("a full disk takes votes");
        drop(log);
        assert_eq!(journal.fatal(), None);
        // And it starts with nothing free.
        journal.close();
        journal = support::open(disk.clone()).expect("opens on a full disk");
        assert_eq!(state(&journal, 1).vote, Some(Bytes::from(vec![life; 16])));
    }
    // A purge makes room on its own.
    let log = journal.group(1);
    let upto = log.position(last - 5).expect("it is there");
    wait(|done| log.purge(upto, done)).expect("a full disk takes purges");
    let again = fill(&journal, last + 1);
    assert!(again > last + 300, "{again} after {last}");
    journal.close();
    assert_eq!(
        state(&support::open(disk).expect("opens"), 1).last.map(|last| last.index),
        Some(again)
    );
}

#[test]
fn room_that_comes_back_is_used() {
    let disk = MemoryDisk::default();
    let journal = support::open(disk.clone()).expect("opens");
    disk.set_capacity(400 << 10);
    let last = fill(&journal, 1);
    disk.set_capacity(2 << 20);
    let _ = wait(|done| journal.group(1).append(vec![record(1, last + 1, 1)], done)); // This one asks again.
    let next = journal.group(1).state().last.map_or(1, |last| last.index + 1);
    wait(|done| journal.group(1).append(vec![record(1, next, 1)], done)).expect("there is room");
    assert!(!journal.stats().full);
}

/// No cipher, but it tells whether the bytes, the key and the place are the right ones.
struct ToySeal(u8);

impl RecordSeal for ToySeal {
    fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let check = crc32c::crc32c(aad) ^ u32::from(self.0);
        let mut sealed = check.to_le_bytes().to_vec();
        sealed.extend(plaintext.iter().map(|byte| byte ^ self.0));
        sealed
    }

    fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        let (check, bytes) = sealed.split_at_checked(4).ok_or(StoreError::wrong_key("short"))?;
        if check != (crc32c::crc32c(aad) ^ u32::from(self.0)).to_le_bytes() {
            return Err(StoreError::wrong_key("a record"));
        }
        Ok(bytes.iter().map(|byte| byte ^ self.0).collect())
    }
}

fn sealed(key: u8) -> JournalConfig {
    JournalConfig { seal: Some(Arc::new(ToySeal(key))), cache_bytes_per_group: 0, ..config() }
}

#[test]
fn payloads_are_sealed_at_rest_and_opened_by_the_same_key_alone() {
    let disk = MemoryDisk::default();
    let open = |config| Journal::open(Arc::new(disk.clone()), config).expect("opens");
    let mut secret = record(1, 2, 1);
    secret.payload = Bytes::from_static(b"the plain words of somebody");
    let journal = open(config());
    wait(|done| journal.group(1).append(vec![record(1, 1, 1)], done)).expect("durable");
    journal.close();
    let journal = open(sealed(0x5a));
    wait(|done| journal.group(1).append(vec![secret.clone()], done)).expect("durable");
    assert_eq!(
        journal.group(1).read(1, 3, 1 << 20).expect("readable"),
        [record(1, 1, 1), secret.clone()]
    );
    // Copies of old entries stay sealed, and stay readable.
    for index in 1..1500 {
        let log = journal.group(2);
        wait(|done| log.append(vec![record(2, index, 1)], done)).expect("durable");
        wait(|done| log.purge(record(2, index, 1).position(), done)).expect("durable");
    }
    let first =
        disk.list().expect("a live disk").into_iter().find(|name| name.ends_with("segment"));
    assert!(first.expect("there are segments") != "00000001.segment", "they were copied");
    assert_eq!(
        journal.group(1).read(1, 3, 1 << 20).expect("readable"),
        [record(1, 1, 1), secret.clone()]
    );
    journal.close();
    for name in disk.list().expect("a live disk").iter().filter(|name| *name != "LOCK") {
        let bytes = disk.contents(name).expect("it is there");
        assert!(!bytes.windows(11).any(|window| window == b"plain words"), "{name}");
    }
    for config in [config(), sealed(0x11)] {
        let refused = open(config).group(1).read(2, 3, 1 << 20).err();
        assert!(matches!(refused, Some(StoreError::WrongKey { .. })));
    }
}

#[test]
fn a_sealed_record_is_bound_to_group_index_and_term() {
    let seal = Arc::new(Spy(Mutex::default()));
    let config = JournalConfig { seal: Some(seal.clone()), ..config() };
    let journal = Journal::open(Arc::new(MemoryDisk::default()), config).expect("opens");
    let places = [
        (1, 5, 1, 1, 0),
        (2, 5, 1, 1, 0),
        (1, 6, 1, 1, 0),
        (1, 5, 2, 1, 0),
        (1, 5, 1, 2, 0),
        (1, 5, 1, 1, 7),
    ];
    for (group, index, term, node, kind) in places {
        let log = journal.group(group);
        wait(|done| log.truncate_after(None, done)).expect("durable");
        let record = store::LogRecord { index, term, node, kind, payload: Bytes::new() };
        wait(|done| log.append(vec![record], done)).expect("durable");
    }
    let mut seen = seal.0.lock().expect("not poisoned").clone();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), places.len(), "no two places share their associated data");
    let _ = LogPosition { term: 0, node: 0, index: 0 };
}

struct Spy(Mutex<Vec<Vec<u8>>>);

impl RecordSeal for Spy {
    fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        self.0.lock().expect("not poisoned").push(aad.to_vec());
        plaintext.to_vec()
    }

    fn open(&self, _aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        Ok(sealed.to_vec())
    }
}
