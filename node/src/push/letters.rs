//! Dead letters for operators: which there are on the shards that this node leads, and telling one once more.
//! A letter goes by its registration and number; no user is named.

use std::sync::Arc;

use chat::{DeadLetter, Outcome, PushCommand, PushId, UserCommand, UserId};
use proto::spec_json::rfc3339;
use serde_json::{Value, json};
use store::StoreError;

use super::Leads;
use super::hints::Hints;
use crate::history::Replica;
use crate::router::Router;

/// Letters in one answer: more than anybody reads, and the counter says how many there were.
const LISTED_MAX: usize = 1000;
/// Users who are looked at before others get a turn.
const USERS_A_TURN: usize = 64;

/// One dead letter as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    /// Its registration.
    pub(crate) push: PushId,
    /// Its number there.
    pub(crate) number: u64,
    /// What kind of place did not take it.
    pub(crate) kind: &'static str,
    /// What was to be told, and why it was not.
    pub(crate) letter: DeadLetter,
}

impl Letter {
    /// As JSON.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "id": format!("{}-{}", self.push, self.number),
            "kind": self.kind,
            "conversationId": self.letter.notice.conversation.to_string(),
            "sequence": self.letter.notice.seq.0,
            "decidedAt": rfc3339(self.letter.notice.at),
            "givenUpAt": rfc3339(self.letter.at),
            "attempts": self.letter.attempts,
            "reason": self.letter.reason,
        })
    }
}

/// What telling once more came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Revival {
    /// It is told under this number.
    Under(u64),
    /// There is no such letter on a shard that this node leads.
    NoSuchLetter,
    /// Not now.
    Failed(String),
}

/// The dead letters of the shards that a node leads. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DeadLetters {
    /// What this node leads.
    pub(crate) leads: Leads,
    /// Applied state on this node.
    pub(crate) replica: Arc<dyn Replica>,
    /// The way to the shards.
    pub(crate) router: Router,
    /// Told of whoever has something to be told again.
    pub(crate) hints: Hints,
}

impl DeadLetters {
    /// All of them, at most [`LISTED_MAX`].
    ///
    /// # Errors
    /// When the local replica cannot be read.
    pub(crate) async fn list(&self) -> Result<Vec<Letter>, StoreError> {
        let mut letters = Vec::new();
        self.walk(|_, letter| {
            letters.push(letter);
            letters.len() < LISTED_MAX
        })
        .await?;
        Ok(letters)
    }

    /// Tells a letter once more.
    pub(crate) async fn revive(&self, push: PushId, number: u64) -> Revival {
        let mut whose = None;
        let walked = self.walk(|user, letter| {
            if (letter.push, letter.number) == (push, number) {
                whose = Some(user.clone());
            }
            whose.is_none()
        });
        if let Err(error) = walked.await {
            return Revival::Failed(error.to_string());
        }
        let Some(user) = whose else { return Revival::NoSuchLetter };
        let command = UserCommand::Push { push, command: PushCommand::Revive { number } };
        let command = proto::encode_user_command(&user, &command);
        match self.router.submit(user.slot(), command).await {
            Ok(Outcome::Accepted(place)) => {
                self.hints.note(&user);
                Revival::Under(place.order.0)
            }
            Ok(_) => Revival::NoSuchLetter,
            // A lost answer leaves the letter gone or there: asking again tells which.
            Err(error) => Revival::Failed(error.to_string()),
        }
    }

    /// Shows every letter until `go_on` has seen enough.
    async fn walk(&self, mut go_on: impl FnMut(&UserId, Letter) -> bool) -> Result<(), StoreError> {
        let known = self.hints.known();
        let led: Vec<&UserId> = known.iter().filter(|user| (self.leads)(user.slot())).collect();
        for some in led.chunks(USERS_A_TURN) {
            for user in some {
                for (push, registration) in self.replica.pushes(user)? {
                    let kind = registration.target.kind();
                    for (number, letter) in registration.dead {
                        if !go_on(user, Letter { push, number, kind, letter }) {
                            return Ok(());
                        }
                    }
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
