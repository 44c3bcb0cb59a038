//! Dead letters: what could not be told to users who were away.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chat::PushId;
use serde_json::{Value, json};

use super::Port;
use crate::push::{Letter, Revival};

/// `GET /deadletters`.
pub(super) async fn list(State(port): State<Port>) -> Response {
    let Some(letters) = port.node.letters() else { return not_yet() };
    match letters.list().await {
        Ok(letters) => {
            let letters: Vec<Value> = letters.iter().map(Letter::to_json).collect();
            Json(json!({ "schema": "synod/dead-letters/v1", "letters": letters })).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "dead letters cannot be read");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the tables cannot be read")
        }
    }
}

/// `POST /deadletters/{letter}/retry`.
pub(super) async fn retry(State(port): State<Port>, Path(letter): Path<String>) -> Response {
    let Some(letters) = port.node.letters() else { return not_yet() };
    let detail = "no such letter on a shard that this node leads; ask the other nodes";
    let unknown = || problem(StatusCode::NOT_FOUND, "not_found", detail);
    let Some((push, number)) = named(&letter) else { return unknown() };
    match letters.revive(push, number).await {
        Revival::Under(number) => Json(json!({ "id": letter, "number": number })).into_response(),
        Revival::NoSuchLetter => unknown(),
        Revival::Failed(why) => problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &why),
    }
}

fn named(letter: &str) -> Option<(PushId, u64)> {
    let (push, number) = letter.split_once('-')?;
    Some((push.parse().ok()?, number.parse().ok()?))
}

fn not_yet() -> Response {
    let detail = "this node does not serve clients yet";
    problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
}

pub(super) fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    (status, Json(json!({ "code": code, "detail": detail }))).into_response()
}
