//! Links end to end over memory, binary face: driver, core, fan-out and a cluster of one value.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use chat::{ConversationId, DeviceId, Seq, UserCommand};
use proto::frame::{ClientFrame, ServerFrame, decode_server_frame, encode_client_frame};
use proto::frames;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use transport::{Encoding, LinkError, LinkReader, LinkWriter, memory_link};

use super::leaving::Leaving;
use super::*;
use crate::fanout::HINTS_MAX;
use crate::gateway::fake::{Fake, Trouble, user, world};
use crate::gateway::tokens::Identity;

mod membership;
mod resume;

/// Virtual time passes at once when nothing else can happen, so this is patience and not a delay.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client's end of a link.
pub(super) struct Client {
    pub(super) reader: LinkReader,
    pub(super) writer: LinkWriter,
    pub(super) session: JoinHandle<()>,
}

pub(super) fn token(parts: &Parts, who: &Identity) -> String {
    parts.tokens.issue(parts.clock.now(), who).expect("there is a key").token
}

/// A link to a node with `parts`; its token is in the header if there is one.
pub(super) fn link(
    parts: &Arc<Parts>,
    encoding: Encoding,
    bearer: Option<String>,
    stop: &CancellationToken,
) -> Client {
    link_that_leaves(parts, encoding, bearer, (stop, tokio::sync::watch::channel(None).1))
}

/// The same, and what tells it to go.
fn link_that_leaves(
    parts: &Arc<Parts>,
    encoding: Encoding,
    bearer: Option<String>,
    (stop, leaving): (&CancellationToken, Leaving),
) -> Client {
    let (mut node, client) = memory_link();
    node.encoding = encoding;
    node.bearer = bearer;
    let elsewhere: Elsewhere = Arc::new(|| vec!["127.0.0.1:7410".to_owned()]);
    let sessions = Sessions::new(Arc::clone(parts), elsewhere, leaving, stop.clone());
    let session = tokio::spawn((sessions.on_link())(node));
    Client { reader: client.reader, writer: client.writer, session }
}

impl Client {
    pub(super) async fn frame(&mut self) -> Bytes {
        let frame = timeout(PATIENCE, self.reader.next()).await.expect("a frame in time");
        frame.expect("the link lives").expect("the link is open")
    }

    pub(super) async fn write(&mut self, frame: Bytes) {
        self.writer.send(&mut VecDeque::from([frame])).await.expect("the link lives");
    }

    /// The code that the node closed with.
    pub(super) async fn closed(&mut self) -> u64 {
        loop {
            match timeout(PATIENCE, self.reader.next()).await.expect("an end in time") {
                Ok(Some(_)) => {}
                Ok(None) => return 1000,
                Err(LinkError::Closed { code }) => return code,
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn next(&mut self) -> ServerFrame {
        let frame = self.frame().await;
        decode_server_frame(frame).expect("a legal frame").expect("a known frame")
    }

    async fn ask(&mut self, frame: ClientFrame) {
        self.write(encode_client_frame(frame)).await;
    }

    async fn send(&mut self, tag: u64, to: &str, id: &str) {
        let body = frames::MessageBody { text: id.to_owned(), ..Default::default() };
        let to = Some(frames::send::To::Receiver(to.to_owned()));
        let message_id = id.to_owned();
        let send = frames::Send { tag, to, order: 0, message_id, body: Some(body) };
        self.ask(ClientFrame::Send(send)).await;
    }

    async fn sent(&mut self, tag: u64) -> frames::sent::Result {
        loop {
            match self.next().await {
                ServerFrame::Sent(sent) => {
                    assert_eq!(sent.tag, tag);
                    return sent.result.expect("a result");
                }
                ServerFrame::Status(_) => {}
                other => panic!("expected an answer, got {other:?}"),
            }
        }
    }

    async fn stored(&mut self, tag: u64) -> frames::Stored {
        match self.sent(tag).await {
            frames::sent::Result::Stored(stored) => stored,
            frames::sent::Result::Problem(problem) => panic!("{problem:?}"),
        }
    }

    /// Takes messages until there are `count`, live or from the log.
    async fn messages(&mut self, count: usize) -> Vec<frames::Message> {
        let mut messages = Vec::new();
        while messages.len() < count {
            match self.next().await {
                ServerFrame::Deliver(deliver) => messages.extend(deliver.messages),
                ServerFrame::Status(_) | ServerFrame::CaughtUp(_) | ServerFrame::Sent(_) => {}
                other => panic!("expected messages, got {other:?}"),
            }
        }
        assert_eq!(messages.len(), count);
        messages
    }

    async fn texts(&mut self, count: usize) -> Vec<String> {
        let messages = self.messages(count).await;
        messages.into_iter().map(|message| message.message_id).collect()
    }

    async fn confirm(
        &mut self,
        tag: u64,
        id: ConversationId,
        seq: u64,
        read: bool,
    ) -> frames::Confirmed {
        let conversation = Bytes::copy_from_slice(id.as_bytes());
        self.ask(ClientFrame::Confirm(frames::Confirm { tag, conversation, seq, read })).await;
        loop {
            match self.next().await {
                ServerFrame::Confirmed(confirmed) => {
                    assert_eq!(confirmed.tag, tag);
                    return confirmed;
                }
                ServerFrame::Status(_) => {}
                other => panic!("expected a confirmation, got {other:?}"),
            }
        }
    }

    /// Asks for a sign of life and takes everything that comes before it.
    async fn until_pong(&mut self) -> Vec<ServerFrame> {
        self.ask(ClientFrame::Ping(frames::Ping { tag: 77 })).await;
        let mut before = Vec::new();
        loop {
            match self.next().await {
                ServerFrame::Pong(pong) if pong.tag == 77 => return before,
                other => before.push(other),
            }
        }
    }
}

async fn connect(parts: &Arc<Parts>, who: &Identity) -> Client {
    let bearer = Some(token(parts, who));
    let mut client = link(parts, Encoding::Binary, bearer, &CancellationToken::new());
    match client.next().await {
        ServerFrame::Welcome(welcome) => assert_eq!(welcome.user, who.user.as_str()),
        other => panic!("expected a welcome, got {other:?}"),
    }
    client
}

/// Connects and takes everything up to the end of the catch-up.
async fn caught_up(parts: &Arc<Parts>, who: &Identity) -> (Client, Vec<String>) {
    let mut client = connect(parts, who).await;
    let mut texts = Vec::new();
    loop {
        match client.next().await {
            ServerFrame::Deliver(deliver) => {
                assert!(deliver.catching_up);
                texts.extend(deliver.messages.into_iter().map(|message| message.message_id));
            }
            ServerFrame::CaughtUp(_) => return (client, texts),
            other => panic!("unexpected {other:?}"),
        }
    }
}

fn people() -> (Arc<Fake>, Arc<Parts>, Identity, Identity) {
    let (fake, parts) = world();
    let (alice, bob) = (fake.join("alice", 1), fake.join("bob", 2));
    (fake, parts, alice, bob)
}

fn direct() -> ConversationId {
    ConversationId::direct(&user("alice"), &user("bob"))
}

#[tokio::test(start_paused = true)]
async fn a_message_is_answered_delivered_and_its_status_told() {
    let (_fake, parts, alice, bob) = people();
    let (mut sender, _) = caught_up(&parts, &alice).await;
    let (mut receiver, _) = caught_up(&parts, &bob).await;
    sender.send(5, "bob", "hello").await;
    assert_eq!(sender.stored(5).await.seq, 1);
    let message = receiver.messages(1).await.remove(0);
    assert_eq!(
        (message.sender.as_str(), message.receiver.as_str(), message.seq),
        ("alice", "bob", 1)
    );
    let confirmed = receiver.confirm(9, direct(), 1, true).await;
    assert_eq!((confirmed.delivered, confirmed.read, confirmed.problem), (1, 1, None));
    match sender.next().await {
        ServerFrame::Status(status) => assert_eq!((status.delivered, status.read), (1, 1)),
        other => panic!("expected a status, got {other:?}"),
    }
    assert_eq!(sender.until_pong().await, [], "a sender does not get its own message back");
}

#[tokio::test(start_paused = true)]
async fn a_resumed_session_sees_no_gap_and_no_repeat() {
    let (fake, parts, alice, bob) = people();
    let (mut first, _) = caught_up(&parts, &bob).await;
    for number in 1..=3 {
        fake.say(&alice, "bob", &format!("m{number}"));
    }
    assert_eq!(first.texts(3).await, ["m1", "m2", "m3"]);
    first.confirm(1, direct(), 2, false).await;
    drop(first);
    for number in 4..=200 {
        fake.say(&alice, "bob", &format!("m{number}"));
    }
    let (mut second, missed) = caught_up(&parts, &bob).await;
    let expected: Vec<String> = (3..=200).map(|number| format!("m{number}")).collect();
    assert_eq!(missed, expected);
    fake.say(&alice, "bob", "m201");
    assert_eq!(second.texts(1).await, ["m201"]);
    assert_eq!(second.until_pong().await, []);
}

#[tokio::test(start_paused = true)]
async fn hints_that_were_lost_are_made_good_from_the_log() {
    let (fake, parts, alice, bob) = people();
    let (mut receiver, _) = caught_up(&parts, &bob).await;
    fake.mute.store(true, Ordering::Relaxed);
    fake.say(&alice, "bob", "unheard");
    fake.mute.store(false, Ordering::Relaxed);
    fake.say(&alice, "bob", "heard");
    assert_eq!(receiver.texts(2).await, ["unheard", "heard"]);

    // More at once than a mailbox holds: the session task has no turn in between.
    let many = HINTS_MAX + 200;
    let expected: Vec<String> = (0..many).map(|number| format!("n{number}")).collect();
    for text in &expected {
        fake.say(&alice, "bob", text);
    }
    assert_eq!(receiver.texts(many).await, expected);
    assert_eq!(receiver.until_pong().await, []);
}

#[tokio::test(start_paused = true)]
async fn two_links_of_a_device_are_both_live_and_share_its_cursor() {
    let (fake, parts, alice, bob) = people();
    let (mut one, _) = caught_up(&parts, &bob).await;
    let (mut other, _) = caught_up(&parts, &bob).await;
    fake.say(&alice, "bob", "to both");
    assert_eq!(one.texts(1).await, ["to both"]);
    assert_eq!(other.texts(1).await, ["to both"]);
    one.send(1, "alice", "from one").await;
    one.stored(1).await;
    assert_eq!(other.texts(1).await, ["from one"]);
    assert_eq!(one.until_pong().await, []);
    one.confirm(2, direct(), 2, true).await;
    let (_third, missed) = caught_up(&parts, &bob).await;
    assert_eq!(missed, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_new_device_begins_at_the_end_and_gets_new_conversations_whole() {
    let (fake, parts, alice, bob) = people();
    fake.say(&alice, "bob", "before");
    let phone = Identity { user: user("bob"), device: DeviceId(8) };
    let open = UserCommand::OpenSession {
        device: phone.device,
        name: String::new(),
        refresh: chat::Digest([0; 32]),
        starts: [(direct(), Seq(1))].into(),
    };
    fake.apply_user(&bob.user, &open);
    let (mut link, missed) = caught_up(&parts, &phone).await;
    assert_eq!(missed, Vec::<String>::new());
    fake.say(&alice, "bob", "after");
    assert_eq!(link.texts(1).await, ["after"]);
    let carol = fake.join("carol", 3);
    drop(link);
    fake.say(&carol, "bob", "c1");
    fake.say(&carol, "bob", "c2");
    let (mut link, mut missed) = caught_up(&parts, &phone).await;
    missed.sort();
    assert_eq!(missed, ["after", "c1", "c2"]);
    let dave = fake.join("dave", 4);
    fake.say(&dave, "bob", "d1");
    assert_eq!(link.texts(1).await, ["d1"]);
}

#[tokio::test(start_paused = true)]
async fn own_messages_of_another_device_are_delivered() {
    let (fake, parts, alice, _bob) = people();
    let phone = Identity { user: user("alice"), device: DeviceId(8) };
    fake.device(&phone);
    let (mut laptop, _) = caught_up(&parts, &alice).await;
    let (mut other, _) = caught_up(&parts, &phone).await;
    laptop.send(1, "bob", "hello").await;
    laptop.stored(1).await;
    assert_eq!(other.texts(1).await, ["hello"]);
}

#[tokio::test(start_paused = true)]
async fn pipelined_messages_keep_their_order_and_each_has_one_answer() {
    let (_fake, parts, alice, bob) = people();
    let (mut sender, _) = caught_up(&parts, &alice).await;
    let (mut receiver, _) = caught_up(&parts, &bob).await;
    let expected: Vec<String> = (1..=40).map(|number| format!("m{number}")).collect();
    for (tag, text) in (1..).zip(&expected) {
        sender.send(tag, "bob", text).await;
    }
    let mut seqs = Vec::new();
    while seqs.len() < 40 {
        let ServerFrame::Sent(sent) = sender.next().await else { panic!("expected answers only") };
        match sent.result.expect("a result") {
            frames::sent::Result::Stored(stored) => seqs.push((sent.tag, stored.seq)),
            frames::sent::Result::Problem(problem) => panic!("{problem:?}"),
        }
    }
    seqs.sort_unstable();
    assert!(seqs.iter().all(|(tag, seq)| tag == seq), "{seqs:?}");
    assert_eq!(receiver.texts(40).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_told_as_unknown_and_the_repetition_finds_it() {
    let (fake, parts, alice, _bob) = people();
    let (mut sender, _) = caught_up(&parts, &alice).await;
    fake.troubles.lock().push_back(Trouble::AnswerLost);
    sender.send(1, "bob", "hello").await;
    let frames::sent::Result::Problem(problem) = sender.sent(1).await else {
        panic!("it was lost")
    };
    assert!(problem.unknown && problem.retryable, "{problem:?}");
    sender.send(2, "bob", "hello").await;
    let stored = sender.stored(2).await;
    assert_eq!((stored.seq, stored.duplicate), (1, true));
    assert_eq!(sender.until_pong().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_message_to_nobody_is_refused_and_the_next_one_is_not() {
    let (_fake, parts, alice, _bob) = people();
    let (mut sender, _) = caught_up(&parts, &alice).await;
    sender.send(1, "nobody", "x").await;
    let frames::sent::Result::Problem(problem) = sender.sent(1).await else {
        panic!("nobody is there")
    };
    assert_eq!((problem.code.as_str(), problem.unknown), ("no_such_user", false));
    sender.send(2, "bob", "y").await;
    assert_eq!(sender.stored(2).await.seq, 1);
}

#[tokio::test(start_paused = true)]
async fn an_ended_session_closes_its_live_links() {
    let (fake, parts, alice, _bob) = people();
    let (mut client, _) = caught_up(&parts, &alice).await;
    fake.apply_user(&alice.user, &UserCommand::EndSession { device: alice.device });
    assert_eq!(client.closed().await, 4401);
    client.session.await.expect("the driver ended");
    assert!(!parts.directory.is_online(&alice.user));
    let bearer = Some(token(&parts, &alice));
    let mut again = link(&parts, Encoding::Binary, bearer, &CancellationToken::new());
    assert_eq!(again.closed().await, 4401);
}

#[tokio::test(start_paused = true)]
async fn a_token_may_come_in_the_first_frame_and_only_there() {
    let (_fake, parts, alice, _bob) = people();
    let stop = CancellationToken::new();
    let mut client = link(&parts, Encoding::Binary, None, &stop);
    let hello = frames::Hello { token: token(&parts, &alice), version: 1, resume: None };
    client.ask(ClientFrame::Hello(hello)).await;
    assert!(matches!(client.next().await, ServerFrame::Welcome(_)));

    let mut silent = link(&parts, Encoding::Binary, None, &stop);
    assert_eq!(silent.closed().await, 4401);
    let mut hasty = link(&parts, Encoding::Binary, None, &stop);
    hasty.send(1, "bob", "x").await;
    assert_eq!(hasty.closed().await, 4401);
    let mut garbage = link(&parts, Encoding::Binary, None, &stop);
    garbage.write(Bytes::from_static(b"\xff\xff")).await;
    assert_eq!(garbage.closed().await, 1002);
}

#[tokio::test(start_paused = true)]
async fn history_is_read_on_the_link() {
    let (fake, parts, alice, _bob) = people();
    for number in 1..=5 {
        fake.say(&alice, "bob", &format!("m{number}"));
    }
    let mut client = connect(&parts, &alice).await;
    let of = Some(frames::read_history::Of::Peer("bob".to_owned()));
    let read = frames::ReadHistory { tag: 3, of, after: 2, limit: 2, ..Default::default() };
    client.ask(ClientFrame::ReadHistory(read)).await;
    let page = loop {
        if let ServerFrame::HistoryPage(page) = client.next().await {
            break page;
        }
    };
    let seqs: Vec<u64> = page.messages.iter().map(|message| message.seq).collect();
    assert_eq!((page.tag, seqs, page.last_seq, page.problem), (3, vec![3, 4], 5, None));
}

#[tokio::test(start_paused = true)]
async fn changes_are_wished_told_and_confirmed_in_frames() {
    let (fake, parts, alice, bob) = people();
    fake.say(&alice, "bob", "helo");
    let (mut hers, _) = caught_up(&parts, &alice).await;
    let (mut his, _) = caught_up(&parts, &bob).await;
    let id = Bytes::copy_from_slice(ConversationId::direct(&alice.user, &bob.user).as_bytes());
    let wish = Some(frames::change_message::Wish::Edit("hello".to_owned()));
    let (conversation, change_id) = (id.clone(), "c1".to_owned());
    let change = frames::ChangeMessage { tag: 5, conversation, seq: 1, change_id, wish };
    for duplicate in [false, true] {
        hers.ask(ClientFrame::ChangeMessage(change.clone())).await;
        let changed = loop {
            if let ServerFrame::Changed(changed) = hers.next().await {
                break changed;
            }
        };
        assert_eq!((changed.tag, changed.number, changed.duplicate), (5, 1, duplicate));
    }
    let ServerFrame::Changes(told) = his.next().await else { panic!("it is told") };
    let told = chat::Change::try_from(told.changes[0].clone()).expect("all is there");
    let text = Some("hello".to_owned());
    assert_eq!(told.what, chat::What::Edited { seq: Seq(1), text });
    for (change, code) in [(2, "beyond_end"), (1, "")] {
        let confirm = frames::ConfirmChanges { tag: 6, conversation: id.clone(), change };
        his.ask(ClientFrame::ConfirmChanges(confirm)).await;
        let ServerFrame::ChangesConfirmed(answer) = his.next().await else { panic!("an answer") };
        let problem = answer.problem.map(|problem| problem.code).unwrap_or_default();
        assert_eq!((answer.tag, problem.as_str()), (6, code));
    }
    // The next link of this device is told nothing of it again; history reads as it was changed.
    let (mut again, _) = caught_up(&parts, &bob).await;
    let of = Some(frames::read_history::Of::Peer("alice".to_owned()));
    let read = frames::ReadHistory { tag: 3, of, around: 1, limit: 2, ..Default::default() };
    again.ask(ClientFrame::ReadHistory(read)).await;
    let ServerFrame::HistoryPage(page) = again.next().await else { panic!("nothing but a page") };
    let state = page.messages[0].state.clone().expect("it was changed");
    assert_eq!((state.edits, state.deleted, state.digest.len()), (1, false, 32));
    assert_eq!(page.messages[0].body.clone().unwrap_or_default().text, "hello");
}

#[tokio::test(start_paused = true)]
async fn a_stopping_node_says_goodbye() {
    let (_fake, parts, alice, _bob) = people();
    let stop = CancellationToken::new();
    let mut client = link(&parts, Encoding::Binary, Some(token(&parts, &alice)), &stop);
    assert!(matches!(client.next().await, ServerFrame::Welcome(_)));
    stop.cancel();
    loop {
        if let ServerFrame::GoAway(away) = client.next().await {
            assert_eq!(away.addresses, ["127.0.0.1:7410"]);
            break;
        }
    }
    assert_eq!(client.closed().await, 1001);
}

#[tokio::test(start_paused = true)]
async fn a_link_of_a_node_that_drains_is_told_where_to_go_and_serves_until_it_has_gone() {
    let (_fake, parts, alice, _bob) = people();
    let (stop, over) = (CancellationToken::new(), Duration::from_secs(20));
    let (tell, leaving) = tokio::sync::watch::channel(None);
    let bearer = Some(token(&parts, &alice));
    let mut client = link_that_leaves(&parts, Encoding::Binary, bearer, (&stop, leaving));
    assert!(matches!(client.next().await, ServerFrame::Welcome(_)));
    tell.send_replace(Some(over));
    let away = loop {
        let frame = tokio::time::timeout(over, client.next()).await.expect("told in time");
        if let ServerFrame::GoAway(away) = frame {
            break away;
        }
    };
    assert_eq!(away.addresses, ["127.0.0.1:7410"]);
    client.send(1, "bob", "on the way").await;
    assert!(matches!(client.sent(1).await, frames::sent::Result::Stored(_)));
    // It stays: then it is ended.
    assert_eq!(client.closed().await, 1001);
}

#[tokio::test(start_paused = true)]
async fn the_last_link_to_leave_marks_when_the_user_was_seen() {
    let (fake, parts, alice, _bob) = people();
    // It leaves within the interval of two marks: the second one waits, and tells when it left.
    let (one, _) = caught_up(&parts, &alice).await;
    fake.clock.advance(2000);
    drop((one.reader, one.writer));
    one.session.await.expect("the driver ended");
    let account = parts.replica.user(&alice.user).expect("memory").expect("she exists");
    assert_eq!(account.last_seen.0, crate::gateway::fake::start().0 + 2000);
}

#[tokio::test(start_paused = true)]
async fn a_link_begins_from_what_is_here_when_there_is_no_quorum() {
    let (fake, parts, alice, bob) = people();
    fake.say(&alice, "bob", "old");
    fake.partitioned.store(true, Ordering::Relaxed);
    let (mut client, missed) = caught_up(&parts, &bob).await;
    assert_eq!(missed, ["old"]);
    client.send(1, "alice", "x").await;
    let frames::sent::Result::Problem(problem) = client.sent(1).await else { panic!("no quorum") };
    assert!(problem.retryable && !problem.unknown, "{problem:?}");
}
