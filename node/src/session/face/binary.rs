//! The native face: protobuf frames of `synod/1`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chat::{Change, ChangeNumber, ConversationId, Kind, Message, Overlay, Seq};
use proto::frame::{
    ChangeRequest, ClientFrame, HistoryOf, HistoryRequest, SendRequest, ServerFrame,
    changed_message_bytes, decode_client_frame, deliver_frame, encode_server_frame, message_bytes,
};
use proto::{Addressee, DecodeError, Problem, ProblemCode, frames};

use super::{BATCH_BYTES_MAX, Out, not_too_many};
use crate::clock::Clock;
use crate::history::{Consistency, Cut, Mark, Of, Page, Query};
use crate::presence::Told;
use crate::session::words::{Altered, Ask, Marks, Outgoing, Say, Stored};

/// Frames in, frames out.
pub(in crate::session) struct Binary {
    node: u64,
    clock: Arc<dyn Clock>,
}

impl Binary {
    pub(super) fn new(node: u64, clock: Arc<dyn Clock>) -> Self {
        Self { node, clock }
    }

    pub(super) fn hear(&mut self, frame: Bytes, asks: &mut Vec<Ask>) -> Result<(), Problem> {
        let frame = decode_client_frame(frame)
            .map_err(|error| Problem::new(ProblemCode::BadFrame, error.to_string()))?;
        asks.push(match frame {
            ClientFrame::Hello(hello) => Ask::Hello { token: hello.token, resume: hello.resume },
            ClientFrame::Send(send) => ask_send(send),
            ClientFrame::Confirm(confirm) => ask_confirm(&confirm),
            ClientFrame::Ping(ping) => Ask::Ping { tag: ping.tag },
            ClientFrame::ReadHistory(history) => ask_history(history),
            ClientFrame::ChangeMessage(change) => ask_change(change),
            ClientFrame::ConfirmChanges(confirm) => ask_confirm_changes(&confirm),
            ClientFrame::WatchPresence(watch) => ask_watch(watch),
            ClientFrame::Typing(typing) => match typing_of(&typing) {
                Some(ask) => ask,
                // Nothing waits for an answer to it.
                None => return Ok(()),
            },
        });
        Ok(())
    }

    pub(super) fn utter(&mut self, say: Say, out: &mut Out) {
        let frame = match say {
            Say::Live(delivery) => return out.push(delivery.binary(live_frame)),
            Say::Stored { kind, messages, overlays, catching_up } => {
                return push_messages(&kind, (&messages, &overlays), catching_up, out);
            }
            Say::Status(news) if !news.floors_moved => return,
            Say::Status(news) => ServerFrame::Status(frames::Status {
                conversation: id_bytes(news.conversation),
                delivered: news.floors.delivered.0,
                read: news.floors.read.0,
            }),
            Say::Welcome { connection_id, who, resume, reset } => {
                ServerFrame::Welcome(frames::Welcome {
                    connection_id,
                    user: who.user.as_str().to_owned(),
                    device: who.device.0,
                    node: self.node,
                    at_ms: self.clock.now().0,
                    resume,
                    reset,
                })
            }
            Say::Resume { token, reset } => ServerFrame::Resume(frames::Resume { token, reset }),
            Say::Sent { tag, conversation, message_id, result } => {
                ServerFrame::Sent(frames::Sent {
                    tag,
                    conversation: conversation.map(id_bytes).unwrap_or_default(),
                    message_id,
                    result: Some(sent(result)),
                })
            }
            Say::Changes(changes) => return push_changes(&changes, out),
            Say::Changed { tag, conversation, change_id, result } => {
                changed(tag, conversation, change_id, result)
            }
            Say::ChangesConfirmed { tag, conversation, result } => {
                changes_confirmed(tag, conversation, result)
            }
            Say::Typing(typing) => ServerFrame::Typing(frames::Typing {
                conversation: id_bytes(typing.conversation),
                user: typing.user.as_str().to_owned(),
                on: typing.on,
            }),
            Say::Presence(news) => presence(news),
            Say::NotWatched { tag, problem } => {
                let (seen, problem) = (Vec::new(), Some(problem.into()));
                ServerFrame::Presence(frames::Presence { seen, tag, problem })
            }
            Say::CaughtUp => ServerFrame::CaughtUp(frames::CaughtUp {}),
            Say::Confirmed { tag, conversation, result } => confirmed(tag, conversation, result),
            Say::Page { tag, result } => ServerFrame::HistoryPage(page_frame(tag, result)),
            Say::Failed(problem) => ServerFrame::Problem(problem.into()),
            Say::Pong { tag } => ServerFrame::Pong(frames::Pong { tag }),
            Say::GoAway { addresses, resume } => {
                let resume = resume.unwrap_or_default();
                ServerFrame::GoAway(frames::GoAway { addresses, after_ms: 0, resume })
            }
        };
        out.push(encode_server_frame(frame));
    }
}

fn id_bytes(id: chat::ConversationId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

fn invalid(error: &DecodeError) -> Problem {
    Problem::new(ProblemCode::InvalidRequest, error.to_string()).about(error.field)
}

fn ask_send(send: frames::Send) -> Ask {
    let (tag, message_id) = (send.tag, send.message_id.clone());
    match SendRequest::try_from(send) {
        Ok(request) => {
            Ask::Send(Outgoing { sender: None, within: std::collections::BTreeSet::new(), request })
        }
        Err(error) => {
            let result = Err(invalid(&error));
            Ask::Invalid(Box::new(Say::Sent { tag, conversation: None, message_id, result }))
        }
    }
}

fn ask_confirm(confirm: &frames::Confirm) -> Ask {
    let (tag, seq, read) = (confirm.tag, Seq(confirm.seq), confirm.read);
    match chat::ConversationId::from_bytes(&confirm.conversation) {
        Ok(conversation) => Ask::Confirm { tag, conversation, seq, read },
        Err(error) => {
            let detail = format!("conversation {error}");
            let problem = Problem::new(ProblemCode::InvalidRequest, detail).about("conversation");
            let result = Err(problem);
            Ask::Invalid(Box::new(Say::Confirmed { tag, conversation: None, result }))
        }
    }
}

fn ask_change(change: frames::ChangeMessage) -> Ask {
    let (tag, change_id) = (change.tag, change.change_id.clone());
    match ChangeRequest::try_from(change) {
        Ok(request) => Ask::Change(request),
        Err(error) => {
            let result = Err(invalid(&error));
            Ask::Invalid(Box::new(Say::Changed { tag, conversation: None, change_id, result }))
        }
    }
}

fn ask_confirm_changes(confirm: &frames::ConfirmChanges) -> Ask {
    let (tag, change) = (confirm.tag, ChangeNumber(confirm.change));
    match chat::ConversationId::from_bytes(&confirm.conversation) {
        Ok(conversation) => Ask::ConfirmChanges { tag, conversation, change },
        Err(error) => {
            let detail = format!("conversation {error}");
            let problem = Problem::new(ProblemCode::InvalidRequest, detail).about("conversation");
            let result = Err(problem);
            Ask::Invalid(Box::new(Say::ChangesConfirmed { tag, conversation: None, result }))
        }
    }
}

fn typing_of(typing: &frames::Typing) -> Option<Ask> {
    let conversation = chat::ConversationId::from_bytes(&typing.conversation).ok()?;
    Some(Ask::Typing { conversation, on: typing.on })
}

fn ask_watch(watch: frames::WatchPresence) -> Ask {
    let users = watch.users.iter().map(|name| {
        let wrong = |error| Problem::new(ProblemCode::InvalidRequest, format!("users {error}"));
        chat::UserId::parse(name).map_err(wrong)
    });
    match users.collect::<Result<_, _>>().and_then(not_too_many) {
        Ok(users) => Ask::Watch(users),
        Err(problem) => {
            let problem = problem.about("users");
            Ask::Invalid(Box::new(Say::NotWatched { tag: watch.tag, problem }))
        }
    }
}

fn presence(news: Vec<(chat::UserId, Told)>) -> ServerFrame {
    let seen = news.into_iter().map(|(user, told)| {
        let user = user.as_str().to_owned();
        match told {
            Told::Seen(seen) => frames::Seen {
                user,
                online: seen.online,
                last_seen_ms: seen.last_seen.unwrap_or_default().0,
                problem: String::new(),
            },
            Told::Refused(code) => {
                frames::Seen { user, problem: code.as_str().to_owned(), ..Default::default() }
            }
        }
    });
    ServerFrame::Presence(frames::Presence { seen: seen.collect(), tag: 0, problem: None })
}

fn changed(
    tag: u64,
    conversation: Option<ConversationId>,
    change_id: String,
    result: Result<Altered, Problem>,
) -> ServerFrame {
    let conversation = conversation.map(id_bytes).unwrap_or_default();
    let empty = frames::Changed { tag, conversation, change_id, ..Default::default() };
    ServerFrame::Changed(match result {
        Ok(altered) => frames::Changed {
            number: altered.number.0,
            at_ms: altered.at.0,
            duplicate: altered.duplicate,
            ..empty
        },
        Err(problem) => frames::Changed { problem: Some(problem.into()), ..empty },
    })
}

fn confirmed(
    tag: u64,
    conversation: Option<ConversationId>,
    result: Result<Marks, Problem>,
) -> ServerFrame {
    let (marks, problem) = match result {
        Ok(marks) => (marks, None),
        Err(problem) => (Marks::default(), Some(problem.into())),
    };
    ServerFrame::Confirmed(frames::Confirmed {
        tag,
        conversation: conversation.map(id_bytes).unwrap_or_default(),
        delivered: marks.delivered.0,
        read: marks.read.0,
        problem,
    })
}

fn changes_confirmed(
    tag: u64,
    conversation: Option<ConversationId>,
    result: Result<ChangeNumber, Problem>,
) -> ServerFrame {
    let conversation = conversation.map(id_bytes).unwrap_or_default();
    let empty = frames::ChangesConfirmed { tag, conversation, ..Default::default() };
    ServerFrame::ChangesConfirmed(match result {
        Ok(change) => frames::ChangesConfirmed { change: change.0, ..empty },
        Err(problem) => frames::ChangesConfirmed { problem: Some(problem.into()), ..empty },
    })
}

fn ask_history(history: frames::ReadHistory) -> Ask {
    let tag = history.tag;
    match HistoryRequest::try_from(history) {
        Ok(request) => Ask::ReadHistory { tag, query: query_of(request) },
        Err(error) => Ask::Invalid(Box::new(Say::Page { tag, result: Err(invalid(&error)) })),
    }
}

fn query_of(request: HistoryRequest) -> Query {
    Query {
        of: match request.of {
            HistoryOf::Peer(name) => Of::Name(name),
            HistoryOf::Conversation(id) => Of::Conversation(id),
        },
        cut: match (request.around, request.before) {
            (Some(seq), _) => Cut::Around(Mark::Seq(seq)),
            (None, Some(seq)) => Cut::Before(Mark::Seq(seq)),
            (None, None) => Cut::After(Some(Mark::Seq(request.after))),
        },
        limit: request.limit,
        consistency: match request.consistency {
            frames::Consistency::Linearizable => Consistency::Linearizable,
            frames::Consistency::AtLeast => Consistency::AtLeast(request.at_least),
            frames::Consistency::Local => Consistency::Local,
        },
        bytes_max: Some(BATCH_BYTES_MAX),
    }
}

fn sent(result: Result<Stored, Problem>) -> frames::sent::Result {
    match result {
        Ok(stored) => frames::sent::Result::Stored(frames::Stored {
            seq: stored.seq.0,
            at_ms: stored.at.0,
            duplicate: stored.duplicate,
            order: stored.order.0,
        }),
        Err(problem) => frames::sent::Result::Problem(problem.into()),
    }
}

/// A whole frame for one message that was stored just now.
fn live_frame(message: &Message, kind: &Kind) -> Bytes {
    let message = message_bytes(message, Addressee::of(kind, &message.sender));
    deliver_frame(&[message], false)
}

/// Frames of many changes, each bounded.
fn push_changes(all: &[Arc<Change>], out: &mut Out) {
    let mut changes = Vec::new();
    let mut bytes = 0;
    let frame = |changes| encode_server_frame(ServerFrame::Changes(frames::Changes { changes }));
    for change in all.iter().map(|change| frames::Change::from(&**change)) {
        bytes += prost::Message::encoded_len(&change);
        changes.push(change);
        if bytes > BATCH_BYTES_MAX {
            out.push(frame(std::mem::take(&mut changes)));
            bytes = 0;
        }
    }
    if !changes.is_empty() {
        out.push(frame(changes));
    }
}

/// Frames of many messages, each frame bounded.
fn push_messages(
    kind: &Kind,
    (messages, overlays): (&[Message], &BTreeMap<Seq, Overlay>),
    catching_up: bool,
    out: &mut Out,
) {
    let mut batch = Vec::new();
    let mut bytes = 0;
    for message in messages {
        let to = Addressee::of(kind, &message.sender);
        let message = match overlays.get(&message.seq) {
            Some(overlay) => changed_message_bytes(message, to, overlay),
            None => message_bytes(message, to),
        };
        if bytes + message.len() > BATCH_BYTES_MAX && !batch.is_empty() {
            out.push(deliver_frame(&batch, catching_up));
            batch.clear();
            bytes = 0;
        }
        bytes += message.len();
        batch.push(message);
    }
    if !batch.is_empty() {
        out.push(deliver_frame(&batch, catching_up));
    }
}

fn page_frame(tag: u64, result: Result<Page, Problem>) -> frames::HistoryPage {
    let page = match result {
        Ok(page) => page,
        Err(problem) => {
            let problem = Some(problem.into());
            return frames::HistoryPage { tag, problem, ..Default::default() };
        }
    };
    let of = |message: &Message| {
        let kind = page.kind.as_ref().expect("a conversation with messages has a kind");
        let overlay = page.overlays.get(&message.seq);
        frames::Message::of(message, Addressee::of(kind, &message.sender), overlay)
    };
    frames::HistoryPage {
        tag,
        conversation: id_bytes(page.conversation),
        messages: page.messages.iter().map(of).collect(),
        last_seq: page.last_seq.0,
        problem: None,
        expired: page.expired.0,
    }
}

#[cfg(test)]
mod tests {
    use chat::{GroupId, UserId};

    use super::*;
    use crate::clock::ManualClock;

    fn hear(frame: ClientFrame) -> Ask {
        let mut face = Binary::new(1, Arc::new(ManualClock::at(7)));
        let mut asks = Vec::new();
        let bytes = proto::frame::encode_client_frame(frame);
        face.hear(bytes, &mut asks).expect("a legal frame");
        asks.pop().expect("one frame is one ask")
    }

    #[test]
    fn a_send_without_an_address_is_answered_under_its_tag() {
        let send = frames::Send { tag: 9, message_id: "m".to_owned(), ..Default::default() };
        let Ask::Invalid(say) = hear(ClientFrame::Send(send)) else { panic!("it is not valid") };
        let Say::Sent { tag: 9, result: Err(problem), .. } = *say else { panic!("{say:?}") };
        assert_eq!(problem.code, ProblemCode::InvalidRequest);
        assert_eq!(problem.field.as_deref(), Some("to"));
    }

    #[test]
    fn bytes_that_are_no_frame_end_the_link() {
        let mut face = Binary::new(1, Arc::new(ManualClock::at(7)));
        let problem = face.hear(Bytes::from_static(b"\xff\xff\xff"), &mut Vec::new());
        assert_eq!(problem.expect_err("garbage").code, ProblemCode::BadFrame);
    }

    #[test]
    fn a_page_before_is_asked_for_by_sequence() {
        let history = frames::ReadHistory {
            of: Some(frames::read_history::Of::Peer("bob".to_owned())),
            before: 10,
            limit: 5,
            ..Default::default()
        };
        let Ask::ReadHistory { query, .. } = hear(ClientFrame::ReadHistory(history)) else {
            panic!("a legal question")
        };
        assert_eq!(query.of, Of::Name(UserId::parse("bob").expect("legal")));
        assert_eq!(query.cut, Cut::Before(Mark::Seq(Seq(10))));
        assert_eq!(query.consistency, Consistency::Linearizable);
    }

    #[test]
    fn only_moved_floors_are_told() {
        let group = GroupId::parse("team").expect("legal");
        let news = |floors_moved| crate::session::words::News {
            user: UserId::parse("alice").expect("legal"),
            conversation: chat::ConversationId::group(&group),
            kind: Arc::new(Kind::Group {
                group: group.clone(),
                name: String::new(),
                history: chat::History::All,
            }),
            floors: Marks::default(),
            floors_moved,
            touched: (Seq(0), Seq(1)),
        };
        let mut face = Binary::new(1, Arc::new(ManualClock::at(7)));
        let mut out = Out::default();
        face.utter(Say::Status(news(false)), &mut out);
        assert!(out.frames.is_empty());
        face.utter(Say::Status(news(true)), &mut out);
        assert_eq!(out.frames.len(), 1);
    }
}
