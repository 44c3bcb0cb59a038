//! The machine that raft drives for one shard: one call, one atomic batch.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use proto::keys;
use raft::{AppliedState, CommittedEntry, Fatal, GroupId, Machine, Payload, Position, Rows};
use store::tables::Tables;

use super::applied::{self, Counters};
use super::decide::Decider;
use super::draft::Draft;
use super::event::Publish;
use super::install::Installation;
use super::outbox::Wake;
use super::view::View;

/// One shard on this node.
pub(crate) struct ShardMachine {
    group: GroupId,
    slots: Range<u16>,
    tables: Arc<dyn Tables>,
    publish: Arc<dyn Publish>,
    decider: Decider,
    applied: AppliedState,
    leading: bool,
    wake: Wake,
}

impl ShardMachine {
    /// Opens the shard of `group` over its slots: finishes an installation that a crash interrupted, and goes on where the
    /// rows end. `wake` belongs to the shard's [`Outbox`](super::Outbox).
    ///
    /// # Errors
    /// When the tables cannot be read or are damaged.
    pub(crate) fn open(
        group: GroupId,
        slots: Range<u16>,
        tables: Arc<dyn Tables>,
        publish: Arc<dyn Publish>,
        wake: Wake,
    ) -> Result<Self, Fatal> {
        assert!(slots.start < slots.end && slots.end <= chat::SLOTS, "a shard has slots");
        Installation::new(group, slots.clone(), &*tables).recover()?;
        let (applied, counters) = read_applied(&*tables, group)?;
        let decider = Decider::new(group, slots.clone(), Arc::clone(&tables), counters);
        wake.tell(false, counters);
        publish.stands(group, slots.clone(), applied.position.map_or(0, |position| position.index));
        Ok(Self { group, slots, tables, publish, decider, applied, leading: false, wake })
    }

    /// Notes that the log has got to `position`.
    fn advance(&mut self, position: Position, membership: Bytes) -> Result<(), Fatal> {
        let expected = self.applied.position.map_or(0, |last| last.index + 1);
        if position.index != expected {
            let index = position.index;
            return Err(Fatal::new(format!("entry {index} came where {expected} was due")));
        }
        self.applied = AppliedState { position: Some(position), membership };
        Ok(())
    }

    /// Writes everything that the batch brought about, then tells of it.
    fn persist(&mut self, mut draft: Draft) -> Result<(), Fatal> {
        let news = draft.news();
        let mut batch = draft.rows(&self.decider.talks, &self.decider.people);
        let state = applied::encode(&self.applied, self.decider.counters);
        if planted::bug(planted::Bug::AppliedApartFromRows) {
            let mut apart = store::tables::Batch::new();
            apart.put(keys::applied(self.group), state.clone());
            self.tables.write(apart)?;
        }
        batch.put(keys::applied(self.group), state);
        self.tables.write(batch)?;
        self.decider.talks.settle(draft.talks.iter());
        self.decider.people.settle(draft.people.iter());
        self.tell_outbox();
        if !draft.events.is_empty() {
            self.publish.publish(draft.events);
        }
        // After the events: whoever has taken all of them that were posted by now knows everything up to here.
        let index = self.applied.position.map_or(0, |position| position.index);
        self.publish.settled(self.group, index, &news);
        Ok(())
    }

    fn tell_outbox(&self) {
        self.wake.tell(self.leading, self.decider.counters);
    }

    /// Shrinks the caches, so that tests see rows leave them.
    #[cfg(test)]
    pub(super) fn remember_at_most(&mut self, rows: usize) {
        self.decider.talks.hold_at_most(rows);
        self.decider.people.hold_at_most(rows);
    }

    fn installation(&self) -> Installation<'_> {
        Installation::new(self.group, self.slots.clone(), &*self.tables)
    }
}

impl Machine for ShardMachine {
    fn applied(&self) -> Result<AppliedState, Fatal> {
        Ok(self.applied.clone())
    }

    fn apply(&mut self, entries: Vec<CommittedEntry>) -> Result<Vec<Vec<Bytes>>, Fatal> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let mut draft = Draft::default();
        let mut outcomes = Vec::with_capacity(entries.len());
        for entry in entries {
            self.advance(entry.position, entry.applied_membership)?;
            let skipped = planted::bug(planted::Bug::FollowerSkipsEntries)
                && !entry.wants_outcomes
                && entry.position.index.is_multiple_of(61);
            outcomes.push(match entry.payload {
                Payload::Entry(_) if skipped => Vec::new(),
                Payload::Entry(bytes) => {
                    self.decider.entry(bytes, entry.wants_outcomes, &mut draft)?
                }
                Payload::Membership(_) | Payload::Blank => Vec::new(),
            });
        }
        self.persist(draft)?;
        Ok(outcomes)
    }

    fn flush(&mut self) -> Result<(), Fatal> {
        if planted::bug(planted::Bug::StateNotFlushed) {
            return Ok(());
        }
        Ok(self.tables.flush()?)
    }

    fn view(&self) -> Result<Box<dyn Rows>, Fatal> {
        Ok(Box::new(View::open(self.group, self.slots.clone(), &*self.tables)?))
    }

    fn begin_install(&mut self) -> Result<(), Fatal> {
        self.installation().begin()
    }

    fn stage(&mut self, rows: Vec<(Bytes, Bytes)>) -> Result<(), Fatal> {
        self.installation().stage(rows)
    }

    fn install(&mut self, applied: AppliedState) -> Result<(), Fatal> {
        self.installation().commit(&applied)?;
        let (read, counters) = read_applied(&*self.tables, self.group)?;
        assert_eq!(read, applied, "the installed state is the one that was asked for");
        self.applied = applied;
        self.decider.reset(counters);
        self.tell_outbox();
        self.publish.replaced(self.slots.clone());
        let index = self.applied.position.map_or(0, |position| position.index);
        self.publish.stands(self.group, self.slots.clone(), index);
        Ok(())
    }

    fn leading(&mut self, is_leader: bool, _term: u64) {
        self.leading = is_leader;
        self.tell_outbox();
    }
}

fn read_applied(tables: &dyn Tables, group: GroupId) -> Result<(AppliedState, Counters), Fatal> {
    match tables.get(&keys::applied(group))? {
        Some(row) => applied::decode(&row),
        None => Ok((AppliedState::default(), Counters::default())),
    }
}
