//! What REST answers mean.

use bytes::Bytes;
use chat::{ConversationId, DeviceId, GroupId, Timestamp, UserId};
use proto::frames::Problem;
use serde::Deserialize;
use serde_json::Value;
use transport::http::Response;

use crate::{CallError, Credentials, Group};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    user_id: Option<String>,
    device_id: Option<String>,
    access_token: String,
    refresh_token: String,
    expires_at: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewGroup {
    group_id: String,
    conversation_id: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ProblemBody {
    code: String,
    title: String,
    detail: String,
    retryable: bool,
    retry_after_ms: u64,
    expected: u64,
}

/// The body of an answer that says yes, or what an answer that says no said.
pub(super) fn body(response: Response) -> Result<Bytes, CallError> {
    if (200..300).contains(&response.status) {
        return Ok(response.body);
    }
    Err(CallError::Refused { status: response.status, problem: problem(&response) })
}

/// One line about an answer that says no.
pub(super) fn detail(response: &Response) -> String {
    let problem = problem(response);
    format!("{}: {}", problem.code, problem.detail)
}

fn problem(response: &Response) -> Problem {
    let told: ProblemBody = serde_json::from_slice(&response.body).unwrap_or_default();
    let code = match told.code.is_empty() {
        true => format!("http_{}", response.status),
        false => told.code,
    };
    Problem {
        unknown: code == proto::ProblemCode::UnknownOutcome.as_str(),
        code,
        detail: if told.detail.is_empty() { told.title } else { told.detail },
        retryable: told.retryable,
        retry_after_ms: told.retry_after_ms,
        expected: told.expected,
    }
}

/// Tokens as login and refresh give them; a refresh may leave out who it is about.
pub(super) fn credentials(
    body: &[u8],
    old: Option<&Credentials>,
) -> Result<Credentials, CallError> {
    let session: Session = serde_json::from_slice(body).map_err(bad)?;
    let user = match (session.user_id, old) {
        (Some(user), _) => UserId::parse(&user).map_err(bad)?,
        (None, Some(old)) => old.user.clone(),
        (None, None) => return Err(bad("no userId")),
    };
    let device = match (session.device_id, old) {
        (Some(device), _) => device.parse::<DeviceId>().map_err(bad)?,
        (None, Some(old)) => old.device,
        (None, None) => return Err(bad("no deviceId")),
    };
    Ok(Credentials {
        user,
        device,
        access: session.access_token,
        refresh: session.refresh_token,
        expires_at: session.expires_at.as_ref().and_then(moment),
    })
}

pub(super) fn group(body: &[u8]) -> Result<Group, CallError> {
    let group: NewGroup = serde_json::from_slice(body).map_err(bad)?;
    Ok(Group {
        group: GroupId::parse(&group.group_id).map_err(bad)?,
        conversation: group.conversation_id.parse::<ConversationId>().map_err(bad)?,
    })
}

/// RFC 3339, or milliseconds since 1970.
fn moment(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => proto::spec_json::parse_rfc3339(text),
        Value::Number(number) => number.as_u64().map(Timestamp),
        _ => None,
    }
}

fn bad(error: impl std::fmt::Display) -> CallError {
    CallError::BadAnswer(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Response {
        Response { status, headers: Default::default(), body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn a_session_is_read_and_a_refresh_keeps_who_it_is_about() {
        let body = br#"{"userId":"alice","deviceId":"00000000000000ff","accessToken":"a",
            "refreshToken":"r","expiresAt":"2024-02-29T12:34:56.007Z","more":1}"#;
        let first = credentials(body, None).expect("whole");
        assert_eq!(first.device, DeviceId(255));
        assert_eq!(first.expires_at, Some(Timestamp(1_709_210_096_007)));
        let next = br#"{"accessToken":"b","refreshToken":"s","expiresAt":1709210096007}"#;
        let next = credentials(next, Some(&first)).expect("whole");
        let wanted = Credentials { access: "b".into(), refresh: "s".into(), ..first };
        assert_eq!(next, wanted);
        assert!(credentials(br#"{"accessToken":"b","refreshToken":"s"}"#, None).is_err());
        assert!(!format!("{next:?}").contains("refresh"), "tokens are not shown");
    }

    #[test]
    fn a_refusal_is_read_even_when_it_is_no_problem_document() {
        let error = body(answer(409, r#"{"code":"name_taken","detail":"taken"}"#));
        let error = error.expect_err("refused");
        assert_eq!(error.code(), Some(proto::ProblemCode::NameTaken));
        let error = body(answer(502, "<html>")).expect_err("refused");
        assert_eq!(error.code(), None);
        assert!(error.to_string().contains("http_502"), "{error}");
        assert!(body(answer(204, "")).is_ok());
    }
}
