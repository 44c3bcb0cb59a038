//! The same thing again and again: restarts, changes of leaders, connections, addresses.

use std::time::Duration;

use crate::cluster::{CLIENT_PORT, Cluster, Host, Setback, rest, within};
use crate::dice::Dice;
use crate::nemesis::schedule::{Kind, Toll};
use crate::nemesis::{Fault, Installed, Scope, Skipped};
use crate::net::{CLIENT_OTHER, Counter, Deafness};

/// A node that was restarted serves within this.
const BACK_WITHIN: Duration = Duration::from_secs(45);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Leaders that are killed in one storm.
const LEADERS: u32 = 3;
/// Clients are cut off so long in a storm: longer than any of them waits before it connects again.
const SILENCE: Duration = Duration::from_millis(5500);

/// What comes again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nemesis) enum Again {
    /// Every node is stopped in order and started, one after the other.
    Restart,
    /// Whoever leads most is killed, several times.
    Leader,
    /// All clients lose all links at once.
    Reconnect,
    /// The address that nodes see of all QUIC clients changes.
    Address,
}

/// A storm: most of it is over when it is installed.
#[derive(Debug)]
pub(in crate::nemesis) struct Storm {
    name: &'static str,
    again: Again,
    seen: String,
    before: u64,
}

impl Storm {
    pub(in crate::nemesis) fn new(name: &'static str, again: Again) -> Self {
        Self { name, again, seen: String::new(), before: 0 }
    }

    fn restart(&mut self, cluster: &mut Cluster) -> Result<(), Setback> {
        let mut in_order = 0;
        for node in cluster.all() {
            in_order += u32::from(cluster.stop(node)?);
            cluster.start(node)?;
            let eyes = cluster.eyes();
            within(BACK_WITHIN, LOOK, || eyes.ready(node).then_some(()))
                .ok_or_else(|| Setback::new(format!("n{node} does not come back")))?;
        }
        self.seen = format!("{in_order} of {} stopped in order", cluster.nodes());
        Ok(())
    }

    fn leaders(&mut self, cluster: &mut Cluster) -> Result<(), Setback> {
        let mut killed = Vec::new();
        let groups = cluster.leaders().len();
        for _ in 0..LEADERS {
            let Some(leader) = cluster.busiest() else { break };
            cluster.kill(leader)?;
            let eyes = cluster.eyes();
            within(BACK_WITHIN, LOOK, || {
                let led = eyes.leaders();
                (led.len() >= groups && led.values().all(|(node, _)| *node != leader)).then_some(())
            })
            .ok_or_else(|| Setback::new(format!("nobody takes over from n{leader}")))?;
            cluster.start(leader)?;
            within(BACK_WITHIN, LOOK, || eyes.ready(leader).then_some(()))
                .ok_or_else(|| Setback::new(format!("n{leader} does not come back")))?;
            killed.push(leader);
        }
        self.seen = format!("leaders killed: {}", super::names(&killed));
        Ok(())
    }

    fn reconnect(&mut self, cluster: &mut Cluster) -> Result<(), Setback> {
        let ears = cluster.all().into_iter().map(|node| (Host::Node(node), vec![Host::Client]));
        let deafness = Deafness { ears: ears.collect(), reset: true };
        cluster.network_mut().deafen(self.name, deafness)?;
        rest(SILENCE);
        cluster.network_mut().undeafen(self.name)
    }

    fn count(&self, cluster: &Cluster) -> Result<u64, Setback> {
        let wall = |host| cluster.network().wall(host);
        match self.again {
            Again::Address => wall(Host::Client).count(Counter::Moved),
            Again::Reconnect => {
                let nodes = cluster.all().into_iter();
                nodes.map(|node| wall(Host::Node(node)).count(Counter::Refused)).sum()
            }
            Again::Restart | Again::Leader => Ok(0),
        }
    }
}

impl Fault for Storm {
    fn kind(&self) -> Kind {
        let toll = if self.again == Again::Address { Toll::Nothing } else { Toll::Alone };
        Kind { name: self.name, toll, leader: false }
    }

    fn install(
        &mut self,
        cluster: &mut Cluster,
        _dice: &mut Dice,
        _scope: &Scope,
    ) -> Result<Installed, Skipped> {
        self.seen.clear();
        self.before = self.count(cluster)?;
        let detail = match self.again {
            Again::Restart => {
                self.restart(cluster)?;
                "every node, one after the other".to_owned()
            }
            Again::Leader => {
                self.leaders(cluster)?;
                format!("{LEADERS} times")
            }
            Again::Reconnect => {
                self.reconnect(cluster)?;
                format!("all clients, {} ms", SILENCE.as_millis())
            }
            Again::Address => {
                let wall = cluster.network().wall(Host::Client);
                wall.pose_as(Host::Client.address(), Some(CLIENT_OTHER), CLIENT_PORT)?;
                format!("all QUIC clients are {CLIENT_OTHER} now")
            }
        };
        Ok(Installed::new(detail))
    }

    fn verify(&mut self, cluster: &mut Cluster) -> Result<String, String> {
        let more =
            self.count(cluster).map_err(|error| error.to_string())?.saturating_sub(self.before);
        match self.again {
            Again::Restart | Again::Leader => Ok(self.seen.clone()),
            _ if more == 0 => Err("no client was there".to_owned()),
            Again::Address => Ok(format!("{more} datagrams left under another address")),
            Again::Reconnect => Ok(format!("{more} packets of clients refused")),
        }
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<(), Setback> {
        match self.again {
            Again::Address => {
                cluster.network().wall(Host::Client).pose_as(Host::Client.address(), None, 0)
            }
            Again::Reconnect => cluster.network_mut().undeafen(self.name),
            Again::Restart | Again::Leader => {
                for node in cluster.all() {
                    cluster.start(node)?;
                }
                Ok(())
            }
        }
    }
}
