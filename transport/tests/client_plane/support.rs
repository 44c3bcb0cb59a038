//! A client plane that echoes frames, strangers' clients, and waiting with a deadline.

use std::{collections::VecDeque, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::mpsc};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
use tokio_util::sync::CancellationToken;
use transport::{
    ClientTls, Encoding, Link, LinkError, LinkKind, OnLink, ServerIdentity,
    authority::Authority,
    client_plane::{self, Config, Handle, Limits},
};

/// Only a defect takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for: {what}"))
}

/// What the plane said of a link when it began.
#[derive(Debug)]
pub(crate) struct Began {
    pub(crate) kind: LinkKind,
    pub(crate) encoding: Encoding,
    pub(crate) bearer: Option<String>,
    pub(crate) peer: Option<SocketAddr>,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) plain: SocketAddr,
    pub(crate) ca_pem: String,
    pub(crate) tls: ClientTls,
    pub(crate) began: mpsc::UnboundedReceiver<Began>,
    pub(crate) ended: mpsc::UnboundedReceiver<Result<(), LinkError>>,
    pub(crate) stop: CancellationToken,
    pub(crate) handle: Handle,
}

impl Server {
    pub(crate) async fn ended(&mut self) -> Result<(), LinkError> {
        soon("the end of a link", self.ended.recv()).await.unwrap()
    }

    pub(crate) async fn began(&mut self) -> Began {
        soon("the beginning of a link", self.began.recv()).await.unwrap()
    }

    pub(crate) fn nothing_began(&mut self) -> bool {
        self.began.try_recv().is_err()
    }
}

pub(crate) async fn start() -> Server {
    start_with(Limits::default(), axum::Router::new()).await
}

pub(crate) async fn start_limited(limits: Limits) -> Server {
    start_with(limits, axum::Router::new()).await
}

pub(crate) async fn start_with(limits: Limits, router: axum::Router) -> Server {
    let (began_to, began) = mpsc::unbounded_channel();
    let (ended_to, ended) = mpsc::unbounded_channel();
    let on_link: OnLink = Arc::new(move |link| {
        let (began, ended) = (began_to.clone(), ended_to.clone());
        async move {
            let _ = began.send(Began {
                kind: link.kind,
                encoding: link.encoding,
                bearer: link.bearer.clone(),
                peer: link.peer,
            });
            let _ = ended.send(echo(link).await);
        }
        .boxed()
    });
    let (authority, _) = Authority::create("test").unwrap();
    let issued = authority.issue_client_plane(&[]).unwrap();
    let identity =
        ServerIdentity::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes())
            .unwrap();
    let stop = CancellationToken::new();
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        plain_listen: Some("127.0.0.1:0".parse().unwrap()),
        tls: identity,
        limits,
    };
    let handle = client_plane::serve(config, router, on_link, stop.clone()).await.unwrap();
    Server {
        address: handle.address(),
        plain: handle.plain_address().unwrap(),
        ca_pem: authority.certificate_pem().to_owned(),
        tls: ClientTls::from_ca_pem(authority.certificate_pem().as_bytes()).unwrap(),
        began,
        ended,
        stop,
        handle,
    }
}

/// Sends back what comes; what waits together goes back together.
pub(crate) async fn echo(mut link: Link) -> Result<(), LinkError> {
    let mut queue = VecDeque::new();
    let end = loop {
        match link.reader.next().await {
            Ok(Some(frame)) => queue.push_back(frame),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        while let Some(Ok(Some(frame))) = link.reader.next().now_or_never() {
            queue.push_back(frame);
        }
        if let Err(error) = link.writer.send(&mut queue).await {
            break Err(error);
        }
    };
    let reason = end.as_ref().err().map_or(transport::CloseReason::Normal, LinkError::close_reason);
    link.writer.close(reason).await;
    end
}

pub(crate) fn frames<const N: usize>(frames: [&'static str; N]) -> VecDeque<Bytes> {
    frames.into_iter().map(Bytes::from).collect()
}

/// A TLS connection of a stranger, with these protocols offered.
pub(crate) async fn tls(server: &Server, alpn: &[&str]) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::from(server.address.ip());
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// The same handshake that a browser makes, then the bare stream: for clients that misbehave.
pub(crate) async fn upgraded(server: &Server, encoding: &str) -> TlsStream<TcpStream> {
    use tokio::io::AsyncReadExt;
    let mut stream = tls(server, &["http/1.1"]).await;
    let request = format!(
        "GET /chat?encoding={encoding} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("the handshake's answer", stream.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    // The example of RFC 6455, section 1.3.
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    stream
}

/// Another implementation's WebSocket client.
pub(crate) async fn stranger(
    server: &Server,
    encoding: &str,
) -> WebSocketStream<TlsStream<TcpStream>> {
    let stream = upgraded(server, encoding).await;
    WebSocketStream::from_raw_socket(stream, Role::Client, None).await
}

/// A WebSocket over HTTP/2 (RFC 8441) of another implementation.
pub(crate) async fn stranger_h2(
    server: &Server,
    encoding: &str,
) -> WebSocketStream<TokioIo<hyper::upgrade::Upgraded>> {
    use hyper::{Method, Request, Version, client::conn::http2, ext::Protocol};
    let stream = tls(server, &["h2"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut sender, connection) =
        http2::handshake(hyper_util::rt::TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::CONNECT)
        .version(Version::HTTP_2)
        .uri(format!("https://localhost/chat?encoding={encoding}"))
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .header("authorization", "Bearer over-h2")
        .body(http_body_util::Empty::<Bytes>::new())
        .unwrap();
    // The setting that permits extended CONNECT arrives with the server's first frame.
    sender.ready().await.unwrap();
    let response = soon("an answer to CONNECT", sender.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 200);
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await
}
