//! The row that says how far a group's log is in the tables. It is written with the effects of the entries it covers, in
//! the same batch, so that after a crash the log goes on exactly where the rows end.

use std::ops::Range;

use bytes::Bytes;
use proto::{row, rows};
use raft::{AppliedState, Fatal, Position};

/// The counters of a shard's outbox. Items are numbered from 1; those in `done + 1 .. next` are owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counters {
    /// The number that the next item gets.
    pub(super) next: u64,
    /// Everything up to this number is carried out.
    pub(super) done: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self { next: 1, done: 0 }
    }
}

/// What the row says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) applied: AppliedState,
    pub(super) counters: Counters,
    /// The slots that the group owns there; `None`: those that it had at first.
    pub(super) slots: Option<Range<u16>>,
}

/// The bytes of an applied state without an outbox and without slots.
pub(crate) fn encode_applied(applied: &AppliedState) -> Bytes {
    encode(applied, Counters::default(), None)
}

/// The applied state that these bytes mean.
///
/// # Errors
/// When they are none: the tables are damaged.
pub(crate) fn decode_applied(bytes: &[u8]) -> Result<AppliedState, Fatal> {
    decode(bytes).map(|standing| standing.applied)
}

/// The slots that the row of a group names; `None`: those that it had at first.
///
/// # Errors
/// When `bytes` are no such row.
pub(crate) fn slots_in_force(bytes: &[u8]) -> Result<Option<Range<u16>>, Fatal> {
    decode(bytes).map(|standing| standing.slots)
}

/// The row of a group that begins with another's state at `applied`: what that one owed is owed, by the same numbers.
///
/// # Errors
/// When `bytes` are no such row.
pub(crate) fn refounded(bytes: &[u8], applied: &AppliedState) -> Result<Bytes, Fatal> {
    let Standing { counters, slots, .. } = decode(bytes)?;
    Ok(encode(applied, counters, slots.as_ref()))
}

pub(super) fn encode(
    applied: &AppliedState,
    counters: Counters,
    slots: Option<&Range<u16>>,
) -> Bytes {
    assert!(counters.done < counters.next, "only what was owed can be done");
    let at = applied.position.unwrap_or(Position { term: 0, node: 0, index: 0 });
    row::encode_applied(&rows::AppliedState {
        term: at.term,
        node: at.node,
        index: at.index,
        membership: applied.membership.clone(),
        outbox_next: counters.next,
        outbox_done: counters.done,
        slots_from: slots.map_or(0, |slots| slots.start.into()),
        slots_end: slots.map_or(0, |slots| slots.end.into()),
    })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Standing, Fatal> {
    let damaged = |error: proto::DecodeError| Fatal::new(error.to_string());
    let row = row::decode_applied(bytes).map_err(damaged)?;
    let slots = row::slots_of(&row).map_err(damaged)?;
    let position = Position { term: row.term, node: row.node, index: row.index };
    // The first entry of a log is a membership, so a state without one has applied nothing.
    let nothing = row.membership.is_empty() && (row.term, row.node, row.index) == (0, 0, 0);
    let applied =
        AppliedState { position: (!nothing).then_some(position), membership: row.membership };
    let counters = Counters { next: row.outbox_next.max(1), done: row.outbox_done };
    if counters.done >= counters.next {
        return Err(Fatal::new(format!("an outbox that never was: {counters:?}")));
    }
    Ok(Standing { applied, counters, slots })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_applied_state_survives_its_bytes() {
        let position = Some(Position { term: 3, node: 2, index: 17 });
        let states = [
            AppliedState::default(),
            AppliedState { position, membership: Bytes::from_static(b"m") },
            AppliedState {
                position: Some(Position { term: 0, node: 0, index: 0 }),
                membership: Bytes::from_static(b"m"),
            },
        ];
        for state in states {
            let counters = Counters { next: 9, done: 4 };
            for slots in [None, Some(7..9)] {
                let bytes = encode(&state, counters, slots.as_ref());
                assert_eq!(slots_in_force(&bytes).expect("likewise"), slots);
                let standing = Standing { applied: state.clone(), counters, slots };
                assert_eq!(decode(&bytes).expect("it was encoded"), standing);
            }
            assert_eq!(decode_applied(&encode_applied(&state)).expect("likewise"), state);
        }
    }

    #[test]
    fn more_done_than_owed_is_damage() {
        let row = rows::AppliedState { outbox_next: 3, outbox_done: 3, ..Default::default() };
        assert!(decode(&row::encode_applied(&row)).is_err());
    }
}
