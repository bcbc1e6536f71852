//! A gate on a report: passed, failed, or nobody can tell.

use super::Gate;
use super::measure::measure;
use crate::bench::report::{GateOutcome, GateResult, Report, Verdict};

impl Gate {
    /// Judges a finished run. `complete`: all that was asked for was done. A value that is known is
    /// told also where it decides nothing.
    pub fn judge(&self, report: &Report, complete: bool) -> GateResult {
        let measured = measure(&self.quantity, report);
        let (outcome, reason) = match (self.doubt(report, complete), &measured) {
            (Some(doubt), Err(reason)) => {
                (GateOutcome::Inconclusive, Some(format!("{reason}; {doubt}")))
            }
            (Some(doubt), Ok(_)) => (GateOutcome::Inconclusive, Some(doubt)),
            (None, Err(reason)) => (GateOutcome::Inconclusive, Some(reason.clone())),
            (None, Ok(value)) if self.operator.holds(*value, self.limit) => {
                (GateOutcome::Passed, None)
            }
            (None, Ok(_)) => (GateOutcome::Failed, None),
        };
        GateResult {
            expression: self.expression.clone(),
            outcome,
            measured: measured.ok(),
            limit: self.limit,
            unit: self.quantity.unit(),
            reason,
        }
    }

    /// Why this run says nothing, whatever was measured.
    fn doubt(&self, report: &Report, complete: bool) -> Option<String> {
        if report.aborted {
            return Some("the run was stopped before it was complete".to_owned());
        }
        let incomplete = !complete || report.verdict == Verdict::Incomplete;
        if !report.overload.is_empty() && (incomplete || self.quantity.is_paced_by_clients()) {
            let reasons = report.overload.join("; ");
            return Some(format!("the load generator was too slow: {reasons}"));
        }
        incomplete.then(|| "the run is incomplete".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::Gate;
    use super::*;
    use crate::bench::report::tests::{record, report};

    /// A run in which nothing was wrong: 1 500 writes of 100 µs to 1.6 ms, ten reads of 2 ms.
    fn clean() -> Report {
        let mut report = report(&record());
        report.verdict = Verdict::Pass;
        report.correctness.lost = 0;
        report.correctness.delivered = 1_500;
        report.counts.insert("reads".to_owned(), 498);
        report.server_counters.insert("chatctl_messages_appended_total".to_owned(), 1_500.0);
        report.server_counters.insert("chatctl_messages_encoded_total".to_owned(), 3_000.0);
        report
    }

    fn judged(expression: &str, report: &Report) -> GateResult {
        expression.parse::<Gate>().unwrap().judge(report, true)
    }

    #[rstest]
    #[case("write.p99<2ms", "write.p99<1ms")]
    #[case("write.max<=1.6ms", "write.min>=1ms")]
    #[case("write.count==1500", "write.count>1.5k")]
    #[case("read.mean>=2ms", "read.mean<2000us")]
    #[case("errors<=0.1%", "errors<0.1%")]
    #[case("errors.timeout<0.11%", "errors.timeout==0")]
    #[case("errors.closed_4408==0", "errors.rate_limited>0%")]
    #[case("rate.messages_per_s>=1k", "rate.messages_per_s>1k")]
    #[case("figure.syncs_per_message<=0.25", "figure.syncs_per_message<0.25")]
    #[case("server.syncs_per_message<0.5", "server.syncs_per_message>0.5")]
    #[case("server.syncs_total==375", "server.chatctl_syncs_total<375")]
    #[case("server.messages_encoded_per_message==2", "server.messages_encoded_per_message<2")]
    #[case("count.sent>=1500", "count.sent<1k")]
    #[case("correctness.lost==0", "correctness.delivered>1500")]
    #[case("duration.talking<2s", "duration.talking<1500ms")]
    fn a_value_keeps_its_bound_or_does_not(#[case] passes: &str, #[case] fails: &str) {
        let report = clean();
        let (passed, failed) = (judged(passes, &report), judged(fails, &report));
        assert_eq!((passed.outcome, &passed.reason), (GateOutcome::Passed, &None), "{passed:?}");
        assert_eq!((failed.outcome, &failed.reason), (GateOutcome::Failed, &None), "{failed:?}");
    }

    #[rstest]
    #[case("write.p9999<1s", "it needs 100000, and there are 1500")]
    #[case("delivery.max<1s", "it needs 1, and there are 0")]
    #[case("connect.p99<1s", "no latency `connect`")]
    #[case("figure.syncs_per_mesage<1", "did you mean `syncs_per_message`?")]
    #[case("server.sync_total<1", "did you mean `syncs_total`?")]
    #[case("server.cpu_us_per_message<1", "no server figure or counter `cpu_us_per_message`")]
    #[case("rate.reads_per_s<1", "no rate `reads_per_s`")]
    #[case("count.send>1", "did you mean `sent`?")]
    #[case("duration.walking<1s", "did you mean `talking`?")]
    fn what_is_not_there_is_inconclusive(#[case] expression: &str, #[case] reason: &str) {
        let result = judged(expression, &clean());
        assert_eq!((result.outcome, result.measured), (GateOutcome::Inconclusive, None));
        let said = result.reason.unwrap();
        assert!(said.contains(reason), "{said}");
    }

    #[test]
    fn a_share_of_nothing_and_a_search_of_nothing_are_inconclusive() {
        let mut report = clean();
        report.counts.remove("reads");
        let said = judged("errors<1%", &report).reason.unwrap();
        assert!(said.contains("paired-clients counts no sends and reads"), "{said}");
        report.counts = [("sent", 0), ("reads", 0)].map(|(n, c)| (n.to_owned(), c)).into();
        report.errors.clear();
        assert_eq!(judged("errors==0", &report).reason.as_deref(), Some("nothing was answered"));

        report.correctness = Default::default();
        assert_eq!(judged("correctness.lost==0", &report).outcome, GateOutcome::Inconclusive);
        assert_eq!(judged("correctness.delivered>0", &report).outcome, GateOutcome::Failed);

        report.server_counters.clear();
        let said = judged("server.commits_total<1", &report).reason.unwrap();
        assert!(said.contains("--admin"), "{said}");
        report.figures.insert("ratio".to_owned(), f64::NAN);
        assert_eq!(judged("figure.ratio>=0", &report).outcome, GateOutcome::Inconclusive);
    }

    #[test]
    fn a_void_run_passes_and_fails_nothing() {
        for gate in ["write.p99<2ms", "write.p99<1ms", "correctness.lost==0", "count.sent>1"] {
            let gate: Gate = gate.parse().unwrap();
            let mut report = clean();
            assert_eq!(gate.judge(&report, false).outcome, GateOutcome::Inconclusive);
            report.aborted = true;
            let stopped = gate.judge(&report, true);
            assert_eq!(stopped.outcome, GateOutcome::Inconclusive);
            assert!(stopped.measured.is_some(), "what was measured is told");
            report.aborted = false;
            report.verdict = Verdict::Incomplete;
            assert_eq!(gate.judge(&report, true).outcome, GateOutcome::Inconclusive);
        }
    }

    #[test]
    fn an_overloaded_generator_says_nothing_about_times_and_rates() {
        let mut report = clean();
        report.overload.push("sends were 80 ms late".to_owned());
        for gate in ["write.p99<2ms", "rate.messages_per_s>2k", "duration.talking<2s"] {
            let result = judged(gate, &report);
            assert_eq!(result.outcome, GateOutcome::Inconclusive, "{gate}");
            assert!(result.reason.unwrap().contains("80 ms late"));
        }
        assert_eq!(judged("figure.syncs_per_message<1", &report).outcome, GateOutcome::Passed);
        assert_eq!(judged("correctness.lost==0", &report).outcome, GateOutcome::Passed);
    }

    #[test]
    fn values_of_an_invalid_run_are_compared() {
        let report = report(&record());
        assert_eq!(report.verdict, Verdict::Invalid);
        assert_eq!(judged("correctness.lost==0", &report).outcome, GateOutcome::Failed);
        assert_eq!(judged("write.p99<2ms", &report).outcome, GateOutcome::Passed);
    }
}
