//! Things kept by a service outside of the cluster: S3 and whatever speaks as it does, Google's and Azure's stores.
//!
//! Laws: what was [put](Objects::put) is there whole or not at all, and [`put`](Objects::put) returns when the service
//! says that it has it. Every request ends in bounded time, whoever does not answer. Nothing is ever whole in memory
//! but what fits in one part. A transfer that is given up, by an error or because nobody waits for it any more, is
//! aborted there.
//!
//! What a thing means, and when it may go, is for those who put it.

mod connect;
mod place;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) use place::check;

/// Bytes that are sent at a time, at least: S3 takes no smaller part but the last (5 MiB).
const PART_BYTES: usize = 8 << 20;
/// Parts of one thing, at most: S3 takes 10,000.
const PARTS_MAX: u64 = 9_000;
/// Transfers to the store at a time: each holds a part in memory.
const PUTS_MAX: usize = 8;
/// One request of a transfer takes no longer, its repetitions included: a part in a minute is 140 KiB/s.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);
/// Whoever reads waits no longer for the next bytes.
const READ_DEADLINE: Duration = Duration::from_secs(20);

/// Why the store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The store cannot be used as it is configured.
    #[error("{0}")]
    Settings(String),
    /// There is no such thing.
    #[error("the object store has no `{0}`")]
    Missing(String),
    /// It did not answer, or refused; the same may work later.
    #[error("the object store does not serve: {0}")]
    Away(String),
    /// Whoever gave the bytes failed, or gave others than announced; nothing was kept.
    #[error("what was to be stored ended early or is another: {0}")]
    Source(String),
}

/// A thing as the store lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its name, below the folder.
    pub(crate) name: String,
    /// How many bytes.
    pub(crate) bytes: u64,
    /// When it was put, by the store's clock, milliseconds since 1970.
    pub(crate) at_ms: u64,
}

/// A folder in a store. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    folder: Path,
    /// Places for transfers.
    puts: Arc<Semaphore>,
    part_bytes: usize,
}

/// Bytes that are to be stored, in order.
pub(crate) type Source = BoxStream<'static, Result<Bytes, String>>;

impl Objects {
    /// The folder that `url` names.
    ///
    /// # Errors
    /// [`Error::Settings`]; nobody is asked yet.
    pub(crate) fn open(url: &str, settings: &crate::config::ObjectStore) -> Result<Self, Error> {
        let (store, folder) = place::open(url, settings)?;
        Ok(Self::of(store, folder, PART_BYTES))
    }

    fn of(store: Arc<dyn ObjectStore>, folder: Path, part_bytes: usize) -> Self {
        Self { store, folder, puts: Arc::new(Semaphore::new(PUTS_MAX)), part_bytes }
    }

    /// A store in memory with tiny parts, for tests.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        Self::of(Arc::new(object_store::memory::InMemory::new()), Path::default(), 4)
    }

    /// The folder `name` in this one.
    pub(crate) fn below(mut self, name: &str) -> Self {
        self.folder = self.at(name);
        self
    }

    fn at(&self, name: &str) -> Path {
        name.split('/').fold(self.folder.clone(), |path, part| path.join(part))
    }

    /// Stores `bytes` bytes under `name`, over whatever is there. When this future is dropped, the transfer is aborted.
    ///
    /// # Errors
    /// [`Error::Away`] and [`Error::Source`]; nothing is kept then, except when the last answer was lost.
    pub(crate) async fn put(&self, name: &str, bytes: u64, source: Source) -> Result<(), Error> {
        let given_up = CancellationToken::new();
        let _guard = given_up.clone().drop_guard();
        // Asked again after its end, most streams would panic.
        let source = source.fuse().boxed();
        let (this, path) = (self.clone(), self.at(name));
        // A task of its own: whoever drops the caller does not take away the abortion.
        let transfer = tokio::spawn(async move {
            let place = given_up.run_until_cancelled(Arc::clone(&this.puts).acquire_owned());
            let Some(_place) = place.await else { return Err(given_up_error()) };
            if bytes <= this.part_bytes as u64 {
                this.put_whole(&path, bytes, source).await
            } else {
                this.put_in_parts(&path, bytes, source, &given_up).await
            }
        });
        transfer.await.map_err(|error| Error::Away(error.to_string()))?
    }

    async fn put_whole(&self, path: &Path, bytes: u64, source: Source) -> Result<(), Error> {
        let mut parts = Parts { source, rest: Bytes::new(), bytes: self.part_bytes };
        let part = parts.next().await?;
        if part.len() as u64 != bytes || !parts.next().await?.is_empty() {
            return Err(not_as_announced());
        }
        within(REQUEST_DEADLINE, self.store.put(path, PutPayload::from_bytes(part))).await?;
        Ok(())
    }

    async fn put_in_parts(
        &self,
        path: &Path,
        bytes: u64,
        source: Source,
        given_up: &CancellationToken,
    ) -> Result<(), Error> {
        let mut upload = within(REQUEST_DEADLINE, self.store.put_multipart(path)).await?;
        let least = usize::try_from(bytes.div_ceil(PARTS_MAX)).unwrap_or(usize::MAX);
        let parts = Parts { source, rest: Bytes::new(), bytes: self.part_bytes.max(least) };
        let sent = given_up.run_until_cancelled(send(upload.as_mut(), parts, bytes)).await;
        let sent = sent.unwrap_or_else(|| Err(given_up_error()));
        let done = match sent {
            Ok(()) => within(REQUEST_DEADLINE, upload.complete()).await.map(|_| ()),
            Err(error) => Err(error),
        };
        if done.is_err()
            && let Err(error) = within(REQUEST_DEADLINE, upload.abort()).await
        {
            tracing::warn!(%path, %error, "the parts of a transfer that was given up may be left in the store");
        }
        done
    }

    /// The bytes in `range` of a thing, as they come. The first are there when this returns.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Away`], now and later.
    pub(crate) async fn read(
        &self,
        name: &str,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        if range.is_empty() {
            return Ok(futures::stream::empty().boxed());
        }
        let wanted = range.end - range.start;
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        let got = within(READ_DEADLINE, self.store.get_opts(&self.at(name), options)).await?;
        if got.range.end - got.range.start != wanted {
            return Err(Error::Away(format!("`{name}` is shorter than it was")));
        }
        let pieces = futures::stream::unfold(Some(got.into_stream()), |pieces| async move {
            let mut pieces = pieces?;
            match timeout(READ_DEADLINE, pieces.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(piece))) => Some((Ok(piece), Some(pieces))),
                Ok(Some(Err(error))) => Some((Err(of(error)), None)),
                Err(_) => Some((Err(not_in_time()), None)),
            }
        });
        Ok(pieces.boxed())
    }

    /// Takes a thing away, if it is there.
    ///
    /// # Errors
    /// [`Error::Away`].
    pub(crate) async fn remove(&self, name: &str) -> Result<(), Error> {
        match within(REQUEST_DEADLINE, self.store.delete(&self.at(name))).await {
            Err(Error::Missing(_)) => Ok(()),
            done => done,
        }
    }

    /// Everything in the folder and below, in no order.
    pub(crate) fn list(&self) -> BoxStream<'static, Result<Listed, Error>> {
        let folder = self.folder.clone();
        let listing = self.store.list(Some(&folder));
        let steps = futures::stream::unfold(Some(listing), move |listing| async move {
            let mut listing = listing?;
            match timeout(REQUEST_DEADLINE, listing.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(meta))) => Some((Ok(meta), Some(listing))),
                Ok(Some(Err(error))) => Some((Err(of(error)), None)),
                Err(_) => Some((Err(not_in_time()), None)),
            }
        });
        let named = move |meta: Result<object_store::ObjectMeta, Error>| match meta {
            Err(error) => Some(Err(error)),
            Ok(meta) => {
                let parts: Vec<_> = meta.location.prefix_match(&folder)?.collect();
                let name = parts.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/");
                let at_ms = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0);
                Some(Ok(Listed { name, bytes: meta.size, at_ms }))
            }
        };
        steps.filter_map(move |meta| std::future::ready(named(meta))).boxed()
    }
}

/// A stream cut into parts.
struct Parts {
    source: Source,
    rest: Bytes,
    bytes: usize,
}

impl Parts {
    /// The next part; it is shorter than the others only at the end, and empty behind it.
    async fn next(&mut self) -> Result<Bytes, Error> {
        let mut part = BytesMut::from(self.rest.split_to(self.bytes.min(self.rest.len())));
        while part.len() < self.bytes {
            let Some(piece) = self.source.next().await else { break };
            let mut piece = piece.map_err(Error::Source)?;
            let room = self.bytes - part.len();
            part.extend_from_slice(&piece.split_to(room.min(piece.len())));
            self.rest = piece;
        }
        Ok(part.freeze())
    }
}

async fn send(upload: &mut dyn MultipartUpload, mut parts: Parts, bytes: u64) -> Result<(), Error> {
    let mut sent = 0;
    loop {
        let part = parts.next().await?;
        if part.is_empty() {
            return if sent == bytes { Ok(()) } else { Err(not_as_announced()) };
        }
        sent += part.len() as u64;
        if sent > bytes {
            return Err(not_as_announced());
        }
        within(REQUEST_DEADLINE, upload.put_part(PutPayload::from_bytes(part))).await?;
    }
}

/// What a store answers, in bounded time.
async fn within<T>(
    deadline: Duration,
    asked: impl Future<Output = object_store::Result<T>>,
) -> Result<T, Error> {
    timeout(deadline, asked).await.map_err(|_| not_in_time())?.map_err(of)
}

fn of(error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { path, .. } => Error::Missing(path),
        error => Error::Away(error.to_string()),
    }
}

fn not_in_time() -> Error {
    Error::Away("no answer in time".to_owned())
}

fn given_up_error() -> Error {
    Error::Source("nobody waits for it any more".to_owned())
}

fn not_as_announced() -> Error {
    Error::Source("it has another length than was announced".to_owned())
}

#[cfg(test)]
mod tests;
