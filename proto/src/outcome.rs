//! What machines answer, to bytes and back: it crosses the forward lane from a leader to the node that asked.

use bytes::Bytes;
use chat::{ChangeNumber, Conflict, Order, Outcome, Place, Refusal, Seq, Timestamp};
use prost::Message as _;

use crate::DecodeError;
use crate::log::{self, outcome::Outcome as Wire};

/// The bytes of an outcome.
pub fn encode_outcome(outcome: &Outcome) -> Bytes {
    let wire = match outcome {
        Outcome::Accepted(place) => Wire::Accepted(accepted(place)),
        Outcome::Duplicate(place) => Wire::Duplicate(accepted(place)),
        Outcome::Refused(refusal) => Wire::Refused(log::Refusal {
            code: refusal.code().to_owned(),
            number: refusal.number(),
        }),
        Outcome::Conflict(conflict) => {
            Wire::Conflict(log::Refusal { code: conflict.code().to_owned(), number: 0 })
        }
    };
    log::Outcome { outcome: Some(wire) }.encode_to_vec().into()
}

/// The outcome that these bytes mean.
///
/// # Errors
/// [`DecodeError`] when they are no outcome, or one with a code that this version does not know.
pub fn decode_outcome(bytes: &[u8]) -> Result<Outcome, DecodeError> {
    let decoded = log::Outcome::decode(bytes).map_err(DecodeError::of("outcome"))?;
    match decoded.outcome.ok_or_else(|| DecodeError::missing("outcome"))? {
        Wire::Accepted(accepted) => Ok(Outcome::Accepted(place(&accepted))),
        Wire::Duplicate(accepted) => Ok(Outcome::Duplicate(place(&accepted))),
        Wire::Refused(refused) => Refusal::from_code(&refused.code, refused.number)
            .map(Outcome::Refused)
            .ok_or_else(|| unknown_code("outcome.refused", &refused.code)),
        Wire::Conflict(conflict) => Conflict::from_code(&conflict.code)
            .map(Outcome::Conflict)
            .ok_or_else(|| unknown_code("outcome.conflict", &conflict.code)),
    }
}

fn unknown_code(field: &'static str, code: &str) -> DecodeError {
    DecodeError::new(field, format!("unknown code {code:?}"))
}

fn accepted(place: &Place) -> log::Accepted {
    log::Accepted {
        seq: place.seq.0,
        at_ms: place.at.0,
        order: place.order.0,
        delivered: place.delivered.0,
        read: place.read.0,
        change: place.change.0,
    }
}

fn place(accepted: &log::Accepted) -> Place {
    Place {
        seq: Seq(accepted.seq),
        at: Timestamp(accepted.at_ms),
        order: Order(accepted.order),
        delivered: Seq(accepted.delivered),
        read: Seq(accepted.read),
        change: ChangeNumber(accepted.change),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_outcome_survives_its_bytes() {
        let place = Place {
            seq: Seq(7),
            at: Timestamp(1_700_000_000_000),
            order: Order(3),
            delivered: Seq(6),
            read: Seq(5),
            change: ChangeNumber(9),
        };
        let refused = Refusal::each().into_iter().map(Outcome::Refused);
        let conflicts = [
            Conflict::OrderUsed,
            Conflict::MessageIdUsed,
            Conflict::ChangeIdUsed,
            Conflict::DeviceUsed,
        ];
        let all = [Outcome::Accepted(place), Outcome::Duplicate(place)]
            .into_iter()
            .chain(refused)
            .chain(conflicts.map(Outcome::Conflict));
        for outcome in all {
            assert_eq!(decode_outcome(&encode_outcome(&outcome)), Ok(outcome));
        }
    }

    #[test]
    fn an_unknown_code_is_an_error_that_names_it() {
        let wire = Wire::Refused(log::Refusal { code: "from_the_future".into(), number: 0 });
        let bytes = log::Outcome { outcome: Some(wire) }.encode_to_vec();
        let error = decode_outcome(&bytes).expect_err("the code is not known");
        assert_eq!(error.field, "outcome.refused");
        assert!(error.reason.contains("from_the_future"), "{error}");
        assert_eq!(decode_outcome(&[]).map_err(|e| e.field), Err("outcome"));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode_outcome(&bytes);
        }
    }
}
