//! The peer plane: by everybody who could knock there. Whoever is not a node of the cluster gets no answer at all, not
//! even a protocol's greeting; a node is who its certificate says and may do what nodes do, and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt as _};
use prost::Message as _;
use proto::peer as wire;
use proto::peer::{forward_request, raft_request};
use rustls::pki_types::ServerName;
use tests::{in_time, tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;
use transport::peer::{Config, Identity, Lane, PeerError, PeerHandler, PeerPlane};

use super::frames::oneof;
use super::judge::{Judge, Verdict};
use super::world::World;

/// What messages the peer plane knows.
const SCHEMA: &str = include_str!("../../../proto/schema/peer.proto");
/// How long one call may take.
const CALL_DEADLINE: Duration = Duration::from_secs(3);
/// The node whose certificate is used by somebody else: it does not run meanwhile.
const STOLEN: u64 = 3;

/// Who knocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knocks {
    /// A node of this cluster.
    Node,
    /// With the name of a node, by the right authority, that the cluster does not know.
    UnknownNode,
    /// By the right authority, for a cluster of another name.
    OtherName,
    /// With the name of a node, by another authority.
    OtherAuthority,
    /// With the certificate of a node's client port.
    ClientPlane,
    /// Without any.
    Nobody,
}

impl Knocks {
    const ALL: [Self; 6] = [
        Self::Node,
        Self::UnknownNode,
        Self::OtherName,
        Self::OtherAuthority,
        Self::ClientPlane,
        Self::Nobody,
    ];

    /// Certificate and key, PEM.
    fn shown(self, world: &World) -> Option<(Vec<u8>, Vec<u8>)> {
        let read = |home: std::path::PathBuf, name: &str| {
            let part =
                |end: &str| std::fs::read(home.join(format!("{name}.{end}"))).expect("a file");
            Some((part("pem"), part("key")))
        };
        let issued = |cluster: &str, node| Some(world.cluster.certificates().issued(cluster, node));
        match self {
            Self::Node => read(world.cluster.home(STOLEN), "peer"),
            Self::UnknownNode => issued("test", 9),
            Self::OtherName => issued("best", STOLEN),
            Self::OtherAuthority => Some(world.elsewhere.certificates().issued("test", STOLEN)),
            Self::ClientPlane => read(world.cluster.home(STOLEN), "client"),
            Self::Nobody => None,
        }
    }
}

pub(crate) async fn judge(world: &mut World, judge: &Judge) {
    world.cluster.stop_node(STOLEN).await;
    for who in Knocks::ALL {
        let greeted = greeted(world, who).await;
        let expected = match who {
            Knocks::Node => Verdict::Allowed,
            _ => Verdict::refused("no answer"),
        };
        for node in [1, 2] {
            judge.cell(&format!("the peer port of node {node}"), who, &expected, &greeted);
        }
    }
    let (plane, stop) =
        plane(world, Knocks::Node, STOLEN, "test").await.expect("its own certificate");
    calls(&plane, judge).await;
    stop.cancel();
    for (who, node, cluster) in [
        (Knocks::UnknownNode, 9, "test"),
        (Knocks::OtherName, STOLEN, "best"),
        (Knocks::OtherAuthority, STOLEN, "test"),
    ] {
        let (plane, stop) = plane_of(world, who, node, cluster).await;
        for (lane, name, request) in requests() {
            let answer = plane.call(1, lane, request, CALL_DEADLINE).await;
            let found = verdict(answer);
            judge.cell(
                &format!("{name} on {}", lane.name()),
                who,
                &Verdict::refused("unreachable"),
                &found,
            );
        }
        let bulk = plane.send_bulk(1, Bytes::new(), futures::stream::empty().boxed()).await;
        judge.cell("bulk", who, &Verdict::refused("unreachable"), &verdict(bulk));
        stop.cancel();
    }
    world.cluster.start_node(STOLEN);
    world.cluster.wait_ready(STOLEN).await;
}

async fn plane_of(
    world: &World,
    who: Knocks,
    node: u64,
    cluster: &str,
) -> (PeerPlane, CancellationToken) {
    plane(world, who, node, cluster).await.expect("a plane of its own begins with any certificate")
}

/// Whether the listener says a single byte beyond TLS to somebody who begins as tonic does.
async fn greeted(world: &World, who: Knocks) -> Verdict {
    let shown = who.shown(world);
    let shown = shown.as_ref().map(|(certificate, key)| (certificate.as_slice(), key.as_slice()));
    let name = ServerName::try_from("node-1.test.synod").expect("a name");
    let address = world.cluster.peer_address(1);
    let stream = tls::connect_as(address, name, &world.cluster.ca_pem(), "h2", shown).await;
    let Ok(mut stream) = stream else { return Verdict::refused("no answer") };
    let begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    if stream.write_all(begin).await.is_err() {
        return Verdict::refused("no answer");
    }
    let mut byte = [0];
    match in_time(stream.read(&mut byte)).await {
        Ok(1) => Verdict::Allowed,
        _ => Verdict::refused("no answer"),
    }
}

/// Every kind of call, as the schema has them, harmless to a cluster that would take it.
fn requests() -> Vec<(Lane, String, Bytes)> {
    // Of a term long past, so that even one that is heard moves nothing.
    let vote = Some(wire::Vote { term: 1, node: STOLEN, committed: false });
    let led = Some(wire::Vote { term: 1, node: STOLEN, committed: true });
    let past = wire::VoteRequest { vote, last: None, leadership_transfer: false };
    let raft = [
        (
            "append",
            raft_request::Request::Append(wire::AppendEntries { vote: led, ..Default::default() }),
        ),
        ("vote", raft_request::Request::Vote(past)),
        ("pre_vote", raft_request::Request::PreVote(past)),
        (
            "transfer",
            raft_request::Request::Transfer(wire::TransferLeader { from: vote, to: 2, last: None }),
        ),
        ("read_index", raft_request::Request::ReadIndex(wire::ReadIndexRequest {})),
        ("fetch", raft_request::Request::Fetch(wire::FetchState { at_least: u64::MAX })),
    ];
    let asset = Bytes::from_static(&[7; 16]);
    let nowhere = wire::AssetRead { asset: asset.clone(), offset: 0, length: 1 };
    let look = Some(wire::upload_call::Step::Look(wire::Empty {}));
    let nothing = wire::UploadCall { upload: asset, user: "az-owner".to_owned(), step: look };
    let forward = [
        (
            "propose",
            forward_request::Request::Propose(wire::Propose { group: 77, command: Bytes::new() }),
        ),
        (
            "presence",
            forward_request::Request::Presence(wire::PresenceQuery { user: "az-owner".to_owned() }),
        ),
        ("presences", forward_request::Request::Presences(wire::PresenceQueries::default())),
        (
            "typing",
            forward_request::Request::Typing(wire::Typing {
                conversation: Bytes::new(),
                user: "az-owner".to_owned(),
                on: true,
            }),
        ),
        ("asset_read", forward_request::Request::AssetRead(nowhere)),
        ("upload", forward_request::Request::Upload(nothing)),
        ("founded", forward_request::Request::Founded(wire::FoundedQuery {})),
        ("digest", forward_request::Request::Digest(wire::DigestQuery::default())),
        ("compared", forward_request::Request::Compared(wire::Compared::default())),
        ("fault", forward_request::Request::Fault(wire::FaultSwitch { cut: vec![2] })),
    ];
    let names = |names: &[&str]| -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    };
    assert_eq!(oneof(SCHEMA, "RaftRequest", "request"), names(&raft.each_ref().map(|one| one.0)));
    assert_eq!(
        oneof(SCHEMA, "ForwardRequest", "request"),
        names(&forward.each_ref().map(|one| one.0))
    );
    let raft = raft.into_iter().map(|(name, request)| {
        let request = wire::RaftRequest { group: 1, request: Some(request) };
        (Lane::Raft, name.to_owned(), Bytes::from(request.encode_to_vec()))
    });
    let forward = forward.into_iter().map(|(name, request)| {
        let request = wire::ForwardRequest { request: Some(request) };
        (Lane::Forward, name.to_owned(), Bytes::from(request.encode_to_vec()))
    });
    raft.chain(forward).collect()
}

/// What a node's certificate opens, and what it does not.
async fn calls(plane: &PeerPlane, judge: &Judge) {
    let joined = async {
        let ask = |lane, request| plane.call(1, lane, request, CALL_DEADLINE);
        let of =
            |name: &str| requests().into_iter().find(|one| one.1 == name).expect("there is one");
        while ask(Lane::Raft, of("read_index").2).await.is_err()
            || ask(Lane::Forward, of("presence").2).await.is_err()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    in_time(joined).await;
    for (lane, name, request) in requests() {
        let found = verdict(plane.call(1, lane, request, CALL_DEADLINE).await);
        let expected = match name.as_str() {
            // The switch is on the operations port alone.
            "fault" => Verdict::refused("not_allowed"),
            "asset_read" => Verdict::refused("not_here"),
            _ => Verdict::Allowed,
        };
        judge.cell(&format!("{name} on {}", lane.name()), Knocks::Node, &expected, &found);
    }
    // In another's name: a certificate is good for its own node alone.
    let vote = Some(wire::Vote { term: 1 << 40, node: 2, committed: false });
    let asks = wire::VoteRequest { vote, last: None, leadership_transfer: true };
    let leads = Some(wire::Vote { term: 1 << 40, node: 2, committed: true });
    for (name, request) in [
        (
            "append",
            raft_request::Request::Append(wire::AppendEntries {
                vote: leads,
                ..Default::default()
            }),
        ),
        ("vote", raft_request::Request::Vote(asks)),
        ("pre_vote", raft_request::Request::PreVote(asks)),
        (
            "transfer",
            raft_request::Request::Transfer(wire::TransferLeader {
                from: leads,
                to: 1,
                last: None,
            }),
        ),
    ] {
        let request = wire::RaftRequest { group: 1, request: Some(request) };
        let answer = plane.call(1, Lane::Raft, request.encode_to_vec().into(), CALL_DEADLINE).await;
        let refused = matches!(answer, Err(PeerError::Refused(_)));
        judge.law(refused, || format!("{name} in the name of another node was heard: {answer:?}"));
        let found = if refused { Verdict::refused("refused") } else { Verdict::Allowed };
        judge.cell(
            &format!("{name} in another's name"),
            Knocks::Node,
            &Verdict::refused("refused"),
            &found,
        );
    }
}

fn verdict(answer: Result<Bytes, PeerError>) -> Verdict {
    match answer {
        Ok(_) => Verdict::Allowed,
        Err(PeerError::Unreachable) => Verdict::refused("unreachable"),
        Err(PeerError::Refused(code)) => Verdict::refused(code),
        Err(error) => Verdict::refused(error.to_string()),
    }
}

/// A plane with this certificate that knows node 1; whoever calls it back learns nothing.
async fn plane(
    world: &World,
    who: Knocks,
    node: u64,
    cluster: &str,
) -> Result<(PeerPlane, CancellationToken), transport::peer::Error> {
    let (certificate, key) = who.shown(world).expect("it has one");
    let identity = Identity::from_pem(&certificate, &key, &world.cluster.ca_pem())?;
    let config = Config {
        node,
        cluster: cluster.to_owned(),
        listen: "127.0.0.1:0".parse().expect("an address"),
        identity,
        peers: BTreeMap::from([(1, world.cluster.peer_address(1).to_string())]),
        heartbeat: Config::HEARTBEAT,
        dead_after: Config::DEAD_AFTER,
    };
    let stop = CancellationToken::new();
    let plane = PeerPlane::serve(config, Arc::new(Deaf), stop.clone()).await?;
    Ok((plane, stop))
}

/// Answers nothing.
struct Deaf;

impl PeerHandler for Deaf {
    fn call(&self, _: u64, _: Lane, _: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        Box::pin(async { Err("deaf".to_owned()) })
    }

    fn bulk(
        &self,
        _: u64,
        _: Bytes,
        _: BoxStream<'static, Result<Bytes, PeerError>>,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        Box::pin(async { Err("deaf".to_owned()) })
    }
}
