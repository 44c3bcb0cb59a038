//! The tonic service `synod.peer.v1.Peer`, written by hand: one method per lane and one for
//! transfers. The path is all that says which lane a stream belongs to.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{Stream, future::BoxFuture};
use hyper::http;
use hyper_util::rt::TokioIo;
use proto::peer::{Batch, BulkAnswer, Chunk};
use tokio_rustls::client::TlsStream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::http::uri::PathAndQuery,
    server::{ClientStreamingService, NamedService, StreamingService},
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::{
    Lane, bulk,
    gate::Gated,
    inbound::{Exchange, Inbound, WireInfo},
    limits::{
        BATCH_DECODE_MAX, BULK_WINDOW_BYTES, CHUNK_DECODE_MAX, PING_INTERVAL, PING_PATIENCE,
        WINDOW_BYTES,
    },
};

const TRANSFER: &str = "/synod.peer.v1.Peer/Transfer";

fn path(lane: Lane) -> &'static str {
    match lane {
        Lane::Raft => "/synod.peer.v1.Peer/Raft",
        Lane::Forward => "/synod.peer.v1.Peer/Forward",
        Lane::Bulk => "/synod.peer.v1.Peer/Bulk",
    }
}

// ---- dialling end ----

/// Speaks h2 on a connection whose other end has shown its certificate.
pub(super) async fn channel(
    tls: TlsStream<Gated>,
    lane: Lane,
) -> Result<Channel, tonic::transport::Error> {
    let window = if lane == Lane::Bulk { BULK_WINDOW_BYTES } else { WINDOW_BYTES };
    let mut once = Some(TokioIo::new(tls));
    let connector = tower::service_fn(move |_| {
        let io = once.take().ok_or_else(|| std::io::Error::other("a link is dialled once"));
        async move { io }
    });
    Endpoint::from_static("http://peer.synod")
        .initial_stream_window_size(window)
        .initial_connection_window_size(window * 2)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_PATIENCE)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
}

/// Opens the stream of a lane; returns when the peer has accepted it.
pub(super) async fn exchange(
    channel: Channel,
    lane: Lane,
    requests: impl Stream<Item = Batch> + Send + 'static,
) -> Result<Streaming<Batch>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(BATCH_DECODE_MAX);
    grpc.ready().await.map_err(|e| Status::from_error(Box::new(e)))?;
    let codec = ProstCodec::<Batch, Batch>::default();
    let path = PathAndQuery::from_static(path(lane));
    Ok(grpc.streaming(Request::new(requests), path, codec).await?.into_inner())
}

/// Sends the chunks of a transfer and waits for the answer.
pub(super) async fn transfer(
    channel: Channel,
    chunks: impl Stream<Item = Chunk> + Send + 'static,
) -> Result<BulkAnswer, Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|e| Status::from_error(Box::new(e)))?;
    let codec = ProstCodec::<Chunk, BulkAnswer>::default();
    let path = PathAndQuery::from_static(TRANSFER);
    Ok(grpc.client_streaming(Request::new(chunks), path, codec).await?.into_inner())
}

// ---- listening end ----

/// The service that tonic serves on every accepted connection.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) inbound: Arc<Inbound>,
}

impl NamedService for Service {
    const NAME: &'static str = "synod.peer.v1.Peer";
}

impl tower::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let inbound = self.inbound.clone();
        let asked = request.uri().path();
        if asked == TRANSFER {
            return Box::pin(async move {
                let codec = ProstCodec::<BulkAnswer, Chunk>::default();
                let mut grpc =
                    tonic::server::Grpc::new(codec).max_decoding_message_size(CHUNK_DECODE_MAX);
                Ok(grpc.client_streaming(TransferMethod { inbound }, request).await)
            });
        }
        let Some(lane) = Lane::ALL.into_iter().find(|lane| path(*lane) == asked) else {
            return Box::pin(async { Ok(Status::unimplemented("no such lane").into_http()) });
        };
        Box::pin(async move {
            let codec = ProstCodec::<Batch, Batch>::default();
            let mut grpc =
                tonic::server::Grpc::new(codec).max_decoding_message_size(BATCH_DECODE_MAX);
            Ok(grpc.streaming(ExchangeMethod { inbound, lane }, request).await)
        })
    }
}

/// Whose connection a request came on. Set when the connection was accepted.
fn caller<T>(request: &Request<T>) -> WireInfo {
    let info = request.extensions().get::<WireInfo>();
    info.expect("every connection handed to tonic carries its peer").clone()
}

struct ExchangeMethod {
    inbound: Arc<Inbound>,
    lane: Lane,
}

impl StreamingService<Batch> for ExchangeMethod {
    type Response = Batch;
    type ResponseStream = Exchange;
    type Future = std::future::Ready<Result<Response<Exchange>, Status>>;

    fn call(&mut self, request: Request<Streaming<Batch>>) -> Self::Future {
        let peer = caller(&request).peer;
        let exchange = Exchange::new(self.inbound.clone(), peer, self.lane, request.into_inner());
        std::future::ready(Ok(Response::new(exchange)))
    }
}

struct TransferMethod {
    inbound: Arc<Inbound>,
}

impl ClientStreamingService<Chunk> for TransferMethod {
    type Response = BulkAnswer;
    type Future = BoxFuture<'static, Result<Response<BulkAnswer>, Status>>;

    fn call(&mut self, request: Request<Streaming<Chunk>>) -> Self::Future {
        let peer = caller(&request).peer;
        let handler = self.inbound.handler.clone();
        Box::pin(async move {
            let answer = bulk::receive(handler, peer, request.into_inner()).await;
            Ok(Response::new(answer))
        })
    }
}
