//! The UDP side: one QUIC endpoint, dispatched by the protocol that the handshake agreed on.
//!
//! `synod/1` is the native link. `h3`, which will carry WebTransport, is recognised and refused with a
//! code of its own. No early data: it could be replayed.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use quinn::{
    Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime, TransportConfig, VarInt,
    crypto::rustls::{HandshakeData, QuicServerConfig},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::timeout;

use super::{Limits, Plane, admission::Permit};
use crate::{
    CloseReason, Encoding, Link, LinkKind, LinkReader, LinkWriter, ServerIdentity, TlsError,
    link::{ReaderKind, SILENCE_MAX, WriterKind, quic, stop::Stop},
    tls::{ALPN_H3, ALPN_SYNOD},
};

/// Buffers of the UDP socket, bytes: some thousand packets may wait while all cores are busy. The system
/// may grant less.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Unanswered first packets that may wait for the accept loop.
const INCOMING_MAX: usize = 1024;
/// What a peer may send on a stream before it is read, bytes. With the send window, what bounds the
/// memory of one connection.
const RECEIVE_WINDOW_BYTES: u32 = 128 << 10;
/// What may be sent and not yet acknowledged, bytes; more makes the writer wait.
const SEND_WINDOW_BYTES: u64 = 256 << 10;

/// What both ends of a link agree on: when a peer is dead, and how much may be under way.
pub(crate) fn transport_config(silence: Duration) -> TransportConfig {
    let mut config = TransportConfig::default();
    let idle = silence.try_into().expect("seconds fit into a QUIC idle timeout");
    config
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(silence * 2 / 5))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        // Typing and presence will travel as datagrams; until then none are accepted.
        .datagram_receive_buffer_size(None);
    config
}

const _: () = assert!(SILENCE_MAX.as_secs() == 5, "the presence rule of the specification");

pub(super) fn server_config(
    identity: &ServerIdentity,
    limits: &Limits,
) -> Result<ServerConfig, TlsError> {
    let crypto = QuicServerConfig::try_from(identity.quic_config()?)
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(transport_config(limits.silence)))
        .max_incoming(INCOMING_MAX)
        .migration(true);
    Ok(config)
}

/// A UDP socket with room for bursts.
pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // Best effort: a smaller buffer only means more retransmission under load.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    if address.is_ipv6() {
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

pub(super) fn endpoint(config: ServerConfig, socket: UdpSocket) -> io::Result<Endpoint> {
    let runtime = Arc::new(TokioRuntime);
    Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime)
}

/// Accepts until the plane stops. Handshakes run in tasks of their own.
pub(super) async fn accept(plane: Arc<Plane>, endpoint: Endpoint) {
    let stop = plane.stop.clone();
    let mut stopped = pin!(stop.cancelled());
    loop {
        let incoming = tokio::select! {
            biased;
            () = &mut stopped => return,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        if plane.admission.crowded() && !incoming.remote_address_validated() && incoming.may_retry()
        {
            // A forged address cannot take a place: the client has to come back with a token.
            let _ = incoming.retry();
            continue;
        }
        let Some(permit) = plane.admission.admit(incoming.remote_address().ip()) else {
            incoming.refuse();
            continue;
        };
        plane.tasks.spawn(serve(Arc::clone(&plane), incoming, permit));
    }
}

async fn serve(plane: Arc<Plane>, incoming: Incoming, permit: Permit) {
    let peer = incoming.remote_address();
    let connecting = timeout(plane.limits.handshake, incoming.into_future());
    let connection = match plane.stop.run_until_cancelled(connecting).await {
        Some(Ok(Ok(connection))) => connection,
        Some(Ok(Err(error))) => return tracing::debug!(%error, %peer, "no QUIC handshake"),
        Some(Err(_)) => return tracing::debug!(%peer, "QUIC handshake took too long"),
        None => return,
    };
    match protocol(&connection).as_deref() {
        Some(ALPN_SYNOD) => {
            // Boxed: the handshake's state must not stay allocated for the life of the link.
            let ended = Box::pin(native(&plane, &connection)).await;
            close(&connection, ended);
        }
        // The seam for WebTransport.
        Some(ALPN_H3) => close(&connection, CloseReason::NotServed),
        _ => close(&connection, CloseReason::Protocol),
    }
    drop(permit);
}

/// Runs the one stream of a native connection as a link.
async fn native(plane: &Plane, connection: &quinn::Connection) -> CloseReason {
    let accepting = timeout(plane.limits.first_stream, connection.accept_bi());
    let stream = match plane.stop.run_until_cancelled(accepting).await {
        Some(Ok(Ok(stream))) => stream,
        Some(Ok(Err(_))) => return CloseReason::Normal,
        Some(Err(_)) => return CloseReason::TimedOut,
        None => return CloseReason::GoingAway,
    };
    let stop = Stop::with(&plane.stop);
    let (reader, writer) = quic::halves(connection.clone(), stream, plane.limits.write, stop);
    let link = Link {
        reader: LinkReader::new(ReaderKind::Quic(reader)),
        writer: LinkWriter::new(WriterKind::Quic(writer)),
        encoding: Encoding::Binary,
        kind: LinkKind::Quic,
        peer: Some(connection.remote_address()),
        bearer: None,
        resume: None,
    };
    plane.run_link(link).await;
    CloseReason::Normal
}

fn protocol(connection: &quinn::Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}

/// Ends a connection; does nothing if the session has already done so.
fn close(connection: &quinn::Connection, reason: CloseReason) {
    connection.close(u32::from(reason.code()).into(), &[]);
}
