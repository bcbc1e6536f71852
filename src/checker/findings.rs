//! Collects what was found, bounded: the first cases whole, the rest as a number.

use std::collections::{BTreeMap, BTreeSet};

use super::anomaly::Anomaly;
use crate::checker::verdict::{Broken, Example, ExcerptLine};

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

    /// Takes in what was found elsewhere, after what is here.
    pub fn merge(&mut self, other: Self) {
        for (name, (more, others)) in other.found {
            let (count, cases) = self.found.entry(name).or_default();
            *count += more;
            let room = EXAMPLES_MAX.saturating_sub(cases.len());
            cases.extend(others.into_iter().take(room));
        }
    }

    /// The lines that prove what was found.
    pub fn lines(&self) -> BTreeSet<u64> {
        let cases = self.found.values().flat_map(|(_, cases)| cases);
        cases.flat_map(|case| case.lines.iter().copied()).collect()
    }

    /// The report's form; `line` knows the text of a line.
    pub fn into_broken(self, line: impl Fn(u64) -> Option<String>) -> Vec<Broken> {
        let excerpt = |&index: &u64| {
            let text = line(index)?;
            let short = match text.char_indices().nth(TEXT_MAX) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            };
            Some(ExcerptLine { index, text: short })
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
