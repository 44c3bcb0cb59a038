//! Commands to records of assets, and to what users keep of them.

use bytes::Bytes;
use chat::{AssetCommand, AssetId, Holder, StorageCommand, Timestamp, UserId};
use prost::Message as _;

use super::Command;
use crate::log::{self, asset_command::Command as Wire};
use crate::{DecodeError, read};

/// The bytes of a command to the record of `asset`.
pub fn encode_asset_command(asset: AssetId, command: &AssetCommand) -> Bytes {
    encode(
        asset,
        match command {
            AssetCommand::Create { owner, size, sha256, media_type, holders } => {
                Wire::Create(log::CreateAsset {
                    owner: owner.as_str().to_owned(),
                    size: *size,
                    sha256: Bytes::copy_from_slice(&sha256.0),
                    media_type: media_type.clone(),
                    holders: holders.iter().map(|holder| holder.0).collect(),
                })
            }
            AssetCommand::Grant { conversation, by } => Wire::Grant(log::GrantAsset {
                conversation: read::conversation_bytes(*conversation),
                by: by.as_str().to_owned(),
            }),
            AssetCommand::AddHolder { holder } => {
                Wire::AddHolder(log::AddHolder { holder: holder.0 })
            }
            AssetCommand::Delete { created_before } => {
                Wire::Delete(log::DeleteAsset { created_before_ms: created_before.0 })
            }
        },
    )
}

/// The bytes of a command about what `user` keeps, for `asset`.
pub fn encode_storage_command(user: &UserId, asset: AssetId, command: &StorageCommand) -> Bytes {
    let user = user.as_str().to_owned();
    encode(
        asset,
        match *command {
            StorageCommand::Reserve { size, limit } => {
                Wire::Reserve(log::ReserveStorage { user, size, limit })
            }
            StorageCommand::Release => Wire::Release(log::ReleaseStorage { user }),
        },
    )
}

fn encode(asset: AssetId, command: Wire) -> Bytes {
    let asset = Bytes::copy_from_slice(asset.as_bytes());
    let command = log::AssetCommand { asset, command: Some(command) };
    let command = log::command::Command::Asset(command);
    log::Command { command: Some(command) }.encode_to_vec().into()
}

/// A command and what it is about, checked.
pub(super) fn read(command: log::AssetCommand) -> Result<Command, DecodeError> {
    let id = read::asset("command.asset", &command.asset)?;
    let to_asset = |command| Ok(Command::Asset { id, command });
    let to_storage = |user: &str, command| {
        Ok(Command::Storage { user: read::user("command.user", user)?, asset: id, command })
    };
    match command.command.ok_or_else(|| DecodeError::missing("command.command"))? {
        Wire::Create(create) => to_asset(AssetCommand::Create {
            owner: read::user("create.owner", &create.owner)?,
            size: create.size,
            sha256: read::digest("create.sha256", &create.sha256)?,
            media_type: create.media_type,
            holders: create.holders.into_iter().map(Holder).collect(),
        }),
        Wire::Grant(grant) => to_asset(AssetCommand::Grant {
            conversation: read::conversation("grant.conversation", &grant.conversation)?,
            by: read::user("grant.by", &grant.by)?,
        }),
        Wire::AddHolder(add) => to_asset(AssetCommand::AddHolder { holder: Holder(add.holder) }),
        Wire::Delete(delete) => {
            to_asset(AssetCommand::Delete { created_before: Timestamp(delete.created_before_ms) })
        }
        Wire::Reserve(log::ReserveStorage { user, size, limit }) => {
            to_storage(&user, StorageCommand::Reserve { size, limit })
        }
        Wire::Release(release) => to_storage(&release.user, StorageCommand::Release),
    }
}
