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

/// What a machine answered to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// What came of it.
    Outcome(Outcome),
    /// Nothing was done: another group owns the slot by now.
    Moved,
}

/// The bytes of [`Answer::Moved`].
pub fn encode_moved() -> Bytes {
    log::Outcome { outcome: Some(Wire::Moved(log::Moved {})) }.encode_to_vec().into()
}

/// The answer that these bytes mean.
///
/// # Errors
/// [`DecodeError`] when they are none, or one with a code that this version does not know.
pub fn decode_answer(bytes: &[u8]) -> Result<Answer, DecodeError> {
    let decoded = log::Outcome::decode(bytes).map_err(DecodeError::of("outcome"))?;
    match decoded.outcome.ok_or_else(|| DecodeError::missing("outcome"))? {
        Wire::Moved(_) => Ok(Answer::Moved),
        wire => outcome_of(wire).map(Answer::Outcome),
    }
}

/// The outcome that these bytes mean.
///
/// # Errors
/// [`DecodeError`] when they are no outcome, or one with a code that this version does not know.
pub fn decode_outcome(bytes: &[u8]) -> Result<Outcome, DecodeError> {
    match decode_answer(bytes)? {
        Answer::Outcome(outcome) => Ok(outcome),
        Answer::Moved => Err(DecodeError::new("outcome", "nothing was done".to_owned())),
    }
}

fn outcome_of(wire: Wire) -> Result<Outcome, DecodeError> {
    match wire {
        Wire::Accepted(accepted) => Ok(Outcome::Accepted(place(&accepted))),
        Wire::Duplicate(accepted) => Ok(Outcome::Duplicate(place(&accepted))),
        Wire::Refused(refused) => Refusal::from_code(&refused.code, refused.number)
            .map(Outcome::Refused)
            .ok_or_else(|| unknown_code("outcome.refused", &refused.code)),
        Wire::Conflict(conflict) => Conflict::from_code(&conflict.code)
            .map(Outcome::Conflict)
            .ok_or_else(|| unknown_code("outcome.conflict", &conflict.code)),
        Wire::Moved(_) => unreachable!("told apart before"),
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
    fn what_moved_is_an_answer_and_no_outcome() {
        assert_eq!(decode_answer(&encode_moved()), Ok(Answer::Moved));
        assert!(decode_outcome(&encode_moved()).is_err());
        let refused = Outcome::Refused(Refusal::NoSuchUser);
        let answer = decode_answer(&encode_outcome(&refused));
        assert_eq!(answer, Ok(Answer::Outcome(refused)));
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
