//! One entry of a group's log: the commands that waited together, with the proposer's time. Commands stay bytes here.

use bytes::Bytes;
use prost::Message as _;

use crate::{DecodeError, log, wire};

/// The bytes of an entry that holds these commands in this order.
pub fn encode_entry(at_ms: u64, commands: &[Bytes]) -> Bytes {
    let room: usize = commands.iter().map(|command| command.len() + 5).sum();
    let mut out = Vec::with_capacity(room + 11);
    wire::uint64(&mut out, 1, at_ms);
    for command in commands {
        wire::bytes_always(&mut out, 2, command);
    }
    out.into()
}

/// The entry that these bytes mean; its commands share them.
///
/// # Errors
/// [`DecodeError`] when they are no entry.
pub fn decode_entry(bytes: Bytes) -> Result<log::Entry, DecodeError> {
    log::Entry::decode(bytes).map_err(DecodeError::of("entry"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_entry_survives_its_bytes_and_is_what_the_generated_type_writes(
            at_ms in any::<u64>(),
            commands in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..5),
        ) {
            let commands: Vec<Bytes> = commands.into_iter().map(Bytes::from).collect();
            let bytes = encode_entry(at_ms, &commands);
            let entry = log::Entry { at_ms, commands };
            prop_assert_eq!(&bytes[..], &entry.encode_to_vec()[..]);
            prop_assert_eq!(decode_entry(bytes), Ok(entry));
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode_entry(bytes.into());
        }
    }
}
