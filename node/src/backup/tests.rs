//! Claims about what is looked at in a restored state. That a whole backup is made and restored is claimed where there are
//! whole clusters.

use std::sync::Arc;

use bytes::Bytes;
use chat::{
    Body, Chain, ChangeNumber, ConversationId, Cursor, Device, DeviceId, Digest, Head, Kind,
    Member, Message, MessageId, Order, Role, Seq, Timestamp, UserId,
};
use proto::keys;
use proto::row::{self, Account};
use store::MemoryTables;
use store::tables::{Batch, Tables};

use super::check::{Found, check};
use crate::damage::Damages;

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("legal")
}

fn direct() -> ConversationId {
    ConversationId::direct(&user("anna"), &user("ben"))
}

const DEVICE: DeviceId = DeviceId(7);

/// Two users and five messages between them.
fn sound() -> Arc<MemoryTables> {
    let tables = Arc::new(MemoryTables::new());
    let id = direct();
    let mut chain = Chain::default();
    for seq in 1..=5 {
        let mut message = Message {
            conversation: id,
            seq: Seq(seq),
            sender: user("anna"),
            device: DEVICE,
            order: Order(seq),
            message_id: MessageId::parse(&format!("m{seq}")).expect("legal"),
            at: Timestamp(seq),
            body: Body { text: format!("text {seq}"), ..Body::default() },
            chain,
            erased: None,
        };
        chain = chain.extend(&message);
        message.chain = chain;
        put(&*tables, keys::message(id, Seq(seq)), row::encode_message(&message));
    }
    put(&*tables, keys::head(id), row::encode_head(&head(chain)));
    for name in ["anna", "ben"] {
        let member =
            Member { role: Role::Member, joined_at: Seq(0), joined_change: ChangeNumber(0) };
        put(&*tables, keys::member(id, &user(name)), row::encode_member(&member));
        let account = Account {
            password_hash: "hash".into(),
            created_at: Timestamp(1),
            last_seen: Timestamp(0),
            display_name: String::new(),
            signed_out_at: Timestamp(0),
            seen: [].into(),
        };
        put(&*tables, keys::user(&user(name)), row::encode_account(&account));
    }
    tables
}

fn head(chain: Chain) -> Head {
    Head {
        kind: Kind::Direct { low: user("anna"), high: user("ben") },
        last_seq: Seq(5),
        last_at: Timestamp(5),
        chain,
        created_at: Timestamp(1),
        last_change: ChangeNumber(0),
        last_change_at: Timestamp(0),
        retention: None,
        expired: Seq(0),
    }
}

fn put(tables: &dyn Tables, key: Bytes, value: Bytes) {
    let mut batch = Batch::new();
    batch.put(key, value);
    tables.write(batch).expect("memory does not fail");
}

fn remove(tables: &dyn Tables, key: Bytes) {
    let mut batch = Batch::new();
    batch.delete(key);
    tables.write(batch).expect("memory does not fail");
}

fn looked(tables: &dyn Tables) -> Found {
    check(tables).expect("memory does not fail")
}

/// What is said of a state after somebody did this to it.
fn told(harm: impl FnOnce(&dyn Tables)) -> Vec<String> {
    let tables = sound();
    harm(&*tables);
    looked(&*tables).problems
}

#[test]
fn a_sound_state_is_found_sound() {
    let found = looked(&*sound());
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!((found.conversations, found.messages, found.users), (1, 5, 2));
}

#[test]
fn a_message_that_is_missing_or_altered_is_told() {
    let id = direct();
    let gap = told(|tables| remove(tables, keys::message(id, Seq(3))));
    assert!(gap[0].contains("message 3 is missing, 4 follows"), "{gap:?}");
    let end = told(|tables| remove(tables, keys::message(id, Seq(5))));
    assert!(end[0].contains("ends at message 4 instead of 5"), "{end:?}");
    let altered = told(|tables| {
        let key = keys::message(id, Seq(3));
        let value = tables.get(&key).expect("readable").expect("there");
        let mut message = row::decode_message(id, Seq(3), &value).expect("ours");
        message.body.text = "never said".into();
        put(tables, key, row::encode_message(&message));
    });
    assert!(altered[0].contains("the chain is broken at message 3"), "{altered:?}");
    let other = told(|tables| put(tables, keys::head(id), row::encode_head(&head(Chain([1; 32])))));
    assert!(other[0].contains("its chain ends in another value"), "{other:?}");
    let headless = told(|tables| remove(tables, keys::head(id)));
    assert!(headless.iter().any(|one| one.contains("does not exist")), "{headless:?}");
}

#[test]
fn what_refers_to_nothing_is_told() {
    let nobody = told(|tables| remove(tables, keys::user(&user("ben"))));
    assert!(nobody[0].contains("a member without an account"), "{nobody:?}");
    let beyond = told(|tables| {
        let cursor = Cursor {
            user: user("ben"),
            delivered: Seq(6),
            read: Seq(0),
            shown: Seq(0),
            changes: ChangeNumber(0),
        };
        put(tables, keys::cursor(direct(), DEVICE), row::encode_cursor(&cursor));
    });
    assert!(beyond[0].contains("a cursor of conversation"), "{beyond:?}");
}

#[test]
fn a_row_that_does_not_decode_is_told_and_the_others_are_looked_at() {
    let found = told(|tables| {
        put(tables, keys::message(direct(), Seq(2)), Bytes::from_static(b"\xff"));
        put(tables, Bytes::from_static(&[0, 0, 0xEE]), Bytes::new());
    });
    assert!(found.iter().filter(|one| one.contains("does not decode")).count() == 2, "{found:?}");
}

#[test]
fn a_slot_of_a_running_node_is_looked_at_and_not_touched() {
    let tables = sound();
    let slot = direct().slot();
    let found = super::check::check_slot(&*tables, slot).expect("memory does not fail");
    assert_eq!((found.conversations, found.messages), (1, 5));
    assert_eq!(found.problems, Vec::<String>::new());
    remove(&*tables, keys::message(direct(), Seq(2)));
    let found = super::check::check_slot(&*tables, slot).expect("memory does not fail");
    assert!(found.problems[0].contains("message 2 is missing"), "{:?}", found.problems);
    let other = super::check::check_slot(&*tables, (slot + 1) % chat::SLOTS);
    assert_eq!(other.expect("memory does not fail").conversations, 0);
    let early = [(direct(), Seq(9))].into();
    let device = Device {
        name: "d".into(),
        created_at: Timestamp(1),
        refresh: Digest([0; 32]),
        starts: early,
    };
    let key = keys::device(&user("anna"), DEVICE);
    put(&*tables, key.clone(), row::encode_device(&device));
    let users = super::check::check_slot(&*tables, user("anna").slot());
    assert_eq!(users.expect("memory does not fail").problems, Vec::<String>::new());
    assert_eq!(tables.get(&key).expect("readable"), Some(row::encode_device(&device)), "as it was");
}

#[tokio::test(start_paused = true)]
async fn what_looks_wrong_is_looked_at_once_more() {
    let tables: Arc<dyn Tables> = sound();
    let (slot, rows, again) = (direct().slot(), 8, std::time::Duration::from_secs(60));
    let damages = Damages::default();
    assert!(super::scrub::look_at(&tables, slot, again, &damages).await <= rows);
    assert!(damages.told().is_empty());
    remove(&*tables, keys::message(direct(), Seq(5)));
    let begun = tokio::time::Instant::now();
    super::scrub::look_at(&tables, slot, again, &damages).await;
    assert!(damages.told()[0].starts_with(&format!("slot {slot}: ")), "{:?}", damages.told());
    assert!(begun.elapsed() >= std::time::Duration::from_secs(60), "it waited before it told");
}

#[test]
fn a_device_that_begins_after_messages_that_are_not_here_is_set_back() {
    let tables = sound();
    let starts = [(direct(), Seq(9)), (ConversationId::direct(&user("a"), &user("b")), Seq(3))];
    let device = Device {
        name: "laptop".into(),
        created_at: Timestamp(1),
        refresh: Digest([0; 32]),
        starts: starts.into(),
    };
    let key = keys::device(&user("anna"), DEVICE);
    put(&*tables, key.clone(), row::encode_device(&device));
    let found = looked(&*tables);
    assert_eq!((found.problems.len(), found.set_back), (0, 1));
    let value = tables.get(&key).expect("readable").expect("there");
    let device = row::decode_device(&value).expect("ours");
    assert_eq!(device.starts.values().copied().collect::<Vec<_>>(), {
        let mut expected: Vec<_> = starts.map(|(id, _)| id).into();
        expected.sort();
        expected.iter().map(|id| if *id == direct() { Seq(5) } else { Seq(0) }).collect::<Vec<_>>()
    });
    assert_eq!(looked(&*tables).set_back, 0, "once");
}
