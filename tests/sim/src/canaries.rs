//! The planted bugs that a sweep must catch, each by the sign that was seen to catch it: a check's name, replicas that no
//! longer agree, a node that does not come back, the engine's own assertion. Another violation does not count. A bug of
//! `planted` that is not named here is for the black box, or waits for a world in which it shows:
//! `docs/evidence/simulation.md` says which.

/// A name as in `planted::CANARIES`, and words of which a violation must have one.
pub const CAUGHT: [(&str, &[&str]); 12] = [
    ("ack_before_fsync", &["account: lost"]),
    // A segment without a name is missing at the start: the node refuses it, and a majority may.
    ("segment_without_folder_sync", &["account: lost", "liveness: not drained"]),
    ("vote_not_saved", &["panicked at", "leaders:"]),
    ("read_index_skipped", &["order: stale-read"]),
    // Its log was purged beyond what its tables have: the node refuses to start.
    ("state_not_flushed", &["account: lost", "liveness: not drained"]),
    ("applied_apart_from_rows", &[DIFFER]),
    ("follower_skips_entries", &[DIFFER]),
    ("follower_applies_backwards", &[DIFFER, "prefix:", "account:", "liveness: not drained"]),
    ("dedupe_left_out", &["account:"]),
    ("dedupe_not_in_snapshot", &[DIFFER]),
    ("half_snapshot_installed", &[DIFFER, "account: lost"]),
    ("offline_forgotten", &["delivery: skip"]),
];

/// Said of two replicas whose rows are not the same at one index.
const DIFFER: &str = "differ at index";

/// Whether a run shows what a planted bug must show.
#[must_use]
pub(crate) fn shows(report: &crate::Report, signs: &[String]) -> bool {
    report.broken.iter().any(|broken| signs.iter().any(|sign| broken.contains(sign.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_to_be_caught_is_planted() {
        for (name, signs) in CAUGHT {
            assert!(planted::CANARIES.iter().any(|canary| canary.name == name), "{name}");
            assert!(!signs.is_empty(), "{name} must be caught by something");
        }
    }
}
