//! The bounds of the peer plane, each with its reason, and the relations between them.

use std::time::Duration;

/// Calls of one lane that may wait for an answer, at either end. At 100,000 calls a second this is a
/// sixth of a second of work: beyond it the peer is not slow but stuck.
pub(super) const CALLS_MAX: usize = 16 * 1024;
/// Bytes of calls that may wait in line for the connection, per lane and peer.
pub(super) const QUEUED_BYTES_MAX: usize = 32 << 20;
/// One request or answer: a raft append of several entries of 64 KiB messages fits well.
pub(super) const PACKET_BYTES_MAX: usize = 8 << 20;
/// A batch is closed when it has this many bytes, so that an urgent call never waits behind more
/// than one such batch in the same stream.
pub(super) const BATCH_BYTES_MAX: usize = 256 << 10;
/// What tonic may decode as one message: a full batch whose last packet is the largest, and framing.
pub(super) const BATCH_DECODE_MAX: usize = PACKET_BYTES_MAX + BATCH_BYTES_MAX + CALLS_MAX * 32;
/// One chunk of a bulk transfer.
pub(super) const CHUNK_BYTES_MAX: usize = 1 << 20;
/// What tonic may decode as one chunk.
pub(super) const CHUNK_DECODE_MAX: usize = CHUNK_BYTES_MAX + 64;
/// Transfers from one peer at a time: a node that restarts receives its groups a few at a time.
pub(super) const TRANSFERS_MAX: usize = 8;
/// Connections of one peer: three lanes, and those that a partition left hanging until their ends
/// are noticed (three dials each 1.5 s, each kept for 4 s).
pub(super) const CONNECTIONS_MAX: usize = 32;
/// Handshakes under way at once, from anybody.
pub(super) const HANDSHAKES_MAX: usize = 64;
/// h2 windows: large enough that a lane never waits for a window update on a 10 Gbit/s, 1 ms path.
pub(super) const WINDOW_BYTES: u32 = 4 << 20;
/// h2 window of a bulk transfer: two chunks on the way, the rest is backpressure.
pub(super) const BULK_WINDOW_BYTES: u32 = 2 << 20;
/// From TCP connect to the peer's first answer on a lane.
pub(super) const DIAL_PATIENCE: Duration = Duration::from_secs(1);
/// From accept to the end of the TLS handshake.
pub(super) const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(2);
/// First and longest pause between two attempts to reach a peer.
pub(super) const BACKOFF_MIN: Duration = Duration::from_millis(25);
/// The longest pause: a peer that comes back is found within half a second.
pub(super) const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// A link that lived shorter than this is not redialled at once, lest two nodes spin.
pub(super) const LINK_LIFE_MIN: Duration = Duration::from_millis(50);
/// Pings on connections that carry no heartbeats, and how long they may stay unanswered.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(2);
/// See [`PING_INTERVAL`].
pub(super) const PING_PATIENCE: Duration = Duration::from_secs(2);
/// Changes of liveness that a slow listener may fall behind; it then asks for the present state.
pub(super) const EVENTS_MAX: usize = 1024;

const _: () = assert!(PACKET_BYTES_MAX <= QUEUED_BYTES_MAX, "the largest call fits an empty line");
const _: () = assert!(BATCH_BYTES_MAX <= WINDOW_BYTES as usize, "a batch fits the window");
const _: () = assert!(CHUNK_DECODE_MAX <= BULK_WINDOW_BYTES as usize, "a chunk fits its window");
