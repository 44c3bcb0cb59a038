//! How many connections there may be, in total and of one address.
//!
//! A connection is counted from its first packet, before any cryptography is spent on it, until its last
//! task ends. Rates and users are limited further up.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    per_address: BTreeMap<IpAddr, usize>,
}

#[derive(Debug)]
pub(super) struct Admission {
    total_max: usize,
    per_address_max: usize,
    counts: Arc<Mutex<Counts>>,
}

/// One counted connection.
#[derive(Debug)]
pub(super) struct Permit {
    address: IpAddr,
    counts: Arc<Mutex<Counts>>,
}

impl Admission {
    pub(super) fn new(total_max: usize, per_address_max: usize) -> Self {
        Self { total_max, per_address_max, counts: Arc::default() }
    }

    /// Counts a connection of this address, or refuses it.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Permit> {
        let address = counted_as(address);
        let mut counts = self.counts.lock();
        let of_address = counts.per_address.get(&address).copied().unwrap_or(0);
        let why = if counts.total >= self.total_max {
            "total"
        } else if of_address >= self.per_address_max {
            "address"
        } else {
            counts.total += 1;
            counts.per_address.insert(address, of_address + 1);
            return Some(Permit { address, counts: Arc::clone(&self.counts) });
        };
        metrics::counter!("synod_connections_refused_total", "why" => why).increment(1);
        None
    }

    /// More than half of all places are taken: time to ask new QUIC clients to prove their address.
    pub(super) fn crowded(&self) -> bool {
        self.counts.lock().total > self.total_max / 2
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        counts.total -= 1;
        match counts.per_address.get_mut(&self.address) {
            Some(1) => drop(counts.per_address.remove(&self.address)),
            Some(count) => *count -= 1,
            None => unreachable!("a permit is counted under its address until it is dropped"),
        }
    }
}

/// One customer's IPv6 network counts as one address; an IPv4 address in IPv6 clothes is what it is.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_dropped_permit_makes_room() {
        let admission = Admission::new(2, 1);
        let first = admission.admit(address("10.0.0.1"));
        assert!(first.is_some());
        assert!(admission.admit(address("10.0.0.1")).is_none(), "second of one address");
        let second = admission.admit(address("10.0.0.2"));
        assert!(second.is_some());
        assert!(admission.admit(address("10.0.0.3")).is_none(), "third in total");
        drop(first);
        assert!(admission.admit(address("10.0.0.3")).is_some());
        drop(second);
        assert!(
            admission.counts.lock().per_address.is_empty(),
            "nothing is remembered of the gone"
        );
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let admission = Admission::new(9, 1);
        let _first = admission.admit(address("2001:db8:1:2::1"));
        assert!(admission.admit(address("2001:db8:1:2:ffff::9")).is_none());
        let _mapped = admission.admit(address("::ffff:10.0.0.1"));
        assert!(admission.admit(address("10.0.0.1")).is_none());
    }
}
