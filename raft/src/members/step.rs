//! What to do next on the way from one membership to another: a pure function of how the group stands, so that a
//! leader who takes over in the middle goes on where the last one stopped. Nothing is remembered between two steps.

use std::collections::{BTreeMap, BTreeSet};

use crate::NodeId;

/// How far a replica may be behind when it begins to vote or to lead: less than a busy round.
pub(crate) const CAUGHT_UP_ENTRIES: u64 = 64;

type Nodes = BTreeSet<NodeId>;

/// The membership that a group should come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Who votes. Never empty.
    pub voters: BTreeSet<NodeId>,
    /// Who else has the log and the state, and does not vote. Whoever is named in both votes.
    pub observers: BTreeSet<NodeId>,
}

/// How a group stands in the eyes of its leader.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) leader: NodeId,
    /// One voter set, or two while the membership changes.
    pub(crate) sets: Vec<Nodes>,
    pub(crate) observers: Nodes,
    /// Whom the detector hears, the leader included.
    pub(crate) alive: Nodes,
    /// Entries that a replica is known to be behind.
    pub(crate) behind: BTreeMap<NodeId, u64>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is as wished.
    Nothing,
    /// Gives these the log, without a vote.
    AddObservers(Nodes),
    /// These get nothing more.
    RemoveObservers(Nodes),
    /// These must catch up before they vote; `None`: nothing is known of them yet.
    AwaitCatchUp(BTreeMap<NodeId, Option<u64>>),
    /// These must be heard before they vote, or too few of those who would vote are heard.
    AwaitLife(Nodes),
    /// Somebody else must lead.
    HandOver(NodeId),
    /// These vote from now on, by way of a joint change or at the end of one.
    SetVoters(Nodes),
}

impl Standing {
    /// The next step towards `wish`.
    pub(crate) fn next(&self, wish: &Wish) -> Step {
        assert!(!wish.voters.is_empty(), "a group needs voters");
        if let [before, after] = self.sets.as_slice() {
            // Back, when that is the wish: the old set may be all that is still alive.
            let to = if *before == wish.voters { before } else { after };
            return self.hand_over_outside(to).unwrap_or_else(|| Step::SetVoters(to.clone()));
        }
        let voters = &self.sets[0];
        let wanted: Nodes = wish.voters.union(&wish.observers).copied().collect();
        let known: Nodes = voters.union(&self.observers).copied().collect();
        let missing: Nodes = wanted.difference(&known).copied().collect();
        if !missing.is_empty() {
            return Step::AddObservers(missing);
        }
        let unwanted: Nodes = self.observers.difference(&wanted).copied().collect();
        if !unwanted.is_empty() {
            return Step::RemoveObservers(unwanted);
        }
        if *voters == wish.voters {
            return self.hand_over_outside(voters).unwrap_or(Step::Nothing);
        }
        self.change(voters, &wish.voters)
    }

    /// From one voter set to another, once those who come are there and have caught up.
    fn change(&self, voters: &Nodes, wished: &Nodes) -> Step {
        let newcomers: Nodes = wished.difference(voters).copied().collect();
        let unheard: Nodes = newcomers.difference(&self.alive).copied().collect();
        if !unheard.is_empty() {
            return Step::AwaitLife(unheard);
        }
        if wished.intersection(&self.alive).count() * 2 <= wished.len() {
            return Step::AwaitLife(wished.difference(&self.alive).copied().collect());
        }
        let late: BTreeMap<NodeId, Option<u64>> = newcomers
            .iter()
            .filter(|node| !self.has_caught_up(**node))
            .map(|node| (*node, self.behind.get(node).copied()))
            .collect();
        if !late.is_empty() {
            return Step::AwaitCatchUp(late);
        }
        if let Some(step) = self.hand_over_outside(wished) {
            return step;
        }
        let mut to = wished.clone();
        if !to.contains(&self.leader) {
            // Nobody of the wished can lead yet: they vote beside this leader first.
            to.insert(self.leader);
        }
        Step::SetVoters(to)
    }

    /// A leader that shall not vote hands over to one that shall, votes already and can take over at once.
    fn hand_over_outside(&self, voters: &Nodes) -> Option<Step> {
        if voters.contains(&self.leader) {
            return None;
        }
        let can_lead = |node: &&NodeId| {
            self.sets.iter().any(|set| set.contains(node))
                && self.alive.contains(node)
                && self.has_caught_up(**node)
        };
        voters.iter().find(can_lead).map(|node| Step::HandOver(*node))
    }

    fn has_caught_up(&self, node: NodeId) -> bool {
        node == self.leader
            || self.behind.get(&node).is_some_and(|behind| *behind <= CAUGHT_UP_ENTRIES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[u64]) -> Nodes {
        ids.iter().copied().map(NodeId).collect()
    }

    fn wish(voters: &[u64], observers: &[u64]) -> Wish {
        Wish { voters: nodes(voters), observers: nodes(observers) }
    }

    /// Node 1 leads, everybody is heard and has caught up.
    fn standing(sets: &[&[u64]], observers: &[u64]) -> Standing {
        let all: Nodes = sets.iter().flat_map(|set| nodes(set)).chain(nodes(observers)).collect();
        Standing {
            leader: NodeId(1),
            sets: sets.iter().map(|set| nodes(set)).collect(),
            observers: nodes(observers),
            alive: all.clone(),
            behind: all.into_iter().map(|node| (node, 0)).collect(),
        }
    }

    #[test]
    fn whoever_comes_observes_before_it_votes() {
        let alone = standing(&[&[1]], &[]);
        let grown = wish(&[1, 2, 3], &[4]);
        assert_eq!(alone.next(&grown), Step::AddObservers(nodes(&[2, 3, 4])));
        let mut known = standing(&[&[1]], &[2, 3, 4]);
        known.behind.insert(NodeId(2), CAUGHT_UP_ENTRIES + 1);
        known.behind.remove(&NodeId(3));
        let late = BTreeMap::from([(NodeId(2), Some(CAUGHT_UP_ENTRIES + 1)), (NodeId(3), None)]);
        assert_eq!(known.next(&grown), Step::AwaitCatchUp(late));
        let ready = standing(&[&[1]], &[2, 3, 4]);
        assert_eq!(ready.next(&grown), Step::SetVoters(nodes(&[1, 2, 3])));
        assert_eq!(standing(&[&[1, 2, 3]], &[4]).next(&grown), Step::Nothing);
    }

    #[test]
    fn whoever_is_not_heard_gets_no_vote_and_no_set_loses_its_quorum() {
        let mut silent = standing(&[&[1, 2, 3]], &[4, 5]);
        silent.alive.remove(&NodeId(4));
        assert_eq!(silent.next(&wish(&[1, 2, 4], &[3, 5])), Step::AwaitLife(nodes(&[4])));
        silent.alive = nodes(&[1, 4]);
        // 4 is there, but with 2 and 3 silent it would be one of three.
        assert_eq!(silent.next(&wish(&[2, 3, 4], &[1, 5])), Step::AwaitLife(nodes(&[2, 3])));
    }

    #[test]
    fn a_leader_that_shall_not_vote_hands_over_first() {
        let mut led = standing(&[&[1, 2, 3]], &[4]);
        led.behind.insert(NodeId(2), 1_000);
        assert_eq!(led.next(&wish(&[2, 3, 4], &[1])), Step::HandOver(NodeId(3)));
        // Nobody of the wished votes yet: they vote beside the leader, then it hands over.
        assert_eq!(
            standing(&[&[1]], &[2]).next(&wish(&[2], &[1])),
            Step::SetVoters(nodes(&[1, 2]))
        );
        assert_eq!(standing(&[&[1, 2]], &[]).next(&wish(&[2], &[1])), Step::HandOver(NodeId(2)));
        // It has lost its vote already and still leads.
        assert_eq!(
            standing(&[&[2, 3, 4]], &[1]).next(&wish(&[2, 3, 4], &[1])),
            Step::HandOver(NodeId(2))
        );
    }

    #[test]
    fn a_change_that_was_begun_is_ended_or_taken_back() {
        let begun = standing(&[&[1, 2, 3], &[1, 4, 5]], &[]);
        let ended = Step::SetVoters(nodes(&[1, 4, 5]));
        assert_eq!(begun.next(&wish(&[1, 4, 5], &[])), ended);
        assert_eq!(begun.next(&wish(&[1, 2, 3], &[])), Step::SetVoters(nodes(&[1, 2, 3])));
        // A third wish waits until this one has ended.
        assert_eq!(begun.next(&wish(&[1, 2, 4], &[])), ended);
    }

    #[test]
    fn whoever_is_not_wished_is_removed_and_an_old_voter_observes() {
        let old = standing(&[&[1, 2, 4]], &[3, 9]);
        assert_eq!(old.next(&wish(&[1, 2, 4], &[3])), Step::RemoveObservers(nodes(&[9])));
        let done = standing(&[&[1, 2, 4]], &[3]);
        assert_eq!(done.next(&wish(&[1, 2, 4], &[3])), Step::Nothing);
    }

    /// Walks every path of steps from one membership to another and looks at each place in between.
    #[test]
    fn every_walk_ends_and_no_step_leaves_the_group_without_a_leader_that_votes() {
        let sets = [&[1][..], &[1, 2, 3], &[1, 2, 4], &[2], &[3, 4, 5], &[1, 2, 3, 4, 5]];
        for from in sets {
            for to in sets {
                let mut at = standing(&[from], &[]);
                at.leader = *nodes(from).first().expect("not empty");
                let wish = wish(to, &[1, 2, 3, 4, 5]);
                let mut steps = 0;
                loop {
                    match at.next(&wish) {
                        Step::Nothing => break,
                        Step::AddObservers(more) => {
                            at.observers.extend(&more);
                            at.alive.extend(&more);
                            at.behind.extend(more.iter().map(|node| (*node, 0)));
                        }
                        Step::HandOver(node) => {
                            assert!(at.sets.iter().any(|set| set.contains(&node)));
                            at.leader = node;
                        }
                        Step::SetVoters(set) => {
                            assert!(set.contains(&at.leader), "the leader votes afterwards");
                            at.observers.extend(at.sets[0].iter().copied());
                            at.observers = at.observers.difference(&set).copied().collect();
                            at.sets = vec![set];
                        }
                        other => panic!("nobody has to wait: {other:?}"),
                    }
                    steps += 1;
                    assert!(steps < 8, "{from:?} to {to:?} does not end");
                }
                assert_eq!(at.sets, [nodes(to)]);
                assert!(at.sets[0].contains(&at.leader));
            }
        }
    }
}
