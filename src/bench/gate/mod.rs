//! Performance gates: bounds like `write.p99<20ms` that a run must keep.
//!
//! ```text
//! gate     = quantity operator limit
//! quantity = latency "." stat                      of `Report.latencies`: write, delivery, read, …
//!          | "errors" [ "." code ]                 share of error answers among all answers
//!          | "rate" "." name | "figure" "." name | "count" "." name | "duration" "." name
//!          | "server" "." name                     a figure, or a counter of the server
//!          | "correctness" "." name
//! stat     = "min" | "mean" | "p50" | "p90" | "p99" | "p999" | "p9999" | "max" | "count"
//! operator = "<" | "<=" | ">" | ">=" | "=="
//! limit    = digits [ "." digits ] [ unit ]
//! unit     = "ns" | "us" | "µs" | "ms" | "s" | "m"  of latencies and durations
//!          | "%"                                    of shares
//!          | "k" | "M"                              of everything else, may be left out
//! ```
//!
//! Spaces may stand around the operator and before the unit. A time or a share needs its unit, so
//! that nobody guesses it; zero needs none.
//!
//! A gate fails closed: what cannot be judged is inconclusive, never passed.

mod evaluate;
mod gates;
mod limit;
mod measure;
mod operator;
mod parse_error;
mod parser;
mod quantity;

pub use gates::{Gates, gates_of_file};
pub use operator::Operator;
pub use parse_error::{ParseError, Place};
pub use quantity::{Quantity, Stat};

/// One bound on one number of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// As it was written.
    expression: String,
    quantity: Quantity,
    operator: Operator,
    /// In the unit of the quantity.
    limit: f64,
    /// Where it was written, if in a file.
    place: Option<Place>,
}

impl Gate {
    /// As it was written.
    pub fn expression(&self) -> &str {
        &self.expression
    }
}

impl std::str::FromStr for Gate {
    type Err = ParseError;

    fn from_str(expression: &str) -> Result<Self, ParseError> {
        parser::parse(expression)
    }
}
