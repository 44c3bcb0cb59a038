//! What every operation error of this room can answer: is it certain, and does trying again help?
//!
//! These are opinions about one attempt at moving bytes. What an application does with them (hold a
//! message back, ask another node) is decided above.

use std::time::Duration;

/// Whether a failed operation may have had an effect at the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// Nothing reached the other side.
    Definite,
    /// The other side may have received all, part or nothing.
    Unknown,
}

/// What a caller may try next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same attempt fails again: something has to be corrected first.
    Never,
    /// The same address may well answer the next time.
    Same,
    /// Another node is the better choice.
    Elsewhere,
    /// Not before this much time has passed.
    After(Duration),
}
