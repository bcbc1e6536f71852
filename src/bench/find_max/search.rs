//! Which rate to try next.

/// A rate that holds and one that does not are told apart down to this ratio.
const PRECISION: f64 = 1.05;

/// Beyond these nothing is searched, messages a second.
const RATES: std::ops::RangeInclusive<f64> = 1.0..=1e6;

/// What is known so far.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    next: f64,
    /// The highest rate that held.
    holds: Option<f64>,
    /// The lowest one that did not.
    fails: Option<f64>,
}

impl Search {
    /// Nothing is known; `from` is tried first.
    pub fn from(from: f64) -> Self {
        Self { next: from, holds: None, fails: None }
    }

    /// The rate to try; `None`: it is found, or there is none.
    pub fn next(&self) -> Option<f64> {
        let is_found = match (self.holds, self.fails) {
            (Some(holds), Some(fails)) => fails / holds <= PRECISION,
            _ => false,
        };
        // Whole rates: there may be none between two.
        let is_known = [self.holds, self.fails].contains(&Some(self.next));
        (!is_found && !is_known && RATES.contains(&self.next)).then_some(self.next)
    }

    /// Whether `rate` held. Doubles or halves until both kinds are known, then goes to the (geometric) middle.
    pub fn tell(&mut self, rate: f64, held: bool) {
        if held {
            self.holds = Some(self.holds.map_or(rate, |holds| holds.max(rate)));
        } else {
            self.fails = Some(self.fails.map_or(rate, |fails| fails.min(rate)));
        }
        self.next = match (self.holds, self.fails) {
            (Some(holds), Some(fails)) => (holds * fails).sqrt(),
            (Some(holds), None) => holds * 2.0,
            (None, Some(fails)) => (fails / 2.0).floor(),
            (None, None) => self.next,
        }
        .round();
    }

    /// The highest rate that held.
    pub fn best(&self) -> Option<f64> {
        self.holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(from: f64, limit: f64) -> (Option<f64>, usize) {
        let mut search = Search::from(from);
        let mut tries = 0;
        while let Some(rate) = search.next() {
            search.tell(rate, rate <= limit);
            tries += 1;
        }
        (search.best(), tries)
    }

    #[test]
    fn the_highest_rate_is_found_from_below_and_from_above() {
        for from in [100.0, 1_000.0, 50_000.0] {
            let (best, tries) = search(from, 7_300.0);
            let best = best.unwrap();
            assert!((7_300.0 / PRECISION..=7_300.0).contains(&best), "{best}");
            assert!(tries <= 14, "{tries} from {from}");
        }
    }

    #[test]
    fn it_ends_where_there_is_none_and_where_all_hold() {
        assert_eq!(search(500.0, 0.0).0, None);
        assert_eq!(search(500.0, 1.0).0, Some(1.0));
        let (best, _) = search(500.0, f64::INFINITY);
        assert!(best.unwrap() >= 500_000.0);
    }
}
