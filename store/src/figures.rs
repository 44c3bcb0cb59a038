//! What the disk costs, as metrics: how long its barriers take and how long rows take to reach their engine.
//!
//! Only adapters of a real disk count here; memory has no barrier. The names are described in `node`'s one list.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use metrics::{Histogram, histogram};

/// One barrier of a file of the journal or of an asset.
pub(crate) static SYNC_SECONDS: LazyLock<Histogram> =
    LazyLock::new(|| histogram!("synod_disk_sync_seconds"));
/// One barrier of the tables, with what waited before it.
pub(crate) static FLUSH_SECONDS: LazyLock<Histogram> =
    LazyLock::new(|| histogram!("synod_tables_flush_seconds"));
/// Waiting rows on their way into the engine, all at once.
pub(crate) static DRAIN_SECONDS: LazyLock<Histogram> =
    LazyLock::new(|| histogram!("synod_tables_drain_seconds"));

/// Does `work` and records how long it took.
#[expect(clippy::disallowed_methods, reason = "how long a real disk took decides nothing")]
pub(crate) fn timed<T>(figure: &Histogram, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    figure.record(begun.elapsed().as_secs_f64());
    done
}

/// Time since this was first asked: a clock that never goes back.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a real disk takes is only known from a clock"
)]
pub(crate) fn since_first_asked() -> Duration {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    FIRST.elapsed()
}
