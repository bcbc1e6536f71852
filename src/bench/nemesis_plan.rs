//! What is broken while a bench measures, and where the report shows it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use super::error::BenchError;
use super::report::Mark;
use crate::history::{NemesisPhase, Seen};
use crate::nemesis::{Act, Kind, Shape, schedule};

/// What `--nemesis`, `--every` and `--seed` ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NemesisPlan {
    /// What may be done.
    #[serde(serialize_with = "names")]
    pub kinds: Vec<Kind>,
    /// One thing is broken in each such time, ms.
    pub every_ms: u64,
    /// Decides what, whom, when and for how long.
    pub seed: u64,
}

impl NemesisPlan {
    /// Refuses one that would break nothing in the `total` that counts; the text names the flag.
    pub fn check(&self, total: Duration) -> Result<(), String> {
        let total_ms = total.as_millis();
        match u128::from(self.every_ms) > total_ms || self.every_ms == 0 {
            true => Err(format!(
                "--every {} ms: nothing would be broken in the {total_ms} ms that are measured",
                self.every_ms
            )),
            false => Ok(()),
        }
    }

    /// What will be done in the `total` that counts. An act that there is nothing for is wrong usage.
    pub fn acts(&self, total: Duration, shape: &Shape) -> Result<Vec<Act>, BenchError> {
        let every = Duration::from_millis(self.every_ms);
        schedule(&self.kinds, every, total, self.seed, shape).map_err(BenchError::Usage)
    }
}

fn names<S: Serializer>(kinds: &[Kind], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(kinds.iter().map(|kind| kind.name()))
}

/// The acts of a nemesis as marks of a report.
#[derive(Debug)]
pub struct ActMarks {
    begun: Instant,
    marks: Mutex<Vec<Mark>>,
}

impl ActMarks {
    /// None yet; times are counted from `begun`.
    pub fn new(begun: Instant) -> Self {
        Self { begun, marks: Mutex::default() }
    }

    /// Takes in what the nemesis says. There is one act at a time; one that nobody ended is over when everything is healed.
    pub fn take(&self, seen: &Seen) {
        let Seen::Nemesis { act, target, phase, .. } = seen else { return };
        let at_s = self.begun.elapsed().as_secs_f64();
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        match phase {
            NemesisPhase::Begins => {
                let (label, target) = (act.clone(), Some(target.clone()));
                marks.push(Mark { at_s, until_s: None, label, target });
            }
            NemesisPhase::Ends | NemesisPhase::Healed => {
                if let Some(mark) = marks.last_mut() {
                    mark.until_s.get_or_insert(at_s);
                }
            }
        }
    }

    /// Those so far.
    pub fn into_marks(self) -> Vec<Mark> {
        self.marks.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::NemesisTarget;

    fn plan(every_ms: u64) -> NemesisPlan {
        NemesisPlan { kinds: vec![Kind::Kill, Kind::Latency], every_ms, seed: 7 }
    }

    #[test]
    fn what_cannot_be_broken_or_never_would_be_is_refused() {
        let (own, total) = (Shape { nodes: 1, links: 1, services: 0 }, Duration::from_secs(10));
        assert_eq!(plan(2_000).acts(total, &own).unwrap().len(), 5);
        let given = Shape { nodes: 0, ..own };
        let error = plan(2_000).acts(total, &given).unwrap_err();
        assert!(matches!(&error, BenchError::Usage(text) if text.contains("--nemesis kill")));
        assert_eq!(plan(10_000).check(total), Ok(()));
        assert!(plan(10_001).check(total).unwrap_err().starts_with("--every 10001 ms"));
        assert!(plan(0).check(total).is_err());
        let config = serde_json::to_value(plan(5)).unwrap();
        let expected = serde_json::json!({"kinds": ["kill", "latency"], "every_ms": 5, "seed": 7});
        assert_eq!(config, expected);
    }

    #[test]
    fn an_act_is_a_mark_with_an_end_also_where_only_healing_ends_it() {
        let marks = ActMarks::new(Instant::now());
        let say = |act: &str, phase| {
            let (act, target, on) = (act.to_owned(), "node 1".to_owned(), NemesisTarget::Node);
            marks.take(&Seen::Nemesis { act, on, target, phase });
        };
        say("kill", NemesisPhase::Begins);
        say("kill", NemesisPhase::Ends);
        say("pause", NemesisPhase::Begins);
        say("heal", NemesisPhase::Healed);
        say("heal", NemesisPhase::Healed);
        let marks = marks.into_marks();
        let labels: Vec<_> = marks.iter().map(|mark| mark.label.as_str()).collect();
        assert_eq!(labels, ["kill", "pause"]);
        for mark in marks {
            assert_eq!(mark.target.as_deref(), Some("node 1"));
            assert!(mark.until_s.is_some_and(|until_s| until_s >= mark.at_s));
        }
    }
}
