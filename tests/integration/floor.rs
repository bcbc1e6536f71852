//! `bench floor`: the whole of it, short; what it finds is of no use on a machine that does other things.

use std::process::Command;

use crate::support::BINARY;

#[test]
fn every_figure_is_measured_and_kept() {
    let out = tempfile::tempdir().unwrap();
    let mut command = Command::new(BINARY);
    command.args(["bench", "floor", "--rounds", "2", "--slice", "60ms", "--json", "--out"]);
    let run = command.arg(out.path()).output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(report["failures"], serde_json::json!([]), "{report:#}");
    let figures = report["figures"].as_array().unwrap();
    let named = |id: &str| figures.iter().filter(|figure| figure["id"] == id).collect::<Vec<_>>();
    for id in
        ["G1", "G2", "G3", "G4", "G5", "G6", "G11", "G12", "G13", "G14", "G18", "G23", "G25", "G26"]
    {
        assert!(!named(id).is_empty(), "{id}: {report:#}");
    }
    // What needs no quiet machine: each message is encoded once, whoever gets it.
    assert_eq!(named("G13")[0]["value"], 1.0, "{report:#}");
    assert!(named("G1")[0]["value"].as_f64().unwrap() > 0.0);
    let folder = std::fs::read_dir(out.path()).unwrap().next().unwrap().unwrap().path();
    let kept = std::fs::read(folder.join("floor.json")).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&kept).unwrap(), report);
    let table = std::fs::read_to_string(folder.join("floor.txt")).unwrap();
    assert!(table.contains("bare echo") && table.contains("≥ 0.80"), "{table}");
}

#[test]
fn what_is_not_there_is_named() {
    for (arguments, named) in [
        (["--only", "G99"], "G26"),
        (["--rounds", "0"], "--rounds"),
        (["--slice", "1ms"], "--slice"),
    ] {
        let run = Command::new(BINARY).args(["bench", "floor"]).args(arguments).output().unwrap();
        assert_eq!(run.status.code(), Some(64), "{run:?}");
        assert!(String::from_utf8_lossy(&run.stderr).contains(named), "{run:?}");
    }
}
