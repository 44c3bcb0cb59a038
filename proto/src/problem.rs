//! The one closed list of wire codes, and how a problem reads on each plane: RFC 9457 JSON over HTTP, an `error` object in
//! the specification's items, [`frames::Problem`](crate::frames::Problem) in binary frames.
//! Codes are stable and documented; a new one is added here or nowhere.

mod code;
mod refusal;
mod render;

use std::time::Duration;

pub use code::ProblemCode;

/// Why something did not happen, ready for any wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind of problem.
    pub code: ProblemCode,
    /// One sentence about this very case, for people. Names no secret.
    pub detail: String,
    /// When the same request may be worth repeating.
    pub retry_after: Option<Duration>,
    /// The number that helps the caller on: for `out_of_order` the order expected next, for `beyond_end` the last sequence,
    /// for `too_…` the limit.
    pub expected: Option<u64>,
    /// The request's field that is wrong, for `invalid_request`.
    pub field: Option<String>,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Problem {
        Problem { code, detail: detail.into(), retry_after: None, expected: None, field: None }
    }

    /// A problem whose title says all there is to say.
    pub fn of(code: ProblemCode) -> Problem {
        Problem::new(code, code.title())
    }

    /// With a hint when to come back.
    #[must_use]
    pub fn after(mut self, retry_after: Duration) -> Problem {
        self.retry_after = Some(retry_after);
        self
    }

    /// With the number that helps the caller on.
    #[must_use]
    pub fn expecting(mut self, number: u64) -> Problem {
        self.expected = Some(number);
        self
    }

    /// With the name of the request's field that is wrong.
    #[must_use]
    pub fn about(mut self, field: impl Into<String>) -> Problem {
        self.field = Some(field.into());
        self
    }

    /// The hint in whole milliseconds, rounded up so that nobody comes back too early.
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.retry_after.map(|after| {
            let ms = after.as_nanos().div_ceil(1_000_000);
            u64::try_from(ms).unwrap_or(u64::MAX)
        })
    }
}
