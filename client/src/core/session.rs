//! The session's tokens: when to renew them, and whether they are good for dialling. The exchange itself is an action.

use std::time::Duration;

use super::limits::{BACKOFF_MAX, REFRESH_MARGIN_MAX};
use crate::Credentials;

#[derive(Debug)]
pub(super) struct Session {
    credentials: Credentials,
    /// When to renew the access token, known once a node has told its clock.
    renew_at: Option<Duration>,
    renewal: Renewal,
    /// A node refused the present token: no link before it is renewed.
    refused: bool,
    /// The present token was renewed here and no node has accepted it yet.
    unproven: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewal {
    /// Not before it is due.
    Idle,
    /// On its way.
    Running,
    /// It failed for now; again at this time.
    Pausing(Duration),
}

/// What to do about a refused token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Renew it now.
    Renew,
    /// It is being renewed.
    Wait,
    /// It was new: the session is over.
    Over,
}

impl Session {
    pub(super) fn new(credentials: Credentials) -> Session {
        let renewal = Renewal::Idle;
        Session { credentials, renew_at: None, renewal, refused: false, unproven: false }
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Whether the token is worth showing to a node.
    pub(super) fn may_dial(&self) -> bool {
        !self.refused
    }

    /// A node accepted the token and told its clock.
    pub(super) fn accepted(&mut self, now: Duration, at_ms: u64) {
        self.unproven = false;
        let Some(expires_at) = self.credentials.expires_at else { return };
        let left = Duration::from_millis(expires_at.0.saturating_sub(at_ms));
        self.renew_at = Some(now + left - (left / 4).min(REFRESH_MARGIN_MAX));
    }

    /// A node refused the token.
    pub(super) fn refused(&mut self) -> Verdict {
        if self.unproven {
            return Verdict::Over;
        }
        self.refused = true;
        match self.renewal {
            Renewal::Running | Renewal::Pausing(_) => Verdict::Wait,
            Renewal::Idle => {
                self.renewal = Renewal::Running;
                Verdict::Renew
            }
        }
    }

    pub(super) fn renewed(&mut self, credentials: Credentials) {
        self.credentials = credentials;
        self.renewal = Renewal::Idle;
        self.renew_at = None;
        self.refused = false;
        self.unproven = true;
    }

    /// Renewing failed, and not for good.
    pub(super) fn not_renewed(&mut self, now: Duration) {
        self.renewal = Renewal::Pausing(now + BACKOFF_MAX);
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        match self.renewal {
            Renewal::Idle => self.renew_at,
            Renewal::Pausing(until) => Some(until),
            Renewal::Running => None,
        }
    }

    /// Whether the token must be renewed now. Says so once.
    pub(super) fn due(&mut self, now: Duration) -> bool {
        let due = self.timeout().is_some_and(|at| at <= now);
        if due {
            self.renewal = Renewal::Running;
        }
        due
    }
}
