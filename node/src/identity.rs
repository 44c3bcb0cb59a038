//! Who this node is: what the cluster gave it when it came in, kept in its data folder and nowhere else.
//!
//! A node that was let in has one key, drawn here and never sent. An id without that key is nothing: whoever wipes the
//! folder has a new node, which must come in anew. Nodes named in files bring certificates of their own and have no
//! such folder; they too are known by a key from their first start on (`disk_key`).

mod advertised;
mod certificates;
mod founding;
mod joining;
mod keeper;
mod token;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use cluster_config::Fingerprint;
use ring::digest;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use transport::authority::{AuthorityError, NodeKey};

use crate::clock::Entropy;
use crate::config::{Config, Member};

pub(crate) use certificates::{keep, of_authority, of_newcomer};
pub(crate) use founding::{FIRST, Founding, draw_secret};
pub use founding::{Founded, found};
pub(crate) use joining::{Admitted, Asked};
pub use joining::{Joined, join};
pub(crate) use keeper::{Keeper, Shown, peer_identity};
pub use token::{JOIN_TOKEN_TTL, JoinToken};

const SCHEMA: &str = "synod/identity/v1";

/// Why a node could not come in, or could not found.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// A file of the identity cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file of the identity is not what it should be.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The node is somebody already.
    #[error("{} belongs to node {node} of cluster {cluster} already: start it without founding", data.display())]
    Known {
        /// The data folder.
        data: PathBuf,
        /// Its node.
        node: u64,
        /// Its cluster.
        cluster: String,
    },
    /// The node is nobody yet.
    #[error(
        "{} belongs to no cluster yet: found one with `synod init`, or join one with \
         `synod start --join TOKEN` (a token is made by `synod node join-token`)",
        .0.display()
    )]
    Nobody(PathBuf),
    /// The nodes are named in files: there is nothing to found or to join.
    #[error(
        "cluster.nodes names the first nodes: they form the cluster by themselves; just start them"
    )]
    FormedByFile,
    /// The token cannot be read.
    #[error("this is no join token: {0}")]
    Token(&'static str),
    /// Where this node can be reached is not known.
    #[error("{0}")]
    Advertise(String),
    /// A certificate could not be made or used.
    #[error(transparent)]
    Certificate(#[from] AuthorityError),
    /// The cluster did not let this node in, and will not with this token.
    #[error("the cluster refused: {0}")]
    Refused(String),
    /// No node of the token answered. Trying again with the same token is safe.
    #[error("no node of the token answered ({0}); trying again with the same token is safe")]
    Unreachable(String),
}

/// The files of an identity.
pub(crate) struct Files {
    folder: PathBuf,
    /// What the node is.
    pub(crate) node: PathBuf,
    /// The authority's certificate.
    pub(crate) authority: PathBuf,
    /// Chain for the client plane.
    pub(crate) client_certificate: PathBuf,
    /// Chain for the peer plane.
    pub(crate) peer_certificate: PathBuf,
    /// Which certificates these are, and until when.
    held: PathBuf,
    /// The node's own key.
    pub(crate) key: PathBuf,
    /// What the cluster is founded with; gone once it is.
    pub(crate) founding: PathBuf,
}

impl Files {
    /// Those of the data folder `data`.
    pub(crate) fn below(data: &Path) -> Self {
        Self::of(data.join("identity"))
    }

    fn of(folder: PathBuf) -> Self {
        Self {
            node: folder.join("node.json"),
            authority: folder.join("ca.pem"),
            client_certificate: folder.join("client.pem"),
            peer_certificate: folder.join("peer.pem"),
            held: folder.join("held.json"),
            key: folder.join("key.pem"),
            founding: folder.join("founding.json"),
            folder,
        }
    }
}

/// Another node, as it was known when this one came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownPeer {
    /// Its id.
    pub(crate) node: u64,
    /// Where nodes reach it.
    pub(crate) address: String,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    schema: String,
    /// The cluster's name.
    pub(crate) cluster: String,
    /// This node's id.
    pub(crate) node: u64,
    /// Whom it asks first; the cluster's map knows better once it is here.
    pub(crate) peers: Vec<KnownPeer>,
}

impl Identity {
    fn new(cluster: &str, node: u64, peers: Vec<KnownPeer>) -> Self {
        Self { schema: SCHEMA.to_owned(), cluster: cluster.to_owned(), node, peers }
    }

    /// Who the node of this data folder is; `None` when it is nobody yet.
    ///
    /// # Errors
    /// When the folder cannot be read or says something else.
    pub(crate) fn load(data: &Path) -> Result<Option<Self>, IdentityError> {
        let path = Files::below(data).node;
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(IdentityError::File { path, source }),
        };
        match serde_json::from_slice::<Self>(&text) {
            Ok(identity) if identity.schema == SCHEMA => Ok(Some(identity)),
            Ok(identity) => {
                let problem = format!("`{}` is not `{SCHEMA}`", identity.schema);
                Err(IdentityError::Malformed { path, problem })
            }
            Err(error) => Err(IdentityError::Malformed { path, problem: error.to_string() }),
        }
    }
}

/// Completes `config` with what the cluster gave this node, and says whom it asks first.
///
/// # Errors
/// When the node is nobody yet, or its folder cannot be read.
pub(crate) fn adopt(config: &mut Config) -> Result<Vec<KnownPeer>, IdentityError> {
    if config.is_formed_by_file() {
        let others = config.cluster.nodes.iter().filter(|member| member.id != config.node);
        let peer =
            |member: &Member| KnownPeer { node: member.id, address: member.peer.to_string() };
        return Ok(others.map(peer).collect());
    }
    let identity = Identity::load(&config.data)?;
    let identity = identity.ok_or_else(|| IdentityError::Nobody(config.data.clone()))?;
    config.node = identity.node;
    config.cluster.id = identity.cluster;
    Ok(identity.peers)
}

/// What lies in the folder of an identity, beside the founding.
struct Contents<'a> {
    identity: &'a Identity,
    key: &'a NodeKey,
    authority_pem: &'a str,
    client_pem: &'a str,
    peer_pem: &'a str,
    founding: Option<String>,
}

impl Contents<'_> {
    /// Writes all of it beside its place, makes it durable, and puts it there at once.
    fn keep(&self, data: &Path) -> Result<(), IdentityError> {
        let (new, files) = (data.join("identity.new"), Files::below(data));
        let failed = |source| IdentityError::File { path: new.clone(), source };
        if new.exists() {
            fs::remove_dir_all(&new).map_err(failed)?;
        }
        private_folder(&new).map_err(failed)?;
        let at = Files::of(new.clone());
        let node = serde_json::to_string_pretty(self.identity).expect("plain fields");
        let key = self.key.to_pem();
        let texts = [
            (&at.node, node.as_str()),
            (&at.key, &key),
            (&at.authority, self.authority_pem),
            (&at.client_certificate, self.client_pem),
            (&at.peer_certificate, self.peer_pem),
        ];
        let founding = self.founding.as_deref().map(|text| (&at.founding, text));
        for (path, text) in texts.into_iter().chain(founding) {
            write_private(path, text)?;
        }
        fs::File::open(&new).and_then(|folder| folder.sync_all()).map_err(failed)?;
        fs::rename(&new, &files.folder).map_err(failed)?;
        fs::File::open(data).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

/// By which key this node is known. A node of a file draws one at its first start.
///
/// # Errors
/// When the key cannot be read or written.
pub(crate) fn fingerprint(
    config: &Config,
    entropy: &dyn Entropy,
) -> Result<Fingerprint, IdentityError> {
    if !config.is_formed_by_file() {
        return Ok(print(own_key(&config.tls.peer_key)?.public().as_bytes()));
    }
    let path = config.data.join("disk.key");
    match fs::read(&path) {
        Ok(bytes) => Ok(print(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut bytes = [0; 32];
            entropy.fill(&mut bytes);
            let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            write_private(&path, &text)?;
            Ok(print(text.as_bytes()))
        }
        Err(source) => Err(IdentityError::File { path, source }),
    }
}

fn own_key(path: &Path) -> Result<NodeKey, IdentityError> {
    let text = fs::read_to_string(path)
        .map_err(|source| IdentityError::File { path: path.to_owned(), source })?;
    Ok(NodeKey::from_pem(&text)?)
}

/// SHA-256 of a secret, in hexadecimal, as `cluster.claim` has it.
#[must_use]
pub fn fingerprint_of(secret: &str) -> String {
    print(secret.as_bytes()).to_string()
}

/// SHA-256 of a secret or a public key.
pub(crate) fn print(bytes: &[u8]) -> Fingerprint {
    let digest = digest::digest(&digest::SHA256, bytes);
    Fingerprint(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

fn private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file that only its owner reads, durably.
fn write_private(path: &Path, text: &str) -> Result<(), IdentityError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let write = || {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| IdentityError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
