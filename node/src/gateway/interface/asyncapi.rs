//! What links carry, as AsyncAPI 3.0: the specification's JSON in full; the binary frames by reference to their schema.

use proto::ProblemCode;
use serde_json::{Map, Value, json};

use super::schema::{EXACT_MAX, Field, Schema, field, optional};
use super::words::{
    CANONICAL, CHANGE, CHANGE_ID, CONVERSATION, COUNT, MESSAGE, NAME, REACTING, SEQUENCE, TEXT,
};
use crate::presence::WATCHED_MAX;

/// One kind of frame.
struct Frame {
    name: &'static str,
    about: &'static str,
    fields: &'static [Field],
}

const CONNECTION: Field = field("connection_id", Schema::Text(64));
const RESUME: Field = optional("resume", TEXT).says("for the next link; opaque");
const RESET: Field =
    optional("reset", Schema::Flag).says("true: what this link was to begin with says nothing");
/// What of a message an answer repeats, and where it stands.
const ANSWER: Schema = Schema::Named(
    "Answer",
    &Schema::Object(&[
        optional("senderId", NAME),
        optional("receiverId", NAME),
        optional("groupId", NAME),
        optional("messageId", Schema::Text(128)),
        optional("timestamp", Schema::Time).says("the node's"),
        field("receivedServer", Schema::Flag).says("true: on the disks of a quorum"),
        field("delivered", Schema::Flag).says("true when every other member has it"),
        field("read", Schema::Flag),
        optional("conversationId", CONVERSATION),
        optional("sequence", SEQUENCE),
        optional("canonicalId", CANONICAL),
        optional("orderNumber", SEQUENCE),
        optional("deliveredCount", COUNT),
        optional("readCount", COUNT),
        optional("error", ERROR),
    ]),
);
/// Why something did not happen: a problem without what only HTTP needs.
const ERROR: Schema = Schema::Named(
    "Error",
    &Schema::Object(&[
        field("code", Schema::Text(64)).says("one of the stable problem codes"),
        field("detail", TEXT),
        field("retryable", Schema::Flag),
        optional("retry_after_ms", COUNT),
        optional("expected", Schema::Number(0, EXACT_MAX)),
        optional("field", Schema::Text(256)),
    ]),
);
const OUTGOING: Schema = Schema::Named(
    "Outgoing",
    &Schema::Object(&[
        optional("senderId", NAME).says("the caller, when it is said"),
        optional("receiverId", NAME).says("this or groupId"),
        optional("groupId", NAME),
        field("messageId", Schema::Text(128)),
        optional("timestamp", Schema::Text(128)).says("the client's own, kept as it is"),
        optional("orderNumber", Schema::Number(1, EXACT_MAX)),
        optional("attachment", Schema::Flag),
        optional("attachmentURI", Schema::Either(&[URI, Schema::List(&URI, URIS_MAX)])),
        optional("messageText", TEXT),
    ]),
);
const URI: Schema = Schema::Text(chat::limits::URI_BYTES_MAX);
const URIS_MAX: usize = chat::limits::ATTACHMENTS_MAX;
const CONFIRMATION: Schema = Schema::Named(
    "Confirmation",
    &Schema::Object(&[
        field("conversationId", CONVERSATION),
        field("sequence", SEQUENCE).says("covers everything up to here"),
        optional("delivered", Schema::Flag),
        optional("read", Schema::Flag),
    ]),
);
const CHANGES_CONFIRMATION: Schema = Schema::Named(
    "ChangesConfirmation",
    &Schema::Object(&[
        field("conversationId", CONVERSATION),
        field("change", Schema::Number(1, EXACT_MAX)).says("covers everything up to here"),
        field("delivered", Schema::Flag),
    ]),
);
/// What a client wants to become of a message.
const WISH: Schema = Schema::Named(
    "Wish",
    &Schema::Object(&[
        field("changeId", CHANGE_ID).says("repeated under the same id, it happens once"),
        optional("canonicalId", CANONICAL).says("this, or conversationId and sequence"),
        optional("conversationId", CONVERSATION),
        optional("sequence", SEQUENCE),
        field("kind", Schema::OneOf(&["edit", "delete", "react"])),
        optional("messageText", TEXT).says("edit"),
        optional("reaction", REACTING).says("react; empty: taken back"),
    ]),
);
const WISH_ANSWER: Schema = Schema::Named(
    "WishAnswer",
    &Schema::Object(&[
        optional("changeId", CHANGE_ID),
        optional("conversationId", CONVERSATION),
        optional("sequence", SEQUENCE),
        optional("canonicalId", CANONICAL),
        optional("kind", Schema::OneOf(&["edit", "delete", "react"])),
        optional("change", Schema::Number(1, EXACT_MAX)),
        optional("timestamp", Schema::Time),
        optional("error", ERROR),
    ]),
);
const TYPING_SAID: &[Field] = &[
    optional("conversationId", CONVERSATION).says("this, or receiverId, or groupId"),
    optional("receiverId", NAME),
    optional("groupId", NAME),
    field("on", Schema::Flag),
];
const TYPING_TOLD: &[Field] =
    &[field("conversationId", CONVERSATION), field("userId", NAME), field("on", Schema::Flag)];
const SEEN: Schema = Schema::Object(&[
    field("userId", NAME),
    optional("online", Schema::Flag),
    optional("lastSeen", Schema::Maybe(&Schema::Time)),
    optional("error", ERROR).says("in place of both: not, or no more, the caller's to watch"),
]);
const ITEMS_MAX: usize = proto::spec_json::PAYLOAD_ITEMS_MAX;

/// What a client says.
const SAID: &[Frame] = &[
    Frame {
        name: "hello",
        about: "First, unless a header said it, within 5 s.",
        fields: &[
            field("token", TEXT),
            optional("resume", TEXT)
                .says("what an earlier link was given; empty: there was none, and some is wanted"),
        ],
    },
    Frame {
        name: "payload",
        about: "Messages and confirmations, in any mixture.",
        fields: &[
            optional("connection_id", Schema::Text(64)).says("not compared"),
            field("payload", ASKED),
        ],
    },
    Frame {
        name: "wishes",
        about: "Edits, deletions for all and reactions; each is answered by itself.",
        fields: &[
            optional("connection_id", Schema::Text(64)).says("not compared"),
            field("changes", Schema::List(&WISH, ITEMS_MAX)),
        ],
    },
    Frame {
        name: "types",
        about: "The user is writing, or no more. Never stored.",
        fields: &[
            optional("connection_id", Schema::Text(64)).says("not compared"),
            field("typing", Schema::Object(TYPING_SAID)),
        ],
    },
    Frame {
        name: "watch",
        about: "All users of whom to tell when they come and go, from now on.",
        fields: &[
            optional("connection_id", Schema::Text(64)).says("not compared"),
            field("watch", Schema::Object(&[field("users", Schema::List(&NAME, WATCHED_MAX))])),
        ],
    },
];

/// What a payload of a client holds.
const ASKED: Schema =
    Schema::List(&Schema::Either(&[OUTGOING, CONFIRMATION, CHANGES_CONFIRMATION]), ITEMS_MAX);

/// What a node says.
const TOLD: &[Frame] = &[
    Frame {
        name: "connected",
        about: "First, once it is known who speaks.",
        fields: &[CONNECTION, RESUME, RESET],
    },
    Frame {
        name: "resume",
        about: "For the next link, once it is caught up and every minute, if the client asked for it.",
        fields: &[CONNECTION, RESUME, RESET],
    },
    Frame {
        name: "missed",
        about: "Everything that was stored before and is not delivered to this device, oldest first.",
        fields: &[CONNECTION, field("messages", Schema::List(&PAYLOAD, 1))],
    },
    Frame {
        name: "items",
        about: "Messages as they are stored, answers, and the same answers again as others get further.",
        fields: &[CONNECTION, field("payload", ITEMS)],
    },
    Frame {
        name: "changes",
        about: "What was changed, each after the messages that were said before it; and answers to wishes.",
        fields: &[
            CONNECTION,
            field(
                "changes",
                Schema::List(&Schema::Either(&[CHANGE, WISH_ANSWER]), usize::MAX >> 16),
            ),
        ],
    },
    Frame {
        name: "typing",
        about: "Somebody is writing, or no more; ends by itself after 6 s without a word.",
        fields: &[CONNECTION, field("typing", Schema::Object(TYPING_TOLD))],
    },
    Frame {
        name: "presence",
        about: "How those are who are watched: all of them at once, then whoever comes or goes.",
        fields: &[CONNECTION, field("presence", Schema::List(&SEEN, WATCHED_MAX))],
    },
    Frame {
        name: "error",
        about: "A frame that was not understood, or why the link is about to end.",
        fields: &[CONNECTION, field("error", ERROR)],
    },
    Frame {
        name: "goAway",
        about: "Before the node stops: where else to go.",
        fields: &[CONNECTION, field("goAway", Schema::Object(ADDRESSES)), RESUME],
    },
];

const PAYLOAD: Schema = Schema::Object(&[field("payload", ITEMS)]);
const ITEMS: Schema = Schema::List(&Schema::Either(&[MESSAGE, ANSWER]), usize::MAX >> 16);
const ADDRESSES: &[Field] = &[field("addresses", Schema::List(&Schema::Text(256), 256))];

/// Close codes as the protocol's page has them, with what to do.
const ABOUT: &str = "One ordered link for everything that is said. `encoding=text` carries these JSON frames, \
    `encoding=binary` the protobuf frames of proto/schema/frames.proto; QUIC with ALPN `synod/1` carries the latter. \
    Who speaks is settled once, by a bearer header or by the first frame.";

/// The whole document.
pub(super) fn document() -> Value {
    let mut named = Map::new();
    let (said, told) = (messages(SAID, &mut named), messages(TOLD, &mut named));
    let all: Map<String, Value> = said.into_iter().chain(told).collect();
    let in_channel = |name: &String| {
        let reference = format!("#/components/messages/{name}");
        (name.clone(), json!({ "$ref": reference }))
    };
    let channel: Map<String, Value> = all.keys().map(in_channel).collect();
    let codes: Vec<&str> = ProblemCode::ALL.iter().map(|code| code.as_str()).collect();
    named["Error"]["properties"]["code"]["enum"] = json!(codes);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Synod: links",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
        },
        "defaultContentType": "application/json",
        "channels": {
            "chat": {
                "address": "/chat",
                "description": "WebSocket on HTTP/1.1 and, by extended CONNECT (RFC 8441), on HTTP/2.",
                "messages": channel,
                "bindings": { "ws": { "method": "GET", "query": {
                    "type": "object",
                    "properties": { "encoding": { "type": "string", "enum": ["text", "binary"] } },
                } } },
            },
        },
        "operations": {
            "say": operation("receive", "What a client says.", SAID),
            "hear": operation("send", "What a node says.", TOLD),
        },
        "components": { "messages": all, "schemas": named },
    })
}

fn messages(frames: &[Frame], named: &mut Map<String, Value>) -> Vec<(String, Value)> {
    let message = |frame: &Frame| {
        let payload = super::schema::object(frame.fields, named);
        let message = json!({ "name": frame.name, "summary": frame.about, "payload": payload });
        (frame.name.to_owned(), message)
    };
    frames.iter().map(message).collect()
}

/// AsyncAPI is written from the node's side: it receives what a client says.
fn operation(action: &str, summary: &str, frames: &[Frame]) -> Value {
    let reference = |frame: &Frame| {
        let reference = format!("#/channels/chat/messages/{}", frame.name);
        json!({ "$ref": reference })
    };
    let messages: Vec<Value> = frames.iter().map(reference).collect();
    let channel = json!({ "$ref": "#/channels/chat" });
    json!({ "action": action, "summary": summary, "channel": channel, "messages": messages })
}
