//! What happens to packets that are let through: lost, late, overtaken, doubled, damaged, too slow, too large.

use std::time::Duration;

use crate::cluster::{Cluster, Host, Setback, rest};
use crate::dice::Dice;
use crate::nemesis::schedule::{Kind, Toll};
use crate::nemesis::{Fault, Installed, Scope, Skipped};
use crate::net::{Counter, Manners, Traffic};

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nemesis) enum Mishap {
    /// One packet of ten is lost, everywhere.
    Loss,
    /// Every packet waits, everywhere.
    Delay,
    /// Packets overtake each other, everywhere.
    Overtake,
    /// One packet of ten comes twice, everywhere.
    Twice,
    /// One packet of fifty has a turned bit, everywhere.
    Damage,
    /// One node's link carries 1 Mbit/s.
    Slow,
    /// One node's link goes down and up several times.
    Flap,
    /// One node sends small packets only.
    Small,
    /// One node does not hear large packets, and nobody is told.
    Swallow,
}

/// Packets lost of a thousand: beyond that, TCP hardly moves.
const LOST_PER_MILLE: u32 = 100;
/// Packets doubled of a thousand.
const TWICE_PER_MILLE: u64 = 100;
/// Packets damaged of a thousand.
const DAMAGED_PER_MILLE: u64 = 20;
/// Bandwidth of a slow link.
const SLOW_KILOBITS: u32 = 1000;
/// Small packets: the least that QUIC works with, and a little.
const SMALL_BYTES: u32 = 1280;
/// What a hole for large packets still lets through.
const SWALLOW_ABOVE_BYTES: u32 = 1300;
/// How often a link flaps.
const FLAPS: u32 = 4;
/// How long it is down each time, and up in between.
const FLAP: Duration = Duration::from_millis(350);

/// Something happens to packets.
#[derive(Debug)]
pub(in crate::nemesis) struct Mishaps {
    name: &'static str,
    mishap: Mishap,
    hosts: Vec<Host>,
    before: u64,
    flaps_seen: u32,
}

impl Mishaps {
    pub(in crate::nemesis) fn new(name: &'static str, mishap: Mishap) -> Self {
        Self { name, mishap, hosts: Vec::new(), before: 0, flaps_seen: 0 }
    }

    /// What this mishap does to a wire's manners; nothing when it is none of the wire's.
    fn worsen(&self, dice: &mut Dice, manners: &mut Manners) -> Option<String> {
        match self.mishap {
            Mishap::Delay => {
                manners.delay = dice.between(10, 60);
                Some(format!("{} ms each way", manners.delay.as_millis()))
            }
            Mishap::Overtake => {
                (manners.jitter, manners.overtake) = (dice.between(2, 15), true);
                Some(format!("up to {} ms", manners.jitter.as_millis()))
            }
            Mishap::Twice => {
                manners.twice_per_mille = TWICE_PER_MILLE;
                Some(format!("{TWICE_PER_MILLE} of 1000"))
            }
            Mishap::Damage => {
                manners.damage_per_mille = DAMAGED_PER_MILLE;
                Some(format!("{DAMAGED_PER_MILLE} of 1000"))
            }
            _ => None,
        }
    }

    fn mend(&self, manners: &mut Manners) {
        match self.mishap {
            Mishap::Delay => manners.delay = Duration::ZERO,
            Mishap::Overtake => (manners.jitter, manners.overtake) = (Duration::ZERO, false),
            Mishap::Twice => manners.twice_per_mille = 0,
            Mishap::Damage => manners.damage_per_mille = 0,
            _ => {}
        }
    }

    fn on_the_wire(&self) -> bool {
        matches!(self.mishap, Mishap::Delay | Mishap::Overtake | Mishap::Twice | Mishap::Damage)
    }

    fn flap(&mut self, cluster: &Cluster, host: Host) -> Result<String, Skipped> {
        for _ in 0..FLAPS {
            cluster.network().plug(host, false)?;
            rest(FLAP);
            let link = cluster.network().host(host).ip("link show eth0")?;
            self.flaps_seen += u32::from(!link.contains("LOWER_UP"));
            cluster.network().plug(host, true)?;
            rest(FLAP);
        }
        Ok(format!("{FLAPS} times {} ms", FLAP.as_millis()))
    }

    fn lost(&self, cluster: &Cluster) -> Result<u64, Setback> {
        let mut lost = 0;
        for host in &self.hosts {
            lost += cluster.network().wall(*host).count(Counter::Lost)?;
        }
        Ok(lost)
    }

    fn traffic(&self, cluster: &Cluster) -> Traffic {
        let mut sum = Traffic::default();
        for traffic in self.hosts.iter().filter_map(|host| cluster.network().traffic(*host)) {
            sum.carried += traffic.carried;
            sum.overtaken += traffic.overtaken;
            sum.twice += traffic.twice;
            sum.damaged += traffic.damaged;
            sum.waited_us += traffic.waited_us;
        }
        sum
    }

    /// What was seen so far; an empty word is nothing.
    fn seen(&self, cluster: &Cluster) -> Result<String, Setback> {
        let some = |count: u64, what: &str| {
            if count > 0 { format!("{count} {what}") } else { String::new() }
        };
        let traffic = self.traffic(cluster);
        Ok(match self.mishap {
            Mishap::Loss | Mishap::Swallow => {
                some(self.lost(cluster)? - self.before, "packets lost")
            }
            Mishap::Delay if traffic.carried == 0 => String::new(),
            Mishap::Delay => {
                let mean = traffic.waited_us / traffic.carried;
                format!("{} frames waited {mean} µs on average", traffic.carried)
            }
            Mishap::Overtake => {
                some(traffic.overtaken, &format!("of {} frames overtaken", traffic.carried))
            }
            Mishap::Twice => some(traffic.twice, &format!("of {} frames doubled", traffic.carried)),
            Mishap::Damage => {
                some(traffic.damaged, &format!("of {} frames damaged", traffic.carried))
            }
            Mishap::Slow => some(cluster.network().throttled(self.hosts[0])?, "packets waited"),
            Mishap::Flap => some(self.flaps_seen.into(), "times without a carrier"),
            Mishap::Small => {
                let link = cluster.network().host(self.hosts[0]).ip("link show eth0")?;
                let small = link.contains(&format!("mtu {SMALL_BYTES}"));
                if small { format!("mtu {SMALL_BYTES}") } else { String::new() }
            }
        })
    }
}

impl Fault for Mishaps {
    fn kind(&self) -> Kind {
        let toll = match self.mishap {
            Mishap::Flap | Mishap::Slow | Mishap::Swallow => Toll::Victims,
            _ => Toll::Nothing,
        };
        Kind { name: self.name, toll, leader: false }
    }

    fn install(
        &mut self,
        cluster: &mut Cluster,
        dice: &mut Dice,
        scope: &Scope,
    ) -> Result<Installed, Skipped> {
        let victim = Host::Node(*dice.pick(&scope.victims));
        let everywhere = self.on_the_wire() || self.mishap == Mishap::Loss;
        self.hosts = if everywhere { cluster.network().hosts().collect() } else { vec![victim] };
        self.before = self.lost(cluster)?;
        self.flaps_seen = 0;
        let mut detail = victim.name();
        match self.mishap {
            Mishap::Loss => {
                for host in &self.hosts {
                    cluster.network().wall(*host).lose(LOST_PER_MILLE)?;
                }
                detail = format!("{LOST_PER_MILLE} of 1000 everywhere");
            }
            Mishap::Slow => {
                cluster.network().throttle(victim, Some(SLOW_KILOBITS))?;
                detail += &format!(", {SLOW_KILOBITS} kbit/s");
            }
            Mishap::Flap => detail += &format!(", {}", self.flap(cluster, victim)?),
            Mishap::Small => cluster.network().limit_packets(victim, SMALL_BYTES)?,
            Mishap::Swallow => {
                cluster.network().wall(victim).swallow_above(Some(SWALLOW_ABOVE_BYTES))?;
            }
            _ => {
                for host in self.hosts.clone() {
                    let mut what = None;
                    cluster
                        .network_mut()
                        .change(host, |manners| what = self.worsen(dice, manners))?;
                    detail = format!("{}, everywhere", what.unwrap_or_default());
                }
            }
        }
        Ok(Installed::new(detail))
    }

    fn verify(&mut self, cluster: &mut Cluster) -> Result<String, String> {
        let seen = self.seen(cluster).map_err(|error| error.to_string())?;
        if seen.is_empty() { Err("no packet was hit".to_owned()) } else { Ok(seen) }
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<(), Setback> {
        for host in std::mem::take(&mut self.hosts) {
            match self.mishap {
                Mishap::Loss => cluster.network().wall(host).lose(0)?,
                Mishap::Slow => cluster.network().throttle(host, None)?,
                Mishap::Flap => cluster.network().plug(host, true)?,
                Mishap::Small => cluster.network().limit_packets(host, 1500)?,
                Mishap::Swallow => cluster.network().wall(host).swallow_above(None)?,
                _ => cluster.network_mut().change(host, |manners| self.mend(manners))?,
            }
        }
        Ok(())
    }
}
