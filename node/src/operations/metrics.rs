//! The metrics recorder of the process, its list and its upkeep.

pub(super) mod list;

use std::sync::OnceLock;
use std::time::Duration;

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use list::{Kind, Metric};

/// Buckets of everything that ends in `_seconds`: from a local disk write to the longest deadline.
const SECONDS_BUCKETS: [f64; 16] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
/// Buckets of what is counted: from alone to the bounds of an entry and of a batch.
const COUNT_BUCKETS: [f64; 7] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0];
/// How often samples that nobody scraped are folded into their histograms, so that they do not pile up.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The recorder of this process: one, whoever asks first.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// What `/metrics` reads.
#[derive(Clone)]
pub(crate) struct Metrics(PrometheusHandle);

impl Metrics {
    /// Installs the recorder of this process, before anything is counted: a handle that is made earlier counts
    /// nowhere for ever. Nodes that share a process (tests) share it.
    pub(crate) fn install() -> Self {
        let handle = RECORDER.get_or_init(|| {
            let recorder = recorder().build_recorder();
            let handle = recorder.handle();
            metrics::with_local_recorder(&recorder, describe);
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::debug!("another metrics recorder is installed already");
            }
            handle
        });
        Self(handle.clone())
    }

    /// A recorder that is not installed.
    #[cfg(test)]
    pub(crate) fn detached() -> Self {
        Self(recorder().build_recorder().handle())
    }

    pub(crate) fn render(&self) -> String {
        self.0.render()
    }
}

fn recorder() -> PrometheusBuilder {
    let of_time = Matcher::Suffix("_seconds".to_owned());
    PrometheusBuilder::new()
        .set_buckets(&COUNT_BUCKETS)
        .and_then(|builder| builder.set_buckets_for_metric(of_time, &SECONDS_BUCKETS))
        .expect("the buckets are not empty")
}

/// Tells the recorder what each metric means.
fn describe() {
    for Metric { name, kind, help, .. } in list::all() {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, Unit::Count, *help),
            Kind::Gauge => metrics::describe_gauge!(*name, Unit::Count, *help),
            Kind::Histogram => metrics::describe_histogram!(*name, Unit::Count, *help),
        }
    }
}

/// Folds samples until `stop`. One of the node's tasks.
pub(crate) async fn upkeep(metrics: Metrics, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(UPKEEP_INTERVAL)).await.is_some() {
        metrics.0.run_upkeep();
    }
}
