//! A link of a node that is to be left: its client is told where to go, and goes.

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::Elsewhere;
use super::super::leaving::{Due, Leaving};
use super::Driver;

/// How a link hears that it should go, and where to.
pub(in super::super) struct Ways {
    pub(in super::super) elsewhere: Elsewhere,
    pub(in super::super) leaving: Leaving,
    pub(in super::super) stop: CancellationToken,
}

impl Driver {
    /// This node is to be left, or not any more.
    pub(super) fn plan_to_go(&mut self, ways: &mut Ways) {
        let over = *ways.leaving.borrow_and_update();
        self.departure.plan(over, Instant::now(), self.parts.entropy.number());
    }

    /// Tells the client to go, when its moment has come; ends the link when it was told and stays.
    pub(super) fn go(&mut self, ways: &Ways) {
        let Some(due) = self.departure.take(Instant::now()) else { return };
        let (addresses, resume) = ((ways.elsewhere)(), self.bookmark());
        match due {
            // Where else? Better here than nowhere.
            _ if addresses.is_empty() => {}
            Due::Tell => self.session.handle_leave(addresses, resume),
            Due::End => self.session.handle_stop(addresses, resume),
        }
    }
}
