//! Who should vote in one group, from who does: as few others as possible.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::{ClusterConfig, Node, NodeId, NodeState};

/// The nodes and how many votes each has in shards. Votes in group 0 are not counted: they cost next to nothing.
pub(super) struct Votes<'a> {
    pub(super) nodes: &'a BTreeMap<NodeId, Node>,
    pub(super) count: BTreeMap<NodeId, u64>,
}

impl<'a> Votes<'a> {
    pub(super) fn of(config: &'a ClusterConfig) -> Votes<'a> {
        let mut count: BTreeMap<NodeId, u64> = config.nodes.keys().map(|id| (*id, 0)).collect();
        for group in config.shards.keys() {
            for id in config.voters_wished(*group) {
                *count.entry(*id).or_default() += 1;
            }
        }
        Votes { nodes: &config.nodes, count }
    }

    /// A group's votes are elsewhere now.
    pub(super) fn moved(&mut self, from: &BTreeSet<NodeId>, to: &BTreeSet<NodeId>) {
        for id in from.difference(to) {
            *self.count.entry(*id).or_default() -= 1;
        }
        for id in to.difference(from) {
            *self.count.entry(*id).or_default() += 1;
        }
    }

    fn state(&self, id: NodeId) -> Option<NodeState> {
        self.nodes.get(&id).map(|node| node.state)
    }

    /// Whether a node that votes may go on.
    fn keeps(&self, id: NodeId) -> bool {
        use NodeState::{Draining, Joining, Ready};
        matches!(self.state(id), Some(Ready | Draining | Joining))
    }

    /// Those who may be given votes.
    pub(super) fn ready(&self) -> impl Iterator<Item = NodeId> {
        let ready = self.nodes.iter().filter(|(_, node)| node.state == NodeState::Ready);
        ready.map(|(id, _)| *id)
    }

    /// How many should vote in a group where these vote now: an odd number, one while there are fewer than three nodes.
    /// Who joins will count soon, and who is lost may come back to the vote it has; but no more than there are to vote.
    fn number(&self, now: &BTreeSet<NodeId>, most: u32) -> usize {
        let counts = |id: &&NodeId| {
            self.keeps(**id) || self.state(**id) == Some(NodeState::Lost) && now.contains(id)
        };
        let nodes = self.nodes.keys().filter(counts).count();
        let others = self.ready().filter(|id| !now.contains(id)).count();
        let number = odd(nodes.min(most as usize));
        odd(number.min(now.len() + others))
    }

    /// The voters that a group should have in which these vote now.
    pub(super) fn wanted(&self, now: &BTreeSet<NodeId>, most: u32) -> BTreeSet<NodeId> {
        let number = self.number(now, most);
        let mut to: BTreeSet<NodeId> = now.iter().copied().filter(|id| self.keeps(*id)).collect();
        while to.len() > number {
            self.drop_one(&mut to);
        }
        while to.len() < number {
            let Some(next) = self.next(&to) else { break };
            to.insert(next);
        }
        // Whoever should go stays while nobody can take the vote; who leaves can still be heard, so it comes first.
        let mut held: Vec<NodeId> = now.difference(&to).copied().collect();
        held.retain(|id| !self.keeps(*id) && self.nodes.contains_key(id));
        held.sort_by_key(|id| (self.state(*id) == Some(NodeState::Lost), *id));
        let short = number.saturating_sub(to.len());
        to.extend(held.into_iter().take(short));
        self.spread(&mut to);
        to
    }

    /// Who should vote next to these: in a rare zone, with the fewest votes for its weight, by the lowest id.
    fn next(&self, to: &BTreeSet<NodeId>) -> Option<NodeId> {
        let free = self.ready().filter(|id| !to.contains(id));
        free.min_by_key(|id| (self.neighbours(*id, to), self.load(*id, 1), *id))
    }

    /// The other way round; who should go anyway goes first.
    fn drop_one(&self, to: &mut BTreeSet<NodeId>) {
        let worst = to
            .iter()
            .copied()
            .max_by_key(|id| (!self.keeps(*id), self.neighbours(*id, to), self.load(*id, 0), *id));
        let worst = worst.expect("called while too many vote");
        to.remove(&worst);
    }

    /// Moves votes out of crowded zones, as long as that helps.
    fn spread(&self, to: &mut BTreeSet<NodeId>) {
        while let Some((out, id)) = self.best_swap(to) {
            to.remove(&out);
            to.insert(id);
        }
    }

    fn best_swap(&self, to: &BTreeSet<NodeId>) -> Option<(NodeId, NodeId)> {
        let crowded = self.crowding(to);
        if crowded == 0 {
            return None;
        }
        let swaps = to.iter().flat_map(|out| {
            let free = self.ready().filter(|id| !to.contains(id));
            free.map(move |id| (*out, id))
        });
        let after = |(out, id): &(NodeId, NodeId)| self.crowding(&swapped(to, *out, *id));
        let better = swaps.map(|swap| (after(&swap), swap)).filter(|(after, _)| *after < crowded);
        let best = better.min_by_key(|(after, (out, id))| {
            (*after, self.load(*id, 1), *id, Reverse(self.load(*out, 0)), *out)
        });
        best.map(|(_, swap)| swap)
    }

    /// Pairs of voters that fail together. Each swap that lowers it is worth a move.
    pub(super) fn crowding(&self, to: &BTreeSet<NodeId>) -> usize {
        to.iter().map(|id| self.neighbours(*id, to)).sum::<usize>() / 2
    }

    /// Others of these in the zone of a node. A node without a zone fails alone.
    fn neighbours(&self, id: NodeId, to: &BTreeSet<NodeId>) -> usize {
        let zone = |id: NodeId| self.nodes.get(&id).and_then(|node| node.zone.as_deref());
        let Some(here) = zone(id) else { return 0 };
        to.iter().filter(|other| **other != id && zone(**other) == Some(here)).count()
    }

    /// The votes of a node and `more`, for its weight, in millionths.
    pub(super) fn load(&self, id: NodeId, more: u64) -> u64 {
        let weight = self.nodes.get(&id).map_or(1, |node| node.weight.max(1));
        let count = self.count.get(&id).copied().unwrap_or(0);
        (count + more) * 1_000_000 / u64::from(weight)
    }
}

/// These with one in the place of another.
pub(super) fn swapped(to: &BTreeSet<NodeId>, out: NodeId, id: NodeId) -> BTreeSet<NodeId> {
    to.iter().copied().filter(|kept| *kept != out).chain([id]).collect()
}

/// The largest odd number of voters up to this many; two stand no more losses than one.
fn odd(most: usize) -> usize {
    if most < 3 { 1 } else { most - (1 - most % 2) }
}
