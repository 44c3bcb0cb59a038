//! What bytes from outside, or from an older process, may be: not what they should. Never a panic.

/// Bytes do not mean what they were said to mean.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct DecodeError {
    /// The field that is wrong, as the schema names it, or the kind of key or frame.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl DecodeError {
    /// An error about `field`.
    pub fn new(field: &'static str, reason: impl Into<String>) -> DecodeError {
        DecodeError { field, reason: reason.into() }
    }

    /// A field that must be there is not.
    pub fn missing(field: &'static str) -> DecodeError {
        DecodeError::new(field, "missing")
    }

    /// For `map_err`: the reason is what a parser said.
    pub(crate) fn of<E: std::fmt::Display>(field: &'static str) -> impl FnOnce(E) -> DecodeError {
        move |error| DecodeError::new(field, error.to_string())
    }
}
