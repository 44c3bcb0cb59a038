//! Who is there.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use proto::spec_json::rfc3339;
use proto::{Problem, ProblemCode};
use serde_json::json;

use super::Parts;
use super::body::{self, Segment};
use super::caller::Caller;
use super::interface::words::NAME;
use super::interface::{Answer, Operation, Schema, field};
use super::problems::{self, Failure};
use crate::history;

/// `GET /v1/presence/{user}`.
pub(super) const PRESENCE: Operation = Operation::new("Whether a user is there, and when last.")
    .answers(&[Answer::json(
        200,
        "what is known",
        &[
            field("userId", NAME),
            field("online", Schema::Flag),
            field("lastSeen", Schema::Maybe(&Schema::Time)),
        ],
    )])
    .refuses(&[ProblemCode::NoSuchUser]);

/// `GET /v1/presence/{user}`.
pub(super) async fn presence(
    State(parts): State<Arc<Parts>>,
    Caller(_): Caller,
    Segment(user): Segment,
) -> Result<Response, Failure> {
    let user = body::user("userId", &user)?;
    if history::account(&*parts.replica, &parts.router, &user).await?.is_none() {
        return Err(Problem::of(ProblemCode::NoSuchUser).into());
    }
    let seen = parts.presence.of(&user).await.map_err(|error| problems::of_store(&error))?;
    let answer = json!({
        "userId": user.as_str(),
        "online": seen.online,
        "lastSeen": seen.last_seen.map(rfc3339),
    });
    Ok(Json(answer).into_response())
}
