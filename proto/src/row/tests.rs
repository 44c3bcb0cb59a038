//! Rows survive their bytes; what is written by hand is what the generated types write; damage is refused, never a panic.

use chat::{
    ChangeNumber, Cursor, DeadLetter, Device, Earlier, EarlierChange, Head, History, Kept, Kind,
    Link, Member, Notice, Order, Owed, Producer, Registration, Role, Storage,
};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::arbitrary::{
    asset, change, conversation, damage, digest, garbage, group, link_to, message, overlay,
    retention, seq, target, text, timestamp, user,
};
use crate::rows;

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (user(), user()).prop_map(|(low, high)| Kind::Direct { low, high }),
        (group(), text(20), any::<bool>()).prop_map(|(group, name, all)| {
            let history = if all { History::All } else { History::SinceJoin };
            Kind::Group { group, name, history }
        }),
    ]
}

fn head() -> impl Strategy<Value = Head> {
    let kept = (retention(), seq());
    (kind(), seq(), timestamp(), any::<[u8; 32]>(), timestamp(), seq(), timestamp(), kept).prop_map(
        |(kind, last_seq, last_at, chain, created_at, last_change, last_change_at, kept)| Head {
            kind,
            last_seq,
            last_at,
            chain: chat::Chain(chain),
            created_at,
            last_change: ChangeNumber(last_change.0),
            last_change_at,
            retention: kept.0,
            expired: kept.1,
        },
    )
}

fn owed() -> impl Strategy<Value = Owed> {
    prop_oneof![
        (user(), conversation(), link_to()).prop_map(|(user, conversation, to)| Owed::Link {
            user,
            conversation,
            to
        }),
        (user(), conversation())
            .prop_map(|(user, conversation)| Owed::Unlink { user, conversation }),
    ]
}

fn device() -> impl Strategy<Value = Device> {
    let starts = proptest::collection::btree_map(conversation(), seq(), 0..4);
    (text(20), timestamp(), digest(), starts).prop_map(|(name, created_at, refresh, starts)| {
        Device { name, created_at, refresh, starts }
    })
}

proptest! {
    #[test]
    fn heads_survive(head in head()) {
        let bytes = encode_head(&head);
        let again = rows::Head::decode(&bytes[..]).expect("it decodes").encode_to_vec();
        prop_assert_eq!(&bytes[..], &again[..]);
        prop_assert_eq!(decode_head(&bytes), Ok(head));
    }

    #[test]
    fn messages_survive(message in message()) {
        let bytes = encode_message(&message);
        let again = rows::StoredMessage::decode(&bytes[..]).expect("it decodes").encode_to_vec();
        prop_assert_eq!(&bytes[..], &again[..]);
        prop_assert_eq!(decode_message(message.conversation, message.seq, &bytes), Ok(message));
    }

    #[test]
    fn members_producers_cursors_and_places_survive(
        user in user(), one in seq(), other in seq(), role in 0..3_usize, at in timestamp(),
        digest in digest(),
    ) {
        let role = [Role::Member, Role::Admin, Role::Owner][role];
        let joined_change = ChangeNumber(other.0);
        let member = Member { role, joined_at: one, joined_change };
        prop_assert_eq!(decode_member(&encode_member(&member)), Ok(member));
        let producer = Producer { user: user.clone(), last_order: Order(one.0) };
        prop_assert_eq!(decode_producer(&encode_producer(&producer)), Ok(producer));
        let changes = ChangeNumber(one.0);
        for shown in [one, other] {
            let user = user.clone();
            let cursor = Cursor { user, delivered: one, read: other, shown, changes };
            let bytes = encode_cursor(&cursor);
            let again = rows::Cursor::decode(&bytes[..]).expect("it decodes").encode_to_vec();
            prop_assert_eq!(&bytes[..], &again[..]);
            prop_assert_eq!(decode_cursor(&bytes), Ok(cursor));
        }
        let earlier = Earlier { seq: one, at, order: Order(other.0), digest };
        prop_assert_eq!(decode_earlier(&encode_earlier(&earlier)), Ok(earlier));
    }

    #[test]
    fn changes_overlays_and_their_places_survive(
        change in change(), overlay in overlay(), at in timestamp(), digest in digest(),
    ) {
        let bytes = encode_change(&change);
        let decoded = decode_change(change.conversation, change.number, &bytes);
        prop_assert_eq!(decoded, Ok(change.clone()));
        prop_assert_eq!(decode_overlay(&encode_overlay(&overlay)), Ok(overlay));
        let earlier = EarlierChange { number: change.number, at, digest };
        prop_assert_eq!(decode_earlier_change(&encode_earlier_change(&earlier)), Ok(earlier));
    }

    #[test]
    fn accounts_devices_and_links_survive(
        password_hash in text(60), created_at in timestamp(), last_seen in timestamp(),
        device in device(), to in link_to(), display_name in text(20),
        seen in proptest::collection::btree_map(crate::arbitrary::device(), timestamp(), 0..4),
    ) {
        let signed_out_at = last_seen;
        let account =
            Account { password_hash, created_at, last_seen, display_name, signed_out_at, seen };
        prop_assert_eq!(decode_account(&encode_account(&account)), Ok(account));
        prop_assert_eq!(decode_device(&encode_device(&device)), Ok(device));
        let link = Link { to, at: created_at };
        prop_assert_eq!(decode_link(&encode_link(&link)), Ok(link));
    }

    #[test]
    fn assets_and_what_users_keep_survive(
        asset in asset(), bytes in any::<u64>(), assets in any::<u64>(), at in timestamp(),
    ) {
        prop_assert_eq!(decode_asset(&encode_asset(&asset)), Ok(asset.clone()));
        let upload = Upload {
            owner: asset.owner.clone(),
            size: bytes,
            media_type: asset.media_type.clone(),
            created_at: at,
        };
        prop_assert_eq!(decode_upload(&encode_upload(&upload)), Ok(upload));
        let storage = Storage { bytes, assets };
        prop_assert_eq!(decode_storage(&encode_storage(&storage)), Ok(storage));
        let kept = Kept { bytes, at };
        prop_assert_eq!(decode_kept(&encode_kept(&kept)), Ok(kept));
    }

    #[test]
    fn registrations_and_what_hangs_on_them_survive(
        device in proptest::option::of(crate::arbitrary::device()), target in target(),
        at in timestamp(), one in any::<u64>(), other in any::<u64>(), id in conversation(),
        seq in seq(), reason in text(20), count in any::<u32>(),
    ) {
        let (last, done) = (one.max(other), one.min(other));
        let registration = Registration { last, done, ..Registration::new(device, target, at) };
        prop_assert_eq!(decode_registration(&encode_registration(&registration)), Ok(registration));
        let notice = Notice { conversation: id, seq, at };
        prop_assert_eq!(decode_notice(&encode_notice(&notice)), Ok(notice));
        prop_assert_eq!(decode_push_mark(&encode_push_mark(seq)), Ok(seq));
        let letter = DeadLetter { notice, at, attempts: one, reason };
        prop_assert_eq!(decode_dead_letter(&encode_dead_letter(&letter)), Ok(letter));
        prop_assert_eq!(decode_registered(&encode_registered(count)), Ok(count));
    }

    #[test]
    fn outbox_items_survive(owed in owed()) {
        prop_assert_eq!(decode_owed(&encode_owed(&owed)), Ok(owed));
    }

    #[test]
    fn damage_never_panics(
        head in head(), message in message(), device in device(), owed in owed(),
        change in change(), overlay in overlay(), place in any::<usize>(), with in any::<u8>(),
    ) {
        let good = [
            encode_head(&head), encode_message(&message), encode_device(&device), encode_owed(&owed),
            encode_change(&change), encode_overlay(&overlay),
        ];
        for bytes in good.iter().flat_map(|good| damage(good, place, with)) {
            decode_all(&bytes);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in garbage()) {
        decode_all(&bytes);
    }
}

fn decode_all(bytes: &[u8]) {
    let id = chat::ConversationId::from_bytes(&[0; 16]).expect("slot 0");
    let _ = (decode_head(bytes), decode_member(bytes), decode_producer(bytes));
    let _ = (decode_cursor(bytes), decode_message(id, chat::Seq(1), bytes));
    let _ = (decode_earlier(bytes), decode_account(bytes), decode_device(bytes));
    let _ = (decode_change(id, ChangeNumber(1), bytes), decode_overlay(bytes));
    let _ = (decode_earlier_change(bytes), decode_settings(bytes));
    let _ = (decode_link(bytes), decode_owed(bytes), decode_applied(bytes));
    let _ = (decode_upload(bytes), decode_asset(bytes), decode_storage(bytes), decode_kept(bytes));
    let _ = (decode_registration(bytes), decode_notice(bytes), decode_dead_letter(bytes));
    let _ = (decode_push_mark(bytes), decode_registered(bytes), decode_retained(bytes));
}

#[test]
fn an_unknown_role_and_a_short_chain_are_named() {
    let bytes = rows::Member { role: 9, ..rows::Member::default() }.encode_to_vec();
    assert_eq!(decode_member(&bytes).map_err(|error| error.field), Err("member.role"));
    let direct = rows::Direct { low: "a".into(), high: "b".into() };
    let head = rows::Head {
        kind: Some(rows::head::Kind::Direct(direct)),
        chain: vec![1; 31].into(),
        ..Default::default()
    };
    assert_eq!(decode_head(&head.encode_to_vec()).map_err(|error| error.field), Err("head.chain"));
}
