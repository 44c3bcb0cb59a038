//! One item of an inbound payload: a message, or a confirmation.

use std::collections::BTreeSet;

use chat::{
    Body, CanonicalId, ChangeNumber, ConversationId, GroupId, MessageId, Order, Seq, UserId,
};
use serde_json::{Map, Value};

use crate::{Problem, ProblemCode};

/// JSON that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct BadJson {
    /// The field that is wrong; empty when the whole is no JSON object.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl BadJson {
    pub(super) fn new(field: &str, reason: impl Into<String>) -> BadJson {
        BadJson { field: field.to_owned(), reason: reason.into() }
    }
}

impl From<&BadJson> for Problem {
    fn from(bad: &BadJson) -> Problem {
        let problem = Problem::new(ProblemCode::InvalidRequest, bad.to_string());
        if bad.field.is_empty() { problem } else { problem.about(bad.field.clone()) }
    }
}

/// An item that was refused, with what of it can be echoed to its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadItem {
    /// As the client wrote it, if it was a text.
    pub sender: Option<String>,
    /// As the client wrote it, if it was a text.
    pub receiver: Option<String>,
    /// As the client wrote it, if it was a text.
    pub group: Option<String>,
    /// As the client wrote it, if it was a text.
    pub message_id: Option<String>,
    /// What is wrong.
    pub error: BadJson,
}

/// One item of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A message on its way in.
    Message(MessageItem),
    /// How far the device has got.
    Confirm(ConfirmItem),
    /// Which changes the device has: everything up to this number.
    ConfirmChanges(ConversationId, ChangeNumber),
}

/// Whom a client sends to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SentTo {
    /// `receiverId`.
    Receiver(UserId),
    /// `groupId`.
    Group(GroupId),
}

/// A message on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageItem {
    /// Who says it; must be who is logged in, which the session checks. May be left out.
    pub sender: Option<UserId>,
    /// Where to.
    pub to: SentTo,
    /// The client's own id.
    pub message_id: MessageId,
    /// `orderNumber`, if the client counts.
    pub order: Option<Order>,
    /// What is said.
    pub body: Body,
    /// The conversations of the messages that it names by their canonical ids: all must be its own.
    pub within: BTreeSet<ConversationId>,
}

/// A confirmation: covers everything up to `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfirmItem {
    /// Where.
    pub conversation: ConversationId,
    /// Up to where.
    pub seq: Seq,
    /// Read, and hence delivered; otherwise delivered only.
    pub read: bool,
}

/// Longest piece of a client's text that is echoed in a refusal.
const ECHO_BYTES_MAX: usize = chat::limits::MESSAGE_ID_BYTES_MAX;

/// Reads one item, whose place in the payload is `index`.
pub(super) fn read(index: usize, value: Value) -> Result<Item, Box<BadItem>> {
    let Value::Object(mut fields) = value else {
        return Err(Box::new(BadItem {
            sender: None,
            receiver: None,
            group: None,
            message_id: None,
            error: BadJson::new(&format!("payload[{index}]"), "must be an object"),
        }));
    };
    let echo = |field: &str| match fields.get(field) {
        Some(Value::String(text)) if text.len() <= ECHO_BYTES_MAX => Some(text.clone()),
        _ => None,
    };
    let mut bad = BadItem {
        sender: echo("senderId"),
        receiver: echo("receiverId"),
        group: echo("groupId"),
        message_id: echo("messageId"),
        error: BadJson::new("", ""),
    };
    let read = match is_confirmation(&fields) {
        true if fields.contains_key("change") => confirm_changes(&mut fields),
        true => confirm(&mut fields),
        false => message(&mut fields),
    };
    read.map_err(|error| {
        bad.error = error;
        Box::new(bad)
    })
}

/// A confirmation names a place and says nothing. It may repeat other fields of the message it is about.
fn is_confirmation(fields: &Map<String, Value>) -> bool {
    let has = |field: &str| fields.contains_key(field);
    let names = has("sequence") || has("conversationId") || has("change");
    names && !has("messageText") && !has("attachmentURI")
}

fn message(fields: &mut Map<String, Value>) -> Result<Item, BadJson> {
    let sender = text(fields, "senderId")?.filter(|id| !id.is_empty());
    let receiver = text(fields, "receiverId")?.filter(|id| !id.is_empty());
    let group = text(fields, "groupId")?.filter(|id| !id.is_empty());
    let message_id = required(text(fields, "messageId")?, "messageId")?;
    let order = number(fields, "orderNumber")?;
    let uris = uris(fields)?;
    let attachment = boolean(fields, "attachment")?.unwrap_or(!uris.is_empty());
    let mut within = BTreeSet::new();
    let reply_to = refers(fields, "replyTo", &mut within)?;
    let thread = refers(fields, "threadId", &mut within)?;
    let mentions = mentions(fields)?;
    let said = text(fields, "messageText")?;
    if said.is_none() && uris.is_empty() {
        return Err(BadJson::new("messageText", "missing"));
    }
    let to = match (receiver, group) {
        (Some(receiver), None) => SentTo::Receiver(parsed("receiverId", UserId::parse(&receiver))?),
        (None, Some(group)) => SentTo::Group(parsed("groupId", GroupId::parse(&group))?),
        (None, None) => return Err(BadJson::new("receiverId", "missing, and so is groupId")),
        (Some(_), Some(_)) => return Err(BadJson::new("groupId", "together with receiverId")),
    };
    if order == Some(0) {
        return Err(BadJson::new("orderNumber", "must be 1 or more"));
    }
    Ok(Item::Message(MessageItem {
        sender: sender.map(|id| parsed("senderId", UserId::parse(&id))).transpose()?,
        to,
        message_id: parsed("messageId", MessageId::parse(&message_id))?,
        order: order.map(Order),
        body: Body {
            text: said.unwrap_or_default(),
            client_timestamp: text(fields, "timestamp")?.unwrap_or_default(),
            attachment,
            attachment_uris: uris,
            reply_to,
            thread,
            mentions,
        },
        within,
    }))
}

/// A message by its sequence or by its canonical id.
fn refers(
    fields: &mut Map<String, Value>,
    field: &str,
    within: &mut BTreeSet<ConversationId>,
) -> Result<Option<Seq>, BadJson> {
    let wrong = || BadJson::new(field, "must be a sequence or a canonicalId");
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => match number.as_u64() {
            Some(seq) if seq > 0 => Ok(Some(Seq(seq))),
            _ => Err(wrong()),
        },
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => {
            let id: CanonicalId = parsed(field, text.parse())?;
            within.insert(id.conversation);
            Ok(Some(id.seq))
        }
        Some(_) => Err(wrong()),
    }
}

fn mentions(fields: &mut Map<String, Value>) -> Result<BTreeSet<UserId>, BadJson> {
    let wrong = || BadJson::new("mentions", "must be a list of users");
    match fields.remove("mentions") {
        None | Some(Value::Null) => Ok(BTreeSet::new()),
        Some(Value::Array(list)) => {
            let user = |value| match value {
                Value::String(user) => parsed("mentions", UserId::parse(&user)),
                _ => Err(wrong()),
            };
            list.into_iter().map(user).collect()
        }
        Some(_) => Err(wrong()),
    }
}

fn confirm_changes(fields: &mut Map<String, Value>) -> Result<Item, BadJson> {
    let conversation = required(text(fields, "conversationId")?, "conversationId")?;
    let change = required(number(fields, "change")?, "change")?;
    let conversation = parsed("conversationId", conversation.parse::<ConversationId>())?;
    if boolean(fields, "delivered")? != Some(true) {
        return Err(BadJson::new("delivered", "must be true"));
    }
    Ok(Item::ConfirmChanges(conversation, ChangeNumber(change)))
}

fn confirm(fields: &mut Map<String, Value>) -> Result<Item, BadJson> {
    let conversation = required(text(fields, "conversationId")?, "conversationId")?;
    let seq = required(number(fields, "sequence")?, "sequence")?;
    let delivered = boolean(fields, "delivered")?.unwrap_or(false);
    let read = boolean(fields, "read")?.unwrap_or(false);
    if !delivered && !read {
        return Err(BadJson::new("delivered", "one of delivered and read must be true"));
    }
    Ok(Item::Confirm(ConfirmItem {
        conversation: parsed("conversationId", conversation.parse::<ConversationId>())?,
        seq: Seq(seq),
        read,
    }))
}

/// `null` counts as absent.
pub(super) fn text(
    fields: &mut Map<String, Value>,
    field: &str,
) -> Result<Option<String>, BadJson> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(BadJson::new(field, "must be a string")),
    }
}

pub(super) fn boolean(
    fields: &mut Map<String, Value>,
    field: &str,
) -> Result<Option<bool>, BadJson> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(value)),
        Some(_) => Err(BadJson::new(field, "must be true or false")),
    }
}

pub(super) fn number(fields: &mut Map<String, Value>, field: &str) -> Result<Option<u64>, BadJson> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) if number.is_u64() => Ok(number.as_u64()),
        Some(_) => Err(BadJson::new(field, "must be a whole number, 0 or more")),
    }
}

/// A string or a list of strings; the empty string is no URI.
fn uris(fields: &mut Map<String, Value>) -> Result<Vec<String>, BadJson> {
    let wrong = || BadJson::new("attachmentURI", "must be a string or a list of strings");
    let listed = match fields.remove("attachmentURI") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(uri)) => vec![uri],
        Some(Value::Array(list)) => {
            let uri = |value| match value {
                Value::String(uri) => Ok(uri),
                _ => Err(wrong()),
            };
            list.into_iter().map(uri).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(wrong()),
    };
    Ok(listed.into_iter().filter(|uri| !uri.is_empty()).collect())
}

pub(super) fn required<T>(value: Option<T>, field: &str) -> Result<T, BadJson> {
    value.ok_or_else(|| BadJson::new(field, "missing"))
}

pub(super) fn parsed<T>(field: &str, value: Result<T, chat::IdError>) -> Result<T, BadJson> {
    value.map_err(|error| BadJson::new(field, error.to_string()))
}
