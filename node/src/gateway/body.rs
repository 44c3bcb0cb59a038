//! Requests in: JSON bodies field by field, so that a wrong one can be named; ids in paths; query parameters.

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts as RequestParts;
use chat::{GroupId, UserId};
use proto::{Problem, ProblemCode};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::problems::Failure;

/// Largest body of a request here: a group of the most members with the longest names, twice over.
const BODY_BYTES_MAX: usize = 256 << 10;

const _: () =
    assert!(BODY_BYTES_MAX > chat::limits::MEMBERS_MAX * (chat::limits::ID_BYTES_MAX + 4));

/// The fields of a JSON object. Unknown ones are ignored; wrong types are refused with the field's name.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

/// A problem with one field of a request.
pub(super) fn invalid(field: &str, reason: impl std::fmt::Display) -> Problem {
    Problem::new(ProblemCode::InvalidRequest, format!("{field} {reason}")).about(field)
}

impl Fields {
    /// A text that must be there.
    pub(super) fn text(&mut self, field: &str) -> Result<String, Problem> {
        self.optional_text(field)?.ok_or_else(|| invalid(field, "is missing"))
    }

    /// A text that may be left out or `null`.
    pub(super) fn optional_text(&mut self, field: &str) -> Result<Option<String>, Problem> {
        match self.0.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(invalid(field, "must be a string")),
        }
    }

    /// Yes or no; it must be there.
    pub(super) fn boolean(&mut self, field: &str) -> Result<bool, Problem> {
        match self.0.remove(field) {
            Some(Value::Bool(value)) => Ok(value),
            None | Some(Value::Null) => Err(invalid(field, "is missing")),
            Some(_) => Err(invalid(field, "must be true or false")),
        }
    }

    /// A whole number that must be there.
    pub(super) fn number(&mut self, field: &str) -> Result<u64, Problem> {
        match self.0.remove(field) {
            None | Some(Value::Null) => Err(invalid(field, "is missing")),
            Some(value) => value.as_u64().ok_or_else(|| invalid(field, "must be a whole number")),
        }
    }

    /// A whole number that may be `null`; the first `None` when it is left out.
    pub(super) fn nullable_number(&mut self, field: &str) -> Result<Option<Option<u64>>, Problem> {
        match self.0.remove(field) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(value) => {
                let number = value.as_u64().ok_or_else(|| invalid(field, "must be a whole number"));
                number.map(|number| Some(Some(number)))
            }
        }
    }

    /// A whole number that may be left out or `null`.
    pub(super) fn optional_number(&mut self, field: &str) -> Result<Option<u64>, Problem> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(self.0.remove(field).and(None)),
            Some(_) => self.number(field).map(Some),
        }
    }

    /// The names of fields that nobody took yet.
    pub(super) fn rest(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// All fields at once, as a type says.
    pub(super) fn read<T: DeserializeOwned>(self) -> Result<T, Problem> {
        serde_json::from_value(Value::Object(self.0))
            .map_err(|error| Problem::new(ProblemCode::InvalidRequest, error.to_string()))
    }

    /// A list of texts; empty when it is left out or `null`.
    pub(super) fn texts(&mut self, field: &str) -> Result<Vec<String>, Problem> {
        let wrong = || invalid(field, "must be a list of strings");
        let list = match self.0.remove(field) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(wrong()),
        };
        let text = |value| match value {
            Value::String(text) => Ok(text),
            _ => Err(wrong()),
        };
        list.into_iter().map(text).collect()
    }

    /// A user's id that must be there.
    pub(super) fn user(&mut self, field: &str) -> Result<UserId, Problem> {
        user(field, &self.text(field)?)
    }
}

/// Reads a user's id.
pub(super) fn user(field: &str, text: &str) -> Result<UserId, Problem> {
    UserId::parse(text).map_err(|error| invalid(field, error))
}

/// Reads a group's id.
pub(super) fn group(field: &str, text: &str) -> Result<GroupId, Problem> {
    GroupId::parse(text).map_err(|error| invalid(field, error))
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Failure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Failure> {
        let body = to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(|_| {
            let detail = format!("a body has at most {BODY_BYTES_MAX} bytes");
            Problem::new(ProblemCode::TooLarge, detail).expecting(BODY_BYTES_MAX as u64)
        })?;
        match serde_json::from_slice(&body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => {
                let detail = "the body must be a JSON object";
                Err(Problem::new(ProblemCode::InvalidRequest, detail).into())
            }
            Err(error) => {
                let detail = format!("the body is not JSON: {error}");
                Err(Problem::new(ProblemCode::InvalidRequest, detail).into())
            }
        }
    }
}

/// One segment of the path, decoded.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut RequestParts, state: &S) -> Result<Self, Failure> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(segment) = path.map_err(|error| {
            Problem::new(ProblemCode::InvalidRequest, format!("the path is not valid: {error}"))
        })?;
        Ok(Self(segment))
    }
}

/// Two segments of the path, decoded.
pub(super) struct Segments(pub(super) String, pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segments {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut RequestParts, state: &S) -> Result<Self, Failure> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((one, other)) = path.map_err(|error| {
            Problem::new(ProblemCode::InvalidRequest, format!("the path is not valid: {error}"))
        })?;
        Ok(Self(one, other))
    }
}

/// Query parameters. Unknown ones are ignored.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// The parameter of this name, if it is there.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The parameter as a number, if it is there.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| invalid(name, "must be a whole number in range"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut RequestParts, state: &S) -> Result<Self, Failure> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(pairs) = query.map_err(|error| {
            Problem::new(ProblemCode::InvalidRequest, format!("the query is not valid: {error}"))
        })?;
        Ok(Self(pairs))
    }
}
