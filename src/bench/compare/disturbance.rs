//! Whether anything else was at work on the machine: what the hypervisor took away, what other processes used, and how
//! much CPU time a fixed piece of work took.
//!
//! The probe counts CPU time and not time: where others compete for the cores, its time swung between 0.6 and 1.6 of
//! its median, while CPU time per message, the metric by default, stayed within a few percent.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bench::error::BenchError;
use crate::bench::stats::median;
use crate::clock::thread_cpu;

/// Most of the machine's time that the hypervisor may have taken during a run, for a small effect.
const STEAL_MAX: f64 = 0.01;

/// How far the probe before or after a run may be from the median probe of its comparison. On two cores that others used
/// by 45 %, 87 of 100 runs were within it, and the CPU time per message of those was off its median by 4 %; that of the
/// others by 8 %.
const PROBE_DEVIATION_MAX: f64 = 0.05;

/// How far the share of others during a run may be from its median in the comparison, where the metric is a time: there,
/// 8 of 10 runs were within it.
const OTHERS_DEVIATION_MAX: f64 = 0.1;

/// What the probe sorts on each core and then hashes, several times over: about 30 ms. 3 MiB do not stay in a core's own
/// cache, so that it tells of memory too, as the server's work does.
const PROBE_NUMBERS: usize = 3 << 17;
const PROBE_ROUNDS: usize = 3;

/// `/proc/stat` counts in 1/100 s (`USER_HZ`; proc_stat(5)).
const TICK: Duration = Duration::from_millis(10);

/// Time of all cores since boot, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CpuTimes {
    busy: u64,
    idle: u64,
    iowait: u64,
    steal: u64,
}

/// What the machine was like during a run; shares of the time of all its cores, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// Taken by the hypervisor; `None` where the system does not say.
    pub steal: Option<f64>,
    /// Idle with a disk at work: the server's own syncs are in it.
    pub iowait: Option<f64>,
    /// Used by others than the bench and the server; services that the server uses are among them.
    pub others: Option<f64>,
    /// The probe before the server was started, µs.
    pub probe_before_us: f64,
    /// The probe after it had ended, µs.
    pub probe_after_us: f64,
}

/// How restless a machine may be for an effect of a size to be seen on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Most of the time that may be stolen, 0 to 1.
    pub steal: f64,
    /// Furthest that a probe may be from the usual one, 0.05 for 5 %.
    pub probe: f64,
}

impl Tolerance {
    /// For an effect, 0.05 for 5 %: half of it for the probe and a tenth of it for what is stolen, and of effects up to
    /// 10 % what these are. Who looks for a doubling need not wait for a machine that is quiet to 5 %.
    pub fn of_effect(effect: f64) -> Self {
        let effect = effect.min(1.0);
        Self { steal: STEAL_MAX.max(effect / 10.0), probe: PROBE_DEVIATION_MAX.max(effect / 2.0) }
    }
}

impl Conditions {
    /// Both probes, µs.
    pub fn probes_us(&self) -> [f64; 2] {
        [self.probe_before_us, self.probe_after_us]
    }

    /// Why a run under these conditions must not count; `None`: it may.
    pub fn disturbance(&self, usual: &Usual) -> Option<String> {
        match self.steal {
            None => return Some("the system does not say how much time it steals".to_owned()),
            Some(steal) if steal > usual.tolerance.steal => {
                return Some(format!("{:.1} % of the time was stolen", steal * 100.0));
            }
            Some(_) => {}
        }
        let deviation = |us: f64| us / usual.probe_us - 1.0;
        let [before, after] = self.probes_us().map(deviation);
        let worst = if before.abs() > after.abs() { before } else { after };
        // Not `worst > …`: what is no number does not count either.
        let fine = worst.abs() <= usual.tolerance.probe;
        if !fine {
            return Some(format!("the probe is off by {:+.0} %", worst * 100.0));
        }
        let off = self.others.zip(usual.others).map(|(others, usual)| others - usual);
        let off = off.filter(|off| off.abs() > OTHERS_DEVIATION_MAX);
        off.map(|off| format!("others used {:+.0} points of the CPU time", off * 100.0))
    }
}

/// What is usual in a comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usual {
    /// Median probe, µs.
    pub probe_us: f64,
    /// Median share of others; `None`: it does not matter. CPU time hardly depends on it, a latency or a rate does.
    pub others: Option<f64>,
    /// Around the two.
    pub tolerance: Tolerance,
}

impl Usual {
    /// Of these runs.
    pub fn of<'a>(
        runs: impl Iterator<Item = &'a Conditions> + Clone,
        others_matter: bool,
        tolerance: Tolerance,
    ) -> Self {
        let probes: Vec<f64> = runs.clone().flat_map(Conditions::probes_us).collect();
        let others: Vec<f64> = runs.filter_map(|run| run.others).collect();
        let others = median(&others).filter(|_| others_matter);
        Self { probe_us: median(&probes).unwrap_or(f64::NAN), others, tolerance }
    }
}

impl CpuTimes {
    /// `None` where there is no `/proc/stat`.
    pub(super) fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks = line.split_whitespace().map(|field| field.parse().ok());
        let ticks = ticks.collect::<Option<Vec<u64>>>()?;
        // What follows are the times of guests, which are in `user` and `nice` already.
        let &[user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks.as_slice() else {
            return None;
        };
        Some(Self { busy: user + nice + system + irq + softirq, idle, iowait, steal })
    }

    /// Shares since `before`: stolen, waiting for a disk, and used by others than those who used `ours`.
    pub(super) fn shares_since(&self, before: &Self, ours: Duration) -> Option<(f64, f64, f64)> {
        let grown = |of: fn(&Self) -> u64| of(self).saturating_sub(of(before)) as f64;
        let (steal, iowait) = (grown(|times| times.steal), grown(|times| times.iowait));
        let (busy, idle) = (grown(|times| times.busy), grown(|times| times.idle));
        let all = busy + idle + iowait + steal;
        let others = busy - ours.as_secs_f64() / TICK.as_secs_f64();
        (all > 0.0).then(|| (steal / all, iowait / all, others.max(0.0) / all))
    }
}

/// CPU time that a fixed piece of work takes on every core at once, µs: the mean over the cores.
pub(super) async fn probe_us() -> Result<f64, BenchError> {
    let probed = tokio::task::spawn_blocking(probe_all_cores).await;
    probed
        .map_err(|error| BenchError::Unmeasurable(format!("the probe of the CPU failed: {error}")))
}

fn probe_all_cores() -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let times: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(probe_one_core)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let total: Duration = times.iter().sum();
    total.as_secs_f64() * 1e6 / times.len().max(1) as f64
}

fn probe_one_core() -> Duration {
    let mut random = SmallRng::seed_from_u64(1);
    let numbers: Vec<u64> = (0..PROBE_NUMBERS).map(|_| random.random()).collect();
    let before = thread_cpu();
    let mut hasher = Sha256::new();
    for _ in 0..PROBE_ROUNDS {
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        sorted.iter().for_each(|number| hasher.update(number.to_le_bytes()));
    }
    std::hint::black_box(hasher.finalize());
    thread_cpu().saturating_sub(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Tolerance = Tolerance { steal: 0.01, probe: 0.05 };
    const QUIET: Conditions = Conditions {
        steal: Some(0.0),
        iowait: Some(0.3),
        others: Some(0.0),
        probe_before_us: 30_000.0,
        probe_after_us: 30_500.0,
    };

    #[test]
    fn stolen_time_and_an_odd_probe_disturb() {
        let usual = Usual { probe_us: 30_000.0, others: None, tolerance: SMALL };
        assert_eq!(QUIET.disturbance(&usual), None);
        let says = |conditions: Conditions| conditions.disturbance(&usual).unwrap_or_default();
        assert!(says(Conditions { steal: Some(0.011), ..QUIET }).contains("1.1 %"));
        assert!(says(Conditions { steal: None, ..QUIET }).contains("steals"));
        assert!(says(Conditions { probe_after_us: 33_000.0, ..QUIET }).contains("+10 %"));
        assert!(says(Conditions { probe_before_us: 27_000.0, ..QUIET }).contains("-10 %"));
        assert!(QUIET.disturbance(&Usual { probe_us: f64::NAN, ..usual }).is_some());
    }

    #[test]
    fn a_large_effect_is_seen_on_a_restless_machine() {
        assert_eq!([0.001, 0.05, 0.1].map(Tolerance::of_effect), [SMALL; 3]);
        assert_eq!(Tolerance::of_effect(0.4), Tolerance { steal: 0.04, probe: 0.2 });
        assert_eq!(
            [1.0, 10.0].map(Tolerance::of_effect),
            [Tolerance { steal: 0.1, probe: 0.5 }; 2]
        );
        let tolerance = Tolerance::of_effect(0.4);
        let usual = Usual { probe_us: 30_000.0, others: None, tolerance };
        let wavers = Conditions { steal: Some(0.03), probe_after_us: 35_000.0, ..QUIET };
        assert_eq!(wavers.disturbance(&usual), None);
        assert!(wavers.disturbance(&Usual { tolerance: SMALL, ..usual }).is_some());
    }

    #[test]
    fn others_disturb_where_they_matter() {
        let busy = Conditions { others: Some(0.15), ..QUIET };
        let runs = [QUIET, busy, QUIET];
        assert_eq!(busy.disturbance(&Usual::of(runs.iter(), false, SMALL)), None);
        let says = busy.disturbance(&Usual::of(runs.iter(), true, SMALL)).unwrap();
        assert!(says.contains("+15 points"), "{says}");
    }

    #[test]
    fn times_are_read_and_shared_out() {
        let text = "cpu  100 0 50 800 40 0 10 0 7 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        let before = CpuTimes::parse(text).unwrap();
        assert_eq!(before, CpuTimes { busy: 160, idle: 800, iowait: 40, steal: 0 });
        let after = CpuTimes { busy: 260, idle: 880, iowait: 50, steal: 10 };
        let (steal, iowait, others) =
            after.shares_since(&before, Duration::from_millis(900)).unwrap();
        assert_eq!((steal, iowait, others), (0.05, 0.05, 0.05));
        assert_eq!(before.shares_since(&before, Duration::ZERO), None);
        assert_eq!(CpuTimes::parse("cpu 1 2 3"), None);
    }

    #[tokio::test]
    async fn a_probe_takes_time() {
        assert!(probe_us().await.unwrap() > 1_000.0);
    }
}
