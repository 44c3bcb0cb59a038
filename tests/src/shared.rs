//! One cluster for all claims of a test file that run at the same time: each claim brings users of its own, so that
//! they do not meet. The cluster is started by the first and stopped, its folder removed, by the last.

use std::ops::Deref;
use std::sync::{Arc, Weak};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex;
use tokio::task::block_in_place;

use crate::{Cluster, Shape, Stranger};

/// The cluster that claims are using now.
static USED: Mutex<Weak<Shared>> = Mutex::const_new(Weak::new());

/// A cluster on a runtime of its own, because each test ends the runtime that it ran on.
pub struct Shared {
    cluster: Option<Cluster>,
    runtime: Option<Runtime>,
}

impl Shared {
    /// The cluster of this process: three nodes that nobody may break. Ask from a multi-threaded test.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn cluster() -> Arc<Self> {
        let mut used = USED.lock().await;
        if let Some(shared) = used.upgrade() {
            return shared;
        }
        let shared = Arc::new(block_in_place(|| {
            let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let runtime = runtime.expect("threads can be started");
            let cluster = runtime.block_on(Cluster::start(Shape::default()));
            Self { cluster: Some(cluster), runtime: Some(runtime) }
        }));
        *used = Arc::downgrade(&shared);
        shared
    }

    /// A new user at a node.
    pub async fn user(&self, node: u64, name: &str) -> Stranger {
        Stranger::arrive(self.plain_address(node), name).await
    }
}

impl Deref for Shared {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.cluster.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let (Some(cluster), Some(runtime)) = (self.cluster.take(), self.runtime.take()) else {
            return;
        };
        block_in_place(|| {
            runtime.block_on(cluster.stop());
            drop(runtime);
        });
    }
}
