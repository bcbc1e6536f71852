//! The lines around those that prove something, picked from a history as it goes by.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::verdict::{Example, Verdict};
use crate::history::{Act, Event, Seen};

/// Lines of the same conversation that are shown before and after one that proves something.
const AROUND: usize = 12;

/// What is shown of each example of a verdict. What is in memory is that, and a few lines more of each.
#[derive(Debug)]
pub struct Excerpts<'v> {
    /// In the order of the verdict.
    all: Vec<Excerpt<'v>>,
    by_conv: HashMap<&'v str, Vec<usize>>,
    by_proof: HashMap<u64, Vec<usize>>,
}

/// What is shown of one example.
#[derive(Debug)]
pub struct Excerpt<'v> {
    /// The example.
    pub example: &'v Example,
    /// The lines that prove it.
    pub proof: BTreeSet<u64>,
    /// In their order; whether lines that belong there were left out before it.
    pub shown: Vec<(bool, Event)>,
    /// The last ones that are shown if the next one proves something.
    before: VecDeque<Event>,
    /// How many more are shown in any case.
    after: usize,
    left_out: bool,
}

impl<'v> Excerpts<'v> {
    /// For the examples of `verdict`, none of whose lines has come by.
    pub fn of(verdict: &'v Verdict) -> Self {
        let examples = verdict.anomalies.iter().flat_map(|broken| &broken.examples);
        let all: Vec<Excerpt<'v>> = examples.map(Excerpt::of).collect();
        let mut by_conv: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut by_proof: HashMap<u64, Vec<usize>> = HashMap::new();
        for (at, excerpt) in all.iter().enumerate() {
            by_conv.entry(&excerpt.example.conv).or_default().push(at);
            for &line in &excerpt.proof {
                by_proof.entry(line).or_default().push(at);
            }
        }
        Self { all, by_conv, by_proof }
    }

    /// Whether a line with this index, and of this conversation, may be shown anywhere; every line [of the run](is_of_run) may.
    pub fn want(&self, index: u64, conv: Option<&str>) -> bool {
        conv.is_some_and(|conv| self.by_conv.contains_key(conv))
            || self.by_proof.contains_key(&index)
    }

    /// Takes the next line that is of the run or [wanted](Self::want), in the order of the history.
    pub fn take(&mut self, event: &Event) {
        if is_of_run(event) {
            self.all.iter_mut().for_each(|excerpt| excerpt.take(event, true));
            return;
        }
        let here = event.conv.as_deref().and_then(|conv| self.by_conv.get(conv));
        let here = here.map_or(&[][..], Vec::as_slice);
        for &at in here {
            self.all[at].take(event, true);
        }
        for at in self.by_proof.get(&event.index).into_iter().flatten() {
            if !here.contains(at) {
                self.all[*at].take(event, false);
            }
        }
    }

    /// All of them, in the order of the verdict.
    pub fn finish(self) -> Vec<Excerpt<'v>> {
        self.all
    }
}

impl<'v> Excerpt<'v> {
    fn of(example: &'v Example) -> Self {
        let proof = example.lines.iter().map(|line| line.index).collect();
        let (shown, before) = (Vec::new(), VecDeque::new());
        Self { example, proof, shown, before, after: 0, left_out: false }
    }

    /// `belongs`: it is of the conversation, or of the run.
    fn take(&mut self, event: &Event, belongs: bool) {
        if self.proof.contains(&event.index) {
            while let Some(before) = self.before.pop_front() {
                self.show(before);
            }
            self.show(event.clone());
            self.after = AROUND;
        } else if belongs && self.after > 0 {
            self.after -= 1;
            self.show(event.clone());
        } else if belongs {
            self.before.push_back(event.clone());
            if self.before.len() > AROUND {
                self.before.pop_front();
                self.left_out = true;
            }
        }
    }

    fn show(&mut self, event: Event) {
        let is_apart = std::mem::take(&mut self.left_out) && !self.shown.is_empty();
        self.shown.push((is_apart, event));
    }
}

/// Whether a line is shown in every example: what was broken, healed and counted.
pub fn is_of_run(event: &Event) -> bool {
    matches!(
        event.act,
        Act::Ok { seen: Seen::Nemesis { .. } | Seen::Unreachable { .. } | Seen::Counted { .. } }
    )
}

/// The same, by the `type` and `f` of the line.
pub fn is_said_of_run(kind: &str, function: &str) -> bool {
    kind == "ok" && matches!(function, "nemesis" | "unreachable" | "counted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::verdict::ExcerptLine;

    fn line(index: u64, conv: &str) -> Event {
        let act = Act::Ok { seen: Seen::Leave {} };
        let conv = Some(conv.to_owned());
        Event {
            index,
            time_ns: index,
            process: 1,
            session: None,
            node: None,
            user: None,
            conv,
            act,
        }
    }

    /// The indices that are shown, a gap as `None`.
    fn shown(proof: &[u64], of_other: &[u64]) -> Vec<Option<u64>> {
        let lines = proof.iter().map(|&index| ExcerptLine { index, text: String::new() }).collect();
        let example = Example { conv: "C".to_owned(), what: String::new(), lines };
        let mut excerpt = Excerpt::of(&example);
        for index in 0..100 {
            let belongs = !of_other.contains(&index);
            excerpt.take(&line(index, if belongs { "C" } else { "D" }), belongs);
        }
        let shown = excerpt.shown.into_iter();
        shown
            .flat_map(|(apart, event)| [apart.then_some(None), Some(Some(event.index))])
            .flatten()
            .collect()
    }

    fn range(from: u64, to: u64) -> impl Iterator<Item = Option<u64>> {
        (from..=to).map(Some)
    }

    #[test]
    fn lines_around_are_shown_and_gaps_are_marked() {
        assert_eq!(shown(&[50], &[]), range(38, 62).collect::<Vec<_>>());
        assert_eq!(shown(&[3], &[]), range(0, 15).collect::<Vec<_>>());
        let two: Vec<_> = range(8, 32).chain([None]).chain(range(58, 82)).collect();
        assert_eq!(shown(&[20, 70], &[]), two);
        assert_eq!(shown(&[20, 45], &[]), range(8, 57).collect::<Vec<_>>(), "they touch");
        // What is of another conversation is shown only where it proves something.
        let other: Vec<_> = range(37, 50).chain(range(52, 62)).collect();
        assert_eq!(shown(&[49, 62], &[51, 62])[..other.len()], other);
    }
}
