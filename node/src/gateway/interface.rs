//! The client's interface, described once: what each call takes, answers and refuses stands beside its handler, and
//! `/openapi.json`, `/asyncapi.json` and `/docs` are written from there.
//!
//! A call cannot be registered without its description, so none of them can fall behind. Nothing here decides how a
//! request is read; a test asks every call what its description promises.

mod asyncapi;
mod openapi;
mod operation;
mod page;
mod schema;
mod serve;
pub(super) mod words;

use super::limits::Class;

pub(super) use operation::{Answer, Operation};
pub(super) use schema::{EXACT_MAX, Field, Schema, field, optional};
pub(super) use serve::{ASYNCAPI, OPENAPI, PAGE, asyncapi, openapi, page};

/// One call as documents name it.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) method: &'static str,
    /// As the router has it.
    pub(super) path: &'static str,
    pub(super) operation: Operation,
}

impl Call {
    /// Against which allowance it counts.
    pub(super) fn class(&self) -> Class {
        let by_method = match self.method {
            "GET" | "HEAD" | "OPTIONS" => Class::Read,
            _ => Class::Write,
        };
        self.operation.class.unwrap_or(by_method)
    }
}

#[cfg(test)]
mod tests;
