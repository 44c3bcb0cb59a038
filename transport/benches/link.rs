//! What a link costs the server: echoed messages per second, CPU per message, memory per idle link.
//!
//! `cargo bench -p transport --bench link [-- KIND]` starts this program once more as a server in a
//! process of its own with one worker thread, so that its CPU time and memory are the server's alone.
//! A message is 300 bytes in and 300 bytes out. Not a claim that fails: figures to compare.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench measures real time, and stops at the first thing that fails"
)]

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use transport::{
    ClientTls, Encoding, Link, ServerIdentity,
    authority::Authority,
    client_plane::{self, Config, Limits},
    dial,
};

const CONNECTIONS: usize = 256;
const IDLE_CONNECTIONS: usize = 1000;
const FRAME_BYTES: usize = 300;
const MEASURED: Duration = Duration::from_secs(4);
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Quic,
    Binary,
    Text,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "serve") {
        return serve();
    }
    let only = arguments.iter().find(|argument| !argument.starts_with("--"));
    for (kind, name) in [(Kind::Quic, "quic"), (Kind::Binary, "ws-binary"), (Kind::Text, "ws-text")]
    {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        for window in [1, 16] {
            let (rate, cost) = echo(kind, window);
            println!("{name:<10} window {window:>2}: {rate:>9.0} echo/s {cost:>7.2} us/message");
        }
        let (memory, cost) = idle(kind);
        println!("{name:<10} idle: {memory:>17.1} KiB/link {cost:>6.2} us/s/link");
    }
}

fn runtime(name: &str) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(name)
        .enable_all()
        .build()
        .unwrap()
}

// ---- the server process ----

fn serve() {
    runtime("server").block_on(async {
        let (authority, _) = Authority::create("bench").unwrap();
        let issued = authority.issue_client_plane(&[]).unwrap();
        let tls =
            ServerIdentity::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes())
                .unwrap();
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            plain_listen: None,
            tls,
            limits: Limits::default(),
        };
        let stop = CancellationToken::new();
        let on_link: transport::OnLink = Arc::new(|link| serve_echo(link).boxed());
        let router = axum::Router::new();
        let handle = client_plane::serve(config, router, on_link, stop.clone()).await.unwrap();
        println!("{}", handle.address());
        println!("{}END", authority.certificate_pem());
        std::io::stdout().flush().unwrap();
        // Ends with the parent, which holds the other end of standard input.
        tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await.unwrap();
        stop.cancel();
        handle.stopped().await;
    });
}

async fn serve_echo(mut link: Link) {
    let mut queue = VecDeque::new();
    while let Ok(Some(frame)) = link.reader.next().await {
        queue.push_back(frame);
        while let Some(Ok(Some(frame))) = link.reader.next().now_or_never() {
            queue.push_back(frame);
        }
        if link.writer.send(&mut queue).await.is_err() {
            return;
        }
    }
}

struct Server {
    process: Child,
    address: SocketAddr,
    tls: ClientTls,
}

impl Server {
    fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let address = lines.next().unwrap().parse().unwrap();
        let pem: Vec<String> = lines.take_while(|line| line != "END").collect();
        let tls = ClientTls::from_ca_pem(pem.join("\n").as_bytes()).unwrap();
        Self { process, address, tls }
    }

    /// CPU time of all threads, seconds.
    fn cpu(&self) -> f64 {
        let mut total = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap() {
            let path = task.unwrap().path().join("schedstat");
            let text = std::fs::read_to_string(path).unwrap_or_default();
            total += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
        total as f64 / 1e9
    }

    /// Resident memory, KiB.
    fn memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    async fn dial(&self, kind: Kind) -> Link {
        let encoding = if kind == Kind::Text { Encoding::Text } else { Encoding::Binary };
        match kind {
            Kind::Quic => dial::quic(&self.tls, self.address).await.unwrap(),
            _ => dial::websocket(&self.tls, self.address, encoding, None).await.unwrap(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

// ---- the clients ----

/// Echoes with so many messages under way per connection: messages/s, server CPU in us per message.
fn echo(kind: Kind, window: usize) -> (f64, f64) {
    let server = Server::start();
    let echoed = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    runtime("client").block_on(async {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let link = server.dial(kind).await;
            clients.push(tokio::spawn(client(
                link,
                window,
                Arc::clone(&echoed),
                Arc::clone(&done),
            )));
        }
        tokio::time::sleep(WARM_UP).await;
        let (before, cpu, since) = (echoed.load(Ordering::Relaxed), server.cpu(), Instant::now());
        tokio::time::sleep(MEASURED).await;
        let count = (echoed.load(Ordering::Relaxed) - before) as f64;
        let (cpu, time) = (server.cpu() - cpu, since.elapsed().as_secs_f64());
        done.store(true, Ordering::Relaxed);
        for client in clients {
            client.await.unwrap();
        }
        (count / time, cpu * 1e6 / count)
    })
}

async fn client(mut link: Link, window: usize, echoed: Arc<AtomicU64>, done: Arc<AtomicBool>) {
    let frame = Bytes::from(vec![b'x'; FRAME_BYTES]);
    let mut queue: VecDeque<Bytes> = std::iter::repeat_n(frame.clone(), window).collect();
    while !done.load(Ordering::Relaxed) {
        link.writer.send(&mut queue).await.unwrap();
        let mut received = 0;
        loop {
            let next = if received == 0 {
                Some(link.reader.next().await)
            } else {
                link.reader.next().now_or_never()
            };
            let Some(next) = next else { break };
            assert_eq!(next.unwrap().unwrap().len(), FRAME_BYTES);
            received += 1;
        }
        echoed.fetch_add(received, Ordering::Relaxed);
        queue.extend((0..received).map(|_| frame.clone()));
    }
}

/// What an idle link costs the server: KiB, and us of CPU per second.
fn idle(kind: Kind) -> (f64, f64) {
    let server = Server::start();
    runtime("client").block_on(async {
        let before = server.memory();
        for _ in 0..IDLE_CONNECTIONS {
            let mut link = server.dial(kind).await;
            // One message each way, as after a login.
            link.writer.send(&mut VecDeque::from([Bytes::from_static(&[0; 300])])).await.unwrap();
            link.reader.next().await.unwrap().unwrap();
            tokio::spawn(async move { (link.reader.next().await, link.writer) });
        }
        let memory = (server.memory() - before) as f64 / IDLE_CONNECTIONS as f64;
        tokio::time::sleep(WARM_UP).await;
        let (cpu, since) = (server.cpu(), Instant::now());
        tokio::time::sleep(MEASURED).await;
        let cpu = (server.cpu() - cpu) * 1e6 / since.elapsed().as_secs_f64();
        (memory, cpu / IDLE_CONNECTIONS as f64)
    })
}
