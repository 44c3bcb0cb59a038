//! Keys of rows.

use chat::{AssetId, ChangeNumber, Seq};
use proto::keys;

use super::{Sample, direct, message, sample, user};

pub(super) fn samples() -> Vec<Sample> {
    use keys::Key;
    let (id, device, alice) = (direct(), message().device, user("alice"));
    let group = cluster_config::GroupId(7);
    let message_id = message().message_id;
    let file = AssetId::new(*b"0123456789abcdef");
    let push = chat::PushId(0x0123_4567_89ab_cdef);
    let all = [
        ("head", Key::Head(id), keys::head(id)),
        ("member", Key::Member(id, alice.clone()), keys::member(id, &alice)),
        ("producer", Key::Producer(id, device), keys::producer(id, device)),
        ("cursor", Key::Cursor(id, device), keys::cursor(id, device)),
        ("message", Key::Message(id, Seq(300)), keys::message(id, Seq(300))),
        ("message_ref", Key::MessageRef(id, message_id.clone(), device), {
            keys::message_ref(id, &message_id, device)
        }),
        ("user", Key::User(alice.clone()), keys::user(&alice)),
        ("device", Key::Device(alice.clone(), device), keys::device(&alice, device)),
        ("link", Key::Link(alice.clone(), id), keys::link(&alice, id)),
        ("settings", Key::Settings(alice.clone()), keys::settings(&alice)),
        ("change", Key::Change(id, ChangeNumber(9)), keys::change(id, ChangeNumber(9))),
        ("overlay", Key::Overlay(id, Seq(300)), keys::overlay(id, Seq(300))),
        ("change_ref", Key::ChangeRef(id, message_id.clone(), device), {
            keys::change_ref(id, &message_id, device)
        }),
        ("asset", Key::Asset(file), keys::asset(file)),
        ("storage", Key::Storage(alice.clone()), keys::storage(&alice)),
        ("kept", Key::Kept(alice.clone(), file), keys::kept(&alice, file)),
        ("registered", Key::Registered(alice.clone()), keys::registered(&alice)),
        ("registration", Key::Registration(alice.clone(), push), keys::registration(&alice, push)),
        ("notice", Key::Notice(alice.clone(), push, 41), keys::notice(&alice, push, 41)),
        ("push_mark", Key::PushMark(alice.clone(), push, id), keys::push_mark(&alice, push, id)),
        ("dead_letter", Key::DeadLetter(alice.clone(), push, 41), {
            keys::dead_letter(&alice, push, 41)
        }),
        ("retained", Key::Retained(id), keys::retained(id)),
        ("applied", Key::Applied(group), keys::applied(group)),
        ("outbox", Key::Outbox(group, 41), keys::outbox(group, 41)),
        ("staging", Key::Staging(group, vec![1, 2]), keys::staging(group, &[1, 2])),
        ("installing", Key::Installing(group), keys::installing(group)),
        ("cluster_config", Key::ClusterConfig, keys::cluster_config()),
    ];
    all.into_iter().map(|(name, key, bytes)| sample(name, key, bytes, keys::parse)).collect()
}
