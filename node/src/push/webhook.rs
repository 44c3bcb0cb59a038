//! Webhooks: a signed JSON object for each notice.
//!
//! `X-Synod-Signature: v1=<hex>` is HMAC-SHA256 under the registration's secret (as the text that the client was given)
//! over `<X-Synod-Timestamp>.<body>`. The time is that of the attempt, so that a receiver can refuse old requests.

use bytes::Bytes;
use chat::Timestamp;
use ring::hmac;
use transport::outgoing::Request;

/// A secret as the client has it.
pub(crate) fn secret_text(secret: &[u8; 32]) -> String {
    hex(secret)
}

pub(super) fn request(url: &str, secret: &[u8; 32], body: Bytes, now: Timestamp) -> Request {
    let timestamp = (now.0 / 1000).to_string();
    let signature = sign(secret, &timestamp, &body);
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("user-agent", "synod-push/1".to_owned()),
        ("x-synod-timestamp", timestamp),
        ("x-synod-signature", format!("v1={signature}")),
    ];
    Request { url: url.to_owned(), headers, body }
}

fn sign(secret: &[u8; 32], timestamp: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret_text(secret).as_bytes());
    let mut signing = hmac::Context::with_key(&key);
    signing.update(timestamp.as_bytes());
    signing.update(b".");
    signing.update(body);
    hex(signing.sign().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
