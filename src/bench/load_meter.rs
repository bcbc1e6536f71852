//! Whether the load generator itself keeps up: what it uses, and how late its timers are.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio_util::task::AbortOnDropHandle;

use super::recorder::new_histogram;
use crate::clock::process_cpu;

/// How often a timer is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// More of all cores than this, used by the generator alone, leaves a server on the same machine too little.
const CPU_SHARE_MAX: f64 = 0.8;

/// A task that is due and waits longer than this to run, one time in a hundred, measures itself.
const TIMER_LAG_P99_MAX: Duration = Duration::from_millis(20);

/// As [`TIMER_LAG_P99_MAX`], of the thread that hands out intended times.
const DISPATCH_LAG_P99_MAX: Duration = Duration::from_millis(10);

/// Looks at this process from its start on.
#[derive(Debug)]
pub struct LoadMeter {
    started: Instant,
    cpu: Duration,
    lag: Arc<Mutex<Histogram<u64>>>,
    _looking: AbortOnDropHandle<()>,
}

/// What the load cost its generator.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadCost {
    /// CPU time of this process, s.
    pub cpu_s: f64,
    /// Share of all cores that this process used.
    pub cpu_share: f64,
    /// How late timers of the runtime were, p99.
    pub timer_lag_p99: Duration,
}

impl LoadMeter {
    /// Begins to look. Must be called within the runtime.
    pub fn start() -> Self {
        let lag = Arc::new(Mutex::new(new_histogram()));
        let looking = tokio::spawn(look(Arc::clone(&lag)));
        let (started, cpu) = (Instant::now(), process_cpu());
        Self { started, cpu, lag, _looking: AbortOnDropHandle::new(looking) }
    }

    /// What it cost until now.
    pub fn cost(&self) -> LoadCost {
        let elapsed_s = self.started.elapsed().as_secs_f64().max(1e-9);
        let cpu_s = process_cpu().saturating_sub(self.cpu).as_secs_f64();
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let lag = self.lag.lock().unwrap_or_else(PoisonError::into_inner);
        let timer_lag_p99 = Duration::from_nanos(lag.value_at_quantile(0.99));
        LoadCost { cpu_s, cpu_share: cpu_s / elapsed_s / cores, timer_lag_p99 }
    }
}

impl LoadCost {
    /// Why the generator was too slow to be believed; empty when it was not. `dispatch_lag`: how late intended times were
    /// handed out, ns, where there were any.
    pub fn overload(&self, dispatch_lag: Option<&Histogram<u64>>) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.cpu_share > CPU_SHARE_MAX {
            let (used, max) = (self.cpu_share * 100.0, CPU_SHARE_MAX * 100.0);
            reasons.push(format!(
                "the load generator used {used:.0} % of all cores, and more than {max:.0} % leaves a server beside it too little: use fewer clients, a lower rate, or another machine"
            ));
        }
        if self.timer_lag_p99 > TIMER_LAG_P99_MAX {
            let (lag, max) = (self.timer_lag_p99.as_millis(), TIMER_LAG_P99_MAX.as_millis());
            reasons.push(format!(
                "tasks of the load generator waited {lag} ms to run (p99; believable up to {max} ms)"
            ));
        }
        let lag = dispatch_lag.map(|lag| Duration::from_nanos(lag.value_at_quantile(0.99)));
        if let Some(lag) = lag.filter(|&lag| lag > DISPATCH_LAG_P99_MAX) {
            let (lag, max) = (lag.as_millis(), DISPATCH_LAG_P99_MAX.as_millis());
            reasons.push(format!(
                "intended times were {lag} ms late before anything was sent (p99; believable up to {max} ms)"
            ));
        }
        reasons
    }
}

async fn look(lag: Arc<Mutex<Histogram<u64>>>) {
    loop {
        let due = Instant::now() + LOOK;
        tokio::time::sleep_until(due.into()).await;
        let late = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // It resizes itself, so it takes any.
        let _ = lag.lock().unwrap_or_else(PoisonError::into_inner).record(late);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_busy_runtime_is_seen() {
        let meter = LoadMeter::start();
        tokio::time::sleep(3 * LOOK).await;
        // Others may keep the machine busy, so that nothing is said of this moment.
        let quiet = meter.cost();
        for _ in 0..5 {
            tokio::spawn(async {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(60) {
                    std::hint::spin_loop();
                }
            })
            .await
            .unwrap();
        }
        tokio::time::sleep(2 * LOOK).await;
        let busy = meter.cost();
        assert!(busy.cpu_s - quiet.cpu_s > 0.2, "{quiet:?} {busy:?}");
        let reasons = busy.overload(None);
        assert!(reasons.iter().any(|reason| reason.contains("waited")), "{busy:?} {reasons:?}");
    }

    #[test]
    fn each_reason_is_told() {
        let cost = LoadCost { cpu_s: 9.0, cpu_share: 0.9, timer_lag_p99: Duration::ZERO };
        assert!(cost.overload(None)[0].contains("90 %"));
        let cost = LoadCost { cpu_share: 0.1, ..cost };
        let mut lag = new_histogram();
        lag.record(5_000_000).unwrap();
        assert!(cost.overload(Some(&lag)).is_empty());
        (0..5).for_each(|_| lag.record(50_000_000).unwrap());
        assert!(cost.overload(Some(&lag))[0].contains("50 ms late"));
    }
}
