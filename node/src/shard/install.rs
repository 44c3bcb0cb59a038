//! A foreign state replaces a shard's own: staged aside, decided in one row, then rolled forward.
//!
//! ```text
//! begin   nothing is staged
//! stage   rows lie under the staging prefix; the state is the old one
//! commit  the marker row is written and flushed: from here on the state is the new one, whatever crashes
//!         rows are moved into their places, the applied state is written and the marker goes, in one batch
//!         the staged rows are deleted
//! ```
//!
//! On opening, a marker means: roll forward again from the beginning, which is harmless; staged rows without a marker mean:
//! delete them.
//!
//! Others read while rows are being moved. They never see half a conversation or half a user: messages come first, because
//! nobody misses the ones that no head speaks of yet, and the rows that are read together are written together. Both states
//! are prefixes of one log, so each conversation only ever moves forwards.

use std::ops::Range;

use bytes::Bytes;
use chat::{ConversationId, UserId};
use proto::keys::{self, Key};
use raft::{AppliedState, Fatal, GroupId};
use store::tables::{Batch, Direction, KeyRange, Row, RowView, Tables};

use super::applied;
use super::view::View;

/// Rows in one batch while moving or deleting: large enough that batches cost little, small enough that other shards'
/// writes find their turn in between. Tests move few rows and want to look between many writes.
const BATCH_ROWS: usize = if cfg!(test) { 4 } else { 1024 };

/// The one replacement of a shard's state that may be under way.
pub(super) struct Installation<'a> {
    group: GroupId,
    slots: Range<u16>,
    tables: &'a dyn Tables,
}

impl<'a> Installation<'a> {
    pub(super) fn new(group: GroupId, slots: Range<u16>, tables: &'a dyn Tables) -> Self {
        Self { group, slots, tables }
    }

    /// After a start: completes what was decided, and clears away what was not.
    pub(super) fn recover(&self) -> Result<(), Fatal> {
        if let Some(marker) = self.tables.get(&keys::installing(self.group))? {
            tracing::info!(group = %self.group, "completing the installation of a snapshot");
            self.roll_forward(marker)?;
        }
        self.clear()
    }

    pub(super) fn begin(&self) -> Result<(), Fatal> {
        self.clear()
    }

    pub(super) fn stage(&self, rows: Vec<Row>) -> Result<(), Fatal> {
        let mut batch = Batch::with_capacity(rows.len());
        for (key, value) in rows {
            if !self.owns(&key) {
                return Err(Fatal::new(format!("a snapshot holds a foreign row, {key:?}")));
            }
            let place = matches!(keys::parse(&key), Ok(Key::MessageRef(..)));
            if place && planted::bug(planted::Bug::DedupeNotInSnapshot) {
                continue;
            }
            batch.put(keys::staging(self.group, &key), value);
        }
        Ok(self.tables.write(batch)?)
    }

    pub(super) fn commit(&self, applied: &AppliedState) -> Result<(), Fatal> {
        let counters = keys::staging(self.group, &keys::applied(self.group));
        let Some(row) = self.tables.get(&counters)? else {
            return Err(Fatal::new("a snapshot does not say how far its outbox is"));
        };
        let applied::Standing { counters, slots, .. } = applied::decode(&row)?;
        // Of its slots, not of those that this replica had: they may have become fewer.
        let slots = slots.unwrap_or_else(|| self.slots.clone());
        let marker = applied::encode(applied, counters, Some(&slots));
        let mut batch = Batch::new();
        batch.put(keys::installing(self.group), marker.clone());
        self.tables.write(batch)?;
        // The point of no return: staged rows and marker, or at least not the marker, are on the disk.
        self.tables.flush()?;
        self.roll_forward(marker)?;
        self.clear()
    }

    /// Moves every staged row into its place. May be begun again any number of times.
    fn roll_forward(&self, marker: Bytes) -> Result<(), Fatal> {
        if !planted::bug(planted::Bug::HalfSnapshotInstalled) {
            self.move_messages()?;
        }
        let slots = applied::decode(&marker)?.slots.unwrap_or_else(|| self.slots.clone());
        self.replace_rest(slots)?;
        let mut batch = Batch::new();
        batch.put(keys::applied(self.group), marker);
        batch.delete(keys::installing(self.group));
        self.tables.write(batch)?;
        Ok(self.tables.flush()?)
    }

    fn move_messages(&self) -> Result<(), Fatal> {
        let mut staged = self.staged()?;
        let mut batch = Batch::new();
        while let Some((key, value)) = staged.next()? {
            if is_of_message(&parse(&key)?) {
                batch.put(key, value);
            }
            if batch.len() >= BATCH_ROWS {
                self.tables.write(std::mem::take(&mut batch))?;
            }
        }
        Ok(self.tables.write(batch)?)
    }

    /// Walks old and staged rows side by side in the order of their keys: what is only old goes, what is staged is put.
    fn replace_rest(&self, slots: Range<u16>) -> Result<(), Fatal> {
        let mut old = View::open(self.group, slots, self.tables)?;
        let mut staged = self.staged()?;
        let (mut old_row, mut new_row) = (old.next()?, staged.next()?);
        let mut batch = Batch::new();
        let mut together = None;
        while let Some(key) = least(old_row.as_ref(), new_row.as_ref()) {
            let parsed = parse(&key)?;
            let unit = Unit::of(&parsed);
            if batch.len() >= BATCH_ROWS && (unit.is_none() || unit != together) {
                self.tables.write(std::mem::take(&mut batch))?;
            }
            together = unit;
            let before = old_row.take_if(|(old, _)| *old == key);
            let after = new_row.take_if(|(new, _)| *new == key);
            match (before, &after) {
                // The applied state is written last, with the marker.
                _ if matches!(parsed, Key::Applied(_)) => {}
                (Some(_), None) => batch.delete(key),
                (Some((_, before)), Some((_, after))) if before == *after => {}
                (_, Some((_, after))) if !is_of_message(&parsed) => batch.put(key, after.clone()),
                _ => {}
            }
            if old_row.is_none() {
                old_row = old.next()?;
            }
            if new_row.is_none() {
                new_row = staged.next()?;
            }
        }
        Ok(self.tables.write(batch)?)
    }

    /// Deletes whatever is staged.
    fn clear(&self) -> Result<(), Fatal> {
        loop {
            let range = keys::staging_range(self.group);
            let range = KeyRange::new(range.start, range.end);
            let rows = self.tables.scan(range, Direction::Ascending, BATCH_ROWS)?;
            if rows.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::with_capacity(rows.len());
            rows.into_iter().for_each(|(key, _)| batch.delete(key));
            self.tables.write(batch)?;
        }
    }

    fn staged(&self) -> Result<Staged, Fatal> {
        let range = keys::staging_range(self.group);
        Ok(Staged(self.tables.view(KeyRange::new(range.start, range.end))?))
    }

    fn owns(&self, key: &[u8]) -> bool {
        let within = |range: Range<Bytes>| KeyRange::new(range.start, range.end).contains(key);
        within(keys::slot_range(self.slots.start, self.slots.end))
            || within(keys::outbox_range(self.group))
            || *key == *keys::applied(self.group)
    }
}

/// Staged rows under their future keys.
struct Staged(Box<dyn RowView>);

impl Staged {
    fn next(&mut self) -> Result<Option<Row>, Fatal> {
        let Some((key, value)) = self.0.next()? else {
            return Ok(None);
        };
        let (_, future) = keys::decode_staging(&key).map_err(damaged)?;
        Ok(Some((key.slice_ref(future), value)))
    }
}

/// Rows that are read together and hence are written together.
#[derive(PartialEq, Eq)]
enum Unit {
    Conversation(ConversationId),
    User(UserId),
}

impl Unit {
    fn of(key: &Key) -> Option<Self> {
        match key {
            Key::Head(id) | Key::Member(id, _) | Key::Producer(id, _) | Key::Cursor(id, _) => {
                Some(Self::Conversation(*id))
            }
            Key::User(user) | Key::Device(user, _) | Key::Link(user, _) => {
                Some(Self::User(user.clone()))
            }
            _ => None,
        }
    }
}

fn is_of_message(key: &Key) -> bool {
    matches!(key, Key::Message(..) | Key::MessageRef(..))
}

fn least(one: Option<&Row>, other: Option<&Row>) -> Option<Bytes> {
    [one, other].into_iter().flatten().map(|(key, _)| key).min().cloned()
}

fn parse(key: &[u8]) -> Result<Key, Fatal> {
    keys::parse(key).map_err(damaged)
}

fn damaged(error: proto::DecodeError) -> Fatal {
    Fatal::new(format!("a row of a snapshot: {error}"))
}
