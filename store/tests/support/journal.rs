//! What the suites of the journal share: a model of the promise, and a run of random calls that is
//! judged by it.
//!
//! The law: after a stop, clean or not, the journal is what the submitted calls up to some point
//! make of an empty one, and that point is not before the last acknowledged call. Nothing else can
//! be found: no gap, no reordering, no other bytes.

#![allow(dead_code, unreachable_pub, reason = "every suite uses its own part")]
#![allow(clippy::disallowed_methods, reason = "deadlines of tests are in real time")]

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use store::{
    Disk, Done, GroupLog, GroupState, Journal, JournalConfig, LogPosition, LogRecord, StoreError,
};

pub const IDENTITY: [u8; 16] = *b"cluster-0-node-1";

/// Small segments, so that a short run crosses many of them.
pub fn config() -> JournalConfig {
    JournalConfig {
        segment_bytes: 64 << 10,
        cache_bytes_per_group: 4 << 10,
        segments_max: 4,
        ..JournalConfig::new(IDENTITY)
    }
}

/// The payload that an entry must have: a function of its place, so that any mix-up is noticed.
pub fn payload(group: u32, index: u64, term: u64) -> Bytes {
    let mut random = Random(u64::from(group) << 48 ^ index << 16 ^ term);
    let len = random.below(700) as usize;
    (0..len).map(|_| random.next() as u8).collect()
}

pub fn record(group: u32, index: u64, term: u64) -> LogRecord {
    let kind = (index % 5) as u8;
    LogRecord { index, term, node: term % 3 + 1, kind, payload: payload(group, index, term) }
}

/// SplitMix64: a run is a function of its seed.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Append { group: u32, from: u64, count: u64, term: u64 },
    Vote { group: u32, vote: Vec<u8> },
    Truncate { group: u32, index: Option<u64> },
    Purge { group: u32, upto: LogPosition },
}

/// What one group must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub vote: Option<Bytes>,
    pub purged: Option<LogPosition>,
    pub entries: BTreeMap<u64, LogRecord>,
}

impl Group {
    pub fn last(&self) -> Option<LogPosition> {
        self.entries.values().next_back().map(LogRecord::position).or(self.purged)
    }
}

/// What the journal must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub groups: BTreeMap<u32, Group>,
}

impl Model {
    pub fn apply(&mut self, call: &Call) {
        match call {
            Call::Append { group, from, count, term } => {
                let entries = &mut self.groups.entry(*group).or_default().entries;
                entries.extend(
                    (*from..from + count).map(|index| (index, record(*group, index, *term))),
                );
            }
            Call::Vote { group, vote } => {
                self.groups.entry(*group).or_default().vote = Some(Bytes::copy_from_slice(vote));
            }
            Call::Truncate { group, index } => {
                let entries = &mut self.groups.entry(*group).or_default().entries;
                entries.retain(|at, _| index.is_some_and(|index| *at <= index));
            }
            Call::Purge { group, upto } => {
                let group = self.groups.entry(*group).or_default();
                group.purged = Some(*upto);
                group.entries.retain(|at, _| *at > upto.index);
            }
        }
    }

    /// A call that makes sense now.
    pub fn draw(&self, random: &mut Random, groups: u32) -> Call {
        let group = random.below(u64::from(groups)) as u32;
        let now = self.groups.get(&group).cloned().unwrap_or_default();
        let (first, last) = (now.entries.keys().next().copied(), now.last());
        let term = last.map_or(1, |last| last.term) + u64::from(random.below(8) == 0);
        let append = |random: &mut Random| {
            let from = last.map_or(random.below(2), |last| last.index + 1);
            Call::Append { group, from, count: 1 + random.below(12), term }
        };
        match (random.below(20), first) {
            (0 | 1, _) => Call::Vote { group, vote: random.next().to_be_bytes().to_vec() },
            (2, Some(first)) => {
                let end = last.expect("there are entries").index;
                let index = first + random.below(end - first + 1);
                let all = random.below(6) == 0;
                Call::Truncate { group, index: (!all).then_some(index) }
            }
            (3..=5, Some(first)) => {
                let end = last.expect("there are entries");
                let index = first + random.below(end.index - first + 1);
                Call::Purge { group, upto: now.entries[&index].position() }
            }
            (6, _) if random.below(6) == 0 => {
                // As after a snapshot: beyond the end.
                let index = last.map_or(0, |last| last.index) + 1 + random.below(30);
                Call::Purge { group, upto: LogPosition { term, node: 1, index } }
            }
            _ => append(random),
        }
    }

    /// Says how a journal differs from this, if it does.
    pub fn difference(&self, journal: &Journal, groups: u32) -> Option<String> {
        for group in 0..groups {
            let want = self.groups.get(&group).cloned().unwrap_or_default();
            let log = journal.group(group);
            let state = log.state();
            if (state.vote.clone(), state.purged, state.last)
                != (want.vote.clone(), want.purged, want.last())
            {
                return Some(format!(
                    "group {group}: {state:?}, wanted {:?} {:?}",
                    want.last(),
                    want.purged
                ));
            }
            let found = log.read(0, u64::MAX, usize::MAX).expect("readable");
            if found.iter().ne(want.entries.values()) {
                return Some(format!("group {group}: {} entries differ", found.len()));
            }
        }
        None
    }
}

pub fn submit(log: &GroupLog, call: &Call, done: Done) {
    match call {
        Call::Append { group, from, count, term } => {
            let records = (*from..from + count).map(|index| record(*group, index, *term)).collect();
            log.append(records, done);
        }
        Call::Vote { vote, .. } => log.save_vote(Bytes::copy_from_slice(vote), done),
        Call::Truncate { index, .. } => log.truncate_after(*index, done),
        Call::Purge { upto, .. } => log.purge(*upto, done),
    }
}

impl Call {
    pub fn group(&self) -> u32 {
        match self {
            Self::Append { group, .. }
            | Self::Vote { group, .. }
            | Self::Truncate { group, .. }
            | Self::Purge { group, .. } => *group,
        }
    }
}

/// All calls made on one folder, over all its lives, and how many were acknowledged.
pub struct Run {
    pub groups: u32,
    pub random: Random,
    /// State at the begin of this life.
    base: Model,
    calls: Vec<Call>,
    pub model: Model,
    acknowledged: Arc<AtomicUsize>,
}

impl Run {
    pub fn new(seed: u64, groups: u32) -> Self {
        Self {
            groups,
            random: Random(seed),
            base: Model::default(),
            calls: Vec::new(),
            model: Model::default(),
            acknowledged: Arc::default(),
        }
    }

    /// Makes one random call.
    pub fn call(&mut self, journal: &Journal) {
        let call = self.model.draw(&mut self.random, self.groups);
        let (number, acknowledged) = (self.calls.len(), Arc::clone(&self.acknowledged));
        let log = journal.group(call.group());
        let done: Done = Box::new(move |result| {
            if result.is_ok() {
                let before = acknowledged.fetch_add(1, Ordering::SeqCst);
                assert_eq!(before, number, "completions come in the order of submission");
            }
        });
        self.model.apply(&call);
        submit(&log, &call, done);
        if self.random.below(4) == 0 {
            log.save_committed(Bytes::copy_from_slice(&(number as u64).to_be_bytes()));
        }
        self.calls.push(call);
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    pub fn submitted(&self) -> usize {
        self.calls.len()
    }

    /// After a stop: judges what was found and goes on from it. Of the first call that is not there
    /// as a whole, the first entries may be: an append of many entries is many records.
    pub fn judge(&mut self, found: &Journal) -> Result<(), String> {
        let mut model = self.base.clone();
        let mut differences = Vec::new();
        for made in 0..=self.calls.len() {
            if made > 0 {
                model.apply(&self.calls[made - 1]);
            }
            if made < self.acknowledged() {
                continue;
            }
            let parts = match self.calls.get(made) {
                Some(Call::Append { group, from, count, term }) => (0..*count)
                    .map(|count| {
                        let part = Call::Append { group: *group, from: *from, count, term: *term };
                        let mut model = model.clone();
                        model.apply(&part);
                        model
                    })
                    .collect(),
                _ => vec![model.clone()],
            };
            for model in parts {
                match model.difference(found, self.groups) {
                    None => {
                        self.go_on_from(model);
                        return Ok(());
                    }
                    Some(difference) => differences.push(difference),
                }
            }
        }
        let (acknowledged, submitted) = (self.acknowledged(), self.calls.len());
        Err(format!(
            "no prefix of {acknowledged}..={submitted} calls explains it: {differences:#?}"
        ))
    }

    fn go_on_from(&mut self, model: Model) {
        self.base = model.clone();
        self.model = model;
        self.calls.clear();
        self.acknowledged = Arc::default();
    }
}

/// A completion to wait for.
pub fn waiter() -> (Done, mpsc::Receiver<Result<(), StoreError>>) {
    let (sender, receiver) = mpsc::channel();
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

/// Makes a call and waits for its completion (which is there at once on an inline disk).
pub fn wait(call: impl FnOnce(Done)) -> Result<(), StoreError> {
    let (done, receiver) = waiter();
    call(done);
    receiver.recv_timeout(std::time::Duration::from_secs(60)).expect("every call is completed")
}

/// Waits for a condition, with a deadline.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

pub fn open(disk: impl Disk) -> Result<Journal, StoreError> {
    Journal::open(Arc::new(disk), config())
}

pub fn state(journal: &Journal, group: u32) -> GroupState {
    journal.group(group).state()
}
