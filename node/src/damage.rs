//! What this node found damaged on its own disk or different from the others, and has not seen whole again. Told by its status,
//! so that `synod health` names it; it stops nothing by itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Places that are told; a disk that has more is told well enough by these.
const PLACES_MAX: usize = 32;

/// Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub(crate) struct Damages(Arc<Mutex<BTreeMap<String, String>>>);

impl Damages {
    /// Something is wrong at `place`; what was told of it before is forgotten.
    pub(crate) fn found(&self, place: &str, what: String) {
        let mut places = self.0.lock();
        if places.len() < PLACES_MAX || places.contains_key(place) {
            places.insert(place.to_owned(), what);
        }
    }

    /// `place` is whole.
    pub(crate) fn whole(&self, place: &str) {
        self.0.lock().remove(place);
    }

    /// One sentence for each place.
    pub(crate) fn told(&self) -> Vec<String> {
        self.0.lock().iter().map(|(place, what)| format!("{place}: {what}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_until_it_is_whole_and_not_without_bound() {
        let damages = Damages::default();
        for place in 0..2 * PLACES_MAX {
            damages.found(&format!("slot {place:03}"), "a row is missing".to_owned());
        }
        assert_eq!(damages.told().len(), PLACES_MAX);
        damages.found("slot 000", "two rows are missing".to_owned());
        assert_eq!(damages.told()[0], "slot 000: two rows are missing", "the newest word");
        damages.whole("slot 000");
        assert_eq!(damages.told().len(), PLACES_MAX - 1);
    }
}
