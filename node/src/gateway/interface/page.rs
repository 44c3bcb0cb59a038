//! The description as one page for people: no script, nothing fetched, not even from here.

use std::fmt::Write as _;

use proto::ProblemCode;

use super::Call;
use super::openapi::{path_fields, tag};
use super::operation::{Content, Takes};
use super::schema::{Field, Schema};

/// All the style there is; its digest is in the page's policy.
pub(super) const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
    code,h3{font-family:ui-monospace,monospace}h3{margin:2rem 0 0;font-size:1.05rem}\
    table{border-collapse:collapse;margin:.5rem 0}td,th{text-align:left;vertical-align:top;\
    padding:.15rem 1rem .15rem 0;border-top:1px solid #8884}p{margin:.3rem 0}\
    @media(prefers-color-scheme:dark){body{background:#111;color:#ddd}a{color:#8bf}}";

/// The whole page.
pub(super) fn page(calls: &[Call]) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Synod: the client interface</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\
         <h1>Synod: the client interface</h1><p>Version {}. The same for machines: \
         <a href=\"/openapi.json\">/openapi.json</a> (OpenAPI 3.1). Calls without the word <em>public</em> need \
         <code>Authorization: Bearer</code> and an access token. Links are at <code>/chat</code>: \
         <a href=\"/asyncapi.json\">/asyncapi.json</a> (AsyncAPI 3.0).</p>",
        env!("CARGO_PKG_VERSION")
    );
    let mut subjects: Vec<&str> = Vec::new();
    for call in calls {
        if !subjects.contains(&tag(call.path)) {
            subjects.push(tag(call.path));
        }
    }
    for subject in subjects {
        let _ = write!(out, "<h2>{}</h2>", escape(subject));
        calls.iter().filter(|call| tag(call.path) == subject).for_each(|one| call(&mut out, one));
    }
    codes(&mut out);
    out.push_str("</body></html>");
    out
}

fn call(out: &mut String, call: &Call) {
    let Call { method, path, operation } = call;
    let public = if operation.public { " <em>public</em>" } else { "" };
    let _ = write!(out, "<h3>{method} {}</h3><p>{}{public}</p>", escape(path), operation.summary);
    if !operation.detail.is_empty() {
        let _ = write!(out, "<p>{}</p>", escape(operation.detail));
    }
    out.push_str("<table>");
    fields(out, "path", &path_fields(path, operation));
    operation.query.iter().for_each(|group| fields(out, "query", group));
    fields(out, "header", operation.headers);
    match operation.takes {
        Takes::Nothing => {}
        Takes::Json(these) => fields(out, "body", these),
        Takes::Bytes(types) => row(out, "body", &types.join(", "), "bytes", ""),
    }
    for answer in operation.answers {
        let status = answer.status.to_string();
        match answer.body {
            Content::Json(Schema::Object(these)) => {
                row(out, &status, "", answer.what, "");
                fields(out, "", these);
            }
            Content::Json(schema) => row(out, &status, "", &schema.words(), answer.what),
            Content::Bytes(media_type) => row(out, &status, "", media_type, answer.what),
            Content::Nothing => row(out, &status, "", "no body", answer.what),
        }
    }
    out.push_str("</table><p>Refused with ");
    for code in operation.refusals(method, path) {
        let _ = write!(out, "<a href=\"#{code}\"><code>{code}</code></a> ");
    }
    out.push_str("</p>");
}

fn fields(out: &mut String, place: &str, fields: &[Field]) {
    for field in fields {
        let name = format!("{}{}", field.name, if field.required { "" } else { "?" });
        row(out, place, &name, &field.schema.words(), field.about);
    }
}

fn row(out: &mut String, place: &str, name: &str, what: &str, about: &str) {
    let _ = write!(
        out,
        "<tr><td>{}</td><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
        escape(place),
        escape(name),
        escape(what),
        escape(about)
    );
}

fn codes(out: &mut String) {
    out.push_str("<h2>Problem codes</h2><table>");
    for code in ProblemCode::ALL {
        let again = if code.retryable() { "may be repeated" } else { "" };
        let _ = write!(
            out,
            "<tr id=\"{code}\"><td><code>{code}</code></td><td>{}</td><td>{}</td><td>{again}</td></tr>",
            code.status(),
            escape(code.title())
        );
    }
    out.push_str("</table>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
