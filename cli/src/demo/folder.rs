//! The demo's folder: an authority, certificates, three node files, and room for three nodes' data.
//!
//! A temporary folder is removed when the demo ends, in whatever way; a named one is kept and can be
//! run again, with the same users and everything they said.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use transport::authority::{Authority, Issued};

use crate::{
    exit::{Exit, Failure},
    seed,
};

/// The cluster's name, part of every certificate.
const CLUSTER: &str = "demo";
/// Nodes of a demo: the fewest that can lose one.
pub(crate) const NODES: u16 = 3;
/// Ports from one node to the next.
const PORTS_PER_NODE: u16 = 10;
/// People for whom the demo makes accounts.
const PEOPLE: [&str; 2] = ["alice", "bob"];
const SCHEMA: &str = "synod/demo/v1";

/// Where one node of the demo is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) id: u64,
    pub(crate) client: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) operations: SocketAddr,
    pub(crate) plain: SocketAddr,
    pub(crate) folder: PathBuf,
}

/// What a named folder remembers from run to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Memory {
    schema: String,
    port_base: u16,
    /// Shards that it was founded with.
    #[serde(default = "shards_once")]
    shards: u32,
    /// Runs so far, this one included: bots get new names in each.
    pub(crate) runs: u64,
    /// Names and passwords.
    pub(crate) people: Vec<(String, String)>,
    /// By which the demo becomes an operator of its cluster.
    #[serde(default = "secret")]
    pub(crate) claim: String,
    /// The token of that operator.
    #[serde(default = "secret")]
    pub(crate) operator: String,
}

/// Shards of a folder from before they were chosen by the machine.
fn shards_once() -> u32 {
    16
}

/// Shards of three nodes that share this machine. A shard is a line of work: beyond two for each core more of them only
/// divide what waits into smaller entries (docs/decisions/0008).
fn shards_of_this_machine() -> u32 {
    u32::try_from(2 * cores()).unwrap_or(u32::MAX).clamp(4, 16)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A secret for an operator.
fn secret() -> String {
    seed::secret(48)
}

/// The folder of one demo, held by this process alone.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) temporary: bool,
    pub(crate) memory: Memory,
    pub(crate) places: Vec<Place>,
    _lock: File,
}

impl Folder {
    /// Makes or opens the folder and everything in it that must be there before a node starts.
    pub(crate) fn open(
        data: Option<&Path>,
        port_base: u16,
        shards: Option<u32>,
        faults: bool,
    ) -> Result<Self, Failure> {
        let places = ports(port_base)?;
        let temporary = data.is_none();
        let path = match data {
            Some(path) => std::path::absolute(path).map_err(Failure::internal)?,
            None => std::env::temp_dir().join(format!("synod-demo-{}", seed::secret(10))),
        };
        let unusable =
            |e: io::Error| Failure::new(Exit::NotAllowed, format!("{}: {e}", path.display()));
        private_folder(&path).map_err(unusable)?;
        let lock = lock(&path)?;
        let memory = remember(&path, port_base, shards)?;
        let mut folder = Folder { path, temporary, memory, places: Vec::new(), _lock: lock };
        folder.places = places
            .into_iter()
            .map(|place| Place { folder: folder.path.join(format!("node-{}", place.id)), ..place })
            .collect();
        match folder.furnish(faults) {
            Ok(()) => Ok(folder),
            Err(failure) => {
                folder.leave();
                Err(failure)
            }
        }
    }

    /// The certificate that signs everything in this demo.
    pub(crate) fn ca(&self) -> PathBuf {
        self.path.join("ca.pem")
    }

    /// The token of the demo's operator.
    pub(crate) fn operator(&self) -> PathBuf {
        self.path.join("operator.token")
    }

    /// Ends the use of the folder. A temporary one is gone after this.
    pub(crate) fn leave(self) {
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            eprintln!("synod: {} could not be removed: {error}", self.path.display());
        }
    }

    fn furnish(&self, faults: bool) -> Result<(), Failure> {
        let unusable =
            |e: io::Error| Failure::new(Exit::NotAllowed, format!("{}: {e}", self.path.display()));
        let uncertified = |e: transport::authority::AuthorityError| Failure::internal(e);
        let authority = self.authority()?;
        for place in &self.places {
            private_folder(&place.folder).map_err(unusable)?;
            if !place.folder.join("peer.key").exists() {
                let client = authority.issue_client_plane(&[]).map_err(uncertified)?;
                let peer = authority.issue_node(CLUSTER, place.id).map_err(uncertified)?;
                write_pair(&place.folder, "client", &client).map_err(unusable)?;
                write_pair(&place.folder, "peer", &peer).map_err(unusable)?;
            }
            let file = node_file(place, &self.places, &self.memory, faults);
            fs::write(place.folder.join("node.toml"), file).map_err(unusable)?;
        }
        Ok(())
    }

    /// The authority in the folder, made at the first run.
    fn authority(&self) -> Result<Authority, Failure> {
        let (certificate, key) = (self.ca(), self.path.join("ca.key"));
        let unusable = |e: io::Error| {
            Failure::new(Exit::NotAllowed, format!("{}: {e}", certificate.display()))
        };
        if certificate.exists() {
            let certificate_pem = fs::read_to_string(&certificate).map_err(unusable)?;
            let key_pem = fs::read_to_string(&key).map_err(unusable)?;
            return Authority::from_pem(CLUSTER, &certificate_pem, &key_pem)
                .map_err(|e| Failure::new(Exit::Rejected, e));
        }
        let (authority, issued) = Authority::create(CLUSTER).map_err(Failure::internal)?;
        write_pair(&self.path, "ca", &issued).map_err(unusable)?;
        Ok(authority)
    }
}

/// The addresses of all nodes, none of them taken.
fn ports(port_base: u16) -> Result<Vec<Place>, Failure> {
    let address = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let place = |node: u16| {
        let first = port_base + node * PORTS_PER_NODE;
        Place {
            id: u64::from(node) + 1,
            client: address(first),
            peer: address(first + 1),
            operations: address(first + 2),
            plain: address(first + 3),
            folder: PathBuf::new(),
        }
    };
    let places: Vec<Place> = (0..NODES).map(place).collect();
    for place in &places {
        for address in [place.client, place.peer, place.operations, place.plain] {
            std::net::TcpListener::bind(address).map_err(|e| taken(address, &e))?;
        }
        std::net::UdpSocket::bind(place.client).map_err(|e| taken(place.client, &e))?;
    }
    Ok(places)
}

fn taken(address: SocketAddr, error: &io::Error) -> Failure {
    let advice = "is another demo running? Choose other ports with --port-base";
    Failure::new(Exit::Rejected, format!("{address} cannot be used ({error}): {advice}"))
}

fn lock(path: &Path) -> Result<File, Failure> {
    let file = path.join("demo.lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&file)
        .map_err(|e| Failure::new(Exit::NotAllowed, format!("{}: {e}", file.display())))?;
    lock.try_lock().map_err(|_| {
        let why = "is used by another demo: stop it first";
        Failure::new(Exit::Rejected, format!("{} {why}", path.display()))
    })?;
    Ok(lock)
}

/// What the folder remembers, with this run counted.
fn remember(path: &Path, port_base: u16, shards: Option<u32>) -> Result<Memory, Failure> {
    let file = path.join("demo.json");
    let wrong = |e: &dyn std::fmt::Display| {
        Failure::new(Exit::Rejected, format!("{}: {e}", file.display()))
    };
    let mut memory = match fs::read(&file) {
        Ok(bytes) => serde_json::from_slice::<Memory>(&bytes).map_err(|e| wrong(&e))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Memory {
            schema: SCHEMA.to_owned(),
            port_base,
            shards: shards.unwrap_or_else(shards_of_this_machine),
            runs: 0,
            people: PEOPLE.map(|name| (name.to_owned(), seed::secret(12))).to_vec(),
            claim: secret(),
            operator: secret(),
        },
        Err(error) => return Err(wrong(&error)),
    };
    if memory.port_base != port_base {
        let was = memory.port_base;
        return Err(wrong(&format!(
            "this cluster lives at --port-base {was}: use that, or another folder"
        )));
    }
    if shards.is_some_and(|shards| shards != memory.shards) {
        let was = memory.shards;
        return Err(wrong(&format!(
            "this cluster has --shards {was}: use that, or another folder"
        )));
    }
    memory.runs += 1;
    let bytes = serde_json::to_vec_pretty(&memory).expect("plain values");
    write_private(&file, &bytes).map_err(|e| wrong(&e))?;
    Ok(memory)
}

/// A folder that only its owner reads.
fn private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

fn write_pair(folder: &Path, name: &str, issued: &Issued) -> io::Result<()> {
    write_private(&folder.join(format!("{name}.key")), issued.key_pem.as_bytes())?;
    fs::write(folder.join(format!("{name}.pem")), &issued.certificate_pem)
}

/// A node's file. Its paths are relative to its own folder.
fn node_file(place: &Place, all: &[Place], memory: &Memory, faults: bool) -> String {
    // The nodes of a demo share one machine: each takes its part of the cores, and at least one thread.
    let threads = (cores() / all.len().max(1)).max(1);
    let mut file = format!(
        r#"# Written by `synod demo`, again at each run.
node = {}
data = "data"

[listen]
client = "{}"
peer = "{}"
operations = "{}"
plain = "{}"

[tls]
authority = "../ca.pem"
authority_key = "../ca.key"
client_certificate = "client.pem"
client_key = "client.key"
peer_certificate = "peer.pem"
peer_key = "peer.key"

[runtime]
plane_threads = {threads}
raft_threads = {threads}

[log]
filter = "info,openraft=warn"

[faults]
enabled = {faults}

[cluster]
id = "{CLUSTER}"
shards = {}
claim = "{}"
"#,
        place.id,
        place.client,
        place.peer,
        place.operations,
        place.plain,
        memory.shards,
        node::identity::fingerprint_of(&memory.claim)
    );
    for member in all {
        file.push_str(&format!(
            "\n[[cluster.nodes]]\nid = {}\nclient = \"{}\"\npeer = \"{}\"\noperations = \"{}\"\n",
            member.id, member.client, member.peer, member.operations
        ));
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four ports in a row that nobody uses now, for three nodes.
    const BASE: u16 = 28_400;

    #[test]
    fn a_named_folder_is_kept_and_opened_again_with_its_users() {
        let parent = tempfile::tempdir().expect("a folder");
        let data = parent.path().join("demo");
        let first = Folder::open(Some(&data), BASE, None, true).expect("a new folder");
        let people = first.memory.people.clone();
        assert_eq!(first.memory.runs, 1);
        let second = Folder::open(Some(&data), BASE, None, true).map(|_| ()).expect_err("locked");
        assert_eq!(second.exit, Exit::Rejected);
        first.leave();
        let again = Folder::open(Some(&data), BASE, None, true).expect("free again");
        assert_eq!((again.memory.runs, &again.memory.people), (2, &people));
        again.leave();
        let moved =
            Folder::open(Some(&data), BASE + 100, None, true).map(|_| ()).expect_err("moved");
        assert!(moved.message.contains("--port-base 28400"), "{moved}");
    }

    #[test]
    fn the_number_of_shards_is_chosen_once() {
        let parent = tempfile::tempdir().expect("a folder");
        let (data, base) = (parent.path().join("demo"), BASE + 120);
        let founded = |folder: &Folder| {
            let file = folder.places[2].folder.join("node.toml");
            node::config::Config::load(&file).expect("a file that the node accepts").cluster.shards
        };
        let first = Folder::open(Some(&data), base, Some(7), true).expect("a new folder");
        assert_eq!(founded(&first), 7);
        first.leave();
        let again = Folder::open(Some(&data), base, None, true).expect("as it was");
        assert_eq!(founded(&again), 7);
        again.leave();
        let other = Folder::open(Some(&data), base, Some(8), true).map(|_| ()).expect_err("other");
        assert!(other.message.contains("--shards 7"), "{other}");
    }

    #[test]
    fn a_temporary_folder_is_gone_after_use_and_nodes_accept_their_files() {
        let folder = Folder::open(None, BASE + 40, None, false).expect("a new folder");
        for place in &folder.places {
            let config = node::config::Config::load(&place.folder.join("node.toml"));
            let config = config.expect("a file that the node accepts");
            assert_eq!(config.node, place.id);
            assert!(!config.faults.enabled);
            for file in [config.tls.authority, config.tls.peer_key, config.tls.client_certificate] {
                assert!(file.exists(), "{}", file.display());
            }
        }
        let path = folder.path.clone();
        folder.leave();
        assert!(!path.exists());
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = std::net::TcpListener::bind(("127.0.0.1", BASE + 80 + 11)).expect("free");
        let failure = Folder::open(None, BASE + 80, None, false).map(|_| ()).expect_err("in use");
        assert!(failure.message.contains(&(BASE + 91).to_string()), "{failure}");
        drop(taken);
    }
}
