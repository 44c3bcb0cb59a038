//! Assets over HTTP: up in one body, down in whole or in part. The bytes pass through; none of this holds more than a
//! piece of them.

mod conditions;
mod multipart;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chat::{Asset, AssetId, Digest, UserId};
use futures::stream::{Stream, StreamExt as _};
use proto::{Problem, ProblemCode};
use serde_json::json;

use self::conditions::Part;
use self::multipart::Form;
use super::Parts;
use super::body::{Parameters, Segment};
use super::caller::Caller;
use super::interface::words::{COUNT, FRESHNESS};
use super::interface::{Answer, Field, Operation, Schema, field, optional};
use super::limits::Class;
use super::messages::consistency;
use super::problems::Failure;
use crate::asset::{Incoming, Made};

/// The type of a body that declares none (RFC 9110, 8.3).
pub(super) const UNDECLARED: &str = "application/octet-stream";
/// What is read and thrown away of a body that was refused, so that its sender gets to hear why.
const DRAIN_BYTES_MAX: usize = 8 << 20;
/// And for how long at most.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);
/// When to ask again for an asset whose holders cannot be reached.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// An asset's id.
const ASSET: Schema = Schema::Named("AssetId", &Schema::Like("^[0-9a-f]{32}$"));
/// What is said of an asset with each answer about it.
const DESCRIBED: &[Field] = &[
    field("ETag", Schema::Text(66)).says("the SHA-256 of the bytes"),
    field("Accept-Ranges", Schema::OneOf(&["bytes"])),
];

/// `POST /asset`.
pub(super) const UPLOAD: Operation = Operation::new("Takes a file that messages may refer to.")
    .says(
        "The body is the file, or multipart/form-data whose first file is taken. It is answered when a majority of the nodes that keep it have it on stable storage. \
         Pictures, sound and film have to begin as their type says.",
    )
    .takes_bytes(&["*/*"])
    .counts_as(Class::Upload)
    .answers(&[Answer::json(
        201,
        "it is kept",
        &[
            field("assetId", ASSET),
            field("uri", Schema::Like("^/v1[.]0/asset/[0-9a-f]{32}$"))
                .says("for attachmentURI of a message, and to get it"),
            field("size", COUNT),
            field("sha256", Schema::Like("^[0-9a-f]{64}$")),
        ],
    )
    .with(&[field("Location", Schema::Text(64)).says("as uri")])])
    .refuses(&[ProblemCode::UnsupportedMediaType, ProblemCode::QuotaExceeded]);

/// `GET` of `/asset/{id}` and `/v1.0/asset/{id}`.
pub(super) const DOWNLOAD: Operation = Operation::new("The bytes of a file.")
    .says(
        "For whoever uploaded it, and for those who are at this moment members of a conversation that it was sent to. \
         Of several ranges none is served. HEAD is answered likewise, without the bytes.",
    )
    .path(&[field("id", Schema::Text(64)).says("as the upload was answered")])
    .query(&[FRESHNESS])
    .headers(&[
        optional("Range", Schema::Text(256)),
        optional("If-Range", Schema::Text(256)),
        optional("If-None-Match", Schema::Text(1024)),
    ])
    .answers(&[
        Answer::bytes(200, "all of it", "*/*").with(DESCRIBED),
        Answer::bytes(206, "the part that was asked for", "*/*").with(DESCRIBED),
        Answer::empty(304, "the client has it").with(DESCRIBED),
    ])
    .refuses(&[ProblemCode::AssetNotAccessible, ProblemCode::RangeNotSatisfiable]);

/// `POST /asset`.
pub(super) async fn upload(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    request: Request,
) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let mut body = body.into_data_stream();
    let made = take(&parts, who.user, &head.headers, &mut body).await;
    if made.is_err() {
        drain(body).await;
    }
    Ok(created(&made?))
}

async fn take(
    parts: &Parts,
    owner: UserId,
    headers: &HeaderMap,
    body: &mut BodyDataStream,
) -> Result<Made, Problem> {
    let (media_type, size) = (media_type(headers)?, length(headers));
    let Some(boundary) = multipart::boundary(&media_type)? else {
        let incoming = Incoming { owner, media_type, size };
        return parts.assets.upload(incoming, pieces(body)).await;
    };
    let mut form = Form::new(pieces(body), &boundary);
    let media_type = form.file().await?;
    // The form is a little longer than the file in it, which is all that can be known.
    parts.assets.upload(Incoming { owner, media_type, size: None }, form.content()).await
}

/// `GET` and `HEAD` of `/asset/{id}` and `/v1.0/asset/{id}`.
pub(super) async fn download(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(id): Segment,
    parameters: Parameters,
    request: Request,
) -> Result<Response, Failure> {
    let nothing = |_| Problem::new(ProblemCode::NotFound, "there is no such asset");
    let id: AssetId = id.parse().map_err(nothing)?;
    let consistency = consistency(&parameters)?;
    let asset = parts.assets.readable(&who.user, id, consistency).await?;
    let tag = tag(&asset);
    let headers = request.headers();
    if conditions::is_known(headers, &tag) {
        let mut answer = StatusCode::NOT_MODIFIED.into_response();
        describe(answer.headers_mut(), &asset, &tag);
        return Ok(answer);
    }
    let (range, status) = match conditions::part(headers, &tag, asset.size) {
        Part::Whole => (0..asset.size, StatusCode::OK),
        Part::Range(range) => (range, StatusCode::PARTIAL_CONTENT),
        Part::Outside => return Ok(outside(asset.size)),
    };
    let body = if request.method() == Method::HEAD {
        Body::empty()
    } else {
        let pieces = parts.assets.pieces(id, &asset, range.clone()).await;
        Body::from_stream(pieces.map_err(|error| {
            Problem::new(ProblemCode::Unavailable, error.to_string()).after(RETRY_AFTER)
        })?)
    };
    let mut answer = body.into_response();
    let headers = answer.headers_mut();
    describe(headers, &asset, &tag);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    if status == StatusCode::PARTIAL_CONTENT {
        let at = format!("bytes {}-{}/{}", range.start, range.end - 1, asset.size);
        headers.insert(header::CONTENT_RANGE, ascii(&at));
    }
    *answer.status_mut() = status;
    Ok(answer)
}

/// What is said of an asset with each answer about it.
fn describe(headers: &mut HeaderMap, asset: &Asset, tag: &str) {
    headers.insert(header::CONTENT_TYPE, ascii(&asset.media_type));
    headers.insert(header::ETAG, ascii(tag));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // The right to read it is judged each time; what a client has kept may be used again after asking.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    // Somebody else's bytes under this origin: they are neither guessed at nor run.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    let disposition = if shows(&asset.media_type) { "inline" } else { "attachment" };
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
}

/// Whether a browser may show it in place: pictures, sound and film, whose beginnings were looked at, and which run
/// nothing. SVG does.
fn shows(media_type: &str) -> bool {
    let plain = media_type.to_ascii_lowercase();
    let is_media = ["image/", "audio/", "video/"].iter().any(|class| plain.starts_with(class));
    is_media && !plain.starts_with("image/svg")
}

fn outside(size: u64) -> Response {
    let mut answer = Failure(Problem::of(ProblemCode::RangeNotSatisfiable)).into_response();
    let range = ascii(&format!("bytes */{size}"));
    answer.headers_mut().insert(header::CONTENT_RANGE, range);
    answer
}

fn created(made: &Made) -> Response {
    let uri = format!("/v1.0/asset/{}", made.id);
    let location = [(header::LOCATION, ascii(&uri))];
    let answer = json!({
        "assetId": made.id.to_string(),
        "uri": uri,
        "size": made.size,
        "sha256": hex(&made.sha256),
    });
    (StatusCode::CREATED, location, Json(answer)).into_response()
}

/// The strong tag of an asset: its bytes never change, so their digest names them.
fn tag(asset: &Asset) -> String {
    format!("\"{}\"", hex(&asset.sha256))
}

fn hex(digest: &Digest) -> String {
    digest.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("ids, digests, numbers and checked types are visible ASCII")
}

fn media_type(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(UNDECLARED.to_owned()) };
    let text = value.to_str().map(str::to_owned);
    text.map_err(|_| {
        Problem::new(ProblemCode::UnsupportedMediaType, "this is no media type")
            .about("Content-Type")
    })
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(super) fn pieces(
    body: &mut BodyDataStream,
) -> impl Stream<Item = Result<Bytes, Problem>> + Send + Unpin {
    body.map(|piece| {
        piece.map_err(|error| {
            let detail = format!("the body did not come to its end: {error}");
            Problem::new(ProblemCode::InvalidRequest, detail)
        })
    })
}

/// Reads on for a while: on HTTP/1.1, a connection that is closed under a sender takes the answer with it.
pub(super) async fn drain(mut body: BodyDataStream) {
    let read = async {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(Ok(piece)) = body.next().await
            && left > piece.len()
        {
            left -= piece.len();
        }
    };
    // Whoever is still sending after that has to cope.
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, read).await;
}
