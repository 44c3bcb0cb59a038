//! Files far larger than what a node may hold of them: up, down, and by somebody who stops reading in the middle.

use tests::{Stranger, in_time};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::Process;

/// How large: the largest that a node takes when its file does not say.
const BYTES: usize = 256 << 20;
/// What one upload and a few downloads may add to the most that the node ever had: pieces, not files.
const PEAK_MIB_MORE: u64 = 32;
/// Readers who stop.
const STALLED: usize = 8;

/// Nothing of this is held in memory.
pub(crate) async fn files(node: &Process) {
    let owner = Stranger::arrive(node.plain(), "large-owner").await;
    // Whatever an upload needs at all is there from now on.
    owner.upload("application/octet-stream", &vec![7; 1 << 20]).await;
    let before = node.peak_mib();
    let content: Vec<u8> = (0..BYTES).map(|at| (at / 4096 % 251) as u8).collect();
    let uri = owner.upload("application/octet-stream", &content).await;
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(half_reader(node, &owner, &uri).await);
    }
    let got = owner.exchange("GET", &uri, &[], b"").await;
    assert!(got.status == 200 && got.body == content, "every byte, while others stall");
    let peak = node.peak_mib();
    println!("large: {before} MiB at most before, {peak} after {} MiB up and down", BYTES >> 20);
    assert!(peak <= before + PEAK_MIB_MORE, "the node had {before} MiB, then {peak}");
    drop(stalled);
}

/// Somebody who asks for all of it, takes a little, and keeps the connection.
async fn half_reader(node: &Process, who: &Stranger, uri: &str) -> TcpStream {
    let mut stream = TcpStream::connect(node.plain()).await.expect("the node listens");
    let token = &who.token;
    let request =
        format!("GET {uri} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it is read");
    let mut some = [0; 1000];
    in_time(stream.read_exact(&mut some)).await.expect("an answer begins");
    stream
}
