//! Station 2, admit, and everything that clients ask over HTTP: accounts, sessions, groups, history, presence.
//!
//! Identity is settled once per request; whether the session still exists is asked of the local replica of the
//! user's shard every time. Every refusal is a problem of RFC 9457, unknown routes and wrong methods included. What
//! a request means is decided in `chat`.

mod accounts;
mod assets;
mod body;
mod caller;
mod changes;
mod conversations;
#[cfg(test)]
pub(crate) mod fake;
mod groups;
mod identify;
mod interface;
pub(crate) mod issuers;
pub(crate) mod limits;
mod messages;
mod meter;
pub(crate) mod operators;
mod passwords;
mod people;
pub(crate) mod problems;
pub(crate) mod propose;
mod pushes;
mod retention;
mod search;
mod sessions;
mod settings;
pub(crate) mod tokens;
mod uploads;

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::middleware;
use axum::routing::{self, MethodRouter};
use proto::{Problem, ProblemCode};

use self::interface::{Call, Operation};
use self::issuers::Issuers;
use self::limits::Limits;
use self::passwords::Passwords;
use self::problems::Failure;
use self::tokens::{TokenKeys, Tokens};
use crate::asset::Assets;
use crate::clock::{Clock, Entropy};
use crate::fanout::Directory;
use crate::figures::CallFigures;
use crate::history::{History, Replica};
use crate::presence::{OtherNodes, Presence, Watches};
use crate::push::{ApplicationKey, Kinds};
use crate::resume::Recent;
use crate::router;
use crate::search::Search;
use crate::trace::Trace;
use crate::typing::TypingNews;

/// What the client side of a node is built on.
pub(crate) struct Ports {
    /// This node's id.
    pub(crate) node: u64,
    /// The way to the shards.
    pub(crate) router: router::Router,
    /// Applied state on this node.
    pub(crate) replica: Arc<dyn Replica>,
    /// Files.
    pub(crate) assets: Assets,
    /// The cluster's token keys.
    pub(crate) keys: Arc<dyn TokenKeys>,
    /// Who else may say who somebody is.
    pub(crate) issuers: Issuers,
    /// How fast is too fast.
    pub(crate) limits: Limits,
    /// The sessions of this node; the fan-out posts to the same.
    pub(crate) directory: Directory,
    /// The other nodes, for presence.
    pub(crate) others: Arc<dyn OtherNodes>,
    /// Whom the links here watch.
    pub(crate) watches: Watches,
    /// Which conversations had news lately.
    pub(crate) recent: Recent,
    /// When messages passed here.
    pub(crate) trace: Trace,
    /// Wall time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Randomness.
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Which places can be told about messages that wait.
    pub(crate) kinds: Kinds,
    /// The cluster's name at push services.
    pub(crate) key: ApplicationKey,
    /// What finds messages by their words, unless the file says that this node does not.
    pub(crate) search: Option<Search>,
}

/// What gateway and sessions share.
pub(crate) struct Parts {
    pub(crate) node: u64,
    pub(crate) router: router::Router,
    pub(crate) replica: Arc<dyn Replica>,
    pub(crate) assets: Assets,
    pub(crate) history: History,
    pub(crate) tokens: Tokens,
    pub(crate) issuers: Issuers,
    pub(crate) passwords: Passwords,
    pub(crate) limits: Limits,
    pub(crate) directory: Directory,
    pub(crate) presence: Presence,
    pub(crate) typing: TypingNews,
    pub(crate) others: Arc<dyn OtherNodes>,
    pub(crate) watches: Watches,
    pub(crate) recent: Recent,
    pub(crate) trace: Trace,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) kinds: Kinds,
    pub(crate) key: ApplicationKey,
    pub(crate) search: Option<Search>,
}

impl Parts {
    /// Puts the client side together.
    pub(crate) fn new(ports: Ports) -> Self {
        let Ports {
            node,
            router,
            replica,
            assets,
            keys,
            issuers,
            limits,
            directory,
            others,
            watches,
            recent,
            trace,
            clock,
            entropy,
            kinds,
            key,
            search,
        } = ports;
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
            issuers,
            passwords: Passwords::default(),
            limits,
            router,
            typing: TypingNews::new(directory.clone(), Arc::clone(&replica)),
            others,
            watches,
            recent,
            trace,
            replica,
            assets,
            directory,
            presence,
            clock,
            entropy,
            kinds,
            key,
            search,
        }
    }
}

/// One call of the REST interface: the only place where it is named. It cannot be named without being described.
struct Route {
    call: Call,
    handler: MethodRouter<Arc<Parts>>,
}

/// `verb(path, handler, description)`, for each method.
macro_rules! verbs {
    ($($verb:ident $method:literal),+) => {
        impl Route {
            $(
                #[allow(dead_code, reason = "a method is here before the first call that needs it")]
                fn $verb<H: Handler<T, Arc<Parts>>, T: 'static>(
                    path: &'static str,
                    handler: H,
                    operation: Operation,
                ) -> Self {
                    let call = Call { method: $method, path, operation };
                    Self { call, handler: routing::$verb(handler) }
                }
            )+
        }
    };
}

verbs!(
    get "GET", head "HEAD", options "OPTIONS", post "POST", put "PUT", patch "PATCH", delete "DELETE"
);

/// Every call.
fn routes() -> Vec<Route> {
    vec![
        Route::post("/v1/users", accounts::register, accounts::REGISTER),
        Route::post("/v1/sessions", accounts::login, accounts::LOGIN),
        Route::post("/v1/sessions/refresh", accounts::refresh, accounts::REFRESH),
        Route::delete("/v1/sessions/current", accounts::logout, accounts::LOGOUT),
        Route::get("/v1/sessions", sessions::list, sessions::LIST),
        Route::delete("/v1/sessions/{device}", sessions::end, sessions::END),
        Route::put("/v1/users/me/password", sessions::change_password, sessions::CHANGE_PASSWORD),
        Route::put("/v1/users/me/profile", people::set_profile, people::SET_PROFILE),
        Route::get("/v1/users/{user}", people::profile, people::PROFILE),
        Route::post("/v1/groups", groups::create, groups::CREATE),
        Route::get("/v1/users/me/settings", settings::show, settings::SHOW),
        Route::put("/v1/users/me/settings", settings::set, settings::SET),
        Route::get("/v1/groups/{group}", groups::show, groups::SHOW),
        Route::patch("/v1/groups/{group}", groups::rename, groups::RENAME),
        Route::put("/v1/groups/{group}/members/{user}", groups::set_role, groups::SET_ROLE),
        Route::post("/v1/groups/{group}/members", groups::add, groups::ADD),
        Route::delete("/v1/groups/{group}/members/{user}", groups::remove, groups::REMOVE),
        Route::put("/v1/groups/{group}/retention", retention::of_group, retention::OF_GROUP),
        Route::put(
            "/v1/conversations/{conversation}/retention",
            retention::of_conversation,
            retention::OF_CONVERSATION,
        ),
        Route::get("/messages/{name}", messages::page, messages::PAGE),
        Route::get("/v1/messages/{id}", messages::one, messages::ONE),
        Route::patch("/v1/messages/{id}", changes::edit, changes::EDIT),
        Route::delete("/v1/messages/{id}", changes::delete, changes::DELETE),
        Route::put("/v1/messages/{id}/reaction", changes::react, changes::REACT),
        Route::delete("/v1/messages/{id}/reaction", changes::unreact, changes::UNREACT),
        Route::get("/v1/conversations/{conversation}/changes", changes::page, changes::PAGE),
        Route::post("/asset", assets::upload, assets::UPLOAD),
        Route::options("/v1/uploads", uploads::options, uploads::OPTIONS),
        Route::post("/v1/uploads", uploads::create, uploads::CREATE),
        Route::head("/v1/uploads/{upload}", uploads::look, uploads::LOOK),
        Route::patch("/v1/uploads/{upload}", uploads::append, uploads::APPEND),
        Route::delete("/v1/uploads/{upload}", uploads::cancel, uploads::CANCEL),
        Route::get("/asset/{id}", assets::download, assets::DOWNLOAD),
        Route::get("/v1.0/asset/{id}", assets::download, assets::DOWNLOAD),
        Route::get("/v1/conversations", conversations::list, conversations::LIST),
        Route::get("/v1/search", search::everywhere, search::EVERYWHERE),
        Route::get("/v1/conversations/{conversation}/search", search::within, search::WITHIN),
        Route::get("/v1/presence/{user}", people::presence, people::PRESENCE),
        Route::post("/v1/push", pushes::add, pushes::ADD),
        Route::get("/v1/push", pushes::list, pushes::LIST),
        Route::delete("/v1/push/{push}", pushes::remove, pushes::REMOVE),
        Route::post("/v1/push/{push}/replay", pushes::replay, pushes::REPLAY),
        Route::get("/openapi.json", interface::openapi, interface::OPENAPI),
        Route::get("/asyncapi.json", interface::asyncapi, interface::ASYNCAPI),
        Route::get("/docs", interface::page, interface::PAGE),
    ]
}

/// Method and path of every call, for those who must have an opinion on each: tests and documents.
pub(crate) fn calls() -> Vec<(&'static str, &'static str)> {
    described().into_iter().map(|call| (call.method, call.path)).collect()
}

/// Every call with its description.
fn described() -> Vec<Call> {
    routes().into_iter().map(|route| route.call).collect()
}

/// The REST interface. The client plane adds `/chat`.
pub(crate) fn router(parts: Arc<Parts>) -> Router {
    routes()
        .into_iter()
        .fold(Router::new(), |router, route| {
            let figures = CallFigures::of(&format!("{} {}", route.call.method, route.call.path));
            let metered = (Arc::clone(&parts), route.call.class(), Arc::new(figures));
            let meter = middleware::from_fn_with_state(metered, meter::meter);
            router.route(route.call.path, route.handler.route_layer(meter))
        })
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
