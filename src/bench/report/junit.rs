//! The verdict and the gates as JUnit XML, which CI systems show as tests.

use std::fmt::Write;

use super::{GateOutcome, Report, Verdict};

/// What a test says when it is not green.
enum Trouble {
    /// It was judged, and is not met.
    Failure(String),
    /// It could not be judged.
    Error(String),
}

/// One test case for the validity of the run and one for each gate: `failure` when it is not met,
/// `error` when it could not be judged.
pub fn junit(report: &Report) -> String {
    let mut cases = vec![("validity".to_owned(), validity(report), String::new())];
    cases.extend(report.gates.iter().map(|gate| {
        let (measured, limit) = (gate.measured_text(), gate.limit_text());
        let compared = format!("measured {measured}, limit {limit}");
        let trouble = match gate.outcome {
            GateOutcome::Passed => None,
            GateOutcome::Failed => Some(Trouble::Failure(compared.clone())),
            GateOutcome::Inconclusive => {
                let reason = gate.reason.as_deref().unwrap_or("inconclusive");
                Some(Trouble::Error(format!("{reason}; {compared}")))
            }
        };
        (gate.expression.clone(), trouble, compared)
    }));
    let failures = cases.iter().filter(|case| matches!(case.1, Some(Trouble::Failure(_)))).count();
    let errors = cases.iter().filter(|case| matches!(case.1, Some(Trouble::Error(_)))).count();
    let time_s = report.durations_s.get("whole_run").copied().unwrap_or(0.0);
    let totals = format!(
        "tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{time_s:.3}\"",
        cases.len()
    );
    let workload = escaped(&report.workload);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <testsuites name=\"chatctl bench\" {totals}>\n\
        \x20 <testsuite name=\"{workload}\" {totals} skipped=\"0\" timestamp=\"{}\" hostname=\"{}\">\n\
        \x20   <properties>\n\
        \x20     <property name=\"engine\" value=\"{}\"/>\n\
        \x20     <property name=\"command\" value=\"{}\"/>\n\
        \x20     <property name=\"revision\" value=\"{}\"/>\n\
        \x20   </properties>\n",
        escaped(&report.started_at),
        escaped(&report.host.name),
        escaped(&report.engine),
        escaped(&report.command),
        escaped(&report.versions.git_revision),
    );
    for (name, trouble, said) in &cases {
        let time_s = if name == "validity" { time_s } else { 0.0 };
        let _ = write_case(&mut text, &workload, (name, time_s), trouble.as_ref(), said);
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

fn write_case(
    text: &mut String,
    workload: &str,
    (name, time_s): (&str, f64),
    trouble: Option<&Trouble>,
    said: &str,
) -> std::fmt::Result {
    let name = escaped(name);
    write!(
        text,
        "    <testcase classname=\"chatctl.bench.{workload}\" name=\"{name}\" time=\"{time_s:.3}\">"
    )?;
    match trouble {
        Some(Trouble::Failure(message)) => {
            write!(text, "<failure type=\"failed\" message=\"{}\"/>", escaped(message))?;
        }
        Some(Trouble::Error(message)) => {
            write!(text, "<error type=\"inconclusive\" message=\"{}\"/>", escaped(message))?;
        }
        None if said.is_empty() => {}
        None => write!(text, "<system-out>{}</system-out>", escaped(said))?,
    }
    text.push_str("</testcase>\n");
    Ok(())
}

fn validity(report: &Report) -> Option<Trouble> {
    match report.verdict {
        Verdict::Pass => None,
        Verdict::Incomplete if report.aborted => {
            Some(Trouble::Error("the run was stopped before it was complete".to_owned()))
        }
        Verdict::Incomplete => {
            let notes: String = report.notes.iter().map(|note| format!("; {note}")).collect();
            Some(Trouble::Error(format!("the run is incomplete{notes}")))
        }
        Verdict::Invalid => Some(Trouble::Failure(report.shown_violations())),
    }
}

/// For text and attributes. What XML 1.0 cannot hold becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            // Bare, they become spaces in an attribute.
            '\t' | '\n' | '\r' => escaped.push_str(&format!("&#{};", u32::from(c))),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::tests::{record, report};
    use super::*;

    #[test]
    fn the_xml_is_pinned() {
        let mut report = report(&record());
        report.command = "chatctl bench paired-clients --user-prefix \"a&b\"\u{1b}".to_owned();
        report.durations_s.insert("whole_run".to_owned(), 2.25);
        insta::assert_snapshot!(junit(&report));
    }

    #[test]
    fn a_run_that_could_not_be_judged_is_an_error_and_a_good_one_is_neither() {
        let mut report = report(&record());
        report.gates.clear();
        report.verdict = Verdict::Incomplete;
        report.notes = vec!["server log: <panic> & \"more\"\nlast".to_owned()];
        let text = junit(&report);
        let message = "message=\"the run is incomplete; server log: &lt;panic&gt; &amp; &quot;more&quot;&#10;last\"";
        assert!(text.contains(message), "{text}");
        assert!(text.contains("tests=\"1\" failures=\"0\" errors=\"1\""), "{text}");
        report.verdict = Verdict::Pass;
        let text = junit(&report);
        assert!(text.contains("tests=\"1\" failures=\"0\" errors=\"0\""), "{text}");
        assert!(!text.contains("<error") && !text.contains("<failure"), "{text}");
    }
}
