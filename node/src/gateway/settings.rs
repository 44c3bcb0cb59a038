//! How a user wishes it to be.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chat::UserCommand;
use serde_json::json;

use super::Parts;
use super::body::Fields;
use super::caller::Caller;
use super::problems::{self, Failure};
use super::propose::accepted;

/// `GET /v1/users/me/settings`.
pub(super) async fn show(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
) -> Result<Response, Failure> {
    let slot = who.user.slot();
    parts.router.linearize(slot).await.map_err(|error| problems::of_route(&error))?;
    let hide_read = parts.replica.hides_read(&who.user);
    let hide_read = hide_read.map_err(|error| problems::of_store(&error))?;
    Ok(Json(json!({ "hideRead": hide_read })).into_response())
}

/// `PUT /v1/users/me/settings`.
pub(super) async fn set(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    mut body: Fields,
) -> Result<Response, Failure> {
    let hide_read = body.boolean("hideRead")?;
    let command = UserCommand::Configure { hide_read };
    accepted(&parts.propose_to_user(&who.user, &command).await?.outcome)?;
    Ok(Json(json!({ "hideRead": hide_read })).into_response())
}
