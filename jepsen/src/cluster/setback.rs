//! Why the harness could not do what it was asked: never the product's fault, never a verdict.

use std::fmt;

/// The harness failed. One sentence for people; nothing handles it but by giving up or going on without.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Setback(String);

impl Setback {
    /// A setback with its reason.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    /// Adds what was being done.
    #[must_use]
    pub fn while_doing(self, what: impl fmt::Display) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

impl From<std::io::Error> for Setback {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Names what was being done when the operating system refused.
pub trait Doing<T> {
    /// `what` goes before the reason.
    ///
    /// # Errors
    /// The same as before, with `what`.
    fn doing(self, what: impl fmt::Display) -> Result<T, Setback>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T, Setback> {
        self.map_err(|error| Setback(format!("{what}: {error}")))
    }
}
