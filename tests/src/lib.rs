//! What needs more than one room: whole clusters in one process, over real sockets and real disks.
//!
//! [`Cluster`] starts nodes as tasks of the test, each with its own folder, certificates and ports. It breaks
//! nothing by itself: a node is stopped and started again, and the fault switch cuts nodes off. Processes that
//! are killed for real are tested beside the binary, in `cli/tests`.

mod certificates;
mod cluster;
pub mod http;
mod ports;
mod stranger;

pub use certificates::Certificates;
pub use cluster::{Cluster, Shape};
pub use stranger::{Chat, Stranger, items};
