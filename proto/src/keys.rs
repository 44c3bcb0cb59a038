//! Where each row lies. A key begins with its **slot** (two bytes, big-endian), so that a shard can be split by changing
//! ownership without moving data; then one byte of kind; then what the row is about, in an encoding whose byte order is
//! the order of the values. One file for each kind of key.
//!
//! ```text
//! [slot u16] 0x10 [conversation 14] 0x00                       head
//! [slot u16] 0x10 [conversation 14] 0x01 [user]                member
//! [slot u16] 0x10 [conversation 14] 0x02 [device u64]          producer
//! [slot u16] 0x10 [conversation 14] 0x03 [device u64]          cursor
//! [slot u16] 0x20 [conversation 14] [seq u64]                  message
//! [slot u16] 0x30 [conversation 14] [message id] 0x00 [device] place of a message id
//! [slot u16] 0x40 [user] 0x00 0x00                             account
//! [slot u16] 0x40 [user] 0x00 0x01 [device u64]                device
//! [slot u16] 0x40 [user] 0x00 0x02 [conversation 16]           link
//! [slot u16] 0x40 [user] 0x00 0x10                             settings
//! [slot u16] 0x50 [conversation 14] 0x00 [number u64]          change
//! [slot u16] 0x50 [conversation 14] 0x01 [seq u64]             what lies over a message
//! [slot u16] 0x50 [conversation 14] 0x02 [change id] 0x00 [device] place of a change id
//! [slot u16] 0x60 0x00 [asset 16]                              asset
//! [slot u16] 0x60 0x01 [user] 0x00 0x00                        storage of a user
//! [slot u16] 0x60 0x01 [user] 0x00 0x01 [asset 16]             asset that a user keeps
//! [slot u16] 0x40 [user] 0x00 0x18 [registration u64]          registration for pushes
//! [slot u16] 0x40 [user] 0x00 0x19 [registration] [number u64] notice
//! [slot u16] 0x40 [user] 0x00 0x1a [registration] [conv. 16]   how far a conversation became notices
//! [slot u16] 0x40 [user] 0x00 0x1b [registration] [number u64] dead letter
//! [slot u16] 0x70 [user] 0x00                                  the user has registrations
//! [slot u16] 0x80 [conversation 14]                            messages are not kept for ever
//! 0xFFFF     0x01 [group u32]                                  applied state of a Raft group
//! 0xFFFF     0x02 [group u32] [number u64]                     outbox item of a Raft group
//! 0xFFFF     0x03 [group u32] [key]                            staged row of a snapshot on its way in
//! 0xFFFF     0x04 [group u32]                                  a staged snapshot is complete and becomes the state
//! 0xFFFF     0x05                                              cluster configuration (group 0)
//! ```
//!
//! Conversations keep their slot in the first two of their 16 bytes, so that 14 more name them. User ids and message ids
//! hold no zero byte, so that one ends them. Values are in [`crate::row`].

mod account;
mod applied;
mod asset;
mod change;
mod change_ref;
mod cluster_config;
mod cursor;
mod device;
mod head;
mod installing;
mod kind;
mod link;
mod member;
mod message;
mod message_ref;
mod outbox;
mod overlay;
mod parts;
mod producer;
mod push;
mod retained;
mod settings;
mod staging;
mod storage;

use std::ops::Range;

use bytes::Bytes;

pub use account::{decode_user, user, user_range};
pub use applied::{applied, applied_range, decode_applied};
pub use asset::{asset, assets_of_slot, decode_asset};
pub use change::{change, change_range, decode_change};
pub use change_ref::{change_ref, decode_change_ref};
pub use cluster_config::cluster_config;
pub use cursor::{cursor, cursor_range, decode_cursor};
pub use device::{decode_device, device, device_range};
pub use head::{decode_head, head, states_of_slot};
pub use installing::{decode_installing, installing};
pub use kind::{Key, parse};
pub use link::{decode_link, link, link_range};
pub use member::{decode_member, member, member_range};
pub use message::{decode_message, message, message_range, messages_all};
pub use message_ref::{decode_message_ref, message_ref, message_ref_range};
pub use outbox::{decode_outbox, outbox, outbox_range};
pub use overlay::{decode_overlay, overlay, overlay_range};
pub use producer::{decode_producer, producer, producer_range};
pub use push::{
    dead_letter, decode_dead_letter, decode_notice, decode_push_mark, decode_registered,
    decode_registration, notice, push_mark, push_range, registered, registered_range, registration,
};
pub use retained::{decode_retained, retained, retained_range};
pub use settings::{decode_settings, settings};
pub use staging::{decode_staging, staging, staging_range};
pub use storage::{decode_kept, decode_storage, kept, kept_of_slot, storage};

use chat::ConversationId;
use parts::{Key as Builder, RESERVED, STATE, successor};

const _: () = assert!(chat::SLOTS == cluster_config::SLOTS_OF_THE_CLUSTER, "one key space");
const _: () = assert!(chat::SLOTS < RESERVED, "the reserved prefix lies above all slots");

/// All rows of one conversation but its messages and their ids: head, members, producers, cursors. `start..end`, end exclusive.
pub fn conversation_range(conversation: ConversationId) -> Range<Bytes> {
    Builder::conversation(STATE, conversation).prefix_range()
}

/// All rows of the slots `from..to`, `to` at most [`chat::SLOTS`]. Rows under the reserved prefix are never among them.
///
/// # Panics
/// When `from > to` or `to > SLOTS`.
pub fn slot_range(from: u16, to: u16) -> Range<Bytes> {
    assert!(from <= to && to <= chat::SLOTS, "slots {from}..{to} do not exist");
    let edge = |slot: u16| Bytes::copy_from_slice(&slot.to_be_bytes());
    edge(from)..edge(to)
}

/// All rows of no slot: applied states, outboxes, staged rows, the cluster configuration.
pub fn reserved_range() -> Range<Bytes> {
    let start = RESERVED.to_be_bytes();
    // Nothing lies above: the longest key is far shorter than this many bytes of 0xFF.
    Bytes::copy_from_slice(&start)..Bytes::from_static(&[0xFF; 16])
}

/// The least key above all keys that begin with `prefix`, for callers with ranges of their own.
pub fn after_prefix(prefix: &[u8]) -> Bytes {
    successor(prefix)
}

#[cfg(test)]
mod tests;
