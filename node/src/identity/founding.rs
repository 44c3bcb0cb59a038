//! `synod init`: makes a cluster of one node, offline. The rest join it.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cluster_config::{AuthorityKey, Claim, Door, Founder, NodeId};
use serde::{Deserialize, Serialize};
use transport::authority::{Authority, NodeKey};

use super::{Contents, Files, Identity, IdentityError, JoinToken, advertised, print};
use crate::clock::{Clock, Entropy};
use crate::config::Config;

/// How long the first claim is good for.
const CLAIM_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// The first node's id.
pub(crate) const FIRST: u64 = 1;

/// What the cluster is founded with: group 0's first state. Holds the authority's key until the founding.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Founding {
    /// Shards to create.
    pub(crate) shards: u32,
    /// Voters of each shard, once there are so many nodes.
    pub(crate) replication: u32,
    /// This node.
    pub(crate) node: Founder,
    /// Who may come in.
    pub(crate) door: Door,
}

impl Founding {
    /// What this data folder was made to found; `None` when it founds nothing, or has.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn load(config: &Config) -> Result<Option<Self>, IdentityError> {
        let path = Files::below(&config.data).founding;
        match std::fs::read(&path) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(founding) => Ok(Some(founding)),
                Err(error) => Err(IdentityError::Malformed { path, problem: error.to_string() }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(IdentityError::File { path, source }),
        }
    }

    /// Forgets it: the cluster is founded, and holds its authority's key itself.
    pub(crate) fn forget(config: &Config) {
        let path = Files::below(&config.data).founding;
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "this file holds the authority's key and could not be removed");
        }
    }
}

/// What founding came to; two of these are secrets that are nowhere else.
#[derive(Debug)]
pub struct Founded {
    /// The cluster's name.
    pub cluster: String,
    /// Where clients and operators reach the first node.
    pub client: String,
    /// The authority's certificate.
    pub authority: PathBuf,
    /// Lets the other nodes in.
    pub join: JoinToken,
    /// Makes its holder the first operator, once.
    pub claim: String,
}

/// Prepares the data folder of `config` to found a cluster that `others` more nodes may join with one token.
///
/// # Errors
/// [`IdentityError`]; nothing is written unless all of it is.
pub fn found(
    config: &Config,
    others: u32,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<Founded, IdentityError> {
    let data = &config.data;
    if config.is_formed_by_file() {
        return Err(IdentityError::FormedByFile);
    }
    if let Some(Identity { node, cluster, .. }) = Identity::load(data)? {
        return Err(IdentityError::Known { data: data.clone(), node, cluster });
    }
    let cluster = config.cluster.id.clone();
    let node = advertised::advertised(config, None)?;
    let (authority, files) = Authority::create(&cluster)?;
    let key = NodeKey::draw()?;
    let names = advertised::names(config, &node, None);
    let certified = authority.certify(
        &cluster,
        FIRST,
        &key.public(),
        &names,
        super::of_newcomer(clock.now().0),
    )?;
    let client = node.addresses.client.clone();
    let join = JoinToken::draw(authority.certificate_pem(), vec![client.clone()], entropy)?;
    let claim = draw_secret(entropy);
    let after = |ttl: Duration| clock.now().0 + u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let token = cluster_config::JoinToken {
        secret: print(&join.secret),
        uses: others.clamp(1, cluster_config::JOIN_TOKEN_USES_MAX),
        expires_at_ms: after(super::JOIN_TOKEN_TTL),
        replaces: None::<NodeId>,
    };
    let door = Door {
        authority: Some(AuthorityKey {
            certificate: files.certificate_pem.clone(),
            key: files.key_pem,
            cross: None,
        }),
        join_tokens: vec![token],
        claims: vec![Claim { secret: print(claim.as_bytes()), expires_at_ms: after(CLAIM_TTL) }],
        ..Door::default()
    };
    let (shards, replication) = (config.cluster.shards, config.cluster.replication);
    let founding = Founding { shards, replication, node, door };
    let founding = serde_json::to_string(&founding).expect("plain fields");
    super::private_folder(data)
        .map_err(|source| IdentityError::File { path: data.clone(), source })?;
    let contents = Contents {
        identity: &Identity::new(&cluster, FIRST, Vec::new()),
        key: &key,
        authority_pem: &files.certificate_pem,
        client_pem: &certified.client_pem,
        peer_pem: &certified.peer_pem,
        founding: Some(founding),
    };
    contents.keep(data)?;
    let authority = Files::below(data).authority;
    Ok(Founded { cluster, client, authority, join, claim })
}

/// A secret that somebody will paste. It begins with a word of its own, so that no shell and no parser takes it for an option.
pub(crate) fn draw_secret(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    format!("sc1.{}", URL_SAFE_NO_PAD.encode(bytes))
}
