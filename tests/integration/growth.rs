//! `bench growth`: short runs on a server of its own; that they measure, and judge what they see. How much grows is for a quiet machine.

use std::path::Path;
use std::process::{Command, Output};

use rstest::rstest;
use serde_json::Value;

use crate::support::{BINARY, only_entry};

fn growth(arguments: &[&str], out: &Path) -> Output {
    let mut command = Command::new(BINARY);
    command.args(["bench", "growth", "--out"]).arg(out).args(arguments);
    command.output().unwrap()
}

#[rstest]
#[case::messages("messages", "100,1000", "correctness.page_missing==0")]
#[case::conversations("conversations", "100,1100", "figure.list_many_p50_growth<1000")]
#[case::connections("connections", "10,50", "figure.send_p50_growth<1000")]
fn a_curve_is_measured_judged_and_kept(#[case] of: &str, #[case] sizes: &str, #[case] gate: &str) {
    let out = tempfile::tempdir().unwrap();
    let arguments = ["--of", of, "--sizes", sizes, "--operations", "60", "--warmup", "100ms"];
    let mut arguments = arguments.to_vec();
    arguments.extend(["--json", "--gate", gate, "--server-env", "CHATCTL_LOCAL_SYNC=never"]);
    let run = growth(&arguments, out.path());
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(report["workload"], format!("growth-{of}"));
    assert_eq!(report["verdict"], "pass", "{report:#}");
    let grown = &report["growth"];
    let shown: Vec<_> = grown["sizes"].as_array().unwrap().iter().map(Value::to_string).collect();
    assert_eq!(shown.join(","), sizes);
    let operations = grown["operations"].as_array().unwrap();
    let names: Vec<_> = operations.iter().map(|each| each["name"].as_str().unwrap()).collect();
    let mut expected = vec!["ping", "send", "delivery", "open", "read", "random_read", "list"];
    if of == "conversations" {
        expected.push("list_many");
    }
    assert_eq!(names, expected);
    for operation in operations {
        let name = operation["name"].as_str().unwrap();
        for index in 0..2 {
            assert!(operation["p50_us"][index].as_f64().unwrap() > 0.0, "{operation}");
            assert_eq!(operation["cpu_us"][index].is_null(), name == "delivery", "{operation}");
        }
        assert!(report["figures"][format!("{name}_p50_growth")].as_f64().unwrap() > 0.0);
        let first = sizes.split(',').next().unwrap();
        assert_eq!(report["latencies"][format!("{name}-{first}")]["count"], 60);
    }
    // Of each of two steps, beside what was done to warm up.
    let checked = &report["correctness"];
    assert!(checked["delivered"].as_u64().unwrap() >= 120, "{checked}");
    let kinds = if of == "conversations" { 5 } else { 4 };
    assert!(checked["pages_checked"].as_u64().unwrap() >= kinds * 120, "{checked}");
    let folder = only_entry(out.path());
    let summary = std::fs::read_to_string(folder.join("summary.txt")).unwrap();
    assert!(summary.contains("largest ÷ smallest"), "{summary}");
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains(&format!("send latency over {of}")), "the curve is drawn");
}

#[rstest]
#[case::nothing_grows(&["--sizes", "10"], "--of")]
#[case::no_sizes(&["--of", "messages"], "--sizes")]
#[case::no_number(&["--of", "messages", "--sizes", "many"], "like 1000 or 1e3")]
#[case::descending(&["--of", "messages", "--sizes", "1000,10"], "ascending")]
#[case::too_near(&["--of", "messages", "--sizes", "1000,1500"], "--operations")]
#[case::too_few(&["--of", "connections", "--sizes", "1", "--operations", "3"], "--operations 3")]
#[case::local_nodes(&["--of", "nodes", "--sizes", "1,2", "--engine", "local"], "one node only")]
#[case::no_engine(&["--of", "messages", "--sizes", "1000", "--engine", "oracle"], "redis")]
#[case::no_bus(&["--of", "messages", "--sizes", "1000", "--engine", "kafka"], "nothing that there is")]
#[case::a_gate_on_nothing(&["--of", "messages", "--sizes", "1000", "--gate", "send-9.p50<1s"], "send-9")]
#[case::nodes_of_nothing_shared(&["--of", "nodes", "--sizes", "1,2"], "engines that nodes share")]
fn what_cannot_be_measured_is_refused(#[case] arguments: &[&str], #[case] named: &str) {
    let out = tempfile::tempdir().unwrap();
    let run = growth(arguments, out.path());
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(64), "{said}");
    assert!(said.contains(named), "{said} lacks {named}");
}
