//! What one host refuses to hear: a table of packet rules in its namespace, with counters that show whether it bites.
//!
//! Partitions, one-way or both ways, are sets of addresses; changing a set changes the partition at once.

use crate::cluster::{Host, Setback};

use super::namespace::Namespace;

/// The table of a host. The host's own traffic to itself (operations) is never touched.
const TABLE: &str = "
table inet jepsen {
  set cut { type ipv4_addr; }
  set refused { type ipv4_addr; }
  counter cut {}
  counter refused {}
  counter lost {}
  counter moved {}
  chain loss { }
  chain large { }
  chain in {
    type filter hook input priority -10; policy accept;
    iif lo accept
    ip saddr @cut counter name cut drop
    ip saddr @refused meta l4proto tcp counter name refused reject with tcp reset
    ip saddr @refused counter name refused drop
    jump loss
    jump large
  }
  chain leaving { type filter hook postrouting priority -150; policy accept; }
  chain arriving { type filter hook prerouting priority -310; policy accept; }
}
";

/// A counter of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Packets from hosts that are cut off.
    Cut,
    /// Packets that were answered with a reset, or dropped where there is none.
    Refused,
    /// Packets dropped by chance.
    Lost,
    /// Packets that left under another address.
    Moved,
}

impl Counter {
    fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::Moved => "moved",
        }
    }
}

/// The rules of one host.
#[derive(Debug)]
pub struct Wall<'a> {
    pub(super) namespace: &'a Namespace,
}

impl Wall<'_> {
    /// Puts the table there, without any harm in it.
    pub(super) fn raise(&self) -> Result<(), Setback> {
        self.namespace.nft(TABLE).map(drop)
    }

    /// From now on the host hears everybody but these.
    ///
    /// # Errors
    /// When the rules cannot be changed.
    pub(super) fn cut_off(&self, from: &[Host]) -> Result<(), Setback> {
        self.fill("cut", from)
    }

    /// From now on the host answers these with a TCP reset, and is silent on UDP.
    ///
    /// # Errors
    /// When the rules cannot be changed.
    pub(super) fn refuse(&self, from: &[Host]) -> Result<(), Setback> {
        self.fill("refused", from)
    }

    fn fill(&self, set: &str, hosts: &[Host]) -> Result<(), Setback> {
        let mut script = format!("flush set inet jepsen {set}\n");
        if !hosts.is_empty() {
            let list: Vec<String> = hosts.iter().map(|host| host.address().to_string()).collect();
            script += &format!("add element inet jepsen {set} {{ {} }}\n", list.join(", "));
        }
        self.namespace.nft(&script).map(drop)
    }

    /// Loses so many of a thousand packets that arrive; 0 loses none.
    ///
    /// # Errors
    /// When the rules cannot be changed.
    pub fn lose(&self, per_mille: u32) -> Result<(), Setback> {
        let mut script = "flush chain inet jepsen loss\n".to_owned();
        if per_mille > 0 {
            script += &format!(
                "add rule inet jepsen loss numgen random mod 1000 < {per_mille} counter name lost drop\n"
            );
        }
        self.namespace.nft(&script).map(drop)
    }

    /// Drops every packet above `bytes` that arrives, without a word to its sender; `None` drops none.
    ///
    /// # Errors
    /// When the rules cannot be changed.
    pub fn swallow_above(&self, bytes: Option<u32>) -> Result<(), Setback> {
        let mut script = "flush chain inet jepsen large\n".to_owned();
        if let Some(bytes) = bytes {
            script += &format!(
                "add rule inet jepsen large meta length > {bytes} counter name lost drop\n"
            );
        }
        self.namespace.nft(&script).map(drop)
    }

    /// Datagrams of this host to `port` leave from another address from now on, and answers find back: what a
    /// router does that forgot a mapping, or a phone that changed its network. `None`: from its own again.
    ///
    /// # Errors
    /// When the rules cannot be changed.
    pub fn pose_as(
        &self,
        own: std::net::Ipv4Addr,
        other: Option<std::net::Ipv4Addr>,
        port: u16,
    ) -> Result<(), Setback> {
        let mut script =
            "flush chain inet jepsen leaving\nflush chain inet jepsen arriving\n".to_owned();
        if let Some(other) = other {
            script += &format!(
                "add rule inet jepsen leaving ip saddr {own} udp dport {port} \
                 counter name moved ip saddr set {other}\n\
                 add rule inet jepsen arriving ip daddr {other} udp sport {port} ip daddr set {own}\n"
            );
        }
        self.namespace.nft(&script).map(drop)
    }

    /// How many packets a counter has seen since the run began.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn count(&self, counter: Counter) -> Result<u64, Setback> {
        let mut command = self.namespace.command("nft");
        command.args(["list", "counter", "inet", "jepsen", counter.name()]);
        let text = crate::cluster::shell::finish(command, None)?;
        packets(&text).ok_or_else(|| Setback::new(format!("no packets in `{text}`")))
    }

    /// Whether the table is as it was raised.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn clean(&self) -> Result<bool, Setback> {
        let mut command = self.namespace.command("nft");
        command.args(["list", "table", "inet", "jepsen"]);
        let text = crate::cluster::shell::finish(command, None)?;
        Ok(harmless(&text))
    }
}

/// The number after `packets`.
fn packets(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace().skip_while(|word| *word != "packets");
    words.nth(1)?.parse().ok()
}

/// Whether a listed table has empty sets, and empty chains where harm is put.
fn harmless(text: &str) -> bool {
    let harm = ["elements = ", "numgen", "meta length", "saddr set", "daddr set"];
    !harm.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_read_from_what_nft_prints() {
        let text = "table inet jepsen {\n\tcounter cut {\n\t\tpackets 42 bytes 2520\n\t}\n}\n";
        assert_eq!(packets(text), Some(42));
        assert_eq!(packets("table inet jepsen {}"), None);
    }

    #[test]
    fn the_table_as_it_is_raised_is_harmless_and_any_harm_is_seen() {
        assert!(harmless(TABLE));
        for harm in [
            "elements = { 198.18.0.11 }",
            "numgen random mod 1000 < 100 drop",
            "ip saddr set 198.18.0.201",
        ] {
            assert!(!harmless(&format!("{TABLE}{harm}")), "{harm}");
        }
    }
}
