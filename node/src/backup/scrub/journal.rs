//! Looks at every record of the journal once an hour, while nothing needs it: a start would refuse what is damaged, and a
//! follower that is behind would be refused it.
//!
//! What is damaged is left behind: everything applied is in the tables, everything else that it said is in memory and is
//! said again in the next segment (decision 19). So the node mends itself, alone, before it ever has to start from it.

use std::time::Duration;

use raft::Raft;
use store::{Scrub, StoreError};
use tokio::time::sleep;

use super::super::take::{Pace, blocking};
use super::BYTES_PER_SECOND;
use crate::damage::Damages;

/// How long one round takes, at least. A start reads everything as well, so the first begins after this.
const ROUND: Duration = Duration::from_secs(60 * 60);

/// What is not applied yet holds a segment; it is asked again after so long.
const LEAVE_AGAIN: Duration = Duration::from_secs(10);
/// Looks in that time whether it is gone.
const LOOKS: u32 = 100;
/// How often that is asked in a round.
const LEAVE_ATTEMPTS: u32 = 6;

/// Goes round for ever.
pub(crate) async fn scrub_journal(raft: Raft, damages: Damages) {
    loop {
        sleep(ROUND).await;
        round(&raft, &damages).await;
        metrics::counter!("synod_scrub_journal_rounds_total").increment(1);
    }
}

/// Looks at every segment once. Answers how many are damaged.
pub(crate) async fn round(raft: &Raft, damages: &Damages) -> usize {
    let mut pace = Pace::new(BYTES_PER_SECOND);
    let (mut after, mut wrong) = (0, 0);
    while let Some(scrub) = raft.scrub_journal(after) {
        after = scrub.segment();
        let place = place(after);
        match look(scrub, &mut pace).await {
            Ok(()) => damages.whole(&place),
            // What was removed meanwhile is damage no more.
            Err(_) if !is_there(raft, after) => damages.whole(&place),
            Err(error) => {
                wrong += 1;
                metrics::counter!("synod_scrub_problems_total").increment(1);
                tracing::error!(%error, "a record of this node's journal is not what was written");
                damages.found(&place, error.to_string());
                if leave(raft, after).await {
                    tracing::warn!(segment = after, "nothing needs the damaged segment any more");
                    metrics::counter!("synod_scrub_mended_total").increment(1);
                    damages.whole(&place);
                }
            }
        }
    }
    wrong
}

/// Has the segment go. Answers whether it did in time; if not, the next round tries again.
async fn leave(raft: &Raft, segment: u32) -> bool {
    for _ in 0..LEAVE_ATTEMPTS {
        raft.leave_segment(segment).await;
        for _ in 0..LOOKS {
            if !is_there(raft, segment) {
                return true;
            }
            sleep(LEAVE_AGAIN / LOOKS).await;
        }
    }
    false
}

fn place(segment: u32) -> String {
    format!("journal segment {segment}")
}

fn is_there(raft: &Raft, segment: u32) -> bool {
    raft.scrub_journal(segment - 1).is_some_and(|scrub| scrub.segment() == segment)
}

async fn look(mut scrub: Scrub, pace: &mut Pace) -> Result<(), StoreError> {
    loop {
        let (read, back) = blocking(move || (scrub.read(), scrub)).await;
        scrub = back;
        let read = read?;
        metrics::counter!("synod_scrub_journal_bytes_total").increment(read as u64);
        if read == 0 {
            return blocking(move || scrub.check()).await.map(drop);
        }
        pace.spend(read).await;
    }
}
