//! The operations port: plain HTTP for operators and their tools, bound to loopback.
//!
//! `/metrics` in Prometheus' text form, `/livez` (the process turns), `/readyz` (clients are served and every
//! local shard knows a leader and has applied), `/status` (what this node thinks the cluster is) and, where the node's file allows it,
//! `GET /deadletters` lists what could not be told to users who were away, of the shards that this node leads, and
//! `POST /deadletters/{id}/retry` tells one once more. `POST /fault` cuts this node off from others for demonstrations and tests.
//! `POST /compare` has the replicas of every group compared that this node leads; what comes of it is in `/status` and the log.
//! `POST /reload` reads the node's file again.
//! `POST /backup` begins a backup on this node and `GET /backups` lists those in its folder.
//! Nothing here is reachable from the client plane, and nothing here names a user.

mod backups;
mod letters;
mod metrics;
mod process;
mod reloading;
mod sampled;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Json, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

pub(crate) use metrics::{Metrics, upkeep};

use crate::backup::Backups;
use crate::digest::Divergence;
use crate::push::DeadLetters;
use crate::reload::Reload;

/// What this node knows about one of its shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ShardStatus {
    /// The raft group; 0 is the cluster's own.
    pub(crate) group: u32,
    /// The leader as this node knows it.
    pub(crate) leader: Option<u64>,
    /// What this node is in the group.
    pub(crate) role: Role,
    /// The term.
    pub(crate) term: u64,
    /// The last index that was applied here.
    pub(crate) applied: u64,
    /// The last index in the log here.
    pub(crate) last: u64,
}

/// What a node is in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Proposes.
    Leader,
    /// Votes and follows.
    Follower,
    /// Follows without a vote.
    Learner,
}

/// Whether this node takes clients in. It only goes forward.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clients {
    /// Not yet: it starts.
    #[default]
    NotYet,
    /// At all its addresses.
    Served,
    /// Not any more: it stops, and those who are in go elsewhere.
    Leaving,
}

/// One node of the cluster as seen from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PeerStatus {
    /// Its id.
    pub(crate) id: u64,
    /// Whether it was heard lately; always true for this node itself.
    pub(crate) alive: bool,
    /// Where clients reach it.
    pub(crate) client: String,
}

/// What the operations port asks of the node that runs it.
pub(crate) trait Operated: Send + Sync + 'static {
    /// This node's id.
    fn node(&self) -> u64;
    /// Wall time, milliseconds since 1970, for whoever compares clocks.
    fn now_ms(&self) -> u64;
    /// The cluster's name.
    fn cluster(&self) -> String;
    /// The cluster's feature level; `None` until the shard map is known.
    fn level(&self) -> Option<u32> {
        None
    }
    /// How many groups this node should run; `None` until the shard map is known.
    fn groups_expected(&self) -> Option<usize>;
    /// The groups that run here.
    fn shards(&self) -> Vec<ShardStatus>;
    /// All nodes.
    fn peers(&self) -> Vec<PeerStatus>;
    /// Whether clients are taken in.
    fn clients(&self) -> Clients;
    /// Links that are open here now.
    fn links(&self) -> usize;
    /// What was found damaged on this node's disk or is another state than elsewhere, a sentence for each place.
    fn damaged(&self) -> Vec<String> {
        Vec::new()
    }
    /// The groups whose replicas differ, as far as this node was told.
    fn divergences(&self) -> Vec<Divergence> {
        Vec::new()
    }
    /// Has the replicas of every group compared that this node leads.
    fn compare(&self) {}
    /// Cuts this node off from `nodes`, both ways; an empty set heals. `None` when faults are not enabled.
    fn cut(&self, nodes: BTreeSet<u64>) -> Option<()>;
    /// When the certificates of this node run out: which, and seconds since 1970.
    fn certificates(&self) -> Vec<(&'static str, u64)>;
    /// Figures of the journal.
    fn journal(&self) -> store::JournalStats;
    /// What could not be told to users who were away; `None` until the node serves clients.
    fn letters(&self) -> Option<DeadLetters>;
    /// The node's file; `None` when it was not started with one.
    fn reload(&self) -> Option<Arc<Reload>> {
        None
    }
    /// The backups that are made here; `None` until the cluster is known.
    fn backups(&self) -> Option<Backups>;
}

/// What the handlers share.
#[derive(Clone)]
struct Port {
    node: Arc<dyn Operated>,
    metrics: Metrics,
    opened: Instant,
}

/// Every call of the operations port: method, path, handler. The only place where they are named.
fn routes() -> [(&'static str, &'static str, MethodRouter<Port>); 11] {
    [
        ("GET", "/metrics", get(scrape)),
        ("GET", "/livez", get(|| async { "alive\n" })),
        ("GET", "/readyz", get(readyz)),
        ("GET", "/status", get(status)),
        ("POST", "/fault", post(fault)),
        ("POST", "/compare", post(compare)),
        ("POST", "/reload", post(reloading::reload)),
        ("GET", "/backups", get(backups::list)),
        ("POST", "/backup", post(backups::begin)),
        ("GET", "/deadletters", get(letters::list)),
        ("POST", "/deadletters/{letter}/retry", post(letters::retry)),
    ]
}

/// Method and path of every call, for those who must have an opinion on each.
pub(crate) fn calls() -> Vec<(&'static str, &'static str)> {
    routes().into_iter().map(|(method, path, _)| (method, path)).collect()
}

/// The router of the operations port.
pub(crate) fn router(node: Arc<dyn Operated>, metrics: Metrics) -> axum::Router {
    routes()
        .into_iter()
        .fold(axum::Router::new(), |router, (_, path, handler)| router.route(path, handler))
        .with_state(Port { node, metrics, opened: Instant::now() })
}

async fn scrape(State(port): State<Port>) -> Response {
    let mut text = port.metrics.render();
    let uptime = port.opened.elapsed().as_secs_f64();
    text.push_str(&sampled::text(&sampled::samples(&*port.node, uptime)));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn readyz(State(port): State<Port>) -> Response {
    let missing = missing(&*port.node);
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body =
        json!({ "schema": "synod/ready/v1", "ready": missing.is_empty(), "missing": missing });
    (status, Json(body)).into_response()
}

/// What keeps this node from being ready, one sentence each.
fn missing(node: &dyn Operated) -> Vec<String> {
    let (mut missing, shards) = (Vec::new(), node.shards());
    match node.clients() {
        Clients::Served => {}
        Clients::NotYet => missing.push("clients are not served yet".to_owned()),
        Clients::Leaving => missing.push("this node stops: clients go elsewhere".to_owned()),
    }
    match node.groups_expected() {
        None => missing.push("the shard map is not known yet".to_owned()),
        Some(expected) if shards.len() < expected => {
            missing.push(format!("{} of {expected} groups run", shards.len()));
        }
        Some(_) => {}
    }
    for shard in shards {
        if shard.leader.is_none() {
            missing.push(format!("group {} knows no leader", shard.group));
        } else if shard.applied == 0 {
            missing.push(format!("group {} has applied nothing yet", shard.group));
        }
    }
    missing
}

async fn status(State(port): State<Port>) -> Response {
    Json(status_of(&*port.node)).into_response()
}

/// What a node thinks the cluster is.
pub(crate) fn status_of(node: &dyn Operated) -> serde_json::Value {
    json!({
        "schema": "synod/status/v1",
        "cluster": node.cluster(),
        "node": node.node(),
        "links": node.links(),
        "level": node.level(),
        "now_ms": node.now_ms(),
        "nodes": node.peers(),
        "shards": node.shards(),
        "damaged": node.damaged(),
    })
}

/// What comes of it is told when it is known: rows are read at a measured pace.
async fn compare(State(port): State<Port>) -> StatusCode {
    port.node.compare();
    StatusCode::ACCEPTED
}

/// Body of `POST /fault`.
#[derive(Debug, Deserialize)]
struct Fault {
    /// Nodes to be cut off from; empty heals.
    cut: BTreeSet<u64>,
}

async fn fault(State(port): State<Port>, body: axum::body::Bytes) -> Response {
    let fault: Fault = match serde_json::from_slice(&body) {
        Ok(fault) => fault,
        Err(error) => {
            let body = json!({ "code": "invalid_request", "detail": error.to_string() });
            return (StatusCode::BAD_REQUEST, Json(body)).into_response();
        }
    };
    match port.node.cut(fault.cut.clone()) {
        Some(()) => Json(json!({ "cut": fault.cut })).into_response(),
        None => {
            let detail = "faults are not enabled in this node's file (faults.enabled)";
            let body = json!({ "code": "not_allowed", "detail": detail });
            (StatusCode::FORBIDDEN, Json(body)).into_response()
        }
    }
}

#[cfg(test)]
mod tests;
