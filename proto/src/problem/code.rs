//! Each code with what it means to HTTP, to a retrying client and to a reader.

use std::fmt;

/// Declares the codes once: variant, code, HTTP status, whether the same request may succeed later, title.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $retryable:literal, $title:literal;)+) => {
        /// A kind of problem. The codes are part of the protocol: never renamed, never given another meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ProblemCode { $($(#[$doc])* $name,)+ }

        impl ProblemCode {
            /// All of them, for documents and tests.
            pub const ALL: &[ProblemCode] = &[$(ProblemCode::$name,)+];

            /// The code on the wire, in snake case.
            pub const fn as_str(self) -> &'static str {
                match self { $(ProblemCode::$name => $code,)+ }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> u16 {
                match self { $(ProblemCode::$name => $status,)+ }
            }

            /// Whether the same request, unchanged, may succeed by waiting alone.
            pub const fn retryable(self) -> bool {
                match self { $(ProblemCode::$name => $retryable,)+ }
            }

            /// The same few words for every case of it.
            pub const fn title(self) -> &'static str {
                match self { $(ProblemCode::$name => $title,)+ }
            }

            /// The code of this name, if this version knows it.
            pub fn from_code(code: &str) -> Option<ProblemCode> {
                match code { $($code => Some(ProblemCode::$name),)+ _ => None }
            }
        }
    };
}

codes! {
    /// The request could not be understood; `field` names what is wrong.
    InvalidRequest = "invalid_request", 400, false, "The request is not valid";
    /// No token, or one that no node of this cluster issued or that has expired.
    Unauthenticated = "unauthenticated", 401, false, "A valid access token is needed";
    /// User or password is wrong; which of them is not said.
    WrongCredentials = "wrong_credentials", 401, false, "User or password is wrong";
    /// The session was ended, here or elsewhere.
    SessionEnded = "session_ended", 401, false, "The session has ended";
    /// A refresh token that was used before or never issued.
    StaleRefresh = "stale_refresh", 401, false, "The refresh token is no longer good";
    /// The caller is not, or no longer, a member of the conversation.
    NotAMember = "not_a_member", 403, false, "Not a member of this conversation";
    /// The caller's role does not allow it.
    NotAllowed = "not_allowed", 403, false, "Not allowed";
    /// The message refers to an asset that its sender may not read.
    AssetNotAccessible = "asset_not_accessible", 403, false, "The asset is not accessible";
    /// There is no such conversation or group.
    NoSuchConversation = "no_such_conversation", 404, false, "No such conversation";
    /// There is no such user.
    NoSuchUser = "no_such_user", 404, false, "No such user";
    /// The user has no such device.
    NoSuchDevice = "no_such_device", 404, false, "No such device";
    /// There is no such message, or it is not the caller's to see.
    NoSuchMessage = "no_such_message", 404, false, "No such message";
    /// The caller has no registration of this id.
    NoSuchRegistration = "no_such_registration", 404, false, "No such registration";
    /// There is nothing of this name.
    NotFound = "not_found", 404, false, "Not found";
    /// The path is known and the method is not.
    MethodNotAllowed = "method_not_allowed", 405, false, "The method is not allowed here";
    /// The client did not speak, or did not read, within its deadline.
    SlowClient = "slow_client", 408, false, "The client was too slow";
    /// A user or group of this name exists.
    NameTaken = "name_taken", 409, false, "The name is taken";
    /// The order number leaves a gap; `expected` is the next one. Sending from there succeeds, waiting does not.
    OutOfOrder = "out_of_order", 409, false, "The order number leaves a gap";
    /// The same order number or message id was used for something else.
    Conflict = "conflict", 409, false, "Used before for something else";
    /// The cluster is not in a state in which it could do this; the detail says what to do first.
    ClusterRefused = "cluster_refused", 409, false, "The cluster does not allow it";
    /// A confirmation lies beyond the last sequence, which is `expected`.
    BeyondEnd = "beyond_end", 409, false, "Beyond the end of the conversation";
    /// Several devices used this message id in the conversation; the canonical id names one.
    AmbiguousId = "ambiguous_id", 409, false, "Several messages have this id";
    /// The message was deleted for everybody.
    MessageDeleted = "message_deleted", 409, false, "The message was deleted";
    /// An upload goes on at another byte, which is `expected`.
    OffsetMismatch = "offset_mismatch", 409, false, "The upload goes on elsewhere";
    /// The message was kept for as long as messages are kept in its conversation.
    MessageExpired = "message_expired", 410, false, "The message has expired";
    /// A version of a protocol that is not spoken here.
    UnsupportedVersion = "unsupported_version", 412, false, "This version is not spoken here";
    /// A part of the request is larger than its limit, which is `expected`.
    TooLarge = "too_large", 413, false, "Too large";
    /// A frame is larger than frames may be; the link closes.
    FrameTooLarge = "frame_too_large", 413, false, "The frame is too large";
    /// The body is of a type that is not understood here.
    UnsupportedMediaType = "unsupported_media_type", 415, false, "The media type is not supported";
    /// No byte of the asset lies in the range asked for.
    RangeNotSatisfiable = "range_not_satisfiable", 416, false, "The range lies outside";
    /// A message has more attachments than it may, which is `expected`.
    TooManyAttachments = "too_many_attachments", 422, false, "Too many attachments";
    /// A group would have more members than it may, which is `expected`.
    TooManyMembers = "too_many_members", 422, false, "Too many members";
    /// The user has as many devices as a user may have, which is `expected`.
    TooManyDevices = "too_many_devices", 422, false, "Too many devices";
    /// The user has as many registrations for pushes as a user may have, which is `expected`.
    TooManyRegistrations = "too_many_registrations", 422, false, "Too many registrations";
    /// The user is in as many conversations as a user may be, which is `expected`.
    TooManyConversations = "too_many_conversations", 422, false, "Too many conversations";
    /// A message has reactions of as many users as it may, which is `expected`.
    TooManyReactions = "too_many_reactions", 422, false, "Too many reactions";
    /// A message was edited as often as it may be, which is `expected`.
    TooManyEdits = "too_many_edits", 422, false, "Too many edits";
    /// A message calls more users than it may, which is `expected`.
    TooManyMentions = "too_many_mentions", 422, false, "Too many mentions";
    /// The asset was sent to as many conversations as an asset may be, which is `expected`.
    TooManyGrants = "too_many_grants", 422, false, "Sent to too many conversations";
    /// The user would keep more bytes than a user may, which is `expected`.
    QuotaExceeded = "quota_exceeded", 422, false, "The quota is used up";
    /// This node is not set up to tell places of this kind, or may not reach this one.
    TargetNotAllowed = "target_not_allowed", 422, false, "This place cannot be told";
    /// The bytes of a step are not those of its checksum; nothing of them is kept.
    ChecksumMismatch = "checksum_mismatch", 460, false, "The checksum is of other bytes";
    /// A page's limit lies outside 1 to 100.
    LimitOutOfRange = "limit_out_of_range", 400, false, "The limit is out of range";
    /// Bytes that are no frame, or a frame that may not come now; the link closes.
    BadFrame = "bad_frame", 400, false, "Not a valid frame";
    /// More requests than this caller may make for now.
    RateLimited = "rate_limited", 429, true, "Too many requests";
    /// The node has as much to do as it takes on. Nothing was done.
    Overloaded = "overloaded", 503, true, "The node is overloaded";
    /// No quorum can be reached from here for now. Nothing was done.
    Unavailable = "unavailable", 503, true, "Not available for now";
    /// It may or may not have been done; repeating it with the same ids is safe.
    UnknownOutcome = "unknown_outcome", 504, true, "The outcome is not known";
    /// A defect of the server.
    Internal = "internal", 500, false, "Internal error";
}

impl ProblemCode {
    /// Whether the request may have been carried out in spite of the problem.
    pub const fn is_unknown(self) -> bool {
        matches!(self, ProblemCode::UnknownOutcome)
    }

    /// The URI that names this kind of problem (RFC 9457 `type`).
    pub fn uri(self) -> String {
        format!("urn:synod:problem:{}", self.as_str())
    }
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_names_itself_and_has_an_error_status() {
        for code in ProblemCode::ALL {
            assert_eq!(ProblemCode::from_code(code.as_str()), Some(*code));
            assert!((400..600).contains(&code.status()), "{code}");
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
        }
    }

    #[test]
    fn the_page_of_the_protocol_has_a_true_row_for_every_code_and_no_other() {
        let page = include_str!("../../../docs/protocol.md");
        let (_, section) = page.split_once("## Problem codes").expect("the page lists the codes");
        let section = section.split("\n## ").next().unwrap_or(section);
        let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
        for code in ProblemCode::ALL {
            let retryable = if code.retryable() { "yes" } else { "no" };
            let row = format!("| `{code}` | {} | {retryable} | ", code.status());
            let found = rows.iter().filter(|line| line.starts_with(&row)).count();
            assert_eq!(found, 1, "docs/protocol.md needs a row that begins with {row}");
        }
        assert_eq!(rows.len(), ProblemCode::ALL.len(), "each row is of a code that exists");
    }

    #[test]
    fn only_codes_of_a_definite_or_repeatable_kind_are_retryable() {
        for code in ProblemCode::ALL {
            assert!(!code.is_unknown() || code.retryable(), "{code}: unknown must be repeatable");
            assert!(!code.retryable() || matches!(code.status(), 429 | 503 | 504), "{code}");
        }
    }
}
