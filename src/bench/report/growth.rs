//! How operations change with a size: what a curve is drawn of.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::summary::time;

/// What each operation took at each size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Growth {
    /// What the sizes count: `messages`, `conversations`, `connections` or `nodes`.
    pub of: String,
    /// Ascending; as far as the run came.
    pub sizes: Vec<u64>,
    /// In the order in which to show them.
    pub operations: Vec<OperationGrowth>,
}

/// One operation; each list has a value for each size, where there is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OperationGrowth {
    /// Its name, as the latencies begin with it.
    pub name: String,
    /// Median latency, µs.
    pub p50_us: Vec<Option<f64>>,
    /// Latency of the slowest hundredth, µs.
    pub p99_us: Vec<Option<f64>>,
    /// CPU time of the servers, all of them together, µs an operation. What services beside them use is not in it.
    pub cpu_us: Vec<Option<f64>>,
}

/// What is told of each operation.
type Values = fn(&OperationGrowth) -> &Vec<Option<f64>>;

/// The kinds of values: what they are, and how the figure of their growth ends.
const KINDS: [(&str, &str, Values); 3] = [
    ("p50", "p50", |operation| &operation.p50_us),
    ("p99", "p99", |operation| &operation.p99_us),
    ("server CPU per operation", "cpu", |operation| &operation.cpu_us),
];

/// What the last row of a table is called.
const RATIO: &str = "largest ÷ smallest";

impl Growth {
    /// The value at the largest size ÷ the one at the smallest, by `<operation>_p50_growth`, `…_p99_growth` and `…_cpu_growth`; what
    /// is not known at both is left out.
    pub fn figures(&self) -> BTreeMap<String, f64> {
        let mut figures = BTreeMap::new();
        for (_, suffix, values) in KINDS {
            for operation in &self.operations {
                if let Some(ratio) = self.ratio(values(operation)) {
                    figures.insert(format!("{}_{suffix}_growth", operation.name), ratio);
                }
            }
        }
        figures
    }

    fn ratio(&self, values: &[Option<f64>]) -> Option<f64> {
        let (smallest, largest) = (*values.first()?, *values.last()?);
        let several = self.sizes.len() > 1 && values.len() == self.sizes.len();
        smallest.zip(largest).filter(|&(least, _)| several && least > 0.0).map(|(a, b)| b / a)
    }

    /// A table for each kind of value: its caption, and its rows, the names of columns first. A column is an operation, a row a size, and
    /// the last row says how much they differ.
    pub fn tables(&self) -> Vec<(String, Vec<Vec<String>>)> {
        let mut tables = Vec::new();
        for (what, _, values) in KINDS {
            let known =
                |operation: &&OperationGrowth| values(operation).iter().any(Option::is_some);
            let operations: Vec<_> = self.operations.iter().filter(known).collect();
            if operations.is_empty() {
                continue;
            }
            let names = operations.iter().map(|operation| operation.name.clone());
            let mut rows = vec![std::iter::once(self.of.clone()).chain(names).collect()];
            for (index, size) in self.sizes.iter().enumerate() {
                let at = |operation: &&OperationGrowth| {
                    time(values(operation).get(index).copied().flatten())
                };
                let cells = operations.iter().map(at);
                rows.push(std::iter::once(size.to_string()).chain(cells).collect());
            }
            let ratio = |operation: &&OperationGrowth| {
                let ratio = self.ratio(values(operation));
                ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
            };
            let ratios = operations.iter().map(ratio);
            rows.push(std::iter::once(RATIO.to_owned()).chain(ratios).collect());
            tables.push((what.to_owned(), rows));
        }
        tables
    }

    /// The tables as text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (caption, rows) in self.tables() {
            let _ = writeln!(text, "{caption}");
            for row in rows {
                for (column, cell) in row.iter().enumerate() {
                    let width = if column == 0 { RATIO.chars().count() } else { 13 };
                    let _ = write!(text, "{cell:>width$}");
                }
                text.push('\n');
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth() -> Growth {
        let operation =
            |name: &str, p50_us: &[Option<f64>], cpu_us: &[Option<f64>]| OperationGrowth {
                name: name.to_owned(),
                p50_us: p50_us.to_vec(),
                p99_us: vec![None; p50_us.len()],
                cpu_us: cpu_us.to_vec(),
            };
        Growth {
            of: "messages".to_owned(),
            sizes: vec![1_000, 100_000],
            operations: vec![
                operation("send", &[Some(100.0), Some(150.0)], &[Some(40.0), Some(20.0)]),
                operation("delivery", &[Some(2_000.0), None], &[None, None]),
            ],
        }
    }

    #[test]
    fn the_last_row_says_how_much_it_grew_and_what_is_not_known_is_left_out() {
        let figures = growth().figures();
        let expected = [("send_p50_growth", 1.5), ("send_cpu_growth", 0.5)];
        assert_eq!(figures, expected.map(|(name, value)| (name.to_owned(), value)).into());
        insta::assert_snapshot!(growth().render());
    }

    #[test]
    fn one_size_grows_into_nothing() {
        let mut alone = growth();
        alone.sizes.truncate(1);
        for operation in &mut alone.operations {
            operation.p50_us.truncate(1);
            operation.cpu_us.truncate(1);
        }
        assert!(alone.figures().is_empty());
        alone.sizes.clear();
        alone.operations.clear();
        assert_eq!(alone.render(), "");
    }
}
