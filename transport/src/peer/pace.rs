//! A timer for streams that are mostly busy: it is touched often and moved seldom.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use proto::peer::{Batch, Heartbeat, Packet, packet::Kind};
use tokio::time::{Instant, Sleep};

/// Comes due when it has not been touched for its period.
pub(super) struct Pace {
    began: Instant,
    touched: Instant,
    period: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Pace {
    pub(super) fn new(period: Duration) -> Pace {
        let now = Instant::now();
        let sleep = Box::pin(tokio::time::sleep_until(now + period));
        Pace { began: now, touched: now, period, sleep }
    }

    /// Something happened: the period begins anew. The timer itself is moved when it fires.
    pub(super) fn touch(&mut self) {
        self.touched = Instant::now();
    }

    /// Ready when the period passed without a touch.
    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            std::task::ready!(self.sleep.as_mut().poll(cx));
            let due = self.touched + self.period;
            let now = Instant::now();
            if due <= now {
                self.touched = now;
                self.sleep.as_mut().reset(now + self.period);
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(due);
        }
    }

    /// Ready with a sign of life when the period passed without a touch.
    pub(super) fn poll_heartbeat(&mut self, cx: &mut Context<'_>) -> Poll<Batch> {
        std::task::ready!(self.poll_due(cx));
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let beat = Packet { call: 0, kind: Some(Kind::Heartbeat(Heartbeat { at_ms })) };
        Poll::Ready(Batch { packets: vec![beat], slow: false, full: false })
    }
}
