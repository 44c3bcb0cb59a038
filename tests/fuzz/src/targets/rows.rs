//! Keys and values of the tables, and what a backup keeps of them.

use bytes::Bytes;
use proto::backup;
use proto::keys::{self, Key};
use proto::row;

/// The manifest and the chunks of a backup; the first byte says which.
pub(super) fn backup(data: &[u8]) {
    let Some((which, data)) = data.split_first() else { return };
    if which % 2 == 0 {
        let Ok(manifest) = backup::decode_manifest(data) else { return };
        let again = backup::decode_manifest(&backup::encode_manifest(&manifest));
        assert_eq!(again.expect("written by us"), manifest, "a manifest is what it was");
    } else {
        let Ok(chunk) = backup::decode_chunk(Bytes::copy_from_slice(data)) else { return };
        let again = backup::decode_chunk(backup::encode_chunk(&chunk));
        assert_eq!(again.expect("written by us"), chunk, "a chunk is what it was");
    }
}

pub(super) fn key(data: &[u8]) {
    let Ok(key) = keys::parse(data) else { return };
    let again = match &key {
        Key::Head(id) => keys::head(*id),
        Key::Member(id, user) => keys::member(*id, user),
        Key::Producer(id, device) => keys::producer(*id, *device),
        Key::Cursor(id, device) => keys::cursor(*id, *device),
        Key::Message(id, seq) => keys::message(*id, *seq),
        Key::MessageRef(id, message, device) => keys::message_ref(*id, message, *device),
        Key::User(user) => keys::user(user),
        Key::Device(user, device) => keys::device(user, *device),
        Key::Link(user, id) => keys::link(user, *id),
        Key::Settings(user) => keys::settings(user),
        Key::Change(id, number) => keys::change(*id, *number),
        Key::Overlay(id, seq) => keys::overlay(*id, *seq),
        Key::ChangeRef(id, change, device) => keys::change_ref(*id, change, *device),
        Key::Asset(id) => keys::asset(*id),
        Key::Storage(user) => keys::storage(user),
        Key::Kept(user, asset) => keys::kept(user, *asset),
        Key::Registered(user) => keys::registered(user),
        Key::Registration(user, push) => keys::registration(user, *push),
        Key::Notice(user, push, number) => keys::notice(user, *push, *number),
        Key::PushMark(user, push, id) => keys::push_mark(user, *push, *id),
        Key::DeadLetter(user, push, number) => keys::dead_letter(user, *push, *number),
        Key::Retained(id) => keys::retained(*id),
        Key::Applied(group) => keys::applied(*group),
        Key::Outbox(group, number) => keys::outbox(*group, *number),
        Key::Staging(group, key) => keys::staging(*group, key),
        Key::Installing(group) => keys::installing(*group),
        Key::ClusterConfig => keys::cluster_config(),
    };
    // A key has one form: another would be a second place for the same row.
    assert_eq!(again, data, "{key:?} is what it was");
}

fn change(data: &[u8]) {
    let id = chat::ConversationId::from_bytes(&[0; 16]).expect("slot 0");
    let decode = |bytes: &[u8]| row::decode_change(id, chat::ChangeNumber(1), bytes);
    let Ok(read) = decode(data) else { return };
    assert_eq!(decode(&row::encode_change(&read)).expect("written by us"), read);
}

/// The first byte says which value follows.
pub(super) fn row(data: &[u8]) {
    let Some((which, data)) = data.split_first() else { return };
    macro_rules! twice {
        ($decode:path, $encode:path) => {{
            let Ok(read) = $decode(data) else { return };
            let bytes = $encode(&read);
            assert_eq!($decode(&bytes).expect("written by us"), read, "a row is what it was");
        }};
    }
    match which % 20 {
        0 => twice!(row::decode_head, row::encode_head),
        1 => twice!(row::decode_member, row::encode_member),
        2 => twice!(row::decode_producer, row::encode_producer),
        3 => twice!(row::decode_cursor, row::encode_cursor),
        4 => twice!(row::decode_earlier, row::encode_earlier),
        5 => twice!(row::decode_owed, row::encode_owed),
        6 => twice!(row::decode_applied, row::encode_applied),
        7 => twice!(row::decode_account, row::encode_account),
        8 => twice!(row::decode_device, row::encode_device),
        10 => twice!(row::decode_asset, row::encode_asset),
        11 => twice!(row::decode_storage, row::encode_storage),
        12 => twice!(row::decode_kept, row::encode_kept),
        16 => twice!(row::decode_overlay, row::encode_overlay),
        17 => twice!(row::decode_earlier_change, row::encode_earlier_change),
        18 => change(data),
        13 => twice!(row::decode_registration, row::encode_registration),
        14 => twice!(row::decode_notice, row::encode_notice),
        15 => twice!(row::decode_dead_letter, row::encode_dead_letter),
        _ => twice!(row::decode_link, row::encode_link),
    }
}
