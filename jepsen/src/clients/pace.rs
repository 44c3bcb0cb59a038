//! The open loop: permissions to send, handed out at a steady rate whatever becomes of what was sent. It never hands out
//! what was missed long ago: a cluster that stood still is not met by a flood.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

/// Between two hand-outs.
const BEAT: Duration = Duration::from_millis(5);
/// Permissions that may lie around: a fifth of a second's.
const HOARD_PER_RATE: u32 = 5;

/// Hands out permissions.
#[derive(Debug, Clone)]
pub(crate) struct Pacer {
    permits: Arc<Semaphore>,
}

impl Pacer {
    /// Begins to hand out `rate` a second.
    pub(crate) fn start(rate: u32) -> Self {
        let permits = Arc::new(Semaphore::new(0));
        let hoard = (rate / HOARD_PER_RATE).max(1) as usize;
        let given = Arc::downgrade(&permits);
        tokio::spawn(async move {
            let mut beats = tokio::time::interval(BEAT);
            beats.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut owed = 0.0;
            loop {
                beats.tick().await;
                let Some(permits) = given.upgrade() else { return };
                owed += f64::from(rate) * BEAT.as_secs_f64();
                let room = hoard.saturating_sub(permits.available_permits());
                let whole = owed as usize;
                owed -= whole as f64;
                permits.add_permits(whole.min(room));
            }
        });
        Self { permits }
    }

    /// Waits for a permission; `false` when there will be none any more.
    pub(crate) async fn take(&self) -> bool {
        match self.permits.acquire().await {
            Ok(permit) => {
                permit.forget();
                true
            }
            Err(_) => false,
        }
    }

    /// Nobody gets one any more.
    pub(crate) fn stop(&self) {
        self.permits.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stopped_pacer_gives_nothing_and_a_running_one_no_more_than_its_rate() {
        let pacer = Pacer::start(1000);
        let began = tokio::time::Instant::now();
        for _ in 0..500 {
            assert!(pacer.take().await);
        }
        assert!(began.elapsed() >= Duration::from_millis(400));
        pacer.stop();
        assert!(!pacer.take().await);
    }
}
