//! The list of a user's conversations, the one with the newest message first.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chat::{Conversation, ConversationId, Kind, Message, Overlay, Seq, Timestamp, UserId};
use futures::future::try_join_all;
use proto::spec_json::{self, Entity, MessageDetail, rfc3339};
use proto::{Addressee, Problem, ProblemCode};
use serde_json::{Value, json};

use super::Parts;
use super::body::{Parameters, invalid};
use super::caller::Caller;
use super::interface::words::{
    CONVERSATION, COUNT, FRESHNESS, LIMIT, MESSAGE, NAME, RETENTION, SEQUENCE, SHORT,
};
use super::interface::{Answer, Operation, Schema, field, optional};
use super::messages::{consistency, limit};
use super::problems::{self, Failure};
use crate::history::{self, Consistency, Direction, LIMIT_MAX, Span, Standings};

/// A conversation's place in the list: newest first, then by id, so that pages neither skip nor repeat.
type Rank = (Timestamp, ConversationId);

/// `GET /v1/conversations`.
pub(super) const LIST: Operation =
    Operation::new("The caller's conversations, the one with the newest message first.")
        .query(&[
            LIMIT,
            &[optional("after", AFTER).says("a next_after of an earlier page")],
            FRESHNESS,
        ])
        .answers(&[Answer::json(
            200,
            "a page",
            &[
                field("conversations", Schema::List(&CONVERSATION_LINE, LIMIT_MAX as usize)),
                field("next_after", Schema::Maybe(&AFTER)),
            ],
        )])
        .refuses(&[ProblemCode::LimitOutOfRange]);

/// A place in the list.
const AFTER: Schema = Schema::Like("^[0-9]{1,19}-[0-3][0-9a-f]{31}$");
const CONVERSATION_LINE: Schema = Schema::Named(
    "Conversation",
    &Schema::Object(&[
        field("conversationId", CONVERSATION),
        field("kind", Schema::OneOf(&["direct", "group"])),
        optional("userId", NAME).says("the other user, in a direct conversation"),
        optional("groupId", NAME),
        optional("name", SHORT),
        optional("memberCount", COUNT),
        field("lastSequence", SEQUENCE),
        field("lastChange", SEQUENCE).says("the number of the last change; 0 before the first"),
        field("lastActivity", Schema::Time),
        field("lastMessage", Schema::Maybe(&MESSAGE)),
        field("unread", COUNT),
        field("delivered", SEQUENCE),
        field("read", SEQUENCE),
        field("retention", RETENTION),
        field("expiredUpTo", SEQUENCE).says("what has expired; 0: nothing has"),
    ]),
);

/// `GET /v1/conversations?limit=…&after=…`.
pub(super) async fn list(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let limit = limit(&parameters)? as usize;
    let after = parameters.text("after").map(rank).transpose()?;
    let fresh = consistency(&parameters)? != Consistency::Local;
    if fresh {
        let slot = who.user.slot();
        parts.router.linearize(slot).await.map_err(|error| problems::of_route(&error))?;
    }
    let mut ranks = parts.ranks(&who.user, after)?;
    let more = ranks.len() > limit;
    ranks.truncate(limit);
    if fresh {
        let slots: BTreeSet<u16> = ranks.iter().map(|(_, id)| id.slot()).collect();
        let all = slots.into_iter().map(|slot| parts.router.linearize(slot));
        try_join_all(all).await.map_err(|error| problems::of_route(&error))?;
    }
    let next = ranks.last().filter(|_| more).map(|(at, id)| format!("{at}-{id}"));
    let mut conversations = Vec::with_capacity(ranks.len());
    for (_, id) in ranks {
        conversations.extend(parts.entry(&who.user, id)?);
        tokio::task::yield_now().await;
    }
    Ok(Json(json!({ "conversations": conversations, "next_after": next })).into_response())
}

fn rank(text: &str) -> Result<Rank, Problem> {
    let wrong = || invalid("after", "must be a next_after of an earlier page");
    let (at, id) = text.split_once('-').ok_or_else(wrong)?;
    let at = at.parse().map_err(|_| wrong())?;
    Ok((Timestamp(at), id.parse().map_err(|_| wrong())?))
}

impl Parts {
    /// The user's conversations after `after`, in the order of the list.
    fn ranks(&self, user: &UserId, after: Option<Rank>) -> Result<Vec<Rank>, Problem> {
        let store = |error| problems::of_store(&error);
        let mut ranks = Vec::new();
        for (id, link) in self.replica.links(user).map_err(store)? {
            let head = self.replica.head(id).map_err(store)?;
            let rank = (head.map_or(link.at, |head| head.last_at), id);
            if after.is_none_or(|after| rank < after) {
                ranks.push(rank);
            }
        }
        ranks.sort_unstable_by(|one, other| other.cmp(one));
        Ok(ranks)
    }

    /// One line of the list; nothing if the user has just left.
    fn entry(&self, user: &UserId, id: ConversationId) -> Result<Option<Value>, Problem> {
        let store = |error| problems::of_store(&error);
        let Some(conversation) = self.replica.conversation(id).map_err(store)? else {
            return Ok(None);
        };
        let Some(visible_from) = conversation.visible_from(user) else { return Ok(None) };
        let last = self.messages_before_end(id, Seq(visible_from.0 - 1), 1)?.pop();
        let best = conversation.best(user);
        let unread = history::unread(&*self.replica, id, &conversation, user).map_err(store)?;
        let mut entry = json!({
            "conversationId": id.to_string(),
            "lastSequence": conversation.head.last_seq.0,
            "lastActivity": rfc3339(conversation.head.last_at),
            "unread": unread,
            "delivered": best.delivered.0,
            "read": best.read.0,
            "retention": spec_json::retention_json(conversation.head.retention),
            "expiredUpTo": conversation.head.expired.0,
        });
        match &conversation.head.kind {
            Kind::Direct { .. } => {
                entry["kind"] = json!("direct");
                entry["userId"] = json!(conversation.peer_of(user).map(UserId::as_str));
            }
            Kind::Group { group, name, .. } => {
                entry["kind"] = json!("group");
                entry["groupId"] = json!(group.as_str());
                entry["name"] = json!(name);
                entry["memberCount"] = json!(conversation.members.len());
            }
        }
        entry["lastChange"] = json!(conversation.head.last_change.0);
        entry["lastMessage"] = match last {
            Some(last) => {
                let last = std::slice::from_ref(&last);
                let head = &conversation.head;
                let overlays = history::overlays(&*self.replica, id, head, last).map_err(store)?;
                entity(conversation, &last[0], overlays.get(&last[0].seq))
            }
            None => Value::Null,
        };
        Ok(Some(entry))
    }

    fn messages_before_end(
        &self,
        id: ConversationId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Message>, Problem> {
        let span = Span { after, before: None, limit, direction: Direction::NewestFirst };
        self.replica.messages(id, span).map_err(|error| problems::of_store(&error))
    }
}

/// A message in the specification's form.
fn entity(conversation: Conversation, message: &Message, overlay: Option<&Overlay>) -> Value {
    let kind = conversation.head.kind.clone();
    let to = Addressee::of(&kind, &message.sender);
    let standing = Standings::new(Some(conversation)).of(message);
    let entity = Entity { message, overlay, to, standing };
    let text = spec_json::message_detail(&MessageDetail { entity, trail: None, reached: None });
    serde_json::from_str(&text).expect("what this node writes as JSON is JSON")
}
