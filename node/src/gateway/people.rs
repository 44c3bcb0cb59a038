//! Who is there, and what they want to be called.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chat::UserCommand;
use proto::spec_json::rfc3339;
use proto::{Problem, ProblemCode};
use serde_json::json;

use super::Parts;
use super::body::{self, Fields, Parameters, Segment};
use super::caller::Caller;
use super::interface::words::{FRESHNESS, NAME, SHORT};
use super::interface::{Answer, Field, Operation, Schema, field};
use super::messages::consistency;
use super::problems::{self, Failure};
use super::propose::accepted;
use crate::history::{self, Consistency, contacts};

const PROFILED: &[Field] = &[
    field("userId", NAME),
    field("displayName", SHORT).says("empty: nothing else than the name"),
    field("createdAt", Schema::Time),
];

/// `GET /v1/users/{user}`.
pub(super) const PROFILE: Operation = Operation::new("What a user wants to be called.")
    .query(&[FRESHNESS])
    .answers(&[Answer::json(200, "the profile", PROFILED)])
    .refuses(&[ProblemCode::NoSuchUser]);

/// `GET /v1/users/{user}`.
pub(super) async fn profile(
    State(parts): State<Arc<Parts>>,
    Caller(_): Caller,
    Segment(user): Segment,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let user = body::user("userId", &user)?;
    if consistency(&parameters)? != Consistency::Local {
        parts.router.linearize(user.slot()).await.map_err(|error| problems::of_route(&error))?;
    }
    let account = history::account(&*parts.replica, &parts.router, &user).await?;
    let account = account.ok_or_else(|| Problem::of(ProblemCode::NoSuchUser))?;
    Ok(Json(json!({
        "userId": user.as_str(),
        "displayName": account.display_name,
        "createdAt": rfc3339(account.created_at),
    }))
    .into_response())
}

/// `PUT /v1/users/me/profile`.
pub(super) const SET_PROFILE: Operation = Operation::new("What the caller wants to be called.")
    .takes(&[field("displayName", SHORT)])
    .answers(&[Answer::empty(204, "others see it from now on")]);

/// `PUT /v1/users/me/profile`.
pub(super) async fn set_profile(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    mut body: Fields,
) -> Result<StatusCode, Failure> {
    let display_name = body.text("displayName")?;
    let command = UserCommand::SetProfile { display_name };
    accepted(&parts.propose_to_user(&who.user, &command).await?.outcome)?;
    Ok(StatusCode::NO_CONTENT)
}

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
    .says("For the user themself and for whoever shares a conversation with them.")
    .refuses(&[ProblemCode::NoSuchUser, ProblemCode::NotAllowed]);

/// `GET /v1/presence/{user}`.
pub(super) async fn presence(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(user): Segment,
) -> Result<Response, Failure> {
    let user = body::user("userId", &user)?;
    if history::account(&*parts.replica, &parts.router, &user).await?.is_none() {
        return Err(Problem::of(ProblemCode::NoSuchUser).into());
    }
    if !contacts::are(&*parts.replica, &parts.router, &who.user, &user).await? {
        let detail = "only whoever shares a conversation with a user sees when they are there";
        return Err(Problem::new(ProblemCode::NotAllowed, detail).into());
    }
    let seen = parts.presence.of(&user).await.map_err(|error| problems::of_store(&error))?;
    let answer = json!({
        "userId": user.as_str(),
        "online": seen.online,
        "lastSeen": seen.last_seen.map(rfc3339),
    });
    Ok(Json(answer).into_response())
}
