//! How fast is too fast. Generous on purpose: limits stop a runaway client, not a busy one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::require;

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many a second may be kept up.
    pub per_second: u32,
    /// How many at once.
    pub burst: u32,
}

impl Rate {
    const fn of(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst }
    }
}

/// The rates of one class of calls. Whoever calls must stay below each that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Of one address: a whole office may sit behind it.
    pub address: Rate,
    /// Of one user, on all devices.
    pub user: Rate,
    /// Of one device.
    pub device: Rate,
}

/// All limits of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Messages of one user, over all links.
    pub sends: Rate,
    /// Whatever costs a password hash but registering, of one address.
    pub sign_in: Rate,
    /// Registrations of one address.
    pub register: Rate,
    /// Calls that change nothing.
    pub read: Quota,
    /// Calls that change something.
    pub write: Quota,
    /// Calls that bring files.
    pub upload: Quota,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Far beyond any human, near what one shard takes.
            sends: Rate::of(10_000, 20_000),
            sign_in: Rate::of(50, 5_000),
            register: Rate::of(50, 5_000),
            read: Quota {
                address: Rate::of(20_000, 100_000),
                user: Rate::of(4_000, 20_000),
                device: Rate::of(2_000, 10_000),
            },
            write: Quota {
                address: Rate::of(10_000, 50_000),
                user: Rate::of(2_000, 10_000),
                device: Rate::of(1_000, 5_000),
            },
            upload: Quota {
                address: Rate::of(1_000, 5_000),
                user: Rate::of(200, 1_000),
                device: Rate::of(100, 500),
            },
        }
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { sends, sign_in, register, read, write, upload } = self;
        let quotas = [("read", read), ("write", write), ("upload", upload)];
        let single = [("sends", sends), ("sign_in", sign_in), ("register", register)];
        let of_quotas = quotas.iter().flat_map(|(name, quota)| {
            [(*name, &quota.address), (*name, &quota.user), (*name, &quota.device)]
        });
        for (name, rate) in single.into_iter().chain(of_quotas) {
            require(
                rate.per_second > 0 && rate.burst > 0,
                format_args!("limits.{name}: a limit of nothing would refuse everything"),
            )?;
        }
        Ok(())
    }
}
