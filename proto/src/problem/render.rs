//! A problem on each wire.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Problem, ProblemCode};
use crate::frames;

impl Problem {
    /// Media type of [`Problem::to_json`].
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// The RFC 9457 body: `type, title, status, detail, code, retryable` and what else there is to say.
    pub fn to_json(&self) -> Bytes {
        let mut body = self.members();
        body.insert("type".into(), self.code.uri().into());
        body.insert("title".into(), self.code.title().into());
        body.insert("status".into(), self.code.status().into());
        Bytes::from(Value::Object(body).to_string())
    }

    /// The `error` object of a payload item.
    pub fn to_error_object(&self) -> Value {
        Value::Object(self.members())
    }

    fn members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("code".into(), self.code.as_str().into());
        members.insert("detail".into(), self.detail.as_str().into());
        members.insert("retryable".into(), self.code.retryable().into());
        if let Some(after) = self.retry_after_ms() {
            members.insert("retry_after_ms".into(), after.into());
        }
        if let Some(expected) = self.expected {
            members.insert("expected".into(), expected.into());
        }
        if let Some(field) = &self.field {
            members.insert("field".into(), json!(field));
        }
        members
    }
}

impl From<&Problem> for frames::Problem {
    fn from(problem: &Problem) -> frames::Problem {
        frames::Problem {
            code: problem.code.as_str().to_owned(),
            detail: problem.detail.clone(),
            retryable: problem.code.retryable(),
            retry_after_ms: problem.retry_after_ms().unwrap_or(0),
            unknown: problem.code.is_unknown(),
            expected: problem.expected.unwrap_or(0),
        }
    }
}

impl From<Problem> for frames::Problem {
    fn from(problem: Problem) -> frames::Problem {
        frames::Problem::from(&problem)
    }
}

impl frames::Problem {
    /// The code, if this version knows it. A newer node may send codes that an older client does not know; such a client
    /// goes by `retryable` and `unknown`.
    pub fn known_code(&self) -> Option<ProblemCode> {
        ProblemCode::from_code(&self.code)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_problem_reads_as_rfc_9457() {
        let problem = Problem::new(ProblemCode::OutOfOrder, "order 9 leaves a gap").expecting(7);
        let body: Value = serde_json::from_slice(&problem.to_json()).expect("it is JSON");
        let wanted = json!({
            "type": "urn:synod:problem:out_of_order", "title": "The order number leaves a gap",
            "status": 409, "detail": "order 9 leaves a gap", "code": "out_of_order",
            "retryable": false, "expected": 7
        });
        assert_eq!(body, wanted);
    }

    #[test]
    fn a_hint_is_rounded_up() {
        let problem = Problem::of(ProblemCode::Overloaded).after(Duration::from_micros(1_200));
        assert_eq!(problem.retry_after_ms(), Some(2));
        let frame = frames::Problem::from(&problem);
        assert_eq!((frame.retry_after_ms, frame.retryable, frame.unknown), (2, true, false));
        assert_eq!(frame.known_code(), Some(ProblemCode::Overloaded));
    }
}
