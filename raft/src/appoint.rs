//! Views at an index that is still to come: whoever compares replicas needs the state of each behind the same entry, and
//! only the driver passes there. What the view is for is not known here.

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{AppliedState, Rows};

/// Views that may be waited for at once in one group: one comparison, and another whose asker has gone and is not noticed yet.
const WAITING_MAX: usize = 4;

/// A state and where it stands.
pub(crate) type Viewed = (AppliedState, Box<dyn Rows>);

/// When a view can be had.
pub(crate) enum Moment {
    /// The replica stands there.
    Now(Viewed),
    /// It will get there. The sender goes without a word when it was carried beyond.
    Later(oneshot::Receiver<Viewed>),
    /// It is beyond, or too many wait.
    Never,
}

/// Who waits for which index. Only touched on the group's own thread; the lock is for the compiler.
#[derive(Default)]
pub(crate) struct Appointments(Mutex<Vec<(u64, oneshot::Sender<Viewed>)>>);

impl Appointments {
    /// A view behind `index` is wanted, which is still to be applied. `None`: too many are.
    pub(crate) fn make(&self, index: u64) -> Option<oneshot::Receiver<Viewed>> {
        let mut waiting = self.0.lock();
        waiting.retain(|(_, waits)| !waits.is_closed());
        if waiting.len() >= WAITING_MAX {
            return None;
        }
        let (waits, view) = oneshot::channel();
        waiting.push((index, waits));
        Some(view)
    }

    /// Whether somebody waits for a view behind exactly this entry.
    pub(crate) fn is_due(&self, index: u64) -> bool {
        self.0.lock().iter().any(|(at, _)| *at == index)
    }

    /// The log was applied up to `index`: whoever waits for that, and whoever waited for less is gone.
    pub(crate) fn reached(&self, index: u64) -> Vec<oneshot::Sender<Viewed>> {
        let mut waiting = self.0.lock();
        let (passed, later) = waiting.drain(..).partition(|(at, _)| *at <= index);
        *waiting = later;
        let passed: Vec<(u64, oneshot::Sender<Viewed>)> = passed;
        let here = passed.into_iter().filter(|(at, waits)| *at == index && !waits.is_closed());
        here.map(|(_, waits)| waits).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_less_is_told_that_it_is_too_late() {
        let appointments = Appointments::default();
        let [mut early, mut exact, mut later] =
            [4, 5, 6].map(|index| appointments.make(index).expect("few wait"));
        assert!(appointments.is_due(5) && !appointments.is_due(7));
        assert_eq!(appointments.reached(5).len(), 1);
        let closed = |view: &mut oneshot::Receiver<Viewed>| {
            matches!(view.try_recv(), Err(oneshot::error::TryRecvError::Closed))
        };
        // The sender for exactly this index was handed out and dropped without a view.
        assert!(closed(&mut early) && closed(&mut exact) && !closed(&mut later));
    }

    #[test]
    fn no_more_wait_than_may_and_those_who_went_away_do_not_count() {
        let appointments = Appointments::default();
        let waiting: Vec<_> = (0..WAITING_MAX as u64).map(|at| appointments.make(at)).collect();
        assert!(waiting.iter().all(Option::is_some) && appointments.make(9).is_none());
        drop(waiting);
        assert!(appointments.make(9).is_some());
    }
}
