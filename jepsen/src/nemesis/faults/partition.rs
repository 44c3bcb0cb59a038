//! Who hears whom: partitions of every shape, by what each host refuses to hear.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, Host, Setback};
use crate::dice::Dice;
use crate::nemesis::schedule::{Kind, Toll};
use crate::nemesis::{Fault, Installed, Scope, Skipped};
use crate::net::{Counter, Deafness};

use super::names;

/// A shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nemesis) enum Shape {
    /// One node hears no other node, and no other hears it.
    Isolate,
    /// The same for whoever leads most.
    IsolateLeader,
    /// All victims on one side, the others on the other.
    Halves,
    /// Everybody hears a majority, but no two the same: only from five nodes on.
    Ring,
    /// Two nodes do not hear each other; the others hear both.
    Bridge,
    /// A node sends, but hears nobody.
    Deaf,
    /// A node hears, but nobody hears it.
    Mute,
    /// Clients do not reach a node.
    Clients,
    /// Clients are answered with a reset by a node.
    ClientsReset,
    /// Clients reach no node.
    ClientsAll,
}

/// Somebody is not heard.
#[derive(Debug)]
pub(in crate::nemesis) struct Partition {
    name: &'static str,
    shape: Shape,
    /// Who does not hear whom now, with what its counter said before.
    cuts: BTreeMap<Host, u64>,
    unseen: Option<(u8, Vec<u8>)>,
}

impl Partition {
    pub(in crate::nemesis) fn new(name: &'static str, shape: Shape) -> Self {
        Self { name, shape, cuts: BTreeMap::new(), unseen: None }
    }

    fn counter(&self) -> Counter {
        if self.shape == Shape::ClientsReset { Counter::Refused } else { Counter::Cut }
    }
}

/// Who does not hear whom. Pure.
fn deaf_ears(
    shape: Shape,
    all: &[u8],
    victims: &[u8],
    dice: &mut Dice,
) -> BTreeMap<Host, Vec<Host>> {
    let victim = victims[0];
    let others: Vec<u8> = all.iter().copied().filter(|node| *node != victim).collect();
    let mut ears: BTreeMap<Host, Vec<Host>> = BTreeMap::new();
    let mut cut = |listener: Host, speaker: Host| ears.entry(listener).or_default().push(speaker);
    let node = Host::Node;
    match shape {
        Shape::Isolate | Shape::IsolateLeader => {
            for other in &others {
                cut(node(victim), node(*other));
                cut(node(*other), node(victim));
            }
        }
        Shape::Halves => {
            for (here, there) in pairs(all) {
                if victims.contains(&here) != victims.contains(&there) {
                    cut(node(here), node(there));
                }
            }
        }
        Shape::Ring => {
            for (here, there) in pairs(all) {
                let far = here.abs_diff(there);
                let reach = u8::try_from(all.len() / 4).expect("few nodes");
                let length = u8::try_from(all.len()).expect("few nodes");
                if far.min(length - far) > reach {
                    cut(node(here), node(there));
                }
            }
        }
        Shape::Bridge => {
            let other = *dice.pick(&others);
            cut(node(victim), node(other));
            cut(node(other), node(victim));
        }
        Shape::Deaf => others.iter().for_each(|other| cut(node(victim), node(*other))),
        Shape::Mute => others.iter().for_each(|other| cut(node(*other), node(victim))),
        Shape::Clients | Shape::ClientsReset => cut(node(victim), Host::Client),
        Shape::ClientsAll => all.iter().for_each(|every| cut(node(*every), Host::Client)),
    }
    ears
}

/// All ordered pairs of different nodes.
fn pairs(all: &[u8]) -> impl Iterator<Item = (u8, u8)> + '_ {
    let both = |here: u8| all.iter().map(move |there| (here, *there));
    all.iter().copied().flat_map(both).filter(|(here, there)| here != there)
}

impl Fault for Partition {
    fn kind(&self) -> Kind {
        let toll = match self.shape {
            Shape::Ring | Shape::ClientsAll => Toll::Quorum,
            _ => Toll::Victims,
        };
        Kind { name: self.name, toll, leader: self.shape == Shape::IsolateLeader }
    }

    fn install(
        &mut self,
        cluster: &mut Cluster,
        dice: &mut Dice,
        scope: &Scope,
    ) -> Result<Installed, Skipped> {
        let all = cluster.all();
        if self.shape == Shape::Ring && all.len() < 5 {
            return Err(Skipped::new("a ring of majorities needs five nodes"));
        }
        let ears = deaf_ears(self.shape, &all, &scope.victims, dice);
        let mut detail = Vec::new();
        for (listener, speakers) in &ears {
            let wall = cluster.network().wall(*listener);
            self.cuts.insert(*listener, wall.count(self.counter())?);
            let speakers: Vec<String> = speakers.iter().map(|host| host.name()).collect();
            detail.push(format!("{} hears not {}", listener.name(), speakers.join(" ")));
        }
        let reset = self.shape == Shape::ClientsReset;
        cluster.network_mut().deafen(self.name, Deafness { ears, reset })?;
        self.unseen = match self.shape {
            Shape::Isolate | Shape::IsolateLeader | Shape::Mute => {
                let victim = scope.victims[0];
                Some((victim, all.into_iter().filter(|node| *node != victim).collect()))
            }
            _ => None,
        };
        Ok(Installed::new(detail.join(", ")))
    }

    fn verify(&mut self, cluster: &mut Cluster) -> Result<String, String> {
        let mut dropped = 0;
        for (host, before) in &self.cuts {
            let now = cluster.network().wall(*host).count(self.counter());
            let new = now.map_err(|error| error.to_string())?.saturating_sub(*before);
            if new == 0 {
                return Err(format!("{} has not been spoken to", host.name()));
            }
            dropped += new;
        }
        let eyes = cluster.eyes();
        if let Some((victim, others)) = &self.unseen {
            let sees = others.iter().filter(|other| eyes.sees(**other, *victim) != Some(false));
            if sees.count() > 0 {
                return Err(format!("n{victim} is still heard"));
            }
            return Ok(format!(
                "{dropped} packets dropped, {} hold n{victim} for dead",
                names(others)
            ));
        }
        Ok(format!("{dropped} packets dropped"))
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<(), Setback> {
        self.unseen = None;
        self.cuts.clear();
        cluster.network_mut().undeafen(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ears(shape: Shape, nodes: u8, victims: &[u8]) -> Vec<(Host, Vec<Host>)> {
        let all: Vec<u8> = (1..=nodes).collect();
        deaf_ears(shape, &all, victims, &mut Dice::new(1, 1)).into_iter().collect()
    }

    fn hears(ears: &[(Host, Vec<Host>)], listener: u8, speaker: u8) -> bool {
        let cut = |(host, from): &(Host, Vec<Host>)| {
            *host == Host::Node(listener) && from.contains(&Host::Node(speaker))
        };
        !ears.iter().any(cut)
    }

    #[test]
    fn a_mute_node_hears_and_is_not_heard_and_a_deaf_one_the_reverse() {
        let mute = ears(Shape::Mute, 3, &[2]);
        assert!(
            hears(&mute, 2, 1) && !hears(&mute, 1, 2) && !hears(&mute, 3, 2) && hears(&mute, 1, 3)
        );
        let deaf = ears(Shape::Deaf, 3, &[2]);
        assert!(!hears(&deaf, 2, 1) && !hears(&deaf, 2, 3) && hears(&deaf, 1, 2));
    }

    #[test]
    fn in_a_ring_everybody_hears_a_majority_and_nobody_the_same() {
        let ring = ears(Shape::Ring, 5, &[1]);
        let heard = |n: u8| (1..=5).filter(|m| n == *m || hears(&ring, n, *m)).collect::<Vec<_>>();
        for node in 1..=5 {
            assert_eq!(heard(node).len(), 3, "{:?}", heard(node));
            assert!((1..=5).all(|other| other == node || heard(other) != heard(node)));
        }
    }

    #[test]
    fn halves_do_not_hear_each_other_and_a_bridge_is_heard_by_both() {
        let halves = ears(Shape::Halves, 5, &[2, 4]);
        assert!(
            hears(&halves, 2, 4)
                && hears(&halves, 1, 5)
                && !hears(&halves, 1, 2)
                && !hears(&halves, 4, 3)
        );
        let bridge = ears(Shape::Bridge, 3, &[1]);
        assert_eq!(bridge.len(), 2, "one pair, both ways: {bridge:?}");
    }
}
