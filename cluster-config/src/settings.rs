//! Replicated settings: those about which two nodes may not disagree. What one node may decide for itself is in
//! its own file and unknown here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The settings of a cluster, each with its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// How long an access token is good for. Also bounds how long a stolen one is.
    pub access_token_ttl: Duration,
    /// How long a refresh token is good for, since it was last used.
    pub refresh_token_ttl: Duration,
    /// How long a node must be silent before its replicas are made again elsewhere.
    pub repair_after: Duration,
    /// Messages that one device may send per second in the long run.
    pub send_rate_per_s: u32,
    /// Messages that one device may send at once on top of the rate.
    pub send_burst: u32,
    /// Whether strangers may register accounts.
    pub open_registration: bool,
    /// Whether the cluster moves votes and leaderships by itself.
    #[serde(skip_serializing_if = "is_on")]
    pub rebalance: bool,
    /// Whether the feature level rises by itself some time after the last node speaks the next one.
    #[serde(skip_serializing_if = "is_on")]
    pub upgrade_automatic: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_on(flag: &bool) -> bool {
    *flag
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            access_token_ttl: Duration::from_secs(15 * 60),
            refresh_token_ttl: Duration::from_secs(30 * 24 * 60 * 60),
            repair_after: Duration::from_secs(10 * 60),
            send_rate_per_s: 2_000,
            send_burst: 4_000,
            open_registration: true,
            rebalance: true,
            upgrade_automatic: true,
        }
    }
}

/// One setting with its new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// See [`Settings::access_token_ttl`]; 10 seconds to 1 day.
    AccessTokenTtl(Duration),
    /// See [`Settings::refresh_token_ttl`]; 1 minute to 366 days.
    RefreshTokenTtl(Duration),
    /// See [`Settings::repair_after`]; 10 seconds to 30 days.
    RepairAfter(Duration),
    /// See [`Settings::send_rate_per_s`]; at least 1.
    SendRatePerS(u32),
    /// See [`Settings::send_burst`]; at least 1.
    SendBurst(u32),
    /// See [`Settings::open_registration`].
    OpenRegistration(bool),
    /// See [`Settings::rebalance`].
    Rebalance(bool),
    /// See [`Settings::upgrade_automatic`]. Of [`FeatureLevel::SPLITS`](crate::FeatureLevel::SPLITS).
    UpgradeAutomatic(bool),
}

impl Setting {
    /// Stable name, as operators type it.
    pub fn name(&self) -> &'static str {
        match self {
            Setting::AccessTokenTtl(_) => "access_token_ttl",
            Setting::RefreshTokenTtl(_) => "refresh_token_ttl",
            Setting::RepairAfter(_) => "repair_after",
            Setting::SendRatePerS(_) => "send_rate_per_s",
            Setting::SendBurst(_) => "send_burst",
            Setting::OpenRegistration(_) => "open_registration",
            Setting::Rebalance(_) => "rebalance",
            Setting::UpgradeAutomatic(_) => "upgrade_automatic",
        }
    }

    /// Whether the value lies within its documented bounds.
    pub fn is_within_bounds(&self) -> bool {
        let seconds = |range: std::ops::RangeInclusive<u64>, value: &Duration| {
            Duration::from_secs(*range.start()) <= *value
                && *value <= Duration::from_secs(*range.end())
        };
        match self {
            Setting::AccessTokenTtl(ttl) => seconds(10..=86_400, ttl),
            Setting::RefreshTokenTtl(ttl) => seconds(60..=366 * 86_400, ttl),
            Setting::RepairAfter(after) => seconds(10..=30 * 86_400, after),
            Setting::SendRatePerS(rate) => *rate >= 1,
            Setting::SendBurst(burst) => *burst >= 1,
            Setting::OpenRegistration(_) | Setting::Rebalance(_) | Setting::UpgradeAutomatic(_) => {
                true
            }
        }
    }
}

impl Settings {
    /// Takes a value that is within its bounds.
    pub(crate) fn change(&mut self, setting: Setting) {
        assert!(setting.is_within_bounds(), "bounds are checked before a setting is changed");
        match setting {
            Setting::AccessTokenTtl(ttl) => self.access_token_ttl = ttl,
            Setting::RefreshTokenTtl(ttl) => self.refresh_token_ttl = ttl,
            Setting::RepairAfter(after) => self.repair_after = after,
            Setting::SendRatePerS(rate) => self.send_rate_per_s = rate,
            Setting::SendBurst(burst) => self.send_burst = burst,
            Setting::OpenRegistration(open) => self.open_registration = open,
            Setting::Rebalance(on) => self.rebalance = on,
            Setting::UpgradeAutomatic(on) => self.upgrade_automatic = on,
        }
    }
}
