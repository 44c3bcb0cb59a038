//! Station 2, admit, and everything that clients ask over HTTP: accounts, sessions, groups, history, presence.
//!
//! Identity is settled once per request; whether the session still exists is asked of the local replica of the
//! user's shard every time. Every refusal is a problem of RFC 9457, unknown routes and wrong methods included. What
//! a request means is decided in `chat`; assets are served elsewhere.

mod accounts;
mod body;
mod caller;
mod changes;
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
mod settings;
pub(crate) mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{self, MethodRouter};
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
use crate::typing::TypingNews;

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
    pub(crate) typing: TypingNews,
    pub(crate) others: Arc<dyn OtherNodes>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl Parts {
    /// Puts the client side together.
    pub(crate) fn new(ports: Ports) -> Self {
        let Ports { node, router, replica, keys, directory, others, clock, entropy } = ports;
        let presence = Presence::new(
            directory.clone(),
            Arc::clone(&others),
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
            typing: TypingNews::new(directory.clone(), Arc::clone(&replica)),
            others,
            replica,
            directory,
            presence,
            clock,
            entropy,
        }
    }
}

/// One call of the REST interface: the only place where it is named.
struct Route {
    method: &'static str,
    path: &'static str,
    handler: MethodRouter<Arc<Parts>>,
}

impl Route {
    fn get<H: Handler<T, Arc<Parts>>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self { method: "GET", path, handler: routing::get(handler) }
    }

    fn post<H: Handler<T, Arc<Parts>>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self { method: "POST", path, handler: routing::post(handler) }
    }

    fn put<H: Handler<T, Arc<Parts>>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self { method: "PUT", path, handler: routing::put(handler) }
    }

    fn patch<H: Handler<T, Arc<Parts>>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self { method: "PATCH", path, handler: routing::patch(handler) }
    }

    fn delete<H: Handler<T, Arc<Parts>>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self { method: "DELETE", path, handler: routing::delete(handler) }
    }
}

/// Every call.
fn routes() -> Vec<Route> {
    vec![
        Route::post("/v1/users", accounts::register),
        Route::post("/v1/sessions", accounts::login),
        Route::post("/v1/sessions/refresh", accounts::refresh),
        Route::delete("/v1/sessions/current", accounts::logout),
        Route::post("/v1/groups", groups::create),
        Route::get("/v1/users/me/settings", settings::show),
        Route::put("/v1/users/me/settings", settings::set),
        Route::get("/v1/groups/{group}", groups::show),
        Route::patch("/v1/groups/{group}", groups::rename),
        Route::put("/v1/groups/{group}/members/{user}", groups::set_role),
        Route::post("/v1/groups/{group}/members", groups::add),
        Route::delete("/v1/groups/{group}/members/{user}", groups::remove),
        Route::get("/messages/{name}", messages::page),
        Route::get("/v1/messages/{id}", messages::one),
        Route::patch("/v1/messages/{id}", changes::edit),
        Route::delete("/v1/messages/{id}", changes::delete),
        Route::put("/v1/messages/{id}/reaction", changes::react),
        Route::delete("/v1/messages/{id}/reaction", changes::unreact),
        Route::get("/v1/conversations/{conversation}/changes", changes::page),
        Route::get("/v1/conversations", conversations::list),
        Route::get("/v1/presence/{user}", people::presence),
    ]
}

/// Method and path of every call, for those who must have an opinion on each: tests and documents.
pub(crate) fn calls() -> Vec<(&'static str, &'static str)> {
    routes().into_iter().map(|route| (route.method, route.path)).collect()
}

/// The REST interface. The client plane adds `/chat`.
pub(crate) fn router(parts: Arc<Parts>) -> Router {
    routes()
        .into_iter()
        .fold(Router::new(), |router, route| router.route(route.path, route.handler))
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
