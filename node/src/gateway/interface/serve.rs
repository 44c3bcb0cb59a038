//! The documents as calls. They are written once, at the first request.

use std::sync::OnceLock;

use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::operation::{Answer, Operation};
use super::schema::Schema;

/// `GET /openapi.json`.
pub(in crate::gateway) const OPENAPI: Operation = Operation::new("This interface as OpenAPI 3.1.")
    .public()
    .answers(&[Answer::shaped(200, "the document", Schema::Object(&[]))]);
/// `GET /asyncapi.json`.
pub(in crate::gateway) const ASYNCAPI: Operation = Operation::new(
    "What links carry, as AsyncAPI 3.0.",
)
.public()
.answers(&[Answer::shaped(200, "the document", Schema::Object(&[]))]);
/// `GET /docs`.
pub(in crate::gateway) const PAGE: Operation = Operation::new(
    "This interface as a page for people.",
)
.public()
.answers(&[Answer::bytes(200, "the page", "text/html")]);

/// Answers with the OpenAPI document.
pub(in crate::gateway) async fn openapi() -> Response {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    let text =
        DOCUMENT.get_or_init(|| written(&super::openapi::document(&crate::gateway::described())));
    ([(header::CONTENT_TYPE, "application/json")], text.as_str()).into_response()
}

/// Answers with the AsyncAPI document.
pub(in crate::gateway) async fn asyncapi() -> Response {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    let text = DOCUMENT.get_or_init(|| written(&super::asyncapi::document()));
    ([(header::CONTENT_TYPE, "application/json")], text.as_str()).into_response()
}

/// Answers with the page.
pub(in crate::gateway) async fn page() -> Response {
    static WRITTEN: OnceLock<(String, String)> = OnceLock::new();
    let (page, policy) =
        WRITTEN.get_or_init(|| (super::page::page(&crate::gateway::described()), policy()));
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, page.as_str()).into_response()
}

/// A document as it is served and kept.
pub(super) fn written(document: &serde_json::Value) -> String {
    format!("{document:#}\n")
}

/// Nothing may be fetched, framed, sent or run; one style is allowed, by its digest (CSP 3).
fn policy() -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, super::page::STYLE.as_bytes());
    let digest = STANDARD.encode(digest);
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}
