//! Commands survive their bytes; what is written by hand is what the generated types write; damage is refused, never a panic.

use std::collections::{BTreeMap, BTreeSet};

use chat::{
    AssetCommand, ChangeMessage, ChangeNumber, Command as Chat, History, Holder, Order,
    PushCommand, SendMessage, StorageCommand, UserCommand, Wish,
};
use proptest::prelude::*;

use super::*;
use crate::arbitrary::{
    asset_id, body, conversation, damage, device, digest, garbage, group, holders, link_to,
    message_id, push, retention, role, seq, target, text, timestamp, user,
};

fn users() -> impl Strategy<Value = BTreeSet<chat::UserId>> {
    proptest::collection::btree_set(user(), 0..4)
}

fn chat_command() -> impl Strategy<Value = Chat> {
    let create = (group(), text(20), user(), users(), any::<bool>()).prop_map(
        |(group, name, owner, members, all)| {
            let history = if all { History::All } else { History::SinceJoin };
            Chat::CreateGroup { group, name, owner, members, history }
        },
    );
    let send = (user(), device(), proptest::option::of(user()), 0..5_u64, message_id(), body())
        .prop_map(|(sender, device, receiver, order, message_id, body)| {
            let order = (order != 0).then_some(Order(order));
            Chat::Send(SendMessage { sender, device, receiver, order, message_id, body })
        });
    prop_oneof![
        create,
        send,
        (user(), users()).prop_map(|(by, members)| Chat::AddMembers { by, members }),
        (user(), user()).prop_map(|(by, member)| Chat::RemoveMember { by, member }),
        (user(), device(), seq(), any::<bool>(), any::<bool>()).prop_map(
            |(user, device, seq, read, hidden)| Chat::Confirm { user, device, seq, read, hidden }
        ),
        (user(), device(), seq()).prop_map(|(user, device, change)| Chat::ConfirmChanges {
            user,
            device,
            change: ChangeNumber(change.0),
        }),
        (user(), text(20)).prop_map(|(by, name)| Chat::RenameGroup { by, name }),
        (user(), user(), role()).prop_map(|(by, member, role)| Chat::SetRole { by, member, role }),
        (user(), retention()).prop_map(|(by, retention)| Chat::SetRetention { by, retention }),
        seq().prop_map(|up_to| Chat::Expire { up_to }),
        (user(), device(), message_id(), seq(), wish()).prop_map(
            |(by, device, change_id, seq, wish)| Chat::Change(ChangeMessage {
                by,
                device,
                change_id,
                seq,
                wish,
            })
        ),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![text(40).prop_map(Wish::Edit), Just(Wish::Delete), text(8).prop_map(Wish::React),]
}

fn starts() -> impl Strategy<Value = BTreeMap<ConversationId, chat::Seq>> {
    let starts = proptest::collection::btree_map(conversation(), seq(), 0..4);
    starts.prop_map(|starts| starts.into_iter().collect::<BTreeMap<_, _>>())
}

fn user_command() -> impl Strategy<Value = UserCommand> {
    prop_oneof![
        text(60).prop_map(|password_hash| UserCommand::Create { password_hash }),
        (device(), text(20), digest(), starts()).prop_map(|(device, name, refresh, starts)| {
            UserCommand::OpenSession { device, name, refresh, starts }
        }),
        (device(), digest(), digest()).prop_map(|(device, old, new)| UserCommand::RefreshSession {
            device,
            old,
            new
        }),
        device().prop_map(|device| UserCommand::EndSession { device }),
        (conversation(), link_to())
            .prop_map(|(conversation, to)| UserCommand::Link { conversation, to }),
        conversation().prop_map(|conversation| UserCommand::Unlink { conversation }),
        any::<bool>().prop_map(|hide_read| UserCommand::Configure { hide_read }),
        (timestamp(), proptest::option::of(device()))
            .prop_map(|(at, device)| UserCommand::MarkSeen { at, device }),
        (text(60), text(60), device()).prop_map(|(old, new, keep)| UserCommand::ChangePassword {
            old,
            new,
            keep
        }),
        text(20).prop_map(|display_name| UserCommand::SetProfile { display_name }),
        (device(), text(20), timestamp(), starts()).prop_map(
            |(device, name, issued_at, starts)| {
                UserCommand::AdmitDevice { device, name, issued_at, starts }
            }
        ),
        (push(), push_command()).prop_map(|(push, command)| UserCommand::Push { push, command }),
    ]
}

fn push_command() -> impl Strategy<Value = PushCommand> {
    let items = proptest::collection::vec((conversation(), seq()), 0..4);
    prop_oneof![
        (proptest::option::of(device()), target())
            .prop_map(|(device, target)| PushCommand::Add { device, target }),
        Just(PushCommand::Remove),
        (any::<u64>(), items).prop_map(|(after, items)| PushCommand::Notify { after, items }),
        (any::<u64>(), any::<u64>())
            .prop_map(|(after, up_to)| PushCommand::MarkPushed { after, up_to }),
        (any::<u64>(), any::<u64>(), text(20)).prop_map(|(number, attempts, reason)| {
            PushCommand::GiveUp { number, attempts, reason }
        }),
        any::<u64>().prop_map(|from| PushCommand::Replay { from }),
        any::<u64>().prop_map(|number| PushCommand::Revive { number }),
    ]
}

fn asset_command() -> impl Strategy<Value = AssetCommand> {
    let create = (user(), any::<u64>(), digest(), text(20), holders()).prop_map(
        |(owner, size, sha256, media_type, holders)| AssetCommand::Create {
            owner,
            size,
            sha256,
            media_type,
            holders,
        },
    );
    prop_oneof![
        create,
        (conversation(), user())
            .prop_map(|(conversation, by)| AssetCommand::Grant { conversation, by }),
        any::<u64>().prop_map(|holder| AssetCommand::AddHolder { holder: Holder(holder) }),
        timestamp().prop_map(|created_before| AssetCommand::Delete { created_before }),
    ]
}

fn storage_command() -> impl Strategy<Value = StorageCommand> {
    prop_oneof![
        (any::<u64>(), any::<u64>())
            .prop_map(|(size, limit)| StorageCommand::Reserve { size, limit }),
        Just(StorageCommand::Release),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (conversation(), chat_command())
            .prop_map(|(id, command)| Command::Conversation { id, command }),
        (user(), user_command()).prop_map(|(user, command)| Command::User { user, command }),
        (asset_id(), asset_command()).prop_map(|(id, command)| Command::Asset { id, command }),
        (user(), asset_id(), storage_command())
            .prop_map(|(user, asset, command)| Command::Storage { user, asset, command }),
        any::<u64>().prop_map(Command::OutboxDone),
        (1..u32::MAX, 0..chat::SLOTS, 1..=chat::SLOTS).prop_map(|(to, from, more)| {
            let end = from.saturating_add(more).min(chat::SLOTS);
            Command::Split { to: cluster_config::GroupId(to), slots: from..end }
        }),
    ]
}

proptest! {
    #[test]
    fn every_command_survives_its_bytes(command in command()) {
        prop_assert_eq!(decode_command(&command.encode()), Ok(command));
    }

    #[test]
    fn a_message_is_written_as_the_generated_type_writes_it(
        id in conversation(), command in chat_command(),
    ) {
        let bytes = encode_conversation_command(id, &command);
        let again = log::Command::decode(&bytes[..]).expect("it decodes").encode_to_vec();
        prop_assert_eq!(&bytes[..], &again[..]);
    }

    #[test]
    fn damage_never_panics(command in command(), place in any::<usize>(), with in any::<u8>()) {
        for bytes in damage(&command.encode(), place, with) {
            if let Ok(command) = decode_command(&bytes) {
                prop_assert_eq!(decode_command(&command.encode()), Ok(command));
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in garbage()) {
        let _ = decode_command(&bytes);
    }
}

fn refused_field(command: log::command::Command) -> &'static str {
    let bytes = log::Command { command: Some(command) }.encode_to_vec();
    decode_command(&bytes).expect_err("it is not whole").field
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    assert_eq!(decode_command(&[]).map_err(|error| error.field), Err("command"));
    let of = |command| log::ConversationCommand {
        conversation: Bytes::from_static(&[0; 16]),
        command: Some(command),
    };
    let conversation = log::command::Command::Conversation;
    assert_eq!(refused_field(conversation(Default::default())), "command.conversation");
    let send = log::SendMessage { sender: "alice".into(), device: 1, ..Default::default() };
    let wire = log::conversation_command::Command::SendMessage(send.clone());
    assert_eq!(refused_field(conversation(of(wire))), "send_message.message_id");
    let send = log::SendMessage { message_id: "m".into(), ..send };
    let wire = log::conversation_command::Command::SendMessage(send.clone());
    assert_eq!(refused_field(conversation(of(wire))), "send_message.body");
    let send = log::SendMessage { device: 0, ..send };
    let wire = log::conversation_command::Command::SendMessage(send);
    assert_eq!(refused_field(conversation(of(wire))), "send_message.device");
    let user = log::UserCommand { user: "a b".into(), command: None };
    assert_eq!(refused_field(log::command::Command::User(user)), "command.user");
    let wire = log::user_command::Command::RemovePush(log::RemovePush { push: 0 });
    let user = log::UserCommand { user: "alice".into(), command: Some(wire) };
    assert_eq!(refused_field(log::command::Command::User(user)), "remove_push.push");
}
