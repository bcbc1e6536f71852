//! Comparisons of made-up runs: what is noise, what is a difference, and when it ends.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rstest::rstest;

use super::bootstrap::tests::normal;
use super::disturbance::Conditions;
use super::measure::Measured;
use super::metric::Metric;
use super::sequential::{Judgement, Rules, Run, Side, Step, next, order, pairs_min};
use super::verdict::Verdict;

const RULES: Rules = Rules {
    metric: Metric::ServerCpu,
    pairs: 16,
    max_time_s: 60.0,
    min_effect: 0.05,
    confidence: 0.95,
    seed: 1,
};

pub(super) fn run(side: Side, value: f64) -> Run {
    let conditions = Conditions {
        steal: Some(0.0),
        iowait: Some(0.0),
        others: Some(0.0),
        probe_before_us: 30_000.0,
        probe_after_us: 30_000.0,
    };
    let figures = [Metric::ServerCpu, Metric::Rate].map(|metric| (metric.name().to_owned(), value));
    Run {
        side,
        measured: Measured {
            started_at: "2026-01-02T03:04:05Z".to_owned(),
            took_s: 1.0,
            engine: "LOCAL".to_owned(),
            durability: "process".to_owned(),
            figures: BTreeMap::from(figures),
            conditions,
            violations: BTreeMap::new(),
            failure: None,
        },
    }
}

/// Runs a comparison to its end; `make` gives the run of a side.
fn compare(rules: &Rules, mut make: impl FnMut(Side, usize) -> Run) -> (Judgement, Vec<Run>) {
    let mut runs = Vec::new();
    loop {
        match next(rules, &runs) {
            Step::Run(side) => runs.push(make(side, runs.len())),
            Step::Over(judgement) => return (*judgement, runs),
        }
    }
}

/// A side's cost with noise of 3 % and an effect on B.
fn noisy(random: &mut SmallRng, side: Side, effect: f64) -> Run {
    let base = if side == Side::B { 100.0 * (1.0 + effect) } else { 100.0 };
    run(side, base * (0.03 * normal(random)).exp())
}

#[test]
fn pairs_are_in_the_order_abba_baab() {
    let sides: String = (0..4).flat_map(order).map(|side| format!("{side:?}")).collect();
    assert_eq!(sides, "ABBABAAB");
    let (_, runs) = compare(&RULES, |side, _| run(side, 1.0));
    let made: Vec<_> = runs.iter().map(|run| run.side).collect();
    assert_eq!(made, (0..made.len() / 2).flat_map(order).collect::<Vec<_>>());
}

#[test]
fn few_pairs_tell_nothing() {
    assert_eq!((pairs_min(0.95), pairs_min(0.99)), (6, 8));
    let rules = Rules { max_time_s: 9.0, ..RULES };
    let (short, _) = compare(&rules, |side, _| run(side, if side == Side::B { 2.0 } else { 1.0 }));
    assert_eq!((short.verdict, short.pairs_used), (Verdict::Inconclusive, 4));
    assert!(short.reason.contains("time was up"), "{}", short.reason);
}

/// 200 comparisons each. The minimum effect alone keeps most of the noise out; without it, the looks must.
#[rstest]
#[case::with_the_minimum_effect(0.05, 1)]
#[case::by_the_looks_alone(1e-9, 10)]
fn a_server_compared_with_itself_is_no_different(#[case] min_effect: f64, #[case] most: usize) {
    let rules = Rules { min_effect, ..RULES };
    let mut random = SmallRng::seed_from_u64(3);
    let flagged = (0..200).filter(|_| {
        let (judgement, _) = compare(&rules, |side, _| noisy(&mut random, side, 0.0));
        matches!(judgement.verdict, Verdict::Slower | Verdict::Faster)
    });
    let flagged = flagged.count();
    assert!(flagged <= most, "{flagged} of 200");
}

#[rstest]
#[case::slower(0.1, Verdict::Slower)]
#[case::faster(-0.1, Verdict::Faster)]
fn a_tenth_is_found(#[case] effect: f64, #[case] expected: Verdict) {
    let mut random = SmallRng::seed_from_u64(4);
    let found = (0..100).filter(|_| {
        compare(&RULES, |side, _| noisy(&mut random, side, effect)).0.verdict == expected
    });
    let found = found.count();
    assert!(found >= 95, "{found} of 100");
}

#[test]
fn more_of_a_rate_is_faster() {
    let rules = Rules { metric: Metric::Rate, ..RULES };
    let (judgement, _) =
        compare(&rules, |side, _| run(side, if side == Side::B { 120.0 } else { 100.0 }));
    assert_eq!(judgement.verdict, Verdict::Faster);
    assert!((judgement.ratio.unwrap().median - 1.2).abs() < 1e-9);
}

#[test]
fn a_clear_difference_ends_at_the_first_look() {
    let (judgement, runs) =
        compare(&RULES, |side, _| run(side, if side == Side::B { 2.0 } else { 1.0 }));
    assert_eq!((judgement.verdict, judgement.looks, runs.len()), (Verdict::Slower, (1, 3), 16));
    assert_eq!((judgement.a_median, judgement.b_median), (Some(1.0), Some(2.0)));
}

#[test]
fn disturbed_and_failed_pairs_do_not_count() {
    let (judgement, _) = compare(&RULES, |side, index| {
        let mut made = run(side, 1.0);
        match index {
            2 => made.measured.conditions.steal = Some(0.5),
            5 => made.measured.conditions.probe_after_us *= 1.2,
            6 => made.measured.failure = Some("1 broken pairs".to_owned()),
            9 => made.measured.figures.clear(),
            _ => {}
        }
        made
    });
    assert_eq!((judgement.verdict, judgement.pairs_used), (Verdict::Same, 8));
    let rejected: Vec<_> =
        judgement.pairs.iter().filter_map(|pair| pair.rejected.as_deref()).collect();
    let expected = [
        "50.0 % of the time was stolen",
        "the probe is off by +20 %",
        "1 broken pairs",
        "a run has no server.cpu_us_per_message",
    ];
    assert_eq!(rejected, expected);
}

#[test]
fn a_machine_that_is_never_quiet_gives_no_verdict() {
    let rules = Rules { max_time_s: 1e9, ..RULES };
    let (judgement, runs) = compare(&rules, |side, index| {
        let mut made = run(side, if side == Side::B { 2.0 } else { 1.0 });
        made.measured.conditions.steal = Some(if index % 6 == 0 { 0.0 } else { 0.5 });
        made
    });
    assert_eq!((judgement.verdict, runs.len()), (Verdict::Inconclusive, 4 * RULES.pairs));
    assert!(judgement.reason.contains("rejected"), "{}", judgement.reason);
}

#[test]
fn it_ends_in_time_and_with_a_broken_promise() {
    let (judgement, runs) = compare(&RULES, |side, index| {
        let mut made = run(side, 1.0 + (index % 5) as f64);
        made.measured.took_s = 3.0;
        made
    });
    assert_eq!((judgement.took_s, runs.len()), (60.0, 20));
    let (judgement, runs) = compare(&RULES, |side, index| {
        let mut made = run(side, 1.0);
        if index == 1 {
            made.measured.violations.insert("lost".to_owned(), 3);
        }
        made
    });
    assert_eq!((judgement.verdict, runs.len()), (Verdict::Inconclusive, 2));
    assert_eq!(judgement.violations["lost"], 3);
}
