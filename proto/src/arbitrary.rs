//! Values of all shapes for the property tests of this room.

use chat::{
    Asset, AssetId, Body, Chain, Change, ChangeNumber, ConversationId, DeviceId, Digest, GroupId,
    Holder, LinkTo, Message, MessageId, Order, Overlay, PushId, Reaction, Retention, Role, Seq,
    Target, Timestamp, UserId, What,
};
use proptest::prelude::*;

pub(crate) fn user() -> impl Strategy<Value = UserId> {
    proptest::collection::vec(proptest::sample::select(b"AZaz09._-=+/".to_vec()), 1..=64)
        .prop_map(|bytes| String::from_utf8(bytes).expect("ASCII"))
        .prop_filter_map("reserved", |text| UserId::parse(&text).ok())
}

pub(crate) fn group() -> impl Strategy<Value = GroupId> {
    user().prop_map(|user| GroupId::parse(user.as_str()).expect("the same rules"))
}

pub(crate) fn device() -> impl Strategy<Value = DeviceId> {
    (1..=u64::MAX).prop_map(DeviceId)
}

pub(crate) fn conversation() -> impl Strategy<Value = ConversationId> {
    any::<[u8; 16]>().prop_map(|mut bytes| {
        bytes[0] &= 0x3F;
        ConversationId::from_bytes(&bytes).expect("a slot below 16384")
    })
}

pub(crate) fn asset_id() -> impl Strategy<Value = AssetId> {
    any::<[u8; 16]>().prop_map(AssetId::new)
}

pub(crate) fn holders() -> impl Strategy<Value = std::collections::BTreeSet<Holder>> {
    proptest::collection::btree_set(any::<u64>().prop_map(Holder), 0..5)
}

prop_compose! {
    pub(crate) fn asset()(
        owner in user(),
        size in any::<u64>(),
        sha256 in digest(),
        media_type in text(20),
        created_at in timestamp(),
        holders in holders(),
        grants in proptest::collection::btree_set(conversation(), 0..4),
    ) -> Asset {
        Asset { owner, size, sha256, media_type, created_at, holders, grants }
    }
}

pub(crate) fn text(chars_max: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 0..=chars_max)
        .prop_map(|chars| chars.into_iter().collect())
}

pub(crate) fn message_id() -> impl Strategy<Value = MessageId> {
    text(32).prop_filter_map("control characters", |text| MessageId::parse(&text).ok())
}

pub(crate) fn seq() -> impl Strategy<Value = Seq> {
    prop_oneof![0..300_u64, any::<u64>()].prop_map(Seq)
}

pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp)
}

pub(crate) fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

pub(crate) fn push() -> impl Strategy<Value = PushId> {
    (1..=u64::MAX).prop_map(PushId)
}

pub(crate) fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        (text(40), any::<[u8; 32]>()).prop_map(|(url, secret)| Target::Webhook { url, secret }),
        (text(40), any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 16]>()).prop_map(
            |(endpoint, x, y, auth)| {
                let mut key = [4; 65];
                key[1..33].copy_from_slice(&x);
                key[33..].copy_from_slice(&y);
                Target::WebPush { endpoint, key, auth }
            }
        ),
        text(40).prop_map(|token| Target::Apns { token }),
        text(40).prop_map(|token| Target::Fcm { token }),
    ]
}

pub(crate) fn link_to() -> impl Strategy<Value = LinkTo> {
    prop_oneof![user().prop_map(LinkTo::Peer), group().prop_map(LinkTo::Group)]
}

pub(crate) fn body() -> impl Strategy<Value = Body> {
    let uris = proptest::collection::vec(text(40), 0..4);
    let refers = || proptest::option::of((1..300_u64).prop_map(Seq));
    let mentions = proptest::collection::btree_set(user(), 0..3);
    (text(300), text(30), any::<bool>(), uris, refers(), refers(), mentions).prop_map(
        |(text, client_timestamp, attachment, attachment_uris, reply_to, thread, mentions)| Body {
            text,
            client_timestamp,
            attachment,
            attachment_uris,
            reply_to,
            thread,
            mentions,
        },
    )
}

prop_compose! {
    pub(crate) fn message()(
        conversation in conversation(),
        seq in 1..=u64::MAX,
        sender in user(),
        device in device(),
        order in 1..=u64::MAX,
        message_id in message_id(),
        at in timestamp(),
        body in body(),
        chain in any::<[u8; 32]>(),
        erased in proptest::option::of(digest()),
    ) -> Message {
        let (seq, order, chain) = (Seq(seq), Order(order), Chain(chain));
        Message { conversation, seq, sender, device, order, message_id, at, body, chain, erased }
    }
}

fn number() -> impl Strategy<Value = ChangeNumber> {
    (1..=u64::MAX).prop_map(ChangeNumber)
}

pub(crate) fn role() -> impl Strategy<Value = Role> {
    proptest::sample::select(vec![Role::Member, Role::Admin, Role::Owner])
}

pub(crate) fn retention() -> impl Strategy<Value = Option<Retention>> {
    proptest::option::of((1..=u64::MAX).prop_map(Retention))
}

pub(crate) fn what() -> impl Strategy<Value = What> {
    let members = proptest::collection::btree_set(user(), 0..3);
    prop_oneof![
        (seq(), proptest::option::of(text(40))).prop_map(|(seq, text)| What::Edited { seq, text }),
        seq().prop_map(|seq| What::Deleted { seq }),
        (seq(), text(8)).prop_map(|(seq, reaction)| What::Reacted { seq, reaction }),
        text(20).prop_map(|name| What::Renamed { name }),
        (user(), role()).prop_map(|(member, role)| What::RoleSet { member, role }),
        members.prop_map(|members| What::Added { members }),
        retention().prop_map(|retention| What::RetentionSet { retention }),
        (user(), proptest::option::of(user()))
            .prop_map(|(member, promoted)| What::Removed { member, promoted }),
    ]
}

prop_compose! {
    pub(crate) fn change()(
        conversation in conversation(),
        number in number(),
        by in user(),
        at in timestamp(),
        after in seq(),
        what in what(),
    ) -> Change {
        Change { conversation, number, by, at, after, what }
    }
}

prop_compose! {
    pub(crate) fn overlay()(
        text in proptest::option::of(text(40)),
        edits in proptest::collection::vec(number(), 0..4),
        edited_at in timestamp(),
        deleted in proptest::option::of(number()),
        reactions in proptest::collection::btree_map(user(), (text(8), number()), 0..4),
    ) -> Overlay {
        let reactions = reactions.into_iter();
        let reactions =
            reactions.map(|(user, (text, change))| (user, Reaction { text, change })).collect();
        Overlay { text, edits, edited_at, deleted, reactions }
    }
}

/// Bytes that are nothing, and bytes that are nearly something.
pub(crate) fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let random = proptest::collection::vec(any::<u8>(), 0..80);
    // Field 1 or 2, length-delimited, of a plausible length: reaches deeper into a decoder.
    let plausible =
        (1_u8..8, proptest::collection::vec(any::<u8>(), 0..60)).prop_map(|(tag, rest)| {
            let mut bytes = vec![tag << 3 | 2, u8::try_from(rest.len()).expect("short")];
            bytes.extend(rest);
            bytes
        });
    prop_oneof![random, plausible]
}

/// Good bytes with one byte changed or the end cut off.
pub(crate) fn damage(good: &[u8], place: usize, with: u8) -> [Vec<u8>; 2] {
    let place = place % good.len().max(1);
    let mut changed = good.to_vec();
    if let Some(byte) = changed.get_mut(place) {
        *byte = with;
    }
    [changed, good[..place.min(good.len())].to_vec()]
}
