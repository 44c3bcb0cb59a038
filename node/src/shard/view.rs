//! A shard's whole state as rows, for a snapshot: its slots, then how far it is applied with the outbox's counters, then
//! its outbox, which is the order of their keys.
//!
//! The three are taken one after the other and yet are of one moment: nobody but the shard's machine writes them, and it is
//! the machine that takes them.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use proto::keys;
use raft::{Fatal, GroupId, Rows};
use store::tables::{KeyRange, Row, RowView, Tables};

/// Rows of a shard, read lazily.
pub(super) struct View {
    parts: VecDeque<Part>,
}

enum Part {
    Range(Box<dyn RowView>),
    Row(Option<Row>),
}

impl View {
    pub(super) fn open(
        group: GroupId,
        slots: Range<u16>,
        tables: &dyn Tables,
    ) -> Result<Self, Fatal> {
        let range = |range: Range<Bytes>| tables.view(KeyRange::new(range.start, range.end));
        let applied = keys::applied(group);
        let counters = tables.get(&applied)?.map(|value| (applied, value));
        Ok(Self {
            parts: VecDeque::from([
                Part::Range(range(keys::slot_range(slots.start, slots.end))?),
                Part::Row(counters),
                Part::Range(range(keys::outbox_range(group))?),
            ]),
        })
    }

    /// The next row in the order of the keys.
    pub(super) fn next(&mut self) -> Result<Option<Row>, Fatal> {
        while let Some(part) = self.parts.front_mut() {
            let row = match part {
                Part::Range(view) => view.next()?,
                Part::Row(row) => row.take(),
            };
            if row.is_some() {
                return Ok(row);
            }
            self.parts.pop_front();
        }
        Ok(None)
    }
}

impl Rows for View {
    fn next_chunk(&mut self, bytes_max: usize) -> Result<Option<Vec<(Bytes, Bytes)>>, Fatal> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max || rows.is_empty() {
            let Some((key, value)) = self.next()? else {
                break;
            };
            bytes += key.len() + value.len();
            rows.push((key, value));
        }
        Ok((!rows.is_empty()).then_some(rows))
    }
}
