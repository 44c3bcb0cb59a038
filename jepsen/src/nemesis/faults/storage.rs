//! Disks that are slow, stand still, are full, are gone, or answer a call with an error.

use crate::cluster::{Cluster, Setback};
use crate::dice::Dice;
use crate::disk::{Dials, Tallies};
use crate::nemesis::schedule::{Kind, Toll};
use crate::nemesis::{Fault, Installed, Scope, Skipped};

/// Bandwidth of a slow disk, bytes a second.
const SLOW_BYTES: u64 = 200 << 10;
/// How much longer a slow sync takes, microseconds.
const SLOW_SYNC_US: i64 = 150_000;
/// A sync that takes so long on average shows that the disk is slow, nanoseconds.
const SLOW_NS: i64 = 30_000_000;
/// `EIO`.
const EIO: i64 = libc::EIO as i64;
/// `ENOSPC`.
const ENOSPC: i64 = libc::ENOSPC as i64;

/// What is wrong with the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nemesis) enum Ailment {
    /// It moves 200 KiB a second.
    Slow,
    /// Nothing is written; whoever writes waits.
    Stalled,
    /// Every sync takes 150 ms longer.
    SlowSync,
    /// It has no space left.
    Full,
    /// It is pulled out while the node runs.
    Gone,
    /// One sync fails, and later ones claim success.
    SyncErrorOnce,
    /// Every sync fails.
    SyncErrors,
    /// Writes fail.
    WriteErrors,
    /// Writes fail for want of space, though there is some.
    WriteFull,
    /// Reads fail.
    ReadErrors,
}

/// One node's disk is ill.
#[derive(Debug)]
pub(in crate::nemesis) struct IllDisk {
    name: &'static str,
    ailment: Ailment,
    victim: Option<u8>,
    before: Tallies,
    ended: Option<String>,
}

impl IllDisk {
    pub(in crate::nemesis) fn new(name: &'static str, ailment: Ailment) -> Self {
        Self { name, ailment, victim: None, before: Tallies::default(), ended: None }
    }

    /// Turns the dials of a shim, for those ailments that come from there.
    fn dial(&self, dials: &mut Dials, ill: bool) {
        let times = |count: i64| if ill { count } else { 0 };
        match self.ailment {
            Ailment::SlowSync => dials.sync_delay_us = times(SLOW_SYNC_US),
            Ailment::SyncErrorOnce => dials.sync_errors = times(1),
            Ailment::SyncErrors => dials.sync_errors = times(-1),
            Ailment::WriteErrors => {
                (dials.write_errors, dials.write_errno) = (times(-1), times(EIO))
            }
            Ailment::WriteFull => {
                (dials.write_errors, dials.write_errno) = (times(-1), times(ENOSPC))
            }
            Ailment::ReadErrors => dials.read_errors = times(-1),
            Ailment::Slow | Ailment::Stalled | Ailment::Full | Ailment::Gone => {}
        }
    }

    fn tallies(cluster: &Cluster, node: u8) -> Tallies {
        let shim = cluster.node(node).shim.as_ref();
        shim.and_then(|shim| shim.tallies().ok()).unwrap_or_default()
    }

    /// What was seen so far; an empty word is nothing.
    fn seen(&self, cluster: &Cluster, node: u8) -> String {
        let (now, before) = (Self::tallies(cluster, node), self.before);
        let some = |count: i64, what: &str| {
            if count > 0 { format!("{count} {what}") } else { String::new() }
        };
        let disk = &cluster.node(node).disk;
        match self.ailment {
            Ailment::Slow => {
                let (syncs, time) = (now.syncs - before.syncs, now.sync_ns - before.sync_ns);
                let mean = time.checked_div(syncs).unwrap_or(0);
                if mean >= SLOW_NS {
                    format!("{syncs} syncs took {} µs on average", mean / 1000)
                } else {
                    String::new()
                }
            }
            Ailment::Stalled => {
                let (waiting, all) = cluster.node(node).threads_in('D');
                if waiting > 0 {
                    format!("{waiting} of {all} threads wait for the disk")
                } else {
                    String::new()
                }
            }
            Ailment::SlowSync => {
                some(now.syncs_delayed - before.syncs_delayed, "syncs took 150 ms longer")
            }
            Ailment::Full => match disk.free() {
                Some(free) if free <= 64 << 10 => format!("{free} bytes free"),
                _ => String::new(),
            },
            Ailment::Gone => self.ended.clone().unwrap_or_default(),
            Ailment::SyncErrorOnce | Ailment::SyncErrors => {
                some(now.syncs_failed - before.syncs_failed, "syncs failed")
            }
            Ailment::WriteErrors | Ailment::WriteFull => {
                some(now.writes_failed - before.writes_failed, "writes failed")
            }
            Ailment::ReadErrors => some(now.reads_failed - before.reads_failed, "reads failed"),
        }
    }
}

impl Fault for IllDisk {
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
        self.before = Self::tallies(cluster, victim);
        self.ended = None;
        let mut detail = format!("n{victim}");
        let node = cluster.node_mut(victim);
        match self.ailment {
            Ailment::Slow => {
                let device = node
                    .disk
                    .device_numbers()
                    .ok_or_else(|| Skipped::new("no image of its own"))?;
                node.groups.limit_disk(&device, Some(SLOW_BYTES))?;
                detail += &format!(", {} KiB/s", SLOW_BYTES >> 10);
            }
            Ailment::Stalled => node.disk.freeze()?,
            Ailment::Full => detail += &format!(", {} MiB taken", node.disk.fill()? >> 20),
            Ailment::Gone => node.disk.cut_power()?,
            _ => node.shim()?.change(|dials| self.dial(dials, true))?,
        }
        self.victim = Some(victim);
        Ok(Installed::new(detail))
    }

    fn verify(&mut self, cluster: &mut Cluster) -> Result<String, String> {
        let victim = self.victim.ok_or("not installed")?;
        if let Some(process) = cluster.node_mut(victim).process.as_mut()
            && let Some(status) = process.ended()
        {
            let last = cluster.node(victim).log_tail(1);
            self.ended = Some(format!("the node ended by itself, {status}: {last}"));
        }
        let seen = self.seen(cluster, victim);
        match (seen.is_empty(), &self.ended) {
            (true, _) => Err("its disk was not used that way".to_owned()),
            (false, Some(ended)) if *ended != seen => Ok(format!("{seen}; {ended}")),
            (false, _) => Ok(seen),
        }
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<(), Setback> {
        let Some(victim) = self.victim.take() else { return Ok(()) };
        if self.ailment == Ailment::Gone {
            // Whoever still runs has a disk that only a restart brings back.
            cluster.kill(victim)?;
            cluster.node_mut(victim).disk.unmount()?;
        }
        let node = cluster.node_mut(victim);
        match self.ailment {
            Ailment::Slow => {
                if let Some(device) = node.disk.device_numbers() {
                    node.groups.limit_disk(&device, None)?;
                }
            }
            Ailment::Stalled => node.disk.thaw()?,
            Ailment::Full => node.disk.empty()?,
            Ailment::Gone => {}
            _ => node.shim()?.change(|dials| self.dial(dials, false))?,
        }
        cluster.notice_ends();
        cluster.start(victim)
    }
}
