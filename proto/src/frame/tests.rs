//! Frames survive their bytes, requests name the field that is wrong, and a delivery put together from shared bytes is the
//! delivery that the generated type writes.

use proptest::prelude::*;

use super::*;
use crate::Addressee;
use crate::arbitrary::{body, conversation, garbage, group, message, message_id, overlay, user};

fn to() -> impl Strategy<Value = SendTo> {
    prop_oneof![
        user().prop_map(SendTo::Receiver),
        group().prop_map(SendTo::Group),
        conversation().prop_map(SendTo::Conversation),
    ]
}

proptest! {
    #[test]
    fn sends_survive_their_frame(
        tag in any::<u64>(), to in to(), order in 0..3_u64, message_id in message_id(), body in body(),
    ) {
        let order = (order != 0).then_some(chat::Order(order));
        let send = SendRequest { tag, to, order, message_id, body };
        let bytes = encode_client_frame(ClientFrame::Send(send.clone().into()));
        let Ok(ClientFrame::Send(back)) = decode_client_frame(bytes) else {
            return Err(TestCaseError::fail("it was a send"));
        };
        prop_assert_eq!(SendRequest::try_from(back), Ok(send));
    }

    #[test]
    fn a_changed_message_still_tells_what_the_chain_covers(
        message in message(), overlay in overlay(), to in user(),
    ) {
        let to = Addressee::Receiver(to.as_str());
        let bytes = changed_message_bytes(&message, to, &overlay);
        let told = <frames::Message as prost::Message>::decode(bytes).expect("just written");
        let read = chat_message(told).expect("all is there");
        let text = overlay.text.as_ref().unwrap_or(&message.body.text);
        prop_assert_eq!(&read.body.text, text);
        prop_assert_eq!(read.digest(), message.digest());
    }

    #[test]
    fn a_delivery_of_shared_bytes_is_what_the_generated_type_writes(
        messages in proptest::collection::vec((message(), user(), any::<bool>()), 0..4),
        catching_up in any::<bool>(),
    ) {
        let to = |name: &'_ chat::UserId, is_group: bool| -> (String, bool) {
            (name.as_str().to_owned(), is_group)
        };
        // What lies over a message is told apart: see the test below.
        let plain = |message| chat::Message { erased: None, ..message };
        let messages: Vec<_> =
            messages.into_iter().map(|(m, u, g)| (plain(m), to(&u, g))).collect();
        fn addressee((name, is_group): &(String, bool)) -> Addressee<'_> {
            if *is_group { Addressee::Group(name) } else { Addressee::Receiver(name) }
        }
        let shared: Vec<Bytes> =
            messages.iter().map(|(m, to)| message_bytes(m, addressee(to))).collect();
        let frame = deliver_frame(&shared, catching_up);
        let deliver = frames::Deliver {
            messages: messages.iter().map(|(m, to)| frames::Message::of(m, addressee(to), None)).collect(),
            catching_up,
        };
        prop_assert_eq!(&frame, &encode_server_frame(ServerFrame::Deliver(deliver)));
        let Ok(Some(ServerFrame::Deliver(back))) = decode_server_frame(frame) else {
            return Err(TestCaseError::fail("it was a delivery"));
        };
        for (back, (message, _)) in back.messages.into_iter().zip(messages) {
            prop_assert_eq!(chat_message(back), Ok(message));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in garbage()) {
        if let Ok(ClientFrame::Send(send)) = decode_client_frame(bytes.clone().into()) {
            let _ = SendRequest::try_from(send);
        }
        if let Ok(Some(ServerFrame::Deliver(deliver))) = decode_server_frame(bytes.into()) {
            deliver.messages.into_iter().for_each(|message| drop(chat_message(message)));
        }
    }
}

#[test]
fn a_send_names_what_is_wrong_with_it() {
    use frames::send::To;
    let field = |send: frames::Send| SendRequest::try_from(send).expect_err("not whole").field;
    let good = frames::Send {
        tag: 1,
        to: Some(To::Receiver("bob".into())),
        order: 1,
        message_id: "m1".into(),
        body: Some(Default::default()),
    };
    assert!(SendRequest::try_from(good.clone()).is_ok());
    assert_eq!(field(frames::Send { to: None, ..good.clone() }), "to");
    assert_eq!(field(frames::Send { to: Some(To::Group("..".into())), ..good.clone() }), "group");
    assert_eq!(field(frames::Send { message_id: "x".repeat(129), ..good.clone() }), "message_id");
    assert_eq!(field(frames::Send { body: None, ..good }), "body");
}

#[test]
fn history_is_read_in_one_direction_at_a_time() {
    use frames::read_history::Of;
    let both = frames::ReadHistory {
        of: Some(Of::Peer("bob".into())),
        after: 1,
        before: 9,
        ..Default::default()
    };
    let error = HistoryRequest::try_from(both.clone()).expect_err("both directions");
    assert_eq!(error.field, "before");
    let one = frames::ReadHistory { after: 0, ..both };
    let request = HistoryRequest::try_from(one.clone()).expect("one direction");
    assert_eq!(request.before, Some(chat::Seq(9)));
    assert_eq!(frames::ReadHistory::from(request), one);
}

#[test]
fn an_unknown_client_frame_is_refused_and_an_unknown_server_frame_passed_over() {
    let unknown = Bytes::from_static(&[14 << 3 | 2, 0]);
    assert!(decode_client_frame(unknown.clone()).is_err());
    assert_eq!(decode_server_frame(unknown), Ok(None));
}
