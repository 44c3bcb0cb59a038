//! Commands, outcomes and state of group 0 to bytes. JSON: they are small and rare, and an operator can read a backup of
//! them. Field names are the format; they are never renamed.

use bytes::Bytes;
use cluster_config::{ClusterConfig, Command, Outcome, Raised};
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

/// The configuration of a cluster beyond the first feature level: outside what every release from then on can read, inside
/// what that level means. A release from before there were levels finds no configuration in it, and stops.
#[derive(Serialize)]
struct Enveloped<'a> {
    #[serde(flatten)]
    raised: &'a Raised,
    config: &'a ClusterConfig,
}

/// The same as it is read: the inside is looked at last.
#[derive(Deserialize)]
struct Envelope {
    #[serde(flatten)]
    raised: Raised,
    config: serde_json::Value,
}

/// The bytes of the configuration: the row of group 0. Holds the token keys' seeds.
pub fn encode_cluster_config(config: &ClusterConfig) -> Bytes {
    match &config.raised {
        Some(raised) => encode(&Enveloped { raised, config }),
        None => encode(config),
    }
}

/// The feature level that these bytes of a configuration are written at, whether or not this program speaks it; `None` is
/// the first.
///
/// # Errors
/// [`DecodeError`] when they are no configuration of any level.
pub fn decode_cluster_level(bytes: &[u8]) -> Result<Option<Raised>, DecodeError> {
    let value: serde_json::Value =
        serde_json::from_slice(bytes).map_err(DecodeError::of("cluster.config"))?;
    if value.get("level").is_none() {
        return Ok(None);
    }
    serde_json::from_value(value).map(Some).map_err(DecodeError::of("cluster.level"))
}

/// The configuration that these bytes mean.
///
/// # Errors
/// [`DecodeError`] when they are no configuration.
pub fn decode_cluster_config(bytes: &[u8]) -> Result<ClusterConfig, DecodeError> {
    let failed = DecodeError::of("cluster.config");
    if decode_cluster_level(bytes)?.is_none() {
        return serde_json::from_slice(bytes).map_err(failed);
    }
    let Envelope { raised, config } =
        serde_json::from_slice(bytes).map_err(DecodeError::of("cluster.config"))?;
    let config: ClusterConfig = serde_json::from_value(config).map_err(failed)?;
    if config.raised.as_ref() != Some(&raised) {
        let reason = "its envelope says another feature level".to_owned();
        return Err(DecodeError::new("cluster.level", reason));
    }
    Ok(config)
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

    #[test]
    fn a_level_that_nobody_here_speaks_is_still_read() {
        let row = br#"{"level":77,"release":"9.1.0","config":"in no form of today","more":1}"#;
        let raised = decode_cluster_level(row).expect("a level").expect("beyond the first");
        assert_eq!((raised.level.0, raised.release.as_str()), (77, "9.1.0"));
        assert!(decode_cluster_config(row).is_err());
    }

    proptest! {
        #[test]
        fn random_text_never_panics(text in crate::arbitrary::text(60)) {
            let _ = decode_cluster_command(text.as_bytes());
            let _ = decode_cluster_outcome(text.as_bytes());
            let _ = decode_cluster_config(text.as_bytes());
            let _ = decode_cluster_level(text.as_bytes());
        }
    }
}
