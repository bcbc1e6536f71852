//! Metrics in the Prometheus text format.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use super::Node;
use super::metrics_table::{self, Described, Kind};
use super::process;
use crate::chat::WorkState;

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
            .inspect(|_| describe())
            .map_err(|error| error.to_string())
    });
    match installed {
        Ok(recorder) => Ok(Metrics { recorder: recorder.clone() }),
        Err(error) => Err(BuildError::FailedToCreateRuntime(error.clone())),
    }
}

/// Says what each metric tells; those that an alarm waits for begin at zero.
fn describe() {
    for &Described { name, kind, help, .. } in metrics_table::all() {
        match kind {
            Kind::Counter => metrics::describe_counter!(name, help),
            Kind::Event => {
                metrics::describe_counter!(name, help);
                metrics::counter!(name).increment(0);
            }
            Kind::Gauge => metrics::describe_gauge!(name, help),
            Kind::Histogram => metrics::describe_histogram!(name, help),
        }
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
    pub(super) async fn render(&self, node: &Node) -> String {
        let mut text = self.recorder.render();
        let mut metric = |name: &str, labels: &str, value: f64| {
            let described = metrics_table::all().find(|metric| metric.name == name);
            let head = described.map(|metric| {
                let kind = if metric.kind == Kind::Gauge { "gauge" } else { "counter" };
                format!("# HELP {name} {}\n# TYPE {name} {kind}\n", metric.help)
            });
            // Said once, also of several series.
            if let Some(head) = head.filter(|head| !text.contains(head)) {
                text += &head;
            }
            let value = if value == f64::INFINITY { "+Inf".to_owned() } else { value.to_string() };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}{labels} {value}");
        };
        let flag = |is: bool| if is { 1.0 } else { 0.0 };
        for (name, of) in [
            ("chatctl_work_bound", WorkState::bound as fn(&WorkState) -> f64),
            ("chatctl_work_under_way", |state| state.under_way as f64),
            ("chatctl_work_waiting", |state| state.waiting as f64),
        ] {
            for (work, state) in node.chat.work() {
                metric(name, &format!("{{work=\"{work}\"}}"), of(&state));
            }
        }
        let (engine, registry) = (node.chat.persistence(), node.chat.registry());
        let label = format!("{{engine=\"{}\"}}", engine.name());
        metric("chatctl_engine_healthy", &label, flag(engine.health().is_ok()));
        let label = format!("{{registry=\"{}\"}}", registry.name());
        metric("chatctl_registry_healthy", &label, flag(registry.health().is_ok()));
        metric("chatctl_ready", "", flag(node.readiness.report().ready));
        metric("chatctl_connections", "", node.connections.count() as f64);
        metric("chatctl_sessions", "", node.connections.greeted() as f64);
        metric("chatctl_outbox_bytes", "", node.connections.waiting_bytes() as f64);
        let runtime = tokio::runtime::Handle::current().metrics();
        let workers = runtime.num_workers();
        let busy = (0..workers).map(|worker| runtime.worker_total_busy_duration(worker));
        metric("chatctl_runtime_workers", "", workers as f64);
        metric("chatctl_runtime_tasks", "", runtime.num_alive_tasks() as f64);
        metric("chatctl_runtime_queued_tasks", "", runtime.global_queue_depth() as f64);
        let busy_s = busy.sum::<Duration>().as_secs_f64();
        metric("chatctl_runtime_busy_seconds_total", "", busy_s);
        // /proc is memory of the kernel, but it may take its locks to answer.
        if let Ok(Some(usage)) = tokio::task::spawn_blocking(process::usage).await {
            metric("chatctl_process_resident_bytes", "", usage.resident_bytes as f64);
            metric("chatctl_process_cpu_seconds_total", "", usage.cpu_seconds);
            metric("chatctl_process_threads", "", usage.threads as f64);
        }
        #[cfg(feature = "faults")]
        {
            let allocated = stats_alloc::INSTRUMENTED_SYSTEM.stats();
            let allocations = allocated.allocations + allocated.reallocations;
            metric("chatctl_allocations_total", "", allocations as f64);
        }
        text
    }
}
