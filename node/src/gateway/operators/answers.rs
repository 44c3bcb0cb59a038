//! From what group 0 refuses to problems on the wire.

use cluster_config::Refusal;
use proto::{Problem, ProblemCode};

/// A refusal as operators are told it.
pub(super) fn refused(refusal: &Refusal) -> Problem {
    use Refusal as R;
    let code = match refusal {
        R::NoSuchNode(_) | R::NoSuchKey(_) | R::NoSuchOperator(_) | R::NoSuchGroup(_) => {
            ProblemCode::NotFound
        }
        R::NoSuchJoinToken | R::NoSuchClaim => ProblemCode::NotAllowed,
        R::OutOfBounds { .. } | R::EvenVoters => ProblemCode::InvalidRequest,
        R::NameTaken(_) => ProblemCode::NameTaken,
        R::NotFounded
        | R::FoundedAlready
        | R::KeyExists(_)
        | R::LastKey
        | R::NoSuchStep { .. }
        | R::NoAuthority
        | R::OtherIdentity(_)
        | R::StalePlan { .. }
        | R::TakesNoReplicas { .. }
        | R::NotMoving(_)
        | R::StillMoves(_)
        | R::StillSplits(_)
        | R::Frozen(_)
        | R::NotSplitting(_)
        | R::StillVotes { .. }
        | R::StillServes { .. }
        | R::RotationUnderWay
        | R::NotYetAll { .. }
        | R::SpeaksTooLittle { .. }
        | R::OtherLevel { .. }
        | R::CannotSpeak { .. }
        | R::LastOperator => ProblemCode::ClusterRefused,
    };
    let problem = Problem::new(code, refusal.to_string());
    match refusal {
        R::OutOfBounds { what } => problem.about(what),
        _ => problem,
    }
}
