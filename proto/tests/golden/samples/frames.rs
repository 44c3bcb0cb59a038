//! Frames of the client plane.

use bytes::Bytes;
use chat::Order;
use proto::{frame, frames};

use super::{Sample, body, change, changes, direct, message, overlay, referring, sample, user};

pub(super) fn samples() -> Vec<Sample> {
    use frame::ClientFrame;
    let conversation = Bytes::copy_from_slice(direct().as_bytes());
    let to = frame::SendTo::Receiver(user("bob"));
    let send = frame::SendRequest {
        tag: 5,
        to,
        order: Some(Order(17)),
        message_id: message().message_id,
        body: body(),
    };
    let client = [
        ("hello", {
            let hello = frames::Hello { token: "t".into(), version: frame::VERSION, resume: None };
            ClientFrame::Hello(hello)
        }),
        ("hello_resuming", {
            let resume = Some("r".into());
            ClientFrame::Hello(frames::Hello { token: "t".into(), version: frame::VERSION, resume })
        }),
        ("watch_presence", {
            let users = vec!["bob".into(), "carol".into()];
            ClientFrame::WatchPresence(frames::WatchPresence { tag: 9, users })
        }),
        ("send", ClientFrame::Send(send.into())),
        (
            "confirm",
            ClientFrame::Confirm(frames::Confirm {
                tag: 6,
                conversation: conversation.clone(),
                seq: 300,
                read: true,
            }),
        ),
        ("ping", ClientFrame::Ping(frames::Ping { tag: 7 })),
        (
            "read_history",
            ClientFrame::ReadHistory(frames::ReadHistory {
                tag: 8,
                of: Some(frames::read_history::Of::Conversation(conversation.clone())),
                after: 250,
                before: 0,
                limit: 50,
                consistency: frames::Consistency::AtLeast.into(),
                at_least: 300,
                around: 0,
            }),
        ),
        ("read_history_around", {
            let of = Some(frames::read_history::Of::Peer("bob".into()));
            let around = 300;
            ClientFrame::ReadHistory(frames::ReadHistory { of, around, ..Default::default() })
        }),
        ("send_referring", {
            let body = Some(referring().into());
            ClientFrame::Send(frames::Send { tag: 5, body, ..Default::default() })
        }),
        ("change_edit", wish(frames::change_message::Wish::Edit("Hello!".into()))),
        ("change_delete", wish(frames::change_message::Wish::Delete(frames::Nothing {}))),
        ("change_react", wish(frames::change_message::Wish::React("+1".into()))),
        (
            "confirm_changes",
            ClientFrame::ConfirmChanges(frames::ConfirmChanges {
                tag: 9,
                conversation: conversation.clone(),
                change: 9,
            }),
        ),
        (
            "typing",
            ClientFrame::Typing(frames::Typing { conversation, user: String::new(), on: true }),
        ),
    ];
    let client = client.into_iter().map(|(name, value)| {
        let bytes = frame::encode_client_frame(value.clone());
        sample(name, value, bytes, |bytes| {
            frame::decode_client_frame(Bytes::copy_from_slice(bytes))
        })
    });
    let heard = |(name, value): (&'static str, frame::ServerFrame)| {
        let bytes = frame::encode_server_frame(value.clone());
        sample(name, Some(value), bytes, |bytes| {
            frame::decode_server_frame(Bytes::copy_from_slice(bytes))
        })
    };
    let server = server_frames().into_iter().map(heard);
    let changed = of_changes().into_iter().map(heard);
    client.chain(server).chain(changed).collect()
}

fn wish(wish: frames::change_message::Wish) -> frame::ClientFrame {
    frame::ClientFrame::ChangeMessage(frames::ChangeMessage {
        tag: 8,
        conversation: Bytes::copy_from_slice(direct().as_bytes()),
        seq: 300,
        change_id: "c1".into(),
        wish: Some(wish),
    })
}

/// What is said of changes.
fn of_changes() -> Vec<(&'static str, frame::ServerFrame)> {
    use frame::ServerFrame;
    let conversation = Bytes::copy_from_slice(direct().as_bytes());
    // The line of this frame was written before there was this kind.
    let old = changes().into_iter().filter(|(name, _)| *name != "retention_set");
    let all = old.map(|(_, what)| frames::Change::from(&change(what)));
    let changed =
        frames::Message::of(&message(), proto::Addressee::Receiver("bob"), Some(&overlay()));
    vec![
        (
            "changed",
            ServerFrame::Changed(frames::Changed {
                tag: 8,
                conversation: conversation.clone(),
                change_id: "c1".into(),
                number: 9,
                at_ms: 1_700_000_000_000,
                duplicate: true,
                problem: None,
            }),
        ),
        ("changes", ServerFrame::Changes(frames::Changes { changes: all.collect() })),
        (
            "changes_confirmed",
            ServerFrame::ChangesConfirmed(frames::ChangesConfirmed {
                tag: 9,
                conversation: conversation.clone(),
                change: 9,
                problem: None,
            }),
        ),
        (
            "typing_now",
            ServerFrame::Typing(frames::Typing { conversation, user: "bob".into(), on: true }),
        ),
        (
            "deliver_changed",
            ServerFrame::Deliver(frames::Deliver { messages: vec![changed], catching_up: false }),
        ),
    ]
}

fn server_frames() -> Vec<(&'static str, frame::ServerFrame)> {
    use frame::ServerFrame;
    let conversation = Bytes::copy_from_slice(direct().as_bytes());
    let message = frames::Message::of(&message(), proto::Addressee::Receiver("bob"), None);
    let problem = frames::Problem {
        code: "out_of_order".into(),
        detail: "the next order number is 18".into(),
        retryable: false,
        retry_after_ms: 250,
        unknown: true,
        expected: 18,
    };
    let sent = |result| frames::Sent {
        tag: 5,
        conversation: conversation.clone(),
        message_id: "Pqwnkilsx=".into(),
        result: Some(result),
    };
    let stored = frames::Stored { seq: 300, at_ms: 1_700_000_000_000, duplicate: true, order: 17 };
    vec![
        (
            "welcome",
            ServerFrame::Welcome(frames::Welcome {
                connection_id: "c".into(),
                user: "alice".into(),
                device: 9,
                node: 2,
                at_ms: 1_700_000_000_000,
                ..Default::default()
            }),
        ),
        ("sent_stored", ServerFrame::Sent(sent(frames::sent::Result::Stored(stored)))),
        ("sent_problem", ServerFrame::Sent(sent(frames::sent::Result::Problem(problem.clone())))),
        (
            "deliver",
            ServerFrame::Deliver(frames::Deliver {
                messages: vec![message.clone()],
                catching_up: true,
            }),
        ),
        ("caught_up", ServerFrame::CaughtUp(frames::CaughtUp {})),
        (
            "status",
            ServerFrame::Status(frames::Status {
                conversation: conversation.clone(),
                delivered: 300,
                read: 200,
            }),
        ),
        (
            "confirmed",
            ServerFrame::Confirmed(frames::Confirmed {
                tag: 6,
                conversation: conversation.clone(),
                delivered: 300,
                read: 200,
                problem: None,
            }),
        ),
        (
            "history_page",
            ServerFrame::HistoryPage(frames::HistoryPage {
                tag: 8,
                conversation,
                messages: vec![message],
                last_seq: 300,
                problem: Some(problem.clone()),
                ..Default::default()
            }),
        ),
        ("problem", ServerFrame::Problem(problem)),
        ("resume", ServerFrame::Resume(frames::Resume { token: "r".into(), reset: true })),
        (
            "presence",
            ServerFrame::Presence(frames::Presence {
                tag: 9,
                seen: vec![frames::Seen {
                    user: "bob".into(),
                    online: true,
                    last_seen_ms: 1_700_000_000_000,
                    problem: "not_allowed".into(),
                }],
                problem: None,
            }),
        ),
        ("pong", ServerFrame::Pong(frames::Pong { tag: 7 })),
        (
            "go_away",
            ServerFrame::GoAway(frames::GoAway {
                addresses: vec!["127.0.0.1:7410".into()],
                after_ms: 100,
                ..Default::default()
            }),
        ),
    ]
}
