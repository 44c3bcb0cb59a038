//! When a message passed this node, for an operator who asks: times and counts, no content, no user. Each node answers for
//! itself, as far as it remembers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chat::CanonicalId;
use serde_json::json;

use super::super::body::{Segment, invalid};
use super::super::problems::Failure;
use super::{Desk, Operator};
use crate::trace::Note;

/// `GET /v1/cluster/trace/{id}`: the stations of this node that the message passed, in the order in which they were noted.
pub(super) async fn passed(
    State(desk): State<Arc<Desk>>,
    Operator(_): Operator,
    Segment(id): Segment,
) -> Result<Response, Failure> {
    let message: CanonicalId = id.parse().map_err(|_| invalid("id", "is a canonical id"))?;
    let stations = desk.parts.trace.of(message).into_iter().map(|note| {
        let Note { station, first_us, lasted_us, times, .. } = note;
        json!({
            "station": station.as_str(), "atUs": first_us, "lastedUs": lasted_us, "times": times,
        })
    });
    let body = json!({
        "schema": "synod/node-trace/v1",
        "message": id,
        "node": desk.parts.node,
        "nowUs": desk.parts.clock.now_us(),
        "stations": stations.collect::<Vec<_>>(),
    });
    Ok(Json(body).into_response())
}
