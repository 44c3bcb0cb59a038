//! What nodes say of themselves: leaderships that only rise, one owner of each conversation, equal states at equal
//! indices. P16 and P17.

use super::{Check, Facts};
use crate::fast::Map;
use crate::history::F;
use crate::verdict::{Findings, Verdict, Violation};
use std::collections::hash_map::Entry;
use std::hash::Hash;

/// The leaderships of a shard that a majority of nodes named, in the order of their naming, only rise.
///
/// A leadership is a term and a node, in this order: a second node may be granted a term that another one leads already, if its
/// number is higher, and the first then leads nobody any more. What a majority has granted, a majority cannot take back: some node
/// would have forgotten what it had promised.
pub(super) struct Leaders;

/// One shard owns a conversation in each epoch of the map, and epochs only rise.
pub(super) struct Placement;

/// Replicas that applied equally much are equal.
pub(super) struct Digests;

/// The first value told under a key, and by which operation; later ones must be the same.
struct Once<K, V> {
    first: Map<K, (V, u64)>,
}

impl<K: Hash + Eq, V: PartialEq + Copy> Once<K, V> {
    fn new() -> Once<K, V> {
        Once { first: Map::default() }
    }

    /// The operation that told something else, if one did.
    fn other(&mut self, key: K, value: V, op: u64) -> Option<u64> {
        match self.first.entry(key) {
            Entry::Occupied(first) => (first.get().0 != value).then_some(first.get().1),
            Entry::Vacant(empty) => {
                empty.insert((value, op));
                None
            }
        }
    }
}

impl Check for Leaders {
    fn name(&self) -> &'static str {
        "leaders"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let history = facts.history;
        let mut findings = Findings::default();
        let mut highest: Map<u32, ((u64, u8), u64)> = Map::default();
        for op in &history.ops {
            let F::Leader { shard, node, term } = op.f else { continue };
            let named = ((term, node), op.index);
            let before = *highest.entry(shard).or_insert(named);
            findings.hold(before.0 <= named.0, || {
                let ((then, whom), _) = before;
                let what = format!(
                    "leader-back: shard {shard} is led by n{node} in term {term} after n{whom} in term {then}"
                );
                Violation::new(what, [before.1, op.index])
            });
            highest.insert(shard, before.max(named));
        }
        findings.verdict()
    }
}

impl Check for Placement {
    fn name(&self) -> &'static str {
        "placement"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let history = facts.history;
        let (mut findings, mut owners) = (Findings::default(), Once::new());
        for op in &history.ops {
            let F::Owner { c, shard, epoch } = op.f else { continue };
            let other = owners.other((c, epoch), shard, op.index);
            findings.hold(other.is_none(), || {
                let what = format!("two-owners: two shards own a conversation in epoch {epoch}");
                Violation::new(what, other.into_iter().chain([op.index])).at(c, [])
            });
        }
        findings.verdict()
    }
}

impl Check for Digests {
    fn name(&self) -> &'static str {
        "digest"
    }

    fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let history = facts.history;
        let (mut findings, mut digests) = (Findings::default(), Once::new());
        for op in &history.ops {
            let F::Digest { shard, index, digest, .. } = op.f else { continue };
            let other = digests.other((shard, index), digest, op.index);
            findings.hold(other.is_none(), || {
                let what =
                    format!("states-differ: two replicas of shard {shard} differ at index {index}");
                Violation::new(what, other.into_iter().chain([op.index]))
            });
        }
        findings.verdict()
    }
}
