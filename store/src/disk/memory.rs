//! The simulated disk: files in memory that can be killed, lose power, fail and fill up.
//!
//! Adapter of the port in `disk.rs`, for tests and for the deterministic simulation. A *kill* keeps
//! everything that was written (the operating system survives); a *power loss* keeps what was
//! synced and, of the rest, a random subset of blocks and even of sectors within a block, and of
//! the changes of names. A failed barrier behaves as on Linux: the pages are marked clean, so that
//! a later barrier succeeds although the bytes never reached the disk. It has no threads, no clock
//! and no randomness of its own: the caller brings the seed.

use super::{Disk, DiskFile, DiskLock, DiskThread, Pace, Space, Work};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

mod inode;

use inode::{Inode, SplitMix};

/// What the next operation of a kind does instead of succeeding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The next barrier fails, and its bytes are lost to every later one.
    Sync,
    /// The next write fails after half of its bytes.
    Write,
    /// The next read fails.
    Read,
}

#[derive(Clone)]
enum NameChange {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    unsynced: Vec<NameChange>,
    next_inode: u64,
    life: u64,
    locked: BTreeSet<String>,
    faults: Vec<Fault>,
    operations_left: Option<u64>,
    operations: u64,
    capacity: u64,
    pace: Pace,
}

/// A simulated disk. Clones share it: keep one to reopen it after a kill or a power loss.
#[derive(Clone)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
    life: u64,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new(Pace::Inline)
    }
}

impl MemoryDisk {
    /// An empty disk.
    ///
    /// # Panics
    /// With [`Pace::Threads`]: a simulated disk has none.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        assert!(pace != Pace::Threads, "a simulated disk has no threads");
        let state = State {
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced: Vec::new(),
            next_inode: 1,
            life: 0,
            locked: BTreeSet::new(),
            faults: Vec::new(),
            operations_left: None,
            operations: 0,
            capacity: u64::MAX,
            pace,
        };
        Self { state: Arc::new(Mutex::new(state)), life: 0 }
    }

    /// Ends the life of all handles, as SIGKILL does: what was written stays, locks are released.
    /// The returned handle is the next life.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut state = self.state.lock();
        state.life += 1;
        state.locked.clear();
        state.faults.clear();
        state.operations_left = None;
        state.inodes.values_mut().for_each(|inode| inode.handles = 0);
        Self { state: Arc::clone(&self.state), life: state.life }
    }

    /// As [`MemoryDisk::kill`], and of what was not synced a random subset is lost.
    #[must_use]
    pub fn power_loss(&self, seed: u64) -> Self {
        let next = self.kill();
        let mut random = SplitMix(seed);
        let mut state = self.state.lock();
        let mut names = std::mem::take(&mut state.durable_names);
        for change in std::mem::take(&mut state.unsynced) {
            if random.below(2) == 1 {
                change_name(&mut names, change);
            }
        }
        state.inodes.retain(|id, _| names.values().any(|inode| inode == id));
        for inode in state.inodes.values_mut() {
            inode.lose_power(&mut random);
        }
        state.durable_names.clone_from(&names);
        state.names = names;
        drop(state);
        next
    }

    /// Lets `operations` more changes (writes, barriers, changes of names and lengths) happen; all
    /// later ones fail, as if the machine had stopped there. Follow with [`MemoryDisk::kill`] or
    /// [`MemoryDisk::power_loss`].
    pub fn stop_after(&self, operations: u64) {
        self.state.lock().operations_left = Some(operations);
    }

    /// How many changes there were so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Makes the next operation of its kind fail.
    pub fn fail_next(&self, fault: Fault) {
        self.state.lock().faults.push(fault);
    }

    /// Bounds the sum of all files; growth beyond fails as on a full disk.
    pub fn set_capacity(&self, bytes: u64) {
        self.state.lock().capacity = bytes;
    }

    /// Bytes of all files.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state.lock().used()
    }

    /// A disk of its own with what programs see on this one now.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copied = Self::new(Pace::Inline);
        let state = self.state.lock();
        for (name, inode) in &state.names {
            copied.put(name, state.inodes[inode].bytes().to_vec());
        }
        drop(state);
        copied
    }

    /// A disk of its own with what would be left if the power failed now and nothing survived that was not synced.
    #[must_use]
    pub fn platter(&self) -> Self {
        let copied = Self::new(Pace::Inline);
        let state = self.state.lock();
        for (name, inode) in &state.durable_names {
            copied.put(name, state.inodes[inode].platter().to_vec());
        }
        drop(state);
        copied
    }

    /// A copy of a file, for a test that damages it.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn contents(&self, name: &str) -> io::Result<Vec<u8>> {
        let state = self.state.lock();
        Ok(state.inodes[&state.inode(name)?].bytes().to_vec())
    }

    /// Flips the bits of `mask` in one byte of a file, in memory and on the platter, as decay does.
    ///
    /// # Errors
    /// `NotFound`, also when the file is shorter.
    pub fn damage(&self, name: &str, offset: u64, mask: u8) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.inode(name)?;
        file(&mut state, inode)?.damage(offset, mask)
    }

    /// Puts a file on the disk, durably, as damage does: past all barriers.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state.lock();
        let id = state.next_inode;
        state.next_inode += 1;
        state.inodes.insert(id, Inode::durable(bytes));
        state.names.insert(name.to_owned(), id);
        state.durable_names.insert(name.to_owned(), id);
    }
}

fn change_name(names: &mut BTreeMap<String, u64>, change: NameChange) {
    match change {
        NameChange::Create(name, inode) => {
            names.insert(name, inode);
        }
        NameChange::Rename(from, to) => {
            if let Some(inode) = names.remove(&from) {
                names.insert(to, inode);
            }
        }
        NameChange::Remove(name) => {
            names.remove(&name);
        }
    }
}

impl State {
    fn used(&self) -> u64 {
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        named.iter().map(|id| self.inodes[id].bytes().len() as u64).sum()
    }

    fn inode(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Counts a change and says whether the machine still runs.
    fn change(&mut self, life: u64) -> io::Result<()> {
        self.alive(life)?;
        match &mut self.operations_left {
            Some(0) => return Err(io::Error::other("the simulated machine has stopped")),
            Some(left) => *left -= 1,
            None => {}
        }
        self.operations += 1;
        Ok(())
    }

    fn alive(&self, life: u64) -> io::Result<()> {
        if self.life == life {
            return Ok(());
        }
        Err(io::Error::other("the simulated process was killed"))
    }

    fn take_fault(&mut self, fault: Fault) -> io::Result<()> {
        let Some(at) = self.faults.iter().position(|planned| *planned == fault) else {
            return Ok(());
        };
        self.faults.remove(at);
        Err(io::Error::other(format!("planned fault: {fault:?}")))
    }

    fn rename(&mut self, change: NameChange) {
        self.unsynced.push(change.clone());
        change_name(&mut self.names, change);
    }

    /// Frees files that have no name, now or after any power loss, and no handle.
    fn collect(&mut self) {
        let created = self.unsynced.iter().filter_map(|change| match change {
            NameChange::Create(_, inode) => Some(inode),
            NameChange::Rename(..) | NameChange::Remove(_) => None,
        });
        let named: BTreeSet<u64> = self
            .names
            .values()
            .chain(self.durable_names.values())
            .chain(created)
            .copied()
            .collect();
        self.inodes.retain(|id, inode| inode.handles > 0 || named.contains(id));
    }

    fn handle(&mut self, disk: &MemoryDisk, inode: u64) -> Arc<dyn DiskFile> {
        if let Some(file) = self.inodes.get_mut(&inode) {
            file.handles += 1;
        }
        Arc::new(MemoryFile { disk: disk.clone(), inode })
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    inode: u64,
}

impl MemoryFile {
    fn with<T>(&self, use_it: impl FnOnce(&mut State, u64) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state.lock();
        state.alive(self.disk.life)?;
        use_it(&mut state, self.inode)
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        if state.life != self.disk.life {
            return;
        }
        if let Some(file) = state.inodes.get_mut(&self.inode) {
            file.handles -= 1;
        }
        state.collect();
    }
}

fn file(state: &mut State, inode: u64) -> io::Result<&mut Inode> {
    state.inodes.get_mut(&inode).ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl DiskFile for MemoryFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|state, inode| {
            state.take_fault(Fault::Read)?;
            file(state, inode)?.read(into, offset)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|state, inode| {
            state.change(self.disk.life)?;
            let end = offset + bytes.len() as u64;
            let growth = end.saturating_sub(file(state, inode)?.bytes().len() as u64);
            if state.used().saturating_add(growth) > state.capacity {
                return Err(io::ErrorKind::StorageFull.into());
            }
            if let Err(error) = state.take_fault(Fault::Write) {
                file(state, inode)?.write(&bytes[..bytes.len() / 2], offset);
                return Err(error);
            }
            file(state, inode)?.write(bytes, offset);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state, inode| {
            state.change(self.disk.life)?;
            if let Err(error) = state.take_fault(Fault::Sync) {
                file(state, inode)?.forget_dirty();
                return Err(error);
            }
            file(state, inode)?.sync();
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|state, inode| Ok(file(state, inode)?.bytes().len() as u64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|state, inode| {
            state.change(self.disk.life)?;
            let growth = len.saturating_sub(file(state, inode)?.bytes().len() as u64);
            if state.used().saturating_add(growth) > state.capacity {
                return Err(io::ErrorKind::StorageFull.into());
            }
            file(state, inode)?.set_len(len);
            Ok(())
        })
    }
}

struct MemoryLock {
    disk: MemoryDisk,
    name: String,
}

impl DiskLock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        if state.life == self.disk.life {
            state.locked.remove(&self.name);
        }
    }
}

impl Disk for MemoryDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.alive(self.life)?;
        let inode = state.inode(name)?;
        Ok(state.handle(self, inode))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.change(self.life)?;
        let inode = state.next_inode;
        state.next_inode += 1;
        state.inodes.insert(inode, Inode::default());
        state.rename(NameChange::Create(name.to_owned(), inode));
        Ok(state.handle(self, inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change(self.life)?;
        state.inode(from)?;
        state.rename(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change(self.life)?;
        state.inode(name)?;
        state.rename(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.alive(self.life)?;
        Ok(state.names.keys().cloned().collect())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change(self.life)?;
        state.take_fault(Fault::Sync)?;
        state.durable_names = state.names.clone();
        state.unsynced.clear();
        state.collect();
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn DiskLock>> {
        let mut state = self.state.lock();
        state.alive(self.life)?;
        if !state.locked.insert(name.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemoryLock { disk: self.clone(), name: name.to_owned() }))
    }

    fn space(&self) -> Option<Space> {
        let state = self.state.lock();
        let free_bytes = state.capacity.saturating_sub(state.used());
        Some(Space { free_bytes, total_bytes: state.capacity })
    }

    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn pace(&self) -> Pace {
        self.state.lock().pace
    }

    fn spawn(&self, _name: &str, _work: Work) -> io::Result<Box<dyn DiskThread>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_synced_is_seen_by_programs_and_is_not_on_the_platter() {
        let disk = MemoryDisk::default();
        let (old, new) = (disk.create("old").expect("room"), disk.create("new").expect("room"));
        disk.remove("new").expect("it is there");
        disk.sync_folder().expect("no fault is planned");
        old.write_at(b"durable", 0).expect("room");
        old.sync_data().expect("no fault is planned");
        old.write_at(b"pending", 0).expect("room");
        drop(new);
        disk.create("later").expect("room");
        let (copy, platter) = (disk.copy(), disk.platter());
        assert_eq!(copy.contents("old").expect("it is there"), b"pending");
        assert_eq!(platter.contents("old").expect("it is there"), b"durable");
        assert!(copy.contents("later").is_ok() && platter.contents("later").is_err());
        // They are disks of their own.
        copy.open("old").expect("it is there").write_at(b"elsewhere", 0).expect("room");
        assert_eq!(disk.contents("old").expect("it is there"), b"pending");
    }
}
