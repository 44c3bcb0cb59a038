//! Bytes at rest that are damaged: a node is stopped, one of its files is damaged, and it is started again.
//!
//! The node may refuse to start, naming the place, or serve: both are right as long as no promise is broken, and whether one is
//! is the checkers' business. When it heals, what is still damaged is put back, so that the cluster can be whole.

use std::path::PathBuf;

use crate::cluster::{Cluster, Setback, shell};
use crate::dice::Dice;
use crate::disk::{Damage, Wound, files};
use crate::nemesis::schedule::{Kind, Toll};
use crate::nemesis::{Fault, Installed, Scope, Skipped};

/// Which files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nemesis) enum Where {
    /// Segments of the journal.
    Journal,
    /// Files of the tables.
    Tables,
}

/// A file of a stopped node is damaged.
#[derive(Debug)]
pub(in crate::nemesis) struct Rot {
    name: &'static str,
    place: Where,
    damage: Damage,
    hit: Option<(u8, Wound)>,
    seen: Option<String>,
    served: bool,
}

impl Rot {
    pub(in crate::nemesis) fn new(name: &'static str, place: Where, damage: Damage) -> Self {
        Self { name, place, damage, hit: None, seen: None, served: false }
    }
}

/// Where a node's folder is kept as it was before.
fn copy_of(cluster: &Cluster, node: u8) -> PathBuf {
    cluster.home().join(format!("n{node}.before"))
}

/// Makes `to` what `from` is.
fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<(), Setback> {
    let (from, to) = (from.to_string_lossy(), to.to_string_lossy());
    shell::run("rm", &["-rf", &*to])?;
    shell::run("cp", &["-a", "--sparse=always", &*from, &*to])?;
    // What is put back here must survive the next cut of power as if the node itself had written it.
    shell::run("sync", &["-f", &*to]).map(drop)
}

/// Whether a path within a node's data folder is of the journal.
fn of_journal(path: &str) -> bool {
    path.starts_with("journal/")
}

/// Whether a path within a node's data folder is of the tables.
fn of_tables(path: &str) -> bool {
    path.starts_with("tables/") && !path.ends_with("lock")
}

impl Fault for Rot {
    fn kind(&self) -> Kind {
        Kind { name: self.name, toll: Toll::Victims, leader: false }
    }

    fn install(
        &mut self,
        cluster: &mut Cluster,
        dice: &mut Dice,
        scope: &Scope,
    ) -> Result<Installed, Skipped> {
        let victim = super::one(cluster, dice, scope)?;
        cluster.kill(victim)?;
        let data = cluster.data(victim);
        copy(&data, &copy_of(cluster, victim))?;
        let accept: &dyn Fn(&str) -> bool = match self.place {
            Where::Journal => &of_journal,
            Where::Tables => &of_tables,
        };
        let mut found = files(&data, accept);
        while !found.is_empty() {
            let (path, bytes) = found.swap_remove(dice.index(found.len()));
            // A file that holds nothing yet cannot rot.
            let Ok(wound) = Wound::inflict(&path, self.damage, dice) else { continue };
            let within = path.strip_prefix(&data).unwrap_or(&path).display().to_string();
            let detail =
                format!("n{victim}: {:?} in {within} at {} of {bytes}", self.damage, wound.offset);
            self.hit = Some((victim, wound));
            (self.seen, self.served) = (None, false);
            cluster.start(victim)?;
            return Ok(Installed::new(detail));
        }
        cluster.start(victim)?;
        Err(Skipped::new("there is no such file yet"))
    }

    fn verify(&mut self, cluster: &mut Cluster) -> Result<String, String> {
        if let Some(seen) = &self.seen {
            return Ok(seen.clone());
        }
        let Some((victim, _)) = self.hit else { return Err("not installed".to_owned()) };
        let ended = cluster.node_mut(victim).process.as_mut().and_then(|process| process.ended());
        let seen = match ended {
            Some(status) => format!("it refuses, {status}: {}", cluster.node(victim).log_tail(1)),
            None if cluster.eyes().ready(victim) => {
                self.served = true;
                "it serves nevertheless".to_owned()
            }
            None => return Err("it neither serves nor refuses yet".to_owned()),
        };
        self.seen = Some(seen.clone());
        Ok(seen)
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<(), Setback> {
        let Some((victim, wound)) = self.hit.take() else { return Ok(()) };
        self.served |= cluster.eyes().ready(victim);
        cluster.kill(victim)?;
        let (copied, data) = (copy_of(cluster, victim), cluster.data(victim));
        if self.served {
            wound.close()?;
        } else {
            copy(&copied, &data)?;
        }
        shell::run("rm", &["-rf", &*copied.to_string_lossy()])?;
        cluster.notice_ends();
        cluster.start(victim)
    }
}
