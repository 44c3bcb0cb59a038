//! The operators' interface, `/v1/cluster`: asked of one node after the other, since any of them answers for all.

use serde_json::Value;
use transport::http::Method;

use crate::rest::{Rest, segment};
use crate::{CallError, Config};

/// An operator, known by a token.
#[derive(Debug, Clone)]
pub struct Operations {
    rest: Rest,
    token: Option<String>,
}

impl Operations {
    /// Whoever shows `token`; without one only what needs none can be asked, such as a claim.
    ///
    /// # Errors
    /// [`CallError::BadConfig`] when no node is named or the authorities cannot be used.
    pub fn new(config: &Config, token: Option<String>) -> Result<Operations, CallError> {
        Ok(Operations { rest: Rest::new(config)?, token })
    }

    /// Reads what is at `path`, segment by segment below `/v1/cluster`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get(&self, path: &[&str]) -> Result<Value, CallError> {
        self.ask(Method::GET, path, None).await
    }

    /// Asks for a change. Every change may be asked for twice: the second time it is so already, or refused.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn post(&self, path: &[&str], body: Value) -> Result<Value, CallError> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Changes parts of what is at `path`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn patch(&self, path: &[&str], body: Value) -> Result<Value, CallError> {
        self.ask(Method::PATCH, path, Some(body)).await
    }

    /// Takes away what is at `path`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete(&self, path: &[&str]) -> Result<Value, CallError> {
        self.ask(Method::DELETE, path, None).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &[&str],
        body: Option<Value>,
    ) -> Result<Value, CallError> {
        let mut whole = "/v1/cluster".to_owned();
        for part in path {
            whole.push('/');
            whole.push_str(&segment(part));
        }
        self.rest.ask(method, &whole, self.token.as_deref(), body, true).await
    }
}
