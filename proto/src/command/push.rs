//! Commands to a user's registrations for pushes.

use chat::{DeviceId, PushCommand, PushId, Seq, UserCommand};

use crate::log::{self, user_command::Command as Wire};
use crate::{DecodeError, read, row};

pub(super) fn write(push: PushId, command: &PushCommand) -> Wire {
    let push = push.0;
    match command {
        PushCommand::Add { device, target } => Wire::AddPush(log::AddPush {
            push,
            device: device.map_or(0, |device| device.0),
            target: Some(row::push_target(target)),
        }),
        PushCommand::Remove => Wire::RemovePush(log::RemovePush { push }),
        PushCommand::Notify { after, items } => {
            let item = |(conversation, seq): &(_, Seq)| log::PushItem {
                conversation: read::conversation_bytes(*conversation),
                seq: seq.0,
            };
            let items = items.iter().map(item).collect();
            Wire::NotifyPush(log::NotifyPush { push, after: *after, items })
        }
        PushCommand::MarkPushed { after, up_to } => {
            Wire::MarkPushed(log::MarkPushed { push, after: *after, up_to: *up_to })
        }
        PushCommand::GiveUp { number, attempts, reason } => Wire::GiveUpPush(log::GiveUpPush {
            push,
            number: *number,
            attempts: *attempts,
            reason: reason.clone(),
        }),
        PushCommand::Replay { from } => Wire::ReplayPush(log::ReplayPush { push, from: *from }),
        PushCommand::Revive { number } => {
            Wire::RevivePush(log::RevivePush { push, number: *number })
        }
    }
}

pub(super) fn add(add: log::AddPush) -> Result<UserCommand, DecodeError> {
    let target = add.target.ok_or_else(|| DecodeError::missing("add_push.target"))?;
    let target = row::read_push_target("add_push.target", target)?;
    let device = (add.device != 0).then_some(DeviceId(add.device));
    of("add_push.push", add.push, PushCommand::Add { device, target })
}

pub(super) fn notify(notify: log::NotifyPush) -> Result<UserCommand, DecodeError> {
    let item = |item: &log::PushItem| {
        let conversation = read::conversation("notify_push.items", &item.conversation)?;
        Ok((conversation, Seq(item.seq)))
    };
    let items = notify.items.iter().map(item).collect::<Result<_, DecodeError>>()?;
    of("notify_push.push", notify.push, PushCommand::Notify { after: notify.after, items })
}

pub(super) fn give_up(give: log::GiveUpPush) -> Result<UserCommand, DecodeError> {
    let log::GiveUpPush { push, number, attempts, reason } = give;
    of("give_up_push.push", push, PushCommand::GiveUp { number, attempts, reason })
}

/// 0 is no registration: an id that was left out reads as 0.
pub(super) fn of(
    field: &'static str,
    push: u64,
    command: PushCommand,
) -> Result<UserCommand, DecodeError> {
    match push {
        0 => Err(DecodeError::missing(field)),
        push => Ok(UserCommand::Push { push: PushId(push), command }),
    }
}
