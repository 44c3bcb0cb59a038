//! What a node finds when it starts: its file, its certificates, its name. The same founding as that of the demonstration.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use transport::authority::{Authority, Issued};

use super::plan::{CLIENT_PORT, Host, OPERATIONS_PORT, PEER_PORT, Plan};
use super::setback::{Doing as _, Setback};

/// The cluster's name, part of every certificate.
const CLUSTER: &str = "jepsen";

/// Writes the authority, and every node's certificates and file, into `home`; `data` tells where a node keeps its data.
/// Returns the authority's certificate, PEM.
pub(crate) fn write(
    plan: &Plan,
    home: &Path,
    data: impl Fn(u8) -> String,
) -> Result<Vec<u8>, Setback> {
    let (authority, issued) = Authority::create(CLUSTER).doing("making an authority")?;
    write_pair(home, "ca", &issued)?;
    for node in plan.all() {
        let name = Host::Node(node).name();
        let names = [Host::Node(node).address().to_string()];
        let client = authority.issue_client_plane(&names).doing("making a certificate")?;
        let peer = authority.issue_node(CLUSTER, node.into()).doing("making a certificate")?;
        write_pair(home, &format!("{name}-client"), &client)?;
        write_pair(home, &format!("{name}-peer"), &peer)?;
        let path = home.join(format!("{name}.toml"));
        fs::write(&path, node_file(plan, node, &data(node))).doing(path.display())?;
    }
    Ok(issued.certificate_pem.into_bytes())
}

fn write_pair(folder: &Path, name: &str, issued: &Issued) -> Result<(), Setback> {
    let certificate = folder.join(format!("{name}.pem"));
    fs::write(&certificate, &issued.certificate_pem).doing(certificate.display())?;
    let key = folder.join(format!("{name}.key"));
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&key)
        .doing(key.display())?;
    file.write_all(issued.key_pem.as_bytes()).doing(key.display())
}

/// A node's file.
fn node_file(plan: &Plan, node: u8, data: &str) -> String {
    let name = Host::Node(node).name();
    let at = |node: u8, port: u16| Host::Node(node).at(port);
    let mut file = format!(
        r#"node = {node}
data = "{data}"

[listen]
client = "{}"
peer = "{}"
operations = "{}"

[tls]
authority = "ca.pem"
client_certificate = "{name}-client.pem"
client_key = "{name}-client.key"
peer_certificate = "{name}-peer.pem"
peer_key = "{name}-peer.key"

[storage]
segment_bytes = {}

[runtime]
plane_threads = 1
raft_threads = 1

[log]
filter = "{}"

[cluster]
id = "{CLUSTER}"
shards = {}
replication = {}
claim = "{}"
"#,
        at(node, CLIENT_PORT),
        at(node, PEER_PORT),
        at(node, OPERATIONS_PORT),
        plan.segment_bytes,
        plan.log_filter,
        plan.shards,
        plan.replication.min(plan.nodes),
        super::desk::claim(),
    );
    for member in plan.all() {
        file += &format!(
            "\n[[cluster.nodes]]\nid = {member}\nclient = \"{}\"\npeer = \"{}\"\noperations = \"{}\"\n",
            at(member, CLIENT_PORT),
            at(member, PEER_PORT),
            at(member, OPERATIONS_PORT),
        );
    }
    file + "\n" + &plan.more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_is_told_the_same_founders_and_its_own_name() {
        let mut plan = Plan::new("synod", "r1");
        plan.nodes = 5;
        plan.more = "[faults]\nenabled = true\n".to_owned();
        let founders = |node| {
            let text = node_file(&plan, node, "/data");
            let value: toml::Value = toml::from_str(&text).expect("TOML");
            assert_eq!(value["node"].as_integer(), Some(node.into()));
            assert_eq!(value["faults"]["enabled"].as_bool(), Some(true));
            value["cluster"].clone()
        };
        let first = founders(1);
        assert_eq!(first["nodes"].as_array().map(Vec::len), Some(5));
        assert!((2..=5).all(|node| founders(node) == first));
    }
}
