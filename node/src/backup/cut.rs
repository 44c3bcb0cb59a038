//! Where chunks of rows end. The place is found in the keys, so that a stretch of rows that did not change is cut as it
//! was cut before and gives the same chunks, wherever it lies and whatever changed around it.

use store::tables::Row;

/// A chunk ends at the next good place after so many bytes.
const CHUNK_BYTES_MIN: usize = 64 << 10;
/// It ends here at the latest: large rows in a row have no good place.
const CHUNK_BYTES_LATEST: usize = 1 << 20;
/// One key in so many is a good place: a chunk has some hundred kilobytes of ordinary messages.
const KEYS_PER_PLACE: u64 = 512;

const _: () = assert!(CHUNK_BYTES_MIN < CHUNK_BYTES_LATEST);
const _: () = assert!(
    CHUNK_BYTES_LATEST + store::tables::VALUE_BYTES_MAX + (1 << 20)
        < proto::backup::CHUNK_BYTES_MAX as usize,
    "the last row of a chunk may be as long as a row can be"
);

/// Rows on their way into chunks.
#[derive(Default)]
pub(super) struct Cutter {
    rows: Vec<Row>,
    bytes: usize,
}

impl Cutter {
    /// Takes the next row, in the order of the keys. Answers the rows before it when a chunk ends there.
    pub(super) fn push(&mut self, row: Row) -> Option<Vec<Row>> {
        let good = self.bytes >= CHUNK_BYTES_MIN && is_good_place(&row.0);
        let apart =
            self.rows.last().is_some_and(|(last, _)| is_of_slot(last) != is_of_slot(&row.0));
        let full = self.bytes >= CHUNK_BYTES_LATEST;
        let ended = if good || apart || full { self.end() } else { None };
        self.bytes += row.0.len() + row.1.len();
        self.rows.push(row);
        ended
    }

    /// The rows that are left.
    pub(super) fn end(&mut self) -> Option<Vec<Row>> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        (!rows.is_empty()).then_some(rows)
    }
}

/// Rows of no slot change with every entry; in a chunk of their own they change no other.
fn is_of_slot(key: &[u8]) -> bool {
    key.first_chunk().is_some_and(|slot| u16::from_be_bytes(*slot) < chat::SLOTS)
}

/// FNV-1a, then mixed once more: neighbouring keys differ in their last bytes alone.
fn is_good_place(key: &[u8]) -> bool {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32).is_multiple_of(KEYS_PER_PLACE)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;

    use super::*;

    /// Rows as a busy shard has them: a few hundred bytes under keys that differ at their end.
    fn rows(conversations: u8, each: u64) -> Vec<Row> {
        let row = |conversation: u8, seq: u64| {
            let key =
                [&[0, conversation, 0x20][..], &[conversation; 14], &seq.to_be_bytes()].concat();
            let value = [conversation; 300].map(|byte| byte ^ seq as u8);
            (Bytes::from(key), Bytes::copy_from_slice(&value))
        };
        (0..conversations).flat_map(|c| (1..=each).map(move |seq| row(c, seq))).collect()
    }

    fn cut(rows: Vec<Row>) -> Vec<Vec<Row>> {
        let mut cutter = Cutter::default();
        let mut chunks: Vec<_> = rows.into_iter().filter_map(|row| cutter.push(row)).collect();
        chunks.extend(cutter.end());
        chunks
    }

    #[test]
    fn chunks_are_all_rows_in_order_and_of_a_bounded_size() {
        let rows = rows(4, 3000);
        let chunks = cut(rows.clone());
        assert_eq!(chunks.concat(), rows);
        assert!(chunks.len() > 8, "{}", chunks.len());
        for chunk in &chunks {
            let bytes: usize = chunk.iter().map(|(key, value)| key.len() + value.len()).sum();
            assert!(bytes <= CHUNK_BYTES_LATEST + 400, "{bytes}");
        }
    }

    #[test]
    fn what_is_added_in_one_place_leaves_the_chunks_elsewhere_as_they_were() {
        let before = rows(8, 2000);
        let mut after = before.clone();
        // Some more messages in one conversation in the middle.
        let place = 4 * 2000;
        for seq in 2001..=2050_u64 {
            let key = [&[0, 3, 0x20][..], &[3; 14], &seq.to_be_bytes()].concat();
            after.insert(place + (seq - 2001) as usize, (key.into(), Bytes::from(vec![9; 300])));
        }
        let known: BTreeSet<Vec<Row>> = cut(before).into_iter().collect();
        let chunks = cut(after);
        let new = chunks.iter().filter(|chunk| !known.contains(*chunk)).count();
        assert!(new <= 2, "{new} of {} chunks are new", chunks.len());
    }

    #[test]
    fn rows_of_no_slot_have_a_chunk_of_their_own() {
        let mut rows = rows(1, 3);
        for number in 0..2 {
            rows.push((Bytes::from(vec![0xFF, 0xFF, 1, number]), Bytes::new()));
        }
        let lengths: Vec<usize> = cut(rows).iter().map(Vec::len).collect();
        assert_eq!(lengths, [3, 2]);
    }
}
