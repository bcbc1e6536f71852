//! Metrics in the Prometheus text format.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use super::connections::Connections;
use super::process;

/// Upper bounds of every histogram's buckets, seconds: 50 µs, a page from memory, to the 5 s within
/// which every command is answered.
const BUCKETS_SECONDS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0,
];

/// Between scrapes the recorder keeps each sample; it must fold them now and then.
const UPKEEP: Duration = Duration::from_secs(5);

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics {
    recorder: PrometheusHandle,
}

/// Installs the recorder of the process, once; later calls get the same.
pub fn install() -> Result<Metrics, BuildError> {
    static RECORDER: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    let installed = RECORDER.get_or_init(|| {
        PrometheusBuilder::new()
            .set_buckets(&BUCKETS_SECONDS)
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|error| error.to_string())
    });
    match installed {
        Ok(recorder) => Ok(Metrics { recorder: recorder.clone() }),
        Err(error) => Err(BuildError::FailedToCreateRuntime(error.clone())),
    }
}

impl Metrics {
    /// Folds samples until told to stop.
    pub(super) async fn upkeep(&self, stop: &CancellationToken) {
        let mut tick = tokio::time::interval(UPKEEP);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => self.recorder.run_upkeep(),
            }
        }
    }

    /// Everything, as text. What is read off at this moment is written here and not through the
    /// recorder: its counters are integers, and a gauge set now and then would be stale.
    pub(super) async fn render(
        &self,
        connections: &Connections,
        work_bounds: &[(&str, Option<u64>)],
    ) -> String {
        let mut text = self.recorder.render();
        text += "# TYPE chatctl_work_bound gauge\n";
        for (work, bound) in work_bounds {
            let bound = bound.map_or("+Inf".to_owned(), |bound| bound.to_string());
            let _ = writeln!(text, "chatctl_work_bound{{work=\"{work}\"}} {bound}");
        }
        let mut metric = |kind: &str, name: &str, value: f64| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# TYPE {name} {kind}\n{name} {value}");
        };
        metric("gauge", "chatctl_connections", connections.count() as f64);
        metric("gauge", "chatctl_sessions", connections.greeted() as f64);
        // /proc is memory of the kernel, but it may take its locks to answer.
        if let Ok(Some(usage)) = tokio::task::spawn_blocking(process::usage).await {
            metric("gauge", "chatctl_process_resident_bytes", usage.resident_bytes as f64);
            metric("counter", "chatctl_process_cpu_seconds_total", usage.cpu_seconds);
            metric("gauge", "chatctl_process_threads", usage.threads as f64);
        }
        #[cfg(feature = "faults")]
        {
            let allocated = stats_alloc::INSTRUMENTED_SYSTEM.stats();
            let allocations = allocated.allocations + allocated.reallocations;
            metric("counter", "chatctl_allocations_total", allocations as f64);
        }
        text
    }
}
