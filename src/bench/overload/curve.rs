//! From seconds to a curve, and whether it is as it should be: pure functions.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::super::recorder::{add, new_histogram};

/// Of the peak, what must get done under any overload.
pub const GOODPUT_MIN: f64 = 0.9;

/// From here on a step is overload.
pub const OVERLOAD_FROM: f64 = 1.5;

/// It must be as before within this.
pub const RECOVERY_MAX: Duration = Duration::from_secs(5);

/// As before: p99 no more than so many times what it was …
const CALM_RATIO: f64 = 2.0;

/// … or so much above it.
const CALM_SLACK: Duration = Duration::from_millis(20);

/// What is offered for some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Of the capacity.
    pub multiple: f64,
    /// Messages a second.
    pub offered_per_s: f64,
    /// Whole seconds.
    pub length: Duration,
}

/// What was answered `ok` in a second, and how long that took from each message's sending, ns; `None`: nothing.
#[derive(Debug, Clone, Default)]
pub struct Second {
    /// The times.
    pub times: Option<Histogram<u64>>,
}

/// What came of a step. Its first second, in which the one before it ends, does not count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Of the capacity.
    pub multiple: f64,
    /// Messages a second that were due.
    pub offered_per_s: f64,
    /// Messages a second that were stored and answered.
    pub goodput_per_s: f64,
    /// From sending to answer, of those, ms.
    pub p50_ms: f64,
    /// The same, p99.
    pub p99_ms: f64,
}

/// The whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// Messages a second in a closed loop.
    pub capacity_per_s: f64,
    /// The most that got done in any step: a closed loop comes in other portions, and is no measure for an open one.
    pub peak_per_s: f64,
    /// In the order of the steps; the first and the last are the calm before and after.
    pub points: Vec<Point>,
    /// Seconds after the last overload until everything was as in the calm before; `None`: it never was.
    pub recovery_s: Option<u64>,
    /// What is not as it should be; empty: all is.
    pub failures: Vec<String>,
}

impl Curve {
    /// Of all that was answered, second by second from the begin of the first step.
    pub fn of(capacity_per_s: f64, steps: &[Step], seconds: &[Second], p99_max: Duration) -> Self {
        let mut points = Vec::new();
        let mut begin = 0;
        for step in steps {
            let end = begin + step.length.as_secs() as usize;
            points.push(Point::of(step, part(seconds, begin + 1, end)));
            begin = end;
        }
        let calm = |point: &Point| point.multiple < OVERLOAD_FROM;
        let peak_per_s = points.iter().map(|point| point.goodput_per_s).fold(0.0, f64::max);
        let recovery_s = recovery(steps, &points, seconds);
        let mut failures = Vec::new();
        for point in points.iter().filter(|point| !calm(point)) {
            let Point { multiple, goodput_per_s, p99_ms, .. } = point;
            if *goodput_per_s < GOODPUT_MIN * peak_per_s {
                failures.push(format!(
                    "at {multiple} × capacity {goodput_per_s:.0}/s got done, {:.2} of the peak; {GOODPUT_MIN} are asked for",
                    goodput_per_s / peak_per_s
                ));
            }
            if *p99_ms > p99_max.as_secs_f64() * 1e3 {
                failures.push(format!(
                    "at {multiple} × capacity p99 of what was accepted is {p99_ms:.0} ms; {p99_max:?} are allowed"
                ));
            }
        }
        match recovery_s {
            Some(s) if s <= RECOVERY_MAX.as_secs() => {}
            Some(s) => failures.push(format!("it was as before only {s} s after the overload")),
            None => failures.push("it was never again as before the overload".to_owned()),
        }
        Self { capacity_per_s, peak_per_s, points, recovery_s, failures }
    }
}

impl Point {
    fn of(step: &Step, seconds: &[Second]) -> Self {
        let mut all = new_histogram();
        seconds
            .iter()
            .filter_map(|second| second.times.as_ref())
            .for_each(|one| add(&mut all, one));
        let ms = |quantile| all.value_at_quantile(quantile) as f64 / 1e6;
        let goodput_per_s = all.len() as f64 / (seconds.len().max(1)) as f64;
        let Step { multiple, offered_per_s, .. } = *step;
        Self { multiple, offered_per_s, goodput_per_s, p50_ms: ms(0.5), p99_ms: ms(0.99) }
    }
}

fn part(seconds: &[Second], begin: usize, end: usize) -> &[Second] {
    let end = end.min(seconds.len());
    seconds.get(begin.min(end)..end).unwrap_or_default()
}

/// From the end of the last overload to the first second from which on all is as in the calm before.
fn recovery(steps: &[Step], points: &[Point], seconds: &[Second]) -> Option<u64> {
    let (before, after) = (points.first()?, steps.last()?);
    let whole: u64 = steps.iter().map(|step| step.length.as_secs()).sum();
    let begin = (whole - after.length.as_secs()) as usize;
    let bound_ms = (before.p99_ms * CALM_RATIO).max(before.p99_ms + CALM_SLACK.as_secs_f64() * 1e3);
    let is_calm = |second: &Second| {
        let times = second.times.as_ref()?;
        let p99_ms = times.value_at_quantile(0.99) as f64 / 1e6;
        let done = times.len() as f64 >= GOODPUT_MIN * after.offered_per_s;
        (done && p99_ms <= bound_ms).then_some(())
    };
    // What never came is not calm, either.
    let missing = Second::default();
    let of = |index: usize| seconds.get(index).unwrap_or(&missing);
    let last_bad = (begin..whole as usize).rev().find(|&index| is_calm(of(index)).is_none());
    match last_bad {
        None => Some(0),
        Some(last) if last + 1 < whole as usize => Some((last + 1 - begin) as u64),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(4);

    fn steps() -> Vec<Step> {
        let step = |multiple| Step { multiple, offered_per_s: 100.0 * multiple, length: STEP };
        [0.5, 1.0, 3.0, 0.5].map(step).to_vec()
    }

    fn second(count: u64, ms: u64) -> Second {
        let mut times = new_histogram();
        times.record_n(ms * 1_000_000, count).unwrap();
        Second { times: Some(times) }
    }

    /// 50 in the calm, 100 at capacity; then what is given.
    fn curve(overloaded: Second, after: [Second; 4]) -> Curve {
        let mut seconds = vec![second(50, 10); 4];
        seconds.extend(vec![second(100, 20); 4]);
        seconds.extend(vec![overloaded; 4]);
        seconds.extend(after);
        Curve::of(100.0, &steps(), &seconds, Duration::from_secs(1))
    }

    #[test]
    fn a_server_that_bears_it_passes() {
        let calm = || second(50, 10);
        let curve = curve(second(95, 400), [second(50, 300), calm(), calm(), calm()]);
        assert_eq!(curve.failures, Vec::<String>::new());
        assert_eq!((curve.peak_per_s, curve.recovery_s), (100.0, Some(1)));
        let point = curve.points[2];
        assert_eq!((point.goodput_per_s, point.offered_per_s), (95.0, 300.0));
        assert!((395.0..405.0).contains(&point.p99_ms), "{point:?}");
    }

    #[test]
    fn each_way_to_fail_is_told() {
        let calm = || second(50, 10);
        let all_calm = || [calm(), calm(), calm(), calm()];
        let failures = |curve: Curve| curve.failures.join("; ");
        let slow = failures(curve(second(95, 1_500), all_calm()));
        assert!(slow.contains("p99 of what was accepted is 15"), "{slow}");
        let broken = failures(curve(second(60, 400), all_calm()));
        assert!(broken.contains("60/s got done, 0.60 of the peak"), "{broken}");
        let never = failures(curve(second(95, 400), [calm(), calm(), calm(), second(50, 300)]));
        assert!(never.contains("never again"), "{never}");
        let dead = failures(curve(second(95, 400), [calm(), calm(), calm(), Second::default()]));
        assert!(dead.contains("never again"), "{dead}");
        let nothing = failures(curve(Second::default(), all_calm()));
        assert!(nothing.contains("0/s got done"), "{nothing}");
    }

    #[test]
    fn one_more_second_than_may_be_is_too_many() {
        let long = |bad: u64| {
            let step = Step { length: Duration::from_secs(8), multiple: 0.5, offered_per_s: 50.0 };
            let steps = [step, Step { multiple: 2.0, offered_per_s: 200.0, ..step }, step];
            let mut seconds = vec![second(50, 10); 8];
            seconds.extend(vec![second(100, 100); 8]);
            seconds.extend((0..8).map(|s| if s < bad { second(50, 300) } else { second(50, 10) }));
            Curve::of(100.0, &steps, &seconds, Duration::from_secs(1))
        };
        assert!(long(5).failures.is_empty());
        assert_eq!(long(6).failures, ["it was as before only 6 s after the overload"]);
    }
}
