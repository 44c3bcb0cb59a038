//! Uploads in steps: tus 1.0.0 (core, creation, creation-with-upload, termination, checksum, expiration). What has come is
//! kept on the node that began an upload, whose id is in its name; any other node passes the steps on.

mod checksum;

use std::sync::Arc;

use axum::body::BodyDataStream;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use chat::{AssetId, Timestamp, UserId};
use futures::stream::{self, BoxStream, StreamExt as _};
use proto::{Problem, ProblemCode};
use time::OffsetDateTime;

use super::Parts;
use super::assets::{UNDECLARED, drain, pieces};
use super::body::{Segment, invalid};
use super::caller::Caller;
use super::interface::words::COUNT;
use super::interface::{Answer, Field, Operation, Schema, field, optional};
use super::limits::Class;
use super::problems::Failure;
use crate::asset::{Incoming, PIECE_BYTES, PIECE_BYTES_MAX, Progress, Step};

/// The one version that is spoken.
const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,creation-with-upload,termination,checksum,expiration";
/// The type of a body that goes on with an upload.
const PIECE: &str = "application/offset+octet-stream";
/// Longest `Upload-Metadata`.
const METADATA_BYTES_MAX: usize = 4096;

const RESUMABLE: Field = field("Tus-Resumable", Schema::OneOf(&[VERSION]));
const OFFSET: Field = field("Upload-Offset", COUNT);
const EXPIRES: Field = optional("Upload-Expires", Schema::Text(32))
    .says("when it is forgotten, if it is not ended (RFC 9110, 5.6.7)");
const CHECKSUM: Field = optional("Upload-Checksum", Schema::Text(checksum::BYTES_MAX))
    .says("of this body: sha1 or sha256, a space, base64");
const UPLOAD: &[Field] =
    &[field("upload", Schema::Text(64)).says("the last segment of the upload's Location")];

/// `OPTIONS /v1/uploads`.
pub(super) const OPTIONS: Operation = Operation::new("What of tus is spoken here.")
    .public()
    .answers(&[Answer::empty(204, "versions, extensions and the largest file").with(&[
        field("Tus-Version", Schema::Text(16)),
        field("Tus-Extension", Schema::Text(64)),
        field("Tus-Max-Size", COUNT),
        field("Tus-Checksum-Algorithm", Schema::Text(64)),
    ])]);

/// `OPTIONS /v1/uploads`.
pub(super) async fn options(State(parts): State<Arc<Parts>>) -> Response {
    let mut answer = StatusCode::NO_CONTENT.into_response();
    let headers = answer.headers_mut();
    headers.insert("tus-version", HeaderValue::from_static(VERSION));
    headers.insert("tus-extension", HeaderValue::from_static(EXTENSIONS));
    headers.insert("tus-checksum-algorithm", HeaderValue::from_static(checksum::ALGORITHMS));
    headers.insert("tus-max-size", HeaderValue::from(parts.assets.bytes_max()));
    spoken(answer)
}

/// `POST /v1/uploads`.
pub(super) const CREATE: Operation = Operation::new("Begins an upload in steps (tus 1.0).")
    .says("Once all bytes have come it is an asset of the same id: /v1.0/asset/{the part of Location after the hyphen}.")
    .headers(&[
        RESUMABLE,
        field("Upload-Length", COUNT),
        optional("Upload-Metadata", Schema::Text(METADATA_BYTES_MAX)).says("filetype is the asset's type"),
        CHECKSUM,
    ])
    .takes_bytes(&[PIECE])
    .counts_as(Class::Upload)
    .answers(&[Answer::empty(201, "it has begun")
        .with(&[field("Location", Schema::Text(128)), OFFSET, EXPIRES])])
    .refuses(&[
        ProblemCode::InvalidRequest,
        ProblemCode::TooLarge,
        ProblemCode::UnsupportedVersion,
        ProblemCode::UnsupportedMediaType,
        ProblemCode::QuotaExceeded,
        ProblemCode::ChecksumMismatch,
    ]);

/// `POST /v1/uploads`.
pub(super) async fn create(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let mut body = body.into_data_stream();
    let created = begin(&parts, who.user, &head.headers, &mut body).await;
    answered(created, body).await
}

async fn begin(
    parts: &Parts,
    owner: UserId,
    headers: &HeaderMap,
    body: &mut BodyDataStream,
) -> Result<Response, Problem> {
    check_version(headers)?;
    let size = number(headers, "upload-length")?;
    let size = size.ok_or_else(|| invalid("Upload-Length", "is missing"))?;
    let media_type = metadata(headers, "filetype")?.unwrap_or_else(|| UNDECLARED.to_owned());
    let with_bytes = content_type(headers) == Some(PIECE);
    let incoming = Incoming { owner: owner.clone(), media_type, size: Some(size) };
    // Before anything is begun for it.
    let body = Body::read(headers, body).await?;
    let (id, begun) = parts.assets.begin(&incoming).await?;
    let place = Place { node: parts.node, id };
    let progress = match with_bytes || size == 0 {
        true => go_on(parts, &owner, place, 0, body).await?,
        false => begun,
    };
    let mut answer = StatusCode::CREATED.into_response();
    let location = format!("/v1/uploads/{}-{id}", place.node);
    let location = HeaderValue::from_str(&location).expect("numbers and digits");
    answer.headers_mut().insert(header::LOCATION, location);
    told(&mut answer, progress);
    Ok(answer)
}

/// `HEAD /v1/uploads/{upload}`.
pub(super) const LOOK: Operation = Operation::new("How far an upload is.")
    .path(UPLOAD)
    .headers(&[RESUMABLE])
    .answers(&[Answer::empty(200, "bytes that are kept").with(&[
        OFFSET,
        field("Upload-Length", COUNT),
        EXPIRES,
    ])])
    .refuses(&[ProblemCode::UnsupportedVersion, ProblemCode::UnsupportedMediaType]);

/// `HEAD /v1/uploads/{upload}`.
pub(super) async fn look(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(upload): Segment,
    headers: HeaderMap,
) -> Response {
    let looked = async {
        check_version(&headers)?;
        let Place { node, id } = place(&upload)?;
        let progress = parts.assets.step_at(node, &who.user, id, Step::Look).await?;
        let mut answer = StatusCode::OK.into_response();
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("upload-length", HeaderValue::from(progress.size));
        told(&mut answer, progress);
        Ok(answer)
    };
    spoken(looked.await.unwrap_or_else(|problem| Failure(problem).into_response()))
}

/// `PATCH /v1/uploads/{upload}`.
pub(super) const APPEND: Operation = Operation::new("Goes on with an upload.")
    .says("What has come when a request breaks off is kept.")
    .path(UPLOAD)
    .headers(&[RESUMABLE, OFFSET, CHECKSUM])
    .takes_bytes(&[PIECE])
    .counts_as(Class::Upload)
    .answers(&[Answer::empty(204, "all of the body is kept").with(&[OFFSET, EXPIRES])])
    .refuses(&[
        ProblemCode::ChecksumMismatch,
        ProblemCode::OffsetMismatch,
        ProblemCode::UnsupportedVersion,
        ProblemCode::UnsupportedMediaType,
        ProblemCode::QuotaExceeded,
    ]);

/// `PATCH /v1/uploads/{upload}`.
pub(super) async fn append(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(upload): Segment,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let mut body = body.into_data_stream();
    let appended = async {
        check_version(&head.headers)?;
        let place = place(&upload)?;
        if content_type(&head.headers) != Some(PIECE) {
            let detail = format!("the body of a step is {PIECE}");
            let problem = Problem::new(ProblemCode::UnsupportedMediaType, detail);
            return Err(problem.about("Content-Type"));
        }
        let offset = number(&head.headers, "upload-offset")?;
        let offset = offset.ok_or_else(|| invalid("Upload-Offset", "is missing"))?;
        let body = Body::read(&head.headers, &mut body).await?;
        let progress = go_on(&parts, &who.user, place, offset, body).await?;
        let mut answer = StatusCode::NO_CONTENT.into_response();
        told(&mut answer, progress);
        Ok(answer)
    };
    let appended = appended.await;
    answered(appended, body).await
}

/// `DELETE /v1/uploads/{upload}`.
pub(super) const CANCEL: Operation = Operation::new("Forgets an upload that is not ended.")
    .path(UPLOAD)
    .headers(&[RESUMABLE])
    .answers(&[Answer::empty(204, "nothing of it is kept")])
    .refuses(&[ProblemCode::UnsupportedVersion]);

/// `DELETE /v1/uploads/{upload}`.
pub(super) async fn cancel(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(upload): Segment,
    headers: HeaderMap,
) -> Response {
    let cancelled = async {
        check_version(&headers)?;
        let Place { node, id } = place(&upload)?;
        parts.assets.step_at(node, &who.user, id, Step::Cancel).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    spoken(cancelled.await.unwrap_or_else(|problem: Problem| Failure(problem).into_response()))
}

/// Where an upload is.
#[derive(Debug, Clone, Copy)]
struct Place {
    node: u64,
    id: AssetId,
}

/// Reads `<node>-<id>`.
fn place(text: &str) -> Result<Place, Problem> {
    let read = || {
        let (node, id) = text.split_once('-')?;
        Some(Place { node: node.parse().ok()?, id: id.parse().ok()? })
    };
    read().ok_or_else(|| Problem::new(ProblemCode::NotFound, "there is no such upload"))
}

/// The bytes of a step.
enum Body<'a> {
    /// As they come: of a body that breaks off, what came is kept.
    Coming(&'a mut BodyDataStream),
    /// All of them, and they are what their checksum says.
    Checked(Bytes, checksum::Room),
}

impl<'a> Body<'a> {
    /// Reads the body at once where there is a checksum to compare it with.
    async fn read(headers: &HeaderMap, body: &'a mut BodyDataStream) -> Result<Self, Problem> {
        match checksum::wanted(headers)? {
            None => Ok(Self::Coming(body)),
            Some(wanted) => {
                let room = checksum::room()?;
                let bytes = wanted.read(pieces(body)).await?;
                Ok(Self::Checked(bytes, room))
            }
        }
    }

    fn pieces(self) -> BoxStream<'a, Result<Bytes, Problem>> {
        match self {
            Self::Coming(body) => pieces(body).boxed(),
            // The room is free again when the last piece was taken.
            Self::Checked(bytes, room) => {
                stream::unfold((Some(bytes), room), async |(bytes, room)| {
                    bytes.map(|bytes| (Ok(bytes), (None, room)))
                })
                .boxed()
            }
        }
    }
}

/// Takes the body as the next bytes of an upload, a bounded piece at a time.
async fn go_on(
    parts: &Parts,
    who: &UserId,
    Place { node, id }: Place,
    offset: u64,
    body: Body<'_>,
) -> Result<Progress, Problem> {
    // What is passed on travels where proposals do; what stays here is worth few barriers.
    let most = if node == parts.node { PIECE_BYTES_MAX } else { PIECE_BYTES };
    let mut offset = offset;
    let mut buffer = BytesMut::new();
    let mut body = body.pieces();
    let mut progress = None;
    loop {
        let piece = body.next().await;
        let (ended, piece) = match piece {
            Some(Ok(piece)) => (None, piece),
            Some(Err(problem)) => (Some(Err(problem)), Bytes::new()),
            None => (Some(Ok(())), Bytes::new()),
        };
        buffer.extend_from_slice(&piece);
        // Of a body that breaks off, what came is kept. One step at least, so that an offset is always judged.
        while buffer.len() >= most || ended.is_some() && (!buffer.is_empty() || progress.is_none())
        {
            let bytes = buffer.split_to(buffer.len().min(most)).freeze();
            let length = bytes.len() as u64;
            let step = Step::Append { offset, bytes };
            progress = Some(parts.assets.step_at(node, who, id, step).await?);
            offset += length;
        }
        if let (Some(ended), Some(progress)) = (ended, progress) {
            return ended.map(|()| progress);
        }
    }
}

fn check_version(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get("tus-resumable").and_then(|value| value.to_str().ok()) {
        Some(VERSION) => Ok(()),
        _ => {
            let detail = format!("Tus-Resumable must be {VERSION}");
            Err(Problem::new(ProblemCode::UnsupportedVersion, detail))
        }
    }
}

fn number(headers: &HeaderMap, name: &'static str) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| invalid(name, "must be a whole number"))
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

/// A value of `Upload-Metadata`: pairs of a name and base64, with commas between.
fn metadata(headers: &HeaderMap, name: &str) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("upload-metadata") else { return Ok(None) };
    let wrong = || invalid("Upload-Metadata", "must be names and base64, with commas between");
    let text = value.to_str().ok().filter(|text| text.len() <= METADATA_BYTES_MAX);
    let pairs = text.ok_or_else(wrong)?.split(',').map(str::trim);
    let mut pairs = pairs.map(|pair| pair.split_once(' ').unwrap_or((pair, "")));
    let Some((_, encoded)) = pairs.find(|(key, _)| *key == name) else { return Ok(None) };
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| wrong())?;
    let decoded = String::from_utf8(decoded).map_err(|_| wrong())?;
    Ok((!decoded.is_empty()).then_some(decoded))
}

fn told(answer: &mut Response, progress: Progress) {
    let headers = answer.headers_mut();
    headers.insert("upload-offset", HeaderValue::from(progress.offset));
    if let Some(expires) = progress.expires.and_then(date) {
        headers.insert("upload-expires", expires);
    }
}

/// A moment as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`. Nothing beyond the year 9999.
fn date(at: Timestamp) -> Option<HeaderValue> {
    let seconds = i64::try_from(at.0 / 1000).ok()?;
    let at = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    let (weekday, month) = (at.weekday().to_string(), at.month().to_string());
    let (hour, minute, second) = at.to_hms();
    let text = format!(
        "{weekday:.3}, {:02} {month:.3} {:04} {hour:02}:{minute:02}:{second:02} GMT",
        at.day(),
        at.year(),
    );
    HeaderValue::from_str(&text).ok()
}

async fn answered(result: Result<Response, Problem>, body: BodyDataStream) -> Response {
    let answer = match result {
        Ok(answer) => answer,
        Err(problem) => {
            drain(body).await;
            Failure(problem).into_response()
        }
    };
    spoken(answer)
}

/// Every answer names the version.
fn spoken(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert("tus-resumable", HeaderValue::from_static(VERSION));
    answer
}
