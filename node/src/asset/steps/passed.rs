//! Steps of uploads that lie on another node: passed on to it, and answered to the nodes that pass them on.

use std::time::Duration;

use bytes::Bytes;
use chat::{AssetId, Timestamp, UserId};
use proto::peer::{Empty, UploadCall, UploadPiece, UploadState, upload_call};
use proto::{Problem, ProblemCode};
use transport::peer::PeerError;

use super::super::{Assets, PIECE_BYTES_MAX};
use super::{Progress, Step};

/// When to try a node again that does not answer.
const RETRY_AFTER: Duration = Duration::from_millis(500);

impl Assets {
    /// Carries out a step of an upload that lies on `node`.
    ///
    /// # Errors
    /// As for [`Assets::step`]; `unavailable` while that node cannot be reached.
    pub(crate) async fn step_at(
        &self,
        node: u64,
        who: &UserId,
        id: AssetId,
        step: Step,
    ) -> Result<Progress, Problem> {
        if node == self.ports.node {
            return self.step(who, id, step).await;
        }
        let call = UploadCall {
            upload: Bytes::copy_from_slice(id.as_bytes()),
            user: who.as_str().to_owned(),
            step: Some(match step {
                Step::Look => upload_call::Step::Look(Empty {}),
                Step::Append { offset, bytes } => {
                    upload_call::Step::Append(UploadPiece { offset, bytes })
                }
                Step::Cancel => upload_call::Step::Cancel(Empty {}),
            }),
        };
        match self.ports.peers.upload_step(node, call).await {
            Ok(state) => read(state),
            // What has become an asset does not need that node any more.
            Err(PeerError::Unreachable) => match self.ended(who, id).await {
                Err(problem) if problem.code == ProblemCode::NotFound => Err(away()),
                ended => ended,
            },
            Err(error) => {
                tracing::info!(node, %id, %error, "a step of an upload has no answer");
                let detail = "the answer was lost; ask how far the upload is";
                Err(Problem::new(ProblemCode::UnknownOutcome, detail).after(RETRY_AFTER))
            }
        }
    }

    /// Answers a step that another node passes on.
    pub(crate) async fn passed(&self, call: UploadCall) -> Result<UploadState, String> {
        let malformed = || transport::peer::code::MALFORMED.to_owned();
        let id = AssetId::from_bytes(&call.upload).map_err(|_| malformed())?;
        let who = UserId::parse(&call.user).map_err(|_| malformed())?;
        let step = match call.step.ok_or_else(malformed)? {
            upload_call::Step::Look(Empty {}) => Step::Look,
            upload_call::Step::Append(UploadPiece { offset, bytes })
                if bytes.len() <= PIECE_BYTES_MAX =>
            {
                Step::Append { offset, bytes }
            }
            upload_call::Step::Append(_) => return Err(malformed()),
            upload_call::Step::Cancel(Empty {}) => Step::Cancel,
        };
        Ok(write(self.step(&who, id, step).await))
    }
}

fn write(result: Result<Progress, Problem>) -> UploadState {
    match result {
        Ok(Progress { offset, size, expires }) => {
            let expires_at_ms = expires.map(|at| at.0);
            UploadState { offset, size, expires_at_ms, ..UploadState::default() }
        }
        Err(problem) => UploadState {
            problem: problem.code.as_str().to_owned(),
            detail: problem.detail,
            expected: problem.expected,
            retry_after_ms: problem
                .retry_after
                .map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            ..UploadState::default()
        },
    }
}

fn read(state: UploadState) -> Result<Progress, Problem> {
    if state.problem.is_empty() {
        let expires = state.expires_at_ms.map(Timestamp);
        return Ok(Progress { offset: state.offset, size: state.size, expires });
    }
    // A code of a newer node is a defect to this one.
    let code = ProblemCode::from_code(&state.problem).unwrap_or(ProblemCode::Internal);
    let mut problem = Problem::new(code, state.detail);
    problem.expected = state.expected;
    problem.retry_after = state.retry_after_ms.map(Duration::from_millis);
    Err(problem)
}

fn away() -> Problem {
    let detail = "the node that keeps this upload cannot be reached";
    Problem::new(ProblemCode::Unavailable, detail).after(RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_a_step_survives_the_forward_lane() {
        for expires in [None, Some(Timestamp(7))] {
            let progress = Progress { offset: 3, size: 9, expires };
            assert_eq!(read(write(Ok(progress))), Ok(progress));
        }
        for problem in [
            Problem::new(ProblemCode::OffsetMismatch, "elsewhere").expecting(7),
            Problem::of(ProblemCode::Overloaded).after(Duration::from_millis(70)),
            Problem::of(ProblemCode::NotFound),
        ] {
            assert_eq!(read(write(Err(problem.clone()))), Err(problem));
        }
    }
}
