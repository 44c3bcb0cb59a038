//! Backups, as operators ask for them: each node answers for its own folder.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use proto::{Problem, ProblemCode};
use serde_json::json;

use super::{Desk, Failure, Operator};
use crate::backup::Error;

/// When to ask again for a backup while another one is being made.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// `GET /v1/cluster/backups`: the backups in this node's folder, and the one it is making.
pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    Operator(_): Operator,
) -> Result<Response, Failure> {
    Ok(Json(desk.backups.list().await.map_err(|error| problem(&error))?).into_response())
}

/// `POST /v1/cluster/backups`: begins one on this node, which goes on by itself.
pub(super) async fn begin(
    State(desk): State<Arc<Desk>>,
    Operator(who): Operator,
) -> Result<Response, Failure> {
    let id = desk.backups.start().map_err(|error| problem(&error))?;
    tracing::info!(operator = %who, backup = %id, "a backup was asked for");
    let body = json!({ "schema": "synod/backup-begun/v1", "id": id, "node": desk.parts.node });
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

fn problem(error: &Error) -> Problem {
    match error {
        Error::Busy => Problem::new(ProblemCode::Overloaded, error.to_string()).after(RETRY_AFTER),
        error => {
            tracing::error!(%error, "backups cannot be told");
            Problem::of(ProblemCode::Internal)
        }
    }
}
