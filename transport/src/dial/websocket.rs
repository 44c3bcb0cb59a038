//! Dialling a WebSocket over HTTP/1.1.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{
        AUTHORIZATION, CONNECTION, HOST, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

use super::{DIAL_DEADLINE, DialError, connect};
use crate::{
    ClientTls, Encoding, Link, LinkKind, LinkReader, LinkWriter,
    link::{
        Pace, ReaderKind, WriterKind,
        stop::Stop,
        websocket::{self, Io, Role},
    },
};

/// Dials a WebSocket over HTTP/1.1, with a bearer token in its header if one is given.
///
/// # Errors
/// See [`DialError`].
pub async fn websocket(
    tls: &ClientTls,
    address: SocketAddr,
    encoding: Encoding,
    bearer: Option<&str>,
) -> Result<Link, DialError> {
    timeout(DIAL_DEADLINE, Box::pin(dial(tls, address, encoding, bearer)))
        .await
        .map_err(|_| DialError::TimedOut { address })?
}

async fn dial(
    tls: &ClientTls,
    address: SocketAddr,
    encoding: Encoding,
    bearer: Option<&str>,
) -> Result<Link, DialError> {
    let stream = connect(tls, address).await?;
    let broken =
        |error: hyper::Error| DialError::Unreachable { address, detail: error.to_string() };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Lives until the connection is handed over, or breaks.
    tokio::spawn(connection.with_upgrades());
    let key = generate_key();
    let request = request(address, encoding, bearer, &key)?;
    let response = sender.send_request(request).await.map_err(broken)?;
    check(&response, &key)?;
    let upgraded = hyper::upgrade::on(response).await.map_err(broken)?;
    let parts = upgraded
        .downcast::<TokioIo<TlsStream<TcpStream>>>()
        .map_err(|_| DialError::Protocol("not the stream that was dialled".into()))?;
    let (reader, writer) = websocket::halves(
        Io::Client(Box::new(parts.io.into_inner())),
        &parts.read_buf,
        Role::Client,
        encoding,
        Pace::default(),
        Stop::never(),
    );
    Ok(Link {
        reader: LinkReader::new(ReaderKind::WebSocket(reader)),
        writer: LinkWriter::new(WriterKind::WebSocket(writer)),
        encoding,
        kind: LinkKind::WebSocket,
        peer: Some(address),
        bearer: None,
        resume: None,
    })
}

fn request(
    address: SocketAddr,
    encoding: Encoding,
    bearer: Option<&str>,
    key: &str,
) -> Result<Request<Empty<Bytes>>, DialError> {
    let path = match encoding {
        Encoding::Binary => "/chat?encoding=binary",
        Encoding::Text => "/chat?encoding=text",
    };
    let mut request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(HOST, address.to_string())
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, key);
    if let Some(token) = bearer {
        request = request.header(AUTHORIZATION, bearer_value(token)?);
    }
    request.body(Empty::new()).map_err(|error| DialError::Protocol(error.to_string()))
}

/// `Bearer <token>`, kept out of debug output.
pub(crate) fn bearer_value(token: &str) -> Result<HeaderValue, DialError> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| DialError::Protocol("this token cannot stand in a header".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn check(response: &Response<Incoming>, key: &str) -> Result<(), DialError> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(DialError::Refused { status: response.status().as_u16() });
    }
    let accept = derive_accept_key(key.as_bytes());
    match response.headers().get(SEC_WEBSOCKET_ACCEPT) {
        Some(value) if value.as_bytes() == accept.as_bytes() => Ok(()),
        _ => Err(DialError::Protocol("the handshake's key was not answered".into())),
    }
}
