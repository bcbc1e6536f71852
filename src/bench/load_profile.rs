//! What load an open loop makes: how many messages a second, when, and how evenly.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use serde::Serialize;

/// The highest rate that may be asked for, messages a second.
const RATE_MAX: f64 = 1e6;

/// How the intended times of an open loop lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// At equal distances.
    Constant,
    /// As independent people would: the distances are exponential.
    Poisson,
}

/// A part of a profile, in which the rate goes evenly from one value to another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RateStage {
    /// Messages a second at its begin.
    pub from_per_s: f64,
    /// Messages a second at its end.
    pub to_per_s: f64,
    /// How long it is; `None`: as long as the run.
    pub duration: Option<Duration>,
}

/// What is intended: stages, one after the other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadProfile {
    stages: Vec<RateStage>,
}

impl LoadProfile {
    /// One rate for some time.
    pub fn constant(per_s: f64, duration: Duration) -> Self {
        let duration = Some(duration);
        Self { stages: vec![RateStage { from_per_s: per_s, to_per_s: per_s, duration }] }
    }

    /// Several rates, each for some time.
    pub fn steps(steps: impl IntoIterator<Item = (f64, Duration)>) -> Self {
        let stage = |(per_s, duration)| RateStage {
            from_per_s: per_s,
            to_per_s: per_s,
            duration: Some(duration),
        };
        Self { stages: steps.into_iter().map(stage).collect() }
    }

    /// The mean rate of the first stage, which is what to warm up with.
    pub fn first_per_s(&self) -> f64 {
        self.stages.first().map_or(0.0, |stage| (stage.from_per_s + stage.to_per_s) / 2.0)
    }

    /// Stages without a duration of their own share what is left of `whole`.
    pub fn within(mut self, whole: Duration) -> Result<Self, String> {
        let open = self.stages.iter().filter(|stage| stage.duration.is_none()).count();
        if open > 0 {
            let fixed: Duration = self.stages.iter().filter_map(|stage| stage.duration).sum();
            let left = whole.saturating_sub(fixed);
            if left.is_zero() {
                return Err("its stages leave no time for the one without a duration".to_owned());
            }
            let share = left / u32::try_from(open).unwrap_or(u32::MAX);
            for stage in &mut self.stages {
                stage.duration.get_or_insert(share);
            }
        }
        Ok(self)
    }

    /// The sum of its stages.
    pub fn duration(&self) -> Duration {
        self.stages.iter().filter_map(|stage| stage.duration).sum()
    }

    /// When each message is meant to be sent, since the begin, in order.
    pub fn times(&self, arrivals: Arrivals, random: SmallRng) -> IntendedTimes<'_> {
        IntendedTimes { profile: self, arrivals, random, due: 0.0 }
    }

    /// When so many messages are due, s; `None`: never.
    fn time_of(&self, mut due: f64) -> Option<f64> {
        let mut begun_s = 0.0;
        for stage in &self.stages {
            let duration_s = stage.duration.unwrap_or_default().as_secs_f64();
            let all = duration_s * (stage.from_per_s + stage.to_per_s) / 2.0;
            if due < all {
                return Some(begun_s + stage.time_of(due, duration_s));
            }
            due -= all;
            begun_s += duration_s;
        }
        None
    }
}

impl RateStage {
    /// When so many are due, s since its begin: due = from·t + slope·t²/2.
    fn time_of(&self, due: f64, duration_s: f64) -> f64 {
        let slope = (self.to_per_s - self.from_per_s) / duration_s;
        // The form that does not divide by a slope of nothing.
        let root = (self.from_per_s * self.from_per_s + 2.0 * slope * due).max(0.0).sqrt();
        let divisor = self.from_per_s + root;
        if divisor > 0.0 { 2.0 * due / divisor } else { 0.0 }
    }
}

/// As it is written.
impl fmt::Display for LoadProfile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, stage) in self.stages.iter().enumerate() {
            let RateStage { from_per_s, to_per_s, duration } = stage;
            write!(formatter, "{}{from_per_s}", if number > 0 { "," } else { "" })?;
            if from_per_s != to_per_s {
                write!(formatter, "..{to_per_s}")?;
            }
            if let Some(duration) = duration {
                write!(formatter, "@{duration:?}")?;
            }
        }
        Ok(())
    }
}

/// `2000`, `500..4000`, `500@10s,500..4000@20s,4000`: messages a second, with a duration after `@`.
impl FromStr for LoadProfile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let stages = text.split(',').map(stage).collect::<Result<Vec<_>, _>>()?;
        if stages.iter().all(|stage| stage.from_per_s + stage.to_per_s == 0.0) {
            return Err("a rate of nothing is no load: give messages a second, like 2000".into());
        }
        Ok(Self { stages })
    }
}

fn stage(text: &str) -> Result<RateStage, String> {
    let (rates, duration) = match text.split_once('@') {
        Some((rates, duration)) => (rates, Some(crate::harness::duration::parse(duration)?)),
        None => (text, None),
    };
    if duration.is_some_and(|duration| duration.is_zero()) {
        return Err(format!("{text:?}: a stage takes some time"));
    }
    let (from, to) = rates.split_once("..").unwrap_or((rates, rates));
    let rate = |text: &str| match text.trim().parse::<f64>() {
        Ok(rate) if (0.0..=RATE_MAX).contains(&rate) => Ok(rate),
        _ => Err(format!(
            "{text:?} is no rate: give messages a second, like 2000, a ramp 500..4000, or stages 500@10s,500..4000@20s"
        )),
    };
    Ok(RateStage { from_per_s: rate(from)?, to_per_s: rate(to)?, duration })
}

/// See [`LoadProfile::times`].
#[derive(Debug)]
pub struct IntendedTimes<'a> {
    profile: &'a LoadProfile,
    arrivals: Arrivals,
    random: SmallRng,
    due: f64,
}

impl Iterator for IntendedTimes<'_> {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let time = self.profile.time_of(self.due)?;
        self.due += match self.arrivals {
            Arrivals::Constant => 1.0,
            // The distance to the next of a process of rate one.
            Arrivals::Poisson => -f64::ln(1.0 - self.random.random::<f64>()),
        };
        Some(Duration::from_secs_f64(time))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rstest::rstest;

    use super::*;

    fn times(text: &str, whole_s: u64, arrivals: Arrivals) -> Vec<f64> {
        let profile: LoadProfile = text.parse().unwrap();
        let profile = profile.within(Duration::from_secs(whole_s)).unwrap();
        let times = profile.times(arrivals, SmallRng::seed_from_u64(1));
        times.map(|time| time.as_secs_f64()).collect()
    }

    #[test]
    fn a_constant_rate_has_equal_distances() {
        let times = times("100", 2, Arrivals::Constant);
        assert_eq!(times.len(), 200);
        assert!((0..200).all(|n| (times[n] - n as f64 / 100.0).abs() < 1e-6));
    }

    #[rstest]
    #[case("0..200", 10, 1_000)]
    #[case("200..0", 10, 1_000)]
    #[case("100@2s,100..300@4s,300", 10, 200 + 800 + 1_200)]
    fn a_ramp_has_as_many_as_its_area(
        #[case] text: &str,
        #[case] whole_s: u64,
        #[case] count: usize,
    ) {
        let times = times(text, whole_s, Arrivals::Constant);
        assert!(times.len().abs_diff(count) <= 1, "{}", times.len());
        assert!(times.is_sorted() && times.iter().all(|&time| time < whole_s as f64));
        // Half of what is due at half of the time of an even ramp is a quarter, or three.
        let early = times.iter().filter(|&&time| time < whole_s as f64 / 2.0).count();
        match text {
            "0..200" => assert!(early.abs_diff(250) <= 1, "{early}"),
            "200..0" => assert!(early.abs_diff(750) <= 1, "{early}"),
            _ => assert!(early.abs_diff(200 + 525) <= 1, "{early}"),
        }
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread() {
        let times = times("1000", 20, Arrivals::Poisson);
        assert!(times.len().abs_diff(20_000) < 600, "{}", times.len());
        let gaps: Vec<_> = times.windows(2).map(|two| two[1] - two[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "exponential: deviation = mean");
    }

    #[rstest]
    #[case("")]
    #[case("fast")]
    #[case("-1")]
    #[case("0")]
    #[case("NaN")]
    #[case("1e7")]
    #[case("100@")]
    #[case("100@0s")]
    #[case("100@5")]
    #[case("100..")]
    #[case("100,,100")]
    fn what_is_no_rate_is_said(#[case] text: &str) {
        assert!(text.parse::<LoadProfile>().is_err(), "{text}");
    }

    #[test]
    fn stages_must_leave_time_for_the_open_one() {
        let profile: LoadProfile = "100@10s,200".parse().unwrap();
        assert!(profile.clone().within(Duration::from_secs(10)).is_err());
        let whole = profile.within(Duration::from_secs(15)).unwrap();
        assert_eq!(whole.duration(), Duration::from_secs(15));
        assert_eq!(whole.to_string(), "100@10s,200@5s");
    }
}
