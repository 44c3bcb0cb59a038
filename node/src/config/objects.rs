//! The object store: how it is reached and with whose rights. What is kept there says so where it is configured.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How `s3://`, `gs://` and `az://` are reached: by `assets.store` and `backup.copy_to`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectStore {
    /// Where the service is, such as `https://minio.example:9000`; left out, where its maker has it.
    pub endpoint: Option<String>,
    /// The region, for S3; left out, `us-east-1` or what the environment says.
    pub region: Option<String>,
    /// A TOML file of names and texts, such as `aws_access_key_id` and `aws_secret_access_key`. What it does not say is
    /// taken from the environment, then from the machine's own role.
    pub credentials: Option<PathBuf>,
    /// Authorities that its connections trust, PEM; those of the system when it is left out.
    pub authorities: Option<PathBuf>,
    /// The endpoint may be plain HTTP.
    pub allow_plain: bool,
}

impl ObjectStore {
    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.credentials.iter_mut().chain(&mut self.authorities)
    }
}
