//! The planted bugs that a sweep must catch. Each was seen to be caught, by its check or by a replica that no longer
//! agrees or drains. A bug of `planted` that is not named here is for the black box, or waits for a world in which it shows:
//! `docs/evidence/simulation.md` says which.

/// Names as in `planted::CANARIES`.
pub const CAUGHT: [&str; 12] = [
    "ack_before_fsync",
    "segment_without_folder_sync",
    "vote_not_saved",
    "read_index_skipped",
    "state_not_flushed",
    "applied_apart_from_rows",
    "follower_skips_entries",
    "follower_applies_backwards",
    "dedupe_left_out",
    "dedupe_not_in_snapshot",
    "half_snapshot_installed",
    "offline_forgotten",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_to_be_caught_is_planted() {
        for name in CAUGHT {
            assert!(planted::CANARIES.iter().any(|canary| canary.name == name), "{name}");
        }
    }
}
