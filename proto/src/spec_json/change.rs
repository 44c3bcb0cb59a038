//! Changes in a text client's words: `{"connection_id","changes":[{…}]}`, both ways. A key of their own, so that a client
//! that knows nothing of changes never takes one for a message.

use chat::{
    CanonicalId, Change, ChangeNumber, ConversationId, Message, MessageId, Overlay, Retention,
    Role, Seq, Timestamp, UserId, What, Wish,
};
use serde_json::{Map, Value, json};

use super::item::{self, BadJson};
use super::writer::Writer;
use crate::Problem;

/// A wish to change a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeItem {
    /// The client's own id of the change.
    pub change_id: MessageId,
    /// Which message.
    pub message: CanonicalId,
    /// What is wished.
    pub wish: Wish,
}

/// A wish that was not understood, with what of it can be echoed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadChange {
    /// As the client wrote it, if it was a text.
    pub change_id: Option<String>,
    /// What is wrong.
    pub error: BadJson,
}

/// Seconds of a day.
pub const DAY_SECONDS: u64 = 24 * 3600;

/// Longest change id that is echoed in a refusal.
const ECHO_BYTES_MAX: usize = chat::limits::MESSAGE_ID_BYTES_MAX;

/// Reads one item, whose place in the list is `index`.
pub(super) fn read(index: usize, value: Value) -> Result<ChangeItem, Box<BadChange>> {
    let Value::Object(mut fields) = value else {
        let error = BadJson::new(&format!("changes[{index}]"), "must be an object");
        return Err(Box::new(BadChange { change_id: None, error }));
    };
    let change_id = match fields.get("changeId") {
        Some(Value::String(text)) if text.len() <= ECHO_BYTES_MAX => Some(text.clone()),
        _ => None,
    };
    change(&mut fields).map_err(|error| Box::new(BadChange { change_id, error }))
}

fn change(fields: &mut Map<String, Value>) -> Result<ChangeItem, BadJson> {
    let change_id = item::required(item::text(fields, "changeId")?, "changeId")?;
    let change_id = item::parsed("changeId", MessageId::parse(&change_id))?;
    let message = message(fields)?;
    let text = item::text(fields, "messageText")?;
    let reaction = item::text(fields, "reaction")?;
    let wish = match item::required(item::text(fields, "kind")?, "kind")?.as_str() {
        "edit" => Wish::Edit(item::required(text, "messageText")?),
        "delete" => Wish::Delete,
        "react" => Wish::React(item::required(reaction, "reaction")?),
        _ => return Err(BadJson::new("kind", "must be edit, delete or react")),
    };
    Ok(ChangeItem { change_id, message, wish })
}

/// By `canonicalId`, or by `conversationId` and `sequence`.
fn message(fields: &mut Map<String, Value>) -> Result<CanonicalId, BadJson> {
    if let Some(id) = item::text(fields, "canonicalId")? {
        return item::parsed("canonicalId", id.parse());
    }
    let conversation = item::required(item::text(fields, "conversationId")?, "conversationId")?;
    let seq = item::required(item::number(fields, "sequence")?, "sequence")?;
    let conversation = item::parsed("conversationId", conversation.parse::<ConversationId>())?;
    Ok(CanonicalId { conversation, seq: Seq(seq) })
}

/// One `{"connection_id","changes":[…]}`, item by item.
#[derive(Debug)]
pub struct Changes {
    out: Writer,
    items: usize,
}

impl Changes {
    /// A frame on this connection.
    pub fn new(connection_id: &str) -> Changes {
        let mut out = Writer::with_capacity(256);
        out.open(b'{');
        out.name("connection_id");
        out.text(connection_id);
        out.name("changes");
        out.open(b'[');
        Changes { out, items: 0 }
    }

    /// Whether no item was added: such a frame is not worth sending.
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// How long the frame is so far.
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    /// A change happened.
    pub fn happened(&mut self, change: &Change) {
        self.items += 1;
        write_change(&mut self.out, change);
    }

    /// A wish came true, just now or before.
    pub fn stored(&mut self, item: &ChangeItem, number: ChangeNumber, at: Timestamp) {
        self.items += 1;
        let out = &mut self.out;
        out.open(b'{');
        write_wish(out, item);
        out.name("change");
        out.number(number.0);
        out.name("timestamp");
        out.moment(at);
        out.close(b'}');
    }

    /// A wish did not come true, or is not known to have.
    pub fn failed(&mut self, item: &ChangeItem, problem: &Problem) {
        self.items += 1;
        let out = &mut self.out;
        out.open(b'{');
        write_wish(out, item);
        out.name("error");
        out.json(&problem.to_error_object());
        out.close(b'}');
    }

    /// A wish was not understood.
    pub fn not_understood(&mut self, bad: &BadChange) {
        self.items += 1;
        let out = &mut self.out;
        out.open(b'{');
        if let Some(change_id) = &bad.change_id {
            out.name("changeId");
            out.text(change_id);
        }
        out.name("error");
        out.json(&Problem::from(&bad.error).to_error_object());
        out.close(b'}');
    }

    /// The whole frame as text.
    pub fn finish(mut self) -> String {
        self.out.close(b']');
        self.out.close(b'}');
        self.out.finish()
    }
}

/// The body of `GET /v1/conversations/{id}/changes`: ascending, and where the next page begins.
pub fn changes_page<'a>(
    changes: impl IntoIterator<Item = &'a Change>,
    next_after: Option<ChangeNumber>,
) -> String {
    let mut out = Writer::with_capacity(256);
    out.open(b'{');
    out.name("changes");
    out.open(b'[');
    changes.into_iter().for_each(|change| write_change(&mut out, change));
    out.close(b']');
    out.name("next_after");
    match next_after {
        Some(number) => out.number(number.0),
        None => out.null(),
    }
    out.close(b'}');
    out.finish()
}

fn write_wish(out: &mut Writer, item: &ChangeItem) {
    out.name("changeId");
    out.text(item.change_id.as_str());
    write_message(out, item.message);
    out.name("kind");
    out.text(match item.wish {
        Wish::Edit(_) => "edit",
        Wish::Delete => "delete",
        Wish::React(_) => "react",
    });
}

fn write_message(out: &mut Writer, message: CanonicalId) {
    out.name("conversationId");
    out.plain(message.conversation);
    out.name("sequence");
    out.number(message.seq.0);
    out.name("canonicalId");
    out.plain(message);
}

pub(super) fn write_change(out: &mut Writer, change: &Change) {
    out.open(b'{');
    match change.what.seq() {
        Some(seq) => write_message(out, CanonicalId { conversation: change.conversation, seq }),
        None => {
            out.name("conversationId");
            out.plain(change.conversation);
        }
    }
    out.name("change");
    out.number(change.number.0);
    out.name("by");
    out.text(change.by.as_str());
    out.name("timestamp");
    out.moment(change.at);
    write_what(out, &change.what);
    out.close(b'}');
}

fn write_what(out: &mut Writer, what: &What) {
    let kind = |out: &mut Writer, kind: &str| {
        out.name("kind");
        out.text(kind);
    };
    match what {
        What::Edited { text, .. } => {
            kind(out, "edited");
            if let Some(text) = text {
                out.name("messageText");
                out.text(text);
            }
        }
        What::Deleted { .. } => kind(out, "deleted"),
        What::Reacted { reaction, .. } => {
            kind(out, "reacted");
            out.name("reaction");
            out.text(reaction);
        }
        What::Renamed { name } => {
            kind(out, "renamed");
            out.name("name");
            out.text(name);
        }
        What::RoleSet { member, role } => {
            kind(out, "role");
            out.name("userId");
            out.text(member.as_str());
            out.name("role");
            out.text(role_name(*role));
        }
        What::Added { members } => {
            kind(out, "added");
            out.name("members");
            out.open(b'[');
            members.iter().for_each(|member| out.text(member.as_str()));
            out.close(b']');
        }
        What::RetentionSet { retention } => {
            kind(out, "retention");
            out.name("retention");
            out.json(&retention_json(*retention));
        }
        What::Removed { member, promoted } => {
            kind(out, "removed");
            out.name("userId");
            out.text(member.as_str());
            if let Some(promoted) = promoted {
                out.name("promoted");
                out.text(promoted.as_str());
            }
        }
    }
}

/// For how long messages are kept: `{"days":n}` where that is whole days, else `{"seconds":n}`; `null`: for ever.
pub fn retention_json(retention: Option<Retention>) -> Value {
    match retention {
        None => Value::Null,
        Some(Retention(seconds)) if seconds.is_multiple_of(DAY_SECONDS) => {
            json!({ "days": seconds / DAY_SECONDS })
        }
        Some(Retention(seconds)) => json!({ "seconds": seconds }),
    }
}

/// A role by its name.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Owner => "owner",
        Role::Admin => "admin",
        Role::Member => "member",
    }
}

/// The role of this name.
pub fn role_of(name: &str) -> Option<Role> {
    [Role::Owner, Role::Admin, Role::Member].into_iter().find(|role| role_name(*role) == name)
}

/// What a message refers to and what became of it: nothing for a plain one.
pub(super) fn write_state(out: &mut Writer, message: &Message, overlay: Option<&Overlay>) {
    write_refers(out, message);
    let Some(overlay) = overlay else { return };
    if overlay.deleted.is_some() {
        out.name("deleted");
        out.boolean(true);
    }
    if !overlay.edits.is_empty() {
        out.name("edited");
        out.boolean(true);
        out.name("editedAt");
        out.moment(overlay.edited_at);
    }
    if !overlay.reactions.is_empty() {
        out.name("reactions");
        out.open(b'[');
        for (user, reaction) in &overlay.reactions {
            out.open(b'{');
            out.name("userId");
            out.text(user.as_str());
            out.name("reaction");
            out.text(&reaction.text);
            out.close(b'}');
        }
        out.close(b']');
    }
}

fn write_refers(out: &mut Writer, message: &Message) {
    let body = &message.body;
    for (name, seq) in [("replyTo", body.reply_to), ("threadId", body.thread)] {
        if let Some(seq) = seq {
            out.name(name);
            out.plain(CanonicalId { conversation: message.conversation, seq });
        }
    }
    if !body.mentions.is_empty() {
        out.name("mentions");
        out.open(b'[');
        body.mentions.iter().for_each(|user| out.text(user.as_str()));
        out.close(b']');
    }
}

/// `{"connection_id","typing":{…}}`: somebody is writing, or no more.
pub fn typing(
    connection_id: &str,
    conversation: ConversationId,
    user: &UserId,
    on: bool,
) -> String {
    let mut out = Writer::with_capacity(192);
    out.open(b'{');
    out.name("connection_id");
    out.text(connection_id);
    out.name("typing");
    out.open(b'{');
    out.name("conversationId");
    out.plain(conversation);
    out.name("userId");
    out.text(user.as_str());
    out.name("on");
    out.boolean(on);
    out.close(b'}');
    out.close(b'}');
    out.finish()
}
