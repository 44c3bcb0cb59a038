//! Who holds a token: this cluster's own, or one of an issuer that the operator trusts.
//!
//! A token of ours names a session that its user opened. A token of an issuer brings its user and device along: both
//! come into being when they are first seen, through the log like everything else. A device that was signed out does
//! not come back with a token from before.

use chat::{Outcome, Refusal, UserCommand};
use proto::{Problem, ProblemCode};

use super::issuers::Issued;
use super::propose::accepted;
use super::tokens::Identity;
use super::{Parts, problems};
use crate::history;

/// What a token claims, verified, before the session is looked for.
pub(crate) enum Claimed {
    /// A session of ours.
    Session(Identity),
    /// Somebody whom an issuer vouches for.
    Issued(Issued),
}

impl Claimed {
    /// Whom it names.
    pub(crate) fn who(&self) -> &Identity {
        match self {
            Self::Session(who) => who,
            Self::Issued(issued) => &issued.who,
        }
    }
}

impl Parts {
    /// Whom `token` names, if anybody who may say so does.
    ///
    /// # Errors
    /// The problem that the client is told.
    pub(crate) async fn claimed(&self, token: &str) -> Result<Claimed, Problem> {
        let now = self.clock.now();
        match self.issuers.judge(now, token).await {
            Some(issued) => issued.map(Claimed::Issued).map_err(problems::of_token),
            None => {
                self.tokens.verify(now, token).map(Claimed::Session).map_err(problems::of_token)
            }
        }
    }

    /// Makes sure that the session exists now; one that an issuer vouches for is opened.
    ///
    /// # Errors
    /// When it has ended, or cannot be opened; and when that cannot be known for now.
    pub(crate) async fn settle(&self, claimed: &Claimed) -> Result<(), Problem> {
        let who = claimed.who();
        if history::seen(&*self.replica, &self.router, &who.user, who.device).await? {
            return Ok(());
        }
        match claimed {
            Claimed::Session(_) => Err(Problem::of(ProblemCode::SessionEnded)),
            Claimed::Issued(issued) => self.admit_issued(issued).await,
        }
    }

    /// The first time that this device is seen, and perhaps this user. [`Parts::settle`] has caught up with the user's
    /// shard.
    async fn admit_issued(&self, issued: &Issued) -> Result<(), Problem> {
        let Issued { who, device_name, issued_at } = issued;
        if self.replica.user(&who.user).map_err(|error| problems::of_store(&error))?.is_none() {
            // Nobody knows a password with an empty hash.
            let create = UserCommand::Create { password_hash: String::new() };
            match self.propose_to_user(&who.user, &create).await?.outcome {
                // Another request of the same user was first, or a group has the name: the next step knows.
                Outcome::Refused(Refusal::NameTaken) => {}
                outcome => accepted(&outcome)?,
            }
        }
        let admit = UserCommand::AdmitDevice {
            device: who.device,
            name: device_name.clone(),
            issued_at: *issued_at,
            starts: self.starts(&who.user).await?,
        };
        match self.propose_to_user(&who.user, &admit).await?.outcome {
            Outcome::Refused(Refusal::NoSuchDevice) => Err(Problem::of(ProblemCode::SessionEnded)),
            Outcome::Refused(Refusal::NoSuchUser) => {
                let detail = "a group has the name that the token gives its user";
                Err(Problem::new(ProblemCode::Unauthenticated, detail))
            }
            outcome => accepted(&outcome),
        }
    }
}
