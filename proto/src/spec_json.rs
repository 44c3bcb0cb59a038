//! The specification's own JSON, as CONTRACT section 5 fixes it: what a text client says on `/chat`, and what it is told
//! there and by `GET /messages/…`. Field names, shapes and defaults live here; who may say what does not.
//!
//! Inbound: unknown fields are ignored, wrong types are refused with the field's name, and one bad item of a payload does not
//! spoil the others. Outbound: written straight into one buffer, in the specification's order of fields.

mod change;
mod inbound;
mod item;
mod outbound;
mod presence;
mod time;
mod writer;

pub use change::{
    BadChange, ChangeItem, Changes, DAY_SECONDS, changes_page, retention_json, role_name, role_of,
    typing,
};
pub use inbound::{Inbound, TypingIn, TypingWhere, parse};
pub use item::{BadItem, BadJson, ConfirmItem, Item, MessageItem, SentTo};
pub use outbound::{
    Echo, Entity, MessageDetail, Paging, Payload, Standing, connected, history_page, message_detail,
};
pub use presence::{SeenItem, presence};
pub use time::{parse_rfc3339, rfc3339};

/// Most items of one payload: each is a proposal of its own, and a frame is one client's share of a node's attention.
pub const PAYLOAD_ITEMS_MAX: usize = 256;

#[cfg(test)]
mod tests;
