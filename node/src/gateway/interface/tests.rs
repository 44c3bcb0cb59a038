//! The documents are what the routes say, are kept as they are served, and promise nothing that no route keeps.

mod promises;

use std::collections::BTreeSet;
use std::path::Path;

use axum::body::Body;
use axum::http::{Request, header};
use proto::ProblemCode;
use serde_json::Value;
use tower::ServiceExt as _;

use super::super::fake::world;
use super::super::{described, router};
use super::operation::Content;

/// Compares what is kept at `docs/<name>` with `text`; `SYNOD_REWRITE=1` writes it.
fn kept(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("SYNOD_REWRITE").is_some() {
        std::fs::write(&path, text).expect("the folder of documents can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "docs/{name} is not what is served: SYNOD_REWRITE=1 cargo test -p node interface"
    );
}

#[test]
fn the_kept_description_is_the_one_that_is_served() {
    kept("openapi.json", &super::serve::written(&super::openapi::document(&described())));
}

#[test]
fn the_kept_description_of_links_is_the_one_that_is_served() {
    kept("asyncapi.json", &super::serve::written(&super::asyncapi::document()));
}

#[test]
fn every_call_says_what_it_answers_and_names_each_answer_once() {
    for call in described() {
        let of = format!("{} {}", call.method, call.path);
        assert!(!call.operation.answers.is_empty(), "{of} answers something");
        assert!(call.operation.summary.ends_with('.'), "{of} is summed up in a sentence");
        let statuses: BTreeSet<u16> =
            call.operation.answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses.len(), call.operation.answers.len(), "{of}: a status once");
        let empty = |answer: &&super::Answer| matches!(answer.body, Content::Nothing);
        let with_body = call.operation.answers.iter().filter(|answer| answer.status == 204);
        assert!(with_body.clone().all(|answer| empty(&answer)), "{of}: 204 has no body");
    }
}

#[test]
fn every_reference_of_the_documents_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    for document in [super::openapi::document(&described()), super::asyncapi::document()] {
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 3, "names, ids and problems are shared");
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("references stay in the document");
            assert!(document.pointer(pointer).is_some_and(Value::is_object), "{reference}");
        }
    }
}

#[test]
fn operation_ids_are_unique() {
    let document = super::openapi::document(&described());
    let paths = document["paths"].as_object().expect("an object");
    let operations = paths.values().flat_map(|path| path.as_object().expect("an object").values());
    let ids: Vec<&str> =
        operations.map(|one| one["operationId"].as_str().expect("a text")).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    assert_eq!(ids.len(), described().len(), "every call is in the document");
}

#[tokio::test]
async fn the_page_fetches_nothing_and_runs_nothing() {
    let (_, parts) = world();
    let request = Request::get("/docs").body(Body::empty()).expect("a request");
    let answer = router(parts).oneshot(request).await.expect("infallible");
    assert_eq!(answer.status(), 200);
    let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let page = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
    let page = String::from_utf8(page.to_vec()).expect("text");
    for foreign in ["<script", "http://", "https://", "src=", " style="] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    for code in ProblemCode::ALL {
        assert!(page.contains(&format!("id=\"{code}\"")), "{code}");
    }
    for call in described() {
        assert!(page.contains(call.operation.summary), "{} {}", call.method, call.path);
    }
}
