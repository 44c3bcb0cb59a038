//! Keys survive their bytes, sort like what they are made of, and stay where the layout says.

use proptest::prelude::*;

use super::*;
use crate::arbitrary::{conversation, device, message_id, seq, user};

const PUSH: chat::PushId = chat::PushId(0x0123_4567_89ab_cdef);

fn is_of_push(key: &Key) -> bool {
    use Key::{DeadLetter, Notice, PushMark, Registration};
    matches!(key, Registration(..) | Notice(..) | PushMark(..) | DeadLetter(..))
}

fn all(id: ConversationId, device: chat::DeviceId, user_id: chat::UserId) -> Vec<(Key, Bytes)> {
    let message_id = chat::MessageId::parse("m 1/ä").expect("legal");
    let group = ::cluster_config::GroupId(7);
    let seq = chat::Seq(300);
    let file = chat::AssetId::new(*id.as_bytes());
    vec![
        (Key::Head(id), head(id)),
        (Key::Member(id, user_id.clone()), member(id, &user_id)),
        (Key::Producer(id, device), producer(id, device)),
        (Key::Cursor(id, device), cursor(id, device)),
        (Key::Message(id, seq), message(id, seq)),
        (Key::MessageRef(id, message_id.clone(), device), message_ref(id, &message_id, device)),
        (Key::User(user_id.clone()), super::user(&user_id)),
        (Key::Device(user_id.clone(), device), super::device(&user_id, device)),
        (Key::Link(user_id.clone(), id), link(&user_id, id)),
        (Key::Settings(user_id.clone()), settings(&user_id)),
        (Key::Change(id, chat::ChangeNumber(300)), change(id, chat::ChangeNumber(300))),
        (Key::Overlay(id, seq), overlay(id, seq)),
        (Key::ChangeRef(id, message_id.clone(), device), change_ref(id, &message_id, device)),
        (Key::Asset(file), asset(file)),
        (Key::Storage(user_id.clone()), storage(&user_id)),
        (Key::Kept(user_id.clone(), file), kept(&user_id, file)),
        (Key::Registered(user_id.clone()), registered(&user_id)),
        (Key::Registration(user_id.clone(), PUSH), registration(&user_id, PUSH)),
        (Key::Notice(user_id.clone(), PUSH, 9), notice(&user_id, PUSH, 9)),
        (Key::PushMark(user_id.clone(), PUSH, id), push_mark(&user_id, PUSH, id)),
        (Key::DeadLetter(user_id.clone(), PUSH, 9), dead_letter(&user_id, PUSH, 9)),
        (Key::Retained(id), retained(id)),
        (Key::Applied(group), applied(group)),
        (Key::Outbox(group, 9), outbox(group, 9)),
        (Key::Staging(group, head(id).to_vec()), staging(group, &head(id))),
        (Key::Installing(group), installing(group)),
        (Key::ClusterConfig, cluster_config()),
    ]
}

fn within(range: &Range<Bytes>, key: &Bytes) -> bool {
    range.start <= *key && *key < range.end
}

proptest! {
    #[test]
    fn every_key_survives_its_bytes(id in conversation(), device in device(), user in user()) {
        for (key, bytes) in all(id, device, user) {
            prop_assert_eq!(parse(&bytes), Ok(key));
        }
    }

    #[test]
    fn every_kind_reads_its_own_keys_and_no_other(
        id in conversation(), device in device(), user_id in user(),
    ) {
        for (key, bytes) in all(id, device, user_id) {
            prop_assert_eq!(decode_head(&bytes).is_ok(), matches!(key, Key::Head(_)));
            prop_assert_eq!(decode_member(&bytes).is_ok(), matches!(key, Key::Member(..)));
            prop_assert_eq!(decode_producer(&bytes).is_ok(), matches!(key, Key::Producer(..)));
            prop_assert_eq!(decode_cursor(&bytes).is_ok(), matches!(key, Key::Cursor(..)));
            prop_assert_eq!(decode_message(&bytes).is_ok(), matches!(key, Key::Message(..)));
            prop_assert_eq!(decode_user(&bytes).is_ok(), matches!(key, Key::User(_)));
            prop_assert_eq!(decode_device(&bytes).is_ok(), matches!(key, Key::Device(..)));
            prop_assert_eq!(decode_link(&bytes).is_ok(), matches!(key, Key::Link(..)));
            prop_assert_eq!(decode_outbox(&bytes).is_ok(), matches!(key, Key::Outbox(..)));
            prop_assert_eq!(decode_settings(&bytes).is_ok(), matches!(key, Key::Settings(_)));
            prop_assert_eq!(decode_change(&bytes).is_ok(), matches!(key, Key::Change(..)));
            prop_assert_eq!(decode_overlay(&bytes).is_ok(), matches!(key, Key::Overlay(..)));
            prop_assert_eq!(decode_change_ref(&bytes).is_ok(), matches!(key, Key::ChangeRef(..)));
            prop_assert_eq!(decode_asset(&bytes).is_ok(), matches!(key, Key::Asset(_)));
            prop_assert_eq!(decode_storage(&bytes).is_ok(), matches!(key, Key::Storage(_)));
            prop_assert_eq!(decode_kept(&bytes).is_ok(), matches!(key, Key::Kept(..)));
        }
    }

    #[test]
    fn messages_lie_in_the_order_of_their_sequence(id in conversation(), a in seq(), b in seq()) {
        prop_assert_eq!(message(id, a).cmp(&message(id, b)), a.cmp(&b));
    }

    #[test]
    fn changes_and_overlays_lie_in_the_order_of_their_numbers(
        id in conversation(), a in seq(), b in seq(),
    ) {
        let number = |seq: chat::Seq| chat::ChangeNumber(seq.0);
        prop_assert_eq!(change(id, number(a)).cmp(&change(id, number(b))), a.cmp(&b));
        prop_assert_eq!(overlay(id, a).cmp(&overlay(id, b)), a.cmp(&b));
        let range = overlay_range(id, a, b);
        prop_assert!(!within(&range, &change(id, number(a))));
    }

    #[test]
    fn places_of_message_ids_lie_in_the_order_of_the_ids(
        id in conversation(), a in message_id(), b in message_id(), one in device(), other in device(),
    ) {
        let keys = message_ref(id, &a, one).cmp(&message_ref(id, &b, other));
        prop_assert_eq!(keys, (a, one).cmp(&(b, other)));
    }

    #[test]
    fn members_and_users_lie_in_the_order_of_their_ids(
        id in conversation(), a in user(), b in user(),
    ) {
        prop_assert_eq!(member(id, &a).cmp(&member(id, &b)), a.cmp(&b));
        let by_slot = (a.slot(), &a).cmp(&(b.slot(), &b));
        prop_assert_eq!(super::user(&a).cmp(&super::user(&b)), by_slot);
    }

    #[test]
    fn ranges_hold_their_rows_and_no_neighbours(
        id in conversation(), neighbour in conversation(), device in device(),
        user_id in user(), stranger in user(),
    ) {
        prop_assume!(id != neighbour && user_id != stranger);
        let state = conversation_range(id);
        for (key, bytes) in all(id, device, user_id.clone()) {
            let of_state = matches!(
                key,
                Key::Head(_) | Key::Member(..) | Key::Producer(..) | Key::Cursor(..)
            );
            prop_assert_eq!(within(&state, &bytes), of_state, "{:?}", key);
            prop_assert_eq!(within(&member_range(id), &bytes), matches!(key, Key::Member(..)));
            prop_assert_eq!(within(&producer_range(id), &bytes), matches!(key, Key::Producer(..)));
            prop_assert_eq!(within(&cursor_range(id), &bytes), matches!(key, Key::Cursor(..)));
            prop_assert_eq!(within(&messages_all(id), &bytes), matches!(key, Key::Message(..)));
            let of_user = matches!(key, Key::User(_) | Key::Device(..) | Key::Link(..) | Key::Settings(_));
            let of_user = of_user || is_of_push(&key);
            prop_assert_eq!(within(&push_range(&user_id), &bytes), is_of_push(&key));
            let slot = registered_range(user_id.slot());
            prop_assert_eq!(within(&slot, &bytes), matches!(key, Key::Registered(_)));
            prop_assert_eq!(within(&user_range(&user_id), &bytes), of_user, "{:?}", key);
            prop_assert_eq!(within(&device_range(&user_id), &bytes), matches!(key, Key::Device(..)));
            prop_assert_eq!(within(&link_range(&user_id), &bytes), matches!(key, Key::Link(..)));
            prop_assert!(within(&slot_range(0, chat::SLOTS), &bytes) != within(&reserved_range(), &bytes));
        }
        for (key, bytes) in all(neighbour, device, stranger) {
            prop_assert!(!within(&state, &bytes), "{:?}", key);
            prop_assert!(!within(&messages_all(id), &bytes), "{:?}", key);
            prop_assert!(!within(&user_range(&user_id), &bytes), "{:?}", key);
        }
    }

    #[test]
    fn slots_hold_their_rows(id in conversation(), device in device(), user_id in user()) {
        let own = slot_range(id.slot(), id.slot() + 1);
        prop_assert!(within(&own, &message(id, chat::Seq(1))));
        prop_assert!(within(&own, &cursor(id, device)));
        let home = slot_range(user_id.slot(), user_id.slot() + 1);
        prop_assert!(within(&home, &super::user(&user_id)));
        prop_assert!(!within(&slot_range(0, user_id.slot()), &super::user(&user_id)));
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn nearly_keys_never_panic(
        slot in 0..chat::SLOTS, kind in 0..0x80_u8, rest in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        for slot in [slot, 0xFFFF] {
            let mut bytes = slot.to_be_bytes().to_vec();
            bytes.push(kind);
            bytes.extend(&rest);
            if let Ok(key) = parse(&bytes) {
                prop_assert!(!matches!(key, Key::User(ref user) if user.slot() != slot));
            }
        }
    }
}

#[test]
fn a_page_of_messages_excludes_its_end() {
    let id = ConversationId::group(&chat::GroupId::parse("team").expect("legal"));
    let page = message_range(id, chat::Seq(3), chat::Seq(5));
    let held: Vec<u64> =
        (1..8).filter(|seq| within(&page, &message(id, chat::Seq(*seq)))).collect();
    assert_eq!(held, [3, 4]);
}

#[test]
fn outboxes_and_staged_rows_of_groups_do_not_mix() {
    let (one, other) = (::cluster_config::GroupId(1), ::cluster_config::GroupId(2));
    assert!(within(&outbox_range(one), &outbox(one, u64::MAX)));
    assert!(!within(&outbox_range(one), &outbox(other, 0)));
    assert!(within(&staging_range(one), &staging(one, &[0xFF; 90])));
    assert!(!within(&staging_range(one), &staging(other, &[])));
    assert!(within(&reserved_range(), &staging(::cluster_config::GroupId(u32::MAX), &[0xFF; 200])));
}
