//! The services of Apple and Google, as the node's file names them.
//!
//! Both get a message without content. Apple's needs HTTP/2, which the outgoing client agrees upon with it.

use bytes::Bytes;
use chat::{Notice, Timestamp};
use ring::signature::RsaKeyPair;
use serde::Deserialize;
use serde_json::{Value, json};
use transport::outgoing::{Answer, Request};

use super::bearer::{Bearer, Signer, der};
use super::vapid;
use crate::config::{Apns as ApnsConfig, Fcm as FcmConfig};

/// How long the services keep a message for a device that is not there, seconds.
const TIME_TO_LIVE: u64 = 24 * 3600;
/// How long Google takes a token of ours, seconds; it takes none that is good for longer.
const GOOGLE_SECONDS: u64 = 3600;

/// The services that are set up on this node.
#[derive(Default)]
pub(crate) struct Services {
    /// Apple's.
    pub(crate) apns: Option<Apns>,
    /// Google's.
    pub(crate) fcm: Option<Fcm>,
}

/// Apple's push service.
pub(crate) struct Apns {
    bearer: Bearer,
    topic: String,
    url: String,
}

impl Apns {
    /// With the key of a `.p8` file.
    ///
    /// # Errors
    /// A sentence about the key.
    pub(crate) fn new(config: &ApnsConfig, pem: &str) -> Result<Self, String> {
        let pair = der(pem).and_then(|der| vapid::pair(&der));
        let pair = pair.ok_or("push.apns.key: no P-256 key in PKCS#8")?;
        let header = json!({ "alg": "ES256", "kid": config.key_id });
        let team = config.team.clone();
        let claims = move |now: u64| json!({ "iss": team, "iat": now });
        let bearer = Bearer::new(Signer::P256(pair), header, claims);
        Ok(Self { bearer, topic: config.topic.clone(), url: config.url.clone() })
    }

    pub(super) fn request(
        &self,
        token: &str,
        (notice, waiting): (&Notice, Value),
        now: Timestamp,
    ) -> Option<Request> {
        let mut body = waiting;
        // The application has the words; `mutable-content` lets it fetch what there is before it shows them.
        body["aps"] = json!({ "alert": { "loc-key": "NEW_MESSAGE" }, "mutable-content": 1 });
        let headers = vec![
            ("authorization", self.bearer.authorization(now)?),
            ("content-type", "application/json".to_owned()),
            ("apns-topic", self.topic.clone()),
            ("apns-push-type", "alert".to_owned()),
            ("apns-expiration", (now.0 / 1000 + TIME_TO_LIVE).to_string()),
            ("apns-collapse-id", notice.conversation.to_string()),
        ];
        let url = format!("{}/3/device/{token}", self.url);
        Some(Request { url, headers, body: Bytes::from(body.to_string()) })
    }

    /// Whether an answer says that there is no such device any more.
    pub(super) fn is_gone(answer: &Answer) -> bool {
        let reason = || serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
        answer.status == 410 || answer.status == 400 && reason()["reason"] == "BadDeviceToken"
    }
}

/// Firebase Cloud Messaging, HTTP v1.
pub(crate) struct Fcm {
    bearer: Bearer,
    project: String,
    url: String,
}

/// What we need of a service account's file.
#[derive(Deserialize)]
struct Account {
    project_id: String,
    client_email: String,
    private_key_id: String,
    private_key: String,
}

impl Fcm {
    /// With a service account's file.
    ///
    /// # Errors
    /// A sentence about the file.
    pub(crate) fn new(config: &FcmConfig, file: &str) -> Result<Self, String> {
        let account: Account =
            serde_json::from_str(file).map_err(|error| format!("push.fcm.account: {error}"))?;
        let pair = der(&account.private_key).and_then(|der| RsaKeyPair::from_pkcs8(&der).ok());
        let pair = pair.ok_or("push.fcm.account: no RSA key in PKCS#8")?;
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": account.private_key_id });
        let (email, audience) = (account.client_email, format!("{}/", config.url));
        let claims = move |now: u64| {
            let until = now + GOOGLE_SECONDS;
            json!({ "iss": email, "sub": email, "aud": audience, "iat": now, "exp": until })
        };
        let bearer = Bearer::new(Signer::Rsa(pair), header, claims);
        Ok(Self { bearer, project: account.project_id, url: config.url.clone() })
    }

    pub(super) fn request(
        &self,
        token: &str,
        (notice, waiting): (&Notice, Value),
        now: Timestamp,
    ) -> Option<Request> {
        // The service takes nothing but texts here.
        let texts = waiting.as_object().into_iter().flatten();
        let data: serde_json::Map<String, Value> =
            texts.map(|(name, value)| (name.clone(), json!(text(value)))).collect();
        let android = json!({
            "priority": "HIGH",
            "ttl": format!("{TIME_TO_LIVE}s"),
            "collapse_key": notice.conversation.to_string(),
        });
        let body = json!({ "message": { "token": token, "data": data, "android": android } });
        let headers = vec![
            ("authorization", self.bearer.authorization(now)?),
            ("content-type", "application/json".to_owned()),
        ];
        let url = format!("{}/v1/projects/{}/messages:send", self.url, self.project);
        Some(Request { url, headers, body: Bytes::from(body.to_string()) })
    }

    /// Whether an answer says that there is no such device any more.
    pub(super) fn is_gone(answer: &Answer) -> bool {
        let says = |word: &[u8]| answer.body.windows(word.len()).any(|part| part == word);
        answer.status == 404 && says(b"UNREGISTERED")
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer { status, retry_after: None, body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn only_what_a_service_says_of_the_device_ends_a_registration() {
        assert!(Apns::is_gone(&answer(410, r#"{"reason":"Unregistered"}"#)));
        assert!(Apns::is_gone(&answer(400, r#"{"reason":"BadDeviceToken"}"#)));
        assert!(!Apns::is_gone(&answer(400, r#"{"reason":"BadTopic"}"#)));
        assert!(!Apns::is_gone(&answer(404, r#"{"reason":"BadPath"}"#)));
        let unregistered = r#"{"error":{"details":[{"errorCode":"UNREGISTERED"}]}}"#;
        assert!(Fcm::is_gone(&answer(404, unregistered)));
        assert!(!Fcm::is_gone(&answer(404, r#"{"error":{"status":"NOT_FOUND"}}"#)));
    }
}
