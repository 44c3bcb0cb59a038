//! Every call is asked many things that its description allows and forbids, and answers only what it promises: a
//! status, a code and a shape that are described there.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, header};
use proto::ProblemCode;
use serde_json::{Map, Value, json};
use store::{Blobs, MemoryDisk, OneFolder, Pace};
use tower::ServiceExt as _;

use super::super::super::fake::{Fake, user, world};
use super::super::super::{Parts, described, router};
use super::super::openapi::path_fields;
use super::super::operation::{Content, Takes};
use super::super::schema::{Field, Schema};
use super::super::{Answer, Call};
use crate::clock::{Entropy as _, SeededEntropy};
use crate::search::Search;

/// Requests of each call.
const ASKED: u64 = 120;
/// Names that somebody has, beside one that nobody has and two that nobody may have.
const NAMES: [&str; 6] = ["alice", "bob", "team", "nobody", "..", "a b"];

/// Chance, from a seed.
struct Dice(SeededEntropy);

impl Dice {
    fn below(&self, count: usize) -> usize {
        let count = u64::try_from(count).expect("small");
        usize::try_from(self.0.number() % count).expect("smaller than the count")
    }

    fn one_in(&self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// Something that a client may put there, mostly of the right shape.
fn value(dice: &Dice, schema: &Schema, known: &[String]) -> Value {
    if dice.one_in(12) {
        let wrong =
            [json!(null), json!(7), json!([1]), json!({ "a": 1 }), json!("\u{0}"), json!("")];
        return wrong[dice.below(wrong.len())].clone();
    }
    match schema {
        Schema::Like(_) => json!(known[dice.below(known.len())]),
        Schema::Text(_) | Schema::Secret(_) => match dice.below(8) {
            0 => json!("x".repeat(300)),
            1 => json!("ü✓"),
            _ => json!(known[dice.below(known.len())]),
        },
        Schema::OneOf(texts) => json!(texts[dice.below(texts.len())]),
        Schema::Time => json!("2026-01-01T00:00:00Z"),
        Schema::Number(least, most) => {
            let ends = [*least, *most, least + 1, most.saturating_add(1), least.wrapping_sub(1)];
            json!(ends[dice.below(ends.len())])
        }
        Schema::Flag => json!(dice.one_in(2)),
        Schema::List(of, _) | Schema::Some(of, _) => {
            json!((0..dice.below(4)).map(|_| value(dice, of, known)).collect::<Vec<_>>())
        }
        Schema::Object(fields) => object(dice, fields, known),
        Schema::Maybe(of) | Schema::Named(_, of) => value(dice, of, known),
        Schema::Either(these) => value(dice, &these[dice.below(these.len())], known),
        Schema::Any => json!(1),
    }
}

fn object(dice: &Dice, fields: &[Field], known: &[String]) -> Value {
    let mut out = Map::new();
    for field in fields {
        let left_out = if field.required { dice.one_in(12) } else { dice.one_in(2) };
        if !left_out {
            out.insert(field.name.to_owned(), value(dice, &field.schema, known));
        }
    }
    Value::Object(out)
}

fn text(value: &Value) -> String {
    let plain = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    percent_encoding::utf8_percent_encode(&plain, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// One request of this call.
fn request(dice: &Dice, call: &Call, token: &str, known: &[String]) -> Request<Body> {
    let mut path = call.path.to_owned();
    for field in path_fields(call.path, &call.operation) {
        let segment = match text(&value(dice, &field.schema, known)) {
            empty if empty.is_empty() => "x".to_owned(),
            segment => segment,
        };
        path = path.replace(&format!("{{{}}}", field.name), &segment);
    }
    let mut separator = '?';
    for field in call.operation.query.iter().copied().flatten() {
        if !dice.one_in(2) {
            let value = text(&value(dice, &field.schema, known));
            path.push_str(&format!("{separator}{}={value}", field.name));
            separator = '&';
        }
    }
    let mut request = Request::builder().method(call.method).uri(path);
    if !dice.one_in(12) {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let body = match call.operation.takes {
        Takes::Nothing => Body::empty(),
        Takes::Json(_) if dice.one_in(20) => Body::from("{ no JSON"),
        Takes::Json(fields) => Body::from(object(dice, fields, known).to_string()),
        Takes::Bytes(_) => Body::from(vec![7; dice.below(2000)]),
    };
    request.body(body).expect("a legal request")
}

/// Whether a value has a shape; where it has not, if so.
fn holds(schema: &Schema, value: &Value) -> Result<(), String> {
    let wrong = || Err(format!("{value} is no {}", schema.words()));
    let fits = match schema {
        Schema::Text(most) | Schema::Secret(most) => {
            value.as_str().is_some_and(|text| text.chars().count() <= *most)
        }
        Schema::Like(_) => value.as_str().is_some_and(|text| !text.is_empty()),
        Schema::OneOf(texts) => value.as_str().is_some_and(|text| texts.contains(&text)),
        Schema::Time => {
            value.as_str().is_some_and(|text| proto::spec_json::parse_rfc3339(text).is_some())
        }
        Schema::Number(least, most) => {
            value.as_u64().is_some_and(|number| (*least..=*most).contains(&number))
        }
        Schema::Flag => value.is_boolean(),
        Schema::List(of, most) | Schema::Some(of, most) => {
            let Some(items) = value.as_array() else { return wrong() };
            items.iter().try_for_each(|item| holds(of, item))?;
            items.len() <= *most
        }
        Schema::Object(fields) => {
            if !value.is_object() {
                return wrong();
            }
            for field in *fields {
                match value.get(field.name) {
                    Some(value) => holds(&field.schema, value)
                        .map_err(|problem| format!("{}: {problem}", field.name))?,
                    None if field.required => return Err(format!("{} is missing", field.name)),
                    None => {}
                }
            }
            true
        }
        Schema::Maybe(of) => value.is_null() || holds(of, value).map(|()| true)?,
        Schema::Named(_, of) => return holds(of, value),
        Schema::Either(these) => these.iter().any(|one| holds(one, value).is_ok()),
        Schema::Any => true,
    };
    if fits { Ok(()) } else { wrong() }
}

/// What is promised of a good answer.
fn kept(answer: &Answer, media_type: &str, body: &[u8]) -> Result<(), String> {
    match answer.body {
        Content::Nothing if body.is_empty() => Ok(()),
        Content::Nothing => Err("a body where none was promised".to_owned()),
        Content::Bytes(promised) => match media_type.starts_with(promised) || promised == "*/*" {
            true => Ok(()),
            false => Err(format!("{media_type} in place of {promised}")),
        },
        Content::Json(schema) => {
            let value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
            holds(&schema, &value)
        }
    }
}

async fn judged(call: &Call, response: Response<Body>) -> Result<(), String> {
    let status = response.status().as_u16();
    let media_type = response.headers().get(header::CONTENT_TYPE);
    let media_type = media_type.and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let body = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    if let Some(answer) = call.operation.answers.iter().find(|answer| answer.status == status) {
        return kept(answer, &media_type, &body).map_err(|problem| format!("{status}: {problem}"));
    }
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    let code = problem["code"].as_str().and_then(ProblemCode::from_code);
    let promised = call.operation.refusals(call.method, call.path);
    match code {
        // An answer without a body says what it says with its status alone.
        None if call.method == "HEAD" && promised.iter().any(|code| code.status() == status) => {
            Ok(())
        }
        Some(ProblemCode::Internal) => Err("internal".to_owned()),
        Some(code) if promised.contains(&code) && code.status() == status => Ok(()),
        _ => Err(format!("{status} with {problem} is not described")),
    }
}

/// Alice and Bob, who have talked, a group of both, and everything that has a name there.
fn populated() -> (Arc<Fake>, Arc<Parts>, String, Vec<String>) {
    let (fake, mut parts) = world();
    let blobs = MemoryDisk::new(Pace::Inline);
    let blobs = Blobs::new(Arc::new(OneFolder(Arc::new(blobs))), None);
    let search = Search::open(blobs, Arc::clone(&fake.clock) as _).expect("memory");
    Arc::get_mut(&mut parts).expect("nobody else has them").search = Some(search);
    let alice = fake.join("alice", 1);
    fake.join("bob", 2);
    fake.say(&alice, "bob", "one");
    let group = chat::GroupId::parse("team").expect("legal");
    let id = chat::ConversationId::group(&group);
    let create = chat::Command::CreateGroup {
        group,
        name: "Team".to_owned(),
        owner: user("alice"),
        members: [user("bob")].into(),
        history: chat::History::All,
    };
    fake.apply(id, &create);
    fake.say_in(id, &alice, None, "two");
    parts.search.as_ref().expect("set above").look(&*fake);
    let token = parts.tokens.issue(parts.clock.now(), &alice).expect("there is a key").token;
    let direct = chat::ConversationId::direct(&user("alice"), &user("bob"));
    let mut known: Vec<String> = NAMES.map(str::to_owned).into();
    known.extend([format!("{id}-1"), format!("{direct}-1"), id.to_string(), "one".to_owned()]);
    known.extend(["0000000000000001", "00000000deadbeef", "0000000000000000"].map(str::to_owned));
    (fake, parts, token, known)
}

#[tokio::test]
async fn every_call_answers_only_what_it_promises() {
    let mut broken = Vec::new();
    for (seed, call) in (1..).zip(described()) {
        let dice = Dice(SeededEntropy::new(seed));
        let (_fake, parts, token, known) = populated();
        for n in 0..ASKED {
            let request = request(&dice, &call, &token, &known);
            let asked = format!("{} {}", request.method(), request.uri());
            let response = router(Arc::clone(&parts)).oneshot(request).await.expect("infallible");
            if let Err(problem) = judged(&call, response).await {
                broken.push(format!("{asked} (number {n}): {problem}"));
                break;
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_shape_that_does_not_hold_is_seen() {
    const SHAPE: Schema = Schema::Object(&[
        super::super::field("name", Schema::Text(3)),
        super::super::optional("at", Schema::Maybe(&Schema::Time)),
        super::super::optional("many", Schema::List(&Schema::Number(1, 2), 1)),
    ]);
    assert_eq!(
        holds(&SHAPE, &json!({ "name": "ü✓x", "at": null, "many": [2], "more": 1 })),
        Ok(())
    );
    for wrong in [
        json!([]),
        json!({}),
        json!({ "name": "four" }),
        json!({ "name": 1 }),
        json!({ "name": "a", "at": "today" }),
        json!({ "name": "a", "many": [3] }),
        json!({ "name": "a", "many": [1, 1] }),
    ] {
        assert!(holds(&SHAPE, &wrong).is_err(), "{wrong}");
    }
}
