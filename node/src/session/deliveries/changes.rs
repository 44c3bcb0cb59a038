//! Changes on their way to the client: dense in what the user may see, each after the messages that were said before it.

use std::sync::Arc;

use chat::{Change, ChangeNumber, ConversationId};

use super::{Deliveries, Step, Wanted};

impl Deliveries {
    /// Something was changed.
    pub(crate) fn offer_change(&mut self, change: &Change) -> Step {
        let id = change.conversation;
        if !self.opened {
            return self.changed(id);
        }
        let Some(track) = self.tracks.get_mut(&id) else { return Step::Refresh };
        track.known_change = track.known_change.max(change.number);
        track.known = track.known.max(change.after);
        if change.number < track.next_change {
            return Step::Nothing;
        }
        if change.number > track.next_change || change.after >= track.next || !self.caught_up {
            // What was said before it is missing, or an earlier change is.
            self.want(id);
            self.want_changes(id);
            return Step::Nothing;
        }
        track.next_change = change.number.next();
        let hidden = change.what.seq().is_some_and(|seq| seq < track.visible_from);
        if hidden { Step::Nothing } else { Step::Deliver }
    }

    /// The conversation whose changes to read next and after which, if any are missing.
    pub(super) fn poll_changes(&mut self) -> Option<Wanted> {
        while let Some(id) = self.changing.pop_front() {
            let Some(track) = self.tracks.get_mut(&id) else { continue };
            track.change_queued = false;
            if track.next > track.known && track.next_change <= track.known_change {
                return Some(Wanted::Changes(id, ChangeNumber(track.next_change.0 - 1)));
            }
        }
        None
    }

    /// Takes changes that were read; `None`: the user may not read them any more.
    pub(crate) fn page_of_changes(
        &mut self,
        id: ConversationId,
        page: Option<Vec<Change>>,
    ) -> Vec<Arc<Change>> {
        let Some(page) = page else {
            self.drop_track(id);
            return Vec::new();
        };
        let Some(track) = self.tracks.get_mut(&id) else { return Vec::new() };
        if page.is_empty() {
            track.known_change = ChangeNumber(track.next_change.0 - 1);
        }
        let mut changes = Vec::with_capacity(page.len());
        for change in page {
            if change.number < track.next_change {
                continue;
            }
            if change.after >= track.next {
                // The log has grown since: what was said meanwhile comes first.
                track.known = track.known.max(change.after);
                break;
            }
            track.next_change = change.number.next();
            if change.what.seq().is_none_or(|seq| seq >= track.visible_from) {
                changes.push(Arc::new(change));
            }
        }
        self.want(id);
        self.want_changes(id);
        changes
    }

    /// Queues the conversation if changes are missing and messages are not: after those it is queued again.
    pub(super) fn want_changes(&mut self, id: ConversationId) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        let complete = track.next > track.known;
        if complete && track.next_change <= track.known_change && !track.change_queued {
            track.change_queued = true;
            self.changing.push_back(id);
        }
    }
}
