//! For how long messages are kept: a setting of a conversation, which holds everywhere as soon as it is acknowledged.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chat::limits::RETENTION_SECONDS_MAX;
use chat::{Command, ConversationId, Retention};
use proto::spec_json::{DAY_SECONDS, retention_json};
use proto::{Problem, ProblemCode};
use serde_json::json;

use super::Parts;
use super::body::{self, Fields, Segment, invalid};
use super::caller::Caller;
use super::interface::words::{CONVERSATION, RETENTION, RETENTION_DAYS_MAX};
use super::interface::{Answer, Field, Operation, Schema, field, optional};
use super::problems::Failure;
use super::propose::accepted;
use super::tokens::Identity;

const WISHED: &[Field] = &[
    optional("days", Schema::Maybe(&Schema::Number(1, RETENTION_DAYS_MAX)))
        .says("null: for ever; this or seconds"),
    optional("seconds", Schema::Maybe(&Schema::Number(1, RETENTION_SECONDS_MAX))),
];
const SET: Answer = Answer::json(
    200,
    "the setting",
    &[field("conversationId", CONVERSATION), field("retention", RETENTION)],
);

/// `PUT /v1/groups/{group}/retention`.
pub(super) const OF_GROUP: Operation = Operation::new("Says how long messages are kept.")
    .says("Owners may. What is older is served no more, and erased within seconds.")
    .takes(WISHED)
    .answers(&[SET])
    .refuses(&[ProblemCode::NoSuchConversation, ProblemCode::NotAMember, ProblemCode::NotAllowed]);

/// `PUT /v1/conversations/{conversation}/retention`.
pub(super) const OF_CONVERSATION: Operation = Operation::new("The same by a conversation's id.")
    .says("Either of the two of a direct conversation may, of a group its owners.")
    .path(&[field("conversation", CONVERSATION)])
    .takes(WISHED)
    .answers(&[SET])
    .refuses(&[ProblemCode::NoSuchConversation, ProblemCode::NotAMember, ProblemCode::NotAllowed]);

/// `PUT /v1/groups/{group}/retention`.
pub(super) async fn of_group(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(group): Segment,
    body: Fields,
) -> Result<Response, Failure> {
    let group = body::group("group", &group)?;
    parts.set_retention(&who, ConversationId::group(&group), body).await
}

/// `PUT /v1/conversations/{conversation}/retention`.
pub(super) async fn of_conversation(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(id): Segment,
    body: Fields,
) -> Result<Response, Failure> {
    let id: ConversationId = id.parse().map_err(|error| invalid("conversationId", error))?;
    parts.set_retention(&who, id, body).await
}

impl Parts {
    async fn set_retention(
        &self,
        who: &Identity,
        id: ConversationId,
        mut body: Fields,
    ) -> Result<Response, Failure> {
        let retention = wished(&mut body)?;
        let command = Command::SetRetention { by: who.user.clone(), retention };
        accepted(&self.propose_to_conversation(id, &command).await?.outcome)?;
        let answer =
            json!({ "conversationId": id.to_string(), "retention": retention_json(retention) });
        Ok(Json(answer).into_response())
    }
}

fn wished(body: &mut Fields) -> Result<Option<Retention>, Problem> {
    let (days, seconds) = (body.nullable_number("days")?, body.nullable_number("seconds")?);
    let (field, most, wished, unit) = match (days, seconds) {
        (Some(days), None) => ("days", RETENTION_DAYS_MAX, days, DAY_SECONDS),
        (None, Some(seconds)) => ("seconds", RETENTION_SECONDS_MAX, seconds, 1),
        (None, None) => return Err(invalid("days", "is missing")),
        (Some(_), Some(_)) => return Err(invalid("seconds", "must not come together with days")),
    };
    match wished {
        None => Ok(None),
        Some(count) if (1..=most).contains(&count) => Ok(Some(Retention(count * unit))),
        Some(_) => Err(invalid(field, format!("must be 1 to {most}, or null"))),
    }
}
