//! Collects what was found, bounded: the first cases whole, the rest as a number.

use std::collections::BTreeMap;

use super::anomaly::Anomaly;
use crate::checker::verdict::{Broken, Example, ExcerptLine};
use crate::history::Event;

/// Cases of one name that are kept whole.
const EXAMPLES_MAX: usize = 5;
/// Lines of one case.
const LINES_MAX: usize = 6;
/// Characters of one line.
const TEXT_MAX: usize = 400;

#[derive(Debug)]
struct Case {
    conv: String,
    what: String,
    lines: Vec<u64>,
}

/// What was found so far.
#[derive(Debug, Default)]
pub struct Findings {
    found: BTreeMap<Anomaly, (u64, Vec<Case>)>,
}

impl Findings {
    /// Adds a case; `what` is made only when it is kept. `lines` prove it.
    pub fn add(&mut self, name: Anomaly, conv: &str, lines: &[u64], what: impl FnOnce() -> String) {
        let (count, cases) = self.found.entry(name).or_default();
        *count += 1;
        if cases.len() < EXAMPLES_MAX {
            let mut lines = lines.to_vec();
            lines.sort_unstable();
            lines.dedup();
            lines.truncate(LINES_MAX);
            cases.push(Case { conv: conv.to_owned(), what: what(), lines });
        }
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The report's form, with the lines of the history.
    pub fn into_broken(self, events: &[Event]) -> Vec<Broken> {
        let excerpt = |index: &u64| {
            let event = events.get(usize::try_from(*index).ok()?)?;
            let text = serde_json::to_string(event).ok()?;
            let short = match text.char_indices().nth(TEXT_MAX) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            };
            Some(ExcerptLine { index: *index, text: short })
        };
        let example = |case: Case| Example {
            lines: case.lines.iter().filter_map(excerpt).collect(),
            conv: case.conv,
            what: case.what,
        };
        let broken = |(name, (count, cases)): (Anomaly, (u64, Vec<Case>))| Broken {
            name,
            count,
            examples: cases.into_iter().map(example).collect(),
        };
        self.found.into_iter().map(broken).collect()
    }
}
