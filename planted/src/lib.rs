//! Planted bugs: the faults that the checkers must catch before they are believed.
//!
//! A room asks `planted::bug(Bug::X)` at the one line where it would go wrong. Without the feature `planted` the answer
//! is `false` at compile time and nothing is left of the question. With it, the one bug that the environment variable
//! [`VARIABLE`] names, or that [`choose`] was given, is at work in the whole process.
//!
//! A build with the feature is for tests alone. This crate plants nothing itself and knows no room.

/// The environment variable that names the bug.
pub const VARIABLE: &str = "SYNOD_PLANTED";

mod table;

pub use table::{Bug, CANARIES, Canary};

/// Whether this bug is at work.
#[cfg(not(feature = "planted"))]
#[inline(always)]
#[must_use]
pub const fn bug(_bug: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
pub use chosen::{bug, choose};

#[cfg(feature = "planted")]
mod chosen;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_bug_has_one_name_and_one_check() {
        let names: BTreeSet<_> = CANARIES.iter().map(|canary| canary.name).collect();
        assert_eq!(names.len(), CANARIES.len());
        assert!(CANARIES.len() >= 20);
        assert!(CANARIES.iter().all(|canary| !canary.check.is_empty()));
    }

    #[cfg(not(feature = "planted"))]
    #[test]
    fn without_the_feature_no_bug_can_be_at_work() {
        // Decided when this is compiled: there is nothing left to be at work.
        const { assert!(!bug(Bug::AckBeforeFsync)) }
    }

    #[cfg(feature = "planted")]
    #[test]
    fn one_bug_at_a_time_is_at_work() {
        assert!(choose(Some(Bug::AckBeforeFsync)));
        assert!(!choose(None));
        assert!(bug(Bug::AckBeforeFsync) && !bug(Bug::VoteNotSaved));
    }
}
