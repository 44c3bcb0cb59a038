//! Where a benchmark finds the cluster, and the servers' CPU time when they are on this machine.

use std::net::{IpAddr, SocketAddr};

use crate::{
    args::Cluster,
    context,
    exit::{Exit, Failure},
    operations,
};

/// The cluster under load.
pub(super) struct Site {
    /// Client addresses; connections are spread over all of them.
    pub(super) nodes: Vec<SocketAddr>,
    pub(super) ca_pem: Vec<u8>,
    /// Their operations ports, in the same order, as far as they are known.
    pub(super) operations: Vec<SocketAddr>,
}

/// The demo's layout: a node's operations port is the second after its client port.
const OPERATIONS_PORT_AFTER_CLIENT: u16 = 2;

impl Site {
    /// What the command line means. One address on this machine is enough: if the port where the demo
    /// has its operators answers, the other nodes are taken from there.
    pub(super) async fn of(cluster: &Cluster, named: &[SocketAddr]) -> Result<Site, Failure> {
        let (mut nodes, ca, mut operations) = match &cluster.ca {
            Some(ca) => (cluster.addr.clone(), ca.clone(), Vec::new()),
            None => {
                let context = context::load(&cluster.ctx)?;
                (context.nodes, context.ca, context.operations)
            }
        };
        if !named.is_empty() {
            operations = named.to_vec();
        }
        if let [only] = nodes[..]
            && operations.is_empty()
            && only.ip().is_loopback()
        {
            (nodes, operations) = neighbours(only).await;
        }
        let ca_pem = std::fs::read(&ca)
            .map_err(|e| Failure::new(Exit::NotFound, format!("{}: {e}", ca.display())))?;
        Ok(Site { nodes, ca_pem, operations })
    }

    /// CPU seconds of all server processes so far; `None` when not all of them can be asked.
    pub(super) async fn cpu_seconds(&self) -> Option<f64> {
        if self.operations.is_empty() {
            return None;
        }
        let mut total = 0.0;
        for address in &self.operations {
            total += operations::metric(*address, "process_cpu_seconds_total ").await.ok()?;
        }
        Some(total)
    }
}

/// All nodes that a node on this machine names, and their operations ports.
async fn neighbours(only: SocketAddr) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
    let operations = |client: SocketAddr| {
        Some(SocketAddr::new(client.ip(), client.port().checked_add(OPERATIONS_PORT_AFTER_CLIENT)?))
    };
    let local = |ip: IpAddr| ip.is_loopback();
    let asked = match operations(only) {
        Some(address) => operations::status(address).await.ok(),
        None => None,
    };
    let clients: Option<Vec<SocketAddr>> = asked.and_then(|status| {
        status.nodes.iter().map(|node| node.client.parse().ok()).collect::<Option<Vec<_>>>()
    });
    match clients {
        Some(clients) if !clients.is_empty() && clients.iter().all(|c| local(c.ip())) => {
            let ports = clients.iter().filter_map(|client| operations(*client)).collect();
            (clients, ports)
        }
        _ => (vec![only], Vec::new()),
    }
}
