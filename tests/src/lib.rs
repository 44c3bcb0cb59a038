//! What needs more than one room: whole clusters in one process, over real sockets and real disks.
//!
//! [`Cluster`] starts nodes as tasks of the test, each with its own folder, certificates and ports. It breaks
//! nothing by itself: a node is stopped and started again, and the fault switch cuts nodes off. Processes that
//! are killed for real are tested beside the binary, in `cli/tests`. [`Stranger`] and [`Chat`] are the client of
//! somebody who has read the published interface and nothing else.

mod certificates;
mod chat;
mod cluster;
pub mod http;
mod http_2;
mod ports;
mod shared;
mod stranger;
pub mod tls;

pub use certificates::Certificates;
pub use chat::{Chat, in_time, items};
pub use cluster::{Cluster, Shape};
pub use shared::Shared;
pub use stranger::{PASSWORD, Stranger, problem};
