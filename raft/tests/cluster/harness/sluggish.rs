//! A disk in memory whose barriers can be made slow. It does not wait: its clock says that it did.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use store::{
    Disk, MemoryDisk,
    disk::{DiskFile, DiskLock, DiskThread, Pace, Space, Work},
};
use tokio::time::Instant;

/// What a test turns.
pub(crate) struct Dial {
    since: Instant,
    /// What barriers have cost beyond the time that passed, microseconds.
    spent: AtomicU64,
    /// What each costs from now on, microseconds.
    cost: AtomicU64,
}

impl Dial {
    pub(crate) fn new() -> Arc<Self> {
        let (spent, cost) = Default::default();
        Arc::new(Self { since: Instant::now(), spent, cost })
    }

    /// Every barrier takes so long.
    pub(crate) fn turn(&self, cost: Duration) {
        self.cost.store(cost.as_micros() as u64, Ordering::Relaxed);
    }

    fn now(&self) -> Duration {
        self.since.elapsed() + Duration::from_micros(self.spent.load(Ordering::Relaxed))
    }
}

/// See the module.
pub(crate) struct Sluggish {
    pub(crate) disk: MemoryDisk,
    pub(crate) dial: Arc<Dial>,
}

struct File {
    file: Arc<dyn DiskFile>,
    dial: Arc<Dial>,
}

impl DiskFile for File {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        let cost = self.dial.cost.load(Ordering::Relaxed);
        self.dial.spent.fetch_add(cost, Ordering::Relaxed);
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

impl Sluggish {
    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(File { file, dial: self.dial.clone() })
    }
}

impl Disk for Sluggish {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.disk.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.disk.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.disk.sync_folder()
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn DiskLock>> {
        self.disk.lock(name)
    }

    fn space(&self) -> Option<Space> {
        self.disk.space()
    }

    fn location(&self) -> String {
        self.disk.location()
    }

    fn now(&self) -> Duration {
        self.dial.now()
    }

    fn pace(&self) -> Pace {
        self.disk.pace()
    }

    fn spawn(&self, name: &str, work: Work) -> io::Result<Box<dyn DiskThread>> {
        self.disk.spawn(name, work)
    }
}
