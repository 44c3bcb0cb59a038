//! Where others reach this node: what its file says, or where it listens, at an address of this machine.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use cluster_config::{Addresses, Founder};

use super::IdentityError;
use crate::config::Config;

/// Somebody far away (RFC 5737): no packet is sent there, the system only says from where it would be.
const FAR_AWAY: &str = "192.0.2.1:9";

/// What the cluster is told about this node. `towards`: a node that it can already reach.
pub(super) fn advertised(
    config: &Config,
    towards: Option<SocketAddr>,
) -> Result<Founder, IdentityError> {
    let own = |wish: &Option<String>, listen: SocketAddr, name: &str| match wish {
        Some(address) => Ok(address.clone()),
        None if !listen.ip().is_unspecified() => Ok(listen.to_string()),
        None => match here(towards) {
            Some(ip) => Ok(SocketAddr::new(ip, listen.port()).to_string()),
            None => Err(IdentityError::Advertise(format!(
                "where others reach this node is not known: set advertise.{name}"
            ))),
        },
    };
    let (listen, wish) = (&config.listen, &config.advertise);
    let addresses = Addresses {
        client: own(&wish.client, listen.client, "client")?,
        peer: own(&wish.peer, listen.peer, "peer")?,
        operations: own(&wish.operations, listen.operations, "operations")?,
    };
    Ok(Founder { addresses, zone: wish.zone.clone(), weight: wish.weight })
}

/// The names that a node's certificate for the client plane carries beside those of this machine: the host that it is
/// known by, and the addresses behind it that it knows of, since clients may come by either.
pub(super) fn names(config: &Config, node: &Founder, towards: Option<SocketAddr>) -> Vec<String> {
    let host = node.addresses.client.rsplit_once(':').map_or("", |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let listen = config.listen.client.ip();
    let address = if listen.is_unspecified() { here(towards) } else { Some(listen) };
    let mut names = vec![host];
    names.extend(address.map(|address| address.to_string()));
    names.dedup();
    names
}

fn here(towards: Option<SocketAddr>) -> Option<IpAddr> {
    let from = |target: &str| {
        let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
        socket.connect(target).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let target = towards.map_or_else(|| FAR_AWAY.to_owned(), |address| address.to_string());
    from(&target).filter(|ip| !ip.is_unspecified())
}
