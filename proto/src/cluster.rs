//! Commands, outcomes and state of group 0 to bytes. JSON: they are small and rare, and an operator can read a backup of
//! them. Field names are the format; they are never renamed.

use bytes::Bytes;
use cluster_config::{ClusterConfig, Command, Outcome};
use serde::{Deserialize, Serialize};

use crate::DecodeError;

/// A command with who asked for it, as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterCommand {
    /// An operator, or `system`.
    pub actor: String,
    /// What they ask for.
    pub command: Command,
}

/// The bytes of a command.
pub fn encode_cluster_command(actor: &str, command: &Command) -> Bytes {
    encode(&ClusterCommand { actor: actor.to_owned(), command: command.clone() })
}

/// The command that these bytes mean.
///
/// # Errors
/// [`DecodeError`] when they are no command.
pub fn decode_cluster_command(bytes: &[u8]) -> Result<ClusterCommand, DecodeError> {
    serde_json::from_slice(bytes).map_err(DecodeError::of("cluster.command"))
}

/// The bytes of an outcome.
pub fn encode_cluster_outcome(outcome: &Outcome) -> Bytes {
    encode(outcome)
}

/// The outcome that these bytes mean.
///
/// # Errors
/// [`DecodeError`] when they are no outcome.
pub fn decode_cluster_outcome(bytes: &[u8]) -> Result<Outcome, DecodeError> {
    serde_json::from_slice(bytes).map_err(DecodeError::of("cluster.outcome"))
}

/// The bytes of the configuration: the row of group 0. Holds the token keys' seeds.
pub fn encode_cluster_config(config: &ClusterConfig) -> Bytes {
    encode(config)
}

/// The configuration that these bytes mean.
///
/// # Errors
/// [`DecodeError`] when they are no configuration.
pub fn decode_cluster_config(bytes: &[u8]) -> Result<ClusterConfig, DecodeError> {
    serde_json::from_slice(bytes).map_err(DecodeError::of("cluster.config"))
}

fn encode(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("these types have text keys and no fallible parts").into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn settings_of_the_next_version_are_read_with_their_defaults() {
        let settings: cluster_config::Settings = serde_json::from_str("{}").expect("all defaults");
        assert_eq!(settings, cluster_config::Settings::default());
    }

    proptest! {
        #[test]
        fn random_text_never_panics(text in crate::arbitrary::text(60)) {
            let _ = decode_cluster_command(text.as_bytes());
            let _ = decode_cluster_outcome(text.as_bytes());
            let _ = decode_cluster_config(text.as_bytes());
        }
    }
}
