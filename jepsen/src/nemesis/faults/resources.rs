//! Too little of something: processor time, memory, open files.

use std::net::TcpStream;
use std::time::Duration;

use crate::cluster::{Cluster, Doing as _, Host, Setback};
use crate::dice::Dice;
use crate::nemesis::schedule::{Kind, Toll};
use crate::nemesis::{Fault, Installed, Scope, Skipped};

/// What a starved node gets of one core, percent.
const CPU_PERCENT: u64 = 15;
/// Memory that a node still gets on top of what it has.
const MEMORY_SPARE_BYTES: u64 = 1 << 20;
/// How many limits are tried.
const LIMITS_MAX: u64 = 64;
/// Files that a node may still open.
const FILES_SPARE: usize = 3;
/// Connections that take them.
const CONNECTIONS: usize = 24;
/// A connection that is not taken within this is not taken.
const KNOCK_PATIENCE: Duration = Duration::from_millis(200);

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nemesis) enum Thing {
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Open files.
    Files,
}

/// One node has too little of something.
#[derive(Debug)]
pub(in crate::nemesis) struct Want {
    name: &'static str,
    thing: Thing,
    victim: Option<u8>,
    before: u64,
    limit: usize,
    connections: Vec<TcpStream>,
}

impl Want {
    pub(in crate::nemesis) fn new(name: &'static str, thing: Thing) -> Self {
        Self { name, thing, victim: None, before: 0, limit: 0, connections: Vec::new() }
    }

    fn measure(&self, cluster: &Cluster, node: u8) -> Result<u64, Setback> {
        match self.thing {
            Thing::Cpu => cluster.node(node).groups.cpu_waits(),
            Thing::Memory => cluster.node(node).groups.memory().map(|(_, refused)| refused),
            Thing::Files => Ok(0),
        }
    }

    /// Connections from the clients' side that stay open and take the files that are left.
    fn crowd(&mut self, cluster: &Cluster, node: u8) -> Result<(), Setback> {
        let door = cluster.client_addr(node);
        let connect = |_| TcpStream::connect_timeout(&door, KNOCK_PATIENCE).ok();
        let clients = cluster.network().host(Host::Client);
        self.connections = clients.inside(|| (0..CONNECTIONS).filter_map(connect).collect())?;
        Ok(())
    }
}

/// Memory of a process that cannot be dropped, bytes.
fn kept_memory(pid: u32) -> Result<u64, Setback> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).doing(&path)?;
    kept(&text).ok_or_else(|| Setback::new(format!("no RssAnon in {path}")))
}

fn kept(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

impl Fault for Want {
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
        self.before = self.measure(cluster, victim)?;
        let node = cluster.node_mut(victim);
        let detail = match self.thing {
            Thing::Cpu => {
                node.groups.limit_cpu(Some(CPU_PERCENT))?;
                format!("n{victim}, {CPU_PERCENT} % of a core")
            }
            Thing::Memory => {
                let process =
                    node.process.as_ref().ok_or_else(|| Skipped::new("it does not run"))?;
                let kept = kept_memory(process.pid())?;
                // What the kernel keeps for it counts too, and is not known: the lowest limit that it accepts.
                let limits = (1..=LIMITS_MAX).map(|step| kept + step * MEMORY_SPARE_BYTES);
                let limit =
                    limits.into_iter().find(|limit| node.groups.limit_memory(Some(*limit)).is_ok());
                let limit = limit.ok_or_else(|| Skipped::new("the kernel accepts no limit"))?;
                format!("n{victim}, {} MiB", limit >> 20)
            }
            Thing::Files => {
                self.limit = node.open_files()? + FILES_SPARE;
                node.limit_files(Some(self.limit))?;
                self.crowd(cluster, victim)?;
                format!("n{victim}, {} files", self.limit)
            }
        };
        self.victim = Some(victim);
        Ok(Installed::new(detail))
    }

    fn verify(&mut self, cluster: &mut Cluster) -> Result<String, String> {
        let victim = self.victim.ok_or("not installed")?;
        if self.thing == Thing::Files {
            let open = cluster.node(victim).open_files().map_err(|error| error.to_string())?;
            let full = open + 1 >= self.limit;
            let what = format!("{open} of {} files open", self.limit);
            return if full { Ok(what) } else { Err(what) };
        }
        let now = self.measure(cluster, victim).map_err(|error| error.to_string())?;
        let ended = cluster.node_mut(victim).process.as_mut().and_then(|process| process.ended());
        let more = now.saturating_sub(self.before);
        match (ended, more) {
            (Some(status), _) => Ok(format!("the node ended by itself, {status}")),
            (None, 0) => Err("it has enough".to_owned()),
            (None, more) => Ok(format!("{more} times it had to wait for more")),
        }
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<(), Setback> {
        self.connections.clear();
        let Some(victim) = self.victim.take() else { return Ok(()) };
        let node = cluster.node_mut(victim);
        match self.thing {
            Thing::Cpu => node.groups.limit_cpu(None)?,
            Thing::Memory => node.groups.limit_memory(None)?,
            Thing::Files => node.limit_files(None)?,
        }
        cluster.notice_ends();
        cluster.start(victim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_cannot_be_dropped_is_read_in_bytes() {
        assert_eq!(kept("VmRSS:\t  900 kB\nRssAnon:\t     512 kB\n"), Some(512 << 10));
        assert_eq!(kept("VmRSS:\t  900 kB\n"), None);
    }
}
