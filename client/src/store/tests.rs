//! Claims about stores: both adapters do the same with the same records, and a file is refused to whoever it is not for.

use bytes::Bytes;
use chat::{Body, MessageId, Timestamp};
use proto::frame::SendTo;
use proto::frames::what::What;

use super::*;

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("legal")
}

fn anna() -> Owner {
    Owner { user: user("anna"), device: DeviceId(u64::MAX - 1) }
}

fn with(name: &str) -> ConversationId {
    ConversationId::direct(&user("anna"), &user(name))
}

fn request(id: &str) -> Box<SendRequest> {
    Box::new(SendRequest {
        tag: 0,
        to: SendTo::Receiver(user("ben")),
        order: None,
        message_id: MessageId::parse(id).expect("legal"),
        body: Body { text: format!("text of {id}"), ..Body::default() },
    })
}

fn message(seq: u64, chain: &str) -> frames::Message {
    frames::Message {
        conversation: Bytes::copy_from_slice(with("ben").as_bytes()),
        seq,
        sender: "ben".into(),
        device: 2,
        receiver: "anna".into(),
        message_id: format!("b{seq}"),
        at_ms: seq * 1000,
        body: Some(frames::MessageBody { text: format!("text {seq}"), ..Default::default() }),
        chain: Bytes::copy_from_slice(chain.as_bytes()),
        ..Default::default()
    }
}

fn told(seq: u64) -> Record {
    Record::Message(Box::new(message(seq, &format!("chain {seq}"))))
}

fn changed(number: u64, by: &str, what: What) -> Record {
    Record::Change(Box::new(frames::Change {
        conversation: Bytes::copy_from_slice(with("ben").as_bytes()),
        number,
        by: by.into(),
        at_ms: 100_000 + number,
        after: 0,
        what: Some(frames::What { what: Some(what) }),
    }))
}

fn reacted(seq: u64, reaction: &str) -> What {
    What::Reacted(frames::Reacted { seq, reaction: reaction.into() })
}

fn receipt(seq: u64, id: &str, order: u64) -> Box<Receipt> {
    let (conversation, message_id) = (with("ben"), MessageId::parse(id).expect("legal"));
    let (seq, at, order) = (Seq(seq), Timestamp(seq * 1000), Order(order));
    Box::new(Receipt { conversation, seq, at, message_id, order })
}

/// The same claim on every adapter.
fn each(claim: impl Fn(&mut dyn Store)) {
    let mut memory = Memory::new();
    memory.begin(&anna()).expect("nobody's yet");
    claim(&mut memory);
    #[cfg(feature = "sqlite")]
    {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut file = Sqlite::open(&folder.path().join("a.db")).expect("a new one");
        file.begin(&anna()).expect("nobody's yet");
        claim(&mut file);
    }
}

fn put(store: &mut dyn Store, records: &[Record]) -> Vec<ConversationId> {
    store.commit(records, Commit::Durable).expect("it can be written")
}

fn history(store: &mut dyn Store) -> KeptPage {
    store.history(with("ben"), None, 1000).expect("it can be read")
}

#[test]
fn what_waits_is_there_with_its_numbers_until_it_is_sent_and_is_history_then() {
    each(|store| {
        let conversation = with("ben");
        for (ticket, id) in [(5, "a"), (6, "b"), (9, "c")] {
            put(store, &[Record::Queued { ticket, conversation, request: request(id) }]);
        }
        put(
            store,
            &[
                Record::Counting { conversation, next: Some(3), highest: 0 },
                Record::Numbered { ticket: 5, order: Some(Order(1)) },
                Record::Numbered { ticket: 6, order: Some(Order(2)) },
            ],
        );
        let kept = store.begin(&anna()).expect("hers");
        assert_eq!(kept.last_ticket, 9);
        assert_eq!(kept.lanes[0].next_order, Some(3));
        let shown = |send: &KeptSend| (send.ticket, send.request.order.map(|order| order.0));
        let shown: Vec<_> = kept.outbox.iter().map(shown).collect();
        assert_eq!(shown, [(5, Some(1)), (6, Some(2)), (9, None)]);
        let problem = Box::new(Problem { code: "too_large".into(), ..Problem::default() });
        put(
            store,
            &[
                Record::Sent { ticket: 5, receipt: receipt(1, "a", 1) },
                Record::Refused { ticket: 6, problem },
            ],
        );
        assert_eq!(store.pending().expect("it can be read").len(), 1);
        assert_eq!(store.refusals().expect("it can be read")[0].problem.code, "too_large");
        let own = &history(store).messages[0];
        assert_eq!((own.seq, own.order, own.device), (1, 1, anna().device.0));
        assert_eq!(own.body.as_ref().expect("a body").text, "text of a");
        assert_eq!((own.sender.as_str(), own.receiver.as_str()), ("anna", "ben"));
        let all = store.conversations().expect("it can be read");
        assert_eq!((all.len(), all[0].pending), (1, 1));
        assert_eq!(store.begin(&anna()).expect("hers").last_ticket, 9, "no ticket comes again");
    });
}

#[test]
fn what_is_told_twice_is_there_once_and_what_contradicts_it_changes_nothing() {
    each(|store| {
        assert!(put(store, &[told(1), told(2), told(2), told(4)]).is_empty());
        let page = history(store);
        assert_eq!(page.messages.iter().map(|m| m.seq).collect::<Vec<_>>(), [1, 2, 4]);
        assert!(!page.whole, "3 is missing");
        let other = Record::Message(Box::new(message(2, "another")));
        assert_eq!(put(store, &[told(3), other]), [with("ben")]);
        let page = history(store);
        assert!(page.whole && page.messages.len() == 4);
        assert_eq!(&page.messages[1].chain[..], b"chain 2");
        let head = &store.heads().expect("it can be read")[0];
        assert_eq!((head.seq, &head.chain[..]), (Seq(4), &b"chain 4"[..]));
        put(store, &[Record::Forget(with("ben"))]);
        assert!(history(store).messages.is_empty());
        assert!(store.heads().expect("it can be read").is_empty());
    });
}

#[test]
fn an_own_message_becomes_what_a_node_tells_of_it_unless_it_is_somebody_elses() {
    each(|store| {
        let conversation = with("ben");
        put(store, &[Record::Queued { ticket: 1, conversation, request: request("a") }]);
        put(store, &[Record::Sent { ticket: 1, receipt: receipt(1, "a", 1) }]);
        assert_eq!(put(store, &[told(1)]), [conversation], "another message has its place");
        let device = anna().device.0;
        let own = frames::Message { device, message_id: "a".into(), ..message(1, "chain 1") };
        assert!(put(store, &[Record::Message(Box::new(own.clone()))]).is_empty());
        assert_eq!(history(store).messages, [own]);
    });
}

#[test]
fn changes_are_applied_once_ascending_and_never_undone_by_what_is_older() {
    each(|store| {
        put(store, &[told(1), told(2), told(3)]);
        let edited = |text: &str| What::Edited(frames::Edited { seq: 1, text: Some(text.into()) });
        put(store, &[changed(1, "ben", edited("one")), changed(2, "ben", edited("two"))]);
        put(store, &[changed(3, "anna", reacted(2, "+1")), changed(4, "ben", reacted(2, "-1"))]);
        put(store, &[changed(5, "ben", reacted(2, "")), changed(6, "ben", What::Deleted(3))]);
        // Again, as every new link may.
        put(store, &[changed(1, "ben", edited("one")), changed(4, "ben", reacted(2, "-1"))]);
        // An old page of a replica that is behind.
        put(store, &[told(1), told(3)]);
        let messages = history(store).messages;
        let text = |at: usize| messages[at].body.as_ref().expect("a body").text.clone();
        let state = |at: usize| messages[at].state.clone().expect("something became of it");
        assert_eq!((text(0).as_str(), state(0).edits), ("two", 2));
        let reactions = state(1).reactions;
        assert_eq!((reactions.len(), reactions[0].user.as_str()), (1, "anna"));
        assert!(state(2).deleted && text(2).is_empty());
    });
}

#[test]
fn where_everything_stands_is_there_at_the_next_begin() {
    each(|store| {
        let conversation = with("ben");
        let wanted = Standing { delivered: Seq(7), read: Seq(5) };
        let confirmed = Standing { delivered: Seq(6), read: Seq(5) };
        put(
            store,
            &[
                Record::Resume("token".into()),
                Record::Standing { conversation, wanted, confirmed },
                Record::ChangesTaken { conversation, wanted: 3, confirmed: 2 },
                Record::Status { conversation, delivered: Seq(4), read: Seq(1) },
            ],
        );
        let kept = store.begin(&anna()).expect("hers");
        let expected = KeptLane {
            wanted,
            confirmed,
            changes_wanted: 3,
            changes_confirmed: 2,
            status: (Seq(4), Seq(1)),
            ..no_lane(conversation)
        };
        assert_eq!((kept.resume.as_str(), kept.lanes), ("token", vec![expected]));
    });
}

#[test]
fn old_messages_go_and_new_ones_stay() {
    each(|store| {
        put(store, &[told(1), told(2), told(KEPT_OF_CONVERSATION_MAX + 1)]);
        let seqs: Vec<_> = history(store).messages.iter().map(|m| m.seq).collect();
        assert_eq!(seqs, [2, KEPT_OF_CONVERSATION_MAX + 1]);
        put(store, &[Record::Expired { conversation: with("ben"), up_to: Seq(2) }]);
        assert_eq!(history(store).messages.len(), 1);
    });
}

#[test]
fn another_account_and_another_device_are_refused_by_name() {
    each(|store| {
        let ben = Owner { user: user("ben"), ..anna() };
        let refused = store.begin(&ben).expect_err("hers");
        assert!(matches!(&refused, StoreError::OtherAccount { held, .. } if *held == user("anna")));
        assert_eq!(refused.to_string(), "the store belongs to anna, not to ben");
        let phone = Owner { device: DeviceId(3), ..anna() };
        assert!(matches!(store.begin(&phone), Err(StoreError::OtherDevice { .. })));
        assert!(store.begin(&anna()).is_ok());
    });
}

#[cfg(feature = "sqlite")]
mod file {
    use super::*;

    #[test]
    fn the_second_who_opens_a_file_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.db");
        let first = Sqlite::open(&path).expect("a new one");
        assert!(matches!(Sqlite::open(&path), Err(StoreError::InUse)));
        drop(first);
        assert!(Sqlite::open(&path).is_ok());
    }

    #[test]
    fn a_later_version_and_a_file_of_something_else_are_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("later.db");
        let mut later = Sqlite::open(&path).expect("a new one");
        later.connection().pragma_update(None, "user_version", 2).expect("it can be written");
        drop(later);
        let refused = Sqlite::open(&path).expect_err("of a later version");
        assert!(matches!(refused, StoreError::Newer { found: 2, known: 1 }), "{refused}");
        let text = folder.path().join("letter.txt");
        std::fs::write(&text, "Dear Anna, ".repeat(200)).expect("writable folder");
        assert!(matches!(Sqlite::open(&text), Err(StoreError::Foreign)));
        let other = folder.path().join("other.db");
        let tables = rusqlite::Connection::open(&other).expect("a new one");
        tables.execute_batch("CREATE TABLE theirs (a)").expect("it can be written");
        drop(tables);
        assert!(matches!(Sqlite::open(&other), Err(StoreError::Foreign)));
        assert_eq!(std::fs::read(&text).expect("readable").len(), 2200);
    }

    #[test]
    fn an_order_that_two_messages_have_is_not_written() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut store = Sqlite::open(&folder.path().join("a.db")).expect("a new one");
        store.begin(&anna()).expect("nobody's yet");
        let conversation = with("ben");
        for ticket in [1, 2] {
            let request = request(&format!("m{ticket}"));
            put(&mut store, &[Record::Queued { ticket, conversation, request }]);
        }
        let twice = [1, 2].map(|ticket| Record::Numbered { ticket, order: Some(Order(1)) });
        assert!(matches!(store.commit(&twice, Commit::Soon), Err(StoreError::Damaged(_))));
        let pending = store.pending().expect("it can be read");
        assert!(pending.iter().all(|kept| kept.request.order.is_none()), "all or nothing");
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Sqlite::open(&folder.path().join("a.db")).expect("a new one");
        let mut store = store.with_messages_max(100);
        store.begin(&anna()).expect("nobody's yet");
        let records: Vec<_> = (1..=2_500).map(told).collect();
        put(&mut store, &records[..1_500]);
        put(&mut store, &records[1_500..]);
        let seqs: Vec<_> = history(&mut store).messages.iter().map(|m| m.seq).collect();
        assert!(seqs.len() <= 100 && seqs.last() == Some(&2_500), "{seqs:?}");
    }
}
