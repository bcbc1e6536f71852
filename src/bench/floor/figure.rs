//! One figure of the table: what it is, what it was in each round, what it should be.

use serde::Serialize;

use crate::bench::stats::median;

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

/// A figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// Its short name: figures of one name belong together.
    pub id: &'static str,
    /// What it is, with its unit.
    pub what: String,
    /// Of each round, in their order.
    pub rounds: Vec<f64>,
    /// Their median; `None` where no round could tell.
    pub value: Option<f64>,
    /// What it should be; `None`: it is only told.
    pub goal: Option<Goal>,
    /// What it was made of, in words.
    pub basis: String,
}

impl Figure {
    /// Of these rounds; those that could not tell are left out.
    pub(super) fn new(id: &'static str, what: impl Into<String>, rounds: &[Option<f64>]) -> Self {
        let rounds: Vec<f64> =
            rounds.iter().copied().flatten().filter(|of| of.is_finite()).collect();
        let value = median(&rounds);
        Self { id, what: what.into(), rounds, value, goal: None, basis: String::new() }
    }

    pub(super) fn at_least(mut self, goal: f64) -> Self {
        self.goal = Some(Goal::AtLeast(goal));
        self
    }

    pub(super) fn at_most(mut self, goal: f64) -> Self {
        self.goal = Some(Goal::AtMost(goal));
        self
    }

    pub(super) fn of(mut self, basis: impl Into<String>) -> Self {
        self.basis = basis.into();
        self
    }

    /// Whether it is as it should be; `None` where nothing is asked for, or nothing is known.
    pub fn is_met(&self) -> Option<bool> {
        Some(match (self.goal?, self.value?) {
            (Goal::AtLeast(goal), value) => value >= goal,
            (Goal::AtMost(goal), value) => value <= goal,
        })
    }
}

/// The value at `quantile` of these, from 10 / (1 − quantile) samples on.
pub(super) fn quantile(samples: &mut [u64], quantile: f64) -> Option<f64> {
    let beyond = (samples.len() as f64 * (1.0 - quantile)).round();
    if beyond < 10.0 {
        return None;
    }
    let index = ((samples.len() - 1) as f64 * quantile).round() as usize;
    let (_, value, _) = samples.select_nth_unstable(index);
    Some(*value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_or_not_or_unknown() {
        let figure = Figure::new("G", "a ratio", &[Some(1.0), None, Some(3.0), Some(2.0)]);
        assert_eq!((figure.value, figure.is_met()), (Some(2.0), None));
        assert_eq!(figure.clone().at_least(2.0).is_met(), Some(true));
        assert_eq!(figure.clone().at_least(2.1).is_met(), Some(false));
        assert_eq!(figure.clone().at_most(2.0).is_met(), Some(true));
        assert_eq!(figure.at_most(1.9).is_met(), Some(false));
        assert_eq!(
            Figure::new("G", "nothing", &[None, Some(f64::NAN)]).at_most(1.0).is_met(),
            None
        );
    }

    #[test]
    fn a_quantile_needs_ten_samples_beyond_it() {
        let mut samples: Vec<u64> = (0..1_000).rev().collect();
        assert_eq!(quantile(&mut samples, 0.99), Some(989.0));
        assert_eq!(quantile(&mut samples, 0.5), Some(500.0));
        assert_eq!(quantile(&mut samples[..900], 0.99), None);
        assert_eq!(quantile(&mut [], 0.5), None);
    }
}
