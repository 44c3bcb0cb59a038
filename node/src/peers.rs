//! Adapters between rooms that do not know each other: raft's network port and the forward lane, both over the
//! peer plane of `transport`.
//!
//! A call that arrives is handed to the room it is for in the order of arrival; nothing is decided here.

mod asking;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt as _};
use prost::Message as _;
use proto::peer::{
    self, AssetHeader, AssetRead, ForwardFailure, ForwardRequest, ForwardResponse, PresenceAnswer,
    PresenceAnswers, PresenceQueries, PresenceQuery, Propose, UploadCall, UploadState,
    forward_request, forward_response,
};
use raft::{GroupId, Network, NetworkError, NodeId, ProposeError, Raft};
use tokio_util::sync::CancellationToken;
use transport::peer::{DiskState, Lane, PeerError, PeerHandler};

use crate::asset::{Local, WeakAssets};
use crate::cluster::Configured;
use crate::digest::Digests;
use crate::fanout::Typing;
use crate::membership::is_removed;
use crate::plane::Plane;
use crate::presence::LocalPresence;
use crate::typing::TypingNews;
use crate::upgrade::Spoken;

/// How long a forwarded command may take: as long as its leader may hold it, plus the way.
const FORWARD_DEADLINE: Duration = Duration::from_millis(3500);
/// How long another node may take to give a piece of an asset: its disk, and a megabyte on the way.
const PIECE_DEADLINE: Duration = Duration::from_secs(3);
/// How long another node may take over a step of an upload, of which the last spreads all of it.
const STEP_DEADLINE: Duration = Duration::from_secs(300);
/// How long another node may take to say whether a user is connected there.
const PRESENCE_DEADLINE: Duration = Duration::from_millis(500);

/// What another node is told before this one serves.
const NOT_READY: &str = "not_ready";

/// The other nodes, as this node reaches them. Cheap to clone; set once the peer plane listens.
#[derive(Clone, Default)]
pub(crate) struct Peers {
    plane: Arc<OnceLock<Arc<dyn Plane>>>,
}

impl Peers {
    /// Connects the adapters to the peer plane. Called once.
    pub(crate) fn connect(&self, plane: Arc<dyn Plane>) {
        assert!(self.plane.set(plane).is_ok(), "the peer plane is connected once");
    }

    /// Knows the nodes of the cluster as group 0 has them, until `stop`; `known` are those that it began with.
    pub(crate) async fn follow(
        self,
        own: NodeId,
        mut known: BTreeSet<u64>,
        mut configured: Configured,
        stop: CancellationToken,
    ) {
        loop {
            let config = configured.borrow_and_update().clone();
            if let (Some(config), Some(plane)) = (config, self.plane.get()) {
                let others = config.nodes.iter().filter(|(id, _)| **id != own);
                let others: BTreeMap<_, _> = others.map(|(id, node)| (id.0, node)).collect();
                // Whoever reads an old map must not turn away those who came later: one of them may lead, and send the rest.
                let gone = known.extract_if(.., |node| is_removed(&config, NodeId(*node)));
                gone.for_each(|node| plane.remove_peer(node));
                for (node, at) in &others {
                    plane.add_peer(*node, at.addresses.peer.clone());
                }
                known.extend(others.into_keys());
            }
            if !matches!(stop.run_until_cancelled(configured.changed()).await, Some(Ok(()))) {
                return;
            }
        }
    }

    /// Whether `node` was heard lately.
    pub(crate) fn alive(&self, node: u64) -> bool {
        self.plane.get().is_some_and(|plane| plane.alive(node))
    }

    /// What `node` says of its disk.
    pub(crate) fn disk(&self, node: u64) -> DiskState {
        self.plane.get().map(|plane| plane.disk(node)).unwrap_or_default()
    }

    /// Shows and trusts what this identity says from the next handshake on.
    pub(crate) fn renew(
        &self,
        identity: &transport::peer::Identity,
    ) -> Result<(), transport::peer::Error> {
        self.plane.get().map_or(Ok(()), |plane| plane.renew(identity))
    }

    /// Cuts this node off from `nodes`, both ways; an empty set heals.
    pub(crate) fn cut(&self, nodes: BTreeSet<u64>) {
        if let Some(plane) = self.plane.get() {
            plane.cut(nodes);
        }
    }

    /// Hands a command to the leader of its group. The place in line is taken by this call.
    pub(crate) fn forward(
        &self,
        to: u64,
        group: GroupId,
        command: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, ProposeError>> {
        let Some(plane) = self.plane.get() else {
            return Box::pin(async { Err(ProposeError::NotLeader { leader: None }) });
        };
        let propose = Propose { group: group.0, command };
        let request = ForwardRequest { request: Some(forward_request::Request::Propose(propose)) };
        let call = plane.call(to, Lane::Forward, request.encode_to_vec().into(), FORWARD_DEADLINE);
        Box::pin(async move { answer_of(call.await) })
    }

    /// Tells `node` that somebody is writing; what it makes of it is of no consequence.
    pub(crate) async fn typing(&self, node: u64, typing: &Typing) {
        let Some(plane) = self.plane.get() else { return };
        let typing = forward_request::Request::Typing(peer::Typing {
            conversation: Bytes::copy_from_slice(typing.conversation.as_bytes()),
            user: typing.user.as_str().to_owned(),
            on: typing.on,
        });
        let request = ForwardRequest { request: Some(typing) }.encode_to_vec().into();
        let _ = plane.call(node, Lane::Forward, request, PRESENCE_DEADLINE).await;
    }

    /// Asks `node` about a user's links there. `None` when it does not answer in time.
    pub(crate) async fn presence(&self, node: u64, user: &chat::UserId) -> Option<PresenceAnswer> {
        let plane = self.plane.get()?;
        let query = PresenceQuery { user: user.as_str().to_owned() };
        let request = ForwardRequest { request: Some(forward_request::Request::Presence(query)) };
        let call =
            plane.call(node, Lane::Forward, request.encode_to_vec().into(), PRESENCE_DEADLINE);
        match ForwardResponse::decode(call.await.ok()?).ok()?.response? {
            forward_response::Response::Presence(answer) => Some(answer),
            _ => None,
        }
    }
}

/// Presence of many.
impl Peers {
    /// Asks `node` which of these users have links there. `None` when it does not answer in time.
    pub(crate) async fn presences(&self, node: u64, users: &[chat::UserId]) -> Option<Vec<bool>> {
        let plane = self.plane.get()?;
        let users: Vec<String> = users.iter().map(|user| user.as_str().to_owned()).collect();
        let asked = users.len();
        let queries = forward_request::Request::Presences(PresenceQueries { users });
        let request = ForwardRequest { request: Some(queries) }.encode_to_vec().into();
        let call = plane.call(node, Lane::Forward, request, PRESENCE_DEADLINE);
        match ForwardResponse::decode(call.await.ok()?).ok()?.response? {
            forward_response::Response::Presences(answers) if answers.online.len() == asked => {
                Some(answers.online)
            }
            _ => None,
        }
    }
}

/// Assets.
impl Peers {
    /// Asks `node` for a piece of an asset. `None` when it does not have it or does not answer in time.
    pub(crate) async fn asset_piece(
        &self,
        node: u64,
        id: chat::AssetId,
        offset: u64,
        length: usize,
    ) -> Option<Bytes> {
        let plane = self.plane.get()?;
        let asset = Bytes::copy_from_slice(id.as_bytes());
        let read = AssetRead { asset, offset, length: length as u64 };
        let request = ForwardRequest { request: Some(forward_request::Request::AssetRead(read)) };
        let call = plane.call(node, Lane::Forward, request.encode_to_vec().into(), PIECE_DEADLINE);
        match ForwardResponse::decode(call.await.ok()?).ok()?.response? {
            forward_response::Response::AssetPiece(piece) => Some(piece),
            _ => None,
        }
    }

    /// Passes a step of an upload on to the node that keeps it.
    pub(crate) async fn upload_step(
        &self,
        node: u64,
        call: UploadCall,
    ) -> Result<UploadState, PeerError> {
        let plane = self.plane.get().ok_or(PeerError::Unreachable)?;
        let request = ForwardRequest { request: Some(forward_request::Request::Upload(call)) };
        let call = plane.call(node, Lane::Forward, request.encode_to_vec().into(), STEP_DEADLINE);
        match ForwardResponse::decode(call.await?).ok().and_then(|answer| answer.response) {
            Some(forward_response::Response::Upload(state)) => Ok(state),
            _ => Err(PeerError::Lost),
        }
    }

    /// Sends the bytes of an asset to `node`. Answered when they are on stable storage there.
    pub(crate) fn send_asset(
        &self,
        node: u64,
        header: &AssetHeader,
        chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        match self.plane.get() {
            Some(plane) => plane.send_bulk(node, header.encode_to_vec().into(), chunks),
            None => Box::pin(async { Err(PeerError::Unreachable) }),
        }
    }
}

/// What a forwarded command came to. Only what certainly was not proposed is told as such.
fn answer_of(answer: Result<Bytes, PeerError>) -> Result<Bytes, ProposeError> {
    let bytes = match answer {
        Ok(bytes) => bytes,
        Err(PeerError::Unreachable) => return Err(ProposeError::NotLeader { leader: None }),
        Err(PeerError::Refused(code)) if code == transport::peer::code::OVERLOADED => {
            return Err(ProposeError::Overloaded { retry_after: OVERLOAD_PAUSE });
        }
        Err(PeerError::Refused(_) | PeerError::Lost | PeerError::Timeout) => {
            return Err(ProposeError::Unknown);
        }
    };
    match ForwardResponse::decode(bytes).ok().and_then(|answer| answer.response) {
        Some(forward_response::Response::Outcome(outcome)) => Ok(outcome),
        Some(forward_response::Response::Failure(failure)) => Err(failure_of(&failure)),
        Some(
            forward_response::Response::Presence(_)
            | forward_response::Response::Presences(_)
            | forward_response::Response::AssetPiece(_)
            | forward_response::Response::Upload(_)
            | forward_response::Response::Founded(_)
            | forward_response::Response::Digest(_),
        )
        | None => Err(ProposeError::Unknown),
    }
}

/// How long to wait before an overloaded node is asked again when it does not say.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(50);

fn failure_of(failure: &ForwardFailure) -> ProposeError {
    match failure.code.as_str() {
        "not_leader" => {
            let leader = (failure.leader != 0).then_some(NodeId(failure.leader));
            ProposeError::NotLeader { leader }
        }
        "overloaded" => {
            ProposeError::Overloaded { retry_after: Duration::from_millis(failure.retry_after_ms) }
        }
        "unavailable" => ProposeError::Unavailable,
        "stopped" => ProposeError::Stopped,
        _ => ProposeError::Unknown,
    }
}

fn failure_from(error: &ProposeError) -> ForwardFailure {
    let plain = |code: &str| ForwardFailure { code: code.to_owned(), leader: 0, retry_after_ms: 0 };
    match error {
        ProposeError::NotLeader { leader } => {
            ForwardFailure { leader: leader.map_or(0, |node| node.0), ..plain("not_leader") }
        }
        ProposeError::Overloaded { retry_after } => ForwardFailure {
            retry_after_ms: u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX),
            ..plain("overloaded")
        },
        ProposeError::Unavailable => plain("unavailable"),
        ProposeError::Unknown => plain("unknown"),
        ProposeError::Stopped => plain("stopped"),
    }
}

impl Network for Peers {
    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, NetworkError>> {
        let Some(plane) = self.plane.get() else {
            return Box::pin(async { Err(NetworkError::Unreachable) });
        };
        let call = plane.call(to.0, Lane::Raft, request, deadline);
        Box::pin(async move { call.await.map_err(network_error) })
    }

    fn send_snapshot(
        &self,
        to: NodeId,
        header: Bytes,
        chunks: BoxStream<'static, Result<Bytes, raft::Fatal>>,
    ) -> BoxFuture<'static, Result<Bytes, NetworkError>> {
        let Some(plane) = self.plane.get() else {
            return Box::pin(async { Err(NetworkError::Unreachable) });
        };
        let chunks = chunks.map(|chunk| chunk.map_err(|fatal| fatal.to_string()));
        let sent = plane.send_bulk(to.0, header, chunks.boxed());
        Box::pin(async move { sent.await.map_err(network_error) })
    }

    fn alive(&self, node: NodeId) -> bool {
        Peers::alive(self, node.0)
    }

    fn slow(&self, node: NodeId) -> bool {
        self.disk(node.0).slow
    }
}

fn network_error(error: PeerError) -> NetworkError {
    match error {
        PeerError::Unreachable => NetworkError::Unreachable,
        PeerError::Lost => NetworkError::Lost,
        PeerError::Timeout => NetworkError::Timeout,
        PeerError::Refused(code) => NetworkError::Refused(code),
    }
}

/// What this node does with calls of the others.
pub(crate) struct Callee {
    /// The groups.
    pub(crate) raft: Raft,
    /// Who is connected here.
    pub(crate) presence: Arc<dyn LocalPresence>,
    /// The way to them for those who write.
    pub(crate) typing: TypingNews,
    /// The assets that lie here.
    pub(crate) assets: Local,
    /// Uploads in steps, once this node serves clients.
    pub(crate) uploads: Arc<OnceLock<WeakAssets>>,
    /// What replicas here come to.
    pub(crate) digests: Digests,
}

impl PeerHandler for Callee {
    fn call(
        &self,
        from: u64,
        lane: Lane,
        request: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        match lane {
            Lane::Raft => {
                let handled = self.raft.handle(NodeId(from), request);
                Box::pin(async move { handled.await.map_err(|error| error.to_string()) })
            }
            Lane::Forward => self.forwarded(request),
            Lane::Bulk => Box::pin(async { Err("no_calls_on_bulk".to_owned()) }),
        }
    }

    fn bulk(
        &self,
        from: u64,
        header: Bytes,
        chunks: BoxStream<'static, Result<Bytes, PeerError>>,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        // A snapshot's header has no such field, and an asset's has no other.
        if let Ok(asset) = AssetHeader::decode(header.clone())
            && !asset.asset.is_empty()
        {
            let assets = self.assets.clone();
            return Box::pin(async move { assets.receive(asset, chunks).await });
        }
        let chunks = chunks.map(|chunk| chunk.map_err(network_error)).boxed();
        let received = self.raft.receive_snapshot(NodeId(from), header, chunks);
        Box::pin(async move { received.await.map_err(|error| error.to_string()) })
    }
}

impl Callee {
    /// Which of these users have a link here; whoever cannot be named has none.
    fn presences(&self, queries: &PresenceQueries) -> PresenceAnswers {
        let online = |name: &String| {
            chat::UserId::parse(name).is_ok_and(|user| self.presence.is_online(&user))
        };
        PresenceAnswers { online: queries.users.iter().map(online).collect() }
    }

    /// A request that another node passed on. A proposal takes its place in line before this returns.
    fn forwarded(&self, request: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let request = ForwardRequest::decode(request).ok().and_then(|request| request.request);
        let Some(request) = request else {
            return Box::pin(async { Err(transport::peer::code::MALFORMED.to_owned()) });
        };
        match request {
            forward_request::Request::Propose(Propose { group, command }) => {
                let submitted = match self.raft.group(GroupId(group)) {
                    Some(group) => group.submit(command),
                    None => Err(ProposeError::NotLeader { leader: None }),
                };
                Box::pin(async move {
                    let answer = match submitted {
                        Ok(pending) => pending.await,
                        Err(refused) => Err(refused),
                    };
                    Ok(respond(match answer {
                        Ok(outcome) => forward_response::Response::Outcome(outcome),
                        Err(error) => forward_response::Response::Failure(failure_from(&error)),
                    }))
                })
            }
            forward_request::Request::Presence(query) => {
                let online = chat::UserId::parse(&query.user)
                    .is_ok_and(|user| self.presence.is_online(&user));
                let answer = PresenceAnswer { online, last_seen_ms: 0 };
                Box::pin(async move { Ok(respond(forward_response::Response::Presence(answer))) })
            }
            forward_request::Request::Presences(queries) => {
                let answers = self.presences(&queries);
                Box::pin(async move { Ok(respond(forward_response::Response::Presences(answers))) })
            }
            forward_request::Request::Typing(typing) => {
                if let Some(typing) = typing_of(&typing) {
                    self.typing.tell(&typing);
                }
                nothing()
            }
            forward_request::Request::AssetRead(AssetRead { asset, offset, length }) => {
                let assets = self.assets.clone();
                Box::pin(async move {
                    let piece = assets.piece(&asset, offset, length).await?;
                    Ok(respond(forward_response::Response::AssetPiece(piece)))
                })
            }
            forward_request::Request::Upload(call) => {
                let uploads = self.uploads.get().and_then(WeakAssets::upgrade);
                Box::pin(async move {
                    let uploads = uploads.ok_or_else(|| NOT_READY.to_owned())?;
                    let state = uploads.passed(call).await?;
                    Ok(respond(forward_response::Response::Upload(state)))
                })
            }
            forward_request::Request::Founded(_) => {
                let founded = self.raft.has_begun(GroupId::CLUSTER);
                let answer = forward_response::Response::Founded(founded_answer(founded));
                Box::pin(async move { Ok(respond(answer)) })
            }
            forward_request::Request::Digest(query) => {
                let answer = respond(forward_response::Response::Digest(self.digests.say(&query)));
                Box::pin(async move { Ok(answer) })
            }
            forward_request::Request::Compared(compared) => {
                self.digests.hear(&compared);
                nothing()
            }
            // A peer may not break this node: the switch is on the operations port.
            forward_request::Request::Fault(_) => Box::pin(async { Err("not_allowed".to_owned()) }),
        }
    }
}

fn founded_answer(founded: bool) -> peer::FoundedAnswer {
    let Spoken { min, max, release } = Spoken::here();
    peer::FoundedAnswer { founded, speaks_min: min.0, speaks_max: max.0, release }
}

fn typing_of(typing: &peer::Typing) -> Option<Typing> {
    Some(Typing {
        conversation: chat::ConversationId::from_bytes(&typing.conversation).ok()?,
        user: chat::UserId::parse(&typing.user).ok()?,
        on: typing.on,
    })
}

/// Whoever told something hears that it was heard.
fn nothing() -> BoxFuture<'static, Result<Bytes, String>> {
    let nothing = ForwardResponse { response: None }.encode_to_vec().into();
    Box::pin(async move { Ok(nothing) })
}

fn respond(response: forward_response::Response) -> Bytes {
    ForwardResponse { response: Some(response) }.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_forward_lane_with_its_certainty() {
        for error in [
            ProposeError::NotLeader { leader: None },
            ProposeError::NotLeader { leader: Some(NodeId(3)) },
            ProposeError::Overloaded { retry_after: Duration::from_millis(70) },
            ProposeError::Unavailable,
            ProposeError::Unknown,
            ProposeError::Stopped,
        ] {
            let bytes = respond(forward_response::Response::Failure(failure_from(&error)));
            assert_eq!(answer_of(Ok(bytes)), Err(error));
        }
    }

    #[test]
    fn only_an_unsent_call_is_told_as_not_written() {
        let definite = answer_of(Err(PeerError::Unreachable)).expect_err("no answer");
        assert_eq!(definite.certainty(), raft::Certainty::Definite);
        for lost in [PeerError::Lost, PeerError::Timeout, PeerError::Refused("gone".to_owned())] {
            let error = answer_of(Err(lost)).expect_err("no answer");
            assert_eq!(error.certainty(), raft::Certainty::Unknown);
        }
        let garbage = answer_of(Ok(Bytes::from_static(b"\xff"))).expect_err("no answer");
        assert_eq!(garbage.certainty(), raft::Certainty::Unknown);
    }
}
