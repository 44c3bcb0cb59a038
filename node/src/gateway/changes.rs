//! Changes over HTTP: messages edited, deleted, reacted to, and what was changed in a conversation.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chat::{
    CanonicalId, ChangeMessage, ChangeNumber, Command, ConversationId, MessageId, Outcome, Wish,
};
use proto::spec_json::{self, rfc3339};
use proto::{Problem, ProblemCode};
use serde_json::json;

use super::Parts;
use super::body::{Fields, Parameters, Segment, invalid};
use super::caller::Caller;
use super::interface::words::{
    CANONICAL, CHANGE, CHANGE_ID, CONVERSATION, FRESHNESS, LIMIT, REACTING, SEQUENCE, TEXT,
};
use super::interface::{Answer, EXACT_MAX, Field, Operation, Schema, field, optional};
use super::messages::{consistency, limit};
use super::problems::Failure;
use super::propose::accepted;
use super::tokens::Identity;
use crate::history::LIMIT_MAX;

/// What a wish that came true is answered with.
const CHANGED: &[Field] = &[
    field("changeId", CHANGE_ID),
    field("conversationId", CONVERSATION),
    field("sequence", SEQUENCE),
    field("canonicalId", CANONICAL),
    field("change", Schema::Number(1, EXACT_MAX)),
    field("timestamp", Schema::Time),
];
const WISHED: Answer = Answer::json(200, "the change, of this request or an earlier one", CHANGED);
const ID: &[Field] = &[field("id", CANONICAL)];
const CHANGE_ID_SAID: Field =
    optional("changeId", CHANGE_ID).says("repeated under the same id, it happens once");

/// `PATCH /v1/messages/{id}`.
pub(super) const EDIT: Operation = Operation::new("A message of the caller reads otherwise.")
    .path(ID)
    .takes(&[field("messageText", TEXT), CHANGE_ID_SAID])
    .answers(&[WISHED])
    .refuses(&[
        ProblemCode::NoSuchConversation,
        ProblemCode::NoSuchMessage,
        ProblemCode::MessageExpired,
        ProblemCode::MessageDeleted,
        ProblemCode::NotAMember,
        ProblemCode::NotAllowed,
        ProblemCode::TooLarge,
        ProblemCode::TooManyEdits,
        ProblemCode::Conflict,
    ]);

/// `DELETE /v1/messages/{id}`.
pub(super) const DELETE: Operation = Operation::new("A message is gone for everybody.")
    .says("Its sender may, and admins and owners of a group. What it said is erased.")
    .path(ID)
    .query(&[&[CHANGE_ID_SAID]])
    .answers(&[WISHED])
    .refuses(&[
        ProblemCode::NoSuchConversation,
        ProblemCode::NoSuchMessage,
        ProblemCode::MessageExpired,
        ProblemCode::NotAMember,
        ProblemCode::NotAllowed,
        ProblemCode::Conflict,
    ]);

/// `PUT /v1/messages/{id}/reaction`.
pub(super) const REACT: Operation = Operation::new("The caller's reaction to a message.")
    .path(ID)
    .takes(&[field("reaction", REACTING).says("empty: none"), CHANGE_ID_SAID])
    .answers(&[WISHED])
    .refuses(&[
        ProblemCode::NoSuchConversation,
        ProblemCode::NoSuchMessage,
        ProblemCode::MessageExpired,
        ProblemCode::MessageDeleted,
        ProblemCode::NotAMember,
        ProblemCode::TooLarge,
        ProblemCode::TooManyReactions,
        ProblemCode::Conflict,
    ]);

/// `DELETE /v1/messages/{id}/reaction`.
pub(super) const UNREACT: Operation = Operation::new("The caller's reaction is taken back.")
    .path(ID)
    .query(&[&[CHANGE_ID_SAID]])
    .answers(&[WISHED])
    .refuses(&[
        ProblemCode::NoSuchConversation,
        ProblemCode::NoSuchMessage,
        ProblemCode::MessageExpired,
        ProblemCode::MessageDeleted,
        ProblemCode::NotAMember,
        ProblemCode::Conflict,
    ]);

/// `GET /v1/conversations/{conversation}/changes`.
pub(super) const PAGE: Operation = Operation::new("What was changed in a conversation, ascending.")
    .says("Of what the caller may see: changes of messages from before are left out.")
    .path(&[field("conversation", CONVERSATION)])
    .query(&[
        LIMIT,
        &[optional("after", SEQUENCE).says("changes with a number above this one")],
        FRESHNESS,
    ])
    .answers(&[Answer::json(
        200,
        "a page",
        &[
            field("changes", Schema::List(&CHANGE, LIMIT_MAX as usize)),
            field("next_after", Schema::Maybe(&Schema::Number(1, EXACT_MAX))),
        ],
    )])
    .refuses(&[
        ProblemCode::NoSuchConversation,
        ProblemCode::NotAMember,
        ProblemCode::LimitOutOfRange,
    ]);

/// `PATCH /v1/messages/{canonicalId}`.
pub(super) async fn edit(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(id): Segment,
    mut body: Fields,
) -> Result<Response, Failure> {
    let wish = Wish::Edit(body.text("messageText")?);
    let change_id = body.optional_text("changeId")?;
    parts.change(&who, &id, change_id, wish).await
}

/// `DELETE /v1/messages/{canonicalId}`: for everybody.
pub(super) async fn delete(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(id): Segment,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let change_id = parameters.text("changeId").map(str::to_owned);
    parts.change(&who, &id, change_id, Wish::Delete).await
}

/// `PUT /v1/messages/{canonicalId}/reaction`.
pub(super) async fn react(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(id): Segment,
    mut body: Fields,
) -> Result<Response, Failure> {
    let wish = Wish::React(body.text("reaction")?);
    let change_id = body.optional_text("changeId")?;
    parts.change(&who, &id, change_id, wish).await
}

/// `DELETE /v1/messages/{canonicalId}/reaction`.
pub(super) async fn unreact(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(id): Segment,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let change_id = parameters.text("changeId").map(str::to_owned);
    parts.change(&who, &id, change_id, Wish::React(String::new())).await
}

/// `GET /v1/conversations/{id}/changes?after=…&limit=…`.
pub(super) async fn page(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(id): Segment,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let id: ConversationId = id.parse().map_err(|error| invalid("conversationId", error))?;
    let limit = limit(&parameters)? as usize;
    let after = ChangeNumber(parameters.number("after")?.unwrap_or(0));
    parts.history.freshen_for(&who.user, id, consistency(&parameters)?).await?;
    let nothing = || Problem::of(ProblemCode::NoSuchConversation);
    let readable = parts.history.readable(&who.user, id)?.ok_or_else(nothing)?;
    let (changes, next) = parts.history.changes(&readable, after, limit)?;
    let text = spec_json::changes_page(&changes, next);
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

impl Parts {
    /// Carries out a wish. Without an id of the client's own, every request is a wish of its own.
    async fn change(
        &self,
        who: &Identity,
        message: &str,
        change_id: Option<String>,
        wish: Wish,
    ) -> Result<Response, Failure> {
        let message: CanonicalId =
            message.parse().map_err(|error| invalid("canonicalId", error))?;
        let change_id = change_id.unwrap_or_else(|| {
            format!("{:016x}{:016x}", self.entropy.number(), self.entropy.number())
        });
        let change_id = MessageId::parse(&change_id).map_err(|error| invalid("changeId", error))?;
        let command = Command::Change(ChangeMessage {
            by: who.user.clone(),
            device: who.device,
            change_id: change_id.clone(),
            seq: message.seq,
            wish,
        });
        let proposed = self.propose_to_conversation(message.conversation, &command).await?;
        accepted(&proposed.outcome)?;
        let (Outcome::Accepted(place) | Outcome::Duplicate(place)) = proposed.outcome else {
            unreachable!("what is none of both was refused above")
        };
        let answer = json!({
            "changeId": change_id.as_str(),
            "conversationId": message.conversation.to_string(),
            "sequence": message.seq.0,
            "canonicalId": message.to_string(),
            "change": place.change.0,
            "timestamp": rfc3339(place.at),
        });
        Ok(Json(answer).into_response())
    }
}
