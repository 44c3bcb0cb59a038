//! Commands to conversations. A message is written without copying its text; the others are rare.

use std::collections::BTreeSet;

use bytes::Bytes;
use chat::{
    ChangeMessage, ChangeNumber, Command, ConversationId, GroupId, History, SendMessage, Seq,
    UserId, Wish,
};
use prost::Message as _;

use crate::log::{self, conversation_command::Command as Wire};
use crate::{DecodeError, change, frames, read, wire};

/// The bytes of a command to the conversation `id`.
pub fn encode_conversation_command(id: ConversationId, command: &Command) -> Bytes {
    let wire = match command {
        Command::Send(send) => return encode_send(id, send),
        Command::CreateGroup { group, name, owner, members, history } => {
            Wire::CreateGroup(create_group(group, name, owner, members, *history))
        }
        Command::AddMembers { by, members } => Wire::AddMembers(log::AddMembers {
            by: by.as_str().to_owned(),
            members: names(members),
        }),
        Command::RemoveMember { by, member } => Wire::RemoveMember(log::RemoveMember {
            by: by.as_str().to_owned(),
            member: member.as_str().to_owned(),
        }),
        Command::Change(change) => Wire::ChangeMessage(change_message(change)),
        Command::RenameGroup { by, name } => {
            Wire::RenameGroup(log::RenameGroup { by: by.as_str().to_owned(), name: name.clone() })
        }
        Command::SetRole { by, member, role } => Wire::SetRole(log::SetRole {
            by: by.as_str().to_owned(),
            member: member.as_str().to_owned(),
            role: change::role_number(*role),
        }),
        Command::SetRetention { by, retention } => Wire::SetRetention(log::SetRetention {
            by: by.as_str().to_owned(),
            seconds: change::seconds(*retention),
        }),
        Command::Expire { up_to } => Wire::Expire(log::Expire { up_to: up_to.0 }),
        Command::ConfirmChanges { user, device, change } => {
            Wire::ConfirmChanges(log::ConfirmChanges {
                user: user.as_str().to_owned(),
                device: device.0,
                change: change.0,
            })
        }
        Command::Confirm { user, device, seq, read, hidden } => Wire::Confirm(log::Confirm {
            user: user.as_str().to_owned(),
            device: device.0,
            seq: seq.0,
            read: *read,
            hidden: *hidden,
        }),
    };
    let command = log::ConversationCommand {
        conversation: read::conversation_bytes(id),
        command: Some(wire),
    };
    let command = log::command::Command::Conversation(command);
    log::Command { command: Some(command) }.encode_to_vec().into()
}

fn encode_send(id: ConversationId, send: &SendMessage) -> Bytes {
    let mut out = Vec::with_capacity(wire::body_room(&send.body));
    wire::nested(&mut out, 1, |out| {
        wire::bytes(out, 1, id.as_bytes());
        wire::nested(out, 5, |out| {
            wire::string(out, 1, send.sender.as_str());
            wire::fixed64(out, 2, send.device.0);
            wire::string(out, 3, send.receiver.as_ref().map_or("", UserId::as_str));
            wire::uint64(out, 4, send.order.map_or(0, |order| order.0));
            wire::string(out, 5, send.message_id.as_str());
            wire::nested(out, 6, |out| wire::body(out, &send.body));
        });
    });
    out.into()
}

fn change_message(change: &ChangeMessage) -> log::ChangeMessage {
    use log::change_message::Wish as Wire;
    log::ChangeMessage {
        by: change.by.as_str().to_owned(),
        device: change.device.0,
        change_id: change.change_id.as_str().to_owned(),
        seq: change.seq.0,
        wish: Some(match &change.wish {
            Wish::Edit(text) => Wire::Edit(text.clone()),
            Wish::Delete => Wire::Delete(frames::Nothing {}),
            Wish::React(reaction) => Wire::React(reaction.clone()),
        }),
    }
}

fn create_group(
    group: &GroupId,
    name: &str,
    owner: &UserId,
    members: &BTreeSet<UserId>,
    history: History,
) -> log::CreateGroup {
    log::CreateGroup {
        group: group.as_str().to_owned(),
        name: name.to_owned(),
        owner: owner.as_str().to_owned(),
        members: names(members),
        history_all: history == History::All,
    }
}

fn names(members: &BTreeSet<UserId>) -> Vec<String> {
    members.iter().map(|member| member.as_str().to_owned()).collect()
}

/// A command and whom it is for, checked.
pub(super) fn read(
    command: log::ConversationCommand,
) -> Result<(ConversationId, Command), DecodeError> {
    let id = read::conversation("command.conversation", &command.conversation)?;
    let command = match command.command.ok_or_else(|| DecodeError::missing("command.command"))? {
        Wire::CreateGroup(create) => Command::CreateGroup {
            group: read::group("create_group.group", &create.group)?,
            owner: read::user("create_group.owner", &create.owner)?,
            members: users("create_group.members", &create.members)?,
            history: if create.history_all { History::All } else { History::SinceJoin },
            name: create.name,
        },
        Wire::AddMembers(add) => Command::AddMembers {
            by: read::user("add_members.by", &add.by)?,
            members: users("add_members.members", &add.members)?,
        },
        Wire::RemoveMember(remove) => Command::RemoveMember {
            by: read::user("remove_member.by", &remove.by)?,
            member: read::user("remove_member.member", &remove.member)?,
        },
        Wire::SendMessage(send) => Command::Send(read_send(send)?),
        Wire::Confirm(confirm) => Command::Confirm {
            user: read::user("confirm.user", &confirm.user)?,
            device: read::device("confirm.device", confirm.device)?,
            seq: Seq(confirm.seq),
            read: confirm.read,
            hidden: confirm.hidden,
        },
        Wire::ChangeMessage(change) => Command::Change(read_change(change)?),
        Wire::RenameGroup(rename) => Command::RenameGroup {
            by: read::user("rename_group.by", &rename.by)?,
            name: rename.name,
        },
        Wire::SetRole(set) => Command::SetRole {
            by: read::user("set_role.by", &set.by)?,
            member: read::user("set_role.member", &set.member)?,
            role: change::role("set_role.role", set.role)?,
        },
        Wire::SetRetention(set) => Command::SetRetention {
            by: read::user("set_retention.by", &set.by)?,
            retention: change::retention(set.seconds),
        },
        Wire::Expire(expire) => Command::Expire { up_to: Seq(expire.up_to) },
        Wire::ConfirmChanges(confirm) => Command::ConfirmChanges {
            user: read::user("confirm_changes.user", &confirm.user)?,
            device: read::device("confirm_changes.device", confirm.device)?,
            change: ChangeNumber(confirm.change),
        },
    };
    Ok((id, command))
}

fn read_change(change: log::ChangeMessage) -> Result<ChangeMessage, DecodeError> {
    use log::change_message::Wish as Wire;
    Ok(ChangeMessage {
        by: read::user("change_message.by", &change.by)?,
        device: read::device("change_message.device", change.device)?,
        change_id: read::message_id("change_message.change_id", &change.change_id)?,
        seq: Seq(change.seq),
        wish: match change.wish.ok_or_else(|| DecodeError::missing("change_message.wish"))? {
            Wire::Edit(text) => Wish::Edit(text),
            Wire::Delete(_) => Wish::Delete,
            Wire::React(reaction) => Wish::React(reaction),
        },
    })
}

fn read_send(send: log::SendMessage) -> Result<SendMessage, DecodeError> {
    let receiver = match send.receiver.as_str() {
        "" => None,
        receiver => Some(read::user("send_message.receiver", receiver)?),
    };
    Ok(SendMessage {
        sender: read::user("send_message.sender", &send.sender)?,
        device: read::device("send_message.device", send.device)?,
        receiver,
        order: read::order(send.order),
        message_id: read::message_id("send_message.message_id", &send.message_id)?,
        body: read::body("send_message.body", send.body)?,
    })
}

fn users(field: &'static str, names: &[String]) -> Result<BTreeSet<UserId>, DecodeError> {
    names.iter().map(|name| read::user(field, name)).collect()
}
