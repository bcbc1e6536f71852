//! The page as text; how it looks to a browser is tested from outside.

use std::time::{Duration, Instant};

use super::super::tests::{record, report};
use super::super::{Growth, Mark, OperationGrowth, Report, StoredRun};
use super::*;
use crate::bench::recorder::{Recorder, RunRecord};
use crate::bench::stats::LatencyStats;

fn shown_of(record: &RunRecord, change: impl FnOnce(&mut Report)) -> ShownRun {
    let mut report = report(record);
    change(&mut report);
    ShownRun::new(StoredRun { report, intervals: record.intervals() })
}

fn shown(change: impl FnOnce(&mut Report)) -> ShownRun {
    shown_of(&record(), change)
}

/// Writes of these latencies, µs, one a millisecond.
fn writes(us: std::ops::RangeInclusive<u64>) -> RunRecord {
    let record = RunRecord::new(&["write"]);
    let (mut recorder, start) = (Recorder::new(), Instant::now());
    for (at_ms, us) in us.enumerate() {
        let at = start + Duration::from_millis(at_ms as u64);
        recorder.record(0, at, Duration::from_micros(us));
    }
    record.merge(&mut recorder);
    record
}

fn data_of(page: &str) -> serde_json::Value {
    let (_, rest) = page.split_once("<script type=\"application/json\" id=data>").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn nothing_in_a_report_breaks_out_of_its_place() {
    let evil = "</script><script>alert(1)</script><!--<img src=x onerror=alert(1)>\"'>&amp;";
    let run = || {
        shown(|report| {
            for text in [
                &mut report.command,
                &mut report.workload,
                &mut report.engine,
                &mut report.load,
                &mut report.host.name,
                &mut report.versions.rustc,
                &mut report.notes[0],
            ] {
                *text = evil.to_owned();
            }
            report.servers[0].url = evil.to_owned();
            report.servers[0].durability = evil.to_owned();
            let (label, target) = (evil.to_owned(), Some(evil.to_owned()));
            report.marks.push(Mark { at_s: 0.5, until_s: None, label, target });
            report.config = serde_json::json!({ evil: evil });
            report.errors.insert(evil.to_owned(), 1);
            report.figures.insert(format!("stage_{evil}_mean_us"), 1.0);
        })
    };
    for runs in [vec![run()], vec![run(), run()]] {
        let page = page(runs).unwrap();
        assert_eq!(page.matches("<script").count(), 3, "data, uPlot and the page's own");
        assert_eq!(page.matches("</script").count(), 3);
        assert!(!page.contains("<img") && !page.contains("alert(1)</"));
        assert_eq!(data_of(&page)["runs"][0]["marks"][0]["label"], evil);
    }
}

#[test]
fn the_page_needs_nothing_else_and_allows_nothing_else() {
    let page = page(vec![shown(|_| {})]).unwrap();
    for outside in [" src=", "href=", "@import", "url(", "fetch(", "XMLHttpRequest", "import("] {
        assert!(!page.contains(outside), "{outside}");
    }
    let (_, policy) = page.split_once("Content-Security-Policy content=\"").unwrap();
    let policy = policy.split_once('"').unwrap().0;
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert_eq!(policy.matches("'sha256-").count(), 2, "{policy}");
    assert!(
        page.contains("Copyright (c) 2022 Leon Sorokin"),
        "the licence goes where the code goes"
    );
}

#[test]
fn the_longest_run_is_a_small_file() {
    let names: Vec<String> = (0..9).map(|index| format!("latency-{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let record = RunRecord::new(&names);
    let (mut recorder, start) = (Recorder::new(), Instant::now());
    for second in 0..512u64 {
        for sample in 0..1_000u64 {
            let at = start + Duration::from_secs(second);
            let us = Duration::from_nanos(100_000 + second * 7_919 + sample * 104_729);
            (0..9).for_each(|latency| recorder.record(latency, at, us));
        }
        record.merge(&mut recorder);
    }
    let page = page(vec![shown_of(&record, |_| {})]).unwrap();
    let data = data_of(&page);
    let over_time = &data["runs"][0]["over_time"];
    assert_eq!(over_time["latencies"].as_array().unwrap().len(), 9);
    assert_eq!(over_time["latencies"][0]["p99_us"].as_array().unwrap().len(), 512);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
}

#[test]
fn intervals_keep_their_places() {
    let record = RunRecord::new(&["write", "read"]);
    let (mut recorder, start) = (Recorder::new(), Instant::now());
    // Nothing is completed in the second interval, and the run ends in the fourth.
    for (second, count) in [(0, 1_000), (2, 30), (3, 5)] {
        let at = start + Duration::from_secs(second) + Duration::from_millis(1);
        (0..count).for_each(|_| recorder.record(0, at, Duration::from_millis(1 + second)));
    }
    record.merge(&mut recorder);
    let data = data_of(&page(vec![shown_of(&record, |_| {})]).unwrap());
    let over_time = &data["runs"][0]["over_time"];
    assert_eq!(over_time["at_s"], serde_json::json!([0.5, 1.5, 2.5, 3.5]));
    assert_eq!(over_time["latencies"].as_array().unwrap().len(), 1);
    let write = &over_time["latencies"][0];
    assert_eq!(write["per_s"], serde_json::json!([1_000.0, 0.0, 30.0, null]));
    let is_null = |column: &str| {
        write[column].as_array().unwrap().iter().map(|cell| cell.is_null()).collect::<Vec<_>>()
    };
    assert_eq!(is_null("p50_us"), [false, true, false, true]);
    assert_eq!(is_null("p99_us"), [false, true, true, true]);
    assert_eq!(is_null("max_us"), [false, true, false, false]);
}

#[test]
fn runs_that_are_added_up_have_the_percentiles_of_all_samples() {
    let of = |us, engine: &str| {
        shown_of(&writes(us), |report| {
            report.engine = engine.to_owned();
            report.counts = [("sent".to_owned(), 1_000)].into();
        })
    };
    let runs = vec![of(1..=1_000, "local"), of(1..=1_000, "redis"), of(9_001..=10_000, "local")];
    let merged = merged(runs);
    assert_eq!(merged.iter().map(ShownRun::run_count).collect::<Vec<_>>(), [2, 1]);
    let both = writes(1..=1_000);
    let mut all = both.totals()[0].1.clone();
    all.add(&writes(9_001..=10_000).totals()[0].1).unwrap();
    let stats = merged[0].stats("write").unwrap();
    assert_eq!(stats, LatencyStats::of(&all));
    // The mean of both p99s would be near 5 500.
    assert!(stats.p99_us.unwrap() > 9_900.0 && stats.p50_us.unwrap() < 1_100.0, "{stats:?}");
    let page = page(merged).unwrap();
    assert!(page.contains("<td class=n data-name=\"sent\" data-value=\"2000\">2\u{202f}000</td>"));
    assert!(page.contains("3 runs on local, redis"));
    assert!(data_of(&page)["runs"][0]["over_time"].is_null());
}

#[test]
fn each_durability_class_has_tables_of_its_own_the_strongest_first() {
    let of = |engine: &str, durability: &str| {
        shown(|report| {
            report.engine = engine.to_owned();
            report.servers[0].durability = durability.to_owned();
        })
    };
    let runs =
        vec![of("fast", "none"), of("local", "disk"), of("redis", "process"), of("b", "disk")];
    let page = page(runs).unwrap();
    let rows_of = |class: &str| {
        let table = format!("<table data-table=\"paired-clients write {class}\">");
        let (_, rest) = page.split_once(&table).expect(class);
        let rows = rest.split_once("</table>").unwrap().0.split("<tr data-row=\"").skip(1);
        rows.map(|row| row.split_once('"').unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(rows_of("disk"), ["2: local, disk", "4: b, disk"]);
    assert_eq!(rows_of("process"), ["3: redis, process"]);
    assert_eq!(rows_of("none"), ["1: fast, none"]);
    let at = |class: &str| page.find(&format!("write, durability {class}")).unwrap();
    assert!(at("disk") < at("process") && at("process") < at("none"));
}

#[test]
fn growth_is_a_line_per_engine_over_what_was_stored() {
    let of = |engine: &str, stored: f64, us: u64| {
        shown_of(&writes(us..=us + 999), |report| {
            report.engine = engine.to_owned();
            report.figures.insert("stored_before".to_owned(), stored);
            report.rates = [("messages_per_s".to_owned(), us as f64)].into();
        })
    };
    let runs = vec![
        of("local", 1e6, 300),
        of("local", 0.0, 100),
        of("local", 1e3, 200),
        of("redis", 1e3, 5),
    ];
    let data = data_of(&page(merged(runs)).unwrap());
    let growths = data["growths"].as_array().unwrap();
    assert_eq!(growths.len(), 2, "{growths:?}");
    let (latency, rate) = (&growths[0], &growths[1]);
    assert_eq!((&latency["of"], &rate["of"]), (&"write".into(), &"messages_per_s".into()));
    // Redis has one volume only, which is no line.
    assert_eq!(latency["series"].as_array().unwrap().len(), 2);
    assert_eq!(latency["series"][0]["label"], "local, disk p50");
    assert_eq!(rate["series"][0]["stored"], serde_json::json!([0.0, 1e3, 1e6]));
    assert_eq!(rate["series"][0]["values"], serde_json::json!([100.0, 200.0, 300.0]));
    assert_eq!(rate["over"], "messages stored before");
}

#[test]
fn what_grew_within_runs_is_a_table_and_a_line_for_each_engine() {
    let of = |engine: &str, sizes: &[u64]| {
        shown_of(&writes(1..=20), |report| {
            report.engine = engine.to_owned();
            report.workload = "growth-nodes".to_owned();
            let send = OperationGrowth {
                name: "send".to_owned(),
                p50_us: sizes.iter().map(|size| Some(*size as f64 * 10.0)).collect(),
                p99_us: vec![None; sizes.len()],
                cpu_us: vec![None; sizes.len()],
            };
            let (of, sizes) = ("nodes".to_owned(), sizes.to_vec());
            report.growth = Some(Growth { of, sizes, operations: vec![send] });
        })
    };
    let alone = page(vec![of("redis", &[1, 3])]).unwrap();
    assert!(alone.contains("largest ÷ smallest") && alone.contains("send latency over nodes"));
    assert!(!alone.contains("Over time"), "each latency is of one step");
    let both = data_of(&page(vec![of("redis", &[1, 3]), of("cassandra", &[1, 2, 3])]).unwrap());
    let growths = both["growths"].as_array().unwrap();
    assert_eq!(growths.len(), 1, "{growths:?}");
    assert_eq!(growths[0]["over"], "nodes");
    let series = growths[0]["series"].as_array().unwrap();
    let labels: Vec<_> = series.iter().map(|line| line["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["redis, disk p50", "cassandra, disk p50"], "no p99 is known");
    assert_eq!(series[1]["values"], serde_json::json!([10.0, 20.0, 30.0]));
    assert_eq!(data_of(&page(vec![of("redis", &[3])]).unwrap())["growths"], serde_json::json!([]));
}
