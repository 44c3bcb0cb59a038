//! History over HTTP: pages in the specification's form, and one message with what became of it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chat::{CanonicalId, ChangeNumber, Message, Seq, UserId};
use proto::spec_json::{self, Entity, MessageDetail, Paging};
use proto::{Addressee, Problem, ProblemCode};

use super::Parts;
use super::body::{self, Parameters, Segment, invalid};
use super::caller::Caller;
use super::interface::words::{CANONICAL, FRESHNESS, FROM_ONE, LIMIT, MESSAGE};
use super::interface::{Answer, Operation, Schema, field, optional};
use super::problems::{self, Failure};
use crate::history::{
    Consistency, Cut, Direction, LIMIT_DEFAULT, LIMIT_MAX, LIMIT_MIN, Mark, Of, Query, Span,
    Standings,
};

/// `GET /messages/{name}`.
pub(super) const PAGE: Operation = Operation::new(
    "A page of what was said with a user or in a group.",
)
.says(
    "Ascending by sequence. Without a mark it begins at the first message that the caller may see.",
)
.query(&[
    &[
        optional("after_id", MARK).says("the page after this message"),
        optional("before_id", MARK).says("the page just before this message"),
        optional("around_id", MARK).says("this message with what stands on both sides of it"),
    ],
    LIMIT,
    FRESHNESS,
])
.answers(&[Answer::json(
    200,
    "the page; next_before_id in place of next_after_id when before_id was given, both with around_id",
    &[
        field("messages", Schema::List(&PAYLOAD, 1)),
        optional("next_after_id", Schema::Maybe(&CANONICAL)),
        optional("next_before_id", Schema::Maybe(&CANONICAL)),
        optional("expiredUpTo", FROM_ONE)
            .says("where messages have expired: everything up to this sequence"),
    ],
)])
.refuses(&[
    ProblemCode::NoSuchUser,
    ProblemCode::NotAMember,
    ProblemCode::LimitOutOfRange,
    ProblemCode::AmbiguousId,
    ProblemCode::MessageExpired,
    ProblemCode::NotFound,
]);

/// A message's own id or its name for ever.
const MARK: Schema = Schema::Text(128);
const PAYLOAD: Schema =
    Schema::Object(&[field("payload", Schema::List(&MESSAGE, LIMIT_MAX as usize))]);

/// `GET /v1/messages/{id}`.
pub(super) const ONE: Operation = Operation::new("A message and how far it has got.")
    .says("In groups with who has it and who has read it.")
    .path(&[field("id", CANONICAL)])
    .query(&[FRESHNESS])
    .answers(&[Answer::shaped(200, "the message", MESSAGE)])
    .refuses(&[ProblemCode::NotFound, ProblemCode::MessageExpired, ProblemCode::NotAMember]);

/// `GET /messages/{userOrGroup}`.
pub(super) async fn page(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(name): Segment,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let query = Query {
        of: Of::Name(body::user("userId", &name)?),
        cut: cut(&parameters)?,
        limit: limit(&parameters)?,
        consistency: consistency(&parameters)?,
        bytes_max: None,
    };
    let page = parts.history.page(&who.user, &query).await?;
    let paging = match query.cut {
        Cut::After(_) => Paging::After(page.next_after()),
        Cut::Before(_) => Paging::Before(page.next_before()),
        Cut::Around(_) => Paging::Around(page.next_before(), page.next_after()),
    };
    let conversation = match page.messages.is_empty() {
        true => None,
        false => parts
            .replica
            .conversation(page.conversation)
            .map_err(|error| problems::of_store(&error))?,
    };
    let standings = Standings::new(conversation);
    let items = page.kind.iter().flat_map(|kind| {
        page.messages.iter().map(|message| Entity {
            message,
            overlay: page.overlays.get(&message.seq),
            to: Addressee::of(kind, &message.sender),
            standing: standings.of(message),
        })
    });
    Ok(json(spec_json::history_page(items, paging, page.expired)))
}

/// `GET /v1/messages/{canonicalId}`.
pub(super) async fn one(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(id): Segment,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let id: CanonicalId = id.parse().map_err(|error| invalid("canonicalId", error))?;
    let consistency = consistency(&parameters)?;
    parts.history.freshen_for(&who.user, id.conversation, consistency).await?;
    let nothing = || Problem::new(ProblemCode::NotFound, "there is no such message");
    let readable = parts.history.readable(&who.user, id.conversation)?.ok_or_else(nothing)?;
    readable.unless_expired(id.seq)?;
    if !(readable.visible_from..=readable.last_seq).contains(&id.seq) {
        return Err(nothing().into());
    }
    let store = |error| problems::of_store(&error);
    let span = Span {
        after: Seq(id.seq.0 - 1),
        before: Some(id.seq.next()),
        limit: 1,
        direction: Direction::OldestFirst,
    };
    let message = parts.replica.messages(id.conversation, span).map_err(store)?.pop();
    let message = message.ok_or_else(nothing)?;
    let conversation = parts.replica.conversation(id.conversation).map_err(store)?;
    let conversation = conversation.ok_or_else(nothing)?;
    let to = Addressee::of(&readable.kind, &message.sender);
    let reached = matches!(to, Addressee::Group(_)).then(|| {
        let delivered_to = others(conversation.delivered_to(message.seq), &message);
        (delivered_to, others(conversation.read_by(message.seq), &message))
    });
    let standing = Standings::new(Some(conversation.clone())).of(&message);
    let overlays = parts.history.overlays(&readable, std::slice::from_ref(&message))?;
    let overlay = overlays.get(&message.seq);
    let mut trail = Vec::new();
    for number in overlay.into_iter().flat_map(chat::Overlay::trail) {
        let after = ChangeNumber(number.0 - 1);
        trail.extend(parts.replica.changes(id.conversation, after, 1).map_err(store)?);
    }
    let entity = Entity { message: &message, overlay, to, standing };
    let detail = MessageDetail { entity, trail: Some(&trail), reached };
    Ok(json(spec_json::message_detail(&detail)))
}

/// The sender has its message; nobody asks.
fn others<'a>(users: Vec<&'a UserId>, message: &Message) -> Vec<&'a UserId> {
    users.into_iter().filter(|user| **user != message.sender).collect()
}

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn cut(parameters: &Parameters) -> Result<Cut, Problem> {
    let mark = |name: &str| Mark::Named(name.to_owned());
    if let Some(around) = parameters.text("around_id") {
        let alone = parameters.text("after_id").or(parameters.text("before_id")).is_none();
        let together = || invalid("around_id", "must not come together with after_id or before_id");
        return alone.then(|| Cut::Around(mark(around))).ok_or_else(together);
    }
    match (parameters.text("after_id"), parameters.text("before_id")) {
        (Some(_), Some(_)) => Err(invalid("before_id", "must not come together with after_id")),
        (None, Some(before)) => Ok(Cut::Before(mark(before))),
        (after, None) => Ok(Cut::After(after.map(mark))),
    }
}

/// The `limit` of a page, 1 to 100.
pub(super) fn limit(parameters: &Parameters) -> Result<u32, Problem> {
    let Some(text) = parameters.text("limit") else { return Ok(LIMIT_DEFAULT) };
    match text.parse() {
        Ok(limit) if (LIMIT_MIN..=LIMIT_MAX).contains(&limit) => Ok(limit),
        _ => {
            let detail = format!("limit must be {LIMIT_MIN} to {LIMIT_MAX}");
            Err(Problem::new(ProblemCode::LimitOutOfRange, detail).about("limit"))
        }
    }
}

/// `?consistency=linearizable|local|at_least`, the last with `&at_least=<sequence>`.
pub(super) fn consistency(parameters: &Parameters) -> Result<Consistency, Problem> {
    match parameters.text("consistency") {
        None | Some("linearizable") => Ok(Consistency::Linearizable),
        Some("local") => Ok(Consistency::Local),
        Some("at_least") => {
            let seq = parameters.number("at_least")?;
            let seq = seq.ok_or_else(|| invalid("at_least", "is missing: the sequence to see"))?;
            Ok(Consistency::AtLeast(Seq(seq)))
        }
        Some(_) => Err(invalid("consistency", "must be linearizable, local or at_least")),
    }
}
