//! One text frame of a client.

use std::collections::BTreeSet;

use chat::{ConversationId, GroupId, UserId};
use serde_json::{Map, Value};

use super::PAYLOAD_ITEMS_MAX;
use super::change::{self, BadChange, ChangeItem};
use super::item::{self, BadItem, BadJson, Item, SentTo};
use super::presence;

/// What a client said in one text frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// `{"token":"…","resume":"…"}`: who speaks, where headers cannot say it.
    Token {
        /// The access token.
        token: String,
        /// What an earlier link was given for this one; empty when there was none and this one wants to be given some.
        resume: Option<String>,
    },
    /// `{"connection_id":"…","payload":[…]}`.
    Payload {
        /// As the client wrote it; the session says whether it must match.
        connection_id: Option<String>,
        /// In the order of the payload. A bad item stands where it stood.
        items: Vec<Result<Item, Box<BadItem>>>,
    },
    /// `{"connection_id","changes":[…]}`, in the order of the list.
    Changes(Vec<Result<ChangeItem, Box<BadChange>>>),
    /// `{"connection_id","typing":{…}}`.
    Typing(TypingIn),
    /// `{"connection_id","watch":{"users":[…]}}`: all who are to be watched from now on.
    Watch(BTreeSet<UserId>),
}

/// The client's user is writing, or no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypingIn {
    /// Where.
    pub to: TypingWhere,
    /// Or no more.
    pub on: bool,
}

/// Where somebody is writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypingWhere {
    /// In this conversation.
    Conversation(ConversationId),
    /// As a message would be sent.
    To(SentTo),
}

/// Reads one text frame.
///
/// # Errors
/// [`BadJson`] when the frame as a whole is not one of the two forms. Bad items are told one by one.
pub fn parse(text: &str) -> Result<Inbound, BadJson> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| BadJson::new("", error.to_string()))?;
    let Value::Object(mut fields) = value else {
        return Err(BadJson::new("", "must be an object"));
    };
    if let Some(token) = item::text(&mut fields, "token")? {
        let resume = item::text(&mut fields, "resume")?;
        return Ok(Inbound::Token { token, resume });
    }
    let connection_id = item::text(&mut fields, "connection_id")?;
    if !fields.contains_key("payload") {
        if let Some(changes) = fields.remove("changes") {
            let items = list("changes", changes)?.into_iter().enumerate();
            let items = items.map(|(index, value)| change::read(index, value)).collect();
            return Ok(Inbound::Changes(items));
        }
        if let Some(typing) = fields.remove("typing") {
            return self::typing(typing).map(Inbound::Typing);
        }
        if let Some(watch) = fields.remove("watch") {
            return presence::watch(watch).map(Inbound::Watch);
        }
    }
    match fields.remove("payload") {
        None => Err(BadJson::new("payload", "missing")),
        Some(payload) => {
            let items = list("payload", payload)?.into_iter().enumerate();
            let items = items.map(|(index, value)| item::read(index, value)).collect();
            Ok(Inbound::Payload { connection_id, items })
        }
    }
}

fn list(field: &str, value: Value) -> Result<Vec<Value>, BadJson> {
    match value {
        Value::Array(items) if items.len() > PAYLOAD_ITEMS_MAX => {
            Err(BadJson::new(field, format!("at most {PAYLOAD_ITEMS_MAX} items")))
        }
        Value::Array(items) => Ok(items),
        _ => Err(BadJson::new(field, "must be a list")),
    }
}

fn typing(value: Value) -> Result<TypingIn, BadJson> {
    let Value::Object(mut fields) = value else {
        return Err(BadJson::new("typing", "must be an object"));
    };
    let on = item::boolean(&mut fields, "on")?;
    Ok(TypingIn { to: typing_where(&mut fields)?, on: item::required(on, "on")? })
}

/// By exactly one of three names.
fn typing_where(fields: &mut Map<String, Value>) -> Result<TypingWhere, BadJson> {
    let conversation = item::text(fields, "conversationId")?;
    let receiver = item::text(fields, "receiverId")?;
    match (conversation, receiver, item::text(fields, "groupId")?) {
        (Some(id), None, None) => {
            let id = item::parsed("conversationId", id.parse::<ConversationId>())?;
            Ok(TypingWhere::Conversation(id))
        }
        (None, Some(user), None) => {
            let user = item::parsed("receiverId", UserId::parse(&user))?;
            Ok(TypingWhere::To(SentTo::Receiver(user)))
        }
        (None, None, Some(group)) => {
            let group = item::parsed("groupId", GroupId::parse(&group))?;
            Ok(TypingWhere::To(SentTo::Group(group)))
        }
        (None, None, None) => Err(BadJson::new("conversationId", "missing")),
        _ => Err(BadJson::new("conversationId", "together with another name")),
    }
}
