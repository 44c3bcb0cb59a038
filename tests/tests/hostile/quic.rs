//! Datagrams: garbage, first packets without end, links that move. A forged address must not be turned into a weapon:
//! what the node sends to one that it has not validated is at most three times what it got (RFC 9000, 8.1).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use proto::frames::{MessageBody, Ping, Send, client_frame, send};
use tests::{Stranger, in_time};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use transport::ClientTls;

use crate::process::Process;
use crate::witness::{link_of, say, stored};

/// The factor that no address is sent more than.
const AMPLIFIED_MAX: usize = 3;
/// How long answers that may come are waited for once everything was sent.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// The smallest first packet (RFC 9000, 14.1).
const FIRST_BYTES: usize = 1200;

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.expect("a free port")
}

/// Everything that comes back within a moment of silence, bytes.
async fn answers(socket: &UdpSocket) -> usize {
    let mut bytes = 0;
    let mut buffer = vec![0; 64 << 10];
    while let Ok(Ok(length)) = timeout(LAST_ANSWERS, socket.recv(&mut buffer)).await {
        bytes += length;
    }
    bytes
}

/// Bytes that look like nothing, like a first packet, like a packet of a link, like an unknown version.
pub(crate) async fn garbage(node: &Process) {
    let mut seed = 7_u64;
    let mut noise = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as u8
    };
    let heads: [&[u8]; 5] = [
        b"",
        // Initial of version 1, with ids of 8 bytes.
        &[0xc3, 0, 0, 0, 1, 8],
        // Handshake of version 1.
        &[0xe3, 0, 0, 0, 1, 8],
        // A version that nobody speaks.
        &[0xc3, 0x1a, 0x2a, 0x3a, 0x4a, 8],
        // A short header.
        &[0x43],
    ];
    let sent_by: Vec<UdpSocket> = join_all((0..8).map(async |_| socket().await)).await;
    let mut sent = 0;
    for round in 0..4_000_usize {
        let head = heads[round % heads.len()];
        let length = [1, 20, 300, FIRST_BYTES][round / heads.len() % 4].max(head.len());
        let mut packet = head.to_vec();
        packet.resize_with(length, &mut noise);
        // A full buffer is as good a flood as any.
        let _ = sent_by[round % sent_by.len()].try_send_to(&packet, node.address());
        sent += packet.len();
        if round % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let back: usize = join_all(sent_by.iter().map(answers)).await.into_iter().sum();
    assert!(back <= AMPLIFIED_MAX * sent, "{back} bytes for {sent}");
}

/// First packets of real handshakes, which nobody goes on with, from many addresses each.
pub(crate) async fn first_packets(node: &Process) {
    const HANDSHAKES: usize = 20;
    const ADDRESSES: usize = 10;
    const ROUNDS_MIN: usize = 3;
    const ROUNDS_MAX: usize = 60;
    let tls = ClientTls::from_ca_pem(&node.ca_pem()).expect("the cluster's authority");
    let mut packets = Vec::new();
    for _ in 0..HANDSHAKES {
        // A place of its own for each: what comes there first begins a handshake, what comes later ends it.
        let trap = socket().await;
        let address = trap.local_addr().expect("bound");
        let mut packet = vec![0; 2048];
        let length = tokio::select! {
            length = in_time(trap.recv(&mut packet)) => length.expect("a packet"),
            _ = transport::dial::quic(&tls, address) => unreachable!("nobody answers"),
        };
        assert!(length >= FIRST_BYTES, "first packets are padded");
        packet.truncate(length);
        packets.push(packet);
    }
    let heard = AtomicUsize::new(0);
    let flood = (0..ADDRESSES).map(async |_| {
        let from = socket().await;
        for packet in &packets {
            from.send_to(packet, node.address()).await.expect("sent");
        }
        let sent: usize = packets.iter().map(Vec::len).sum();
        // A handshake that is not gone on with is repeated for some time and then given up. One handshake answers at
        // the address that was first; a busy node answers late.
        for round in 0..ROUNDS_MAX {
            heard.fetch_add(answers(&from).await, Ordering::Relaxed);
            if round >= ROUNDS_MIN && heard.load(Ordering::Relaxed) > 0 {
                break;
            }
        }
        sent
    });
    // Over all addresses: the library credits a handshake with what came for it from anywhere, so one address may get
    // more than three times what came from it, yet nobody gets more out than thrice what they put in.
    let sent: usize = join_all(flood).await.into_iter().sum();
    let back = heard.load(Ordering::Relaxed);
    assert!(back <= AMPLIFIED_MAX * sent, "{back} bytes for {sent}");
    assert!(heard.load(Ordering::Relaxed) > 0, "they were real");
}

/// Frames on a link that reads nothing: the node stops reading, too.
pub(crate) async fn frames_without_end(node: &Process) {
    let who = Stranger::arrive(node.plain(), "chatterer").await;
    let tls = Arc::new(ClientTls::from_ca_pem(&node.ca_pem()).expect("the cluster's authority"));
    let mut link = link_of(node, &tls, &who.token).await;
    let before = node.memory_mib();
    let flood = async {
        for tag in 0..400_000 {
            let ping = client_frame::Frame::Ping(Ping { tag });
            let bytes =
                prost::Message::encode_to_vec(&proto::frames::ClientFrame { frame: Some(ping) });
            if link.writer.send(&mut [bytes.into()].into()).await.is_err() {
                return;
            }
        }
    };
    // Either it ends, or it waits: both are bounded.
    let _ = timeout(Duration::from_secs(2), flood).await;
    assert!(node.memory_mib() <= before + 64, "what nobody reads does not pile up");
}

/// A link whose packets come from another address each time, and once more from one that is not its own.
pub(crate) async fn a_link_that_moves_all_the_time(node: &Process) {
    let proxy = Arc::new(Proxy::begin(node.address()).await);
    let run = tokio::spawn(Arc::clone(&proxy).run());
    let who = Stranger::arrive(node.plain(), "nomad").await;
    let tls = ClientTls::from_ca_pem(&node.ca_pem()).expect("the cluster's authority");
    let mut link = transport::dial::quic(&tls, proxy.address).await.expect("a link");
    let hello = proto::frames::Hello { token: who.token.clone(), version: 1, resume: None };
    say(&mut link, client_frame::Frame::Hello(hello)).await;
    proxy.moving.store(1, Ordering::Relaxed);
    let talk = async {
        for tag in 1..=30 {
            let body = Some(MessageBody { text: "on the way".to_owned(), ..Default::default() });
            let to = Some(send::To::Receiver("nomad".to_owned()));
            let send = Send { tag, to, order: tag, message_id: format!("m{tag}"), body };
            say(&mut link, client_frame::Frame::Send(send)).await;
            stored(&mut link, tag).await;
        }
    };
    in_time(talk).await;
    let (there, back) =
        (proxy.stray_sent.load(Ordering::Relaxed), proxy.stray_heard.load(Ordering::Relaxed));
    assert!(there > 0, "packets came from where the link is not");
    assert!(back <= AMPLIFIED_MAX * there, "{back} bytes to a stray address for {there}");
    run.abort();
}

/// Between one client and the node: sends each packet on from another port.
struct Proxy {
    address: SocketAddr,
    node: SocketAddr,
    inside: UdpSocket,
    outside: Vec<UdpSocket>,
    /// Repeats packets of the link from an address that never belonged to it.
    stray: UdpSocket,
    /// 0: as a wire; 1: moving.
    moving: AtomicUsize,
    stray_sent: AtomicUsize,
    stray_heard: AtomicUsize,
}

impl Proxy {
    async fn begin(node: SocketAddr) -> Self {
        let inside = socket().await;
        let outside = join_all((0..6).map(async |_| socket().await)).await;
        let address = inside.local_addr().expect("bound");
        let (moving, stray_sent, stray_heard) = Default::default();
        Self {
            address,
            node,
            inside,
            outside,
            stray: socket().await,
            moving,
            stray_sent,
            stray_heard,
        }
    }

    async fn run(self: Arc<Self>) {
        let mut client = None;
        let mut count = 0_usize;
        let mut packet = vec![0; 64 << 10];
        loop {
            let mut back = vec![vec![0; 4096]; self.outside.len()];
            let returned = self.outside.iter().zip(&mut back).map(|(socket, buffer)| {
                Box::pin(async move {
                    socket.recv(buffer).await.map(|length| buffer[..length].to_vec())
                })
            });
            let mut stray = vec![0; 4096];
            tokio::select! {
                Ok((length, from)) = self.inside.recv_from(&mut packet) => {
                    client = Some(from);
                    count += 1;
                    let moving = self.moving.load(Ordering::Relaxed) == 1;
                    // A new address every few packets: faster, and no honest path could be validated.
                    let at = if moving { count / 8 % self.outside.len() } else { 0 };
                    let _ = self.outside[at].send_to(&packet[..length], self.node).await;
                    if moving && count.is_multiple_of(3) {
                        let _ = self.stray.send_to(&packet[..length], self.node).await;
                        self.stray_sent.fetch_add(length, Ordering::Relaxed);
                    }
                }
                (Ok(answer), ..) = futures::future::select_all(returned) => {
                    if let Some(client) = client {
                        let _ = self.inside.send_to(&answer, client).await;
                    }
                }
                Ok(length) = self.stray.recv(&mut stray) => {
                    self.stray_heard.fetch_add(length, Ordering::Relaxed);
                }
            }
        }
    }
}
