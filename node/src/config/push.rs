//! Telling users who are away: how soon, how often, through whom.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::require;
use crate::push::Kinds;

/// How pushes are sent from this node.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Push {
    /// How long a message waits for its receiver before they are told, milliseconds.
    pub grace_ms: u64,
    /// How long a pass over all users with registrations takes, milliseconds. What no event told of is found by it.
    pub sweep_ms: u64,
    /// The pause after the first failed attempt, milliseconds; each further one is twice as long.
    pub retry_min_ms: u64,
    /// The longest pause between two attempts, milliseconds.
    pub retry_max_ms: u64,
    /// Attempts before a notice becomes a dead letter.
    pub attempts_max: u32,
    /// Age at which it becomes one whatever the attempts, milliseconds.
    pub give_up_after_ms: u64,
    /// Authorities that outgoing connections trust, PEM; those of the system when it is left out.
    pub authorities: Option<PathBuf>,
    /// Whom push services may ask about this cluster: a `mailto:` or `https:` URL (RFC 8292, 2.1).
    pub contact: Option<String>,
    /// Webhooks may be plain HTTP.
    pub allow_plain: bool,
    /// Webhooks may be on private networks and on this machine.
    pub allow_private: bool,
    /// Apple's push service; without it no Apple device is told.
    pub apns: Option<Apns>,
    /// Firebase Cloud Messaging; without it no device of it is told.
    pub fcm: Option<Fcm>,
}

/// Apple's push service.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Apns {
    /// The signing key that Apple gave, a `.p8` file.
    pub key: PathBuf,
    /// Its id.
    pub key_id: String,
    /// The team's id.
    pub team: String,
    /// The application's bundle id.
    pub topic: String,
    /// Where the service is, without a slash at the end.
    #[serde(default = "apns_url")]
    pub url: String,
}

/// Firebase Cloud Messaging.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fcm {
    /// The service account's file, JSON.
    pub account: PathBuf,
    /// Where the service is, without a slash at the end.
    #[serde(default = "fcm_url")]
    pub url: String,
}

fn apns_url() -> String {
    "https://api.push.apple.com".to_owned()
}

fn fcm_url() -> String {
    "https://fcm.googleapis.com".to_owned()
}

impl Default for Push {
    fn default() -> Self {
        Self {
            grace_ms: 2000,
            sweep_ms: 30_000,
            retry_min_ms: 1000,
            retry_max_ms: 2 * 3600 * 1000,
            // With these pauses about half a day.
            attempts_max: 18,
            give_up_after_ms: 24 * 3600 * 1000,
            authorities: None,
            contact: None,
            allow_plain: false,
            allow_private: false,
            apns: None,
            fcm: None,
        }
    }
}

impl Push {
    pub(crate) fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }

    /// Which places can be told from here.
    pub(crate) fn kinds(&self) -> Kinds {
        let Self { allow_plain, allow_private, ref apns, ref fcm, .. } = *self;
        Kinds { apns: apns.is_some(), fcm: fcm.is_some(), allow_plain, allow_private }
    }

    pub(crate) fn sweep(&self) -> Duration {
        Duration::from_millis(self.sweep_ms)
    }

    /// Files that it names, for paths to be taken from the configuration's folder.
    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let apns = self.apns.iter_mut().map(|apns| &mut apns.key);
        let fcm = self.fcm.iter_mut().map(|fcm| &mut fcm.account);
        self.authorities.iter_mut().chain(apns).chain(fcm)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        require(self.sweep_ms > 0, "push.sweep_ms: must not be 0")?;
        require(self.attempts_max > 0, "push.attempts_max: must not be 0")?;
        require(
            0 < self.retry_min_ms && self.retry_min_ms <= self.retry_max_ms,
            "push.retry_min_ms: 1 to push.retry_max_ms",
        )
    }
}
