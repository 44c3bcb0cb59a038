//! The sessions of a user: listed, ended from afar, and all others ended with a new password.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chat::limits::DEVICES_MAX;
use chat::{DeviceId, Outcome, Refusal, UserCommand};
use proto::spec_json::rfc3339;
use proto::{Problem, ProblemCode};
use serde_json::json;
use tokio::time::Instant;

use super::Parts;
use super::accounts::password_in;
use super::body::{Fields, Segment, invalid};
use super::caller::{Address, Caller};
use super::interface::words::{DEVICE, PASSWORD, SHORT};
use super::interface::{Answer, Operation, Schema, field};
use super::limits::Class;
use super::problems::{self, Failure};
use super::propose::accepted;

/// `GET /v1/sessions`.
pub(super) const LIST: Operation = Operation::new("The caller's sessions, one for each device.")
    .answers(&[Answer::json(
        200,
        "oldest first",
        &[field("sessions", Schema::List(&SESSION, DEVICES_MAX))],
    )]);

const SESSION: Schema = Schema::Named(
    "Session",
    &Schema::Object(&[
        field("deviceId", DEVICE),
        field("deviceName", SHORT),
        field("createdAt", Schema::Time),
        field("lastSeen", Schema::Time).says("when a link of it last began or ended"),
        field("current", Schema::Flag).says("whether it is the session that asks"),
    ]),
);

/// `GET /v1/sessions`.
pub(super) async fn list(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
) -> Result<Response, Failure> {
    let store = |error| problems::of_store(&error);
    parts.router.linearize(who.user.slot()).await.map_err(|error| problems::of_route(&error))?;
    let account = parts.replica.user(&who.user).map_err(store)?;
    let seen = account.map(|account| account.seen).unwrap_or_default();
    let mut devices = parts.replica.devices(&who.user).map_err(store)?;
    devices.sort_by_key(|(id, device)| (device.created_at, *id));
    let sessions: Vec<_> = devices
        .iter()
        .map(|(id, device)| {
            let last_seen = seen.get(id).copied().unwrap_or_default().max(device.created_at);
            json!({
                "deviceId": id.to_string(),
                "deviceName": device.name,
                "createdAt": rfc3339(device.created_at),
                "lastSeen": rfc3339(last_seen),
                "current": *id == who.device,
            })
        })
        .collect();
    Ok(Json(json!({ "sessions": sessions })).into_response())
}

/// `DELETE /v1/sessions/{device}`.
pub(super) const END: Operation = Operation::new("Signs a device of the caller out.")
    .says("Its tokens are refused and its links end, on every node, within 5 s.")
    .path(&[field("device", DEVICE)])
    .answers(&[Answer::empty(204, "the session has ended")])
    .refuses(&[ProblemCode::NoSuchDevice]);

/// `DELETE /v1/sessions/{device}`.
pub(super) async fn end(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(device): Segment,
) -> Result<StatusCode, Failure> {
    let device: DeviceId = device.parse().map_err(|error| invalid("device", error))?;
    let command = UserCommand::EndSession { device };
    let proposed = parts.propose_to_user(&who.user, &command).await?;
    match proposed.outcome {
        // An attempt whose answer was lost has ended it.
        Outcome::Refused(Refusal::NoSuchDevice) if proposed.repeated => {}
        outcome => accepted(&outcome)?,
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT /v1/users/me/password`.
pub(super) const CHANGE_PASSWORD: Operation =
    Operation::new("Changes the caller's password and ends every other session.")
        .counts_as(Class::SignIn)
        .takes(&[field("oldPassword", PASSWORD), field("newPassword", PASSWORD)])
        .answers(&[Answer::empty(204, "the new password is good, and the old one is not")])
        .refuses(&[ProblemCode::WrongCredentials]);

/// `PUT /v1/users/me/password`.
pub(super) async fn change_password(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Address(address): Address,
    mut body: Fields,
) -> Result<StatusCode, Failure> {
    let old = password_in(&mut body, "oldPassword")?;
    let new = password_in(&mut body, "newPassword")?;
    parts.limits.guess(Instant::now(), &who.user, address).map_err(Problem::from)?;
    let wrong = || Problem::of(ProblemCode::WrongCredentials);
    parts.router.linearize(who.user.slot()).await.map_err(|error| problems::of_route(&error))?;
    let account = parts.replica.user(&who.user).map_err(|error| problems::of_store(&error))?;
    let stored = account.map(|account| account.password_hash);
    if !parts.passwords.verify(old, stored.clone()).await.map_err(Problem::from)? {
        return Err(wrong().into());
    }
    parts.limits.guessed(&who.user, address);
    let mut salt = [0; 16];
    parts.entropy.fill(&mut salt);
    let new = parts.passwords.hash(new, salt).await.map_err(Problem::from)?;
    let command =
        UserCommand::ChangePassword { old: stored.unwrap_or_default(), new, keep: who.device };
    match parts.propose_to_user(&who.user, &command).await?.outcome {
        // Somebody else changed it meanwhile: what was shown is good no more.
        Outcome::Refused(Refusal::NotAllowed) => Err(wrong().into()),
        Outcome::Refused(Refusal::NoSuchDevice) => {
            Err(Problem::of(ProblemCode::SessionEnded).into())
        }
        outcome => {
            accepted(&outcome)?;
            Ok(StatusCode::NO_CONTENT)
        }
    }
}
