//! What the codecs of the hot path cost: a command into the log and out of it, an outcome, a client's JSON.

use chat::{
    Body, Command, ConversationId, DeviceId, MessageId, Order, Outcome, Place, SendMessage, Seq,
    Timestamp, UserId,
};

fn main() {
    divan::main();
}

fn send() -> (ConversationId, Command) {
    let (alice, bob) = (user("alice"), user("bob"));
    let id = ConversationId::direct(&alice, &bob);
    let body = Body {
        text: "x".repeat(300),
        client_timestamp: "9:47PM 12-1-2023".to_owned(),
        attachment: false,
        ..Body::default()
    };
    let send = SendMessage {
        sender: alice,
        device: DeviceId(7),
        receiver: Some(bob),
        order: Some(Order(1)),
        message_id: MessageId::parse("m1").expect("a good id"),
        body,
    };
    (id, Command::Send(send))
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a good name")
}

#[divan::bench]
fn encode_a_send_command(bencher: divan::Bencher<'_, '_>) {
    let (id, command) = send();
    bencher.bench(|| proto::encode_conversation_command(id, &command));
}

#[divan::bench]
fn decode_a_send_command(bencher: divan::Bencher<'_, '_>) {
    let (id, command) = send();
    let bytes = proto::encode_conversation_command(id, &command);
    bencher.bench(|| proto::decode_command(&bytes).expect("our own bytes"));
}

#[divan::bench]
fn an_outcome_there_and_back(bencher: divan::Bencher<'_, '_>) {
    let place = Place {
        seq: Seq(1),
        at: Timestamp(1_700_000_000_000),
        order: Order(1),
        delivered: Seq(0),
        read: Seq(0),
        ..Place::default()
    };
    let outcome = Outcome::Accepted(place);
    bencher
        .bench(|| proto::decode_outcome(&proto::encode_outcome(&outcome)).expect("our own bytes"));
}

#[divan::bench]
fn parse_a_message_of_the_specification(bencher: divan::Bencher<'_, '_>) {
    let text = format!(
        r#"{{"connection_id":"c","payload":[{{"senderId":"alice","receiverId":"bob","messageId":"m1",
        "timestamp":"9:47PM 12-1-2023","attachment":false,"attachmentURI":"","messageText":"{}"}}]}}"#,
        "x".repeat(300)
    );
    bencher.bench(|| proto::spec_json::parse(&text).expect("the specification's own example"));
}
