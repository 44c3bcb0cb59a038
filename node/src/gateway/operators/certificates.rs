//! Certificates: who holds which until when, new ones for a node, and another authority for all.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cluster_config::{
    AuthorityKey, ClusterConfig, Command, FeatureLevel, NodeId, Refusal, Rotation,
};
use proto::{Problem, ProblemCode};
use serde_json::{Value, json};
use transport::authority::Authority;

use super::super::body::Fields;
use super::super::problems::{self, Failure};
use super::upgrading::must_be_at;
use super::{Desk, Operator, answers};
use crate::identity::of_authority;

/// `GET /v1/cluster/certificates`: what each node holds, the authority, and a change of it.
pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    Operator(_): Operator,
) -> Result<Response, Failure> {
    let config = desk.council.config();
    let now_ms = desk.parts.clock.now().0;
    let trust = &config.door.trust;
    let nodes = config.nodes.keys().map(|id| {
        let held = trust.held.get(id);
        json!({
            "node": id.0,
            "alive": is_heard(&desk, *id),
            "authority": held.map(|held| held.issuer),
            "trusts": held.map(|held| &held.trusts),
            "issuedAtMs": held.map(|held| held.issued_at_ms),
            "expiresAtMs": held.map(|held| held.expires_at_ms),
            "daysLeft": held.map(|held| days(held.expires_at_ms, now_ms)),
            "asked": trust.asked.contains_key(id),
        })
    });
    let body = json!({
        "schema": "synod/certificates/v1",
        "nodes": nodes.collect::<Vec<_>>(),
        "authority": authority(&config, now_ms),
        "rotation": rotation(&desk, &config),
    });
    Ok(Json(body).into_response())
}

fn authority(config: &ClusterConfig, now_ms: u64) -> Value {
    let Some(authority) = &config.door.authority else { return Value::Null };
    let ends = transport::expires_at_ms(authority.certificate.as_bytes());
    json!({
        "generation": config.door.trust.generation,
        "certificate": authority.certificate,
        "expiresAtMs": ends,
        "daysLeft": ends.map(|ends| days(ends, now_ms)),
    })
}

fn rotation(desk: &Desk, config: &ClusterConfig) -> Value {
    let step = match &config.door.trust.rotation {
        None => return Value::Null,
        Some(Rotation::Spreading { .. }) => "spreading",
        Some(Rotation::Issuing { .. }) => "issuing",
    };
    let waits = config.rotation_waits_for().into_iter();
    let waits = waits.map(|id| json!({ "node": id.0, "alive": is_heard(desk, id) }));
    json!({ "step": step, "waitsFor": waits.collect::<Vec<_>>() })
}

/// Whole days that are left; negative once it has run out.
fn days(ends_ms: u64, now_ms: u64) -> i64 {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let left = i64::try_from(ends_ms).unwrap_or(i64::MAX).saturating_sub_unsigned(now_ms);
    left.div_euclid(DAY_MS)
}

fn is_heard(desk: &Desk, node: NodeId) -> bool {
    node.0 == desk.parts.node || desk.peers.alive(node.0)
}

/// `POST /v1/cluster/certificates`: has one node get a new certificate, or all of them.
pub(super) async fn renew(
    State(desk): State<Arc<Desk>>,
    Operator(who): Operator,
    mut body: Fields,
) -> Result<Response, Failure> {
    let node = body.optional_number("node")?.map(NodeId);
    desk.council.linearize().await.map_err(|error| problems::of_route(&error))?;
    must_be_at(&desk.council.config(), FeatureLevel::CERTIFICATES, "a renewal")?;
    let all = || desk.council.config().nodes.keys().copied().collect();
    let nodes: Vec<NodeId> = node.map_or_else(all, |node| vec![node]);
    for node in &nodes {
        desk.carry_out(&who, &Command::RenewCertificate { node: *node }).await?;
    }
    let nodes: Vec<u64> = nodes.iter().map(|node| node.0).collect();
    let body = json!({ "schema": "synod/certificates-asked/v1", "nodes": nodes });
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

/// `POST /v1/cluster/authority`: draws another authority, which takes the present one's place step by step.
pub(super) async fn rotate(
    State(desk): State<Arc<Desk>>,
    Operator(who): Operator,
) -> Result<Response, Failure> {
    desk.council.linearize().await.map_err(|error| problems::of_route(&error))?;
    let config = desk.council.config();
    must_be_at(&config, FeatureLevel::CERTIFICATES, "another authority")?;
    if let Some(node) = config.nodes.keys().copied().find(|node| !is_heard(&desk, *node)) {
        let why = "it is not heard: bring it back, or decommission it first".to_owned();
        return Err(answers::refused(&Refusal::NotYetAll { node, why }).into());
    }
    let next = successor(&config, desk.parts.clock.now().0)?;
    desk.carry_out(&who, &Command::RotateAuthority { next }).await?;
    let config = desk.council.config();
    let body = json!({
        "schema": "synod/authority-rotation/v1",
        "rotation": rotation(&desk, &config),
    });
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

fn successor(config: &ClusterConfig, now_ms: u64) -> Result<AuthorityKey, Problem> {
    let authority = config.door.authority.as_ref();
    let old = authority.ok_or_else(|| answers::refused(&Refusal::NoAuthority))?;
    let cluster = config.cluster.as_str();
    let next = Authority::from_pem(cluster, &old.certificate, &old.key)
        .and_then(|old| old.succeed(cluster, of_authority(now_ms)))
        .map_err(|error| {
            tracing::error!(%error, "the cluster's authority cannot be used");
            Problem::of(ProblemCode::Internal)
        })?;
    Ok(AuthorityKey {
        certificate: next.issued.certificate_pem,
        key: next.issued.key_pem,
        cross: Some(next.cross_pem),
    })
}
