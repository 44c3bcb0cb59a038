//! What a decision costs: one message into a conversation that exists. Station 8, without tables, wire or log.

use chat::{
    Body, Command, Conversation, ConversationId, DeviceId, Known, MessageId, Order, SendMessage,
    Timestamp, UserId, apply,
};

fn main() {
    divan::main();
}

fn send(order: u64) -> Command {
    let user = |name: &str| UserId::parse(name).expect("a good name");
    Command::Send(SendMessage {
        sender: user("alice"),
        device: DeviceId(7),
        receiver: Some(user("bob")),
        order: Some(Order(order)),
        message_id: MessageId::parse(&format!("m{order}")).expect("a good id"),
        body: Body { text: "x".repeat(300), ..Body::default() },
    })
}

#[divan::bench]
fn a_message_of_300_bytes(bencher: divan::Bencher<'_, '_>) {
    let alice = UserId::parse("alice").expect("a good name");
    let id = ConversationId::direct(&alice, &UserId::parse("bob").expect("a good name"));
    let known = Known::default();
    let mut conversation: Option<Conversation> = None;
    let mut order = 0;
    bencher
        .with_inputs(|| {
            order += 1;
            send(order)
        })
        .bench_local_refs(|command| {
            apply(&mut conversation, id, Timestamp(1_700_000_000_000), command, &known)
        });
}
