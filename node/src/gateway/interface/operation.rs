//! What one call is: a constant beside its handler. What every call has in common is added here, once.

use proto::ProblemCode;

use super::super::limits::Class;
use super::schema::{Field, Schema};

/// What a call takes, answers and refuses.
#[derive(Debug, Clone, Copy)]
pub(in crate::gateway) struct Operation {
    /// One sentence.
    pub(super) summary: &'static str,
    /// What else there is to know.
    pub(super) detail: &'static str,
    /// Against which allowance it counts, if its method does not say.
    pub(super) class: Option<Class>,
    /// Whether it needs no token.
    pub(super) public: bool,
    /// Segments of the path that are no names of users and groups.
    pub(super) path: &'static [Field],
    pub(super) query: &'static [&'static [Field]],
    pub(super) headers: &'static [Field],
    pub(super) takes: Takes,
    pub(super) answers: &'static [Answer],
    /// Problems of its own, beside those that every call of its kind may meet.
    pub(super) refuses: &'static [ProblemCode],
}

/// The body of a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Takes {
    Nothing,
    /// A JSON object of these fields.
    Json(&'static [Field]),
    /// Bytes of one of these media types.
    Bytes(&'static [&'static str]),
}

/// One good answer.
#[derive(Debug, Clone, Copy)]
pub(in crate::gateway) struct Answer {
    pub(super) status: u16,
    pub(super) what: &'static str,
    pub(super) body: Content,
    pub(super) headers: &'static [Field],
}

/// The body of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content {
    Nothing,
    Json(Schema),
    /// Bytes of this media type.
    Bytes(&'static str),
}

impl Answer {
    /// A JSON object of these fields.
    pub(in crate::gateway) const fn json(
        status: u16,
        what: &'static str,
        fields: &'static [Field],
    ) -> Self {
        Self::shaped(status, what, Schema::Object(fields))
    }

    /// JSON of this shape.
    pub(in crate::gateway) const fn shaped(
        status: u16,
        what: &'static str,
        schema: Schema,
    ) -> Self {
        Self { status, what, body: Content::Json(schema), headers: &[] }
    }

    /// Bytes.
    pub(in crate::gateway) const fn bytes(
        status: u16,
        what: &'static str,
        media_type: &'static str,
    ) -> Self {
        Self { status, what, body: Content::Bytes(media_type), headers: &[] }
    }

    /// No body.
    pub(in crate::gateway) const fn empty(status: u16, what: &'static str) -> Self {
        Self { status, what, body: Content::Nothing, headers: &[] }
    }

    /// With headers of its own.
    #[must_use]
    #[allow(dead_code, reason = "for calls whose answers carry headers of their own")]
    pub(in crate::gateway) const fn with(mut self, headers: &'static [Field]) -> Self {
        self.headers = headers;
        self
    }
}

impl Operation {
    /// A call with a token, no parameters and no body, until more is said.
    pub(in crate::gateway) const fn new(summary: &'static str) -> Self {
        Self {
            summary,
            detail: "",
            class: None,
            public: false,
            path: &[],
            query: &[],
            headers: &[],
            takes: Takes::Nothing,
            answers: &[],
            refuses: &[],
        }
    }

    /// What else there is to know.
    #[must_use]
    pub(in crate::gateway) const fn says(mut self, detail: &'static str) -> Self {
        self.detail = detail;
        self
    }

    /// Counts as one of this class, whatever its method.
    #[must_use]
    pub(in crate::gateway) const fn counts_as(mut self, class: Class) -> Self {
        self.class = Some(class);
        self
    }

    /// Without a token.
    #[must_use]
    pub(in crate::gateway) const fn public(mut self) -> Self {
        self.public = true;
        self
    }

    /// Segments of the path. Names of users and groups need not be said.
    #[must_use]
    pub(in crate::gateway) const fn path(mut self, fields: &'static [Field]) -> Self {
        self.path = fields;
        self
    }

    /// Query parameters, in groups that calls share.
    #[must_use]
    pub(in crate::gateway) const fn query(mut self, groups: &'static [&'static [Field]]) -> Self {
        self.query = groups;
        self
    }

    /// Headers of the request.
    #[must_use]
    #[allow(dead_code, reason = "for calls that read headers of their own")]
    pub(in crate::gateway) const fn headers(mut self, fields: &'static [Field]) -> Self {
        self.headers = fields;
        self
    }

    /// A JSON object with these fields.
    #[must_use]
    pub(in crate::gateway) const fn takes(mut self, fields: &'static [Field]) -> Self {
        self.takes = Takes::Json(fields);
        self
    }

    /// Bytes of these media types.
    #[must_use]
    #[allow(dead_code, reason = "for calls that take files")]
    pub(in crate::gateway) const fn takes_bytes(
        mut self,
        media_types: &'static [&'static str],
    ) -> Self {
        self.takes = Takes::Bytes(media_types);
        self
    }

    /// The good answers.
    #[must_use]
    pub(in crate::gateway) const fn answers(mut self, answers: &'static [Answer]) -> Self {
        self.answers = answers;
        self
    }

    /// Problems of its own.
    #[must_use]
    pub(in crate::gateway) const fn refuses(mut self, codes: &'static [ProblemCode]) -> Self {
        self.refuses = codes;
        self
    }

    /// Every code that the call may be refused with, in the order of the list of codes.
    pub(super) fn refusals(&self, method: &str, path: &str) -> Vec<ProblemCode> {
        use ProblemCode::{
            Internal, InvalidRequest, NotFound, Overloaded, RateLimited, SessionEnded, TooLarge,
            Unauthenticated, Unavailable, UnknownOutcome,
        };
        let mut codes = vec![Internal, Overloaded, RateLimited, Unavailable];
        codes.extend(self.refuses);
        if !self.public {
            codes.extend([Unauthenticated, SessionEnded]);
        }
        if path.contains('{') {
            // An empty or unreadable segment is no path that there is.
            codes.extend([InvalidRequest, NotFound]);
        }
        if !self.query.is_empty() || !self.headers.is_empty() {
            codes.push(InvalidRequest);
        }
        if !matches!(self.takes, Takes::Nothing) {
            codes.extend([InvalidRequest, TooLarge]);
        }
        if method != "GET" {
            codes.push(UnknownOutcome);
        }
        ProblemCode::ALL.iter().copied().filter(|code| codes.contains(code)).collect()
    }
}
