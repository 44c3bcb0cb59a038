//! Carries out the schedule of faults, and undoes every one of them.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    board::{Board, NodeState},
    cluster::Cluster,
    plan::{Act, Kind, Plan, Target},
    timeline::Timeline,
};
use crate::exit::Failure;

/// A cut must be noticed by the others within this; their patience with a silent node is 400 ms.
const NOTICE_WITHIN: Duration = Duration::from_secs(3);
/// How often they are asked.
const NOTICE_POLL: Duration = Duration::from_millis(50);
/// A switch at a node's operations port answers at once; a busy machine may need a second try.
const SWITCHES_MAX: u32 = 20;

/// Whoever breaks the cluster.
pub(crate) struct Chaos {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) board: Arc<Mutex<Board>>,
    pub(crate) timeline: Timeline,
    pub(crate) plan: Plan,
}

impl Chaos {
    /// Breaks and heals until `until`, or until `stop`; then everything is whole again.
    pub(crate) async fn rage(
        &mut self,
        until: Instant,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        while !stop.is_cancelled() {
            let remaining = until.saturating_duration_since(Instant::now());
            let Some(act) = self.plan.next(self.cluster.len()).fit(remaining) else { break };
            if stop.run_until_cancelled(sleep(act.pause)).await.is_some() {
                self.carry_out(act, stop).await?;
            }
        }
        stop.run_until_cancelled(tokio::time::sleep_until(until)).await;
        Ok(())
    }

    async fn carry_out(&self, act: Act, stop: &CancellationToken) -> Result<(), Failure> {
        let place = match act.target {
            Target::Busiest => self.cluster.busiest(),
            Target::Place(place) => place,
        };
        // A node that ended by itself is being brought back: it is not hit as well.
        if self.cluster.state(place) != NodeState::Serving {
            return Ok(());
        }
        let Some(fault) = self.board.lock().fault(act.kind, place, self.timeline.now()) else {
            return Ok(());
        };
        match act.kind {
            Kind::Kill => self.kill(place, fault, act.hold, stop).await?,
            Kind::Partition => self.cut(place, fault, act.hold, stop).await?,
        }
        self.board.lock().fault_over(fault, self.timeline.now());
        Ok(())
    }

    async fn kill(
        &self,
        place: usize,
        fault: usize,
        hold: Duration,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        if self.cluster.kill(place).await {
            self.board.lock().fault_held(fault);
        }
        stop.run_until_cancelled(sleep(hold)).await;
        self.cluster.revive(place).await
    }

    async fn cut(
        &self,
        place: usize,
        fault: usize,
        hold: Duration,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let healed = Instant::now() + hold;
        self.switch(place, true).await?;
        let noticed = timeout(NOTICE_WITHIN, async {
            while !self.cluster.missed(place).await {
                sleep(NOTICE_POLL).await;
            }
        });
        if noticed.await.is_ok() {
            self.board.lock().fault_held(fault);
        }
        stop.run_until_cancelled(tokio::time::sleep_until(healed)).await;
        self.switch(place, false).await
    }

    async fn switch(&self, place: usize, cut: bool) -> Result<(), Failure> {
        let mut tried = 0;
        loop {
            match self.cluster.cut(place, cut).await {
                Ok(()) => return Ok(()),
                Err(error) if tried == SWITCHES_MAX => return Err(Failure::internal(error)),
                Err(_) => tried += 1,
            }
            sleep(NOTICE_POLL).await;
        }
    }
}
