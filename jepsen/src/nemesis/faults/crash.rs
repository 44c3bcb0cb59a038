//! Processes that end or stand still: SIGKILL, loss of power, SIGSTOP, the freezer.

use crate::cluster::{Cluster, Setback};
use crate::dice::Dice;
use crate::nemesis::schedule::Kind;
use crate::nemesis::{Fault, Installed, Scope, Skipped};

use super::{Who, names};

/// How a node goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nemesis) enum How {
    /// SIGKILL: what it wrote stays in the machine's memory.
    Kill,
    /// Its disk loses power with it: what it did not sync is gone.
    Power,
    /// SIGSTOP.
    Pause,
    /// The freezer of its control group.
    Freeze,
}

/// Nodes go, and come back when it heals.
#[derive(Debug)]
pub(in crate::nemesis) struct Crash {
    name: &'static str,
    how: How,
    who: Who,
    gone: Vec<u8>,
}

impl Crash {
    pub(in crate::nemesis) fn new(name: &'static str, how: How, who: Who) -> Self {
        Self { name, how, who, gone: Vec::new() }
    }
}

impl Fault for Crash {
    fn kind(&self) -> Kind {
        self.who.kind(self.name)
    }

    fn install(
        &mut self,
        cluster: &mut Cluster,
        dice: &mut Dice,
        scope: &Scope,
    ) -> Result<Installed, Skipped> {
        let nodes = self.who.choose(cluster, dice, scope)?;
        let mut detail = names(&nodes);
        match self.how {
            How::Kill => drop(cluster.kill_all(&nodes)?),
            How::Power => {
                if !nodes.iter().all(|node| cluster.node(*node).disk.is_image()) {
                    return Err(Skipped::new("its disk is no image of its own"));
                }
                let took = cluster.power_loss(&nodes)?;
                detail += &format!(" within {} µs", took.as_micros());
            }
            How::Pause => {
                for node in &nodes {
                    cluster.pause(*node)?;
                }
            }
            How::Freeze => {
                for node in &nodes {
                    cluster.node(*node).groups.freeze(true)?;
                }
            }
        }
        self.gone = nodes;
        Ok(Installed::new(detail))
    }

    fn verify(&mut self, cluster: &mut Cluster) -> Result<String, String> {
        let eyes = cluster.eyes();
        for id in &self.gone {
            let node = cluster.node(*id);
            let still = match self.how {
                How::Kill => !cluster.running(*id),
                How::Power => !cluster.running(*id) && !node.disk.usable(),
                How::Pause => {
                    let (stopped, all) = node.threads_in('T');
                    all > 0 && stopped == all
                }
                How::Freeze => node.groups.frozen().unwrap_or(false),
            };
            if !still {
                return Err(format!("n{id} is still there"));
            }
            // Whoever is gone does not answer at once; whoever stands still would be waited for.
            if matches!(self.how, How::Kill | How::Power) && eyes.alive(*id) {
                return Err(format!("n{id} still answers"));
            }
        }
        let seen = cluster.all().into_iter().filter(|node| !self.gone.contains(node));
        let missed =
            seen.filter(|node| self.gone.iter().all(|gone| eyes.sees(*node, *gone) == Some(false)));
        let what = match self.how {
            How::Kill | How::Power => "gone",
            How::Pause | How::Freeze => "standing still",
        };
        Ok(format!("{} {what}, held for dead by {} others", self.gone.len(), missed.count()))
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<(), Setback> {
        for node in std::mem::take(&mut self.gone) {
            match self.how {
                How::Kill | How::Power => cluster.start(node)?,
                How::Pause => cluster.resume(node)?,
                How::Freeze => cluster.node(node).groups.freeze(false)?,
            }
        }
        Ok(())
    }
}
