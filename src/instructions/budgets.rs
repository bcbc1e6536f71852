//! The committed budgets: their file, and what counts are held against it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::nearest::did_you_mean;

/// Where they are, from the root of the repository.
pub(super) const FILE: &str = ".ci/instructions.budgets";

/// How far a budget lies above what was counted, percent. Counts differ from run to run by 0.2 at most, where two threads wait for each other;
/// what is left is for another C library or another order of the same code.
const SPARE_PERCENT: u64 = 3;
/// A count this far below its budget, percent, calls for a lower one.
const GENEROUS_PERCENT: u64 = 15;

const HEAD: &str = "\
# What an operation may cost in instructions, in the optimised build on x86-64: what was counted and 3 percent.
# `make instructions` counts anew and writes this file.
";

/// What was counted.
pub(super) struct Count {
    /// Of which operation.
    pub name: &'static str,
    /// Of one time that it is done.
    pub instructions: u64,
}

/// Instructions that operations may cost, by name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Budgets(BTreeMap<String, u64>);

/// What counts are to their budgets; each line is for whoever reads it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    /// Nothing may land with these.
    pub failures: Vec<String>,
    /// These would let a change pass that takes back what was won.
    pub too_generous: Vec<String>,
}

impl Budgets {
    /// Reads lines of `name<=instructions`; empty ones and those after `#` say nothing. The error names the line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut budgets = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| format!("{FILE}, line {}: {what}: {line}", at + 1);
            let (name, limit) =
                line.split_once("<=").ok_or_else(|| wrong("not `name<=instructions`"))?;
            let limit = limit.trim().parse().ok().filter(|&limit: &u64| limit > 0);
            let limit = limit.ok_or_else(|| wrong("not a number of instructions above 0"))?;
            if budgets.insert(name.trim().to_owned(), limit).is_some() {
                return Err(wrong("a second budget of one operation"));
            }
        }
        Ok(Self(budgets))
    }

    /// The file that these counts would have.
    pub(super) fn text_for(counts: &[Count]) -> String {
        let mut text = HEAD.to_owned();
        for Count { name, instructions } in counts {
            let budget = (instructions * (100 + SPARE_PERCENT)).div_ceil(100);
            let _ = writeln!(text, "{name}<={budget}");
        }
        text
    }

    /// Every operation has a budget, every budget an operation.
    pub(super) fn judge(&self, counts: &[Count]) -> Judged {
        let mut judged = Judged::default();
        for &Count { name, instructions } in counts {
            let Some(&budget) = self.0.get(name) else {
                judged.failures.push(format!(
                    "{name}: {instructions} instructions, and no budget in {FILE}; `make instructions` writes it"
                ));
                continue;
            };
            let permille = instructions * 1_000 / budget;
            let is_to = format!(
                "{name}: {instructions} instructions, {}.{} % of its budget of {budget}",
                permille / 10,
                permille % 10
            );
            if instructions > budget {
                judged.failures.push(format!(
                    "{is_to}; make it cheaper, or `make instructions` writes {FILE} anew, and the change says why"
                ));
            } else if instructions * 100 < budget * (100 - GENEROUS_PERCENT) {
                judged.too_generous.push(format!(
                    "{is_to}; lower the budget: `make instructions` writes {FILE} anew"
                ));
            }
        }
        let is_known = |name: &str| counts.iter().any(|count| count.name == name);
        for name in self.0.keys().filter(|name| !is_known(name)) {
            let meant = did_you_mean(name, counts.iter().map(|count| count.name));
            judged.failures.push(format!("{FILE}: there is no operation {name}{meant}"));
        }
        judged
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn counts(of: &[(&'static str, u64)]) -> Vec<Count> {
        let count = |&(name, instructions)| Count { name, instructions };
        of.iter().map(count).collect()
    }

    #[test]
    fn what_is_written_is_what_is_held() {
        let counted = counts(&[("parse.send", 1_000), ("fan_out.1", 333)]);
        let text = Budgets::text_for(&counted);
        assert!(text.ends_with("\nparse.send<=1030\nfan_out.1<=343\n"), "{text}");
        assert_eq!(Budgets::parse(&text).unwrap().judge(&counted), Judged::default());
    }

    #[test]
    fn a_count_is_held_at_its_budget_and_not_one_above() {
        let budgets = Budgets::parse("a<=100\nb<=100\nc<=100\nd<=100").unwrap();
        let judged = budgets.judge(&counts(&[("a", 100), ("b", 101), ("c", 85), ("d", 84)]));
        let [failure] = &judged.failures[..] else { panic!("{judged:?}") };
        assert!(
            failure.starts_with("b: 101 instructions, 101.0 % of its budget of 100; "),
            "{failure}"
        );
        assert!(failure.contains("make instructions"), "{failure}");
        let [generous] = &judged.too_generous[..] else { panic!("{judged:?}") };
        assert!(generous.starts_with("d: 84 ") && generous.contains("lower"), "{generous}");
    }

    #[test]
    fn nothing_is_without_a_budget_and_no_budget_without_an_operation() {
        let budgets = Budgets::parse("parse.sent<=100").unwrap();
        let judged = budgets.judge(&counts(&[("parse.send", 1)]));
        assert_eq!(
            judged.failures,
            [
                "parse.send: 1 instructions, and no budget in .ci/instructions.budgets; `make instructions` writes it",
                ".ci/instructions.budgets: there is no operation parse.sent; did you mean parse.send?"
            ]
        );
    }

    #[rstest]
    #[case::no_limit("a", "line 1: not `name<=instructions`: a")]
    #[case::other("# x\n\na<5", "line 3: not `name<=instructions`: a<5")]
    #[case::no_number("a<=5k", "line 1: not a number of instructions above 0: a<=5k")]
    #[case::zero("a<=0", "line 1: not a number of instructions above 0: a<=0")]
    #[case::twice("a<=5\n a <= 6", "line 2: a second budget of one operation: a <= 6")]
    fn a_wrong_line_is_named(#[case] text: &str, #[case] expected: &str) {
        let error = Budgets::parse(text).unwrap_err();
        assert_eq!(error, format!(".ci/instructions.budgets, {expected}"));
    }
}
