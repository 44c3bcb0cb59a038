//! Operators at work while everybody talks: a node leads nothing for a while, leadership goes where it was not, votes move
//! from one node to others and back. All of it through the operators' interface, none of it harm in itself.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::{Cluster, Setback, within};
use crate::dice::Dice;
use crate::nemesis::schedule::{Kind, Toll};
use crate::nemesis::{Fault, Installed, Scope, Skipped};

/// Votes that go back to their node have done so by then.
const RESTS_WITHIN: Duration = Duration::from_secs(20);
/// How often the plan is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nemesis) enum Work {
    /// A node leads nothing, and may again.
    Drain,
    /// One node is to lead every shard in which it votes.
    Transfer,
    /// A node is to go: its votes move to others. One shard is frozen, so that it is never forgotten; then it may stay.
    Move,
}

/// An operator.
#[derive(Debug)]
pub(in crate::nemesis) struct Operator {
    name: &'static str,
    work: Work,
    node: u8,
    /// The shards in which the node voted before.
    votes: Vec<u64>,
    begun: bool,
    /// It was told to go.
    leaves: bool,
}

impl Operator {
    pub(in crate::nemesis) fn new(name: &'static str, work: Work) -> Self {
        Self { name, work, node: 0, votes: Vec::new(), begun: false, leaves: false }
    }

    fn votes_now(&self, cluster: &mut Cluster) -> Result<Vec<u64>, Setback> {
        let shown = cluster.operate(&["node", "show", &self.node.to_string()])?;
        let votes = shown["votes"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(votes.iter().filter_map(Value::as_u64).collect())
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<String, Setback> {
        let node = self.node.to_string();
        self.begun = true;
        match self.work {
            Work::Drain => {
                cluster.operate(&["node", "drain", &node])?;
            }
            Work::Transfer => {
                for shard in &self.votes {
                    cluster.operate(&["shard", "transfer", &shard.to_string(), "--to", &node])?;
                }
            }
            Work::Move => {
                cluster.operate(&["shard", "freeze", &self.votes[0].to_string()])?;
                // A move that had begun goes on whatever is frozen, and might take the last vote away.
                if !rests(cluster)? || !self.votes_now(cluster)?.contains(&self.votes[0]) {
                    return Err(Setback::new("votes were moving already"));
                }
                self.leaves = true;
                cluster.operate(&["node", "decommission", &node])?;
            }
        }
        Ok(format!("n{node}, which voted in {:?}", self.votes))
    }
}

/// Whether no vote is on its way and none is to be.
fn rests(cluster: &mut Cluster) -> Result<bool, Setback> {
    let plan = cluster.operate(&["rebalance", "status"])?;
    let is_empty = |name: &str| plan[name].as_array().is_none_or(Vec::is_empty);
    Ok(is_empty("moving") && is_empty("moves"))
}

impl Fault for Operator {
    fn kind(&self) -> Kind {
        Kind { name: self.name, toll: Toll::Nothing, leader: self.work == Work::Drain }
    }

    fn install(
        &mut self,
        cluster: &mut Cluster,
        dice: &mut Dice,
        scope: &Scope,
    ) -> Result<Installed, Skipped> {
        self.node = match self.work {
            Work::Drain => scope.victims[0],
            Work::Transfer | Work::Move => *dice.pick(&scope.victims),
        };
        let rests = || rests(cluster).is_ok_and(|rests| rests).then_some(());
        if self.work == Work::Move && within(RESTS_WITHIN, LOOK, rests).is_none() {
            return Err(Skipped::new("votes are still moving"));
        }
        self.votes = self.votes_now(cluster)?;
        let least = if self.work == Work::Move { 2 } else { 1 };
        if self.votes.len() < least {
            return Err(Skipped::new(format!("n{} has too few votes to move", self.node)));
        }
        match self.begin(cluster) {
            Ok(detail) => Ok(Installed::new(detail)),
            Err(setback) => {
                // What was begun is undone, if it can be.
                let _ = self.heal(cluster);
                Err(setback.into())
            }
        }
    }

    fn verify(&mut self, cluster: &mut Cluster) -> Result<String, String> {
        let leads = |cluster: &Cluster| {
            let led = cluster.leaders();
            led.into_iter().filter(|(_, (node, _))| *node == self.node).count()
        };
        match self.work {
            Work::Drain => match leads(cluster) {
                0 => Ok(format!("n{} leads nothing", self.node)),
                count => Err(format!("n{} still leads {count}", self.node)),
            },
            Work::Transfer => match leads(cluster) {
                count if count >= self.votes.len() => Ok(format!("n{} leads {count}", self.node)),
                count => Err(format!("n{} leads {count} only", self.node)),
            },
            Work::Move => {
                let votes = self.votes_now(cluster).map_err(|setback| setback.to_string())?;
                match votes.len() < self.votes.len() {
                    true => Ok(format!("n{} votes in {votes:?} now", self.node)),
                    false => Err(format!("n{} still votes everywhere", self.node)),
                }
            }
        }
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<(), Setback> {
        if !std::mem::take(&mut self.begun) {
            return Ok(());
        }
        let node = self.node.to_string();
        match self.work {
            Work::Drain => cluster.operate(&["node", "undrain", &node]).map(drop),
            Work::Transfer => Ok(()),
            Work::Move => {
                if std::mem::take(&mut self.leaves) {
                    cluster.operate(&["node", "decommission", &node, "--undo"])?;
                }
                let frozen = self.votes[0].to_string();
                cluster.operate(&["shard", "freeze", &frozen, "--off"]).map(drop)
            }
        }
    }
}
