//! The metronome of an open loop: says when each message is meant to be sent, however slow the answers.
//!
//! A thread of its own, because a runtime's timers round to milliseconds and its threads may be busy
//! with exactly the answers whose slowness is to be measured.

use tokio::{sync::mpsc, time::Instant};

/// Messages that may wait at one client before they count as not sent.
pub(super) const BACKLOG_MAX: usize = 4096;

/// Beats `rate` times a second from `from` until `until`, for one client after the other. Returns how
/// many beats found their client's backlog full.
#[expect(clippy::disallowed_methods, reason = "a metronome must not depend on a busy runtime")]
pub(super) fn beat(
    rate: f64,
    clients: &[mpsc::Sender<Instant>],
    from: Instant,
    until: Instant,
) -> u64 {
    let mut missed = 0;
    let mut count = 0u32;
    loop {
        let at = from + std::time::Duration::from_secs_f64(f64::from(count) / rate);
        if at >= until {
            return missed;
        }
        let wait = at.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        let client = &clients[count as usize % clients.len()];
        match client.try_send(at) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => missed += 1,
            // The client gave up; its own count says why.
            Err(mpsc::error::TrySendError::Closed(_)) => missed += 1,
        }
        let Some(next) = count.checked_add(1) else { return missed };
        count = next;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn beats_come_as_often_as_asked_and_are_shared_evenly() {
        let (clients, mut ends): (Vec<_>, Vec<_>) = (0..3).map(|_| mpsc::channel(1000)).unzip();
        let from = Instant::now();
        let until = from + Duration::from_millis(50);
        let missed = tokio::task::spawn_blocking(move || beat(6000.0, &clients, from, until));
        assert_eq!(missed.await.expect("no panic"), 0);
        for (client, end) in ends.iter_mut().enumerate() {
            let mut meant = Vec::new();
            while let Some(at) = end.recv().await {
                meant.push(at);
            }
            assert_eq!(meant.len(), 100, "client {client}");
            assert!(meant.is_sorted());
        }
    }

    #[test]
    fn a_client_that_does_not_keep_up_is_counted() {
        let (client, _end) = mpsc::channel(10);
        let from = Instant::now();
        assert_eq!(beat(1_000_000.0, &[client], from, from + Duration::from_micros(100)), 90);
    }
}
