//! Somebody honest: two users who write to each other all the while, on every kind of link, and count.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use proto::frames::{
    ClientFrame, Hello, MessageBody, Send, ServerFrame, client_frame, send, sent, server_frame,
};
use tests::{Chat, Stranger, in_time};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use transport::{ClientTls, Link};

use crate::process::Process;

/// Within this, every honest message is acknowledged. Generous: the machine runs other tests, too, and a node that lets
/// somebody wait for a hostile link lets them wait for ever.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(20);
/// The pause between two honest messages of one link: they are people, not a bench.
const PAUSE: Duration = Duration::from_millis(20);
/// Fewer than this means that nobody was watched.
const MESSAGES_MIN: usize = 20;

/// What became of the honest messages.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    messages: usize,
    slowest: Duration,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} honest messages, the slowest acknowledged after {:?}",
            self.messages, self.slowest
        )
    }
}

/// The two of them.
pub(crate) struct Witness {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<Seen>>,
    alice: Stranger,
}

impl Witness {
    /// They begin.
    pub(crate) async fn begin(node: &Process) -> Self {
        let alice = Stranger::arrive(node.plain(), "alice").await;
        let bob = Stranger::arrive(node.plain(), "bob").await;
        let stop = CancellationToken::new();
        let text = over_text(alice.chat().await, stop.clone());
        let tls = ClientTls::from_ca_pem(&node.ca_pem()).expect("the cluster's authority");
        let link = transport::dial::quic(&tls, node.address()).await.expect("a link");
        let quic = over_quic(link, bob.token.clone(), stop.clone());
        let tasks = vec![tokio::spawn(text), tokio::spawn(quic)];
        Self { stop, tasks, alice }
    }

    /// They end: each was heard in time, and everything is there.
    pub(crate) async fn end(self, node: &Process) -> Seen {
        self.stop.cancel();
        let mut all = Seen::default();
        for task in self.tasks {
            let seen = in_time(task).await.expect("every honest message was acknowledged in time");
            assert!(seen.messages >= MESSAGES_MIN, "somebody was watched: {seen}");
            all.messages += seen.messages;
            all.slowest = all.slowest.max(seen.slowest);
        }
        let history = self.alice.at(node.plain()).history("bob").await;
        assert_eq!(history.len(), all.messages, "every acknowledged message is there once");
        all
    }
}

async fn over_text(mut chat: Chat, stop: CancellationToken) -> Seen {
    let mut seen = Seen::default();
    while stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
        let since = Instant::now();
        let id = format!("text-{}", seen.messages);
        let stored = timeout(ACKNOWLEDGED_WITHIN, chat.stored("bob", &id, "are you there?"));
        stored.await.expect("an honest message is acknowledged in time");
        seen.messages += 1;
        seen.slowest = seen.slowest.max(since.elapsed());
    }
    seen
}

async fn over_quic(mut link: Link, token: String, stop: CancellationToken) -> Seen {
    let mut seen = Seen::default();
    say(&mut link, client_frame::Frame::Hello(Hello { token, version: 1, resume: None })).await;
    while stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
        let since = Instant::now();
        let tag = seen.messages as u64 + 1;
        let body = Some(MessageBody { text: "I am".to_owned(), ..Default::default() });
        let to = Some(send::To::Receiver("alice".to_owned()));
        let message_id = format!("quic-{tag}");
        let send = Send { tag, to, order: tag, message_id, body };
        say(&mut link, client_frame::Frame::Send(send)).await;
        timeout(ACKNOWLEDGED_WITHIN, stored(&mut link, tag)).await.expect("acknowledged in time");
        seen.messages += 1;
        seen.slowest = seen.slowest.max(since.elapsed());
    }
    seen
}

/// Says one frame.
pub(crate) async fn say(link: &mut Link, frame: client_frame::Frame) {
    let bytes: Bytes = ClientFrame { frame: Some(frame) }.encode_to_vec().into();
    link.writer.send(&mut [bytes].into()).await.expect("the link takes it");
}

/// Waits until the message of this tag is stored.
pub(crate) async fn stored(link: &mut Link, tag: u64) {
    loop {
        let frame = link.reader.next().await.expect("the link stands").expect("the link goes on");
        let frame = ServerFrame::decode(frame).expect("the node speaks its own frames");
        if let Some(server_frame::Frame::Sent(sent)) = frame.frame
            && sent.tag == tag
        {
            assert!(matches!(sent.result, Some(sent::Result::Stored(_))), "{sent:?}");
            return;
        }
    }
}

/// A link with a session on it.
pub(crate) async fn link_of(node: &Process, tls: &Arc<ClientTls>, token: &str) -> Link {
    let mut link = transport::dial::quic(tls, node.address()).await.expect("a link");
    let hello = Hello { token: token.to_owned(), version: 1, resume: None };
    say(&mut link, client_frame::Frame::Hello(hello)).await;
    link
}
