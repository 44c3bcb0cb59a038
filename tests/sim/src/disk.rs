//! The simulated disk of one node: the memory disk of `store` with what it does not do by itself.
//!
//! Kill, loss of power (a random part of what was not synced survives, sectors of it torn), names that are durable only
//! after their folder was synced, failing barriers that succeed later, and a full disk come from [`MemoryDisk`]. Here
//! are writes that go astray, bits that decay, and what the laws of the journal are judged by: barriers that failed, where
//! its last writes were, what a start would find.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use store::disk::{DiskFile, DiskLock, DiskThread, Fault, Space, Work};
use store::journal::look;
use store::{Disk, JournalSeen, MemoryDisk, Pace};

use crate::dice::Dice;

const BLOCK: u64 = 4096;
/// A segment begins with its header, which is written again at each start.
const HEADER_BYTES: u64 = BLOCK;

/// What is wrong with a disk beyond what the memory disk knows.
#[derive(Debug)]
struct Trouble {
    dice: Dice,
    /// Writes that will go astray.
    astray: u32,
    /// Barriers that were asked to fail, and did.
    failed_syncs: u64,
    failing_syncs: u64,
    /// Which file goes by which name.
    files: BTreeMap<String, u64>,
    next_file: u64,
    /// Where the last write to each file began, and the last one before it that began elsewhere: in reverse order.
    writes: BTreeMap<u64, [u64; 2]>,
}

impl Trouble {
    fn file(&mut self, name: &str) -> u64 {
        let next = &mut self.next_file;
        *self.files.entry(name.to_owned()).or_insert_with(|| {
            *next += 1;
            *next
        })
    }

    fn wrote(&mut self, file: u64, offset: u64) {
        let last = self.writes.entry(file).or_default();
        if offset >= HEADER_BYTES && offset > last[0] {
            *last = [offset, last[0]];
        }
    }
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
        let trouble = Trouble {
            dice,
            astray: 0,
            failed_syncs: 0,
            failing_syncs: 0,
            files: BTreeMap::new(),
            next_file: 0,
            writes: BTreeMap::new(),
        };
        Self {
            memory: MemoryDisk::new(Pace::Stepped),
            trouble: Arc::new(Mutex::new(trouble)),
            name: name.into(),
        }
    }

    /// The process ended; what it wrote stays.
    pub(crate) fn kill(&mut self) {
        self.memory = self.memory.kill();
        self.calm();
    }

    /// The machine lost its power.
    pub(crate) fn lose_power(&mut self, seed: u64) {
        self.memory = self.memory.power_loss(seed);
        self.calm();
    }

    /// What was to go wrong in this life does not go wrong in the next.
    fn calm(&self) {
        let mut trouble = self.trouble.lock();
        trouble.astray = 0;
        trouble.failing_syncs = 0;
    }

    /// The machine will lose its power in the middle of what it writes next.
    pub(crate) fn stop_after(&self, operations: u64) {
        self.memory.stop_after(operations);
    }

    /// The next operation of this kind fails.
    pub(crate) fn fail_next(&self, fault: Fault) {
        if fault == Fault::Sync {
            self.trouble.lock().failing_syncs += 1;
        }
        self.memory.fail_next(fault);
    }

    /// How many barriers have failed as they were asked to.
    pub(crate) fn failed_syncs(&self) -> u64 {
        self.trouble.lock().failed_syncs
    }

    /// What a start would find in the journal's folder; `None`: it would refuse, or there is nothing yet.
    pub(crate) fn seen(&self) -> Option<JournalSeen> {
        look(&self.memory.copy()).ok()
    }

    /// As [`SimDisk::seen`], if the power failed now and nothing survived that was not synced.
    pub(crate) fn seen_on_platter(&self) -> Option<JournalSeen> {
        look(&self.memory.platter()).ok()
    }

    /// One bit decays of what the journal wrote before its last batch, so that others follow it. Which one is told.
    pub(crate) fn rot(&self) -> Option<String> {
        let segments =
            self.memory.list().ok()?.into_iter().filter(|name| name.ends_with(".segment"));
        let mut trouble = self.trouble.lock();
        let written = |name: &String| {
            // Of the last two writes one may be cut: the last batch, or what follows it.
            let before = trouble.writes.get(trouble.files.get(name)?)?[1];
            (before > HEADER_BYTES).then(|| (name.clone(), before))
        };
        let (name, end) = segments.filter_map(|name| written(&name)).max()?;
        let contents = self.memory.contents(&name).ok()?;
        let begin = HEADER_BYTES + trouble.dice.below(end - HEADER_BYTES);
        let offset = (begin..end).find(|at| contents[*at as usize] != 0)?;
        let mask = 1 << trouble.dice.below(8);
        self.memory.damage(&name, offset, mask).ok()?;
        Some(format!("{name} byte {offset} of {end}"))
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
    number: u64,
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
        trouble.wrote(self.number, offset);
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.file.sync_data();
        let mut trouble = self.trouble.lock();
        if synced.is_err() && trouble.failing_syncs > 0 {
            trouble.failing_syncs -= 1;
            trouble.failed_syncs += 1;
        }
        synced
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

impl SimDisk {
    fn wrap(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let number = self.trouble.lock().file(name);
        Arc::new(SimFile { file, number, trouble: Arc::clone(&self.trouble) })
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(name, self.memory.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.memory.create(name)?;
        self.trouble.lock().files.remove(name);
        Ok(self.wrap(name, file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.memory.rename(from, to)?;
        let mut trouble = self.trouble.lock();
        if let Some(file) = trouble.files.remove(from) {
            // A name that is given anew is of a file that is written anew.
            trouble.writes.remove(&file);
            trouble.files.insert(to.to_owned(), file);
        }
        Ok(())
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
