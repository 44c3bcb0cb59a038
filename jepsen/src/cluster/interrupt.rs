//! Ctrl-C and SIGTERM as a flag: whoever breaks a cluster looks at it, and takes everything down in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use super::setback::{Doing as _, Setback};

/// From now on Ctrl-C and SIGTERM do not end this process, but raise the flag.
///
/// # Errors
/// When signals cannot be listened to.
#[expect(clippy::disallowed_methods, reason = "signals are waited for by a thread of their own")]
pub fn interrupts() -> Result<Arc<AtomicBool>, Setback> {
    let raised = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&raised);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.doing("starting a runtime for signals")?;
    let (mut interrupt, mut terminate) = runtime
        .block_on(async {
            Ok::<_, std::io::Error>((
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            ))
        })
        .doing("listening for signals")?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                flag.store(true, Ordering::Relaxed);
            }
        });
    });
    Ok(raised)
}
