//! Any key, told apart by its kind: for tools that walk over a whole table.

use chat::{AssetId, ChangeNumber, ConversationId, DeviceId, MessageId, PushId, Seq, UserId};
use cluster_config::GroupId;

use super::parts::{
    ACCOUNT, APPLIED, ASSET, ASSETS, CHANGE, CHANGE_REF, CHANGES, CLUSTER_CONFIG, CURSOR,
    DEAD_LETTER, DEVICE, HEAD, INSTALLING, KEEPING, KEPT, LINK, MARK, MEMBER, MESSAGE, MESSAGE_REF,
    NOTICE, OUTBOX, OVERLAY, PRODUCER, Parts, REGISTERED, REGISTRATION, RESERVED, RETAINED,
    SETTINGS, STAGING, STATE, TOTAL, USER,
};
use crate::DecodeError;

/// What lies under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A conversation's head.
    Head(ConversationId),
    /// A membership.
    Member(ConversationId, UserId),
    /// A device's producer.
    Producer(ConversationId, DeviceId),
    /// A device's cursor.
    Cursor(ConversationId, DeviceId),
    /// A message.
    Message(ConversationId, Seq),
    /// The place of a message id.
    MessageRef(ConversationId, MessageId, DeviceId),
    /// An account.
    User(UserId),
    /// A user's device.
    Device(UserId, DeviceId),
    /// A conversation in a user's list.
    Link(UserId, ConversationId),
    /// A user's settings.
    Settings(UserId),
    /// A change.
    Change(ConversationId, ChangeNumber),
    /// What lies over a message.
    Overlay(ConversationId, Seq),
    /// The place of a change id.
    ChangeRef(ConversationId, MessageId, DeviceId),
    /// An asset.
    Asset(AssetId),
    /// What a user keeps in all.
    Storage(UserId),
    /// An asset that a user keeps.
    Kept(UserId, AssetId),
    /// A user has registrations for pushes.
    Registered(UserId),
    /// A registration.
    Registration(UserId, PushId),
    /// A registration's notice.
    Notice(UserId, PushId, u64),
    /// How far a conversation became notices of a registration.
    PushMark(UserId, PushId, ConversationId),
    /// A registration's dead letter.
    DeadLetter(UserId, PushId, u64),
    /// Messages of this conversation are not kept for ever.
    Retained(ConversationId),
    /// Applied state of a Raft group.
    Applied(GroupId),
    /// An item of a Raft group's outbox.
    Outbox(GroupId, u64),
    /// A staged row, with its future key.
    Staging(GroupId, Vec<u8>),
    /// A Raft group's staged rows are complete.
    Installing(GroupId),
    /// The cluster configuration.
    ClusterConfig,
}

/// Takes any key apart.
///
/// # Errors
/// When it is none of the kinds above, or not exactly so long.
pub fn parse(key: &[u8]) -> Result<Key, DecodeError> {
    let mut parts = Parts::of(key, "key");
    let slot = parts.u16()?;
    let [kind] = parts.array()?;
    match (slot, kind) {
        (RESERVED, APPLIED) => super::decode_applied(key).map(Key::Applied),
        (RESERVED, OUTBOX) => super::decode_outbox(key).map(|(group, n)| Key::Outbox(group, n)),
        (RESERVED, STAGING) => {
            super::decode_staging(key).map(|(group, key)| Key::Staging(group, key.to_vec()))
        }
        (RESERVED, INSTALLING) => super::decode_installing(key).map(Key::Installing),
        (RESERVED, CLUSTER_CONFIG) => parts.end(Key::ClusterConfig),
        (RESERVED, _) => Err(parts.error("unknown kind")),
        (_, STATE) => parse_state(key),
        (_, MESSAGE) => super::decode_message(key).map(|(id, seq)| Key::Message(id, seq)),
        (_, MESSAGE_REF) => {
            super::decode_message_ref(key).map(|(id, message, d)| Key::MessageRef(id, message, d))
        }
        (_, USER) => parse_user(key),
        (_, CHANGES) => parse_changes(key),
        (_, ASSETS) => parse_assets(key),
        (_, REGISTERED) => super::decode_registered(key).map(Key::Registered),
        (_, RETAINED) => super::decode_retained(key).map(Key::Retained),
        _ => Err(parts.error("unknown kind")),
    }
}

fn parse_state(key: &[u8]) -> Result<Key, DecodeError> {
    let mut parts = Parts::of(key, "key");
    parts.conversation(STATE)?;
    match parts.array()? {
        [HEAD] => super::decode_head(key).map(Key::Head),
        [MEMBER] => super::decode_member(key).map(|(id, user)| Key::Member(id, user)),
        [PRODUCER] => super::decode_producer(key).map(|(id, device)| Key::Producer(id, device)),
        [CURSOR] => super::decode_cursor(key).map(|(id, device)| Key::Cursor(id, device)),
        _ => Err(parts.error("unknown kind")),
    }
}

fn parse_changes(key: &[u8]) -> Result<Key, DecodeError> {
    let mut parts = Parts::of(key, "key");
    parts.conversation(CHANGES)?;
    match parts.array()? {
        [CHANGE] => super::decode_change(key).map(|(id, number)| Key::Change(id, number)),
        [OVERLAY] => super::decode_overlay(key).map(|(id, seq)| Key::Overlay(id, seq)),
        [CHANGE_REF] => {
            super::decode_change_ref(key).map(|(id, change, d)| Key::ChangeRef(id, change, d))
        }
        _ => Err(parts.error("unknown kind")),
    }
}

fn parse_assets(key: &[u8]) -> Result<Key, DecodeError> {
    let mut parts = Parts::of(key, "key");
    let _slot = parts.u16()?;
    parts.expect(ASSETS)?;
    match parts.array()? {
        [ASSET] => super::decode_asset(key).map(Key::Asset),
        [KEEPING] => {
            let mut parts = Parts::of(key, "key");
            parts.keeper()?;
            match parts.array()? {
                [TOTAL] => super::decode_storage(key).map(Key::Storage),
                [KEPT] => super::decode_kept(key).map(|(user, asset)| Key::Kept(user, asset)),
                _ => Err(parts.error("unknown kind")),
            }
        }
        _ => Err(parts.error("unknown kind")),
    }
}

fn parse_user(key: &[u8]) -> Result<Key, DecodeError> {
    let mut parts = Parts::of(key, "key");
    parts.user()?;
    match parts.array()? {
        [ACCOUNT] => super::decode_user(key).map(Key::User),
        [DEVICE] => super::decode_device(key).map(|(user, device)| Key::Device(user, device)),
        [SETTINGS] => super::decode_settings(key).map(Key::Settings),
        [LINK] => super::decode_link(key).map(|(user, id)| Key::Link(user, id)),
        [REGISTRATION] => {
            super::decode_registration(key).map(|(user, push)| Key::Registration(user, push))
        }
        [NOTICE] => super::decode_notice(key).map(|(user, push, n)| Key::Notice(user, push, n)),
        [MARK] => {
            super::decode_push_mark(key).map(|(user, push, id)| Key::PushMark(user, push, id))
        }
        [DEAD_LETTER] => {
            super::decode_dead_letter(key).map(|(user, push, n)| Key::DeadLetter(user, push, n))
        }
        _ => Err(parts.error("unknown kind")),
    }
}
