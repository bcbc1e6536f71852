//! What an estimate says. All of it on one scale, the *cost* of B in units of A: above 1 is worse, whatever the metric.

use serde::{Deserialize, Serialize};

use super::bootstrap::Estimate;

/// What a comparison says about B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It costs more than A, by more than the minimum effect.
    Slower,
    /// It costs less than A, by more than the minimum effect.
    Faster,
    /// Whatever the difference is, it is below the minimum effect.
    Same,
    /// It cannot be told.
    Inconclusive,
}

impl Verdict {
    /// The verdict on a cost. A difference counts when the whole interval is on one side of 1 *and* the median is beyond
    /// the minimum effect; there is none when the whole interval is within it.
    pub fn of(cost: Estimate, effect_min: f64) -> Self {
        let (least, most) = (1.0 / (1.0 + effect_min), 1.0 + effect_min);
        if cost.low > 1.0 && cost.median > most {
            Self::Slower
        } else if cost.high < 1.0 && cost.median < least {
            Self::Faster
        } else if least <= cost.low && cost.high <= most {
            Self::Same
        } else {
            Self::Inconclusive
        }
    }

    /// Whether a growth is within a limit: only worse counts. `Same` is within it for sure, `Slower` beyond it.
    pub fn of_growth(growth: Estimate, growth_max: f64) -> Self {
        let most = 1.0 + growth_max;
        if growth.low > 1.0 && growth.median > most {
            Self::Slower
        } else if growth.high <= most {
            Self::Same
        } else {
            Self::Inconclusive
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Slower => "slower",
            Self::Faster => "faster",
            Self::Same => "same",
            Self::Inconclusive => "inconclusive",
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn cost((low, median, high): (f64, f64, f64)) -> Estimate {
        Estimate { median, low, high, level: 0.95 }
    }

    #[rstest]
    #[case::clear((1.07, 1.1, 1.12), Verdict::Slower, Verdict::Slower)]
    #[case::barely((1.001, 1.06, 1.12), Verdict::Slower, Verdict::Slower)]
    #[case::not_sure((0.999, 1.06, 1.12), Verdict::Inconclusive, Verdict::Inconclusive)]
    #[case::sure_and_small((1.01, 1.03, 1.06), Verdict::Inconclusive, Verdict::Inconclusive)]
    #[case::nothing((0.97, 1.0, 1.03), Verdict::Same, Verdict::Same)]
    #[case::sure_and_within((1.01, 1.02, 1.03), Verdict::Same, Verdict::Same)]
    #[case::wide((0.9, 1.0, 1.1), Verdict::Inconclusive, Verdict::Inconclusive)]
    #[case::less((0.8, 0.9, 0.95), Verdict::Faster, Verdict::Same)]
    #[case::less_and_not_sure((0.8, 0.9, 1.0), Verdict::Inconclusive, Verdict::Same)]
    #[case::nonsense((f64::NAN, f64::NAN, f64::NAN), Verdict::Inconclusive, Verdict::Inconclusive)]
    fn a_difference_needs_certainty_and_size(
        #[case] of: (f64, f64, f64),
        #[case] verdict: Verdict,
        #[case] of_growth: Verdict,
    ) {
        assert_eq!(Verdict::of(cost(of), 0.05), verdict);
        assert_eq!(Verdict::of_growth(cost(of), 0.05), of_growth);
    }

    #[test]
    fn which_is_a_and_which_is_b_changes_the_name_only() {
        let slower = cost((1.02, 1.1, 1.2));
        assert_eq!(Verdict::of(slower, 0.05), Verdict::Slower);
        assert_eq!(Verdict::of(slower.inverse(), 0.05), Verdict::Faster);
    }
}
