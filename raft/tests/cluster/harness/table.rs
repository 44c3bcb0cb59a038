//! A machine that keeps a list: each command is appended and answered with its place. What was applied
//! since the last flush is lost with the power.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use prost::Message as _;
use raft::{AppliedState, CommittedEntry, Fatal, Machine, Payload, Rows};

/// The state of a list machine.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) applied: AppliedState,
    pub(crate) list: Vec<Bytes>,
}

/// What survives the machine: its memory while the process lives, and its disk.
#[derive(Clone, Default)]
pub(crate) struct Table {
    pub(crate) memory: Arc<Mutex<State>>,
    pub(crate) disk: Arc<Mutex<State>>,
    pub(crate) fail_at: Arc<Mutex<Option<Bytes>>>,
}

impl Table {
    pub(crate) fn list(&self) -> Vec<Bytes> {
        self.memory.lock().expect("no test panics with it").list.clone()
    }

    /// Only what was flushed is left.
    pub(crate) fn lose_power(&self) {
        *self.memory.lock().expect("no test panics with it") =
            self.disk.lock().expect("no test panics with it").clone();
    }

    pub(crate) fn machine(&self) -> Box<dyn Machine> {
        Box::new(ListMachine { table: self.clone(), staged: BTreeMap::new() })
    }
}

struct ListMachine {
    table: Table,
    staged: BTreeMap<Bytes, Bytes>,
}

impl Machine for ListMachine {
    fn applied(&self) -> Result<AppliedState, Fatal> {
        Ok(self.table.memory.lock().expect("not poisoned").applied.clone())
    }

    fn apply(&mut self, entries: Vec<CommittedEntry>) -> Result<Vec<Vec<Bytes>>, Fatal> {
        let mut state = self.table.memory.lock().expect("not poisoned");
        let mut all = Vec::new();
        for entry in entries {
            let next = state.applied.position.map_or(0, |at| at.index + 1);
            assert_eq!(entry.position.index, next, "no entry is skipped or repeated");
            let mut outcomes = Vec::new();
            if let Payload::Entry(bytes) = entry.payload {
                let decoded = proto::log::Entry::decode(bytes).expect("a line wrote it");
                for command in decoded.commands {
                    if self.table.fail_at.lock().expect("not poisoned").as_ref() == Some(&command) {
                        return Err(Fatal::new("asked to fail"));
                    }
                    outcomes.push(place(state.list.len()));
                    state.list.push(command);
                }
            }
            state.applied = AppliedState {
                position: Some(entry.position),
                membership: entry.applied_membership,
            };
            all.push(if entry.wants_outcomes { outcomes } else { Vec::new() });
        }
        Ok(all)
    }

    fn flush(&mut self) -> Result<(), Fatal> {
        let state = self.table.memory.lock().expect("not poisoned").clone();
        *self.table.disk.lock().expect("not poisoned") = state;
        Ok(())
    }

    fn view(&self) -> Result<Box<dyn Rows>, Fatal> {
        let list = self.table.memory.lock().expect("not poisoned").list.clone();
        Ok(Box::new(ListRows { list, next: 0 }))
    }

    fn begin_install(&mut self) -> Result<(), Fatal> {
        self.staged.clear();
        Ok(())
    }

    fn stage(&mut self, rows: Vec<(Bytes, Bytes)>) -> Result<(), Fatal> {
        self.staged.extend(rows);
        Ok(())
    }

    fn install(&mut self, applied: AppliedState) -> Result<(), Fatal> {
        let list = std::mem::take(&mut self.staged).into_values().collect();
        *self.table.memory.lock().expect("not poisoned") = State { applied, list };
        self.flush()
    }

    fn leading(&mut self, _is_leader: bool, _term: u64) {}
}

struct ListRows {
    list: Vec<Bytes>,
    next: usize,
}

impl Rows for ListRows {
    fn next_chunk(&mut self, bytes_max: usize) -> Result<Option<Vec<(Bytes, Bytes)>>, Fatal> {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while self.next < self.list.len() && bytes < bytes_max {
            let value = self.list[self.next].clone();
            bytes += value.len() + 8;
            chunk.push((place(self.next), value));
            self.next += 1;
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}

/// A place in the list as bytes.
pub(crate) fn place(number: usize) -> Bytes {
    Bytes::copy_from_slice(&(number as u64).to_be_bytes())
}
