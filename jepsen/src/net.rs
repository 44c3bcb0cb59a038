//! The network of a run: a bridge in a namespace of its own, and one link from it to every host.
//!
//! Nothing of it is connected to the machine's own network. What is refused is in `wall`; what comes late, twice or in
//! another order is in `line`, a wire through this process.

mod line;
mod namespace;
mod tap;
mod wall;

use std::collections::BTreeMap;

pub use line::{Line, Manners, Traffic};
pub use namespace::Namespace;
pub use wall::{Counter, Wall};

use crate::cluster::{Host, PREFIX, Plan, Setback};

/// The second address of the clients: who they pose as when their address changes.
pub const CLIENT_OTHER: std::net::Ipv4Addr = std::net::Ipv4Addr::new(198, 18, 0, 201);
/// The bridge, in the namespace of the switch.
const BRIDGE: &str = "br";

/// The network.
#[derive(Debug)]
pub struct Network {
    switch: Namespace,
    hosts: BTreeMap<Host, Namespace>,
    lines: BTreeMap<Host, Line>,
    deafness: BTreeMap<&'static str, Deafness>,
}

/// Who does not hear whom, and what the speaker is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deafness {
    /// By listener.
    pub ears: BTreeMap<Host, Vec<Host>>,
    /// Whether a TCP connection is answered with a reset; else with silence.
    pub reset: bool,
}

impl Deafness {
    fn to(&self, listener: Host) -> &[Host] {
        self.ears.get(&listener).map_or(&[], Vec::as_slice)
    }
}

impl Network {
    /// Names of this run's namespaces begin with this.
    #[must_use]
    pub fn prefix(run_id: &str) -> String {
        format!("{PREFIX}-{run_id}-")
    }

    /// Makes the bridge, the hosts and the links.
    ///
    /// # Errors
    /// When this process may not, or the names are taken.
    pub fn raise(plan: &Plan) -> Result<Self, Setback> {
        let prefix = Self::prefix(&plan.run_id);
        let switch = Namespace::named(format!("{prefix}s"));
        switch.create()?;
        let (hosts, lines, deafness) = Default::default();
        let mut network = Self { switch, hosts, lines, deafness };
        let all = plan.all().map(Host::Node).chain([Host::Client]);
        match network.furnish(&prefix, all) {
            Ok(()) => Ok(network),
            Err(setback) => {
                network.remove();
                Err(setback)
            }
        }
    }

    fn furnish(&mut self, prefix: &str, hosts: impl Iterator<Item = Host>) -> Result<(), Setback> {
        self.switch
            .ip(&format!("link add name {BRIDGE} type bridge stp_state 0 forward_delay 0"))?;
        self.switch.ip(&format!("link set dev {BRIDGE} up"))?;
        for host in hosts {
            let namespace = Namespace::named(format!("{prefix}{}", host.name()));
            namespace.create()?;
            self.hosts.insert(host, namespace);
            self.connect(host)?;
            self.wall(host).raise()?;
        }
        let client = self.host(Host::Client);
        client.ip(&format!("addr add {CLIENT_OTHER}/24 dev eth0")).map(drop)
    }

    fn connect(&self, host: Host) -> Result<(), Setback> {
        let (namespace, port) = (self.host(host), Self::port(host));
        self.switch.ip(&format!(
            "link add name {port} type veth peer name eth0 netns {}",
            namespace.name()
        ))?;
        self.switch.ip(&format!("link set dev {port} master {BRIDGE} up"))?;
        namespace.ip(&format!("addr add {}/24 dev eth0", host.address()))?;
        namespace.ip("link set eth0 up").map(drop)
    }

    /// The bridge's side of a host's link.
    fn port(host: Host) -> String {
        format!("v{}", host.name())
    }

    /// The namespace of a host.
    ///
    /// # Panics
    /// When the plan has no such host.
    #[must_use]
    pub fn host(&self, host: Host) -> &Namespace {
        self.hosts.get(&host).expect("every host of the plan has a namespace")
    }

    /// All hosts.
    pub fn hosts(&self) -> impl Iterator<Item = Host> + '_ {
        self.hosts.keys().copied()
    }

    /// What a host refuses to hear.
    #[must_use]
    pub fn wall(&self, host: Host) -> Wall<'_> {
        Wall { namespace: self.host(host) }
    }

    /// Plugs a host's link in or pulls it out, at the bridge.
    ///
    /// # Errors
    /// When the interface cannot be changed.
    pub fn plug(&self, host: Host, up: bool) -> Result<(), Setback> {
        let state = if up { "up" } else { "down" };
        self.switch.ip(&format!("link set dev {} {state}", Self::port(host))).map(drop)
    }

    /// Limits what a host sends and what it is sent to so many kilobit a second; `None` lifts the limit.
    ///
    /// # Errors
    /// When the shaper cannot be changed.
    pub fn throttle(&self, host: Host, kilobits: Option<u32>) -> Result<(), Setback> {
        let port = Self::port(host);
        for (namespace, device) in [(&self.switch, port.as_str()), (self.host(host), "eth0")] {
            match kilobits {
                Some(rate) => namespace.tc(&format!(
                    "qdisc replace dev {device} root tbf rate {rate}kbit burst 16kb latency 300ms"
                ))?,
                // There may be none.
                None => namespace.tc(&format!("qdisc del dev {device} root")).unwrap_or_default(),
            };
        }
        Ok(())
    }

    /// How often a shaper of this host made a packet wait.
    ///
    /// # Errors
    /// When the shapers cannot be read.
    pub fn throttled(&self, host: Host) -> Result<u64, Setback> {
        let down = self.switch.tc(&format!("-s qdisc show dev {}", Self::port(host)))?;
        let up = self.host(host).tc("-s qdisc show dev eth0")?;
        Ok(overlimits(&down) + overlimits(&up))
    }

    /// The largest packet that a host sends.
    ///
    /// # Errors
    /// When the interface cannot be changed.
    pub fn limit_packets(&self, host: Host, bytes: u32) -> Result<(), Setback> {
        self.host(host).ip(&format!("link set eth0 mtu {bytes}")).map(drop)
    }

    /// From now on hosts do not hear others, on behalf of `owner`: several can do so at once.
    ///
    /// # Errors
    /// When the rules cannot be changed.
    pub fn deafen(&mut self, owner: &'static str, deafness: Deafness) -> Result<(), Setback> {
        let hosts: Vec<Host> = deafness.ears.keys().copied().collect();
        self.deafness.insert(owner, deafness);
        self.apply(&hosts)
    }

    /// Takes back what was done on behalf of `owner`.
    ///
    /// # Errors
    /// When the rules cannot be changed.
    pub fn undeafen(&mut self, owner: &'static str) -> Result<(), Setback> {
        let Some(deafness) = self.deafness.remove(owner) else { return Ok(()) };
        self.apply(&deafness.ears.into_keys().collect::<Vec<_>>())
    }

    fn apply(&self, hosts: &[Host]) -> Result<(), Setback> {
        for host in hosts {
            let all = |reset: bool| {
                let mut unheard: Vec<Host> = self
                    .deafness
                    .values()
                    .filter(|deafness| deafness.reset == reset)
                    .flat_map(|deafness| deafness.to(*host).to_vec())
                    .collect();
                unheard.sort_unstable();
                unheard.dedup();
                unheard
            };
            let wall = self.wall(*host);
            wall.cut_off(&all(false))?;
            wall.refuse(&all(true))?;
        }
        Ok(())
    }

    /// Changes the manners of a host's wire. While it has any, it goes through this process.
    ///
    /// # Errors
    /// When it cannot be laid.
    pub fn change(&mut self, host: Host, change: impl FnOnce(&mut Manners)) -> Result<(), Setback> {
        let mut manners = self.lines.get(&host).map(Line::manners).unwrap_or_default();
        change(&mut manners);
        if manners == Manners::default() {
            return self.straighten(host);
        }
        if !self.lines.contains_key(&host) {
            let line = Line::lay(&self.switch, host, BRIDGE, &Self::port(host))?;
            self.lines.insert(host, line);
        }
        if let Some(line) = self.lines.get(&host) {
            line.behave(manners);
        }
        Ok(())
    }

    /// Lays a host's wire straight to the bridge again.
    fn straighten(&mut self, host: Host) -> Result<(), Setback> {
        let Some(line) = self.lines.remove(&host) else { return Ok(()) };
        line.straighten(&self.switch, BRIDGE, &Self::port(host))
    }

    /// What went over a host's crooked wire so far.
    #[must_use]
    pub fn traffic(&self, host: Host) -> Option<Traffic> {
        self.lines.get(&host).map(Line::traffic)
    }

    /// Undoes all harm, whoever did it.
    ///
    /// # Errors
    /// When something cannot be undone.
    pub fn heal(&mut self) -> Result<(), Setback> {
        self.deafness.clear();
        let hosts: Vec<Host> = self.hosts().collect();
        self.apply(&hosts)?;
        for host in hosts {
            self.straighten(host)?;
            let wall = self.wall(host);
            wall.lose(0)?;
            wall.swallow_above(None)?;
            wall.pose_as(host.address(), None, 0)?;
            self.throttle(host, None)?;
            self.limit_packets(host, 1500)?;
            self.plug(host, true)?;
        }
        Ok(())
    }

    /// What is still wrong with the network, one sentence each.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn wounds(&self) -> Result<Vec<String>, Setback> {
        let mut wounds = Vec::new();
        for (host, namespace) in &self.hosts {
            let name = host.name();
            if !self.wall(*host).clean()? {
                wounds.push(format!("{name} still has rules"));
            }
            if self.lines.contains_key(host) {
                wounds.push(format!("{name} still has a crooked wire"));
            }
            let link = namespace.ip("link show eth0")?;
            if !link.contains("state UP") || !link.contains("mtu 1500") || link.contains("tbf") {
                wounds.push(format!("{name}: {}", link.lines().next().unwrap_or_default()));
            }
        }
        Ok(wounds)
    }

    /// Removes every namespace, and with them all interfaces.
    pub fn remove(&mut self) {
        self.lines.clear();
        for namespace in std::mem::take(&mut self.hosts).into_values().chain([self.switch.clone()])
        {
            // Gone already: then so be it.
            let _ = namespace.remove();
        }
    }
}

fn overlimits(text: &str) -> u64 {
    let mut words = text.split_whitespace();
    let mut sum = 0;
    while let Some(word) = words.next() {
        if word == "overlimits" {
            sum += words.next().and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_packets_are_counted_over_all_shapers() {
        let text = "qdisc tbf 8001: root rate 1Mbit\n Sent 5 bytes 1 pkt (dropped 0, overlimits 7 requeues 0)\n";
        assert_eq!(overlimits(&format!("{text}{text}")), 14);
        assert_eq!(overlimits("qdisc noqueue 0: root"), 0);
    }
}
