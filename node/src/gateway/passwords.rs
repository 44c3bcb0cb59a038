//! Passwords: Argon2id on a bounded line, off the threads that serve links.
//!
//! A hash takes tens of milliseconds and megabytes on purpose, so only a few run at once and only so many may
//! wait; the rest are told to come back. A user that does not exist costs exactly what a wrong password costs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use thiserror::Error;
use tokio::sync::Semaphore;

/// Memory of one hash, KiB. OWASP Password Storage Cheat Sheet: Argon2id, m = 19 MiB, t = 2, p = 1.
const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over that memory.
const PASSES: u32 = 2;
/// Lanes of one hash.
const LANES: u32 = 1;
/// Hashes at once: they are pure CPU, and a node has its messages to serve.
const RUNNING_MAX: usize = 2;
/// Hashes that may wait their turn: about two seconds of work at 20 ms each on two threads.
const WAITING_MAX: usize = 256;
/// When a client that found the line full should come back.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Longest password, bytes: beyond it hashing the input itself would cost.
pub(crate) const PASSWORD_BYTES_MAX: usize = 1024;

/// The line is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("too many sign-ins are waiting; repeat in {retry_after:?}")]
pub(crate) struct Busy {
    /// When to come back.
    pub(crate) retry_after: Duration,
}

/// The line in front of Argon2id.
#[derive(Clone)]
pub(crate) struct Passwords(Arc<Line>);

struct Line {
    argon: Argon2<'static>,
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
    /// A hash of nothing anybody knows, verified when the user does not exist.
    nobody: OnceLock<String>,
}

impl Default for Passwords {
    fn default() -> Self {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
            .expect("the parameters are constants within Argon2's own limits");
        Self::with(params, RUNNING_MAX, WAITING_MAX)
    }
}

impl Passwords {
    fn with(params: Params, running: usize, waiting_max: usize) -> Self {
        Self(Arc::new(Line {
            argon: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            running: Arc::new(Semaphore::new(running)),
            waiting: AtomicUsize::new(0),
            waiting_max,
            nobody: OnceLock::new(),
        }))
    }

    /// Parameters that cost nothing, for tests of everything else.
    #[cfg(test)]
    pub(crate) fn cheap() -> Self {
        let params =
            Params::new(Params::MIN_M_COST, 1, 1, None).expect("the smallest parameters are legal");
        Self::with(params, RUNNING_MAX, WAITING_MAX)
    }

    /// The PHC string to store for `password`.
    ///
    /// # Errors
    /// [`Busy`] when the line is full.
    pub(crate) async fn hash(&self, password: String, salt: [u8; 16]) -> Result<String, Busy> {
        self.run(move |line| line.hash(&password, salt)).await
    }

    /// Whether `password` belongs to `stored`; without a stored hash the answer is no, at the same price.
    ///
    /// # Errors
    /// [`Busy`] when the line is full.
    pub(crate) async fn verify(
        &self,
        password: String,
        stored: Option<String>,
    ) -> Result<bool, Busy> {
        self.run(move |line| {
            // Who came by an issuer has no password at all, which must not be quicker to find out.
            let stored = stored.filter(|stored| !stored.is_empty());
            let exists = stored.is_some();
            let stored = stored.as_deref().unwrap_or_else(|| line.nobody());
            line.matches(&password, stored) && exists
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Line) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let place = Place::take(&self.0)?;
        let permit = Arc::clone(&self.0.running)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let line = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&line);
            drop(permit);
            result
        });
        let result = done.await.expect("hashing does not panic and is not aborted");
        drop(place);
        Ok(result)
    }
}

impl Line {
    fn hash(&self, password: &str, salt: [u8; 16]) -> String {
        let salt = SaltString::encode_b64(&salt).expect("16 bytes are a legal salt");
        let hash = self.argon.hash_password(password.as_bytes(), &salt);
        hash.expect("password and salt are within Argon2's limits").to_string()
    }

    fn matches(&self, password: &str, stored: &str) -> bool {
        PasswordHash::new(stored)
            .is_ok_and(|stored| self.argon.verify_password(password.as_bytes(), &stored).is_ok())
    }

    fn nobody(&self) -> &str {
        self.nobody.get_or_init(|| self.hash("", [0; 16]))
    }
}

/// A place in the line, given back when dropped, also by a client that leaves.
struct Place(Arc<Line>);

impl Place {
    fn take(line: &Arc<Line>) -> Result<Self, Busy> {
        let before = line.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Self(Arc::clone(line));
        if before >= line.waiting_max { Err(Busy { retry_after: RETRY_AFTER }) } else { Ok(place) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_recognised_and_another_is_not() {
        let passwords = Passwords::cheap();
        let stored =
            passwords.hash("correct horse".to_owned(), [7; 16]).await.expect("the line is empty");
        assert!(stored.starts_with("$argon2id$v=19$"));
        assert_eq!(
            passwords.verify("correct horse".to_owned(), Some(stored.clone())).await,
            Ok(true)
        );
        assert_eq!(passwords.verify("wrong horse".to_owned(), Some(stored)).await, Ok(false));
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        let passwords = Passwords::cheap();
        assert_eq!(passwords.verify(String::new(), None).await, Ok(false));
    }

    #[test]
    fn production_parameters_are_those_of_owasp() {
        let passwords = Passwords::default();
        let hash = passwords.0.hash("p", [1; 16]);
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    }

    #[tokio::test]
    async fn a_full_line_refuses_and_recovers() {
        let params = Params::new(Params::MIN_M_COST, 1, 1, None).expect("legal");
        let passwords = Passwords::with(params, 1, 1);
        let place = Place::take(&passwords.0).expect("the first place is free");
        assert!(passwords.verify("x".to_owned(), None).await.is_err());
        drop(place);
        assert_eq!(passwords.verify("x".to_owned(), None).await, Ok(false));
    }
}
