//! Commands of a shard to bytes of the log, and back. Station 5 encodes them, station 7 decodes them, years later perhaps.
//! Whether a command may be carried out is not asked here.

mod asset;
mod conversation;
mod push;
mod user;

use std::ops::Range;

use bytes::Bytes;
use chat::{AssetCommand, AssetId, ConversationId, StorageCommand, UserId};
use cluster_config::GroupId;
use prost::Message as _;

use crate::{DecodeError, log, read};

pub use asset::{encode_asset_command, encode_storage_command};
pub use conversation::encode_conversation_command;
pub use user::encode_user_command;

/// One command of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// To a conversation.
    Conversation {
        /// Which.
        id: ConversationId,
        /// What.
        command: chat::Command,
    },
    /// To a user record.
    User {
        /// Whose.
        user: UserId,
        /// What.
        command: chat::UserCommand,
    },
    /// To the record of an asset.
    Asset {
        /// Which.
        id: AssetId,
        /// What.
        command: AssetCommand,
    },
    /// To what a user keeps.
    Storage {
        /// Whose.
        user: UserId,
        /// For which asset.
        asset: AssetId,
        /// What.
        command: StorageCommand,
    },
    /// The shard's outbox has been carried out up to this number, inclusive.
    OutboxDone(u64),
    /// From here on these slots are another group's.
    Split {
        /// The new group.
        to: GroupId,
        /// Which, never none.
        slots: Range<u16>,
    },
}

impl Command {
    /// The bytes of this command.
    pub fn encode(&self) -> Bytes {
        match self {
            Command::Conversation { id, command } => encode_conversation_command(*id, command),
            Command::User { user, command } => encode_user_command(user, command),
            Command::Asset { id, command } => encode_asset_command(*id, command),
            Command::Storage { user, asset, command } => {
                encode_storage_command(user, *asset, command)
            }
            Command::OutboxDone(up_to) => encode_outbox_done(*up_to),
            Command::Split { to, slots } => encode_split(*to, slots),
        }
    }
}

/// The bytes of [`Command::OutboxDone`].
pub fn encode_outbox_done(up_to: u64) -> Bytes {
    let command = log::command::Command::OutboxDone(log::OutboxDone { up_to });
    log::Command { command: Some(command) }.encode_to_vec().into()
}

/// The bytes of [`Command::Split`].
pub fn encode_split(to: GroupId, slots: &Range<u16>) -> Bytes {
    let (from, end) = (slots.start.into(), slots.end.into());
    let command = log::command::Command::Split(log::Split { to: to.0, from, end });
    log::Command { command: Some(command) }.encode_to_vec().into()
}

fn read_split(split: log::Split) -> Result<Command, DecodeError> {
    let slots = read::slots("split.slots", split.from, split.end)?;
    match split.to {
        0 => Err(DecodeError::new("split.to", "group 0 owns no slot".to_owned())),
        to => Ok(Command::Split { to: GroupId(to), slots }),
    }
}

/// The command that these bytes mean. Strict: every id is checked, what must be there must be there, and a kind of command
/// that this version does not know is an error rather than nothing.
///
/// # Errors
/// [`DecodeError`] with the field that is wrong.
pub fn decode_command(bytes: &[u8]) -> Result<Command, DecodeError> {
    let decoded = log::Command::decode(bytes).map_err(DecodeError::of("command"))?;
    match decoded.command.ok_or_else(|| DecodeError::missing("command"))? {
        log::command::Command::Conversation(command) => {
            let (id, command) = conversation::read(command)?;
            Ok(Command::Conversation { id, command })
        }
        log::command::Command::User(command) => {
            let (user, command) = user::read(command)?;
            Ok(Command::User { user, command })
        }
        log::command::Command::Asset(command) => asset::read(command),
        log::command::Command::OutboxDone(done) => Ok(Command::OutboxDone(done.up_to)),
        log::command::Command::Split(split) => read_split(split),
    }
}

#[cfg(test)]
mod tests;
