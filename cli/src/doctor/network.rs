//! Ports, datagrams, clocks.

use std::{io, net::SocketAddr, time::Duration};

use node::{Clock as _, SystemClock, config::Listen};
use tokio::net::{TcpListener, UdpSocket};

use super::Check;
use crate::operations;

/// A datagram as long as QUIC's first ones.
const DATAGRAM_BYTES: usize = 1200;
/// How long it may take to itself.
const DATAGRAM_PATIENCE: Duration = Duration::from_secs(1);
/// Messages are stamped by whoever proposes them: beyond this people notice.
const SKEW_WELL_MS: u64 = 500;
/// Beyond this presence and tokens are wrong.
const SKEW_BEARABLE_MS: u64 = 5000;

/// Whether datagrams pass on loopback: a firewall that drops them would drop QUIC.
pub(super) async fn udp() -> Check {
    const NAME: &str = "udp";
    let passed = tokio::time::timeout(DATAGRAM_PATIENCE, to_itself()).await;
    let fix = "let UDP pass in the firewall; clients fall back to WebSocket meanwhile";
    match passed {
        Ok(Ok(())) => Check::ok(NAME, "datagrams pass on loopback"),
        Ok(Err(error)) => Check::failed(NAME, format!("no datagram on loopback: {error}"), fix),
        Err(_) => Check::failed(NAME, "a datagram on loopback did not arrive", fix),
    }
}

async fn to_itself() -> io::Result<()> {
    let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    socket.send_to(&[7; DATAGRAM_BYTES], socket.local_addr()?).await?;
    let mut bytes = [0; DATAGRAM_BYTES];
    let (length, _) = socket.recv_from(&mut bytes).await?;
    if length == DATAGRAM_BYTES { Ok(()) } else { Err(io::Error::other("it came in part")) }
}

/// Whether the node's ports are free, or in use by a node.
pub(super) async fn ports(listen: &Listen) -> Vec<Check> {
    // Whoever answers as a node on the operations port has the others too.
    let running = operations::status(listen.operations).await.is_ok();
    let mut taken = Vec::new();
    for (what, address) in [
        ("listen.client", listen.client),
        ("listen.peer", listen.peer),
        ("listen.operations", listen.operations),
    ] {
        if let Err(error) = TcpListener::bind(address).await {
            taken.push(format!("{what} {address}: {error}"));
        }
    }
    if let Err(error) = UdpSocket::bind(listen.client).await {
        taken.push(format!("listen.client {} (UDP): {error}", listen.client));
    }
    vec![judge_ports(running, &taken)]
}

fn judge_ports(running: bool, taken: &[String]) -> Check {
    const NAME: &str = "ports";
    match (running, taken) {
        (true, _) => Check::ok(NAME, "a node runs here and has its ports"),
        (false, []) => Check::ok(NAME, "all are free"),
        (false, taken) => Check::failed(
            NAME,
            taken.join("; "),
            "end whoever has them (`ss -lptn`), or change `listen` in the node's file",
        ),
    }
}

/// How far this machine's clock is from those of other nodes.
pub(super) async fn clocks(others: &[SocketAddr]) -> Check {
    const NAME: &str = "clock";
    let mut skews = Vec::new();
    for address in others {
        let before = SystemClock.now().0;
        let Ok(status) = operations::status(*address).await else { continue };
        let after = SystemClock.now().0;
        if status.now_ms > 0 {
            skews.push((*address, (before + (after - before) / 2).abs_diff(status.now_ms)));
        }
    }
    match skews.into_iter().max_by_key(|(_, skew)| *skew) {
        None => Check::skipped(NAME, "no other node answers: name one with --operations"),
        Some((address, skew)) => judge_skew(address, skew),
    }
}

fn judge_skew(address: SocketAddr, skew_ms: u64) -> Check {
    const NAME: &str = "clock";
    let found = format!("{skew_ms} ms from the clock of {address}");
    let fix = "run a time service (chrony) on every machine";
    if skew_ms <= SKEW_WELL_MS {
        Check::ok(NAME, found)
    } else if skew_ms <= SKEW_BEARABLE_MS {
        Check::warning(NAME, found, fix)
    } else {
        Check::failed(NAME, found, fix)
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[tokio::test]
    async fn datagrams_pass_on_this_machine() {
        assert_eq!(udp().await.state, State::Ok);
    }

    #[tokio::test]
    async fn a_port_that_somebody_else_has_is_named() {
        let other = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let free = || std::net::TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr());
        let [client, operations] = [free(), free()].map(|port| port.expect("a port"));
        let peer = other.local_addr().expect("bound");
        let listen = Listen { client, peer, operations, plain: None };
        let checks = ports(&listen).await;
        assert_eq!(checks[0].state, State::Failed);
        assert!(checks[0].found.contains(&format!("listen.peer {peer}")), "{checks:?}");
        drop(other);
        assert_eq!(ports(&listen).await[0].state, State::Ok);
        assert_eq!(judge_ports(true, &["x".to_owned()]).state, State::Ok);
    }

    #[test]
    fn clocks_that_differ_are_told_by_how_much() {
        let address = "127.0.0.1:1".parse().expect("an address");
        let state = |skew| judge_skew(address, skew).state;
        assert_eq!([state(3), state(900), state(9000)], [State::Ok, State::Warning, State::Failed]);
    }
}
