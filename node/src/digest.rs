//! Whether replicas are the same. Law: equal applied index, equal state; whoever differs is named, and nothing is mended by
//! counting votes.
//!
//! Whoever leads a group names an entry that is still to come, or the last one where nothing is written. Each replica takes a
//! lazy view of its state behind exactly that entry and works out a digest of the rows; the leader asks for them, compares,
//! and tells every node what came of it. Nothing of it is in a log: a node that does not know the question cannot say, and
//! so cannot one that is beyond the entry, came there by a snapshot, does not run the group or has too much to do. Only
//! what was said is compared.
//!
//! What is digested is what a snapshot would send, which is what the log has decided: rows of slots, what is owed, and where
//! the group stands. What a node keeps for itself (the index of words, caches, marks of damage, staged rows) is not in it.
//!
//! What this does not do: it stops nothing, moves nothing and mends nothing. `docs/decisions/0025-replicas-are-compared.md`.

mod compare;
mod judge;
mod replica;
mod sum;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::operated::Node;
use compare::Comparing;

#[cfg(test)]
pub(crate) use judge::Digest;
pub(crate) use judge::Divergence;
pub(crate) use replica::Digests;

/// How digests are made here. Another number is not to be compared with this one.
pub(crate) const SCHEME: u32 = 1;

/// A busy group is compared after so many entries.
const ENTRIES: u64 = 10_000;
/// And not again before this has passed, however much is written: all of its rows are read each time.
const REST: Duration = Duration::from_secs(10 * 60);
/// Each is compared this often, written or not: a disk changes rows that nobody writes.
const LATEST: Duration = Duration::from_secs(6 * 60 * 60);
/// How often is looked whether a comparison is due, and how often replicas are asked while one goes on.
const LOOK: Duration = Duration::from_secs(1);
/// A replica that has not applied the entry by then cannot say.
const REACHED_WITHIN: Duration = Duration::from_secs(10);
/// A replica that has not read its rows by then is left out.
const SUMMED_WITHIN: Duration = Duration::from_secs(2 * 60 * 60);
/// How much of the tables is read for it in a second, at most: as much as the daily look at every row.
const BYTES_PER_SECOND: u64 = 4 << 20;

const _: () = assert!(REACHED_WITHIN.as_secs() < SUMMED_WITHIN.as_secs());
const _: () = assert!(REST.as_secs() < LATEST.as_secs());

/// When replicas are compared and what it may cost. One for the product; a simulation is in a hurry.
#[derive(Clone, Copy, Debug)]
pub struct DigestTempo {
    /// A group is due after so many entries …
    pub entries: u64,
    /// … but not before this has passed since the last time.
    pub rest: Duration,
    /// And in any case after this.
    pub latest: Duration,
    /// Between two looks.
    pub look: Duration,
    /// A replica gets to the entry within this time or cannot say.
    pub reached_within: Duration,
    /// It reads its rows within this time or is left out.
    pub summed_within: Duration,
    /// Bytes that are read in a second, at most.
    pub bytes_per_second: u64,
    /// Rows are read where waiting for a disk is allowed, and not by the task itself.
    pub aside: bool,
}

impl Default for DigestTempo {
    fn default() -> Self {
        Self {
            entries: ENTRIES,
            rest: REST,
            latest: LATEST,
            look: LOOK,
            reached_within: REACHED_WITHIN,
            summed_within: SUMMED_WITHIN,
            bytes_per_second: BYTES_PER_SECOND,
            aside: true,
        }
    }
}

/// Says what the replicas of this node come to, and compares those of the groups that it leads. For ever.
pub(crate) async fn compare(node: Node, clock: Arc<dyn Clock>) {
    let Node { id: node, raft, peers, digests, .. } = node;
    let says = digests.clone().run();
    let compares = Comparing { digests, raft, peers, node, clock, number: 0 }.run();
    futures::future::join(says, compares).await;
}

#[cfg(test)]
mod tests;
