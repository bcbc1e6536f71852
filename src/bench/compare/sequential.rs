//! What to do next in a comparison, and what it says in the end: a pure function of the rules and of the runs so far.
//! So an interrupted comparison goes on where it was, and a finished one can be judged again.
//!
//! Runs come in pairs, in the order AB BA BA AB, so that what drifts on the machine meets both sides alike. Each pair
//! gives one ratio B/A. The verdict is looked for at pair counts that are fixed beforehand, and each look is stricter
//! by their number (Bonferroni): a comparison that may end early is no more often wrong than one that may not.

use serde::{Deserialize, Serialize};

use super::bootstrap::{Estimate, estimate_median};
use super::disturbance::{Tolerance, Usual};
use super::measure::Measured;
use super::metric::Metric;
use super::verdict::Verdict;
use crate::bench::stats::median;

/// Which server of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What is compared with.
    A,
    /// What is judged.
    B,
}

/// How a comparison is made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// What is compared.
    pub metric: Metric,
    /// Most pairs that count.
    pub pairs: usize,
    /// It ends within this, s.
    pub max_time_s: f64,
    /// Smaller differences do not matter, 0.05 for 5 %.
    pub min_effect: f64,
    /// How often a comparison of a server with itself finds no difference, at least.
    pub confidence: f64,
    /// Of the bootstrap.
    pub seed: u64,
}

/// One run of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Which server.
    pub side: Side,
    /// What was found.
    #[serde(flatten)]
    pub measured: Measured,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A run of this server.
    Run(Side),
    /// Nothing.
    Over(Box<Judgement>),
}

/// One pair, judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// Of A.
    pub a: Option<f64>,
    /// Of B.
    pub b: Option<f64>,
    /// B/A, unless it does not count.
    pub ratio: Option<f64>,
    /// Why it does not count.
    pub rejected: Option<String>,
}

/// What a comparison says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// About B.
    pub verdict: Verdict,
    /// Why it ended, and why it is inconclusive if it is.
    pub reason: String,
    /// B/A of the metric: the median over the pairs that count.
    pub ratio: Option<Estimate>,
    /// Median of A over the pairs that count.
    pub a_median: Option<f64>,
    /// Median of B over the pairs that count.
    pub b_median: Option<f64>,
    /// Times that a verdict was looked for, out of those planned.
    pub looks: (usize, usize),
    /// Pairs that count.
    pub pairs_used: usize,
    /// Pairs that do not.
    pub pairs_rejected: usize,
    /// Broken promises by name, of either side.
    pub violations: std::collections::BTreeMap<String, u64>,
    /// All runs of it, s.
    pub took_s: f64,
    /// Every pair, in order.
    pub pairs: Vec<Pair>,
}

/// The pair counts at which a verdict is looked for, and the level of each look's interval.
#[derive(Debug, Clone, PartialEq)]
struct Looks {
    at: Vec<usize>,
    level: f64,
}

/// The order of the two runs of a pair.
pub fn order(pair: usize) -> [Side; 2] {
    match pair % 4 {
        0 | 3 => [Side::A, Side::B],
        _ => [Side::B, Side::A],
    }
}

/// Fewest pairs from which an interval of this level can be told: where there is no difference, all ratios are on one
/// side of 1 by chance in 2·2⁻ⁿ of all cases.
pub fn pairs_min(level: f64) -> usize {
    (1..64)
        .find(|&count| 2.0 * 0.5_f64.powi(count) <= 1.0 - level)
        .map_or(64, |count| count as usize)
}

impl Looks {
    /// At half, three quarters and all of the pairs, as far as those are enough.
    fn of(rules: &Rules) -> Self {
        let level = |looks: usize| 1.0 - (1.0 - rules.confidence) / looks as f64;
        let (all, least) = (rules.pairs, pairs_min(level(3)));
        let mut at = vec![all.div_ceil(2), (3 * all).div_ceil(4), all];
        at.dedup();
        at.retain(|&count| count >= least || count == all);
        Self { level: level(at.len()), at }
    }
}

/// What comes next after these runs of one comparison, which are in the order in which they were made.
pub fn next(rules: &Rules, runs: &[Run]) -> Step {
    let looks = Looks::of(rules);
    let took_s: f64 = runs.iter().map(|run| run.measured.took_s).sum();
    let pairs: Vec<&[Run]> = runs.chunks_exact(2).collect();
    let is_broken = runs.iter().any(|run| !run.measured.violations.is_empty());
    let is_between = runs.len().is_multiple_of(2);
    let [first, second] = order(runs.len() / 2);
    if !is_between && !is_broken && took_s < rules.max_time_s {
        return Step::Run(second);
    }
    let mut looked = 0;
    // Everything is decided again from the first look on, so that nothing but the runs need be kept.
    for count in 1..=pairs.len() {
        let judged = judge_pairs(rules, &pairs[..count]);
        let used = judged.iter().filter(|pair| pair.ratio.is_some()).count();
        let due = looks.at.iter().filter(|&&at| at <= used).count();
        if due > looked {
            looked = due;
            let estimate = estimate(rules, &judged, looks.level);
            let verdict = verdict(rules, estimate, used, count - used);
            if verdict != Verdict::Inconclusive || looked == looks.at.len() {
                let reason = match verdict {
                    Verdict::Inconclusive => unclear(used, count - used),
                    _ => "clear".to_owned(),
                };
                let looks = (looked, looks.at.len());
                return over(rules, runs, judged, estimate, verdict, reason, looks);
            }
        }
    }
    let longest_s =
        pairs.iter().map(|pair| pair.iter().map(|run| run.measured.took_s).sum::<f64>());
    let longest_s = longest_s.fold(0.0, f64::max);
    let reason = if is_broken {
        "a promise about messages was broken".to_owned()
    } else if took_s >= rules.max_time_s || took_s + longest_s > rules.max_time_s {
        format!("time was up after {took_s:.0} s")
    } else if pairs.len() >= 2 * rules.pairs {
        "too many pairs were rejected".to_owned()
    } else {
        return Step::Run(first);
    };
    let judged = judge_pairs(rules, &pairs);
    let used = judged.iter().filter(|pair| pair.ratio.is_some()).count();
    // One look fewer than planned has been made, so that this one is still within the plan.
    let enough = used >= pairs_min(looks.level);
    let estimate = estimate(rules, &judged, looks.level).filter(|_| enough);
    let verdict = verdict(rules, estimate, used, pairs.len() - used);
    let reason = match verdict {
        Verdict::Inconclusive => format!("{reason}; {}", unclear(used, pairs.len() - used)),
        _ => reason,
    };
    over(rules, runs, judged, estimate, verdict, reason, (looked + 1, looks.at.len()))
}

fn unclear(used: usize, rejected: usize) -> String {
    match rejected > used {
        true => format!("{rejected} of {} pairs were rejected", used + rejected),
        false => format!("{used} pairs do not tell"),
    }
}

fn over(
    rules: &Rules,
    runs: &[Run],
    pairs: Vec<Pair>,
    estimate: Option<Estimate>,
    verdict: Verdict,
    reason: String,
    looks: (usize, usize),
) -> Step {
    let counting = || pairs.iter().filter(|pair| pair.ratio.is_some());
    let median_of =
        |of: fn(&Pair) -> Option<f64>| median(&counting().filter_map(of).collect::<Vec<_>>());
    let mut violations = std::collections::BTreeMap::new();
    for (name, count) in runs.iter().flat_map(|run| &run.measured.violations) {
        *violations.entry(name.clone()).or_insert(0) += count;
    }
    // What a server that breaks its promises costs says nothing.
    let verdict = if violations.is_empty() { verdict } else { Verdict::Inconclusive };
    let pairs_used = counting().count();
    Step::Over(Box::new(Judgement {
        verdict,
        reason,
        ratio: estimate.map(|cost| as_ratio(rules.metric, cost)),
        a_median: median_of(|pair| pair.a),
        b_median: median_of(|pair| pair.b),
        looks,
        pairs_used,
        pairs_rejected: pairs.len() - pairs_used,
        violations,
        took_s: runs.iter().map(|run| run.measured.took_s).sum(),
        pairs,
    }))
}

/// The estimate of the cost of B in units of A.
fn estimate(rules: &Rules, pairs: &[Pair], level: f64) -> Option<Estimate> {
    let ratios: Vec<f64> = pairs.iter().filter_map(|pair| pair.ratio).collect();
    let ratio = estimate_median(&ratios, level, rules.seed)?;
    Some(as_ratio(rules.metric, ratio))
}

/// From B/A of the metric to the cost, and back.
fn as_ratio(metric: Metric, estimate: Estimate) -> Estimate {
    if metric.more_is_better() { estimate.inverse() } else { estimate }
}

fn verdict(rules: &Rules, cost: Option<Estimate>, used: usize, rejected: usize) -> Verdict {
    match cost {
        Some(cost) if rejected <= used => Verdict::of(cost, rules.min_effect),
        _ => Verdict::Inconclusive,
    }
}

fn judge_pairs(rules: &Rules, pairs: &[&[Run]]) -> Vec<Pair> {
    let whole = pairs.iter().copied().flatten().filter(|run| run.measured.failure.is_none());
    let others_matter = rules.metric != Metric::ServerCpu;
    let tolerance = Tolerance::of_effect(rules.min_effect);
    let usual = Usual::of(whole.map(|run| &run.measured.conditions), others_matter, tolerance);
    pairs.iter().map(|runs| judge_pair(rules, runs, &usual)).collect()
}

fn judge_pair(rules: &Rules, runs: &[Run], usual: &Usual) -> Pair {
    let of = |side| {
        let run = runs.iter().find(|run| run.side == side)?;
        run.measured.figures.get(rules.metric.name()).copied()
    };
    let (a, b) = (of(Side::A), of(Side::B));
    let rejected = runs.iter().find_map(|Run { measured, .. }| {
        measured.failure.clone().or_else(|| measured.conditions.disturbance(usual))
    });
    let ratio = a.zip(b).map(|(a, b)| b / a).filter(|ratio| ratio.is_finite() && *ratio > 0.0);
    let rejected = match ratio {
        None => rejected.or_else(|| Some(format!("a run has no {}", rules.metric))),
        Some(_) => rejected,
    };
    let ratio = ratio.filter(|_| rejected.is_none());
    Pair { a, b, ratio, rejected }
}
