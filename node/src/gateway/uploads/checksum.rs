//! The checksum extension of tus: a body that comes with one is read whole, compared, and kept as a whole or not at all.

use std::sync::LazyLock;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::stream::{Stream, StreamExt as _};
use proto::{Problem, ProblemCode};
use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::gateway::body::invalid;

/// What is understood; tus wants SHA-1 from everybody.
pub(super) const ALGORITHMS: &str = "sha1,sha256";
/// Longest header.
pub(super) const BYTES_MAX: usize = 128;
/// Largest body with a checksum: it is in memory until it was compared.
const BODY_BYTES_MAX: usize = 8 << 20;
/// Such bodies at a time: together 64 MiB.
const AT_ONCE_MAX: usize = 8;

static ROOMS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(AT_ONCE_MAX));

/// Room for one body.
pub(super) type Room = SemaphorePermit<'static>;

/// What a body has to come to.
pub(super) struct Wanted {
    algorithm: &'static Algorithm,
    digest: Vec<u8>,
}

/// The checksum of a request, if it has one.
///
/// # Errors
/// When it cannot be read, or is of an algorithm that is not understood.
pub(super) fn wanted(headers: &HeaderMap) -> Result<Option<Wanted>, Problem> {
    let Some(value) = headers.get("upload-checksum") else { return Ok(None) };
    let wrong =
        || invalid("Upload-Checksum", format!("must be one of {ALGORITHMS}, a space, and base64"));
    let text = value.to_str().ok().filter(|text| text.len() <= BYTES_MAX).ok_or_else(wrong)?;
    let (name, encoded) = text.split_once(' ').ok_or_else(wrong)?;
    let algorithm = match name {
        "sha1" => &SHA1_FOR_LEGACY_USE_ONLY,
        "sha256" => &SHA256,
        _ => return Err(wrong()),
    };
    let digest = STANDARD.decode(encoded.trim()).map_err(|_| wrong())?;
    Ok(Some(Wanted { algorithm, digest }))
}

/// Room for a body.
///
/// # Errors
/// `overloaded`.
pub(super) fn room() -> Result<Room, Problem> {
    ROOMS.try_acquire().map_err(|_| {
        Problem::new(ProblemCode::Overloaded, "too many bodies with checksums at a time")
    })
}

impl Wanted {
    /// The whole body, if it is what the checksum says.
    ///
    /// # Errors
    /// `checksum_mismatch`, `too_large`, or what is wrong with the body.
    pub(super) async fn read(
        &self,
        mut body: impl Stream<Item = Result<Bytes, Problem>> + Unpin,
    ) -> Result<Bytes, Problem> {
        let mut read = BytesMut::new();
        while let Some(piece) = body.next().await {
            let piece = piece?;
            if read.len() + piece.len() > BODY_BYTES_MAX {
                let detail = format!("a body with a checksum has at most {BODY_BYTES_MAX} bytes");
                let problem = Problem::new(ProblemCode::TooLarge, detail);
                return Err(problem.expecting(BODY_BYTES_MAX as u64));
            }
            read.extend_from_slice(&piece);
        }
        match digest(self.algorithm, &read).as_ref() == self.digest {
            true => Ok(read.freeze()),
            false => Err(Problem::of(ProblemCode::ChecksumMismatch)),
        }
    }
}
