//! Account, device, link.

use std::collections::BTreeMap;

use bytes::Bytes;
use chat::{Device, DeviceId, Link, Seq, Timestamp, User};
use prost::Message as _;

use crate::{DecodeError, read, rows};

/// A user without devices and links, which have rows of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The password's hash, in a text form that names its own parameters.
    pub password_hash: String,
    /// When the account was made.
    pub created_at: Timestamp,
    /// The last sign of life that was recorded; 0 before the first.
    pub last_seen: Timestamp,
    /// What the user wants to be called; empty: nothing else than the name.
    pub display_name: String,
    /// When a session was last ended by somebody else than its own device.
    pub signed_out_at: Timestamp,
    /// The last sign of life of each device, as far as any was recorded.
    pub seen: BTreeMap<DeviceId, Timestamp>,
}

impl From<&User> for Account {
    fn from(user: &User) -> Account {
        Account {
            password_hash: user.password_hash.clone(),
            created_at: user.created_at,
            last_seen: user.last_seen,
            display_name: user.display_name.clone(),
            signed_out_at: user.signed_out_at,
            seen: user.seen.clone(),
        }
    }
}

/// The bytes of an account.
pub fn encode_account(account: &Account) -> Bytes {
    let row = rows::User {
        password_hash: account.password_hash.clone(),
        created_at_ms: account.created_at.0,
        last_seen_ms: account.last_seen.0,
        display_name: account.display_name.clone(),
        signed_out_at_ms: account.signed_out_at.0,
        seen: account
            .seen
            .iter()
            .map(|(device, at)| rows::DeviceSeen { device: device.0, at_ms: at.0 })
            .collect(),
    };
    row.encode_to_vec().into()
}

/// The account that these bytes mean.
///
/// # Errors
/// [`DecodeError`] when they are no account, or with the field that is wrong.
pub fn decode_account(bytes: &[u8]) -> Result<Account, DecodeError> {
    let row = rows::User::decode(bytes).map_err(DecodeError::of("user"))?;
    Ok(Account {
        password_hash: row.password_hash,
        created_at: Timestamp(row.created_at_ms),
        last_seen: Timestamp(row.last_seen_ms),
        display_name: row.display_name,
        signed_out_at: Timestamp(row.signed_out_at_ms),
        seen: row
            .seen
            .iter()
            .map(|seen| Ok((read::device("user.seen", seen.device)?, Timestamp(seen.at_ms))))
            .collect::<Result<_, DecodeError>>()?,
    })
}

/// The bytes of a user's settings; nothing when they are all as they are without a row.
pub fn encode_settings(hide_read: bool) -> Option<Bytes> {
    let row = rows::Settings { hide_read };
    hide_read.then(|| row.encode_to_vec().into())
}

/// Whether the user hides what they read.
///
/// # Errors
/// [`DecodeError`] when the bytes are no settings.
pub fn decode_settings(bytes: &[u8]) -> Result<bool, DecodeError> {
    let row = rows::Settings::decode(bytes).map_err(DecodeError::of("settings"))?;
    Ok(row.hide_read)
}

/// The bytes of a device.
pub fn encode_device(device: &Device) -> Bytes {
    let starts = device.starts.iter().map(|(conversation, seq)| rows::Start {
        conversation: read::conversation_bytes(*conversation),
        seq: seq.0,
    });
    let row = rows::Device {
        name: device.name.clone(),
        created_at_ms: device.created_at.0,
        refresh_digest: Bytes::copy_from_slice(&device.refresh.0),
        starts: starts.collect(),
    };
    row.encode_to_vec().into()
}

/// The device that these bytes mean.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_device(bytes: &[u8]) -> Result<Device, DecodeError> {
    let row = rows::Device::decode(bytes).map_err(DecodeError::of("device"))?;
    let start = |start: &rows::Start| {
        let conversation = read::conversation("device.starts", &start.conversation)?;
        Ok((conversation, Seq(start.seq)))
    };
    Ok(Device {
        refresh: read::digest("device.refresh_digest", &row.refresh_digest)?,
        starts: row.starts.iter().map(start).collect::<Result<_, DecodeError>>()?,
        name: row.name,
        created_at: Timestamp(row.created_at_ms),
    })
}

/// The bytes of a link.
pub fn encode_link(link: &Link) -> Bytes {
    let (peer, group) = read::link_fields(&link.to);
    rows::ConversationLink { peer, group, linked_at_ms: link.at.0 }.encode_to_vec().into()
}

/// The link that these bytes mean.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_link(bytes: &[u8]) -> Result<Link, DecodeError> {
    let row = rows::ConversationLink::decode(bytes).map_err(DecodeError::of("link"))?;
    let to = read::link_to("link.to", &row.peer, &row.group)?;
    Ok(Link { to, at: Timestamp(row.linked_at_ms) })
}
