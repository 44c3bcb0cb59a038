//! Search over HTTP: in one conversation, or in all of the caller's. What is told was looked up in this node's rows, so
//! it is the caller's to read now and reads as it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chat::{CanonicalId, ConversationId, Seq, Timestamp, UserId};
use futures::future::try_join_all;
use proto::spec_json::{self, Entity, MessageDetail, rfc3339};
use proto::{Addressee, Problem, ProblemCode};
use serde_json::{Value, json};

use super::Parts;
use super::body::{Parameters, Segment, invalid};
use super::caller::Caller;
use super::interface::words::{CONVERSATION, FRESHNESS, LIMIT, MESSAGE};
use super::interface::{Answer, Field, Operation, Schema, field, optional};
use super::limits::Class;
use super::messages::{consistency, limit};
use super::problems::{self, Failure};
use crate::history::{Consistency, Direction, LIMIT_MAX, Readable, Span, Standings};
use crate::search::{self, Hit, Search, Unclear, WORDS_MAX, Wanted};

/// Longest question.
const QUESTION_BYTES_MAX: usize = 256;
/// How often the index is asked for one page: what it names and is gone meanwhile is made up for that often.
const WINDOWS_MAX: usize = 4;

const QUESTION: Field = field("q", Schema::Text(QUESTION_BYTES_MAX))
    .says("words that all have to be there; the last one may be unfinished");
/// A place in the order of what was found.
const BEFORE: Schema = Schema::Like("^[0-9]{1,19}-[0-3][0-9a-f]{31}-[1-9][0-9]{0,19}$");
const PARAMETERS: &[&[Field]] = &[
    &[QUESTION],
    LIMIT,
    &[optional("before", BEFORE).says("a next_before of an earlier page")],
    FRESHNESS,
];
const PAYLOAD: Schema =
    Schema::Object(&[field("payload", Schema::List(&MESSAGE, LIMIT_MAX as usize))]);
const FOUND: Answer = Answer::json(
    200,
    "a page, the newest message first",
    &[
        field("messages", Schema::List(&PAYLOAD, 1)),
        field("next_before", Schema::Maybe(&BEFORE)),
        field("indexedThrough", Schema::Maybe(&Schema::Time))
            .says("what was applied here by then is found; null: not everything was looked at yet"),
        field("leftOut", Schema::List(&CONVERSATION, chat::limits::CONVERSATIONS_MAX))
            .says("conversations whose messages no node can read"),
    ],
);

/// `GET /v1/search`.
pub(super) const EVERYWHERE: Operation =
    Operation::new("Messages with these words, in all conversations of the caller.")
        .says(
            "What the caller may read now, as it reads now. not_found: this node does not search.",
        )
        .counts_as(Class::Write)
        .query(PARAMETERS)
        .answers(&[FOUND])
        .refuses(&[ProblemCode::LimitOutOfRange, ProblemCode::NotFound]);

/// `GET /v1/conversations/{conversation}/search`.
pub(super) const WITHIN: Operation = Operation::new("The same in one conversation.")
    .counts_as(Class::Write)
    .path(&[field("conversation", CONVERSATION)])
    .query(PARAMETERS)
    .answers(&[FOUND])
    .refuses(&[
        ProblemCode::NoSuchConversation,
        ProblemCode::NotAMember,
        ProblemCode::LimitOutOfRange,
    ]);

/// What is asked.
struct Question {
    wanted: Wanted,
    before: Option<Hit>,
    limit: usize,
    consistency: Consistency,
}

/// `GET /v1/search?q=…&limit=…&before=…`.
pub(super) async fn everywhere(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let (search, question) = (parts.search()?, Question::read(&parameters)?);
    if question.consistency != Consistency::Local {
        let slots = parts.recent.slots().into_iter();
        let all = slots.map(|slot| parts.router.linearize(slot));
        try_join_all(all).await.map_err(|error| problems::of_route(&error))?;
        search.catch_up().await;
    }
    let links = parts.replica.links(&who.user).map_err(|error| problems::of_store(&error))?;
    let of: BTreeSet<ConversationId> = links.into_iter().map(|(id, _)| id).collect();
    parts.answer(search, &who.user, of, question).await
}

/// `GET /v1/conversations/{id}/search?q=…&limit=…&before=…`.
pub(super) async fn within(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(id): Segment,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let (search, question) = (parts.search()?, Question::read(&parameters)?);
    let id: ConversationId = id.parse().map_err(|error| invalid("conversationId", error))?;
    parts.history.freshen_for(&who.user, id, question.consistency).await?;
    let nothing = || Problem::of(ProblemCode::NoSuchConversation);
    parts.history.readable(&who.user, id)?.ok_or_else(nothing)?;
    if question.consistency != Consistency::Local {
        search.catch_up().await;
    }
    parts.answer(search, &who.user, [id].into(), question).await
}

impl Question {
    fn read(parameters: &Parameters) -> Result<Self, Problem> {
        let question = parameters.text("q").ok_or_else(|| invalid("q", "is missing"))?;
        if question.len() > QUESTION_BYTES_MAX {
            return Err(invalid("q", format!("has at most {QUESTION_BYTES_MAX} bytes")));
        }
        let wanted = Wanted::parse(question).map_err(|unclear| match unclear {
            Unclear::NoWords => invalid("q", "has no word in it"),
            Unclear::TooManyWords => invalid("q", format!("has at most {WORDS_MAX} words")),
        })?;
        Ok(Self {
            wanted,
            before: parameters.text("before").map(place).transpose()?,
            limit: limit(parameters)? as usize,
            consistency: consistency(parameters)?,
        })
    }
}

fn place(text: &str) -> Result<Hit, Problem> {
    let wrong = || invalid("before", "must be a next_before of an earlier page");
    let (at, id) = text.split_once('-').ok_or_else(wrong)?;
    let at = at.parse().map_err(|_| wrong())?;
    let CanonicalId { conversation, seq } = id.parse().map_err(|_| wrong())?;
    Ok(Hit { at: Timestamp(at), seq, conversation })
}

/// What one page is put together from.
struct Finding<'a> {
    parts: &'a Parts,
    user: &'a UserId,
    wanted: &'a Wanted,
    /// Of each conversation that something was found in, what the user may read of it, if anything.
    known: BTreeMap<ConversationId, Option<(Readable, Standings)>>,
    messages: Vec<Value>,
}

impl Parts {
    fn search(&self) -> Result<&Search, Problem> {
        let nothing = || Problem::new(ProblemCode::NotFound, "this node does not search");
        self.search.as_ref().ok_or_else(nothing)
    }

    async fn answer(
        &self,
        search: &Search,
        user: &UserId,
        of: BTreeSet<ConversationId>,
        question: Question,
    ) -> Result<Response, Failure> {
        let through = search.through();
        let Question { wanted, before, limit, .. } = question;
        let known = BTreeMap::new();
        let mut finding =
            Finding { parts: self, user, wanted: &wanted, known, messages: Vec::new() };
        let (mut last, mut more) = (before, true);
        let of = Arc::new(of);
        for _ in 0..WINDOWS_MAX {
            let asked = (Arc::clone(&of), wanted.clone());
            let (hits, beyond) = search.find(asked, last, limit).await?;
            more = beyond;
            for hit in hits {
                if finding.messages.len() == limit {
                    more = true;
                    break;
                }
                finding.look_up(hit)?;
                last = Some(hit);
                tokio::task::yield_now().await;
            }
            if !more || finding.messages.len() == limit {
                break;
            }
        }
        let next = last.filter(|_| more);
        let next = next.map(|hit| format!("{}-{}-{}", hit.at, hit.conversation, hit.seq));
        let messages = match finding.messages.is_empty() {
            true => json!([]),
            false => json!([{ "payload": finding.messages }]),
        };
        let answer = json!({
            "messages": messages,
            "next_before": next,
            "indexedThrough": through.map(rfc3339),
            "leftOut": [],
        });
        Ok(Json(answer).into_response())
    }
}

impl Finding<'_> {
    /// Tells of a message if it is the user's to read and has the words.
    fn look_up(&mut self, hit: Hit) -> Result<(), Problem> {
        let (parts, id) = (self.parts, hit.conversation);
        let store = |error| problems::of_store(&error);
        if !self.known.contains_key(&id) {
            let readable = match parts.history.readable(self.user, id) {
                Err(problem) if problem.code == ProblemCode::NotAMember => None,
                other => other?,
            };
            let known = match readable {
                Some(readable) => {
                    let conversation = parts.replica.conversation(id).map_err(store)?;
                    Some((readable, Standings::new(conversation)))
                }
                None => None,
            };
            self.known.insert(id, known);
        }
        let Some(Some((readable, standings))) = self.known.get(&id) else { return Ok(()) };
        if hit.seq < readable.visible_from {
            return Ok(());
        }
        let after = Seq(hit.seq.0.saturating_sub(1));
        let before = Some(hit.seq.next());
        let span = Span { after, before, limit: 1, direction: Direction::OldestFirst };
        let messages = parts.replica.messages(id, span).map_err(store)?;
        let overlays = parts.history.overlays(readable, &messages)?;
        let Some(message) = messages.first() else { return Ok(()) };
        let overlay = overlays.get(&message.seq);
        if search::reads(message, overlay).is_some_and(|text| self.wanted.fits(text)) {
            let to = Addressee::of(&readable.kind, &message.sender);
            let entity = Entity { message, overlay, to, standing: standings.of(message) };
            self.messages.push(told(entity));
        }
        Ok(())
    }
}

/// A message in the specification's form.
fn told(entity: Entity<'_>) -> Value {
    let text = spec_json::message_detail(&MessageDetail { entity, trail: None, reached: None });
    serde_json::from_str(&text).expect("what this node writes as JSON is JSON")
}
