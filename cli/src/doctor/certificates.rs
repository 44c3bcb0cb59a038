//! When certificates run out.

use std::path::Path;

use node::{Clock as _, SystemClock, config::Tls};
use transport::expires_at_ms;

use super::Check;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Time enough to renew in working hours.
const LEFT_WELL_MS: u64 = 14 * DAY_MS;

/// Each certificate of a node.
pub(super) fn all(tls: &Tls) -> Vec<Check> {
    let now = SystemClock.now().0;
    let files = [
        ("authority", &tls.authority),
        ("client-cert", &tls.client_certificate),
        ("peer-cert", &tls.peer_certificate),
    ];
    files.into_iter().map(|(name, path)| of_file(name, path, now)).collect()
}

fn of_file(name: &'static str, path: &Path, now_ms: u64) -> Check {
    let pem = match std::fs::read(path) {
        Ok(pem) => pem,
        Err(error) => return Check::skipped(name, format!("{}: {error}", path.display())),
    };
    let Some(ends) = expires_at_ms(&pem) else {
        let found = format!("{} is no certificate", path.display());
        return Check::failed(name, found, "put the chain there, PEM");
    };
    let days = |ms: u64| ms / DAY_MS;
    let fix = "`synod cert rotate`, or put a new chain there and restart the node";
    if ends <= now_ms {
        let found = format!("{} ran out {} days ago", path.display(), days(now_ms - ends));
        Check::failed(name, found, fix)
    } else {
        let left = ends - now_ms;
        let found = format!("{} is good for {} days", path.display(), days(left));
        if left < LEFT_WELL_MS { Check::warning(name, found, fix) } else { Check::ok(name, found) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn certificates_are_judged_by_the_days_that_are_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let (authority, _) = transport::authority::Authority::create("test").expect("an authority");
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, authority.certificate_pem()).expect("writable");
        let ends = expires_at_ms(&std::fs::read(&path).expect("readable")).expect("a certificate");
        let state = |now| of_file("authority", &path, now).state;
        let seen = [state(ends - 90 * DAY_MS), state(ends - DAY_MS), state(ends)];
        assert_eq!(seen, [State::Ok, State::Warning, State::Failed]);
        std::fs::write(&path, "no certificate").expect("writable");
        assert_eq!(state(0), State::Failed);
        assert_eq!(of_file("authority", &folder.path().join("gone"), 0).state, State::Skipped);
    }
}
