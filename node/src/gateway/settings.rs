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
use super::interface::{Answer, Field, Operation, Schema, field};
use super::problems::{self, Failure};
use super::propose::accepted;

const SETTINGS: &[Field] = &[field("hideRead", Schema::Flag)
    .says("what the caller reads counts for others as delivered only")];
const STANDING: Answer = Answer::json(200, "the settings", SETTINGS);

/// `GET /v1/users/me/settings`.
pub(super) const SHOW: Operation =
    Operation::new("How the caller wishes it to be.").answers(&[STANDING]);

/// `PUT /v1/users/me/settings`.
pub(super) const SET: Operation =
    Operation::new("Says how the caller wishes it to be.").takes(SETTINGS).answers(&[STANDING]);

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
