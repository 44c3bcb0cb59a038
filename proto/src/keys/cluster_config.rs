//! The one row of group 0: the cluster configuration.

use bytes::Bytes;

use super::parts::{CLUSTER_CONFIG, Key};

/// Slots as `cluster-config` counts them: the same as `chat` does, asserted beside the key layout.
pub(super) const SLOTS_OF_THE_CLUSTER: u16 = ::cluster_config::SLOTS;

/// The key of the cluster configuration.
pub fn cluster_config() -> Bytes {
    Key::reserved(CLUSTER_CONFIG).finish()
}
