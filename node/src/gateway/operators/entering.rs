//! Coming in: nodes by a join token, operators by a claim, and who may make either.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cluster_config::{AuthorityKey, Claim, ClusterConfig, Command, FeatureLevel, NodeId, Refusal};
use proto::{Problem, ProblemCode};
use serde_json::json;
use transport::authority::{Authority, PublicKey, Validity};

use super::super::body::{Fields, Segment, invalid};
use super::super::problems::Failure;
use super::{Desk, Operator};
use crate::identity::{
    Admitted, Asked, JOIN_TOKEN_TTL, JoinToken, KnownPeer, draw_secret, of_newcomer, print,
};

/// Longest life of a join token or a claim.
const TTL_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Host names that a node may ask for.
const NAMES_MAX: usize = 8;
/// Names by which nodes know each other; a certificate for clients never carries one.
const OWN_NAMES: &str = ".synod";
/// How long a claim is good for.
const CLAIM_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// `POST /v1/cluster/join`: a node shows a token, and is told its id and given its certificates.
pub(super) async fn join(State(desk): State<Arc<Desk>>, body: Fields) -> Result<Response, Failure> {
    let asked: Asked = body.read()?;
    let secret = STANDARD.decode(&asked.secret).map_err(|_| invalid("secret", "is not base64"))?;
    let key = STANDARD.decode(&asked.public_key);
    let key = key.map_err(|_| invalid("publicKey", "is not base64"))?;
    let key = PublicKey::from_bytes(&key).map_err(|error| invalid("publicKey", error))?;
    let identity = print(key.as_bytes());
    if asked.names.len() > NAMES_MAX || asked.names.iter().any(|name| name.ends_with(OWN_NAMES)) {
        let problem = format!("are at most {NAMES_MAX}, and none ends with `{OWN_NAMES}`");
        return Err(invalid("names", problem).into());
    }
    let known = |config: &ClusterConfig| {
        let shown = print(&secret);
        config.node_of(identity).is_some()
            || config.door.join_tokens.iter().any(|token| token.secret == shown)
    };
    desk.must_know(known, &Refusal::NoSuchJoinToken).await?;
    let speaks = match desk.council.config().level() {
        // A node of this cluster may not know that there are levels.
        FeatureLevel::FIRST => FeatureLevel::FIRST,
        _ => asked.speaks.unwrap_or(FeatureLevel::FIRST),
    };
    let command = Command::Admit { secret: print(&secret), identity, node: asked.node, speaks };
    desk.carry_out("join token", &command).await?;
    let config = desk.council.config();
    let node = config.node_of(identity).expect("it was admitted, and that was applied here");
    let validity = of_newcomer(desk.parts.clock.now().0);
    let certified = certify(&config, (node, &key), &asked.names, validity)?;
    let peers = config.nodes.iter().filter(|(id, _)| **id != node);
    let peers =
        peers.map(|(id, node)| KnownPeer { node: id.0, address: node.addresses.peer.clone() });
    let admitted = Admitted {
        node: node.0,
        cluster: config.cluster.to_string(),
        client_certificate: certified.client_pem,
        peer_certificate: certified.peer_pem,
        peers: peers.collect(),
    };
    Ok((StatusCode::CREATED, Json(admitted)).into_response())
}

fn certify(
    config: &ClusterConfig,
    (node, key): (NodeId, &PublicKey),
    names: &[String],
    validity: Validity,
) -> Result<transport::authority::Certified, Problem> {
    let cluster = config.cluster.as_str();
    let signer = signer(config)?;
    let authority = Authority::from_pem(cluster, &signer.certificate, &signer.key);
    let authority = authority.map_err(|error| {
        tracing::error!(%error, "the cluster's authority cannot be used");
        Problem::of(ProblemCode::Internal)
    })?;
    let mut certified = authority
        .certify(cluster, node.0, key, names, validity)
        .map_err(|error| invalid("names", error))?;
    certified.client_pem.push_str(signer.cross.as_deref().unwrap_or_default());
    Ok(certified)
}

fn signer(config: &ClusterConfig) -> Result<&AuthorityKey, Problem> {
    config.door.authority.as_ref().ok_or_else(|| super::answers::refused(&Refusal::NoAuthority))
}

/// `POST /v1/cluster/claim`: whoever shows the secret of a claim becomes an operator, once.
pub(super) async fn claim(
    State(desk): State<Arc<Desk>>,
    mut body: Fields,
) -> Result<Response, Failure> {
    let (secret, name) = (body.text("secret")?, body.text("name")?);
    // Drawn by the claimer, so that a lost answer can be asked for again.
    let token = body.text("token")?;
    if token.len() < TOKEN_BYTES_MIN {
        return Err(invalid("token", format!("has fewer than {TOKEN_BYTES_MIN} characters")).into());
    }
    let (secret, shown) = (print(secret.as_bytes()), print(token.as_bytes()));
    let known = |config: &ClusterConfig| {
        config.door.operator(shown).is_some()
            || config.door.claims.iter().any(|claim| claim.secret == secret)
    };
    desk.must_know(known, &Refusal::NoSuchClaim).await?;
    let command = Command::Claim { secret, name: name.clone(), token: shown };
    desk.carry_out("claim", &command).await?;
    Ok((StatusCode::CREATED, Json(json!({ "name": name }))).into_response())
}

/// 32 bytes in base64: what nobody guesses.
const TOKEN_BYTES_MIN: usize = 43;

/// `POST /v1/cluster/join-tokens`: makes a join token.
pub(super) async fn make_join_token(
    State(desk): State<Arc<Desk>>,
    Operator(who): Operator,
    mut body: Fields,
) -> Result<Response, Failure> {
    let uses = body.optional_number("uses")?.unwrap_or(1);
    let uses = u32::try_from(uses).map_err(|_| invalid("uses", "is too large"))?;
    let ttl = body.optional_number("ttlSeconds")?.map_or(JOIN_TOKEN_TTL, Duration::from_secs);
    if ttl > TTL_MAX {
        return Err(invalid("ttlSeconds", "is longer than 30 days").into());
    }
    let replaces = body.optional_number("replaces")?.map(NodeId);
    desk.council.linearize().await.map_err(|error| super::problems::of_route(&error))?;
    let config = desk.council.config();
    let authority = &signer(&config)?.certificate;
    let token = JoinToken::draw(authority, addresses(&desk, &config), &*desk.parts.entropy);
    let token = token.map_err(|error| {
        tracing::error!(%error, "the cluster's authority cannot be used");
        Problem::of(ProblemCode::Internal)
    })?;
    let expires_at_ms = desk.after(ttl);
    let known =
        cluster_config::JoinToken { secret: token.fingerprint(), uses, expires_at_ms, replaces };
    desk.carry_out(&who, &Command::AddJoinToken(known)).await?;
    let body = json!({ "token": token.reveal(), "uses": uses, "expiresAtMs": expires_at_ms });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// Where a new node asks: this node first, then some that are alive.
fn addresses(desk: &Desk, config: &ClusterConfig) -> Vec<String> {
    /// More would only make the token longer.
    const NAMED_MAX: usize = 3;
    let here = |id: &NodeId| id.0 == desk.parts.node;
    let mut nodes: Vec<_> =
        config.nodes.iter().filter(|(id, _)| here(id) || desk.peers.alive(id.0)).collect();
    nodes.sort_by_key(|(id, _)| !here(id));
    nodes.into_iter().take(NAMED_MAX).map(|(_, node)| node.addresses.client.clone()).collect()
}

/// `POST /v1/cluster/claims`: opens a claim, with which another operator comes in.
pub(super) async fn make_claim(
    State(desk): State<Arc<Desk>>,
    Operator(who): Operator,
) -> Result<Response, Failure> {
    let secret = draw_secret(&*desk.parts.entropy);
    let expires_at_ms = desk.after(CLAIM_TTL);
    let claim = Claim { secret: print(secret.as_bytes()), expires_at_ms };
    desk.carry_out(&who, &Command::AddClaim(claim)).await?;
    let body = json!({ "secret": secret, "expiresAtMs": expires_at_ms });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// `DELETE /v1/cluster/operators/{name}`: ends an operator's rights.
pub(super) async fn remove_operator(
    State(desk): State<Arc<Desk>>,
    Operator(who): Operator,
    Segment(name): Segment,
) -> Result<Response, Failure> {
    desk.carry_out(&who, &Command::RemoveOperator { name }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
