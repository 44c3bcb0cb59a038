//! What a node counts on a message's path, as metrics. Handles are made once: a macro looks its name up each time it
//! is passed. What is only read at a scrape is in `operations/sampled`.
//!
//! Every name is described in `operations/list`. No label names a user, a conversation or anything else without a bound.

use std::sync::LazyLock;

use chat::Outcome;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::router::RouteError;
use crate::session::NoOutcome;
use crate::shard::ShardEvent;

/// From a message's frame to its acknowledgement.
pub(crate) static ACK_SECONDS: LazyLock<Histogram> =
    LazyLock::new(|| histogram!("synod_ack_seconds"));
/// Messages that were accepted from links of this node.
pub(crate) static SENT: LazyLock<Counter> = LazyLock::new(|| counter!("synod_messages_sent_total"));
/// Messages written to links of this node.
pub(crate) static DELIVERED: LazyLock<Counter> =
    LazyLock::new(|| counter!("synod_messages_delivered_total"));
/// Hints that found a full mailbox.
pub(crate) static HINTS_DROPPED: LazyLock<Counter> =
    LazyLock::new(|| counter!("synod_hints_dropped_total"));
/// Assets kept on this node's disk, its own and copies.
pub(crate) static ASSETS_KEPT: LazyLock<Counter> =
    LazyLock::new(|| counter!("synod_assets_kept_total"));
/// Bytes of them.
pub(crate) static ASSET_BYTES_KEPT: LazyLock<Counter> =
    LazyLock::new(|| counter!("synod_asset_bytes_kept_total"));
/// Bytes of assets handed to clients and nodes.
pub(crate) static ASSET_BYTES_READ: LazyLock<Counter> =
    LazyLock::new(|| counter!("synod_asset_bytes_read_total"));

/// Documents of the index: messages, and one for each conversation.
pub(crate) static INDEXED: LazyLock<Gauge> = LazyLock::new(|| gauge!("synod_search_documents"));
/// For how long something has been waiting to be found.
pub(crate) static INDEX_LAG: LazyLock<Gauge> = LazyLock::new(|| gauge!("synod_search_lag_seconds"));

static SENDS: LazyLock<[Counter; 9]> = LazyLock::new(|| {
    let words = [
        "accepted",
        "duplicate",
        "refused",
        "conflict",
        "overloaded",
        "unavailable",
        "unknown",
        "stopped",
        "not_proposed",
    ];
    words.map(|outcome| counter!("synod_sends_total", "outcome" => outcome))
});

/// One counter for what became of a send.
pub(crate) fn sends(result: &Result<Outcome, NoOutcome>) -> &'static Counter {
    let at = match result {
        Ok(Outcome::Accepted(_)) => 0,
        Ok(Outcome::Duplicate(_)) => 1,
        Ok(Outcome::Refused(_)) => 2,
        Ok(Outcome::Conflict(_)) => 3,
        Err(NoOutcome::Route(RouteError::Overloaded { .. })) => 4,
        Err(NoOutcome::Route(RouteError::Unavailable { .. })) => 5,
        Err(NoOutcome::Route(RouteError::Unknown)) => 6,
        Err(NoOutcome::Route(RouteError::Stopped)) => 7,
        Err(NoOutcome::NotProposed(_)) => 8,
    };
    &SENDS[at]
}

static FANNED_OUT: LazyLock<[Counter; 5]> = LazyLock::new(|| {
    let words = ["message", "change", "cursors", "members", "user"];
    words.map(|kind| counter!("synod_fanout_events_total", "kind" => kind))
});

/// One counter for what is fanned out.
pub(crate) fn fanned_out(event: &ShardEvent) -> &'static Counter {
    let at = match event {
        ShardEvent::Message { .. } => 0,
        ShardEvent::Change { .. } => 1,
        ShardEvent::Cursors { .. } => 2,
        ShardEvent::Members { .. } => 3,
        ShardEvent::User { .. } => 4,
    };
    &FANNED_OUT[at]
}

/// What one call of the REST interface counts, by the hundreds of its answers.
pub(crate) struct CallFigures {
    answered: [Counter; 5],
    seconds: Histogram,
}

impl CallFigures {
    /// Figures of `call`, such as `GET /v1/users/{user}`: its pattern, never what a client wrote.
    pub(crate) fn of(call: &str) -> Self {
        let counter = |status: &'static str| counter!("synod_requests_total", "call" => call.to_owned(), "status" => status);
        Self {
            answered: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(counter),
            seconds: histogram!("synod_request_seconds"),
        }
    }

    /// Counts an answer and how long its head took.
    pub(crate) fn answered(&self, status: u16, seconds: f64) {
        let hundred = usize::from(status / 100).clamp(1, self.answered.len());
        self.answered[hundred - 1].increment(1);
        self.seconds.record(seconds);
    }
}
