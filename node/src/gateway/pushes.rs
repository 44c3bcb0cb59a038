//! Where a user wants to be told while away. Telling itself is done elsewhere.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chat::{Outcome, PushCommand, PushId, Refusal, Registration, Target, UserCommand, UserId};
use proto::spec_json::rfc3339;
use proto::{Problem, ProblemCode};
use serde_json::{Value, json};
use transport::outgoing;

use super::Parts;
use super::body::{Fields, Segment, invalid};
use super::caller::Caller;
use super::interface::words::{COUNT, DEVICE, FROM_ONE};
use super::interface::{Answer, Operation, Schema, field, optional};
use super::problems::{self, Failure};
use super::propose::accepted;
use super::tokens::Identity;
use crate::push::{is_point, secret_text};

/// A registration's id.
const PUSH: Schema = Schema::Named("PushId", &Schema::Like("^[0-9a-f]{16}$"));
const KIND: Schema = Schema::OneOf(&["webhook", "webpush", "apns", "fcm"]);
const ADDRESS: Schema = Schema::Text(chat::limits::URI_BYTES_MAX);

/// `POST /v1/push`.
pub(super) const ADD: Operation =
    Operation::new("Names a place where the caller is told about messages while away.")
        .says("A place of this kind and address that is registered already makes room for it.")
        .takes(&[
            field("kind", KIND),
            optional("url", ADDRESS).says("of a webhook: where to"),
            optional("endpoint", ADDRESS).says("of webpush: the subscription's own URL"),
            optional("p256dh", Schema::Text(100)).says("of webpush: the browser's key, base64url"),
            optional("auth", Schema::Text(100)).says("of webpush: its secret, base64url"),
            optional("token", Schema::Text(chat::limits::PUSH_TOKEN_BYTES_MAX))
                .says("of apns and fcm: the device's token"),
        ])
        .answers(&[Answer::json(
            201,
            "it is told from now on",
            &[
                field("id", PUSH),
                field("kind", KIND),
                optional("secret", Schema::Text(64)).says("of a webhook; signs, and is told once"),
            ],
        )])
        .refuses(&[
            ProblemCode::TooManyRegistrations,
            ProblemCode::TargetNotAllowed,
            ProblemCode::TooLarge,
            ProblemCode::NoSuchDevice,
        ]);

/// `POST /v1/push`.
pub(super) async fn add(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    mut body: Fields,
) -> Result<Response, Failure> {
    let target = parts.target(&mut body)?;
    // A server is the user's; whatever rings belongs to a device, and ends with its session.
    let is_server = matches!(target, Target::Webhook { .. });
    let device = (!is_server).then_some(who.device);
    let same = |push: &Registration| push.device == device && push.target == target;
    let pushes = parts.pushes(&who.user)?;
    if let Some((id, _)) = pushes.iter().find(|(_, push)| same(push)) {
        return Ok((StatusCode::CREATED, Json(named(*id, &target))).into_response());
    }
    let push = PushId(parts.entropy.number().max(1));
    let command = PushCommand::Add { device, target: target.clone() };
    parts.push(&who, push, command).await?;
    Ok((StatusCode::CREATED, Json(named(push, &target))).into_response())
}

const REGISTRATION: Schema = Schema::Named(
    "Registration",
    &Schema::Object(&[
        field("id", PUSH),
        field("kind", KIND),
        field("deviceId", Schema::Maybe(&DEVICE)).says("with whose session it ends"),
        field("createdAt", Schema::Time),
        field("last", COUNT).says("the number of the newest notice"),
        field("done", COUNT).says("taken or given up to here"),
        field("deadLetters", COUNT),
        optional("url", ADDRESS),
    ]),
);

/// `GET /v1/push`.
pub(super) const LIST: Operation =
    Operation::new("Where the caller is told while away.").answers(&[Answer::json(
        200,
        "by id",
        &[
            field("registrations", Schema::List(&REGISTRATION, chat::limits::REGISTRATIONS_MAX)),
            field("applicationServerKey", Schema::Maybe(&Schema::Text(100)))
                .says("what browsers subscribe with; null until the cluster has made it"),
        ],
    )]);

/// `GET /v1/push`.
pub(super) async fn list(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
) -> Result<Response, Failure> {
    let slot = who.user.slot();
    parts.router.linearize(slot).await.map_err(|error| problems::of_route(&error))?;
    let pushes = parts.pushes(&who.user)?;
    let registrations: Vec<Value> = pushes.iter().map(|(id, push)| shown(*id, push)).collect();
    let key = parts.key.current().map(|key| key.public());
    let answer = json!({ "registrations": registrations, "applicationServerKey": key });
    Ok(Json(answer).into_response())
}

/// `DELETE /v1/push/{push}`.
pub(super) const REMOVE: Operation = Operation::new("The caller is told there no more.")
    .path(&[field("push", PUSH)])
    .answers(&[Answer::empty(204, "it is gone, with everything that was not told yet")])
    .refuses(&[ProblemCode::NoSuchRegistration]);

/// `DELETE /v1/push/{push}`.
pub(super) async fn remove(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(push): Segment,
) -> Result<StatusCode, Failure> {
    let push = id(&push)?;
    let command = UserCommand::Push { push, command: PushCommand::Remove };
    let proposed = parts.propose_to_user(&who.user, &command).await?;
    let gone = proposed.outcome == Outcome::Refused(Refusal::NoSuchRegistration);
    if !(gone && proposed.repeated) {
        accepted(&proposed.outcome)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/push/{push}/replay`.
pub(super) const REPLAY: Operation =
    Operation::new("Tells again from a number on, under the same numbers.")
        .path(&[field("push", PUSH)])
        .takes(&[field("from", FROM_ONE)])
        .answers(&[Answer::json(
            200,
            "what is told again",
            &[field("from", COUNT).says("the oldest that is kept, if more was asked for"), {
                field("last", COUNT)
            }],
        )])
        .refuses(&[ProblemCode::NoSuchRegistration, ProblemCode::BeyondEnd]);

/// `POST /v1/push/{push}/replay`.
pub(super) async fn replay(
    State(parts): State<Arc<Parts>>,
    Caller(who): Caller,
    Segment(push): Segment,
    mut body: Fields,
) -> Result<Response, Failure> {
    let push = id(&push)?;
    let from = body.number("from")?;
    if from == 0 {
        return Err(invalid("from", "must be at least 1").into());
    }
    parts.push(&who, push, PushCommand::Replay { from }).await?;
    let slot = who.user.slot();
    parts.router.linearize(slot).await.map_err(|error| problems::of_route(&error))?;
    let pushes = parts.pushes(&who.user)?;
    let push = pushes.get(&push).ok_or_else(|| Problem::of(ProblemCode::NoSuchRegistration))?;
    let oldest = push.notices.keys().next().copied().unwrap_or(push.last + 1);
    Ok(Json(json!({ "from": from.max(oldest), "last": push.last })).into_response())
}

fn id(text: &str) -> Result<PushId, Problem> {
    // Whatever is no id names no registration.
    text.parse().map_err(|_| Problem::of(ProblemCode::NoSuchRegistration))
}

fn named(push: PushId, target: &Target) -> Value {
    let mut answer = json!({ "id": push.to_string(), "kind": target.kind() });
    if let Target::Webhook { secret, .. } = target {
        answer["secret"] = json!(secret_text(secret));
    }
    answer
}

/// Without what is secret: only the one answer that made it tells a webhook's secret.
fn shown(id: PushId, push: &Registration) -> Value {
    let mut line = json!({
        "id": id.to_string(),
        "kind": push.target.kind(),
        "deviceId": push.device.map(|device| device.to_string()),
        "createdAt": rfc3339(push.created_at),
        "last": push.last,
        "done": push.done,
        "deadLetters": push.dead.len(),
    });
    if let Target::Webhook { url, .. } = &push.target {
        line["url"] = json!(url);
    }
    line
}

impl Parts {
    fn pushes(
        &self,
        user: &UserId,
    ) -> Result<std::collections::BTreeMap<PushId, Registration>, Problem> {
        self.replica.pushes(user).map_err(|error| problems::of_store(&error))
    }

    async fn push(
        &self,
        who: &Identity,
        push: PushId,
        command: PushCommand,
    ) -> Result<(), Problem> {
        let command = UserCommand::Push { push, command };
        accepted(&self.propose_to_user(&who.user, &command).await?.outcome)
    }

    /// The place that a request names.
    fn target(&self, body: &mut Fields) -> Result<Target, Problem> {
        let not_here = |kind: &str| {
            let detail = format!("{kind} is not set up here");
            Problem::new(ProblemCode::TargetNotAllowed, detail).about("kind")
        };
        match body.text("kind")?.as_str() {
            "webhook" => {
                let url = self.url(body, "url")?;
                let mut secret = [0; 32];
                self.entropy.fill(&mut secret);
                Ok(Target::Webhook { url, secret })
            }
            "webpush" => {
                let endpoint = self.url(body, "endpoint")?;
                let (key, auth) = (bytes(body, "p256dh")?, bytes(body, "auth")?);
                if !is_point(&key) {
                    return Err(invalid("p256dh", "must be a point of P-256"));
                }
                Ok(Target::WebPush { endpoint, key, auth })
            }
            "apns" if self.kinds.apns => Ok(Target::Apns { token: token(body)? }),
            "fcm" if self.kinds.fcm => Ok(Target::Fcm { token: token(body)? }),
            kind @ ("apns" | "fcm") => Err(not_here(kind)),
            _ => Err(invalid("kind", "must be webpush, webhook, apns or fcm")),
        }
    }

    /// A URL that may be asked from here, as far as it says so itself.
    fn url(&self, body: &mut Fields, field: &str) -> Result<String, Problem> {
        let url = body.text(field)?;
        match outgoing::check(&url, self.kinds.allow_plain, self.kinds.allow_private) {
            Ok(()) => Ok(url),
            Err(outgoing::Error::Url(reason)) => Err(invalid(field, reason)),
            Err(error) => {
                Err(Problem::new(ProblemCode::TargetNotAllowed, error.to_string()).about(field))
            }
        }
    }
}

/// A device's token: text that may stand in a path.
fn token(body: &mut Fields) -> Result<String, Problem> {
    let token = body.text("token")?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:.".contains(&byte);
    match !token.is_empty() && token.bytes().all(legal) {
        true => Ok(token),
        false => Err(invalid("token", "must be letters, digits and - _ : .")),
    }
}

/// Bytes in base64url, as browsers give them; their padding is passed over.
fn bytes<const N: usize>(body: &mut Fields, field: &str) -> Result<[u8; N], Problem> {
    let text = body.text(field)?;
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
    let bytes = bytes.ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| invalid(field, format!("must be {N} bytes in base64url")))
}
