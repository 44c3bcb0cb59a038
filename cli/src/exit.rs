//! How every command ends: one closed list of exit codes, and the sentence that goes with a failure.

use std::fmt;

/// What the process tells its parent. The numbers are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok = 0,
    /// A bug, or an operating system that does not do what it must.
    Internal = 1,
    /// The command line or a file it names makes no sense. Also what clap exits with.
    Usage = 2,
    NotFound = 3,
    /// Wrong password, ended session, not a member.
    NotAllowed = 4,
    /// Rejected for what it is, or somebody else holds what is needed.
    Rejected = 5,
    /// Nothing definite came back in time; the same command may be repeated.
    Unavailable = 6,
    /// Some of it was done.
    Partial = 7,
    /// The cluster does not serve.
    Unhealthy = 10,
    /// It serves, but could not lose what it should be able to lose.
    Degraded = 11,
    /// Something was lost, duplicated, reordered or not delivered, or the run proves nothing.
    VerificationFailed = 12,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

/// What a command comes to.
pub(crate) type Outcome = Result<Exit, Failure>;

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Failure {
        Failure { exit, message: message.to_string() }
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    pub(crate) fn internal(message: impl fmt::Display) -> Failure {
        Failure::new(Exit::Internal, message)
    }

    pub(crate) fn unavailable(message: impl fmt::Display) -> Failure {
        Failure::new(Exit::Unavailable, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The exit code for a problem a node answered with, by its stable code and HTTP status.
pub(crate) fn exit_of_status(status: u16) -> Exit {
    match status {
        200..=299 => Exit::Ok,
        401 | 403 => Exit::NotAllowed,
        404 => Exit::NotFound,
        429 | 500..=599 => Exit::Unavailable,
        _ => Exit::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_of_a_node_has_an_exit_code() {
        assert_eq!(exit_of_status(201), Exit::Ok);
        assert_eq!(exit_of_status(403), Exit::NotAllowed);
        assert_eq!(exit_of_status(404), Exit::NotFound);
        assert_eq!(exit_of_status(409), Exit::Rejected);
        assert_eq!(exit_of_status(503), Exit::Unavailable);
    }
}
