//! Entries, commands and outcomes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chat::{
    AssetCommand, AssetId, ChangeMessage, ChangeNumber, Conflict, ConversationId, Digest, History,
    Holder, LinkTo, MessageId, Order, Outcome, Place, PushCommand, PushId, Refusal, Role,
    SendMessage, Seq, StorageCommand, Timestamp, UserCommand, Wish,
};
use proto::Command;

use super::{Sample, body, direct, message, referring, sample, team, user};

pub(super) fn samples() -> Vec<Sample> {
    let (alice, bob, device) = (user("alice"), user("bob"), message().device);
    let conversation = |command| Command::Conversation { id: direct(), command };
    let of_alice = |command| Command::User { user: user("alice"), command };
    let members = BTreeSet::from([user("bob"), user("carol")]);
    let send = |order, receiver| {
        let message_id = message().message_id;
        let sender = user("alice");
        chat::Command::Send(SendMessage {
            sender,
            device,
            receiver,
            order,
            message_id,
            body: body(),
        })
    };
    let create = chat::Command::CreateGroup {
        group: team(),
        name: "The team".into(),
        owner: alice.clone(),
        members: members.clone(),
        history: History::All,
    };
    let open = UserCommand::OpenSession {
        device,
        name: "laptop".into(),
        refresh: Digest([1; 32]),
        starts: BTreeMap::from([(direct(), Seq(300))]),
    };
    let confirm = chat::Command::Confirm {
        user: bob.clone(),
        device,
        seq: Seq(300),
        read: true,
        hidden: false,
    };
    let hidden = chat::Command::Confirm {
        user: bob.clone(),
        device,
        seq: Seq(300),
        read: true,
        hidden: true,
    };
    let change = |wish| {
        let change_id = MessageId::parse("c1").expect("legal");
        chat::Command::Change(ChangeMessage {
            by: user("alice"),
            device,
            change_id,
            seq: Seq(300),
            wish,
        })
    };
    let referring = {
        let (sender, message_id, body) = (user("alice"), message().message_id, referring());
        let (receiver, order) = (None, None);
        chat::Command::Send(SendMessage { sender, device, receiver, order, message_id, body })
    };
    let link = UserCommand::Link { conversation: direct(), to: LinkTo::Peer(bob.clone()) };
    let link_group = UserCommand::Link {
        conversation: ConversationId::group(&team()),
        to: LinkTo::Group(team()),
    };
    let to_push = |command| {
        let push = PushId(0x0123_4567_89ab_cdef);
        Command::User { user: user("alice"), command: UserCommand::Push { push, command } }
    };
    let add = |device, which: usize| {
        to_push(PushCommand::Add { device, target: super::targets()[which].clone() })
    };
    let give_up =
        PushCommand::GiveUp { number: 41, attempts: 18, reason: "answered 503".to_owned() };
    let commands = [
        ("create_group", conversation(create)),
        ("add_members", conversation(chat::Command::AddMembers { by: alice.clone(), members })),
        (
            "remove_member",
            conversation(chat::Command::RemoveMember { by: alice, member: bob.clone() }),
        ),
        ("send_direct", conversation(send(Some(Order(17)), Some(bob)))),
        ("send_group_uncounted", conversation(send(None, None))),
        ("confirm", conversation(confirm)),
        ("create_user", of_alice(UserCommand::Create { password_hash: "$argon2id$".into() })),
        ("open_session", of_alice(open)),
        (
            "refresh_session",
            of_alice(UserCommand::RefreshSession {
                device,
                old: Digest([1; 32]),
                new: Digest([2; 32]),
            }),
        ),
        ("end_session", of_alice(UserCommand::EndSession { device })),
        ("link_direct", of_alice(link)),
        ("link_group", of_alice(link_group)),
        ("unlink", of_alice(UserCommand::Unlink { conversation: direct() })),
        ("mark_seen", of_alice(UserCommand::MarkSeen { at: message().at, device: None })),
        (
            "mark_device_seen",
            of_alice(UserCommand::MarkSeen { at: message().at, device: Some(device) }),
        ),
        (
            "change_password",
            of_alice(UserCommand::ChangePassword {
                old: "$argon2id$".into(),
                new: "$argon2id$new".into(),
                keep: device,
            }),
        ),
        ("set_profile", of_alice(UserCommand::SetProfile { display_name: "Alice".into() })),
        (
            "admit_device",
            of_alice(UserCommand::AdmitDevice {
                device,
                name: "phone".into(),
                issued_at: message().at,
                starts: BTreeMap::from([(direct(), Seq(300))]),
            }),
        ),
        ("outbox_done", Command::OutboxDone(41)),
        ("split", Command::Split { to: cluster_config::GroupId(17), slots: 512..1024 }),
        ("send_referring", conversation(referring)),
        ("confirm_hidden", conversation(hidden)),
        ("change_edit", conversation(change(Wish::Edit("Hello!".into())))),
        ("change_delete", conversation(change(Wish::Delete))),
        ("change_react", conversation(change(Wish::React("+1".into())))),
        (
            "rename_group",
            conversation(chat::Command::RenameGroup { by: user("alice"), name: "The crew".into() }),
        ),
        (
            "set_role",
            conversation(chat::Command::SetRole {
                by: user("alice"),
                member: user("bob"),
                role: Role::Owner,
            }),
        ),
        (
            "set_retention",
            conversation(chat::Command::SetRetention {
                by: user("alice"),
                retention: Some(chat::Retention(86_400)),
            }),
        ),
        ("expire", conversation(chat::Command::Expire { up_to: Seq(300) })),
        (
            "confirm_changes",
            conversation(chat::Command::ConfirmChanges {
                user: user("bob"),
                device,
                change: ChangeNumber(9),
            }),
        ),
        ("configure", of_alice(UserCommand::Configure { hide_read: true })),
        ("add_push_webhook", add(None, 0)),
        ("add_push_web_push", add(Some(device), 1)),
        ("add_push_apns", add(Some(device), 2)),
        ("add_push_fcm", add(Some(device), 3)),
        ("remove_push", to_push(PushCommand::Remove)),
        ("notify_push", {
            to_push(PushCommand::Notify { after: 40, items: vec![(direct(), Seq(300))] })
        }),
        ("mark_pushed", to_push(PushCommand::MarkPushed { after: 40, up_to: 41 })),
        ("give_up_push", to_push(give_up)),
        ("replay_push", to_push(PushCommand::Replay { from: 7 })),
        ("revive_push", to_push(PushCommand::Revive { number: 41 })),
    ];
    let commands = commands.into_iter().chain(assets()).collect::<Vec<_>>();
    let entry = proto::encode_entry(message().at.0, &[commands[3].1.encode(), Bytes::new()]);
    let decoded = proto::decode_entry(entry.clone()).expect("just written");
    let entry =
        sample("entry", decoded, entry, |bytes| proto::decode_entry(Bytes::copy_from_slice(bytes)));
    let commands = commands.into_iter().map(|(name, command)| {
        let bytes = command.encode();
        sample(name, command, bytes, proto::decode_command)
    });
    commands.chain([entry]).chain(outcomes()).collect()
}

fn assets() -> Vec<(&'static str, Command)> {
    let id = AssetId::new(*b"0123456789abcdef");
    let to_asset = |command| Command::Asset { id, command };
    let to_storage = |command| Command::Storage { user: user("alice"), asset: id, command };
    let create = AssetCommand::Create {
        owner: user("alice"),
        size: 300,
        sha256: Digest([3; 32]),
        media_type: "image/png".into(),
        holders: BTreeSet::from([Holder(1), Holder(3)]),
    };
    let created_before = Timestamp(1_600_000_000_000);
    vec![
        ("create_asset", to_asset(create)),
        (
            "grant_asset",
            to_asset(AssetCommand::Grant { conversation: direct(), by: user("alice") }),
        ),
        ("add_holder", to_asset(AssetCommand::AddHolder { holder: Holder(2) })),
        ("delete_asset", to_asset(AssetCommand::Delete { created_before })),
        (
            "reserve_storage",
            to_storage(StorageCommand::Reserve { size: 300, limit: 2_000_000_000 }),
        ),
        ("release_storage", to_storage(StorageCommand::Release)),
    ]
}

fn outcomes() -> Vec<Sample> {
    let place = Place {
        seq: Seq(300),
        at: message().at,
        order: Order(17),
        delivered: Seq(299),
        read: Seq(298),
        change: ChangeNumber(0),
    };
    let changed = Place { seq: Seq(300), change: ChangeNumber(9), ..Place::default() };
    let refused = |refusal| Outcome::Refused(refusal);
    let outcomes = [
        ("accepted", Outcome::Accepted(place)),
        ("duplicate", Outcome::Duplicate(place)),
        ("accepted_change", Outcome::Accepted(changed)),
        ("conflict_change", Outcome::Conflict(Conflict::ChangeIdUsed)),
        ("refused_deleted", refused(Refusal::MessageDeleted)),
        ("refused", refused(Refusal::NotAMember)),
        ("refused_with_number", refused(Refusal::OutOfOrder { expected: Order(18) })),
        ("conflict", Outcome::Conflict(Conflict::OrderUsed)),
    ];
    let outcomes = outcomes.into_iter().map(|(name, outcome)| {
        let bytes = proto::encode_outcome(&outcome);
        sample(name, outcome, bytes, proto::decode_outcome)
    });
    let moved = sample("moved", proto::Answer::Moved, proto::encode_moved(), proto::decode_answer);
    outcomes.chain([moved]).collect()
}
