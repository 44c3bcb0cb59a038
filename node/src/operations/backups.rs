//! Backups: what there is, and one more.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Port;
use super::letters::problem;
use crate::backup::Error;

/// `GET /backups`.
pub(super) async fn list(State(port): State<Port>) -> Response {
    let Some(backups) = port.node.backups() else { return not_yet() };
    match backups.list().await {
        Ok(list) => Json(list).into_response(),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string()),
    }
}

/// `POST /backup`: begins one, which goes on by itself; `GET /backups` tells when it is done.
pub(super) async fn begin(State(port): State<Port>) -> Response {
    let Some(backups) = port.node.backups() else { return not_yet() };
    match backups.start() {
        Ok(id) => {
            let body =
                json!({ "schema": "synod/backup-begun/v1", "id": id, "node": port.node.node() });
            (StatusCode::ACCEPTED, Json(body)).into_response()
        }
        Err(error @ Error::Busy) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "overloaded", &error.to_string())
        }
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string()),
    }
}

fn not_yet() -> Response {
    let detail = "this node does not know its cluster yet";
    problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
}
