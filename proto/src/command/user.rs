//! Commands to user records.

use std::collections::BTreeMap;

use bytes::Bytes;
use chat::{ConversationId, DeviceId, PushCommand, Seq, Timestamp, UserCommand, UserId};
use prost::Message as _;

use super::push;
use crate::log::{self, user_command::Command as Wire};
use crate::{DecodeError, read};

/// The bytes of a command to the record of `user`.
pub fn encode_user_command(user: &UserId, command: &UserCommand) -> Bytes {
    let command =
        log::UserCommand { user: user.as_str().to_owned(), command: Some(write(command)) };
    let command = log::command::Command::User(command);
    log::Command { command: Some(command) }.encode_to_vec().into()
}

fn write(command: &UserCommand) -> Wire {
    match command {
        UserCommand::Create { password_hash } => {
            Wire::Create(log::CreateUser { password_hash: password_hash.clone() })
        }
        UserCommand::OpenSession { device, name, refresh, starts } => {
            Wire::OpenSession(log::OpenSession {
                device: device.0,
                device_name: name.clone(),
                refresh_digest: Bytes::copy_from_slice(&refresh.0),
                starts: write_starts(starts),
            })
        }
        UserCommand::RefreshSession { device, old, new } => {
            Wire::RefreshSession(log::RefreshSession {
                device: device.0,
                old_digest: Bytes::copy_from_slice(&old.0),
                new_digest: Bytes::copy_from_slice(&new.0),
            })
        }
        UserCommand::EndSession { device } => {
            Wire::EndSession(log::EndSession { device: device.0 })
        }
        UserCommand::Link { conversation, to } => {
            let (peer, group) = read::link_fields(to);
            let conversation = read::conversation_bytes(*conversation);
            Wire::LinkConversation(log::LinkConversation { conversation, peer, group })
        }
        UserCommand::Unlink { conversation } => Wire::UnlinkConversation(log::UnlinkConversation {
            conversation: read::conversation_bytes(*conversation),
        }),
        UserCommand::Configure { hide_read } => {
            Wire::Configure(log::Configure { hide_read: *hide_read })
        }
        UserCommand::MarkSeen { at, device } => {
            let device = device.map_or(0, |device| device.0);
            Wire::MarkSeen(log::MarkSeen { at_ms: at.0, device })
        }
        UserCommand::ChangePassword { old, new, keep } => {
            Wire::ChangePassword(log::ChangePassword {
                old_hash: old.clone(),
                new_hash: new.clone(),
                keep: keep.0,
            })
        }
        UserCommand::SetProfile { display_name } => {
            Wire::SetProfile(log::SetProfile { display_name: display_name.clone() })
        }
        UserCommand::AdmitDevice { device, name, issued_at, starts } => {
            Wire::AdmitDevice(log::AdmitDevice {
                device: device.0,
                device_name: name.clone(),
                issued_at_ms: issued_at.0,
                starts: write_starts(starts),
            })
        }
        UserCommand::Push { push, command } => push::write(*push, command),
    }
}

/// A command and whose it is, checked.
pub(super) fn read(command: log::UserCommand) -> Result<(UserId, UserCommand), DecodeError> {
    let user = read::user("command.user", &command.user)?;
    let command = match command.command.ok_or_else(|| DecodeError::missing("command.command"))? {
        Wire::Create(create) => UserCommand::Create { password_hash: create.password_hash },
        Wire::OpenSession(open) => UserCommand::OpenSession {
            device: read::device("open_session.device", open.device)?,
            refresh: read::digest("open_session.refresh_digest", &open.refresh_digest)?,
            starts: read_starts("open_session.starts", &open.starts)?,
            name: open.device_name,
        },
        Wire::RefreshSession(refresh) => UserCommand::RefreshSession {
            device: read::device("refresh_session.device", refresh.device)?,
            old: read::digest("refresh_session.old_digest", &refresh.old_digest)?,
            new: read::digest("refresh_session.new_digest", &refresh.new_digest)?,
        },
        Wire::EndSession(end) => {
            UserCommand::EndSession { device: read::device("end_session.device", end.device)? }
        }
        Wire::LinkConversation(link) => UserCommand::Link {
            conversation: read::conversation("link.conversation", &link.conversation)?,
            to: read::link_to("link.to", &link.peer, &link.group)?,
        },
        Wire::UnlinkConversation(unlink) => UserCommand::Unlink {
            conversation: read::conversation("unlink.conversation", &unlink.conversation)?,
        },
        Wire::Configure(configure) => UserCommand::Configure { hide_read: configure.hide_read },
        Wire::MarkSeen(seen) => UserCommand::MarkSeen {
            at: Timestamp(seen.at_ms),
            device: (seen.device > 0).then_some(DeviceId(seen.device)),
        },
        Wire::ChangePassword(change) => UserCommand::ChangePassword {
            old: change.old_hash,
            new: change.new_hash,
            keep: read::device("change_password.keep", change.keep)?,
        },
        Wire::SetProfile(profile) => UserCommand::SetProfile { display_name: profile.display_name },
        Wire::AdmitDevice(admit) => UserCommand::AdmitDevice {
            device: read::device("admit_device.device", admit.device)?,
            issued_at: Timestamp(admit.issued_at_ms),
            starts: read_starts("admit_device.starts", &admit.starts)?,
            name: admit.device_name,
        },
        Wire::AddPush(add) => push::add(add)?,
        Wire::RemovePush(it) => push::of("remove_push.push", it.push, PushCommand::Remove)?,
        Wire::NotifyPush(notify) => push::notify(notify)?,
        Wire::MarkPushed(log::MarkPushed { push, after, up_to }) => {
            push::of("mark_pushed.push", push, PushCommand::MarkPushed { after, up_to })?
        }
        Wire::GiveUpPush(give) => push::give_up(give)?,
        Wire::ReplayPush(log::ReplayPush { push, from }) => {
            push::of("replay_push.push", push, PushCommand::Replay { from })?
        }
        Wire::RevivePush(log::RevivePush { push, number }) => {
            push::of("revive_push.push", push, PushCommand::Revive { number })?
        }
    };
    Ok((user, command))
}

fn write_starts(starts: &BTreeMap<ConversationId, Seq>) -> Vec<log::DeviceStart> {
    let start = |(id, seq): (&ConversationId, &Seq)| log::DeviceStart {
        conversation: read::conversation_bytes(*id),
        seq: seq.0,
    };
    starts.iter().map(start).collect()
}

fn read_starts(
    field: &'static str,
    starts: &[log::DeviceStart],
) -> Result<BTreeMap<ConversationId, Seq>, DecodeError> {
    let start = |start: &log::DeviceStart| {
        Ok((read::conversation(field, &start.conversation)?, Seq(start.seq)))
    };
    starts.iter().map(start).collect()
}
