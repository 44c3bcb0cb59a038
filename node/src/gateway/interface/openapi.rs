//! The description as OpenAPI 3.1.

use std::collections::BTreeMap;

use proto::{Problem, ProblemCode};
use serde_json::{Map, Value, json};

use super::Call;
use super::operation::{Answer, Content, Operation, Takes};
use super::schema::{EXACT_MAX, Field, Schema, field, object, optional};
use super::words;

/// The name of the one security scheme.
const BEARER: &str = "bearer";
const ABOUT: &str = "A messenger whose conversations are consensus logs. Any node answers for all. Every refusal is an \
    RFC 9457 problem whose code is stable; whoever meets an unknown code goes by `retryable`.";

/// The whole document.
pub(super) fn document(calls: &[Call]) -> Value {
    let mut named = Map::new();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for call in calls {
        let operation = operation(call, &mut named);
        paths.entry(call.path).or_default().insert(call.method.to_lowercase(), operation);
    }
    problem(&mut named);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Synod",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": "/" }],
        "security": [{ BEARER: [] }],
        "paths": paths,
        "components": {
            "schemas": named,
            "headers": standing(),
            "securitySchemes": {
                BEARER: { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
            },
        },
    })
}

fn operation(call: &Call, named: &mut Map<String, Value>) -> Value {
    let Call { method, path, operation } = call;
    let mut out = json!({
        "operationId": id(method, path),
        "summary": operation.summary,
        "tags": [tag(path)],
        "parameters": parameters(path, operation, named),
        "responses": responses(call, named),
    });
    if !operation.detail.is_empty() {
        out["description"] = operation.detail.into();
    }
    if operation.public {
        out["security"] = json!([]);
    }
    match operation.takes {
        Takes::Nothing => {}
        Takes::Json(fields) => {
            let schema = object(fields, named);
            let content = json!({ "application/json": { "schema": schema } });
            out["requestBody"] = json!({ "required": true, "content": content });
        }
        Takes::Bytes(media_types) => {
            let content: Map<String, Value> =
                media_types.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
            out["requestBody"] = json!({ "required": true, "content": content });
        }
    }
    out
}

/// `getV1GroupsGroup`: as unique as method and path are.
fn id(method: &str, path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let capital = |word: &str| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    };
    method.to_lowercase() + &words.map(capital).collect::<String>()
}

/// What a call is about: the first segment that is no version.
pub(super) fn tag(path: &str) -> &str {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    segments.find(|segment| !segment.starts_with("v1")).unwrap_or("root")
}

/// The names in braces of a path.
pub(super) fn segments(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('{').skip(1).filter_map(|rest| rest.split('}').next())
}

/// The shape of each segment of the path that is not fixed.
///
/// # Panics
/// When one has no shape: a test asks for the document, so it is never served so.
pub(super) fn path_fields(path: &'static str, operation: &Operation) -> Vec<Field> {
    let shape = |name: &'static str| {
        let own = operation.path.iter().find(|field| field.name == name).copied();
        own.or_else(|| words::segment(name).map(|schema| field(name, schema)))
            .unwrap_or_else(|| panic!("{path}: say what {name} is, with Operation::path"))
    };
    segments(path).map(shape).collect()
}

fn parameters(
    path: &'static str,
    operation: &Operation,
    named: &mut Map<String, Value>,
) -> Vec<Value> {
    let of_path = path_fields(path, operation).into_iter().map(|field| ("path", field));
    let of_query = operation.query.iter().copied().flatten().map(|field| ("query", *field));
    let of_headers = operation.headers.iter().map(|field| ("header", *field));
    of_path
        .chain(of_query)
        .chain(of_headers)
        .map(|(place, field)| {
            let mut out = json!({
                "name": field.name,
                "in": place,
                "required": field.required,
                "schema": field.schema.json(named),
            });
            if !field.about.is_empty() {
                out["description"] = field.about.into();
            }
            out
        })
        .collect()
}

fn responses(call: &Call, named: &mut Map<String, Value>) -> Value {
    let mut out = BTreeMap::new();
    for answer in call.operation.answers {
        out.insert(answer.status.to_string(), answered(answer, named));
    }
    let mut by_status: BTreeMap<u16, Vec<ProblemCode>> = BTreeMap::new();
    for code in call.operation.refusals(call.method, call.path) {
        by_status.entry(code.status()).or_default().push(code);
    }
    for (status, codes) in by_status {
        out.insert(status.to_string(), refused(status, &codes, named));
    }
    json!(out)
}

fn answered(answer: &Answer, named: &mut Map<String, Value>) -> Value {
    let mut out = json!({ "description": answer.what });
    match answer.body {
        Content::Nothing => {}
        Content::Json(schema) => {
            out["content"] = json!({ "application/json": { "schema": schema.json(named) } });
        }
        Content::Bytes(media_type) => out["content"] = json!({ media_type: {} }),
    }
    out["headers"] = headers(answer.headers, named);
    out
}

fn headers(fields: &[Field], named: &mut Map<String, Value>) -> Value {
    let header = |field: &Field| {
        let schema = field.schema.json(named);
        let header =
            json!({ "required": field.required, "schema": schema, "description": field.about });
        (field.name.to_owned(), header)
    };
    let metered = STANDING.iter().map(|(name, _)| {
        let reference = format!("#/components/headers/{name}");
        ((*name).to_owned(), json!({ "$ref": reference }))
    });
    Value::Object(fields.iter().map(header).chain(metered).collect())
}

/// Told with every answer (draft-ietf-httpapi-ratelimit-headers-10).
const STANDING: [(&str, &str); 2] = [
    (
        "RateLimit",
        "the allowance of which least is left: r, how many; t, seconds until it is whole",
    ),
    ("RateLimit-Policy", "the allowances that the call counts against: q, how many in w seconds"),
];

fn standing() -> Value {
    let header = |(name, about): &(&str, &str)| {
        let schema = json!({ "type": "string" });
        ((*name).to_owned(), json!({ "description": about, "schema": schema }))
    };
    Value::Object(STANDING.iter().map(header).collect())
}

/// Told with every refusal that waiting helps.
const RETRY_AFTER: &[Field] =
    &[optional("Retry-After", Schema::Number(0, EXACT_MAX)).says("whole seconds")];

/// Told with every refusal of whoever shows no good token.
const CHALLENGE: &[Field] = &[field("WWW-Authenticate", Schema::Text(64))];

fn refused(status: u16, codes: &[ProblemCode], named: &mut Map<String, Value>) -> Value {
    let lines: Vec<String> =
        codes.iter().map(|code| format!("`{code}`: {}", code.title())).collect();
    let texts: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    let schema = json!({
        "allOf": [problem(named), { "properties": { "code": { "enum": texts } } }],
    });
    let mut out = json!({
        "description": lines.join("; "),
        "content": { Problem::MEDIA_TYPE: { "schema": schema } },
    });
    let fields = match status {
        401 => CHALLENGE,
        _ if codes.iter().any(|code| code.retryable()) => RETRY_AFTER,
        _ => &[],
    };
    out["headers"] = headers(fields, named);
    out
}

/// The one shape of a refusal (RFC 9457). Its codes are those of the one list.
fn problem(named: &mut Map<String, Value>) -> Value {
    const NAME: &str = "Problem";
    if !named.contains_key(NAME) {
        let codes: Vec<&str> = ProblemCode::ALL.iter().map(|code| code.as_str()).collect();
        let fields = [
            field("type", Schema::Text(128)),
            field("title", Schema::Text(256)),
            field("status", Schema::Number(400, 599)),
            field("detail", words::TEXT),
            field("code", Schema::Any),
            field("retryable", Schema::Flag),
            optional("retry_after_ms", words::COUNT),
            optional("expected", Schema::Number(0, u64::MAX)),
            optional("field", Schema::Text(256)),
        ];
        let mut shape = object(&fields, named);
        shape["properties"]["code"] = json!({ "type": "string", "enum": codes });
        named.insert(NAME.to_owned(), shape);
    }
    json!({ "$ref": "#/components/schemas/Problem" })
}
