//! The engine's log over one group of the shared journal. Station 6: record.
//!
//! Laws: an append is reported as done only after the barrier that covers it, in order; a vote is
//! durable when `save_vote` returns; nothing is purged beyond what the machine has made durable.

use std::{
    collections::VecDeque,
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{Stream, stream};
use openraft::{
    OptionalSend, RaftLogReader,
    storage::{IOFlushed, LogState, RaftLogStorage},
};
use parking_lot::Mutex;
use store::{GroupLog, LogPosition, LogRecord, StoreError};
use tokio::sync::oneshot;

use crate::{
    Fatal, GroupId, Position, codec,
    stop::Stop,
    types::{Entry, LogId, Types, Vote, log_id},
};

/// Bytes of entries that one read hands to replication or to the machine: bounds memory per lane.
const READ_BYTES_MAX: usize = 1 << 20;
/// Entries in one such read: bounds memory when entries are small.
const READ_ENTRIES_MAX: u64 = 1024;
/// Appended bytes between two marks of [`Weights`].
const MARK_BYTES: u64 = 1 << 20;

/// What the log knows that others need: shared with the machine's driver and with the steward.
pub(crate) struct LogFacts {
    group: GroupId,
    stop: Stop,
    /// Index after the last entry that the machine has made durable; 0 = none.
    durable_next: AtomicU64,
    weights: Mutex<Weights>,
}

impl LogFacts {
    pub(crate) fn new(group: GroupId, stop: Stop) -> Arc<Self> {
        let weights = Mutex::new(Weights::default());
        Arc::new(Self { group, stop, durable_next: AtomicU64::new(0), weights })
    }

    /// The machine is durable up to and including `index`.
    pub(crate) fn durable(&self, index: u64) {
        self.durable_next.fetch_max(index + 1, Ordering::AcqRel);
    }

    /// Whether the machine is durable up to and including `index`.
    pub(crate) fn is_durable(&self, index: u64) -> bool {
        index < self.durable_next.load(Ordering::Acquire)
    }

    /// Bytes appended since the last snapshot.
    pub(crate) fn bytes_since_snapshot(&self) -> u64 {
        let weights = self.weights.lock();
        weights.total - weights.at_snapshot
    }

    /// A snapshot was taken: what is in the log now is covered, apart from a few entries in flight.
    pub(crate) fn snapshot_taken(&self) {
        let mut weights = self.weights.lock();
        weights.at_snapshot = weights.total;
    }

    /// The first index of the newest `bytes` of the log, as far as this process has seen them.
    pub(crate) fn index_before_last(&self, bytes: u64) -> u64 {
        self.weights.lock().index_before_last(bytes)
    }
}

/// How heavy the log is, in steps of [`MARK_BYTES`]. What an earlier process wrote counts as nothing.
#[derive(Default)]
struct Weights {
    total: u64,
    at_snapshot: u64,
    /// `(index, total before it)`, ascending.
    marks: VecDeque<(u64, u64)>,
}

impl Weights {
    fn add(&mut self, index: u64, bytes: u64) {
        if self.marks.back().is_none_or(|(_, before)| self.total - before >= MARK_BYTES) {
            self.marks.push_back((index, self.total));
        }
        self.total += bytes;
    }

    fn index_before_last(&mut self, bytes: u64) -> u64 {
        if self.total <= bytes {
            // The newest bytes reach back to before this process: where to is not known, so all is kept.
            return 0;
        }
        let floor = self.total - bytes;
        // Keep the newest mark at or below the floor; older ones will not be asked for again.
        while self.marks.get(1).is_some_and(|(_, before)| *before <= floor) {
            self.marks.pop_front();
        }
        match self.marks.front() {
            Some((index, before)) if *before <= floor => *index,
            _ => 0,
        }
    }
}

/// The log of one group. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: GroupLog,
    facts: Arc<LogFacts>,
}

impl LogStore {
    pub(crate) fn new(log: GroupLog, facts: Arc<LogFacts>) -> Self {
        Self { log, facts }
    }

    /// Whether the group has never written anything here.
    pub(crate) fn is_new(&self) -> bool {
        let state = self.log.state();
        state.last.is_none() && state.vote.is_none() && state.purged.is_none()
    }

    /// Makes a new group's log begin behind `at`, and waits until that is durable. The machine holds the state there.
    pub(crate) async fn begin_after(&self, at: Position) -> Result<(), StoreError> {
        let (done, durable) = oneshot::channel();
        let upto = LogPosition { term: at.term, node: at.node, index: at.index };
        self.log.purge(upto, Box::new(move |r| drop(done.send(r))));
        durable.await.unwrap_or(Err(StoreError::Closed))
    }

    /// The last entry that is gone because the machine had it; `None` while all are there.
    pub(crate) fn begins_after(&self) -> Option<LogPosition> {
        self.log.state().purged
    }

    /// The machine's state at `at` is committed. A log that ends before, or has something else there, begins behind it.
    pub(crate) async fn agree_with(&self, at: Position) -> Result<(), StoreError> {
        let state = self.log.state();
        let here = LogPosition { term: at.term, node: at.node, index: at.index };
        let ends_before = state.last.is_none_or(|last| last.index < at.index);
        let differs = self.log.position(at.index).is_some_and(|there| there != here);
        if differs {
            let (done, durable) = oneshot::channel();
            let upto = state.purged.map(|at| at.index);
            self.log.truncate_after(upto, Box::new(move |r| drop(done.send(r))));
            durable.await.unwrap_or(Err(StoreError::Closed))?;
        }
        if differs || ends_before {
            self.begin_after(at).await?;
        }
        Ok(())
    }

    /// Writes the first entry of a new group, the same bytes at the same position on every node, and
    /// waits until it is durable.
    pub(crate) async fn found(&self, first: Entry) -> Result<(), StoreError> {
        let (done, durable) = oneshot::channel();
        self.log.append(vec![codec::encode_record(first)], Box::new(move |r| drop(done.send(r))));
        durable.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Reports a failure that ends the group, in the words the engine understands.
    fn fatal(&self, error: impl ToString) -> io::Error {
        let text = format!("log of group {}: {}", self.facts.group, error.to_string());
        self.facts.stop.report(Fatal::new(&text));
        io::Error::other(text)
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Entry>, io::Error> {
        let records = self.log.read(from, to, bytes_max).map_err(|e| self.fatal(e))?;
        self.decode(from, to, records)
    }

    /// Decodes records that must be dense from `from`.
    fn decode(&self, from: u64, to: u64, records: Vec<LogRecord>) -> Result<Vec<Entry>, io::Error> {
        let mut entries = Vec::with_capacity(records.len());
        for (index, record) in (from..to).zip(records) {
            if record.index != index {
                return Err(self.fatal(format!("entry {index} is missing")));
            }
            entries.push(codec::decode_record(record).map_err(|e| self.fatal(e))?);
        }
        Ok(entries)
    }

    /// One bounded read; an error when nothing is there although something must be.
    fn read_some(&self, from: u64, to: u64) -> Result<Vec<Entry>, io::Error> {
        let to = to.min(from.saturating_add(READ_ENTRIES_MAX));
        let entries = self.read(from, to, READ_BYTES_MAX)?;
        if entries.is_empty() && from < to {
            return Err(self.fatal(format!("entry {from} is missing")));
        }
        Ok(entries)
    }

    fn bounds<R: RangeBounds<u64>>(&self, range: &R) -> (u64, u64) {
        let state_end = || self.log.state().last.map_or(0, |last| last.index + 1);
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => self.log.state().first,
        };
        let to = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => state_end(),
        };
        (from, to)
    }
}

fn journal_position(id: &LogId) -> LogPosition {
    LogPosition { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

fn engine_position(at: LogPosition) -> LogId {
    log_id(Position { term: at.term, node: at.node, index: at.index })
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<Entry>, io::Error>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (mut from, to) = self.bounds(&range);
        let mut entries = Vec::new();
        while from < to {
            let some = self.read(from, to, READ_BYTES_MAX)?;
            if some.is_empty() {
                break;
            }
            from += some.len() as u64;
            entries.extend(some);
        }
        Ok(entries)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read_some(start, end)
    }

    /// In bounded pieces: a machine that is far behind must not load its whole backlog.
    async fn entries_stream<R>(
        &mut self,
        range: R,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = self.bounds(&range);
        let state = (self.clone(), from, to, Vec::new().into_iter());
        stream::try_unfold(state, |(log, mut from, to, mut some)| async move {
            if some.len() == 0 && from < to {
                some = log.read_some(from, to)?.into_iter();
                from += some.len() as u64;
            }
            let next: Option<Entry> = some.next();
            Ok(next.map(|entry| (entry, (log, from, to, some))))
        })
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        let vote = self.log.state().vote;
        vote.map(codec::decode_vote).transpose().map_err(|e| self.fatal(e))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let state = self.log.state();
        let last_purged_log_id = state.purged.map(engine_position);
        let last_log_id = state.last.map(engine_position).or(last_purged_log_id);
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        if planted::bug(planted::Bug::VoteNotSaved) {
            return Ok(());
        }
        let (done, durable) = oneshot::channel();
        self.log.save_vote(codec::encode_vote(vote), Box::new(move |r| drop(done.send(r))));
        durable.await.unwrap_or(Err(StoreError::Closed)).map_err(|e| self.fatal(e))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        if let Some(committed) = committed {
            self.log.save_committed(codec::encode_position(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let committed = self.log.state().committed;
        committed.map(codec::decode_position).transpose().map_err(|e| self.fatal(e))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records: Vec<_> = entries.into_iter().map(codec::encode_record).collect();
        let mut weights = self.facts.weights.lock();
        for record in &records {
            weights.add(record.index, codec::weight(&record.payload));
        }
        drop(weights);
        let facts = self.facts.clone();
        let done = move |result: Result<(), StoreError>| {
            if let Err(error) = &result {
                facts.stop.report(Fatal::new(format!("append to group {}: {error}", facts.group)));
            }
            callback.io_completed(result.map_err(io::Error::other));
        };
        self.log.append(records, Box::new(done));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let after = last.map(|id| id.index);
        let first = after.map_or(0, |index| index + 1);
        // Applied is committed, and committed is for ever: whoever leads without it has lost it, on a damaged disk.
        if self.facts.is_durable(first) {
            let what = format!("entry {first} is applied here, and the leader does not have it");
            return Err(self.fatal(what));
        }
        let (done, durable) = oneshot::channel();
        self.log.truncate_after(after, Box::new(move |r| drop(done.send(r))));
        durable.await.unwrap_or(Err(StoreError::Closed)).map_err(|e| self.fatal(e))
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        assert!(
            self.facts.is_durable(upto.index),
            "group {}: purge up to {} but the machine is not durable that far",
            self.facts.group,
            upto.index
        );
        // Space is given back some time; nobody has to wait for it.
        let facts = self.facts.clone();
        let done = move |result: Result<(), StoreError>| {
            if let Err(error) = result {
                facts.stop.report(Fatal::new(format!("purge of group {}: {error}", facts.group)));
            }
        };
        self.log.purge(journal_position(&upto), Box::new(done));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use openraft::storage::RaftLogStorageExt as _;
    use store::{Journal, JournalConfig, MemoryDisk, disk::Pace};

    use super::*;
    use crate::types::{Data, EntryPayload};

    fn entry(index: u64) -> Entry {
        let at = Position { term: 1, node: 1, index };
        let payload = EntryPayload::Normal(Data(format!("entry {index}").into()));
        Entry { log_id: log_id(at), payload }
    }

    fn open() -> (LogStore, Arc<LogFacts>, Journal) {
        let disk = Arc::new(MemoryDisk::new(Pace::Inline));
        let journal = Journal::open(disk, JournalConfig::new([1; 16])).expect("an empty disk");
        let facts = LogFacts::new(GroupId(1), Stop::new());
        (LogStore::new(journal.group(1), facts.clone()), facts, journal)
    }

    #[test]
    fn the_tail_is_found_by_bytes() {
        let mut weights = Weights::default();
        for index in 0..100 {
            weights.add(index, MARK_BYTES);
        }
        assert_eq!(weights.index_before_last(10 * MARK_BYTES), 90);
        assert_eq!(weights.index_before_last(0), 99, "never beyond the last mark");
        assert_eq!(weights.index_before_last(1000 * MARK_BYTES), 0, "unknown is kept");
        let mut restarted = Weights::default();
        restarted.add(5000, MARK_BYTES);
        assert_eq!(
            restarted.index_before_last(10 * MARK_BYTES),
            0,
            "so is what was before a restart"
        );
    }

    #[tokio::test]
    async fn what_was_appended_is_read_back_in_bounded_pieces() {
        use futures::TryStreamExt as _;
        let (mut log, _, _journal) = open();
        let entries: Vec<_> = (0..READ_ENTRIES_MAX + 10).map(entry).collect();
        log.blocking_append(entries.clone()).await.expect("appended");
        let some = log.limited_get_log_entries(0, u64::MAX).await.expect("read");
        assert_eq!(some, entries[..READ_ENTRIES_MAX as usize]);
        let all = log.entries_stream(0..entries.len() as u64).await;
        assert_eq!(all.try_collect::<Vec<_>>().await.expect("read"), entries);
        assert_eq!(log.try_get_log_entries(3..5).await.expect("read"), entries[3..5]);
    }

    #[tokio::test]
    async fn a_missing_entry_is_fatal_and_not_skipped() {
        let (mut log, facts, _journal) = open();
        log.blocking_append((0..5).map(entry)).await.expect("appended");
        assert!(log.limited_get_log_entries(5, 6).await.is_err());
        assert!(facts.stop.wait().await.reason().contains("entry 5 is missing"));
    }

    #[tokio::test]
    async fn a_purge_within_what_is_durable_is_done() {
        let (mut log, facts, _journal) = open();
        log.blocking_append((0..5).map(entry)).await.expect("appended");
        facts.durable(3);
        log.purge(entry(3).log_id).await.expect("purged");
        let state = log.get_log_state().await.expect("state");
        assert_eq!(state.last_purged_log_id, Some(entry(3).log_id));
        assert_eq!(state.last_log_id, Some(entry(4).log_id));
    }

    #[tokio::test]
    #[should_panic(expected = "the machine is not durable that far")]
    async fn a_purge_beyond_what_is_durable_panics() {
        let (mut log, facts, _journal) = open();
        log.blocking_append((0..5).map(entry)).await.expect("appended");
        facts.durable(3);
        // Whatever it answers, it must not get so far.
        let _ = log.purge(entry(4).log_id).await;
    }

    #[tokio::test]
    async fn what_the_machine_has_applied_is_not_cut_off() {
        let (mut log, facts, _journal) = open();
        log.blocking_append((0..5).map(entry)).await.expect("appended");
        facts.durable(2);
        log.truncate_after(Some(entry(3).log_id)).await.expect("the last one was never applied");
        assert!(log.truncate_after(Some(entry(1).log_id)).await.is_err());
        assert!(facts.stop.wait().await.reason().contains("entry 2 is applied here"));
        let state = log.get_log_state().await.expect("state");
        assert_eq!(state.last_log_id, Some(entry(3).log_id));
    }

    #[tokio::test]
    async fn vote_and_committed_mark_are_read_back() {
        let (mut log, _, _journal) = open();
        let vote = Vote { leader_id: crate::types::leader_id(3, 2), committed: true };
        assert_eq!(log.read_vote().await.expect("read"), None);
        log.save_vote(&vote).await.expect("saved");
        assert_eq!(log.read_vote().await.expect("read"), Some(vote));
        assert_eq!(log.read_committed().await.expect("read"), None);
        log.save_committed(Some(entry(7).log_id)).await.expect("saved");
        assert_eq!(log.read_committed().await.expect("read"), Some(entry(7).log_id));
    }
}
