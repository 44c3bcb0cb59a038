//! The whole client, its task included, over links in memory against a small cluster of scripted nodes, in virtual time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use chat::{ConversationId, DeviceId, Seq, UserId};
use client::{
    CallError, Client, Config, Connect, Consistency, Credentials, HistoryQuery, Inbox, Incoming,
    Outgoing, To,
};
use futures::future::BoxFuture;
use proto::frame::{ClientFrame, ServerFrame, decode_client_frame, encode_server_frame};
use proto::frames;
use tokio::time::{sleep, timeout};
use transport::{DialError, Link, LinkWriter, memory_link};

/// No test waits longer, in virtual time.
const DEADLINE: Duration = Duration::from_secs(60);

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("legal")
}

fn with_bob() -> ConversationId {
    ConversationId::direct(&user("alice"), &user("bob"))
}

fn alice() -> Credentials {
    Credentials {
        user: user("alice"),
        device: DeviceId(1),
        access: "good".into(),
        refresh: "refresh".into(),
        expires_at: None,
    }
}

/// What all nodes of the cluster share: one conversation.
#[derive(Default)]
struct State {
    /// Alice's own messages and Bob's, by sequence from 1.
    messages: Vec<frames::Message>,
    last_order: u64,
    confirmed: u64,
    /// Nodes that take frames and never answer.
    mute: BTreeSet<u16>,
    /// A node drops its link after it has carried out this many sends and answered none of them.
    drop_after: Option<usize>,
    links: usize,
}

#[derive(Clone, Default)]
struct Cluster(Arc<Mutex<State>>);

impl Cluster {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics with it")
    }

    fn config() -> Config {
        let nodes = (0..3).map(|at| ([127, 0, 0, 1], 7400 + at).into()).collect();
        Config::new(nodes, Vec::new())
    }

    fn client(&self) -> (Client, Inbox) {
        let connect = Arc::new(self.clone());
        Client::connect_with(&Cluster::config(), alice(), connect).expect("nodes are named")
    }

    /// Bob says something.
    fn say(&self, count: u64) {
        let mut state = self.state();
        for _ in 0..count {
            let seq = state.messages.len() as u64 + 1;
            state.messages.push(message(seq, "bob", &format!("b{seq}"), 0));
        }
    }
}

fn message(seq: u64, sender: &str, id: &str, order: u64) -> frames::Message {
    frames::Message {
        conversation: Bytes::copy_from_slice(with_bob().as_bytes()),
        seq,
        sender: sender.into(),
        device: if sender == "alice" { 1 } else { 2 },
        order,
        message_id: id.into(),
        ..Default::default()
    }
}

impl Connect for Cluster {
    fn dial(&self, node: SocketAddr) -> BoxFuture<'static, Result<Link, DialError>> {
        let cluster = self.clone();
        Box::pin(async move {
            let (near, far) = memory_link();
            cluster.state().links += 1;
            tokio::spawn(serve(cluster, node.port(), far));
            Ok(near)
        })
    }

    fn refresh(&self, _: Credentials) -> BoxFuture<'static, Result<Credentials, CallError>> {
        Box::pin(async { Err(CallError::Unavailable("not in this test".into())) })
    }
}

async fn say(writer: &mut LinkWriter, frame: ServerFrame) -> bool {
    let mut frames = VecDeque::from([encode_server_frame(frame)]);
    writer.send(&mut frames).await.is_ok()
}

/// One link of one node. Delivers everything after what was confirmed, but for messages that came by this very link, and
/// answers.
async fn serve(cluster: Cluster, node: u16, mut link: Link) {
    let Ok(Some(_hello)) = link.reader.next().await else { return };
    if cluster.state().mute.contains(&node) {
        std::future::pending::<()>().await;
    }
    let welcome = frames::Welcome { node: node.into(), ..Default::default() };
    say(&mut link.writer, ServerFrame::Welcome(welcome)).await;
    let mut delivered = cluster.state().confirmed;
    let mut carried_out = 0;
    let mut own = BTreeSet::new();
    loop {
        let next: Vec<_> = {
            let state = cluster.state();
            let from = usize::try_from(delivered).expect("small");
            state.messages.iter().skip(from).take(50).cloned().collect()
        };
        if let Some(last) = next.last() {
            delivered = last.seq;
            let messages =
                next.into_iter().filter(|message| !own.contains(&message.message_id)).collect();
            let deliver = frames::Deliver { messages, catching_up: false };
            if !say(&mut link.writer, ServerFrame::Deliver(deliver)).await {
                return;
            }
            continue;
        }
        let frame = match timeout(Duration::from_millis(5), link.reader.next()).await {
            Err(_) => continue,
            Ok(Ok(Some(frame))) => decode_client_frame(frame).expect("a frame"),
            Ok(_) => return,
        };
        if cluster.state().mute.contains(&node) {
            continue;
        }
        if let ClientFrame::Send(send) = &frame {
            own.insert(send.message_id.clone());
        }
        let answer = cluster.state().answer(frame);
        if let ServerFrame::Sent(_) = &answer {
            carried_out += 1;
            let limit = cluster.state().drop_after;
            if limit.is_some() {
                if limit == Some(carried_out) {
                    cluster.state().drop_after = None;
                    return;
                }
                continue;
            }
        }
        if !say(&mut link.writer, answer).await {
            return;
        }
    }
}

impl State {
    fn answer(&mut self, frame: ClientFrame) -> ServerFrame {
        let conversation = Bytes::copy_from_slice(with_bob().as_bytes());
        match frame {
            ClientFrame::Send(send) => {
                let result = self.decide(&send);
                let (tag, message_id) = (send.tag, send.message_id);
                let result = Some(result);
                ServerFrame::Sent(frames::Sent { tag, conversation, message_id, result })
            }
            ClientFrame::ChangeMessage(_)
            | ClientFrame::ConfirmChanges(_)
            | ClientFrame::WatchPresence(_)
            | ClientFrame::Typing(_) => unreachable!("this client says no such thing"),
            ClientFrame::Ping(ping) => ServerFrame::Pong(frames::Pong { tag: ping.tag }),
            ClientFrame::Confirm(confirm) => {
                self.confirmed = self.confirmed.max(confirm.seq);
                let (tag, delivered) = (confirm.tag, self.confirmed);
                let (read, problem) = (0, None);
                ServerFrame::Confirmed(frames::Confirmed {
                    tag,
                    conversation,
                    delivered,
                    read,
                    problem,
                })
            }
            ClientFrame::ReadHistory(read) => {
                let after = usize::try_from(read.after).expect("small");
                let limit = usize::try_from(read.limit).expect("small");
                ServerFrame::HistoryPage(frames::HistoryPage {
                    tag: read.tag,
                    conversation,
                    messages: self.messages.iter().skip(after).take(limit).cloned().collect(),
                    last_seq: self.messages.len() as u64,
                    ..Default::default()
                })
            }
            ClientFrame::Hello(_) => panic!("said once"),
        }
    }

    fn decide(&mut self, send: &frames::Send) -> frames::sent::Result {
        let stored = |message: &frames::Message| {
            let (seq, order) = (message.seq, message.order);
            frames::sent::Result::Stored(frames::Stored { seq, order, at_ms: 1, duplicate: false })
        };
        if let Some(known) = self.messages.iter().find(|m| m.message_id == send.message_id) {
            return stored(known);
        }
        if send.order > self.last_order + 1 {
            let problem = proto::Problem::of(proto::ProblemCode::OutOfOrder);
            return frames::sent::Result::Problem(problem.into());
        }
        assert!(send.order == 0 || send.order == self.last_order + 1, "a number is used once");
        self.last_order += 1;
        let seq = self.messages.len() as u64 + 1;
        let message = message(seq, "alice", &send.message_id, self.last_order);
        self.messages.push(message.clone());
        stored(&message)
    }
}

async fn next(inbox: &mut Inbox) -> Incoming {
    let item = timeout(DEADLINE, inbox.next()).await.expect("something comes in");
    item.expect("the client lives")
}

/// The sequences of the next messages.
async fn receive(inbox: &mut Inbox, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        if let Incoming::Message(message) = next(inbox).await {
            seqs.push(message.seq);
        }
    }
    seqs
}

#[tokio::test(start_paused = true)]
async fn messages_survive_a_link_that_is_dropped_in_the_middle() {
    let cluster = Cluster::default();
    let (client, _inbox) = cluster.client();
    client.send(To::User(user("bob")), "first").await.expect("stored");
    cluster.state().drop_after = Some(7);
    let sent: Vec<_> = (0..100)
        .map(|at| client.submit(Outgoing::text(To::User(user("bob")), format!("{at}"))))
        .collect();
    let mut seqs = Vec::new();
    for sending in sent {
        let receipt = timeout(DEADLINE, sending.expect("room")).await.expect("in time");
        seqs.push(receipt.expect("stored").seq.0);
    }
    assert_eq!(seqs, (2..=101).collect::<Vec<_>>(), "in order, each once");
    assert_eq!(cluster.state().messages.len(), 101, "nothing is stored twice");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_falls_silent_is_left_within_a_second() {
    let cluster = Cluster::default();
    let (client, mut inbox) = cluster.client();
    client.send(To::User(user("bob")), "first").await.expect("stored");
    assert_eq!(next(&mut inbox).await, Incoming::LinkUp { node: 7400 });
    cluster.state().mute.insert(7400);
    let sent = timeout(Duration::from_secs(1), client.send(To::User(user("bob")), "second"));
    let receipt = sent.await.expect("another node answers").expect("stored");
    assert_eq!(receipt.seq, Seq(2));
    assert_eq!(next(&mut inbox).await, Incoming::LinkUp { node: 7401 });
}

#[tokio::test(start_paused = true)]
async fn a_dead_first_node_does_not_stop_a_client_from_connecting() {
    let cluster = Cluster::default();
    cluster.state().mute.insert(7400);
    let (client, _inbox) = cluster.client();
    let sent = timeout(Duration::from_secs(1), client.send(To::User(user("bob")), "hello"));
    assert!(sent.await.expect("another node answers").is_ok());
}

#[tokio::test(start_paused = true)]
async fn deliveries_come_once_across_links_and_are_confirmed() {
    let cluster = Cluster::default();
    cluster.say(5);
    let (client, mut inbox) = cluster.client();
    assert_eq!(receive(&mut inbox, 5).await, [1, 2, 3, 4, 5]);
    cluster.state().drop_after = Some(1);
    let sending = client.submit(Outgoing::text(To::User(user("bob")), "mine")).expect("room");
    assert_eq!(sending.await.expect("stored").seq, Seq(6));
    cluster.say(3);
    assert_eq!(receive(&mut inbox, 3).await, [7, 8, 9], "nothing again, and nothing missing");
    let asking = timeout(Duration::from_millis(200), inbox.next()).await;
    assert!(asking.is_err(), "nothing more comes in: {asking:?}");
    assert_eq!(cluster.state().confirmed, 9, "asking for more confirmed what was taken");
    assert_eq!(cluster.state().links, 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_application_slows_its_link_and_loses_nothing() {
    let cluster = Cluster::default();
    cluster.say(5_000);
    let (_client, mut inbox) = cluster.client();
    sleep(Duration::from_secs(30)).await;
    let wanted: Vec<u64> = (1..=5_000).collect();
    assert_eq!(receive(&mut inbox, 5_000).await, wanted);
    assert_eq!(cluster.state().links, 1, "a slow reader is no reason for another link");
}

#[tokio::test(start_paused = true)]
async fn an_application_that_does_not_listen_may_still_send() {
    let cluster = Cluster::default();
    cluster.say(500);
    let (client, inbox) = cluster.client();
    drop(inbox);
    let receipt = timeout(DEADLINE, client.send(To::User(user("bob")), "x")).await;
    assert!(receipt.expect("in time").is_ok());
}

#[tokio::test(start_paused = true)]
async fn pages_and_confirmations_are_answered() {
    let cluster = Cluster::default();
    cluster.say(30);
    let (client, _inbox) = cluster.client();
    let query = HistoryQuery {
        of: To::User(user("bob")),
        after: Seq(10),
        before: None,
        limit: 5,
        consistency: Consistency::Linearizable,
    };
    let page = client.history(query).await.expect("read");
    assert_eq!(page.messages.iter().map(|m| m.seq).collect::<Vec<_>>(), [11, 12, 13, 14, 15]);
    assert_eq!(page.last_seq, Seq(30));
    let standing = client.confirm(with_bob(), Seq(12), false).await.expect("taken");
    assert_eq!(standing.delivered, Seq(12));
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_the_stream_and_every_request() {
    let cluster = Cluster::default();
    let (client, mut inbox) = cluster.client();
    client.send(To::User(user("bob")), "first").await.expect("stored");
    client.stop().await;
    let refused = client.send(To::User(user("bob")), "second").await;
    assert_eq!(refused, Err(client::SendError::Stopped));
    let drained = timeout(DEADLINE, async { while inbox.next().await.is_some() {} }).await;
    assert!(drained.is_ok(), "the stream ends");
}

/// What the nodes hold is what the client was told, whichever nodes fall silent and come back.
#[tokio::test(start_paused = true)]
async fn a_storm_of_silent_nodes_loses_nothing() {
    let cluster = Cluster::default();
    let (client, _inbox) = cluster.client();
    let storm = {
        let cluster = cluster.clone();
        tokio::spawn(async move {
            for round in 0..12_u16 {
                cluster.state().mute = BTreeSet::from([7400 + round % 3]);
                sleep(Duration::from_millis(700)).await;
            }
            cluster.state().mute.clear();
        })
    };
    let mut told = BTreeMap::new();
    for at in 0..400 {
        let to = To::User(user("bob"));
        let receipt = client.send(to, format!("{at}")).await.expect("stored in the end");
        told.insert(receipt.seq.0, receipt.message_id.as_str().to_owned());
        sleep(Duration::from_millis(20)).await;
    }
    storm.await.expect("the storm passes");
    let state = cluster.state();
    let stored = state.messages.iter().map(|m| (m.seq, m.message_id.clone()));
    assert_eq!(told, stored.collect::<BTreeMap<_, _>>());
}
