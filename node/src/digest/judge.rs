//! What replicas said of the same moment, and who differs. Pure: no clock, no node.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use proto::peer::{Compared, DigestSaid};
use raft::{GroupId, NodeId};

/// The digest of a state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest(pub(crate) [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As much as anybody compares by eye.
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the replicas of a group said that could.
pub(crate) type Said = BTreeMap<NodeId, Digest>;

/// Parts that are named; whoever differs in more is named well enough by these.
const PARTS_MAX: usize = 8;
/// The part of rows that belong to no slot.
const NO_SLOT: u16 = u16::MAX;

/// Replicas of a group that are not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Divergence {
    pub(crate) group: GroupId,
    /// The entry behind which they were compared.
    pub(crate) index: u64,
    pub(crate) said: Said,
    /// Those with whom most do not agree; all, where no most agree. Never empty.
    pub(crate) differing: BTreeSet<NodeId>,
    /// The first parts in which they differ, as far as that is known.
    pub(crate) parts: Vec<u16>,
}

/// Who is not as most are. Nobody, when all say the same.
pub(super) fn differing(said: &Said) -> BTreeSet<NodeId> {
    let mut votes: BTreeMap<Digest, usize> = BTreeMap::new();
    said.values().for_each(|digest| *votes.entry(*digest).or_default() += 1);
    if votes.len() < 2 {
        return BTreeSet::new();
    }
    let most = votes.into_iter().find(|(_, count)| count * 2 > said.len());
    let differs = |digest: &Digest| most.is_none_or(|(most, _)| most != *digest);
    said.iter().filter(|(_, digest)| differs(digest)).map(|(node, _)| *node).collect()
}

/// The first parts in which two states differ.
pub(super) fn differing_parts(one: &[(u16, u64)], other: &[(u16, u64)]) -> Vec<u16> {
    let (one, other): (BTreeSet<_>, BTreeSet<_>) = (one.iter().collect(), other.iter().collect());
    let parts: BTreeSet<u16> = one.symmetric_difference(&other).map(|(part, _)| *part).collect();
    parts.into_iter().take(PARTS_MAX).collect()
}

impl Divergence {
    /// Whether a comparison in which nobody differed ends it: everyone who was in it said so, or carries the group no more.
    pub(super) fn is_over(&self, said: &Said, replicas: &BTreeSet<NodeId>) -> bool {
        self.said.keys().all(|node| said.contains_key(node) || !replicas.contains(node))
    }

    /// One sentence.
    pub(crate) fn told(&self) -> String {
        let list = |nodes: &mut dyn Iterator<Item = &NodeId>| {
            nodes.map(NodeId::to_string).collect::<Vec<_>>().join(", ")
        };
        let apart = list(&mut self.differing.iter());
        let mut agreeing =
            self.said.keys().filter(|node| !self.differing.contains(node)).peekable();
        let who = match agreeing.peek() {
            Some(_) => {
                format!("the state of node {apart} is not that of nodes {}", list(&mut agreeing))
            }
            None => format!("the states of nodes {apart} differ, and no most agree"),
        };
        format!("behind entry {} of group {} {who}{}", self.index, self.group, self.places())
    }

    fn places(&self) -> String {
        let slots = self.parts.iter().filter(|part| **part != NO_SLOT);
        let slots: Vec<String> = slots.map(u16::to_string).collect();
        let mut places = String::new();
        if !slots.is_empty() {
            let more = if self.parts.len() >= PARTS_MAX { " and perhaps more" } else { "" };
            places.push_str(&format!("; they differ in slots {}{more}", slots.join(", ")));
        }
        if self.parts.contains(&NO_SLOT) {
            places.push_str("; they differ in what the group owes or where it stands");
        }
        places
    }

    /// For the wire.
    pub(super) fn encode(&self) -> Compared {
        let said = |(node, digest): (&NodeId, &Digest)| {
            let digest = digest.0.to_vec().into();
            DigestSaid { node: node.0, digest }
        };
        Compared {
            group: self.group.0,
            index: self.index,
            said: self.said.iter().map(said).collect(),
            differing: self.differing.iter().map(|node| node.0).collect(),
            parts: self.parts.iter().map(|part| u32::from(*part)).collect(),
        }
    }

    /// From the wire. `None`: nobody differs, or it is not well said.
    pub(super) fn decode(compared: &Compared) -> Option<Self> {
        let said = compared.said.iter().map(|said| {
            let digest: [u8; 32] = said.digest.as_ref().try_into().ok()?;
            Some((NodeId(said.node), Digest(digest)))
        });
        let said: Said = said.collect::<Option<_>>()?;
        let differing: BTreeSet<NodeId> = compared.differing.iter().copied().map(NodeId).collect();
        let parts = compared.parts.iter().filter_map(|part| u16::try_from(*part).ok());
        let known = differing.iter().all(|node| said.contains_key(node));
        let group = GroupId(compared.group);
        let parts = parts.take(PARTS_MAX).collect();
        let index = compared.index;
        (known && !differing.is_empty()).then_some(Self { group, index, said, differing, parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(digests: &[u8]) -> Said {
        let nodes = (1..).map(NodeId);
        nodes.zip(digests.iter().map(|byte| Digest([*byte; 32]))).collect()
    }

    fn nodes(nodes: &[u64]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn who_is_not_as_most_are_differs_and_nobody_is_blamed_without_most() {
        for (digests, apart) in [
            (&[][..], &[][..]),
            (&[1], &[]),
            (&[1, 1, 1], &[]),
            (&[1, 2, 1], &[2]),
            (&[2, 1, 1], &[1]),
            (&[1, 2], &[1, 2]),
            (&[1, 2, 3], &[1, 2, 3]),
            (&[1, 1, 2, 2], &[1, 2, 3, 4]),
            (&[1, 1, 1, 2, 3], &[4, 5]),
        ] {
            assert_eq!(differing(&said(digests)), nodes(apart), "{digests:?}");
        }
    }

    #[test]
    fn parts_that_only_one_has_differ_like_those_that_are_altered() {
        let one = [(1, 10), (2, 20), (3, 30)];
        assert_eq!(differing_parts(&one, &one), [0u16; 0]);
        assert_eq!(differing_parts(&one, &[(1, 10), (2, 21), (4, 40)]), [2, 3, 4]);
        let many: Vec<(u16, u64)> = (0..100).map(|part| (part, 1)).collect();
        assert_eq!(differing_parts(&many, &[]).len(), PARTS_MAX);
    }

    fn divergence() -> Divergence {
        let said = said(&[1, 2, 1]);
        let parts = vec![77, NO_SLOT];
        Divergence { group: GroupId(4), index: 70, differing: differing(&said), said, parts }
    }

    #[test]
    fn it_is_over_when_everyone_in_it_says_the_same_or_is_gone() {
        let divergence = divergence();
        let all = nodes(&[1, 2, 3]);
        assert!(divergence.is_over(&said(&[5, 5, 5]), &all));
        let mut without = said(&[5, 5, 5]);
        without.remove(&NodeId(2));
        assert!(!divergence.is_over(&without, &all), "it did not say");
        assert!(divergence.is_over(&without, &nodes(&[1, 3, 4])), "it was replaced");
    }

    #[test]
    fn it_survives_the_wire_and_says_who_where_and_behind_what() {
        let divergence = divergence();
        assert_eq!(Divergence::decode(&divergence.encode()), Some(divergence.clone()));
        let told = divergence.told();
        assert_eq!(
            told,
            "behind entry 70 of group 4 the state of node 2 is not that of nodes 1, 3; they differ in \
             slots 77; they differ in what the group owes or where it stands"
        );
        let two = said(&[1, 2]);
        let none =
            Divergence { differing: differing(&two), said: two, parts: vec![], ..divergence };
        assert!(none.told().contains("the states of nodes 1, 2 differ, and no most agree"));
    }

    #[test]
    fn what_is_not_well_said_is_not_believed() {
        let good = divergence().encode();
        let mut nobody = good.clone();
        nobody.differing.clear();
        let mut stranger = good.clone();
        stranger.differing = vec![9];
        let mut short = good.clone();
        short.said[0].digest.truncate(31);
        for bad in [nobody, stranger, short] {
            assert_eq!(Divergence::decode(&bad), None);
        }
        assert!(Divergence::decode(&good).is_some());
    }
}
