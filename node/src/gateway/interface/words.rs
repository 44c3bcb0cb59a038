//! Shapes that more than one call speaks of.

use super::super::passwords::PASSWORD_BYTES_MAX;
use proto::spec_json::DAY_SECONDS;

use super::schema::{EXACT_MAX, Field, Schema, field, optional};

/// A user's or group's name; `.` and `..` are none.
pub(in crate::gateway) const NAME: Schema = Schema::Named(
    "Name",
    &Schema::Like("^([A-Za-z0-9_=+/-]|[.](?![.]?$))[A-Za-z0-9._=+/-]{0,63}$"),
);
/// A conversation's id. It begins with a slot, of which there are 0x4000.
pub(in crate::gateway) const CONVERSATION: Schema =
    Schema::Named("ConversationId", &Schema::Like("^[0-3][0-9a-f]{31}$"));
/// A message's name for ever.
pub(in crate::gateway) const CANONICAL: Schema =
    Schema::Named("CanonicalId", &Schema::Like("^[0-3][0-9a-f]{31}-[1-9][0-9]{0,19}$"));
/// A device's id.
pub(in crate::gateway) const DEVICE: Schema =
    Schema::Named("DeviceId", &Schema::Like("^(?!0{16}$)[0-9a-f]{16}$"));
/// A password in clear; not empty.
pub(in crate::gateway) const PASSWORD: Schema = Schema::Secret(PASSWORD_BYTES_MAX);
/// A place in a conversation; 0 is before the first.
pub(in crate::gateway) const SEQUENCE: Schema = Schema::Number(0, EXACT_MAX);
/// The number of something that is counted from 1.
pub(in crate::gateway) const FROM_ONE: Schema = Schema::Number(1, EXACT_MAX);
/// How many there are.
pub(in crate::gateway) const COUNT: Schema = Schema::Number(0, EXACT_MAX);
/// Any text; what is too long is refused with the limit.
pub(in crate::gateway) const TEXT: Schema = Schema::Text(65_536);
/// A short text: the name of a group or device.
pub(in crate::gateway) const SHORT: Schema = Schema::Text(chat::limits::NAME_BYTES_MAX);
/// Names of members.
pub(in crate::gateway) const NAMES: Schema = Schema::List(&NAME, chat::limits::MEMBERS_MAX);

/// A message in the specification's form.
pub(in crate::gateway) const MESSAGE: Schema = Schema::Named(
    "Message",
    &Schema::Object(&[
        field("senderId", NAME),
        optional("receiverId", NAME).says("the other user, in a direct conversation"),
        optional("groupId", NAME).says("the group, in a group"),
        field("messageId", Schema::Text(128)).says("the sender's own id of it"),
        field("timestamp", TEXT).says("the sender's own, or the node's when there is none"),
        field("serverTimestamp", Schema::Time),
        field("attachment", Schema::Flag),
        field("attachmentURI", Schema::List(&Schema::Text(1024), chat::limits::ATTACHMENTS_MAX)),
        field("messageText", TEXT),
        field("receivedServer", Schema::Flag),
        field("delivered", Schema::Flag),
        field("read", Schema::Flag),
        field("conversationId", CONVERSATION),
        field("sequence", Schema::Number(1, EXACT_MAX)),
        field("canonicalId", CANONICAL),
        field("orderNumber", Schema::Number(0, EXACT_MAX)),
        optional("replyTo", CANONICAL).says("the message that it answers"),
        optional("threadId", CANONICAL).says("the first message of its thread"),
        optional("mentions", Schema::List(&NAME, chat::limits::MENTIONS_MAX)),
        optional("edited", Schema::Flag).says("true, where it reads otherwise than at first"),
        optional("editedAt", Schema::Time),
        optional("deleted", Schema::Flag).says("true, where what it said is gone"),
        optional("reactions", Schema::List(&REACTION, chat::limits::REACTIONS_MAX)),
        optional("trail", Schema::List(&CHANGE, TRAIL_MAX))
            .says("of one message that was asked for"),
        optional("deliveredCount", COUNT),
        optional("readCount", COUNT),
        optional("deliveredTo", NAMES),
        optional("readBy", NAMES),
    ]),
);

/// The changes that a message is made of: its edits, its deletion, the reactions that stand.
const TRAIL_MAX: usize = chat::limits::EDITS_MAX + 1 + chat::limits::REACTIONS_MAX;

const REACTION: Schema = Schema::Object(&[field("userId", NAME), field("reaction", REACTING)]);
/// A user's reaction.
pub(in crate::gateway) const REACTING: Schema = Schema::Text(chat::limits::REACTION_BYTES_MAX);
/// What somebody may do in a group.
pub(in crate::gateway) const ROLE: Schema = Schema::OneOf(&["owner", "admin", "member"]);
/// The client's own id of a change.
pub(in crate::gateway) const CHANGE_ID: Schema = Schema::Text(chat::limits::MESSAGE_ID_BYTES_MAX);

/// Something that was changed.
pub(in crate::gateway) const CHANGE: Schema = Schema::Named(
    "Change",
    &Schema::Object(&[
        field("conversationId", CONVERSATION),
        field("change", Schema::Number(1, EXACT_MAX)).says("its number there, from 1"),
        field(
            "kind",
            Schema::OneOf(&[
                "edited",
                "deleted",
                "reacted",
                "renamed",
                "role",
                "added",
                "removed",
                "retention",
            ]),
        ),
        field("by", NAME),
        field("timestamp", Schema::Time),
        optional("sequence", Schema::Number(1, EXACT_MAX)).says("of the message that it is about"),
        optional("canonicalId", CANONICAL),
        optional("messageText", TEXT).says("edited; missing when the message was deleted since"),
        optional("reaction", REACTING).says("reacted; empty: taken back"),
        optional("name", SHORT).says("renamed"),
        optional("userId", NAME).says("role, removed"),
        optional("role", ROLE),
        optional("members", NAMES).says("added"),
        optional("promoted", NAME).says("removed: who owns the group after them"),
        optional("retention", RETENTION).says("retention"),
    ]),
);

/// For how long messages are kept; one of the two, or null: for ever.
pub(in crate::gateway) const RETENTION: Schema = Schema::Maybe(&Schema::Object(&[
    optional("days", Schema::Number(1, RETENTION_DAYS_MAX)),
    optional("seconds", Schema::Number(1, chat::limits::RETENTION_SECONDS_MAX)),
]));
/// The most days for which messages are kept.
pub(in crate::gateway) const RETENTION_DAYS_MAX: u64 =
    chat::limits::RETENTION_SECONDS_MAX / DAY_SECONDS;

/// How much of a list.
pub(in crate::gateway) const LIMIT: &[Field] =
    &[optional("limit", Schema::Number(1, 100)).says("50 when it is not said")];
/// How fresh a read is.
pub(in crate::gateway) const FRESHNESS: &[Field] = &[
    optional("consistency", Schema::OneOf(&["linearizable", "local", "at_least"]))
        .says("linearizable, when it is not said, sees everything acknowledged before"),
    optional("at_least", SEQUENCE).says("the sequence to see, with consistency=at_least"),
];

/// The shape of a segment of a path that more than one call has.
pub(super) fn segment(name: &str) -> Option<Schema> {
    matches!(name, "user" | "group" | "name" | "member").then_some(NAME)
}
