//! The machine that raft drives for one shard: one call, one atomic batch.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use proto::keys;
use raft::{AppliedState, CommittedEntry, Fatal, GroupId, Machine, Payload, Position, Rows};
use store::tables::Tables;

use super::applied::{self, Standing};
use super::decide::Decider;
use super::draft::Draft;
use super::event::Publish;
use super::install::Installation;
use super::outbox::Wake;
use super::split::SplitOff;
use super::view::View;
use crate::router::Owners;

/// One shard on this node.
pub(crate) struct ShardMachine {
    group: GroupId,
    tables: Arc<dyn Tables>,
    publish: Arc<dyn Publish>,
    decider: Decider,
    applied: AppliedState,
    leading: bool,
    wake: Wake,
    owners: Owners,
}

impl ShardMachine {
    /// Opens the shard of `group`: finishes an installation that a crash interrupted, and goes on where the rows end, over
    /// the slots that they say; over `at_first` where they say none. `wake` belongs to the shard's
    /// [`Outbox`](super::Outbox).
    ///
    /// # Errors
    /// When the tables cannot be read or are damaged, or another group writes some of its slots here.
    pub(crate) fn open(
        group: GroupId,
        at_first: Range<u16>,
        tables: Arc<dyn Tables>,
        publish: Arc<dyn Publish>,
        wake: Wake,
        owners: Owners,
    ) -> Result<Self, Fatal> {
        Installation::new(group, at_first.clone(), &*tables).recover()?;
        let Standing { applied, counters, slots } = read_applied(&*tables, group)?;
        let slots = slots.unwrap_or(at_first);
        assert!(slots.start < slots.end && slots.end <= chat::SLOTS, "a shard has slots");
        owners.hold(group, slots.clone())?;
        let decider = Decider::new(group, slots.clone(), Arc::clone(&tables), counters);
        wake.tell(false, counters);
        publish.stands(group, slots.clone(), applied.position.map_or(0, |position| position.index));
        Ok(Self { group, tables, publish, decider, applied, leading: false, wake, owners })
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
        let slots = self.decider.slots.clone();
        let state = applied::encode(&self.applied, self.decider.counters, Some(&slots));
        if planted::bug(planted::Bug::AppliedApartFromRows) {
            let mut apart = store::tables::Batch::new();
            apart.put(keys::applied(self.group), state.clone());
            self.tables.write(apart)?;
        }
        batch.put(keys::applied(self.group), state);
        for split in &draft.splits {
            batch.put(keys::applied(split.to), split.row());
        }
        self.tables.write(batch)?;
        self.tell_splits(&draft.splits);
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

    /// Whatever was split off by the entry that was just decided begins behind it.
    fn begin_splits(&self, draft: &mut Draft) -> Result<(), Fatal> {
        let at = self.applied.position.expect("an entry was applied").index;
        for split in draft.splits.iter_mut().filter(|split| split.begins.is_none()) {
            let begins = raft::split_state(&self.applied.membership, at);
            split.begins = Some(begins.map_err(|error| Fatal::new(error.to_string()))?);
        }
        Ok(())
    }

    /// From the moment that the batch is written, and before anybody hears that it was applied.
    fn tell_splits(&self, splits: &[SplitOff]) {
        for SplitOff { to, slots, begins, .. } in splits {
            let at = begins.as_ref().and_then(|begins| begins.position).map_or(0, |at| at.index);
            let rest = self.decider.slots.clone();
            tracing::info!(group = %self.group, %to, ?slots, ?rest, at, "split");
            self.publish.stands(*to, slots.clone(), at);
            self.publish.keeps(self.group, rest.clone());
            self.owners.split_off(self.group, rest, *to, slots.clone());
        }
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
        Installation::new(self.group, self.decider.slots.clone(), &*self.tables)
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
                    let answers = self.decider.entry(bytes, entry.wants_outcomes, &mut draft)?;
                    self.begin_splits(&mut draft)?;
                    answers
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
        Ok(Box::new(View::open(self.group, self.decider.slots.clone(), &*self.tables)?))
    }

    fn begin_install(&mut self) -> Result<(), Fatal> {
        self.installation().begin()
    }

    fn stage(&mut self, rows: Vec<(Bytes, Bytes)>) -> Result<(), Fatal> {
        self.installation().stage(rows)
    }

    fn install(&mut self, applied: AppliedState) -> Result<(), Fatal> {
        self.installation().commit(&applied)?;
        let Standing { applied: read, counters, slots } = read_applied(&*self.tables, self.group)?;
        assert_eq!(read, applied, "the installed state is the one that was asked for");
        let slots = slots.unwrap_or_else(|| self.decider.slots.clone());
        self.applied = applied;
        self.decider.reset(counters, slots.clone());
        self.owners.hold(self.group, slots.clone())?;
        self.tell_outbox();
        self.publish.replaced(slots.clone());
        let index = self.applied.position.map_or(0, |position| position.index);
        self.publish.stands(self.group, slots, index);
        Ok(())
    }

    fn leading(&mut self, is_leader: bool, _term: u64) {
        self.leading = is_leader;
        self.tell_outbox();
    }
}

fn read_applied(tables: &dyn Tables, group: GroupId) -> Result<Standing, Fatal> {
    match tables.get(&keys::applied(group))? {
        Some(row) => applied::decode(&row),
        None => Ok(Standing::default()),
    }
}
