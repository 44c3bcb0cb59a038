//! The machine's seat: the one place through which this room touches a group's machine. Keeps how far
//! it has applied and how far it is durable, turns its failures and panics into fatal reasons, and
//! guards the staging of a foreign state. All callers run on the group's own thread.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    AppliedState, Error, Fatal, GroupId, Machine, Position, Rows,
    appoint::{Appointments, Moment},
    codec,
    log::LogFacts,
    stop::Stop,
    types::{StoredMembership, log_id},
};

/// A machine with what is known about it.
pub(crate) struct Seat {
    group: GroupId,
    machine: Mutex<Box<dyn Machine>>,
    state: Mutex<AppliedState>,
    /// Index after the last applied entry; 0 = none.
    applied_next: watch::Sender<u64>,
    log: Arc<LogFacts>,
    stop: Stop,
    /// The engine runs: from here on a snapshot needs a view.
    running: AtomicBool,
    /// Names the foreign state being staged; a newer one makes older ones fail.
    staging: AtomicU64,
    /// Held while a staged state is being installed, and shortly while a new staging begins.
    pub(crate) installing: tokio::sync::Mutex<()>,
    /// Views that are wanted behind entries that are still to come.
    pub(crate) appointments: Appointments,
}

impl Seat {
    /// Takes the machine, and makes what it has durable so that the log may rely on it.
    pub(crate) fn open(
        group: GroupId,
        machine: Box<dyn Machine>,
        log: Arc<LogFacts>,
        stop: Stop,
    ) -> Result<Arc<Self>, Fatal> {
        let seat = Self {
            group,
            machine: Mutex::new(machine),
            state: Mutex::new(AppliedState::default()),
            applied_next: watch::Sender::new(0),
            log,
            stop,
            running: AtomicBool::new(false),
            staging: AtomicU64::new(0),
            installing: tokio::sync::Mutex::new(()),
            appointments: Appointments::default(),
        };
        let state = seat.with(|machine| machine.flush().and_then(|()| machine.applied()))?;
        seat.moved(state, true);
        Ok(Arc::new(seat))
    }

    /// Uses the machine. A panic in there is a broken invariant: it ends the process with a reason
    /// instead of leaving a group that looks alive.
    pub(crate) fn with<R>(
        &self,
        act: impl FnOnce(&mut dyn Machine) -> Result<R, Fatal>,
    ) -> Result<R, Fatal> {
        let mut machine = self.machine.lock();
        let result = catch_unwind(AssertUnwindSafe(|| act(machine.as_mut())))
            .unwrap_or_else(|panic| Err(Fatal::new(format!("panic: {}", panic_text(&*panic)))));
        result.map_err(|fatal| {
            let fatal = Fatal::new(format!("machine of group {}: {fatal}", self.group));
            self.stop.report(fatal.clone());
            fatal
        })
    }

    /// The machine now stands here.
    pub(crate) fn moved(&self, state: AppliedState, durable: bool) {
        let next = state.position.map_or(0, |at| at.index + 1);
        let before = *self.applied_next.borrow();
        assert!(next >= before, "group {}: applied index went back", self.group);
        *self.state.lock() = state;
        if durable && next > 0 {
            self.log.durable(next - 1);
        }
        self.applied_next.send_if_modified(|known| std::mem::replace(known, next) != next);
    }

    pub(crate) fn state(&self) -> AppliedState {
        self.state.lock().clone()
    }

    /// Makes everything applied durable and says how far that is.
    pub(crate) fn flush(&self) -> Result<AppliedState, Fatal> {
        let state = self.state();
        if let Some(at) = state.position
            && !self.log.is_durable(at.index)
        {
            self.with(|machine| machine.flush())?;
            self.log.durable(at.index);
        }
        Ok(state)
    }

    /// Flushes, then gives a view of exactly that state.
    pub(crate) fn view(&self) -> Result<(AppliedState, Box<dyn Rows>), Fatal> {
        let state = self.flush()?;
        Ok((state, self.with(|machine| machine.view())?))
    }

    /// A view of the state behind exactly `index`. It is of what this replica has applied, flushed or not: nothing is
    /// promised by it.
    pub(crate) fn view_at(&self, index: u64) -> Result<Moment, Fatal> {
        let state = self.state();
        match state.position {
            Some(at) if at.index > index => Ok(Moment::Never),
            Some(at) if at.index == index => {
                Ok(Moment::Now((state, self.with(|machine| machine.view())?)))
            }
            _ => Ok(self.appointments.make(index).map_or(Moment::Never, Moment::Later)),
        }
    }

    /// Gives views to those who wait for what has just been applied.
    pub(crate) fn keep_appointments(&self) -> Result<(), Fatal> {
        let Some(index) = self.applied_index() else { return Ok(()) };
        for waits in self.appointments.reached(index) {
            let rows = self.with(|machine| machine.view())?;
            // Whoever does not wait any more does not miss it.
            let _ = waits.send((self.state(), rows));
        }
        Ok(())
    }

    pub(crate) fn run(&self) {
        self.running.store(true, Ordering::Release);
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// The index of the last applied entry.
    pub(crate) fn applied_index(&self) -> Option<u64> {
        self.applied_next.borrow().checked_sub(1)
    }

    /// Waits until the machine has applied `index`.
    pub(crate) async fn wait_applied(&self, index: u64) {
        let mut applied = self.applied_next.subscribe();
        // The sender is a field of this seat, so the wait can only end by success.
        let _ = applied.wait_for(|next| *next > index).await;
    }

    /// Begins to stage a foreign state; whatever was being staged is dropped.
    pub(crate) async fn begin_staging(&self) -> Result<u64, Error> {
        let _guard = self.installing.lock().await;
        let number = self.staging.fetch_add(1, Ordering::AcqRel) + 1;
        self.with(|machine| machine.begin_install())?;
        Ok(number)
    }

    /// Adds rows to the foreign state, unless a newer one has begun.
    pub(crate) fn stage(&self, number: u64, rows: Vec<(Bytes, Bytes)>) -> Result<(), Error> {
        self.check_staging(number)?;
        Ok(self.with(|machine| machine.stage(rows))?)
    }

    /// Whether this is still the newest staging.
    pub(crate) fn check_staging(&self, number: u64) -> Result<(), Error> {
        if self.staging.load(Ordering::Acquire) == number {
            Ok(())
        } else {
            Err(Error::Refused("a newer snapshot is being received".into()))
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// The engine's form of an applied state.
pub(crate) fn engine_state(
    state: &AppliedState,
) -> Result<(Option<crate::types::LogId>, StoredMembership), io::Error> {
    let membership =
        codec::decode_membership(state.membership.clone()).map_err(io::Error::other)?;
    Ok((state.position.map(log_id), membership))
}

/// Our form of an applied state.
pub(crate) fn our_state(position: Position, membership: &StoredMembership) -> AppliedState {
    AppliedState { position: Some(position), membership: codec::encode_membership(membership) }
}
