//! Performance gates of `chatctl bench` from outside: exit codes, and what is written where.
//!
//! What must pass or fail here is counted, not timed: where other tests take the processors, the load
//! generator rightly says that its latencies mean nothing.

use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::time::timeout;

use crate::support::{PATIENCE, chatctl};

/// A small run on a server of its own.
async fn bench(out: &Path, arguments: &[&str]) -> Output {
    let run = chatctl(&["bench", "paired-clients", "--clients", "4", "--messages", "300", "--out"])
        .arg(out)
        .args(arguments)
        .output();
    timeout(3 * PATIENCE, run).await.expect("ends in time").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn paths(folder: &Path, names: [&str; 2]) -> [PathBuf; 2] {
    names.map(|name| folder.join(name))
}

#[tokio::test]
async fn gates_that_are_kept_pass() {
    let out = tempfile::tempdir().unwrap();
    let [junit, summary] = paths(out.path(), ["reports/junit.xml", "summary.md"]);
    std::fs::write(&summary, "# An earlier step").unwrap();
    let gates = out.path().join("slo.gates");
    std::fs::write(&gates, "# per message\nserver.syncs_per_message <= 1.5\n").unwrap();
    let results = out.path().join("results");
    let arguments = [
        ["--gate", "count.sent==1200"],
        ["--gate", "correctness.lost==0"],
        ["--gate", "errors==0"],
        ["--gate", "figure.syncs_per_message<=1.5"],
        ["--gate", "correctness.delivered>1k"],
        ["--gate-file", gates.to_str().unwrap()],
        ["--junit", junit.to_str().unwrap()],
        ["--summary-md", summary.to_str().unwrap()],
    ];
    let run = bench(&results, &arguments.concat()).await;
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let stdout = text(&run.stdout);
    let passed = stdout.lines().filter(|line| line.starts_with("  passed")).count();
    assert_eq!(passed, 6, "{stdout}");
    assert!(stdout.contains("count.sent==1200                 measured 1200\n"), "{stdout}");

    let folder = std::fs::read_dir(&results).unwrap().next().unwrap().unwrap().path();
    let report = std::fs::read(folder.join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let first = serde_json::json!({
        "expression": "count.sent==1200", "outcome": "passed",
        "measured": 1200.0, "limit": 1200.0, "unit": "number",
    });
    assert_eq!(report["gates"][0], first);
    assert_eq!(report["gates"].as_array().unwrap().len(), 6);

    let junit = std::fs::read_to_string(&junit).unwrap();
    assert!(junit.contains("tests=\"7\" failures=\"0\" errors=\"0\""), "{junit}");
    let summary = std::fs::read_to_string(&summary).unwrap();
    assert!(summary.starts_with("# An earlier step\n## paired-clients on"), "{summary}");
    assert!(summary.contains("gates: 6 passed"), "{summary}");
}

#[tokio::test]
async fn a_failed_gate_outranks_an_inconclusive_one() {
    let out = tempfile::tempdir().unwrap();
    let [junit, summary] = paths(out.path(), ["junit.xml", "summary.md"]);
    let arguments = [
        ["--gate", "write.p9999<1s"],
        ["--gate", "count.sent<1k"],
        ["--junit", junit.to_str().unwrap()],
        ["--summary-md", summary.to_str().unwrap()],
    ];
    let run = bench(&out.path().join("results"), &arguments.concat()).await;
    assert_eq!(run.status.code(), Some(3), "{run:?}");
    let stdout = text(&run.stdout);
    assert!(stdout.contains("\n  failed       count.sent<1k "), "{stdout}");
    assert!(stdout.contains("\n  inconclusive write.p9999<1s "), "{stdout}");
    let junit = std::fs::read_to_string(&junit).unwrap();
    assert!(junit.contains("tests=\"3\" failures=\"1\" errors=\"1\""), "{junit}");
    let summary = std::fs::read_to_string(&summary).unwrap();
    assert!(summary.starts_with("## paired-clients"), "{summary}");
    assert!(summary.contains("| count.sent&lt;1k | ❌ **failed** |"), "{summary}");
}

#[tokio::test]
async fn what_cannot_be_judged_is_never_green() {
    let out = tempfile::tempdir().unwrap();
    let arguments = ["--gate", "count.sent>0", "--gate", "write.p9999<1s", "--json"];
    let run = bench(out.path(), &arguments).await;
    assert_eq!(run.status.code(), Some(2), "{run:?}");
    let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(report["verdict"], "pass");
    assert_eq!(report["gates"][0]["outcome"], "passed");
    assert_eq!(report["gates"][1]["outcome"], "inconclusive");
    assert_eq!(report["gates"][1]["measured"], serde_json::Value::Null);
    let reason = report["gates"][1]["reason"].as_str().unwrap();
    assert!(reason.starts_with("too few samples: it needs 100000, and there are 1200"), "{reason}");
}

#[tokio::test]
async fn wrong_gates_and_places_are_refused_before_the_run() {
    let out = tempfile::tempdir().unwrap();
    let results = out.path().join("results");
    let gates = out.path().join("slo.gates");
    std::fs::write(&gates, "errors==0\n\n  write.p98<1s\n").unwrap();
    for (arguments, code, said) in [
        (["--gate", "write.p99<<1s"], 64, "\n  write.p99<<1s\n            ^\n"),
        (["--gate", "write.p99<20"], 64, "\n  write.p99<20\n              ^\n"),
        (["--gate", "wrte.p99<20ms"], 64, "did you mean `write`?\n  wrte.p99<20ms\n  ^\n"),
        (["--gate-file", gates.to_str().unwrap()], 64, "slo.gates, line 3, column 9: no latency"),
        (["--gate-file", "/no/such/gates"], 64, "cannot read /no/such/gates"),
        (["--junit", "/dev/null/junit.xml"], 1, "cannot write --junit /dev/null/junit.xml"),
        (["--summary-md", "/dev/null/a.md"], 1, "cannot write --summary-md /dev/null/a.md"),
    ] {
        let run = bench(&results, &arguments).await;
        let stderr = text(&run.stderr);
        assert_eq!(run.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
        assert!(run.stdout.is_empty() && !results.exists(), "{arguments:?}: nothing ran");
    }
}
