//! The planted bugs that a sweep must catch, each by the sign that was seen to catch it: a check's name, a law that the
//! simulator itself holds, replicas that no longer agree, a node that does not come back, the engine's own assertion.
//! Another violation does not count. `docs/evidence/simulation.md` says at which seed each was seen.

/// A name as in `planted::CANARIES`, and words of which a violation must have one.
pub const CAUGHT: [(&str, &[&str]); 28] = [
    ("ack_before_fsync", &["account: lost"]),
    ("failed_fsync_ignored", &["fsync: "]),
    // A segment without a name is missing at the start: the node refuses it, and a majority may.
    ("segment_without_folder_sync", &["account: lost", "liveness: not drained"]),
    ("recovery_without_barrier", &["adopted: "]),
    ("truncate_at_first_bad", &["damage: "]),
    ("vote_not_saved", &["panicked at", "leaders:"]),
    ("read_index_skipped", &["order: stale-read"]),
    ("read_index_without_quorum", &["order: stale-read"]),
    ("refusal_for_unknown", &["account: resurrected"]),
    // Its log was purged beyond what its tables have: the node refuses to start.
    ("state_not_flushed", &["account: lost", "liveness: not drained"]),
    ("applied_apart_from_rows", &[DIFFER]),
    // By the comparison that nodes make themselves, while it runs.
    ("follower_skips_entries", &["digest: "]),
    ("follower_applies_backwards", &[DIFFER, "prefix:", "account:", "liveness: not drained"]),
    ("dedupe_left_out", &["account:"]),
    ("dedupe_not_in_snapshot", &[DIFFER, "digest: "]),
    ("half_snapshot_installed", &[DIFFER, "digest: ", "account: lost"]),
    ("hint_without_gap_check", &["delivery: skip"]),
    ("lag_forgotten", &["delivery: unseen"]),
    ("offline_forgotten", &["delivery: skip", "delivery: unseen"]),
    ("removed_still_fanned_out", &["authz: read-after-removal"]),
    ("membership_not_at_apply", &["authz: write-after-removal"]),
    ("cursor_overwritten", &["receipts: cursor-back", "receipts: lost-receipt"]),
    ("time_not_clamped", &["clock: time-back"]),
    ("chain_not_extended", &["prefix: chain-still", "chain: "]),
    ("confirm_not_written", &["receipts: lost-receipt"]),
    ("receipt_invented", &["receipts: invented-receipt"]),
    ("debts_forgotten", &["inbox: inbox-missing"]),
    ("always_online", &["presence: stale-presence"]),
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
    fn every_planted_bug_is_to_be_caught() {
        for (name, signs) in CAUGHT {
            assert!(planted::CANARIES.iter().any(|canary| canary.name == name), "{name}");
            assert!(!signs.is_empty(), "{name} must be caught by something");
        }
        let caught = |name: &str| CAUGHT.iter().any(|(caught, _)| *caught == name);
        assert!(planted::CANARIES.iter().all(|canary| caught(canary.name)), "none is left out");
    }
}
