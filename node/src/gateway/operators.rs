//! The operators' interface: what the cluster is and how it is changed, at `/v1/cluster` of every node's client plane.
//!
//! An operator is known by a token of which group 0 keeps the hash; the first one claims theirs with a secret that the
//! founding printed. Whoever joins or claims shows a secret instead. Every change is a command to group 0, which decides,
//! and writes into the audit log who asked. Users' tokens open nothing here, and operators' tokens nothing elsewhere.

mod answers;
mod backups;
mod certificates;
mod entering;
mod moving;
mod showing;
mod splitting;
mod tracing;
mod upgrading;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts as RequestParts;
use axum::middleware;
use axum::routing::{MethodRouter, delete, get, patch, post};
use cluster_config::{ClusterConfig, Command, Outcome, Refusal};
use proto::{Problem, ProblemCode};
use raft::Raft;

use super::limits::Class;
use super::problems::{self, Failure};
use super::{Parts, meter};
use crate::backup::Backups;
use crate::council::Council;
use crate::figures::CallFigures;
use crate::identity::print;
use crate::operations::Operated;
use crate::peers::Peers;

/// What the handlers share.
pub(crate) struct Desk {
    /// What all calls over HTTP share.
    pub(crate) parts: Arc<Parts>,
    /// The way to group 0.
    pub(crate) council: Council,
    /// Who is alive.
    pub(crate) peers: Peers,
    /// The backups that are made here.
    pub(crate) backups: Backups,
    /// How the groups stand here.
    pub(crate) raft: Raft,
    /// What this node thinks the cluster is.
    pub(crate) operated: Arc<dyn Operated>,
}

/// Every call: method, path, handler. The only place where they are named.
fn routes() -> Vec<(&'static str, &'static str, MethodRouter<Arc<Desk>>)> {
    vec![
        ("POST", "/v1/cluster/join", post(entering::join)),
        ("POST", "/v1/cluster/claim", post(entering::claim)),
        ("POST", "/v1/cluster/join-tokens", post(entering::make_join_token)),
        ("POST", "/v1/cluster/claims", post(entering::make_claim)),
        ("DELETE", "/v1/cluster/operators/{name}", delete(entering::remove_operator)),
        ("GET", "/v1/cluster", get(showing::cluster)),
        ("GET", "/v1/cluster/status", get(showing::status)),
        ("GET", "/v1/cluster/nodes", get(showing::nodes)),
        ("GET", "/v1/cluster/nodes/{node}", get(showing::node)),
        ("POST", "/v1/cluster/nodes/{node}/state", post(moving::set_state)),
        ("GET", "/v1/cluster/shards", get(moving::shards)),
        ("GET", "/v1/cluster/shards/{group}", get(moving::shard)),
        ("PATCH", "/v1/cluster/shards/{group}", patch(moving::change_shard)),
        ("GET", "/v1/cluster/shards/{group}/explanation", get(moving::explain_shard)),
        ("POST", "/v1/cluster/shards/{group}/split", post(splitting::split_shard)),
        ("GET", "/v1/cluster/plan", get(moving::show_plan)),
        ("POST", "/v1/cluster/plan", post(moving::apply_plan)),
        ("GET", "/v1/cluster/upgrade", get(upgrading::show)),
        ("POST", "/v1/cluster/upgrade", post(upgrading::finish)),
        ("GET", "/v1/cluster/settings", get(showing::settings)),
        ("PATCH", "/v1/cluster/settings", patch(showing::change_settings)),
        ("GET", "/v1/cluster/audit", get(showing::audit)),
        ("GET", "/v1/cluster/certificates", get(certificates::list)),
        ("POST", "/v1/cluster/certificates", post(certificates::renew)),
        ("POST", "/v1/cluster/authority", post(certificates::rotate)),
        ("GET", "/v1/cluster/trace/{id}", get(tracing::passed)),
        ("GET", "/v1/cluster/backups", get(backups::list)),
        ("POST", "/v1/cluster/backups", post(backups::begin)),
    ]
}

/// Method and path of every call, for those who must have an opinion on each.
pub(crate) fn calls() -> Vec<(&'static str, &'static str)> {
    routes().into_iter().map(|(method, path, _)| (method, path)).collect()
}

/// The operators' interface, to be served beside that of clients.
pub(crate) fn router(desk: Arc<Desk>) -> Router {
    routes()
        .into_iter()
        .fold(Router::new(), |router, (method, path, handler)| {
            let class = if method == "GET" { Class::Read } else { Class::Write };
            let figures = Arc::new(CallFigures::of(&format!("{method} {path}")));
            let metered = (Arc::clone(&desk.parts), class, figures);
            let meter = middleware::from_fn_with_state(metered, meter::meter);
            router.route(path, handler.route_layer(meter))
        })
        .with_state(desk)
}

/// An operator who asks, by name.
pub(super) struct Operator(pub(super) String);

impl FromRequestParts<Arc<Desk>> for Operator {
    type Rejection = Failure;

    async fn from_request_parts(
        request: &mut RequestParts,
        desk: &Arc<Desk>,
    ) -> Result<Self, Failure> {
        let shown = request.headers.get(header::AUTHORIZATION);
        let shown = shown.and_then(|value| value.to_str().ok()?.split_once(' '));
        let token = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let config = desk.council.config();
        // Compared by hash, so that the time it takes says nothing about the token.
        let known =
            token.and_then(|(_, token)| config.door.operator(print(token.trim().as_bytes())));
        match known {
            Some(operator) => Ok(Self(operator.name.clone())),
            None => {
                let detail = "an operator's token is needed: `synod operator claim` makes one";
                Err(Problem::new(ProblemCode::Unauthenticated, detail).into())
            }
        }
    }
}

impl Desk {
    /// Milliseconds since 1970, so long from now.
    fn after(&self, time: Duration) -> u64 {
        self.parts.clock.now().0 + u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    }

    /// Refuses strangers before anything is proposed: a refusal of group 0 is an entry in its log, and whoever has no secret
    /// must not be able to fill it. What is not known here may be known to the leader, which is asked once.
    async fn must_know(
        &self,
        known: impl Fn(&ClusterConfig) -> bool,
        refusal: &Refusal,
    ) -> Result<(), Failure> {
        if known(&self.council.config()) {
            return Ok(());
        }
        self.council.linearize().await.map_err(|error| problems::of_route(&error))?;
        if known(&self.council.config()) { Ok(()) } else { Err(answers::refused(refusal).into()) }
    }

    /// Carries out `command` in the name of `actor`. A refusal becomes a problem that says why.
    async fn carry_out(&self, actor: &str, command: &Command) -> Result<u64, Failure> {
        let outcome = self.council.propose(actor, command).await;
        match outcome.map_err(|error| problems::of_route(&error))? {
            Outcome::Accepted { epoch } | Outcome::Unchanged { epoch } => Ok(epoch),
            Outcome::Refused(refusal) => Err(answers::refused(&refusal).into()),
        }
    }
}
