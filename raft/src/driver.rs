//! Station 7: drive. Committed entries go into the machine in batches, and each waiter is answered as
//! soon as its batch is persisted. A snapshot is a flush and a lazy view: nothing is copied or stored
//! twice. What the entries mean is not known here.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use openraft::{
    OptionalSend, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine},
};
use tokio::time::Instant;

use crate::{
    AppliedState, CommittedEntry, Fatal, Payload, Rows, codec, figures,
    line::Line,
    log::LogFacts,
    seat::{Seat, engine_state, our_state},
    types::{
        Data, Entry, EntryPayload, LogId, Outcomes, Snapshot, SnapshotMeta, StoredMembership,
        Types, position,
    },
};

/// Entries in one batch for the machine: bounds how long other groups of the thread wait.
const BATCH_ENTRIES_MAX: usize = 256;
/// Bytes of entries in one batch, for the same reason.
const BATCH_BYTES_MAX: usize = 1 << 20;

type Waiter = openraft::storage::ApplyResponder<Types>;

/// The engine's view of a machine.
pub(crate) struct Driver {
    node: u64,
    seat: Arc<Seat>,
    log: Arc<LogFacts>,
    line: Arc<Line>,
    /// The membership in force after the last applied entry, and its encoding.
    membership: StoredMembership,
    membership_bytes: Bytes,
}

/// What a snapshot is, at either end.
pub(crate) enum ShardSnapshot {
    /// The machine has been made durable this far; nobody asked for the rows.
    Flushed,
    /// Rows to send.
    View(Box<dyn Rows>),
    /// Rows that were received and staged under this number.
    Staged(u64),
}

/// Entries on their way into the machine, with who waits for them.
#[derive(Default)]
struct Batch {
    entries: Vec<CommittedEntry>,
    waiters: Vec<Option<Waiter>>,
    bytes: usize,
    opened: Option<u64>,
}

impl Driver {
    pub(crate) fn open(
        node: u64,
        seat: Arc<Seat>,
        log: Arc<LogFacts>,
        line: Arc<Line>,
    ) -> Result<Self, Fatal> {
        let membership_bytes = seat.state().membership;
        let membership = codec::decode_membership(membership_bytes.clone())
            .map_err(|e| Fatal::new(format!("applied membership: {e}")))?;
        Ok(Self { node, seat, log, line, membership, membership_bytes })
    }

    /// Translates one entry and keeps track of the membership in force after it.
    fn take(&mut self, batch: &mut Batch, entry: Entry, waiter: Option<Waiter>) {
        let at = position(&entry.log_id);
        let payload = match entry.payload {
            EntryPayload::Normal(Data(bytes)) => {
                batch.bytes += bytes.len();
                Payload::Entry(bytes)
            }
            EntryPayload::Blank => {
                if at.node == self.node {
                    batch.opened = Some(at.term);
                }
                Payload::Blank
            }
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                self.membership_bytes = codec::encode_membership(&self.membership);
                Payload::Membership(self.membership_bytes.clone())
            }
        };
        batch.entries.push(CommittedEntry {
            position: at,
            payload,
            applied_membership: self.membership_bytes.clone(),
            wants_outcomes: waiter.is_some(),
        });
        batch.waiters.push(waiter);
    }

    /// Persists a batch, then answers.
    fn apply_batch(&mut self, batch: Batch) -> Result<(), io::Error> {
        let Some(last) = batch.entries.last().map(|entry| entry.position) else {
            return Ok(());
        };
        let first = batch.entries[0].position;
        let expected = self.seat.applied_index().map_or(0, |index| index + 1);
        assert_eq!(first.index, expected, "entries are applied in order, without holes");
        let count = batch.entries.len();
        let begun = Instant::now();
        let outcomes = self.seat.with(|machine| machine.apply(batch.entries));
        let outcomes = outcomes.map_err(io::Error::other)?;
        figures::APPLY_SECONDS.record(begun.elapsed().as_secs_f64());
        figures::APPLY_ENTRIES.record(count as f64);
        if outcomes.len() != count {
            let text = format!("the machine answered {} of {count} entries", outcomes.len());
            return Err(self.fail(text));
        }
        let state =
            AppliedState { position: Some(last), membership: self.membership_bytes.clone() };
        self.seat.moved(state, false);
        for (waiter, outcomes) in batch.waiters.into_iter().zip(outcomes) {
            if let Some(waiter) = waiter {
                waiter.send(Outcomes(outcomes));
            }
        }
        if let Some(term) = batch.opened {
            self.line.opened(term);
        }
        self.seat.keep_appointments().map_err(io::Error::other)
    }

    fn fail(&self, text: String) -> io::Error {
        // Reported through the seat, so that the reason names the group.
        let result: Result<(), Fatal> = self.seat.with(|_| Err(Fatal::new(text)));
        io::Error::other(result.err().unwrap_or_else(|| Fatal::new("unreachable")))
    }

    fn meta(state: &AppliedState) -> Result<SnapshotMeta, io::Error> {
        let (last_log_id, last_membership) = engine_state(state)?;
        Ok(SnapshotMeta { last_log_id, last_membership })
    }
}

impl RaftStateMachine<Types> for Driver {
    type SnapshotData = ShardSnapshot;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        engine_state(&self.seat.state())
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batch = Batch::default();
        while let Some(item) = entries.next().await {
            let (entry, waiter) = item?;
            let appointed = self.seat.appointments.is_due(entry.log_id.index);
            self.take(&mut batch, entry, waiter);
            let full = batch.entries.len() >= BATCH_ENTRIES_MAX || batch.bytes >= BATCH_BYTES_MAX;
            if full || appointed {
                self.apply_batch(std::mem::take(&mut batch))?;
                // A long backlog must not stop the other groups of this thread.
                tokio::task::yield_now().await;
            }
        }
        self.apply_batch(batch)
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { seat: self.seat.clone(), log: self.log.clone() }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: ShardSnapshot,
    ) -> Result<(), io::Error> {
        let ShardSnapshot::Staged(number) = snapshot else {
            return Err(self.fail("asked to install a snapshot that was not received".into()));
        };
        // The receiver holds the lock that keeps newer ones out until this is done.
        self.seat.check_staging(number).map_err(|e| self.fail(e.to_string()))?;
        let Some(last) = meta.last_log_id else {
            return Err(self.fail("a snapshot of nothing".into()));
        };
        let state = our_state(position(&last), &meta.last_membership);
        let installed = state.clone();
        self.seat.with(|machine| machine.install(installed)).map_err(io::Error::other)?;
        self.membership = meta.last_membership.clone();
        self.membership_bytes = state.membership.clone();
        self.seat.moved(state, true);
        self.log.snapshot_taken();
        self.seat.keep_appointments().map_err(io::Error::other)
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<ShardSnapshot>>, io::Error> {
        if self.seat.state().position.is_none() {
            return Ok(None);
        }
        let (state, snapshot) = if self.seat.is_running() {
            let (state, rows) = self.seat.view().map_err(io::Error::other)?;
            (state, ShardSnapshot::View(rows))
        } else {
            // At the start only the position is asked for. By then committed entries may have been
            // applied again, so it must be flushed like any other.
            (self.seat.flush().map_err(io::Error::other)?, ShardSnapshot::Flushed)
        };
        Ok(Some(Snapshot { meta: Self::meta(&state)?, snapshot }))
    }
}

/// Makes a snapshot, which here means: makes the machine durable.
pub(crate) struct Builder {
    seat: Arc<Seat>,
    log: Arc<LogFacts>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = ShardSnapshot;

    async fn build_snapshot(&mut self) -> Result<Snapshot<ShardSnapshot>, io::Error> {
        let state = self.seat.flush().map_err(io::Error::other)?;
        self.log.snapshot_taken();
        metrics::counter!("raft_snapshots_total").increment(1);
        Ok(Snapshot { meta: Driver::meta(&state)?, snapshot: ShardSnapshot::Flushed })
    }
}
