//! Rate limits: how fast users send, and how fast addresses, users and devices call.
//!
//! Generous on purpose: they stop a runaway client, not a busy one; real backpressure is the credit of a session
//! and the permits of a shard. Monotonic time, so that a jumping wall clock neither locks out nor lets through. Each
//! node counts for itself; a restart forgives.

mod bucket;
mod guesses;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chat::UserId;
use thiserror::Error;
use tokio::time::Instant;

use self::bucket::Keyed;
pub(crate) use self::bucket::{Bucket, Left};
use self::guesses::Guesses;
use super::tokens::Identity;
use crate::config::{self, Rate};

/// Keys remembered per limit; the least recently used is forgotten, which can only be in its favour.
const KEYS_MAX: usize = 65_536;

/// An allowance is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("too many requests; the next one is allowed in {retry_after:?}")]
pub(crate) struct TooFast {
    /// When the next one is allowed.
    pub(crate) retry_after: Duration,
}

/// What kind of call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Costs a password hash.
    SignIn,
    /// Makes an account.
    Register,
    /// Changes nothing.
    Read,
    /// Changes something.
    Write,
    /// Brings a file.
    Upload,
}

/// The limits of one class.
struct Quota {
    address: Keyed<Option<IpAddr>>,
    user: Option<Keyed<UserId>>,
    device: Option<Keyed<Identity>>,
}

impl Quota {
    /// Nobody is known yet when it counts.
    fn of_strangers(name: &'static str, rate: Rate) -> Self {
        Self { address: Keyed::new(name, rate), user: None, device: None }
    }

    fn new(names: [&'static str; 3], quota: config::Quota) -> Self {
        let [address, user, device] = names;
        Self {
            address: Keyed::new(address, quota.address),
            user: Some(Keyed::new(user, quota.user)),
            device: Some(Keyed::new(device, quota.device)),
        }
    }
}

/// All limits of a node.
pub(crate) struct Limits {
    sends: Keyed<UserId>,
    sign_in: Quota,
    register: Quota,
    read: Quota,
    write: Quota,
    upload: Quota,
    guesses: Guesses,
}

impl Limits {
    /// Limits at the rates of a node's file.
    #[must_use]
    pub(crate) fn new(limits: &config::Limits) -> Self {
        Self {
            sends: Keyed::new("sends", limits.sends),
            sign_in: Quota::of_strangers("sign-in-address", limits.sign_in),
            register: Quota::of_strangers("register-address", limits.register),
            read: Quota::new(["read-address", "read-user", "read-device"], limits.read),
            write: Quota::new(["write-address", "write-user", "write-device"], limits.write),
            upload: Quota::new(["upload-address", "upload-user", "upload-device"], limits.upload),
            guesses: Guesses::default(),
        }
    }

    /// Goes on at other rates. What was spent stays spent; whoever links to this node now is held to the new ones as well.
    pub(crate) fn change(&self, to: &config::Limits) {
        self.sends.change(to.sends);
        self.sign_in.address.change(to.sign_in);
        self.register.address.change(to.register);
        for (quota, to) in
            [(&self.read, to.read), (&self.write, to.write), (&self.upload, to.upload)]
        {
            quota.address.change(to.address);
            quota.user.iter().for_each(|keyed| keyed.change(to.user));
            quota.device.iter().for_each(|keyed| keyed.change(to.device));
        }
    }

    fn of(&self, class: Class) -> &Quota {
        match class {
            Class::SignIn => &self.sign_in,
            Class::Register => &self.register,
            Class::Read => &self.read,
            Class::Write => &self.write,
            Class::Upload => &self.upload,
        }
    }

    /// What `user` may send, shared by all of the user's links on this node.
    pub(crate) fn sends(&self, user: &UserId) -> Arc<Bucket> {
        self.sends.bucket(user.clone())
    }

    /// Takes one call from what `address` may do; addresses that are not known share one allowance.
    pub(crate) fn address(&self, now: Instant, class: Class, address: Option<IpAddr>) -> Told {
        self.of(class).address.take(now, address)
    }

    /// Takes one call from what this user and this device may do.
    pub(crate) fn caller(&self, now: Instant, class: Class, who: &Identity) -> [Option<Told>; 2] {
        let quota = self.of(class);
        let user = quota.user.as_ref().map(|keyed| keyed.take(now, who.user.clone()));
        // Whoever is refused as a user does not pay as a device too.
        let refused = user.as_ref().is_some_and(|told| told.left.is_err());
        let device = quota.device.as_ref().filter(|_| !refused);
        [user, device.map(|keyed| keyed.take(now, who.clone()))]
    }

    /// Begins a guess at the password of `user`. Whoever guesses wrong again and again from one address waits longer
    /// and longer; others, and other addresses, do not.
    ///
    /// # Errors
    /// [`TooFast`] while it must wait.
    pub(crate) fn guess(
        &self,
        now: Instant,
        user: &UserId,
        address: Option<IpAddr>,
    ) -> Result<(), TooFast> {
        self.guesses.begin(now, user, address)
    }

    /// The guess was right.
    pub(crate) fn guessed(&self, user: &UserId, address: Option<IpAddr>) {
        self.guesses.right(user, address);
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(&config::Limits::default())
    }
}

/// What came of taking one from an allowance, for the client to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    /// Which allowance.
    pub(crate) name: &'static str,
    pub(crate) rate: Rate,
    /// What is left, or how long there is nothing.
    pub(crate) left: Result<Left, TooFast>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_do_not_share_but_one_address_does() {
        let sign_in = Rate { per_second: 1, burst: 1 };
        let limits = Limits::new(&config::Limits { sign_in, ..config::Limits::default() });
        let (one, two) = (Some(IpAddr::from([10, 0, 0, 1])), Some(IpAddr::from([10, 0, 0, 2])));
        let now = Instant::now();
        let take = |address| limits.address(now, Class::SignIn, address).left;
        assert!(take(one).is_ok());
        assert!(take(one).is_err());
        assert!(take(two).is_ok());
        assert!(limits.address(now, Class::Read, one).left.is_ok(), "classes do not share");
    }

    #[tokio::test]
    async fn a_device_that_spends_its_own_leaves_something_to_the_others() {
        let rate = |burst| Rate { per_second: 1, burst };
        let quota = config::Quota { address: rate(9), user: rate(3), device: rate(2) };
        let limits = Limits::new(&config::Limits { read: quota, ..config::Limits::default() });
        let user = UserId::parse("alice").expect("legal");
        let device = |n| Identity { user: user.clone(), device: chat::DeviceId(n) };
        let now = Instant::now();
        let take = |n| {
            limits.caller(now, Class::Read, &device(n)).map(|told| told.map(|t| t.left.is_ok()))
        };
        assert_eq!(take(1), [Some(true), Some(true)]);
        assert_eq!(take(1), [Some(true), Some(true)]);
        assert_eq!(take(1), [Some(true), Some(false)]);
        assert_eq!(take(2), [Some(false), None], "three of the user are spent");
    }
}
