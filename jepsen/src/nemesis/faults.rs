//! The faults themselves, by what they break.

pub(super) mod crash;
pub(super) mod membership;
pub(super) mod partition;
pub(super) mod resources;
pub(super) mod rot;
pub(super) mod split;
pub(super) mod storage;
pub(super) mod storms;
pub(super) mod time;
pub(super) mod traffic;
pub(super) mod unbuilt;

use crate::cluster::Cluster;
use crate::dice::Dice;

use super::schedule::{Kind, Toll};
use super::{Scope, Skipped};

/// How many a fault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// One of the victims.
    One,
    /// All victims.
    Minority,
    /// Whoever leads most: the first of the victims.
    Leader,
    /// One more than half of all nodes.
    Majority,
    /// Every node.
    All,
}

impl Who {
    /// What a fault takes that takes these away.
    fn toll(self) -> Toll {
        match self {
            Self::One | Self::Minority | Self::Leader => Toll::Victims,
            Self::Majority | Self::All => Toll::Quorum,
        }
    }

    /// A kind of this name that takes these away.
    fn kind(self, name: &'static str) -> Kind {
        Kind { name, toll: self.toll(), leader: self == Self::Leader }
    }

    /// The running nodes that are meant.
    fn choose(self, cluster: &Cluster, dice: &mut Dice, scope: &Scope) -> Result<Vec<u8>, Skipped> {
        let mut chosen = match self {
            Self::One => vec![*dice.pick(&scope.victims)],
            Self::Leader => vec![scope.victims[0]],
            Self::Minority => scope.victims.clone(),
            Self::All => cluster.all(),
            Self::Majority => {
                let mut all = cluster.all();
                while all.len() > usize::from(cluster.nodes() / 2 + 1) {
                    all.swap_remove(dice.index(all.len()));
                }
                all
            }
        };
        chosen.retain(|node| cluster.running(*node));
        if chosen.is_empty() {
            return Err(Skipped::new("whoever is meant does not run"));
        }
        Ok(chosen)
    }
}

/// `n1, n3`.
fn names(nodes: &[u8]) -> String {
    nodes.iter().map(|node| format!("n{node}")).collect::<Vec<_>>().join(", ")
}

/// The one victim of a fault that hits one running node.
fn one(cluster: &Cluster, dice: &mut Dice, scope: &Scope) -> Result<u8, Skipped> {
    Who::One.choose(cluster, dice, scope).map(|nodes| nodes[0])
}
