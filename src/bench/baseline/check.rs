//! A baseline against the same work done now.

use serde::Serialize;

use super::file::Baseline;
use crate::bench::compare::Metric;
use crate::bench::compare::bootstrap::{Estimate, estimate_growth};
use crate::bench::compare::disturbance::Tolerance;
use crate::bench::compare::measure::COUNTERS;
use crate::bench::compare::same_machine;
use crate::bench::compare::verdict::Verdict;

/// Of the intervals.
const CONFIDENCE: f64 = 0.95;
const SEED: u64 = 1;

/// What became of the figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckReport {
    /// `slower`: beyond the limit; `same`: within it; else `inconclusive`.
    pub verdict: Verdict,
    /// What stands against a judgement, if anything.
    pub inconclusive_because: Vec<String>,
    /// Each figure that is judged.
    pub growths: Vec<Growth>,
    /// Most that a figure may grow, 0.1 for 10 %.
    pub slowdown_max: f64,
    /// The old figures.
    pub baseline: Baseline,
    /// The new ones.
    pub now: Baseline,
}

/// One figure, then and now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Growth {
    /// Its name.
    pub figure: String,
    /// The median then.
    pub before: f64,
    /// The median now.
    pub now: f64,
    /// Now in units of then; `None` where both are zero, or one was.
    pub growth: Option<Estimate>,
    /// What it means.
    pub verdict: Verdict,
}

/// Judges CPU time per message and the counters. One figure beyond the limit is enough for `slower`; figures of
/// different machines, engines or durability classes are not judged at all.
pub fn check(baseline: Baseline, now: Baseline, slowdown_max: f64) -> CheckReport {
    let mut against = differences(&baseline, &now, Tolerance::of_effect(slowdown_max));
    let judged = [Metric::ServerCpu.name()].into_iter().chain(COUNTERS);
    let mut growths = Vec::new();
    for figure in judged {
        match growth(&baseline, &now, figure, slowdown_max) {
            Some(growth) => growths.push(growth),
            // An engine may have no such counter; then it has none then and now.
            None if !baseline.figures.contains_key(figure)
                && !now.figures.contains_key(figure)
                && figure != Metric::ServerCpu.name() => {}
            None => against.push(format!("{figure} is not there in both")),
        }
    }
    let any = |verdict| growths.iter().any(|growth: &Growth| growth.verdict == verdict);
    let verdict = if !against.is_empty() {
        Verdict::Inconclusive
    } else if any(Verdict::Slower) {
        Verdict::Slower
    } else if any(Verdict::Inconclusive) {
        Verdict::Inconclusive
    } else {
        Verdict::Same
    };
    let unclear = growths.iter().filter(|growth| growth.verdict == Verdict::Inconclusive);
    against.extend(unclear.map(|growth| format!("{} does not tell", growth.figure)));
    CheckReport { verdict, inconclusive_because: against, growths, slowdown_max, baseline, now }
}

fn differences(baseline: &Baseline, now: &Baseline, tolerance: Tolerance) -> Vec<String> {
    let mut against = Vec::new();
    let (then_host, now_host) = (&baseline.circumstances.host, &now.circumstances.host);
    if !same_machine(then_host, now_host) {
        against.push(format!(
            "the baseline is of another machine: {}, {} cores, kernel {}",
            then_host.cpu_model, then_host.cores, then_host.kernel
        ));
    }
    if baseline.circumstances.work != now.circumstances.work {
        against.push("the work is not the same".to_owned());
    }
    for (what, then, now) in [
        ("engine", &baseline.engine, &now.engine),
        ("durability", &baseline.durability, &now.durability),
    ] {
        if then != now {
            against.push(format!("the {what} was {then} and is {now}"));
        }
    }
    let probe = now.probe_us / baseline.probe_us - 1.0;
    let fine = probe.abs() <= tolerance.probe;
    if !fine {
        against.push(format!("the machine's own probe is off by {:+.0} %", probe * 100.0));
    }
    against
}

fn growth(baseline: &Baseline, now: &Baseline, figure: &str, slowdown_max: f64) -> Option<Growth> {
    let (then, now) = (baseline.figures.get(figure)?, now.figures.get(figure)?);
    let growth = estimate_growth(&then.values, &now.values, CONFIDENCE, SEED);
    let verdict = match growth {
        Some(growth) => Verdict::of_growth(growth, slowdown_max),
        None if then.median == 0.0 && now.max == 0.0 => Verdict::Same,
        None => Verdict::Inconclusive,
    };
    let (before, now) = (then.median, now.median);
    Some(Growth { figure: figure.to_owned(), before, now, growth, verdict })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::file::{BaselineError, Circumstances, SCHEMA_VERSION, Spread};
    use super::*;
    use crate::bench::compare::measure::{ServerOptions, Work};
    use crate::harness::{Host, Versions};

    fn baseline(cpu_us: f64, syncs: f64) -> Baseline {
        let spread = |middle: f64| {
            Spread::of((-3..=3).map(|n| middle * (1.0 + f64::from(n) / 128.0)).collect()).unwrap()
        };
        let named = |name: &str, middle| (name.to_owned(), spread(middle));
        Baseline {
            schema_version: SCHEMA_VERSION,
            circumstances: Circumstances {
                command: "chatctl bench baseline save".to_owned(),
                started_at: "2026-01-02T03:04:05Z".to_owned(),
                versions: Versions::of_this_binary(),
                host: Host::find(),
                server: ServerOptions {
                    binary: PathBuf::from("/bin/chatctl"),
                    binary_sha256: "00".to_owned(),
                    environment: Vec::new(),
                },
                work: Work { clients: 4, messages: 10, size_bytes: 256, in_flight: 8 },
            },
            engine: "LOCAL".to_owned(),
            durability: "process".to_owned(),
            rejected: 0,
            probe_us: 30_000.0,
            figures: [
                named(Metric::ServerCpu.name(), cpu_us),
                named("syncs_per_message", syncs),
                named("encodes_per_message", 1.0),
            ]
            .into(),
        }
    }

    fn verdict(then: Baseline, now: Baseline) -> Verdict {
        check(then, now, 0.1).verdict
    }

    #[test]
    fn growth_beyond_the_limit_is_slower() {
        let then = || baseline(50.0, 0.0);
        assert_eq!(verdict(then(), baseline(52.0, 0.0)), Verdict::Same);
        assert_eq!(verdict(then(), baseline(20.0, 0.0)), Verdict::Same);
        assert_eq!(verdict(then(), baseline(60.0, 0.0)), Verdict::Slower);
        assert_eq!(verdict(then(), baseline(55.0, 0.0)), Verdict::Inconclusive);
        assert_eq!(verdict(baseline(50.0, 0.2), baseline(50.0, 0.3)), Verdict::Slower);
        // From nothing to something has no ratio.
        assert_eq!(verdict(then(), baseline(50.0, 0.3)), Verdict::Inconclusive);
    }

    #[test]
    fn what_is_not_alike_is_not_judged() {
        let spoil: [fn(&mut Baseline); 6] = [
            |now| now.circumstances.host.cpu_model.push('X'),
            |now| now.circumstances.host.cores += 1,
            |now| now.circumstances.work.messages += 1,
            |now| now.durability = "disk".to_owned(),
            |now| now.probe_us *= 1.2,
            |now| drop(now.figures.remove("syncs_per_message")),
        ];
        for spoil in spoil {
            let mut now = baseline(80.0, 0.1);
            spoil(&mut now);
            let report = check(baseline(50.0, 0.1), now, 0.1);
            assert_eq!(report.verdict, Verdict::Inconclusive, "{report:?}");
            assert_eq!(report.inconclusive_because.len(), 1, "{report:?}");
        }
    }

    #[test]
    fn a_file_reads_back_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("baseline.json");
        assert!(matches!(Baseline::load(&path), Err(BaselineError::Io { .. })));
        let saved = baseline(50.0, 0.25);
        saved.save(&path).unwrap();
        assert_eq!(Baseline::load(&path).unwrap(), saved);
        let text = std::fs::read_to_string(&path).unwrap();
        for other in [
            text.replace("\"schema_version\": 1", "\"schema_version\": 2"),
            text.replace("probe_us", "probe"),
            text[..text.len() / 2].to_owned(),
        ] {
            std::fs::write(&path, other).unwrap();
            let error = Baseline::load(&path).unwrap_err();
            assert!(matches!(error, BaselineError::Unreadable { .. }), "{error}");
        }
    }
}
