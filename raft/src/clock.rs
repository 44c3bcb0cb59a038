//! The port to the wall clock. Only used to stamp entries with the time of their proposal; nothing
//! in this room decides by it. Timers of the protocol use the runtime's own clock.

/// The wall clock, as the proposer of an entry sees it.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970. May jump; the machine clamps it.
    fn now_ms(&self) -> u64;
}
