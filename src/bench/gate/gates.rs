//! The gates of a run, and files of gates.

use std::fs;
use std::path::Path;

use super::parser::unknown;
use super::{Gate, ParseError, Place, Quantity};
use crate::bench::error::BenchError;
use crate::bench::report::{GateResult, Report};

/// All gates of a run, in the order in which they were given.
#[derive(Debug, Clone, Default)]
pub struct Gates(Vec<Gate>);

impl Gates {
    /// These.
    pub fn new(gates: Vec<Gate>) -> Self {
        Self(gates)
    }

    /// Refuses a gate on a latency that the workload does not measure, before anything runs.
    pub fn check_latencies(&self, measured: &[&str]) -> Result<(), BenchError> {
        for gate in &self.0 {
            let Quantity::Latency { name, .. } = &gate.quantity else { continue };
            if !measured.contains(&name.as_str()) {
                let problem =
                    unknown(&format!("this workload measures no `{name}`"), name, measured);
                let (expression, place) = (gate.expression.clone(), gate.place.clone());
                let error = ParseError { expression, column: 0, problem, place };
                let flag = if gate.place.is_some() { "--gate-file" } else { "--gate" };
                return Err(BenchError::Usage(format!("{flag}: {error}")));
            }
        }
        Ok(())
    }

    /// Judges each of them on a finished run. `complete`: all that was asked for was done.
    pub fn judge(&self, report: &Report, complete: bool) -> Vec<GateResult> {
        self.0.iter().map(|gate| gate.judge(report, complete)).collect()
    }
}

/// Reads a file with one expression a line; `#` begins a comment. A file without a gate is refused:
/// whoever names it wants to be stopped by something. The error says file, line and column.
pub fn gates_of_file(path: &str) -> Result<Vec<Gate>, String> {
    let path = Path::new(path);
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let gates = gates_of_text(&text, path).map_err(|error| error.to_string())?;
    match gates.is_empty() {
        true => Err(format!("there is no gate in {shown}; write one a line, like write.p99<20ms")),
        false => Ok(gates),
    }
}

fn gates_of_text(text: &str, path: &Path) -> Result<Vec<Gate>, ParseError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut gates = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let expression = line.split('#').next().unwrap_or_default().trim_end();
        let indent = expression.chars().take_while(|c| c.is_whitespace()).count();
        if expression.trim().is_empty() {
            continue;
        }
        let place = Some(Place { file: path.to_owned(), line: index + 1, indent });
        let gate = expression.parse::<Gate>().map_err(|error| error.at(place.clone()))?;
        gates.push(Gate { place, ..gate });
    }
    Ok(gates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Gate>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slo.gates");
        fs::write(&path, text).unwrap();
        let gates = gates_of_file(path.to_str().unwrap());
        gates.map_err(|error| error.replace(folder.path().to_str().unwrap(), "DIR"))
    }

    #[test]
    fn a_file_holds_one_gate_a_line() {
        let text =
            "\u{feff}# bounds\r\n\r\nwrite.p99 < 20ms # slow disk\r\n  correctness.lost==0\n";
        let gates = read(text).unwrap();
        let expressions: Vec<_> = gates.iter().map(|gate| gate.expression.as_str()).collect();
        assert_eq!(expressions, ["write.p99 < 20ms", "correctness.lost==0"]);
        let lines: Vec<_> = gates.iter().map(|gate| gate.place.as_ref().unwrap().line).collect();
        assert_eq!(lines, [3, 4]);
    }

    #[test]
    fn errors_name_file_line_and_column() {
        let error = read("write.p99<20ms\n\n  read.p98<1s\n").unwrap_err();
        insta::assert_snapshot!(error);
        let missing = gates_of_file("/no/such/gates").unwrap_err();
        assert!(missing.starts_with("cannot read /no/such/gates: "), "{missing}");
    }

    #[test]
    fn a_file_that_stops_nothing_is_refused() {
        for empty in ["", "# write.p99<1ms\n\n"] {
            let error = read(empty).unwrap_err();
            assert!(error.starts_with("there is no gate in DIR/slo.gates"), "{error}");
        }
        assert!(gates_of_file("/").unwrap_err().starts_with("cannot read /"));
    }

    #[test]
    fn a_latency_that_is_not_measured_is_refused_before_the_run() {
        let gates = |text: &str| Gates::new(vec![text.parse().unwrap()]);
        let measured = ["write", "delivery", "read"];
        assert!(gates("delivery.p99<1s").check_latencies(&measured).is_ok());
        assert!(gates("rate.anything<1").check_latencies(&measured).is_ok());
        let error = gates("delivry.p99<1s").check_latencies(&measured).unwrap_err();
        assert!(matches!(error, BenchError::Usage(_)));
        insta::assert_snapshot!(error);
        let place = Some(Place { file: "slo.gates".into(), line: 7, indent: 2 });
        let in_file = Gate { place, ..gates("connect.max<1s").0.remove(0) };
        let error = Gates::new(vec![in_file]).check_latencies(&measured).unwrap_err().to_string();
        assert!(
            error.starts_with("--gate-file: slo.gates, line 7, column 3: this workload"),
            "{error}"
        );
    }
}
