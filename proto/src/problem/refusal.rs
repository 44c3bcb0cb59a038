//! From what machines decide to wire codes. Exhaustive: a new refusal does not compile until it has a code here.

use chat::{Conflict, Refusal};

use super::{Problem, ProblemCode};

impl From<&Refusal> for ProblemCode {
    fn from(refusal: &Refusal) -> ProblemCode {
        match refusal {
            Refusal::NotAMember => ProblemCode::NotAMember,
            Refusal::NoSuchConversation => ProblemCode::NoSuchConversation,
            Refusal::OutOfOrder { .. } => ProblemCode::OutOfOrder,
            Refusal::BeyondEnd { .. } => ProblemCode::BeyondEnd,
            Refusal::NameTaken => ProblemCode::NameTaken,
            Refusal::NotAllowed => ProblemCode::NotAllowed,
            Refusal::TooLarge { .. } => ProblemCode::TooLarge,
            Refusal::TooManyAttachments { .. } => ProblemCode::TooManyAttachments,
            Refusal::TooManyMembers { .. } => ProblemCode::TooManyMembers,
            Refusal::TooManyDevices { .. } => ProblemCode::TooManyDevices,
            Refusal::TooManyConversations { .. } => ProblemCode::TooManyConversations,
            Refusal::NoSuchMessage => ProblemCode::NoSuchMessage,
            Refusal::MessageDeleted => ProblemCode::MessageDeleted,
            Refusal::MessageExpired => ProblemCode::MessageExpired,
            Refusal::TooManyReactions { .. } => ProblemCode::TooManyReactions,
            Refusal::TooManyEdits { .. } => ProblemCode::TooManyEdits,
            Refusal::TooManyMentions { .. } => ProblemCode::TooManyMentions,
            Refusal::TooManyRegistrations { .. } => ProblemCode::TooManyRegistrations,
            Refusal::NoSuchRegistration => ProblemCode::NoSuchRegistration,
            Refusal::NoSuchUser => ProblemCode::NoSuchUser,
            Refusal::NoSuchDevice => ProblemCode::NoSuchDevice,
            Refusal::StaleRefresh => ProblemCode::StaleRefresh,
            Refusal::NoSuchAsset => ProblemCode::NotFound,
            Refusal::AssetNotAccessible => ProblemCode::AssetNotAccessible,
            Refusal::TooManyGrants { .. } => ProblemCode::TooManyGrants,
            Refusal::QuotaExceeded { .. } => ProblemCode::QuotaExceeded,
            // Both say that ids in one request contradict each other.
            Refusal::NotTheReceiver | Refusal::WrongConversation => ProblemCode::InvalidRequest,
        }
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Problem {
        let code = ProblemCode::from(refusal);
        let detail = match refusal {
            Refusal::OutOfOrder { expected } => format!("the next order number is {expected}"),
            Refusal::BeyondEnd { last } => format!("the last sequence is {last}"),
            Refusal::TooLarge { limit } | Refusal::QuotaExceeded { limit } => {
                format!("at most {limit} bytes")
            }
            Refusal::TooManyAttachments { limit }
            | Refusal::TooManyMembers { limit }
            | Refusal::TooManyDevices { limit }
            | Refusal::TooManyReactions { limit }
            | Refusal::TooManyEdits { limit }
            | Refusal::TooManyMentions { limit }
            | Refusal::TooManyRegistrations { limit }
            | Refusal::TooManyConversations { limit }
            | Refusal::TooManyGrants { limit } => format!("at most {limit}"),
            Refusal::NotTheReceiver => "the receiver is not the other user there".to_owned(),
            Refusal::WrongConversation => "the conversation is not that of these names".to_owned(),
            Refusal::NoSuchAsset => "there is no such asset".to_owned(),
            Refusal::AssetNotAccessible
            | Refusal::NotAMember
            | Refusal::NoSuchConversation
            | Refusal::NameTaken
            | Refusal::NotAllowed
            | Refusal::NoSuchMessage
            | Refusal::MessageDeleted
            | Refusal::MessageExpired
            | Refusal::NoSuchRegistration
            | Refusal::NoSuchUser
            | Refusal::NoSuchDevice
            | Refusal::StaleRefresh => code.title().to_owned(),
        };
        let mut problem = Problem::new(code, detail);
        problem.expected = match refusal {
            Refusal::OutOfOrder { expected } => Some(expected.0),
            Refusal::BeyondEnd { last } => Some(last.0),
            Refusal::TooLarge { limit }
            | Refusal::TooManyAttachments { limit }
            | Refusal::TooManyMembers { limit }
            | Refusal::TooManyDevices { limit }
            | Refusal::TooManyReactions { limit }
            | Refusal::TooManyEdits { limit }
            | Refusal::TooManyMentions { limit }
            | Refusal::TooManyRegistrations { limit }
            | Refusal::TooManyConversations { limit }
            | Refusal::TooManyGrants { limit }
            | Refusal::QuotaExceeded { limit } => Some(*limit),
            _ => None,
        };
        problem
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem::from(&refusal)
    }
}

impl From<&Conflict> for Problem {
    fn from(conflict: &Conflict) -> Problem {
        let detail = match conflict {
            Conflict::OrderUsed => "this order number was used for another message",
            Conflict::MessageIdUsed => "this message id was used for another message",
            Conflict::ChangeIdUsed => "this change id was used for another change",
            Conflict::DeviceUsed => "this device id is in use",
        };
        Problem::new(ProblemCode::Conflict, detail)
    }
}

impl From<Conflict> for Problem {
    fn from(conflict: Conflict) -> Problem {
        Problem::from(&conflict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_code_that_forbids_blind_repetition() {
        for refusal in Refusal::each() {
            let problem = Problem::from(&refusal);
            assert!(!problem.code.retryable(), "{refusal}: a refusal is definite");
            assert_eq!(problem.expected.unwrap_or(0), refusal.number(), "{refusal}");
            assert!(!problem.detail.is_empty());
        }
    }
}
