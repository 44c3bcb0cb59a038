//! What a text client is told: answers, pushed status, messages, pages of history.

use chat::{
    CanonicalId, Change, ChangeNumber, ConversationId, Message, Order, Overlay, Seq, Timestamp,
    UserId,
};

use super::change::{write_change, write_state};
use super::item::BadItem;
use super::writer::Writer;
use crate::{Addressee, Problem};

/// Room that the fields of one item take beside its text, so that the buffer seldom grows.
const ITEM_BYTES: usize = 512;

/// What every answer about a message repeats of it.
#[derive(Debug, Clone, Copy)]
pub struct Echo<'a> {
    /// Who sent it.
    pub sender: &'a str,
    /// Whom it is for.
    pub to: Addressee<'a>,
    /// The client's own id of it.
    pub message_id: &'a str,
}

impl<'a> Echo<'a> {
    /// The echo of a stored message.
    pub fn of(message: &'a Message, to: Addressee<'a>) -> Echo<'a> {
        let sender = message.sender.as_str();
        Echo { sender, to, message_id: message.message_id.as_str() }
    }
}

/// How far a message has got: `delivered` and `read` are true when every other member has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// On a device of every other member.
    pub delivered: bool,
    /// Read by every other member.
    pub read: bool,
    /// In a group: by how many others, delivered and read.
    pub counts: Option<(u64, u64)>,
}

/// One `{"connection_id","payload":[…]}`, item by item. With [`Payload::catching_up`], the same items as
/// `{"connection_id","messages":[{"payload":[…]}]}`.
#[derive(Debug)]
pub struct Payload {
    out: Writer,
    items: usize,
    catching_up: bool,
}

/// `{"connection_id":"…","resume":"…"}`: the first thing a client is told once it is known, and what it is given for its
/// next link. With `reset`, what it came with says nothing any more.
pub fn connected(connection_id: &str, resume: &str, reset: bool) -> String {
    let mut out = Writer::with_capacity(connection_id.len() + resume.len() + 48);
    out.open(b'{');
    out.name("connection_id");
    out.text(connection_id);
    if !resume.is_empty() {
        out.name("resume");
        out.text(resume);
    }
    if reset {
        out.name("reset");
        out.boolean(true);
    }
    out.close(b'}');
    out.finish()
}

impl Payload {
    /// A frame on this connection.
    pub fn new(connection_id: &str) -> Payload {
        let out = Payload::begin(connection_id);
        Payload::items(out, false)
    }

    /// A frame that delivers what was stored before the connection began.
    pub fn catching_up(connection_id: &str) -> Payload {
        let mut out = Payload::begin(connection_id);
        out.name("messages");
        out.open(b'[');
        out.open(b'{');
        Payload::items(out, true)
    }

    fn begin(connection_id: &str) -> Writer {
        let mut out = Writer::with_capacity(ITEM_BYTES + connection_id.len());
        out.open(b'{');
        out.name("connection_id");
        out.text(connection_id);
        out
    }

    fn items(mut out: Writer, catching_up: bool) -> Payload {
        out.name("payload");
        out.open(b'[');
        Payload { out, items: 0, catching_up }
    }

    /// How many items were added.
    pub fn len(&self) -> usize {
        self.items
    }

    /// Whether no item was added: such a frame is not worth sending.
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// A message is stored, at its place for ever. Also what is pushed again as `standing` changes.
    pub fn stored(
        &mut self,
        echo: Echo<'_>,
        place: CanonicalId,
        order: Order,
        at: Timestamp,
        standing: Standing,
    ) {
        self.items += 1;
        let out = &mut self.out;
        out.open(b'{');
        write_echo(out, echo);
        out.name("timestamp");
        out.moment(at);
        write_standing(out, standing);
        write_place(out, place, order);
        out.close(b'}');
    }

    /// A message was not stored, or not known to be.
    pub fn failed(&mut self, echo: Echo<'_>, problem: &Problem) {
        self.items += 1;
        let out = &mut self.out;
        out.open(b'{');
        write_echo(out, echo);
        write_failure(out, problem);
        out.close(b'}');
    }

    /// An item was not understood; what of it was legible is repeated.
    pub fn not_understood(&mut self, bad: &BadItem) {
        self.items += 1;
        let out = &mut self.out;
        out.open(b'{');
        let echoed = [
            ("senderId", &bad.sender),
            ("receiverId", &bad.receiver),
            ("groupId", &bad.group),
            ("messageId", &bad.message_id),
        ];
        for (name, value) in echoed {
            if let Some(value) = value {
                out.name(name);
                out.text(value);
            }
        }
        write_failure(out, &Problem::from(&bad.error));
        out.close(b'}');
    }

    /// A message for its recipient: the full entity, as it reads now.
    pub fn message(
        &mut self,
        message: &Message,
        overlay: Option<&Overlay>,
        to: Addressee<'_>,
        standing: Standing,
    ) {
        self.items += 1;
        write_message(&mut self.out, Entity { message, overlay, to, standing });
    }

    /// A confirmation was taken: where the device stands now.
    pub fn confirmed(&mut self, conversation: ConversationId, delivered: Seq, read: Seq) {
        self.items += 1;
        let out = &mut self.out;
        out.open(b'{');
        out.name("conversationId");
        out.plain(conversation);
        out.name("deliveredUpTo");
        out.number(delivered.0);
        out.name("readUpTo");
        out.number(read.0);
        out.close(b'}');
    }

    /// A confirmation was refused.
    pub fn not_confirmed(&mut self, conversation: ConversationId, seq: Seq, problem: &Problem) {
        self.items += 1;
        let out = &mut self.out;
        out.open(b'{');
        out.name("conversationId");
        out.plain(conversation);
        out.name("sequence");
        out.number(seq.0);
        out.name("error");
        out.json(&problem.to_error_object());
        out.close(b'}');
    }

    /// A confirmation of changes was refused.
    pub fn changes_not_confirmed(
        &mut self,
        conversation: ConversationId,
        change: ChangeNumber,
        problem: &Problem,
    ) {
        self.items += 1;
        let out = &mut self.out;
        out.open(b'{');
        out.name("conversationId");
        out.plain(conversation);
        out.name("change");
        out.number(change.0);
        out.name("error");
        out.json(&problem.to_error_object());
        out.close(b'}');
    }

    /// The whole frame as text.
    pub fn finish(mut self) -> String {
        self.out.close(b']');
        if self.catching_up {
            self.out.close(b'}');
            self.out.close(b']');
        }
        self.out.close(b'}');
        self.out.finish()
    }
}

/// A message as somebody sees it.
#[derive(Debug, Clone, Copy)]
pub struct Entity<'a> {
    /// The message.
    pub message: &'a Message,
    /// What lies over it.
    pub overlay: Option<&'a Overlay>,
    /// Whom it is for.
    pub to: Addressee<'a>,
    /// How far it has got.
    pub standing: Standing,
}

/// Where the next page begins, or that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paging {
    /// The page was asked for with `after_id`, or from the beginning.
    After(Option<CanonicalId>),
    /// The page was asked for with `before_id`.
    Before(Option<CanonicalId>),
    /// The page was asked for with `around_id`: before it, and after it.
    Around(Option<CanonicalId>, Option<CanonicalId>),
}

/// The body of `GET /messages/…`: ascending by sequence. `{"messages":[{"payload":[…]}],"next_after_id":…}`, and where
/// messages have `expired`, up to which.
pub fn history_page<'a>(
    messages: impl IntoIterator<Item = Entity<'a>>,
    paging: Paging,
    expired: Seq,
) -> String {
    let mut messages = messages.into_iter().peekable();
    let mut out = Writer::with_capacity(ITEM_BYTES);
    out.open(b'{');
    out.name("messages");
    out.open(b'[');
    if messages.peek().is_some() {
        out.open(b'{');
        out.name("payload");
        out.open(b'[');
        messages.for_each(|entity| write_message(&mut out, entity));
        out.close(b']');
        out.close(b'}');
    }
    out.close(b']');
    let edges = match paging {
        Paging::After(next) => [Some(("next_after_id", next)), None],
        Paging::Before(next) => [Some(("next_before_id", next)), None],
        Paging::Around(before, after) => {
            [Some(("next_before_id", before)), Some(("next_after_id", after))]
        }
    };
    for (name, next) in edges.into_iter().flatten() {
        out.name(name);
        match next {
            Some(id) => out.plain(id),
            None => out.null(),
        }
    }
    if expired > Seq(0) {
        out.name("expiredUpTo");
        out.number(expired.0);
    }
    out.close(b'}');
    out.finish()
}

/// What `GET /v1/messages/{canonicalId}` tells.
#[derive(Debug)]
pub struct MessageDetail<'a> {
    /// The message, as it reads now.
    pub entity: Entity<'a>,
    /// What became of it, change by change; `None` where nobody asked.
    pub trail: Option<&'a [Change]>,
    /// In a group: who has it, and who has read it.
    pub reached: Option<(Vec<&'a UserId>, Vec<&'a UserId>)>,
}

/// The body of `GET /v1/messages/{canonicalId}`: the entity with its `trail`, in groups with `deliveredTo` and `readBy`.
pub fn message_detail(detail: &MessageDetail<'_>) -> String {
    let mut out = Writer::with_capacity(ITEM_BYTES + detail.entity.message.body.text.len());
    out.open(b'{');
    write_message_fields(&mut out, detail.entity);
    if let Some(trail) = detail.trail {
        out.name("trail");
        out.open(b'[');
        trail.iter().for_each(|change| write_change(&mut out, change));
        out.close(b']');
    }
    if let Some((delivered_to, read_by)) = &detail.reached {
        for (name, users) in [("deliveredTo", delivered_to), ("readBy", read_by)] {
            out.name(name);
            out.open(b'[');
            for user in users {
                out.text(user.as_str());
            }
            out.close(b']');
        }
    }
    out.close(b'}');
    out.finish()
}

fn write_message(out: &mut Writer, entity: Entity<'_>) {
    out.open(b'{');
    write_message_fields(out, entity);
    out.close(b'}');
}

fn write_message_fields(out: &mut Writer, entity: Entity<'_>) {
    let Entity { message, overlay, to, standing } = entity;
    let body = &message.body;
    write_echo(out, Echo::of(message, to));
    // The client's own time as it wrote it, beside the server's, which always is.
    out.name("timestamp");
    match body.client_timestamp.as_str() {
        "" => out.moment(message.at),
        own => out.text(own),
    }
    out.name("serverTimestamp");
    out.moment(message.at);
    out.name("attachment");
    out.boolean(body.attachment);
    out.name("attachmentURI");
    out.open(b'[');
    for uri in &body.attachment_uris {
        out.text(uri);
    }
    out.close(b']');
    out.name("messageText");
    out.text(overlay.and_then(|overlay| overlay.text.as_ref()).unwrap_or(&body.text));
    write_state(out, message, overlay);
    write_standing(out, standing);
    write_place(out, message.canonical_id(), message.order);
}

fn write_echo(out: &mut Writer, echo: Echo<'_>) {
    out.name("senderId");
    out.text(echo.sender);
    let (name, to) = match echo.to {
        Addressee::Receiver(receiver) => ("receiverId", receiver),
        Addressee::Group(group) => ("groupId", group),
    };
    out.name(name);
    out.text(to);
    out.name("messageId");
    out.text(echo.message_id);
}

fn write_standing(out: &mut Writer, standing: Standing) {
    out.name("receivedServer");
    out.boolean(true);
    out.name("delivered");
    out.boolean(standing.delivered);
    out.name("read");
    out.boolean(standing.read);
    if let Some((delivered, read)) = standing.counts {
        out.name("deliveredCount");
        out.number(delivered);
        out.name("readCount");
        out.number(read);
    }
}

fn write_place(out: &mut Writer, place: CanonicalId, order: Order) {
    out.name("conversationId");
    out.plain(place.conversation);
    out.name("sequence");
    out.number(place.seq.0);
    out.name("canonicalId");
    out.plain(place);
    out.name("orderNumber");
    out.number(order.0);
}

fn write_failure(out: &mut Writer, problem: &Problem) {
    out.name("receivedServer");
    out.boolean(false);
    out.name("delivered");
    out.boolean(false);
    out.name("read");
    out.boolean(false);
    out.name("error");
    out.json(&problem.to_error_object());
}
