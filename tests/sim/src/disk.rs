//! The simulated disk of one node: the memory disk of `store` with what it does not do by itself.
//!
//! Kill, loss of power (a random part of what was not synced survives, sectors of it torn), names that are durable only
//! after their folder was synced, failing barriers that succeed later, and a full disk come from [`MemoryDisk`]. Here
//! are writes that go astray, bits that decay, and how long a barrier takes.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use store::disk::{DiskFile, DiskLock, DiskThread, Fault, Space, Work};
use store::{Disk, MemoryDisk, Pace};

use crate::dice::Dice;

const BLOCK: u64 = 4096;

/// What is wrong with a disk beyond what the memory disk knows.
#[derive(Clone, Debug)]
struct Trouble {
    dice: Dice,
    /// Writes that will go astray.
    astray: u32,
    /// Barriers that will not reach the platter and say nothing (a planted liar; never drawn by a seed).
    syncs: u64,
}

/// See the module. Clones share the disk; [`SimDisk::kill`] begins its next life.
#[derive(Clone)]
pub(crate) struct SimDisk {
    memory: MemoryDisk,
    trouble: Arc<Mutex<Trouble>>,
    name: Arc<str>,
}

impl SimDisk {
    /// An empty disk.
    pub(crate) fn new(seed: u64, node: usize) -> Self {
        let name = format!("disk-{node}");
        let dice = Dice::new(seed, &name);
        let trouble = Trouble { dice, astray: 0, syncs: 0 };
        Self {
            memory: MemoryDisk::new(Pace::Stepped),
            trouble: Arc::new(Mutex::new(trouble)),
            name: name.into(),
        }
    }

    /// The process ended; what it wrote stays.
    pub(crate) fn kill(&mut self) {
        self.memory = self.memory.kill();
        self.trouble.lock().astray = 0;
    }

    /// The machine lost its power.
    pub(crate) fn lose_power(&mut self, seed: u64) {
        self.memory = self.memory.power_loss(seed);
        self.trouble.lock().astray = 0;
    }

    /// The machine will lose its power in the middle of what it writes next.
    pub(crate) fn stop_after(&self, operations: u64) {
        self.memory.stop_after(operations);
    }

    /// The next operation of this kind fails.
    pub(crate) fn fail_next(&self, fault: Fault) {
        self.memory.fail_next(fault);
    }

    /// The next write goes somewhere else in its file.
    pub(crate) fn lead_astray(&self) {
        self.trouble.lock().astray += 1;
    }

    /// No room, from now on; or room again.
    pub(crate) fn fill(&self, full: bool) {
        let room = if full { self.memory.used() + 16 * 1024 } else { u64::MAX };
        self.memory.set_capacity(room);
    }

    /// One bit of one file decays; which one is told.
    pub(crate) fn decay(&self) -> Option<String> {
        let names = self.memory.list().ok()?;
        let files: Vec<String> = names
            .into_iter()
            .filter(|name| self.memory.contents(name).is_ok_and(|c| !c.is_empty()))
            .collect();
        if files.is_empty() {
            return None;
        }
        let mut trouble = self.trouble.lock();
        let name = trouble.dice.pick(&files).clone();
        let contents = self.memory.contents(&name).ok()?;
        // Where something is written: the rest of a segment is zeros that nobody reads.
        let used = contents.iter().rposition(|byte| *byte != 0)? as u64 + 1;
        let offset = trouble.dice.below(used);
        let mask = 1 << trouble.dice.below(8);
        self.memory.damage(&name, offset, mask).ok()?;
        Some(format!("{name} byte {offset}"))
    }
}

struct SimFile {
    file: Arc<dyn DiskFile>,
    trouble: Arc<Mutex<Trouble>>,
}

impl DiskFile for SimFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut trouble = self.trouble.lock();
        if trouble.astray > 0 {
            trouble.astray -= 1;
            let blocks = (self.file.len()? / BLOCK).max(1);
            let elsewhere = trouble.dice.below(blocks) * BLOCK + offset % BLOCK;
            if elsewhere + bytes.len() as u64 <= self.file.len()? {
                return self.file.write_at(bytes, elsewhere);
            }
        }
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.trouble.lock().syncs += 1;
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

impl SimDisk {
    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { file, trouble: Arc::clone(&self.trouble) })
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.memory.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.memory.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.memory.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.memory.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.memory.list()
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.memory.sync_folder()
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn DiskLock>> {
        self.memory.lock(name)
    }

    fn space(&self) -> Option<Space> {
        self.memory.space()
    }

    fn location(&self) -> String {
        self.name.to_string()
    }

    fn pace(&self) -> Pace {
        Pace::Stepped
    }

    fn spawn(&self, name: &str, work: Work) -> io::Result<Box<dyn DiskThread>> {
        self.memory.spawn(name, work)
    }
}
