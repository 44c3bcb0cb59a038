//! One attempt to tell one place about one notice, whatever kind of place it is, and what the answer means.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat::{Notice, PushId, Registration, Target, UserId};
use proto::spec_json::rfc3339;
use serde_json::{Value, json};
use store::StoreError;
use transport::outgoing::{self, Answer, Error, Request};

use super::outgoing::Outgoing;
use super::services::{Apns, Fcm, Services};
use super::vapid::ApplicationKey;
use super::{pending, web_push, webhook};
use crate::clock::{Clock, Entropy};
use crate::history::Replica;

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// It was taken.
    Taken,
    /// The place exists no more.
    Gone,
    /// Not now, for this reason; not before that long.
    Failed(String, Option<Duration>),
}

/// Which kinds of places this node can tell. For whoever takes registrations.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kinds {
    /// Apple's service is configured.
    pub(crate) apns: bool,
    /// Firebase is configured.
    pub(crate) fcm: bool,
    /// Plain HTTP is allowed.
    pub(crate) allow_plain: bool,
    /// Addresses of private networks are allowed.
    pub(crate) allow_private: bool,
}

/// Tells places.
pub(super) struct Sender {
    pub(super) outgoing: Arc<dyn Outgoing>,
    pub(super) replica: Arc<dyn Replica>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) key: ApplicationKey,
    /// Apple's and Google's.
    pub(super) services: Arc<Services>,
    /// Whom a push service may ask about us.
    pub(super) contact: Option<String>,
}

/// One notice on its way to one place.
pub(super) struct Parcel<'a> {
    pub(super) user: &'a UserId,
    pub(super) push: PushId,
    pub(super) registration: &'a Registration,
    pub(super) number: u64,
    pub(super) notice: Notice,
}

impl Sender {
    /// Tries once.
    ///
    /// # Errors
    /// When the local replica cannot be read.
    pub(super) async fn tell(&self, parcel: &Parcel<'_>) -> Result<Told, StoreError> {
        let unread = pending::unread(&*self.replica, parcel.user, parcel.notice.conversation)?;
        let request = match self.request(parcel, unread) {
            Ok(request) => request,
            Err(reason) => return Ok(Told::Failed(reason, None)),
        };
        let kind = parcel.registration.target.kind();
        let told = meaning(&parcel.registration.target, self.outgoing.send(request).await);
        let outcome = match &told {
            Told::Taken => "taken",
            Told::Gone => "gone",
            Told::Failed(..) => "failed",
        };
        metrics::counter!("synod_pushes_total", "kind" => kind, "outcome" => outcome).increment(1);
        if let Told::Failed(reason, _) = &told {
            tracing::info!(push = %parcel.push, number = parcel.number, %reason, "not pushed");
        }
        Ok(told)
    }

    fn request(&self, parcel: &Parcel<'_>, unread: u64) -> Result<Request, String> {
        let (notice, now) = (&parcel.notice, self.clock.now());
        match &parcel.registration.target {
            Target::Webhook { url, secret } => {
                let body = json!({
                    "seq": parcel.number,
                    "userId": parcel.user.as_str(),
                    "conversationId": notice.conversation.to_string(),
                    "sequence": notice.seq.0,
                    "unread": unread,
                    "timestamp": rfc3339(notice.at),
                });
                let body = Bytes::from(body.to_string());
                Ok(webhook::request(url, secret, body, now))
            }
            Target::WebPush { endpoint, key, auth } => {
                self.web_push(endpoint, (key, auth), &waiting(notice, unread))
            }
            Target::Apns { token } => {
                let apns = self.services.apns.as_ref().ok_or("apns is not set up on this node")?;
                let request = apns.request(token, (notice, waiting(notice, unread)), now);
                request.ok_or_else(|| "the key for apns does not sign".to_owned())
            }
            Target::Fcm { token } => {
                let fcm = self.services.fcm.as_ref().ok_or("fcm is not set up on this node")?;
                let request = fcm.request(token, (notice, waiting(notice, unread)), now);
                request.ok_or_else(|| "the key for fcm does not sign".to_owned())
            }
        }
    }

    fn web_push(
        &self,
        endpoint: &str,
        keys: (&[u8; 65], &[u8; 16]),
        body: &Value,
    ) -> Result<Request, String> {
        let vapid = self.key.current().ok_or("the cluster has no key for push services yet")?;
        let audience = outgoing::origin(endpoint).map_err(|error| error.to_string())?;
        let contact = self.contact.as_deref();
        let authorization = vapid.authorization(&audience, contact, self.clock.now());
        let authorization = authorization.ok_or("the key for push services does not sign")?;
        let mut salt = [0; 16];
        self.entropy.fill(&mut salt);
        let body = body.to_string();
        web_push::request(endpoint, keys, salt, body.as_bytes(), authorization)
            .ok_or_else(|| "the browser's key is none".to_owned())
    }
}

/// What a device is told: that there is something, and where.
fn waiting(notice: &Notice, unread: u64) -> Value {
    json!({
        "conversationId": notice.conversation.to_string(),
        "sequence": notice.seq.0,
        "unread": unread,
    })
}

/// What an answer means. A place that says it is gone is believed; a webhook that is not found may be found again.
fn meaning(target: &Target, answer: Result<Answer, Error>) -> Told {
    let is_gone = |answer: &Answer| match target {
        Target::Webhook { .. } => answer.status == 410,
        Target::WebPush { .. } => matches!(answer.status, 404 | 410),
        Target::Apns { .. } => Apns::is_gone(answer),
        Target::Fcm { .. } => Fcm::is_gone(answer),
    };
    match answer {
        Ok(answer) if (200..300).contains(&answer.status) => Told::Taken,
        Ok(answer) if is_gone(&answer) => Told::Gone,
        Ok(answer) => Told::Failed(format!("answered {}", answer.status), answer.retry_after),
        Err(error) => Told::Failed(error.to_string(), None),
    }
}
