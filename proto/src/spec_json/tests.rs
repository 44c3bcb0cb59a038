//! The specification's JSON, in examples that read as documentation, and on any text.

use chat::{
    CanonicalId, Change, ChangeNumber, ConversationId, DeviceId, GroupId, Message, MessageId,
    Order, Overlay, Reaction, Seq, Timestamp, UserId, What, Wish,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::arbitrary::{message, text};
use crate::{Addressee, Problem, ProblemCode};

const ALICE_TO_BOB: &str = r#"{
  "connection_id": "rLCkwH/SKGAsO9H/ZShrBAFTDKU=",
  "payload": [
    {
      "senderId"       : "Rtnukkald=",
      "receiverId"     : "IJUkalxUl=",
      "messageId"      : "Pqwnkilsx=",
      "timestamp"      : "9:47PM 12-1-2023",
      "attachment"    : false,
      "attachmentURI" : "",
      "messageText"    : "Hello, Welcome!"
   }
  ]
}"#;

fn items(text: &str) -> Vec<Result<Item, Box<BadItem>>> {
    match parse(text).expect("a payload") {
        Inbound::Payload { items, .. } => items,
        other => panic!("no payload: {other:?}"),
    }
}

fn one(item: Value) -> Result<Item, Box<BadItem>> {
    items(&json!({"connection_id": "c", "payload": [item]}).to_string()).remove(0)
}

fn refused(item: Value) -> String {
    one(item).expect_err("refused").error.field
}

#[test]
fn the_request_of_the_specification_is_understood() {
    let Inbound::Payload { connection_id, items } = parse(ALICE_TO_BOB).expect("understood") else {
        panic!("it is a payload");
    };
    assert_eq!(connection_id.as_deref(), Some("rLCkwH/SKGAsO9H/ZShrBAFTDKU="));
    let Ok(Item::Message(message)) = &items[0] else { panic!("it is a message: {items:?}") };
    assert_eq!(message.sender.as_ref().map(UserId::as_str), Some("Rtnukkald="));
    assert_eq!(message.to, SentTo::Receiver(UserId::parse("IJUkalxUl=").expect("legal")));
    assert_eq!(message.message_id.as_str(), "Pqwnkilsx=");
    assert_eq!(message.order, None);
    assert_eq!(message.body.client_timestamp, "9:47PM 12-1-2023");
    assert_eq!(message.body.text, "Hello, Welcome!");
    assert!(!message.body.attachment && message.body.attachment_uris.is_empty());
}

#[test]
fn a_token_is_a_token() {
    assert_eq!(parse(r#"{"token":"t"}"#), Ok(Inbound::Token { token: "t".into(), resume: None }));
    assert_eq!(parse(r#"{"token":7}"#).map_err(|bad| bad.field), Err("token".into()));
}

#[test]
fn attachments_come_as_a_string_or_a_list() {
    let with = |uris: Value| {
        let item = json!({"receiverId": "b", "messageId": "m", "attachmentURI": uris});
        match one(item) {
            Ok(Item::Message(message)) => (message.body.attachment, message.body.attachment_uris),
            other => panic!("a message: {other:?}"),
        }
    };
    assert_eq!(with(json!("/asset/1")), (true, vec!["/asset/1".to_owned()]));
    assert_eq!(with(json!(["a", "", "b"])), (true, vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn confirmations_are_told_from_messages() {
    let id = ConversationId::group(&GroupId::parse("team").expect("legal"));
    let confirm = |read| Item::Confirm(ConfirmItem { conversation: id, seq: Seq(3), read });
    let text = id.to_string();
    assert_eq!(
        one(json!({"conversationId": text, "sequence": 3, "delivered": true})),
        Ok(confirm(false))
    );
    assert_eq!(
        one(json!({"conversationId": text, "sequence": 3, "read": true})),
        Ok(confirm(true))
    );
    // A client may send back more of the message than it must.
    let more = json!({"conversationId": text, "sequence": 3, "delivered": true, "messageId": "m"});
    assert_eq!(one(more), Ok(confirm(false)));
    assert_eq!(refused(json!({"conversationId": text, "sequence": 3})), "delivered");
    assert_eq!(refused(json!({"conversationId": text, "delivered": true})), "sequence");
    assert_eq!(refused(json!({"sequence": 3, "delivered": true})), "conversationId");
    assert_eq!(refused(json!({"conversationId": text, "sequence": "3", "read": true})), "sequence");
    assert_eq!(
        refused(json!({"conversationId": "xyz", "sequence": 3, "read": true})),
        "conversationId"
    );
}

#[test]
fn wrong_types_are_refused_with_the_name_of_the_field() {
    let good = json!({
        "senderId": "a", "receiverId": "b", "messageId": "m", "timestamp": "t", "orderNumber": 1,
        "attachment": true, "attachmentURI": ["u"], "messageText": "x", "unknown": {"ignored": []}
    });
    assert!(one(good.clone()).is_ok());
    let fields = [
        "senderId",
        "receiverId",
        "messageId",
        "timestamp",
        "orderNumber",
        "attachment",
        "attachmentURI",
        "messageText",
    ];
    for field in fields {
        let mut item = good.clone();
        item[field] = json!({"an": "object"});
        assert_eq!(refused(item), field);
    }
    let changed = |field: &str, value: Value| {
        let mut item = good.clone();
        item[field] = value;
        refused(item)
    };
    assert_eq!(changed("orderNumber", json!(0)), "orderNumber");
    assert_eq!(changed("orderNumber", json!(-1)), "orderNumber");
    assert_eq!(changed("orderNumber", json!(1.5)), "orderNumber");
    assert_eq!(changed("attachmentURI", json!([1])), "attachmentURI");
    assert_eq!(changed("receiverId", json!("")), "receiverId");
    assert_eq!(changed("receiverId", json!("..")), "receiverId");
    assert_eq!(changed("groupId", json!("g")), "groupId");
    assert_eq!(changed("messageId", json!("")), "messageId");
    assert_eq!(changed("messageId", json!("x".repeat(129))), "messageId");
    assert_eq!(refused(json!({"receiverId": "b", "messageId": "m"})), "messageText");
    assert_eq!(refused(json!("text")), "payload[0]");
}

#[test]
fn one_bad_item_does_not_spoil_the_others_and_is_echoed() {
    let text = json!({"connection_id": "c", "payload": [
        {"receiverId": "b", "messageId": "good", "messageText": "x"},
        {"senderId": "a", "receiverId": "b", "messageId": "bad", "messageText": 7},
    ]});
    let items = items(&text.to_string());
    assert!(items[0].is_ok());
    let bad = items[1].as_ref().expect_err("bad");
    let mut payload = Payload::new("c");
    payload.not_understood(bad);
    let told: Value = serde_json::from_str(&payload.finish()).expect("JSON");
    let wanted = json!({"connection_id": "c", "payload": [{
        "senderId": "a", "receiverId": "b", "messageId": "bad",
        "receivedServer": false, "delivered": false, "read": false,
        "error": {"code": "invalid_request", "detail": "messageText: must be a string",
            "retryable": false, "field": "messageText"}
    }]});
    assert_eq!(told, wanted);
}

#[test]
fn frames_of_other_forms_are_refused() {
    let field = |text: &str| parse(text).expect_err("refused").field;
    assert_eq!(field("nothing"), "");
    assert_eq!(field("[]"), "");
    assert_eq!(field("{}"), "payload");
    assert_eq!(field(r#"{"payload":{}}"#), "payload");
    assert_eq!(field(r#"{"connection_id":7,"payload":[]}"#), "connection_id");
    let many = vec![json!({}); PAYLOAD_ITEMS_MAX + 1];
    assert_eq!(field(&json!({"payload": many}).to_string()), "payload");
    assert_eq!(field(&"[".repeat(10_000)), "", "deep nesting is no way in");
}

fn hello() -> Message {
    let parse = |name| UserId::parse(name).expect("legal");
    Message {
        conversation: ConversationId::direct(&parse("alice"), &parse("bob")),
        seq: Seq(7),
        sender: parse("alice"),
        device: DeviceId(9),
        order: Order(3),
        message_id: MessageId::parse("m\"7").expect("legal"),
        at: Timestamp(1_709_210_096_007),
        body: chat::Body { text: "hi\n\u{1F600}".into(), ..Default::default() },
        chain: Default::default(),
        erased: None,
    }
}

fn entity<'a>(message: &'a Message, to: Addressee<'a>) -> Entity<'a> {
    Entity { message, overlay: None, to, standing: Standing::default() }
}

#[test]
fn a_message_reads_as_what_became_of_it() {
    let mut message = hello();
    message.body.reply_to = Some(Seq(3));
    message.body.mentions = [UserId::parse("bob").expect("legal")].into();
    let bob = UserId::parse("bob").expect("legal");
    let reaction = Reaction { text: "+1".into(), change: ChangeNumber(2) };
    let overlay = Overlay {
        text: Some("hello".into()),
        edits: vec![ChangeNumber(1)],
        edited_at: message.at,
        deleted: None,
        reactions: [(bob.clone(), reaction)].into(),
    };
    let change = Change {
        conversation: message.conversation,
        number: ChangeNumber(1),
        by: message.sender.clone(),
        at: message.at,
        after: Seq(7),
        what: What::Edited { seq: Seq(7), text: Some("hello".into()) },
    };
    let detail = MessageDetail {
        entity: Entity { overlay: Some(&overlay), ..entity(&message, Addressee::Receiver("bob")) },
        trail: Some(&[change]),
        reached: None,
    };
    let told: Value = serde_json::from_str(&message_detail(&detail)).expect("JSON");
    let id = message.conversation.to_string();
    assert_eq!((&told["messageText"], &told["edited"]), (&json!("hello"), &json!(true)));
    assert_eq!(told["replyTo"], json!(format!("{id}-3")));
    assert_eq!((told.get("deleted"), told.get("threadId")), (None, None));
    assert_eq!(told["reactions"], json!([{"userId": "bob", "reaction": "+1"}]));
    assert_eq!(told["mentions"], json!(["bob"]));
    let at = "2024-02-29T12:34:56.007Z";
    let trail = json!([{"conversationId": id, "sequence": 7, "canonicalId": format!("{id}-7"),
        "change": 1, "by": "alice", "timestamp": at, "kind": "edited", "messageText": "hello"}]);
    assert_eq!((&told["editedAt"], &told["trail"]), (&json!(at), &trail));
}

#[test]
fn a_wish_names_its_message_in_either_way_and_bad_ones_stand_where_they_stood() {
    let id = hello().conversation;
    let frame = json!({"connection_id": "c", "changes": [
        {"changeId": "a", "conversationId": id.to_string(), "sequence": 7, "kind": "edit",
         "messageText": "hello"},
        {"changeId": "b", "canonicalId": format!("{id}-7"), "kind": "react", "reaction": ""},
        {"changeId": "c", "canonicalId": format!("{id}-7"), "kind": "delete"},
        {"changeId": "d", "canonicalId": format!("{id}-7"), "kind": "burn"},
        {"changeId": "e", "canonicalId": "seven", "kind": "delete"},
        {"canonicalId": format!("{id}-7"), "kind": "delete"},
        7,
    ]});
    let Ok(Inbound::Changes(items)) = parse(&frame.to_string()) else { panic!("changes") };
    let read: Vec<_> = items
        .iter()
        .map(|item| match item {
            Ok(item) => (item.message.seq.0, Some(item.wish.clone()), ""),
            Err(bad) => (0, None, bad.error.field.as_str()),
        })
        .collect();
    let wanted = [
        (7, Some(Wish::Edit("hello".into())), ""),
        (7, Some(Wish::React(String::new())), ""),
        (7, Some(Wish::Delete), ""),
        (0, None, "kind"),
        (0, None, "canonicalId"),
        (0, None, "changeId"),
        (0, None, "changes[6]"),
    ];
    assert_eq!(read, wanted);
    let Err(bad) = &items[3] else { panic!("burn") };
    let mut changes = Changes::new("c");
    changes.not_understood(bad);
    let told: Value = serde_json::from_str(&changes.finish()).expect("JSON");
    assert_eq!(told["changes"][0]["changeId"], "d");
    assert_eq!(told["changes"][0]["error"]["field"], "kind");
}

#[test]
fn whoever_writes_says_where_in_one_of_three_ways() {
    let id = hello().conversation;
    let typing = |fields: Value| parse(&json!({ "typing": fields }).to_string());
    let Ok(Inbound::Typing(one)) = typing(json!({"conversationId": id.to_string(), "on": true}))
    else {
        panic!("typing")
    };
    assert_eq!(one, TypingIn { to: TypingWhere::Conversation(id), on: true });
    assert!(matches!(typing(json!({"receiverId": "bob", "on": false})), Ok(Inbound::Typing(_))));
    assert!(matches!(typing(json!({"groupId": "team", "on": false})), Ok(Inbound::Typing(_))));
    for (bad, field) in [
        (json!({"groupId": "team"}), "on"),
        (json!({"on": true}), "conversationId"),
        (json!({"groupId": "team", "receiverId": "bob", "on": true}), "conversationId"),
        (json!([]), "typing"),
    ] {
        assert_eq!(typing(bad).expect_err("it is bad").field, field);
    }
}

#[test]
fn an_answer_has_every_field_of_the_contract() {
    let message = hello();
    let to = Addressee::Receiver("bob");
    let place = CanonicalId { conversation: message.conversation, seq: message.seq };
    let mut payload = Payload::new("c/1=");
    let counts = Some((2, 1));
    let standing = Standing { delivered: true, read: false, counts };
    payload.stored(Echo::of(&message, to), place, message.order, message.at, standing);
    let problem =
        Problem::of(ProblemCode::Unavailable).after(std::time::Duration::from_millis(250));
    payload.failed(Echo::of(&message, Addressee::Group("team")), &problem);
    assert_eq!(payload.len(), 2);
    let told: Value = serde_json::from_str(&payload.finish()).expect("JSON");
    let id = message.conversation.to_string();
    let wanted = json!({"connection_id": "c/1=", "payload": [
        {"senderId": "alice", "receiverId": "bob", "messageId": "m\"7",
         "timestamp": "2024-02-29T12:34:56.007Z", "receivedServer": true, "delivered": true,
         "read": false, "deliveredCount": 2, "readCount": 1, "conversationId": id, "sequence": 7,
         "canonicalId": format!("{id}-7"), "orderNumber": 3},
        {"senderId": "alice", "groupId": "team", "messageId": "m\"7", "receivedServer": false,
         "delivered": false, "read": false, "error": {"code": "unavailable",
         "detail": "Not available for now", "retryable": true, "retry_after_ms": 250}}
    ]});
    assert_eq!(told, wanted);
}

#[test]
fn recipients_get_the_full_entity() {
    let mut message = hello();
    message.body.attachment_uris = vec!["/v1.0/asset/1".into()];
    message.body.attachment = true;
    let mut payload = Payload::catching_up("c");
    payload.message(&message, None, Addressee::Receiver("bob"), Standing::default());
    let told: Value = serde_json::from_str(&payload.finish()).expect("JSON");
    let id = message.conversation.to_string();
    let entity = json!({
        "senderId": "alice", "receiverId": "bob", "messageId": "m\"7",
        "timestamp": "2024-02-29T12:34:56.007Z", "serverTimestamp": "2024-02-29T12:34:56.007Z",
        "attachment": true, "attachmentURI": ["/v1.0/asset/1"], "messageText": "hi\n\u{1F600}",
        "receivedServer": true, "delivered": false, "read": false, "conversationId": id,
        "sequence": 7, "canonicalId": format!("{id}-7"), "orderNumber": 3
    });
    assert_eq!(told, json!({"connection_id": "c", "messages": [{"payload": [entity]}]}));
}

#[test]
fn the_clients_own_timestamp_is_kept() {
    let mut message = hello();
    message.body.client_timestamp = "9:47PM 12-1-2023".into();
    let detail = MessageDetail {
        entity: entity(&message, Addressee::Group("team")),
        trail: None,
        reached: Some((vec![&message.sender], vec![])),
    };
    let told: Value = serde_json::from_str(&message_detail(&detail)).expect("JSON");
    assert_eq!(told["timestamp"], "9:47PM 12-1-2023");
    assert_eq!(told["serverTimestamp"], "2024-02-29T12:34:56.007Z");
    assert_eq!(told["deliveredTo"], json!(["alice"]));
    assert_eq!(told["readBy"], json!([]));
}

#[test]
fn pages_of_history_say_where_the_next_begins() {
    let nothing = history_page([], Paging::After(None), Seq(0));
    assert_eq!(nothing, r#"{"messages":[],"next_after_id":null}"#);
    let expired = history_page([], Paging::After(None), Seq(9));
    assert_eq!(expired, r#"{"messages":[],"next_after_id":null,"expiredUpTo":9}"#);
    let message = hello();
    let page = [entity(&message, Addressee::Receiver("bob"))];
    let text = history_page(page, Paging::Before(Some(message.canonical_id())), Seq(0));
    let told: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(told["next_before_id"], message.canonical_id().to_string());
    assert_eq!(told["messages"][0]["payload"][0]["sequence"], 7);
    assert_eq!(connected("a\"b", "", false), r#"{"connection_id":"a\"b"}"#);
    let reset = r#"{"connection_id":"c","resume":"r","reset":true}"#;
    assert_eq!(connected("c", "r", true), reset);
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in text(80)) {
        let _ = parse(&text);
    }

    #[test]
    fn any_message_is_rendered_as_json_that_says_the_same(message in message(), to in text(20)) {
        let mut payload = Payload::new("c");
        payload.message(&message, None, Addressee::Receiver(&to), Standing::default());
        payload.confirmed(message.conversation, Seq(1), Seq(0));
        payload.not_confirmed(message.conversation, Seq(9), &Problem::of(ProblemCode::BeyondEnd).expecting(8));
        let told: Value = serde_json::from_str(&payload.finish()).expect("JSON");
        let entity = &told["payload"][0];
        prop_assert_eq!(entity["messageText"].as_str(), Some(message.body.text.as_str()));
        prop_assert_eq!(entity["messageId"].as_str(), Some(message.message_id.as_str()));
        prop_assert_eq!(entity["receiverId"].as_str(), Some(to.as_str()));
        prop_assert_eq!(entity["sequence"].as_u64(), Some(message.seq.0));
        prop_assert_eq!(told["payload"][2]["error"]["expected"].as_u64(), Some(8));
    }
}
