//! Values of rows.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chat::{
    Asset, Body, Chain, ChangeNumber, Cursor, DeadLetter, Device, Digest, Earlier, EarlierChange,
    Head, History, Holder, Kept, Kind, Link, LinkTo, Member, Message, Notice, Order, Owed,
    Producer, Registration, Retention, Role, Seq, Storage, Timestamp,
};
use proto::{row, rows};

use super::{
    Sample, body, change, changes, direct, message, overlay, referring, sample, team, user,
};

pub(super) fn samples() -> Vec<Sample> {
    let head = |kind| Head {
        kind,
        last_seq: Seq(300),
        last_at: message().at,
        chain: Chain([7; 32]),
        created_at: Timestamp(1_600_000_000_000),
        last_change: ChangeNumber(0),
        last_change_at: Timestamp(0),
        retention: None,
        expired: Seq(0),
    };
    let direct_head = head(Kind::Direct { low: user("alice"), high: user("bob") });
    let name = "The team".to_owned();
    let group_head = head(Kind::Group { group: team(), name, history: History::SinceJoin });
    let joined_change = ChangeNumber(0);
    let member = Member { role: Role::Owner, joined_at: Seq(3), joined_change };
    let producer = Producer { user: user("alice"), last_order: Order(17) };
    let changes = ChangeNumber(0);
    let (delivered, read) = (Seq(300), Seq(200));
    let cursor = Cursor { user: user("bob"), delivered, read, shown: read, changes };
    let earlier =
        Earlier { seq: Seq(300), at: message().at, order: Order(17), digest: body().digest() };
    let account = row::Account {
        password_hash: "$argon2id$".into(),
        created_at: Timestamp(1_600_000_000_000),
        last_seen: message().at,
        display_name: String::new(),
        signed_out_at: Timestamp(0),
        seen: BTreeMap::new(),
    };
    let full_account = row::Account {
        display_name: "Alice".into(),
        signed_out_at: Timestamp(1_650_000_000_000),
        seen: BTreeMap::from([(message().device, message().at)]),
        ..account.clone()
    };
    let device = Device {
        name: "laptop".into(),
        created_at: Timestamp(1_600_000_000_000),
        refresh: Digest([1; 32]),
        starts: BTreeMap::from([(direct(), Seq(300))]),
    };
    let link = Link { to: LinkTo::Group(team()), at: message().at };
    let owed_link =
        Owed::Link { user: user("bob"), conversation: direct(), to: LinkTo::Peer(user("alice")) };
    let owed_unlink = Owed::Unlink { user: user("bob"), conversation: direct() };
    let applied = rows::AppliedState {
        term: 3,
        node: 2,
        index: 1_000,
        membership: Bytes::from_static(&[1, 2, 3]),
        outbox_next: 42,
        outbox_done: 41,
        ..rows::AppliedState::default()
    };
    let split = rows::AppliedState { slots_from: 512, slots_end: 1024, ..applied.clone() };
    let asset = Asset {
        owner: user("alice"),
        size: 300,
        sha256: Digest([3; 32]),
        media_type: "image/png".into(),
        created_at: Timestamp(1_600_000_000_000),
        holders: BTreeSet::from([Holder(1), Holder(3)]),
        grants: BTreeSet::from([direct()]),
    };
    let upload = row::Upload {
        owner: user("alice"),
        size: 300,
        media_type: "image/png".into(),
        created_at: Timestamp(1_600_000_000_000),
    };
    let storage = Storage { bytes: 4_396, assets: 2 };
    let kept = Kept { bytes: 4_096, at: Timestamp(1_600_000_000_000) };
    let of = |device, target| {
        let new = Registration::new(device, target, message().at);
        Registration { last: 41, done: 40, ..new }
    };
    let webhook = of(None, super::targets()[0].clone());
    let browser = of(Some(message().device), super::targets()[1].clone());
    let notice = Notice { conversation: direct(), seq: Seq(300), at: message().at };
    let reason = "answered 503".to_owned();
    let letter = DeadLetter { notice, at: message().at, attempts: 18, reason };
    let stored = message();
    let read_message = |bytes: &[u8]| row::decode_message(direct(), Seq(300), bytes);
    vec![
        sample(
            "head_direct",
            direct_head.clone(),
            row::encode_head(&direct_head),
            row::decode_head,
        ),
        sample("head_group", group_head.clone(), row::encode_head(&group_head), row::decode_head),
        sample("member", member, row::encode_member(&member), row::decode_member),
        sample("producer", producer.clone(), row::encode_producer(&producer), row::decode_producer),
        sample("cursor", cursor.clone(), row::encode_cursor(&cursor), row::decode_cursor),
        sample("message", stored.clone(), row::encode_message(&stored), read_message),
        sample("message_ref", earlier, row::encode_earlier(&earlier), row::decode_earlier),
        sample("user", account.clone(), row::encode_account(&account), row::decode_account),
        sample(
            "user_in_full",
            full_account.clone(),
            row::encode_account(&full_account),
            row::decode_account,
        ),
        sample("device", device.clone(), row::encode_device(&device), row::decode_device),
        sample("link", link.clone(), row::encode_link(&link), row::decode_link),
        sample("outbox_link", owed_link.clone(), row::encode_owed(&owed_link), row::decode_owed),
        sample("registered", 3, row::encode_registered(3), row::decode_registered),
        sample("registration", webhook.clone(), row::encode_registration(&webhook), {
            row::decode_registration
        }),
        sample("registration_of_device", browser.clone(), row::encode_registration(&browser), {
            row::decode_registration
        }),
        sample("notice", notice, row::encode_notice(&notice), row::decode_notice),
        sample("push_mark", Seq(300), row::encode_push_mark(Seq(300)), row::decode_push_mark),
        sample("dead_letter", letter.clone(), row::encode_dead_letter(&letter), {
            row::decode_dead_letter
        }),
        sample(
            "outbox_unlink",
            owed_unlink.clone(),
            row::encode_owed(&owed_unlink),
            row::decode_owed,
        ),
        sample("asset", asset.clone(), row::encode_asset(&asset), row::decode_asset),
        sample("upload", upload.clone(), row::encode_upload(&upload), row::decode_upload),
        sample("storage", storage, row::encode_storage(&storage), row::decode_storage),
        sample("kept", kept, row::encode_kept(&kept), row::decode_kept),
        sample("applied", applied.clone(), row::encode_applied(&applied), row::decode_applied),
        sample("applied_split", split.clone(), row::encode_applied(&split), row::decode_applied),
    ]
    .into_iter()
    .chain(of_changes())
    .collect()
}

/// Rows that there are once something was changed.
fn of_changes() -> Vec<Sample> {
    let head = Head {
        kind: Kind::Direct { low: user("alice"), high: user("bob") },
        last_seq: Seq(300),
        last_at: message().at,
        chain: Chain([7; 32]),
        created_at: Timestamp(1_600_000_000_000),
        last_change: ChangeNumber(9),
        last_change_at: message().at,
        retention: None,
        expired: Seq(0),
    };
    let kept = Head { retention: Some(Retention(86_400)), expired: Seq(200), ..head.clone() };
    let retained = row::encode_retained(Retention(86_400));
    let member = Member { role: Role::Member, joined_at: Seq(3), joined_change: ChangeNumber(9) };
    let cursor = Cursor {
        user: user("bob"),
        delivered: Seq(300),
        read: Seq(200),
        shown: Seq(0),
        changes: ChangeNumber(9),
    };
    let erased = Message { erased: Some(Digest([3; 32])), body: Body::default(), ..message() };
    let referring = Message { body: referring(), ..message() };
    let read_message = |bytes: &[u8]| row::decode_message(direct(), Seq(300), bytes);
    let place =
        EarlierChange { number: ChangeNumber(9), at: message().at, digest: Digest([3; 32]) };
    let mut samples = vec![
        sample("head_changed", head.clone(), row::encode_head(&head), row::decode_head),
        sample("head_retained", kept.clone(), row::encode_head(&kept), row::decode_head),
        sample("retained", Retention(86_400), retained, row::decode_retained),
        sample("member_added", member, row::encode_member(&member), row::decode_member),
        sample("cursor_hidden", cursor.clone(), row::encode_cursor(&cursor), row::decode_cursor),
        sample("message_erased", erased.clone(), row::encode_message(&erased), read_message),
        sample(
            "message_referring",
            referring.clone(),
            row::encode_message(&referring),
            read_message,
        ),
        sample("overlay", overlay(), row::encode_overlay(&overlay()), row::decode_overlay),
        sample("change_ref", place, row::encode_earlier_change(&place), row::decode_earlier_change),
        sample("settings", true, settings(), row::decode_settings),
    ];
    samples.extend(changes().into_iter().map(|(name, what)| {
        let value = change(what);
        let bytes = row::encode_change(&value);
        sample(name, value, bytes, |bytes| row::decode_change(direct(), ChangeNumber(9), bytes))
    }));
    samples
}

fn settings() -> Bytes {
    row::encode_settings(true).expect("it differs from what is without it")
}
