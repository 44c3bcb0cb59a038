//! Accounts and sessions (contract, section 4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chat::{ConversationId, DeviceId, Outcome, Refusal, Seq, UserCommand, UserId};
use futures::future::try_join_all;
use proto::spec_json::rfc3339;
use proto::{Problem, ProblemCode};
use serde_json::json;
use tokio::time::Instant;

use super::Parts;
use super::body::{Fields, invalid};
use super::caller::{Address, Caller};
use super::interface::words::{DEVICE, NAME, PASSWORD, SHORT, TEXT};
use super::interface::{Answer, Field, Operation, Schema, field, optional};
use super::limits::Class;
use super::passwords::PASSWORD_BYTES_MAX;
use super::problems::{self, Failure};
use super::propose::accepted;
use super::tokens::{Identity, RefreshToken};

/// Slots that are made fresh at a time when a device begins: enough to be quick, too few to crowd out messages.
const FRESH_AT_ONCE: usize = 64;

/// Who signs in or up, and how.
const CREDENTIALS: [Field; 2] = [field("userId", NAME), field("password", PASSWORD)];

/// A session as the client keeps it.
const SESSION: &[Field] = &[
    field("userId", NAME),
    field("deviceId", DEVICE),
    field("accessToken", TEXT),
    field("refreshToken", TEXT),
    field("expiresAt", Schema::Time).says("of the access token"),
];

/// `POST /v1/users`.
pub(super) const REGISTER: Operation = Operation::new("Makes an account.")
    .public()
    .counts_as(Class::Register)
    .takes(&CREDENTIALS)
    .answers(&[Answer::json(201, "the account exists", &[field("userId", NAME)])])
    .refuses(&[ProblemCode::NameTaken]);

/// `POST /v1/sessions`.
pub(super) const LOGIN: Operation = Operation::new("Signs a new device in.")
    .says("After wrong passwords an address waits longer and longer for the same account.")
    .public()
    .counts_as(Class::SignIn)
    .takes(&[CREDENTIALS[0], CREDENTIALS[1], optional("deviceName", SHORT)])
    .answers(&[Answer::json(201, "a session", SESSION)])
    .refuses(&[ProblemCode::WrongCredentials, ProblemCode::TooManyDevices]);

/// `POST /v1/sessions/refresh`.
pub(super) const REFRESH: Operation = Operation::new("Trades a refresh token for new tokens.")
    .says("A token is good once. Showing a used one of this cluster's ends its session.")
    .public()
    .takes(&[field("refreshToken", TEXT)])
    .answers(&[Answer::json(200, "the session with new tokens", SESSION)])
    .refuses(&[ProblemCode::StaleRefresh]);

/// `DELETE /v1/sessions/current`.
pub(super) const LOGOUT: Operation = Operation::new("Signs this device out.")
    .says("Its links end, on every node.")
    .answers(&[Answer::empty(204, "the session has ended")]);

/// `POST /v1/users`.
pub(super) async fn register(
    State(parts): State<Arc<Parts>>,
    mut body: Fields,
) -> Result<Response, Failure> {
    let user = body.user("userId")?;
    let password = password(&mut body)?;
    // Names are never given back: one that is taken here is taken, and need not cost a hash.
    if parts.replica.user(&user).map_err(|error| problems::of_store(&error))?.is_some() {
        return Err(Problem::of(ProblemCode::NameTaken).into());
    }
    let mut salt = [0; 16];
    parts.entropy.fill(&mut salt);
    let password_hash = parts.passwords.hash(password, salt).await.map_err(Problem::from)?;
    let command = UserCommand::Create { password_hash: password_hash.clone() };
    let proposed = parts.propose_to_user(&user, &command).await?;
    let taken = proposed.outcome == Outcome::Refused(Refusal::NameTaken);
    if !(taken && proposed.repeated && parts.has_hash(&user, &password_hash).await?) {
        accepted(&proposed.outcome)?;
    }
    Ok((StatusCode::CREATED, Json(json!({ "userId": user.as_str() }))).into_response())
}

/// `POST /v1/sessions`.
pub(super) async fn login(
    State(parts): State<Arc<Parts>>,
    Address(address): Address,
    mut body: Fields,
) -> Result<Response, Failure> {
    let name = body.text("userId")?;
    let password = password(&mut body)?;
    let device_name = body.optional_text("deviceName")?.unwrap_or_default();
    let wrong = || Problem::of(ProblemCode::WrongCredentials);
    let user = UserId::parse(&name).map_err(|_| wrong())?;
    parts.limits.guess(Instant::now(), &user, address).map_err(Problem::from)?;
    // One path for all: a fresh look, then one hash, whether the user exists or not.
    parts.router.linearize(user.slot()).await.map_err(|error| problems::of_route(&error))?;
    let account = parts.replica.user(&user).map_err(|error| problems::of_store(&error))?;
    let stored = account.map(|account| account.password_hash);
    if !parts.passwords.verify(password, stored).await.map_err(Problem::from)? {
        return Err(wrong().into());
    }
    parts.limits.guessed(&user, address);
    let who = Identity { user, device: parts.new_device() };
    let refresh = RefreshToken::generate(&*parts.entropy, who.clone());
    let command = UserCommand::OpenSession {
        device: who.device,
        name: device_name,
        refresh: refresh.digest(),
        starts: parts.starts(&who.user).await?,
    };
    accepted(&parts.propose_to_user(&who.user, &command).await?.outcome)?;
    let body = parts.session_json(&refresh)?;
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// `POST /v1/sessions/refresh`.
pub(super) async fn refresh(
    State(parts): State<Arc<Parts>>,
    mut body: Fields,
) -> Result<Response, Failure> {
    let shown = body.text("refreshToken")?;
    let stale = || Problem::of(ProblemCode::StaleRefresh);
    let old = RefreshToken::parse(&shown).ok_or_else(stale)?;
    let who = old.who.clone();
    let new = RefreshToken::generate(&*parts.entropy, who.clone());
    let (device, digests) = (who.device, (old.digest(), new.digest()));
    let command = UserCommand::RefreshSession { device, old: digests.0, new: digests.1 };
    let proposed = parts.propose_to_user(&who.user, &command).await?;
    match proposed.outcome {
        Outcome::Refused(Refusal::StaleRefresh) => {
            // Somebody shows a token that was replaced: either the client or a thief is behind, and nobody can tell
            // which. Only a token that we made ends the session; a made-up one must not.
            if parts.tokens.is_genuine(&old, &shown) {
                tracing::warn!(user = %who.user, device = %device, "a used refresh token was shown");
                let end = UserCommand::EndSession { device };
                parts.propose_to_user(&who.user, &end).await?;
            }
            Err(stale().into())
        }
        Outcome::Refused(Refusal::NoSuchDevice | Refusal::NoSuchUser) => Err(stale().into()),
        outcome => {
            accepted(&outcome)?;
            Ok(Json(parts.session_json(&new)?).into_response())
        }
    }
}

/// `DELETE /v1/sessions/current`.
pub(super) async fn logout(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
) -> Result<StatusCode, Failure> {
    let command = UserCommand::EndSession { device: who.device };
    let proposed = parts.propose_to_user(&who.user, &command).await?;
    match proposed.outcome {
        // It is gone, whoever ended it.
        Outcome::Refused(Refusal::NoSuchDevice) => {}
        outcome => accepted(&outcome)?,
    }
    Ok(StatusCode::NO_CONTENT)
}

fn password(body: &mut Fields) -> Result<String, Problem> {
    password_in(body, "password")
}

/// A password in this field, of a length that is hashed.
pub(super) fn password_in(body: &mut Fields, field: &str) -> Result<String, Problem> {
    let password = body.text(field)?;
    match password.len() {
        0 => Err(invalid(field, "must not be empty")),
        1..=PASSWORD_BYTES_MAX => Ok(password),
        _ => Err(invalid(field, format!("is longer than {PASSWORD_BYTES_MAX} bytes"))),
    }
}

impl Parts {
    /// An id that no device had: 64 random bits, not 0, which stands for none.
    fn new_device(&self) -> DeviceId {
        DeviceId(self.entropy.number().max(1))
    }

    /// Whether the account that exists is the one that this very request made.
    async fn has_hash(&self, user: &UserId, hash: &str) -> Result<bool, Problem> {
        self.router.linearize(user.slot()).await.map_err(|error| problems::of_route(&error))?;
        let account = self.replica.user(user).map_err(|error| problems::of_store(&error))?;
        Ok(account.is_some_and(|account| account.password_hash == hash))
    }

    /// Where a new device begins: at the end of each conversation that exists, as acknowledged by now.
    pub(crate) async fn starts(
        &self,
        user: &UserId,
    ) -> Result<BTreeMap<ConversationId, Seq>, Problem> {
        let links = self.replica.links(user).map_err(|error| problems::of_store(&error))?;
        let slots: BTreeSet<u16> = links.iter().map(|(id, _)| id.slot()).collect();
        let slots: Vec<u16> = slots.into_iter().collect();
        for some in slots.chunks(FRESH_AT_ONCE) {
            let fresh = some.iter().map(|slot| self.router.linearize(*slot));
            try_join_all(fresh).await.map_err(|error| problems::of_route(&error))?;
        }
        let mut starts = BTreeMap::new();
        for (id, _) in links {
            let head = self.replica.head(id).map_err(|error| problems::of_store(&error))?;
            starts.insert(id, head.map_or(Seq(0), |head| head.last_seq));
        }
        Ok(starts)
    }

    fn session_json(&self, refresh: &RefreshToken) -> Result<serde_json::Value, Problem> {
        let who = &refresh.who;
        let access = self.tokens.issue(self.clock.now(), who).map_err(problems::of_token)?;
        Ok(json!({
            "userId": who.user.as_str(),
            "deviceId": who.device.to_string(),
            "accessToken": access.token,
            "refreshToken": self.tokens.reveal(refresh),
            "expiresAt": rfc3339(access.expires_at),
        }))
    }
}
