//! When to ping a quiet peer, when to give it up, and how much pinging is honest.
//!
//! A peer that talks is never pinged. One that has been quiet for two fifths of the permitted silence is
//! pinged, again and again; one that answers nothing for the whole of it is gone. A client waits three
//! fifths, so that on an idle link only the server asks, and the client only when the server is late.
//! Times are of the runtime's clock; an idle link wakes once per ping.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::codec::Role;
use crate::LinkError;

/// Pings of the other side within one interval; browsers send none, libraries one every few seconds.
const PINGS_MAX: u32 = 64;

#[derive(Debug)]
pub(super) struct KeepAlive {
    silence: Duration,
    interval: Duration,
    heard: Instant,
    /// The first ping that has not been followed by any sign of life.
    asked: Option<Instant>,
    next_check: Instant,
    pings: u32,
    pings_since: Instant,
}

impl KeepAlive {
    pub(super) fn new(role: Role, silence: Duration, now: Instant) -> Self {
        // 2 s and 3 s for the 5 s of silence that the specification permits.
        let interval = match role {
            Role::Server => silence * 2 / 5,
            Role::Client => silence * 3 / 5,
        };
        let next_check = now + interval;
        Self { silence, interval, heard: now, asked: None, next_check, pings: 0, pings_since: now }
    }

    pub(super) fn next_check(&self) -> Instant {
        self.next_check
    }

    /// Any bytes count as a sign of life.
    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
        self.asked = None;
    }

    /// Counts a ping of the other side.
    pub(super) fn pinged(&mut self) -> Result<(), LinkError> {
        let now = Instant::now();
        if now - self.pings_since > self.interval {
            self.pings_since = now;
            self.pings = 0;
        }
        self.pings += 1;
        if self.pings > PINGS_MAX { Err(LinkError::Flood("pings")) } else { Ok(()) }
    }

    /// To be called at `next_check` with everything read that has arrived. True when a ping is due.
    ///
    /// A peer that was not asked is never given up: a session that did not read for a while must not
    /// mistake its own silence for the peer's.
    pub(super) fn check(&mut self) -> Result<bool, LinkError> {
        let now = Instant::now();
        let due = self.heard + self.interval;
        if self.asked.is_none() && now < due {
            self.next_check = due;
            return Ok(false);
        }
        let asked = *self.asked.get_or_insert(now);
        let over = (self.heard + self.silence).max(asked + (self.silence - self.interval));
        if now >= over {
            return Err(LinkError::Silent);
        }
        self.next_check = (now + self.interval).min(over);
        Ok(true)
    }
}

/// The one timer of a link.
#[derive(Debug)]
pub(super) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    pub(super) fn new(at: Instant) -> Self {
        Self(Box::pin(sleep_until(at)))
    }

    pub(super) fn reset(&mut self, at: Instant) {
        self.0.as_mut().reset(at);
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        self.0.as_mut().poll(cx) == Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep_until;

    use super::*;

    const SILENCE: Duration = Duration::from_secs(5);

    /// Runs to the next check; gives its time in seconds from the start, and what it said.
    async fn check(keepalive: &mut KeepAlive, start: Instant) -> (f64, Result<bool, LinkError>) {
        sleep_until(keepalive.next_check()).await;
        ((Instant::now() - start).as_secs_f64().round(), keepalive.check())
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_peer_is_asked_twice_and_given_up_after_five_seconds() {
        let start = Instant::now();
        let mut keepalive = KeepAlive::new(Role::Server, SILENCE, start);
        assert_eq!(check(&mut keepalive, start).await, (2.0, Ok(true)));
        assert_eq!(check(&mut keepalive, start).await, (4.0, Ok(true)));
        assert_eq!(check(&mut keepalive, start).await, (5.0, Err(LinkError::Silent)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_asks_later_and_gives_up_after_the_same_time() {
        let start = Instant::now();
        let mut keepalive = KeepAlive::new(Role::Client, SILENCE, start);
        assert_eq!(check(&mut keepalive, start).await, (3.0, Ok(true)));
        assert_eq!(check(&mut keepalive, start).await, (5.0, Err(LinkError::Silent)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_talks_is_never_asked() {
        let start = Instant::now();
        let mut keepalive = KeepAlive::new(Role::Server, SILENCE, start);
        for _ in 0..100 {
            tokio::time::advance(Duration::from_secs(1)).await;
            keepalive.heard();
            if keepalive.next_check() <= Instant::now() {
                assert_eq!(keepalive.check(), Ok(false));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_starts_the_silence_anew() {
        let start = Instant::now();
        let mut keepalive = KeepAlive::new(Role::Server, SILENCE, start);
        assert_eq!(check(&mut keepalive, start).await, (2.0, Ok(true)));
        tokio::time::advance(Duration::from_secs(1)).await;
        keepalive.heard();
        assert_eq!(check(&mut keepalive, start).await, (4.0, Ok(false)));
        assert_eq!(check(&mut keepalive, start).await, (5.0, Ok(true)));
        assert_eq!(check(&mut keepalive, start).await, (7.0, Ok(true)));
        assert_eq!(check(&mut keepalive, start).await, (8.0, Err(LinkError::Silent)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_was_not_asked_is_not_given_up() {
        let start = Instant::now();
        let mut keepalive = KeepAlive::new(Role::Server, SILENCE, start);
        // The session was busy elsewhere and did not read for a minute.
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(keepalive.check(), Ok(true));
        assert_eq!(check(&mut keepalive, start).await, (62.0, Ok(true)));
        assert_eq!(check(&mut keepalive, start).await, (63.0, Err(LinkError::Silent)));
    }

    #[tokio::test(start_paused = true)]
    async fn pinging_now_and_then_is_no_flood() {
        let mut keepalive = KeepAlive::new(Role::Server, SILENCE, Instant::now());
        for _ in 0..1000 {
            keepalive.pinged().unwrap();
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        let flood = (0..1000).find_map(|_| keepalive.pinged().err());
        assert_eq!(flood, Some(LinkError::Flood("pings")));
    }
}
