//! The node's file, read again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Port;
use super::letters::problem;
use crate::reload::Reloaded;

/// `POST /reload`: what changed, and what needs a restart to. Refused with the reason when the file has a mistake.
pub(super) async fn reload(State(port): State<Port>) -> Response {
    let Some(reload) = port.node.reload() else {
        let detail = "this node was not started with a file";
        return problem(StatusCode::CONFLICT, "rejected", detail);
    };
    let done = tokio::task::spawn_blocking(move || reload.reload()).await;
    match done {
        Ok(Ok(Reloaded { applied, needs_restart })) => Json(json!({
            "schema": "synod/config-reload/v1",
            "node": port.node.node(),
            "applied": applied,
            "needsRestart": needs_restart,
        }))
        .into_response(),
        Ok(Err(error)) => problem(StatusCode::CONFLICT, "rejected", &error.to_string()),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string()),
    }
}
