//! The digest of a state: SHA-256 over the digests of its parts, a part for the rows of each slot and one for those of none.
//! So states that differ are told apart by one value, and where they differ by as many as there are parts.

use bytes::Bytes;
use proto::keys;
use raft::{AppliedState, GroupId, Rows};
use ring::digest::{Context, SHA256};

use super::SCHEME;
use super::judge::Digest;
use crate::shard;

/// Rows that are read at once: between two such pieces others have the thread.
const STEP_BYTES: usize = 256 << 10;

/// What a state comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) whole: Digest,
    /// Eight bytes of the digest of each part that has rows, ascending.
    pub(super) parts: Vec<(u16, u64)>,
}

/// A state that is being read.
pub(super) struct Summing {
    group: GroupId,
    rows: Box<dyn Rows>,
    whole: Context,
    parts: Vec<(u16, u64)>,
    part: Option<(u16, Context)>,
    /// The row that says where the group stands was there.
    stands: bool,
}

/// A digest has this many bytes.
const DIGEST_BYTES: usize = 32;

impl Summing {
    /// Begins to read `rows`, which are the state at `applied`.
    pub(super) fn new(group: GroupId, applied: &AppliedState, rows: Box<dyn Rows>) -> Self {
        let mut whole = Context::new(&SHA256);
        whole.update(&SCHEME.to_be_bytes());
        whole.update(&group.0.to_be_bytes());
        let at = applied.position.map_or([0; 3], |at| [at.term, at.node, at.index]);
        at.iter().for_each(|number| whole.update(&number.to_be_bytes()));
        put(&mut whole, &applied.membership);
        Self { group, rows, whole, parts: Vec::new(), part: None, stands: group.is_cluster() }
    }

    /// Reads some rows and says how many bytes they had; `None` after the last. Or why they come to nothing.
    pub(super) fn step(&mut self) -> Result<Option<usize>, String> {
        let rows = self.rows.next_chunk(STEP_BYTES);
        let rows = rows.map_err(|error| format!("its rows cannot be read: {error}"))?;
        let Some(rows) = rows else { return Ok(None) };
        let mut bytes = 0;
        for (key, value) in rows {
            bytes += key.len() + value.len();
            self.add(&key, &value)?;
        }
        Ok(Some(bytes))
    }

    fn add(&mut self, key: &Bytes, value: &Bytes) -> Result<(), String> {
        let part = key.first_chunk().map(|part| u16::from_be_bytes(*part));
        let part = part.ok_or_else(|| "it has a row without a slot".to_owned())?;
        if *key == keys::applied(self.group) {
            // Who has not written this row for long may have it as an older release wrote it.
            let slots = shard::slots_in_force(value).map_err(|error| error.to_string())?;
            self.stands = slots.is_some();
        }
        if self.part.as_ref().is_none_or(|(open, _)| *open != part) {
            self.close();
            self.part = Some((part, Context::new(&SHA256)));
        }
        let (_, rows) = self.part.as_mut().expect("just opened");
        put(rows, key);
        put(rows, value);
        Ok(())
    }

    fn close(&mut self) {
        let Some((part, rows)) = self.part.take() else { return };
        let digest = rows.finish();
        self.whole.update(&part.to_be_bytes());
        self.whole.update(digest.as_ref());
        let first = digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
        self.parts.push((part, u64::from_be_bytes(*first)));
    }

    /// What all of it comes to.
    pub(super) fn end(mut self) -> Result<Sums, String> {
        self.close();
        if !self.stands {
            return Err("its state does not say which slots it has".to_owned());
        }
        let whole = self.whole.finish();
        let whole: [u8; DIGEST_BYTES] = whole.as_ref().try_into().expect("SHA-256 has 32 bytes");
        Ok(Sums { whole: Digest(whole), parts: self.parts })
    }
}

/// Bytes that end where they end: two rows are never taken for one.
fn put(into: &mut Context, bytes: &[u8]) {
    into.update(&(bytes.len() as u64).to_be_bytes());
    into.update(bytes);
}

#[cfg(test)]
mod tests {
    use proto::{row, rows};
    use raft::{Fatal, Position};
    use store::tables::Row;

    use super::*;

    const GROUP: GroupId = GroupId(3);

    struct Pieces(Vec<Row>, usize);

    impl Rows for Pieces {
        fn next_chunk(&mut self, _: usize) -> Result<Option<Vec<Row>>, Fatal> {
            let rest = self.0.split_off(self.1.min(self.0.len()));
            let rows = std::mem::replace(&mut self.0, rest);
            Ok((!rows.is_empty()).then_some(rows))
        }
    }

    fn applied(slots: (u32, u32)) -> Row {
        let (slots_from, slots_end) = slots;
        let row = rows::AppliedState { index: 9, slots_from, slots_end, ..Default::default() };
        (keys::applied(GROUP), row::encode_applied(&row))
    }

    fn at(index: u64) -> AppliedState {
        let position = Some(Position { term: 2, node: 1, index });
        AppliedState { position, membership: Bytes::from_static(b"m") }
    }

    fn state() -> Vec<Row> {
        let of = |key: &'static [u8], value: &'static [u8]| {
            (Bytes::from_static(key), Bytes::from_static(value))
        };
        vec![
            of(&[0, 7, 0x20, 1], b"one"),
            of(&[0, 7, 0x20, 2], b"two"),
            of(&[0, 9, 0x30, 2], b""),
            applied((0, 64)),
        ]
    }

    fn sums(index: u64, rows: Vec<Row>, at_once: usize) -> Result<Sums, String> {
        let mut summing = Summing::new(GROUP, &at(index), Box::new(Pieces(rows, at_once)));
        while summing.step()?.is_some() {}
        summing.end()
    }

    #[test]
    fn the_same_rows_come_to_the_same_however_they_are_read() {
        let once = sums(9, state(), 100).expect("a state");
        assert_eq!(once, sums(9, state(), 1).expect("a state"));
        let parts: Vec<u16> = once.parts.iter().map(|(part, _)| *part).collect();
        assert_eq!(parts, [7, 9, u16::MAX]);
    }

    #[test]
    fn every_row_and_where_it_stands_counts() {
        let whole = |index, rows| sums(index, rows, 2).expect("a state").whole;
        let same = whole(9, state());
        let mut others = vec![whole(10, state())];
        for row in 0..3 {
            let mut less = state();
            less.remove(row);
            let mut altered = state();
            altered[row].1 = Bytes::from_static(b"other");
            let mut moved = state();
            moved[row].0 = [&moved[row].0[..], &[0]].concat().into();
            others.extend([whole(9, less), whole(9, altered), whole(9, moved)]);
        }
        // The end of one value is not the beginning of the next.
        let mut shifted = state();
        shifted[0].1 = Bytes::from_static(b"onetwo");
        shifted[1].1 = Bytes::new();
        others.push(whole(9, shifted));
        others.push(same);
        let distinct: std::collections::BTreeSet<Digest> = others.iter().copied().collect();
        assert_eq!(distinct.len(), others.len());
    }

    #[test]
    fn a_state_that_does_not_say_its_slots_comes_to_nothing() {
        let mut without = state();
        without.pop();
        assert!(sums(9, without, 3).is_err());
        let mut old = state();
        old[3] = applied((0, 0));
        assert!(sums(9, old, 3).is_err());
    }
}
