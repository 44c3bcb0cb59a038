//! Whose coming and going this link is told of.

use std::collections::BTreeSet;

use chat::UserId;

use super::Driver;
use crate::presence::{Told, Watching};

impl Driver {
    /// Watches these users from now on.
    pub(super) fn watch(&mut self, users: BTreeSet<UserId>) {
        let Some(who) = &self.who else { return };
        let watching = self.watching.get_or_insert_with(|| self.parts.watches.begin(&who.user));
        watching.set(users);
    }
}

/// News of those who are watched; never, while nobody is.
pub(super) async fn news(watching: Option<&Watching>) -> Vec<(UserId, Told)> {
    match watching {
        Some(watching) => watching.news().await,
        None => std::future::pending().await,
    }
}
