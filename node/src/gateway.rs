//! Station 2, admit, and everything that clients ask over HTTP: accounts, sessions, groups, history, presence.
//!
//! Identity is settled once per request; whether the session still exists is asked of the local replica of the
//! user's shard every time. Every refusal is a problem of RFC 9457, unknown routes and wrong methods included. What
//! a request means is decided in `chat`; assets are served elsewhere.

mod accounts;
mod body;
mod caller;
mod conversations;
#[cfg(test)]
pub(crate) mod fake;
mod groups;
pub(crate) mod limits;
mod messages;
mod passwords;
mod people;
pub(crate) mod problems;
mod propose;
pub(crate) mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post};
use proto::{Problem, ProblemCode};

use self::limits::Limits;
use self::passwords::Passwords;
use self::problems::Failure;
use self::tokens::{TokenKeys, Tokens};
use crate::clock::{Clock, Entropy};
use crate::fanout::Directory;
use crate::history::{History, Replica};
use crate::presence::{OtherNodes, Presence};
use crate::router;

/// What the client side of a node is built on.
pub(crate) struct Ports {
    /// This node's id.
    pub(crate) node: u64,
    /// The way to the shards.
    pub(crate) router: router::Router,
    /// Applied state on this node.
    pub(crate) replica: Arc<dyn Replica>,
    /// The cluster's token keys.
    pub(crate) keys: Arc<dyn TokenKeys>,
    /// The sessions of this node; the fan-out posts to the same.
    pub(crate) directory: Directory,
    /// The other nodes, for presence.
    pub(crate) others: Arc<dyn OtherNodes>,
    /// Wall time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Randomness.
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// What gateway and sessions share.
pub(crate) struct Parts {
    pub(crate) node: u64,
    pub(crate) router: router::Router,
    pub(crate) replica: Arc<dyn Replica>,
    pub(crate) history: History,
    pub(crate) tokens: Tokens,
    pub(crate) passwords: Passwords,
    pub(crate) limits: Limits,
    pub(crate) directory: Directory,
    pub(crate) presence: Presence,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl Parts {
    /// Puts the client side together.
    pub(crate) fn new(ports: Ports) -> Self {
        let Ports { node, router, replica, keys, directory, others, clock, entropy } = ports;
        let presence = Presence::new(
            directory.clone(),
            others,
            Arc::clone(&replica),
            router.clone(),
            Arc::clone(&clock),
        );
        Self {
            node,
            history: History::new(Arc::clone(&replica), router.clone()),
            tokens: Tokens::new(keys),
            passwords: Passwords::default(),
            limits: Limits::default(),
            router,
            replica,
            directory,
            presence,
            clock,
            entropy,
        }
    }
}

/// The REST interface. The client plane adds `/chat`.
pub(crate) fn router(parts: Arc<Parts>) -> Router {
    Router::new()
        .route("/v1/users", post(accounts::register))
        .route("/v1/sessions", post(accounts::login))
        .route("/v1/sessions/refresh", post(accounts::refresh))
        .route("/v1/sessions/current", delete(accounts::logout))
        .route("/v1/groups", post(groups::create))
        .route("/v1/groups/{group}", get(groups::show))
        .route("/v1/groups/{group}/members", post(groups::add))
        .route("/v1/groups/{group}/members/{user}", delete(groups::remove))
        .route("/messages/{name}", get(messages::page))
        .route("/v1/messages/{id}", get(messages::one))
        .route("/v1/conversations", get(conversations::list))
        .route("/v1/presence/{user}", get(people::presence))
        .method_not_allowed_fallback(|| async {
            Failure(Problem::of(ProblemCode::MethodNotAllowed))
        })
        .fallback(|| async {
            Failure(Problem::new(ProblemCode::NotFound, "there is no such path"))
        })
        .with_state(parts)
}

#[cfg(test)]
mod tests;
