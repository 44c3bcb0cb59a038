//! `/chat`: where an HTTP request becomes a link, on HTTP/1.1 (RFC 6455) and on HTTP/2 (RFC 8441).
//!
//! The handshake is checked here; the bytes after it belong to the link. No extension and no
//! subprotocol is ever agreed, so compression stays off. Who may speak is decided above.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Version,
        header::{
            AUTHORIZATION, CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
            SEC_WEBSOCKET_VERSION, UPGRADE,
        },
    },
    response::Response,
    routing::any,
};
use hyper::{
    ext::Protocol,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade::downcast};
use proto::problem::{Problem, ProblemCode};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Plane, patience::PatientStream, tcp::Connection};
use crate::{
    Encoding, Link, LinkKind, LinkReader, LinkWriter,
    link::{
        Pace, ReaderKind, WriterKind,
        stop::Stop,
        websocket::{self, Io, Role},
    },
};

/// What an earlier link of the device was given, where the first frame says nothing because `Authorization` did.
const RESUME: &str = "synod-resume";

/// Adds the route; the rest of the router stays the caller's.
pub(super) fn add(router: Router, plane: &Arc<Plane>) -> Router {
    router.route("/chat", any(upgrade).with_state(Arc::clone(plane)))
}

async fn upgrade(State(plane): State<Arc<Plane>>, mut request: Request) -> Response {
    let encoding = match encoding(request.uri().query().unwrap_or_default()) {
        Ok(encoding) => encoding,
        Err(problem) => return refusal(&problem),
    };
    let accepted = match handshake(&request) {
        Ok(accepted) => accepted,
        Err(what) => return refusal(&Problem::new(ProblemCode::InvalidRequest, what)),
    };
    let Some(connection) = request.extensions().get::<Arc<Connection>>().cloned() else {
        return refusal(&Problem::new(ProblemCode::Internal, "no connection to upgrade"));
    };
    let greeting = Greeting::of(request.headers(), encoding);
    let upgrade = hyper::upgrade::on(&mut request);
    let task = run(Arc::clone(&plane), connection, upgrade, greeting);
    plane.tasks.spawn(task);
    accepted
}

/// Waits for the connection to be handed over and runs the link on it.
async fn run(
    plane: Arc<Plane>,
    connection: Arc<Connection>,
    upgrade: OnUpgrade,
    greeting: Greeting,
) {
    let Ok(Ok(upgraded)) = timeout(plane.limits.first_stream, upgrade).await else {
        tracing::debug!(peer = %connection.peer, "an upgrade was not completed");
        return;
    };
    let link = link(&plane, upgraded, greeting, connection.peer);
    // Boxed: the upgrade's state must not stay allocated for the life of the link.
    Box::pin(plane.run_link(link)).await;
    // Counted until here.
    drop(connection);
}

fn link(plane: &Plane, upgraded: Upgraded, greeting: Greeting, peer: SocketAddr) -> Link {
    let Greeting { encoding, bearer, resume } = greeting;
    let (io, read) = io(upgraded);
    let stop = Stop::with(&plane.stop);
    let pace = Pace { silence: plane.limits.silence, write: plane.limits.write };
    let (reader, writer) = websocket::halves(io, &read, Role::Server, encoding, pace, stop);
    Link {
        reader: LinkReader::new(ReaderKind::WebSocket(reader)),
        writer: LinkWriter::new(WriterKind::WebSocket(writer)),
        encoding,
        kind: LinkKind::WebSocket,
        peer: Some(peer),
        bearer,
        resume,
    }
}

/// What the request says of the link.
struct Greeting {
    encoding: Encoding,
    bearer: Option<String>,
    resume: Option<String>,
}

impl Greeting {
    fn of(headers: &HeaderMap, encoding: Encoding) -> Self {
        let resume = headers.get(RESUME).and_then(|value| value.to_str().ok());
        Self {
            encoding,
            bearer: bearer(headers),
            resume: resume.map(|text| text.trim().to_owned()),
        }
    }
}

/// Takes the HTTP layer's wrappings off, and what it has read too much.
fn io(upgraded: Upgraded) -> (Io, bytes::Bytes) {
    type Tls = TokioIo<PatientStream<TlsStream<TcpStream>>>;
    type Plain = TokioIo<PatientStream<TcpStream>>;
    let upgraded = match downcast::<Tls>(upgraded) {
        Ok(parts) => {
            return (Io::Server(Box::new(parts.io.into_inner().into_inner())), parts.read_buf);
        }
        Err(upgraded) => upgraded,
    };
    match downcast::<Plain>(upgraded) {
        Ok(parts) => (Io::Plain(parts.io.into_inner().into_inner()), parts.read_buf),
        Err(upgraded) => (Io::Stream(TokioIo::new(upgraded)), bytes::Bytes::new()),
    }
}

/// `encoding=text` (the default) or `encoding=binary`; the last one given counts.
fn encoding(query: &str) -> Result<Encoding, Problem> {
    let given = query.split('&').filter_map(|pair| pair.strip_prefix("encoding=")).next_back();
    match given {
        None | Some("text") => Ok(Encoding::Text),
        Some("binary") => Ok(Encoding::Binary),
        Some(_) => {
            Err(Problem::new(ProblemCode::InvalidRequest, "encoding has to be text or binary")
                .about("encoding"))
        }
    }
}

/// The answer that accepts the handshake, or what is wrong with it.
fn handshake(request: &Request) -> Result<Response, &'static str> {
    let headers = request.headers();
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err("this path is a WebSocket; Sec-WebSocket-Version has to be 13");
    }
    if request.version() == Version::HTTP_2 {
        let protocol = request.extensions().get::<Protocol>().map(Protocol::as_str);
        return match (request.method(), protocol) {
            (&Method::CONNECT, Some("websocket")) => Ok(Response::new(Body::empty())),
            _ => Err("on HTTP/2 a WebSocket begins with CONNECT and :protocol websocket"),
        };
    }
    if request.method() != Method::GET
        || !lists(headers, &CONNECTION, "upgrade")
        || !lists(headers, &UPGRADE, "websocket")
    {
        return Err("on HTTP/1.1 a WebSocket begins with GET and Upgrade: websocket");
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or("Sec-WebSocket-Key is missing")?;
    // 16 bytes in base64.
    if key.len() != 24 {
        return Err("Sec-WebSocket-Key has to be 16 bytes in base64");
    }
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()))
        .map_err(|_| "Sec-WebSocket-Key cannot be answered")?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// Whether a comma-separated header holds a word, whatever its case.
fn lists(headers: &HeaderMap, name: &axum::http::HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(word))
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn refusal(problem: &Problem) -> Response {
    let mut response = Response::new(Body::from(problem.to_json()));
    *response.status_mut() = StatusCode::from_u16(problem.code.status())
        .expect("the list of problem codes holds valid statuses");
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    response
}
