//! `synod start --join TOKEN`: a node asks to be let in, with a key that it drew itself.
//!
//! The key is on disk before anybody is asked, and the cluster knows a node by its key: an answer that was lost is asked
//! for again, and is the same.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cluster_config::{FeatureLevel, Founder};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use transport::ClientTls;
use transport::authority::NodeKey;
use transport::http::{Client, Method};

use super::{
    Contents, Identity, IdentityError, JoinToken, KnownPeer, advertised, own_key, private_folder,
    write_private,
};
use crate::config::Config;
use crate::upgrade::Spoken;

/// How long a node asks before it gives up: longer than an election, shorter than an operator waits.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause after all nodes of the token were asked once.
const PAUSE: Duration = Duration::from_millis(500);

/// What a node says when it asks to be let in: the body of `POST /v1/cluster/join`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Asked {
    /// The token's secret, base64.
    pub(crate) secret: String,
    /// Its public key, base64 of an uncompressed point of P-256.
    pub(crate) public_key: String,
    /// Where it listens and what it can carry.
    pub(crate) node: Founder,
    /// Host names for its certificate.
    pub(crate) names: Vec<String>,
    /// The highest feature level that it speaks; the first where it is left out.
    #[serde(default)]
    pub(crate) speaks: Option<FeatureLevel>,
}

/// What it is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Admitted {
    /// Its id.
    pub(crate) node: u64,
    /// The cluster's name.
    pub(crate) cluster: String,
    /// Its certificate for the client plane, PEM.
    pub(crate) client_certificate: String,
    /// Its certificate for the peer plane, PEM.
    pub(crate) peer_certificate: String,
    /// The other nodes.
    pub(crate) peers: Vec<KnownPeer>,
}

/// What joining came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// This node is in now.
    Now {
        /// Its id.
        node: u64,
        /// The cluster's name.
        cluster: String,
    },
    /// It was in already; the token was not shown to anybody.
    Before {
        /// Its id.
        node: u64,
        /// The cluster's name.
        cluster: String,
    },
}

/// Asks the cluster of `token` to let the node of `config` in.
///
/// # Errors
/// [`IdentityError`]. After [`IdentityError::Unreachable`] the same call may be repeated.
pub async fn join(config: &Config, token: &JoinToken) -> Result<Joined, IdentityError> {
    if config.is_formed_by_file() {
        return Err(IdentityError::FormedByFile);
    }
    let data = &config.data;
    if let Some(Identity { node, cluster, .. }) = Identity::load(data)? {
        return Ok(Joined::Before { node, cluster });
    }
    private_folder(data).map_err(|source| IdentityError::File { path: data.clone(), source })?;
    let key = drawn(&data.join("joining.key"))?;
    let authority_pem = token.authority_pem();
    let admitted = ask(config, token, &key, &authority_pem).await?;
    let Admitted { node, cluster, client_certificate, peer_certificate, peers } = admitted;
    let contents = Contents {
        identity: &Identity::new(&cluster, node, peers),
        key: &key,
        authority_pem: &authority_pem,
        client_pem: &client_certificate,
        peer_pem: &peer_certificate,
        founding: None,
    };
    contents.keep(data)?;
    // It is in the identity now; a copy that stays behind does no harm.
    let _ = std::fs::remove_file(data.join("joining.key"));
    Ok(Joined::Now { node, cluster })
}

/// The key that an earlier attempt drew, or a new one.
fn drawn(path: &Path) -> Result<NodeKey, IdentityError> {
    if path.exists() {
        return own_key(path);
    }
    let key = NodeKey::draw()?;
    write_private(path, &key.to_pem())?;
    Ok(key)
}

async fn ask(
    config: &Config,
    token: &JoinToken,
    key: &NodeKey,
    authority_pem: &str,
) -> Result<Admitted, IdentityError> {
    let tls = ClientTls::from_ca_pem(authority_pem.as_bytes())
        .map_err(|_| IdentityError::Token("its certificate cannot be used"))?;
    let http = Client::new(tls);
    let until = Instant::now() + PATIENCE;
    let mut reason = "nobody was asked".to_owned();
    loop {
        for address in &token.addresses {
            let found = tokio::net::lookup_host(address.as_str()).await;
            let addresses: Vec<SocketAddr> = match found {
                Ok(found) => found.collect(),
                Err(error) => {
                    reason = format!("{address}: {error}");
                    continue;
                }
            };
            for address in addresses {
                match ask_one(&http, address, config, token, key).await? {
                    Ok(admitted) => return Ok(admitted),
                    Err(why) => reason = format!("{address}: {why}"),
                }
            }
        }
        if Instant::now() + PAUSE >= until {
            return Err(IdentityError::Unreachable(reason));
        }
        sleep(PAUSE).await;
    }
}

/// The outer error is final; the inner one says why another attempt may do better.
async fn ask_one(
    http: &Client,
    address: SocketAddr,
    config: &Config,
    token: &JoinToken,
    key: &NodeKey,
) -> Result<Result<Admitted, String>, IdentityError> {
    let node = advertised::advertised(config, Some(address))?;
    let asked = Asked {
        secret: STANDARD.encode(token.secret),
        public_key: STANDARD.encode(key.public().as_bytes()),
        names: advertised::names(config, &node, Some(address)),
        node,
        speaks: Some(Spoken::here().max),
    };
    let body = Bytes::from(serde_json::to_vec(&asked).expect("plain fields"));
    let response = http.request(Method::POST, address, "/v1/cluster/join", None, Some(body)).await;
    let response = match response {
        Ok(response) => response,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let detail = || {
        let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
        problem["detail"].as_str().unwrap_or("it did not say why").to_owned()
    };
    match response.status {
        200 | 201 => match serde_json::from_slice(&response.body) {
            Ok(admitted) => Ok(Ok(admitted)),
            Err(error) => Ok(Err(format!("its answer cannot be read: {error}"))),
        },
        429 | 500.. => Ok(Err(detail())),
        _ => Err(IdentityError::Refused(detail())),
    }
}
