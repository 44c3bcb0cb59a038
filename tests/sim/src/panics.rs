//! Panics of a run: inside a node they may never happen, and a runtime would swallow most of them.

use std::cell::RefCell;

thread_local! {
    static SEEN: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Begins to note this thread's panics.
pub(crate) fn watch() {
    SEEN.set(Some(Vec::new()));
}

/// Has panics of watched threads noted instead of printed.
pub(crate) fn install() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let noted = SEEN.try_with(|seen| match &mut *seen.borrow_mut() {
            Some(seen) => {
                seen.push(info.to_string());
                true
            }
            None => false,
        });
        if !noted.unwrap_or(false) {
            usual(info);
        }
    }));
}

/// What was noted since the last call.
pub(crate) fn take() -> Vec<String> {
    SEEN.with_borrow_mut(|seen| seen.as_mut().map(std::mem::take).unwrap_or_default())
}
