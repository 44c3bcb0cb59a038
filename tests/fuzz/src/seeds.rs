//! Where a search begins: real encodings. Most are the golden bytes of `proto`, which were written once by what writes
//! them in production; the rest is written here.

/// The golden bytes, by family.
const GOLDEN: [(&str, &str); 7] = [
    ("backup", include_str!("../../../proto/golden/backup.hex")),
    ("cluster", include_str!("../../../proto/golden/cluster.hex")),
    ("frames", include_str!("../../../proto/golden/frames.hex")),
    ("keys", include_str!("../../../proto/golden/keys.hex")),
    ("log", include_str!("../../../proto/golden/log.hex")),
    ("peer", include_str!("../../../proto/golden/peer.hex")),
    ("rows", include_str!("../../../proto/golden/rows.hex")),
];

fn golden(family: &str) -> Vec<Vec<u8>> {
    let text = GOLDEN.iter().find(|(name, _)| *name == family).map_or("", |(_, text)| text);
    let bytes = |line: &str| {
        let hex = line.split_once(' ')?.1;
        let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
        (0..hex.len()).step_by(2).map(byte).collect()
    };
    text.lines().filter_map(bytes).collect()
}

/// Each under each of so many first bytes, for targets whose first byte says what follows.
fn under(kinds: u8, seeds: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let each = |seed: Vec<u8>| (0..kinds).map(move |kind| [&[kind], seed.as_slice()].concat());
    seeds.into_iter().flat_map(each).collect()
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<Vec<u8>> {
    texts.map(|text| text.as_bytes().to_vec()).into()
}

/// What a search of this target begins with.
#[must_use]
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "client_frame" | "server_frame" | "session_binary" => golden("frames"),
        "spec_json" | "session_text" => json(),
        "websocket" => websocket(),
        "token" => tokens(),
        "config" => configs(),
        "peer_message" => under(8, golden("peer")),
        "raft_call" | "raft_answer" | "snapshot_head" => golden("peer"),
        "snapshot_chunk" => under(3, golden("peer")),
        "raft_disk" => under(4, golden("peer")),
        "log_entry" | "command" | "outcome" => golden("log"),
        "cluster" => under(3, golden("cluster")),
        "backup" => under(2, golden("backup")),
        "key" => golden("keys"),
        "row" => under(13, golden("rows")),
        "journal_segment" | "journal_records" => journal(),
        _ => Vec::new(),
    }
}

fn json() -> Vec<Vec<u8>> {
    texts([
        r#"{"token":"eyJ0eXAiOiJKV1QifQ.e30.c2ln"}"#,
        r#"{"connection_id":"x","payload":[{"senderId":"alice","receiverId":"bob","messageId":"m1","timestamp":"9:47PM","orderNumber":1,"attachment":false,"attachmentURI":"","messageText":"Hello"}]}"#,
        r#"{"payload":[{"groupId":"crew","messageId":"m2","attachment":true,"attachmentURI":["/v1.0/asset/1"],"messageText":null}]}"#,
        r#"{"payload":[{"conversationId":"0f5de558f20cf9d55647a4429142231f","sequence":300,"read":true},{"conversationId":"0f5de558f20cf9d55647a4429142231f","sequence":1,"delivered":true}]}"#,
        r#"{"payload":[{"senderId":7},{"messageId":"\ud83d\ude00","receiverId":"a","messageText":"\u0000"},[],null]}"#,
        "2026-11-22T20:20:06.123Z",
        "0f5de558f20cf9d55647a4429142231f-300",
        "00000000deadbeef",
    ])
}

fn websocket() -> Vec<Vec<u8>> {
    // The first byte: whose end, and which encoding; the second: how it is cut.
    let frames: [&[u8]; 6] = [
        b"\x81\x85\x01\x02\x03\x04iglmn",
        b"\x01\x82\0\0\0\0ab\x80\x81\0\0\0\0c",
        b"\x89\x82\0\0\0\0hi\x8a\x80\0\0\0\0",
        b"\x88\x82\0\0\0\0\x03\xe8",
        b"\x82\xfe\x00\x80\0\0\0\0",
        b"\x82\x05hello",
    ];
    frames.iter().flat_map(|frame| (0..4).map(|kind| [&[kind, 3], *frame].concat())).collect()
}

fn tokens() -> Vec<Vec<u8>> {
    texts([
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJFZERTQSIsImtpZCI6IjcifQ.eyJzdWIiOiJhbGljZSIsImRldmljZSI6IjAwMDAwMDAwMDAwMDAwMDciLCJpYXQiOjEsImV4cCI6Mn0.AAAA",
        "eyJhbGciOiJub25lIn0.e30.",
        "YWxpY2U.0000000000000007.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.AAAA",
        "...",
    ])
}

fn configs() -> Vec<Vec<u8>> {
    texts([
        "node = 1\ndata = \"data\"\n[listen]\nclient = \"127.0.0.1:1\"\npeer = \"127.0.0.1:2\"\noperations = \"127.0.0.1:3\"\nplain = \"127.0.0.1:4\"\n[tls]\nauthority = \"a\"\nclient_certificate = \"b\"\nclient_key = \"c\"\npeer_certificate = \"d\"\npeer_key = \"e\"\n[storage]\nengine = \"fjall\"\nsegment_bytes = 2097152\n[runtime]\nplane_threads = 1\nraft_threads = 1\n[faults]\nenabled = true\n[cluster]\nid = \"test\"\nshards = 4\nreplication = 1\n[[cluster.nodes]]\nid = 1\nclient = \"127.0.0.1:1\"\npeer = \"127.0.0.1:2\"\noperations = \"127.0.0.1:3\"\n",
        "nod = 1\n",
        "[storage]\nengine = \"sledd\"\n",
    ])
}

/// Batches of records as `store::doors::records` reads them: kinds, groups, positions, payloads.
fn journal() -> Vec<Vec<u8>> {
    vec![
        vec![
            1, 1, 6, 0, 0, 1, 1, 1, 1, 4, b'a', b'b', b'c', b'd', 0, 2, 1, 1, 0, 1, 1, 1, 1, 2, 9,
            9, 1, 1, 0, 1, 1, 1, 2, 0,
        ],
        vec![
            1, 0, 0, 3, 2, 0, 0, 1, 1, 1, 1, 1, 7, 3, 0, 0, 1, 1, 1, 1, 1, 7, 4, 0, 2, 1, 0, 0, 0,
            0,
        ],
        vec![0, 1, 7, 0, 0, 0, 0, 0, 1, 0, 2, 0],
    ]
}
