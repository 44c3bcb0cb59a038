//! What the demo is told from outside: the first Ctrl-C asks it to end in order, with a verdict; a
//! second one, SIGTERM or a closed terminal ends it now. Either way it cleans up.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;

/// Two wishes, each granted for good.
pub(crate) struct Signals {
    /// End in order.
    pub(crate) please: CancellationToken,
    /// End now. Implies `please`.
    pub(crate) now: CancellationToken,
    task: JoinHandle<()>,
}

impl Signals {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Signals, Failure> {
        let listen = |kind: SignalKind| signal(kind).map_err(Failure::internal);
        let interrupt = listen(SignalKind::interrupt())?;
        let others = [listen(SignalKind::terminate())?, listen(SignalKind::hangup())?];
        let now = CancellationToken::new();
        let please = now.child_token();
        let task = tokio::spawn(heed(interrupt, others, please.clone(), now.clone()));
        Ok(Signals { please, now, task })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn heed(
    mut interrupt: Signal,
    [mut terminate, mut hangup]: [Signal; 2],
    please: CancellationToken,
    now: CancellationToken,
) {
    loop {
        tokio::select! {
            _ = interrupt.recv() => if please.is_cancelled() {
                now.cancel();
            } else {
                please.cancel();
            },
            _ = terminate.recv() => now.cancel(),
            _ = hangup.recv() => now.cancel(),
        }
    }
}
