//! Histogram files are what other tools of HdrHistogram read: the Java library's own log processor, which is in Kafka's
//! and Cassandra's distributions.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::support::services::{SharedServices, leave_out};
use crate::support::{chatctl, only_entry};

/// Latencies of a closed loop of which there are many.
const LATENCIES: [&str; 3] = ["write", "delivery", "read"];

#[tokio::test]
async fn the_java_library_reads_the_same_percentiles() {
    let Some(_services) = SharedServices::find().await else { return };
    let Some(jar) = jar() else {
        return leave_out("no HdrHistogram-*.jar among the services' programs").unwrap_or_default();
    };
    let out = tempfile::tempdir().unwrap();
    let run =
        chatctl(&["bench", "paired-clients", "--clients", "4", "--messages", "2000", "--out"])
            .arg(out.path())
            .output()
            .await
            .unwrap();
    let run_said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(0), "{run_said}");
    let folder = only_entry(out.path());
    let report = std::fs::read(folder.join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    for latency in LATENCIES {
        let theirs = processed(&jar, &folder, latency).await;
        let ours = std::fs::read_to_string(folder.join(format!("{latency}.hgrm"))).unwrap();
        let (theirs, ours) = (percentiles(&theirs), percentiles(&ours));
        assert!(ours.len() > 2, "{latency}: {ours:?}");
        // Which percentiles come last depends on where the rows before them fell.
        assert!(theirs.len().abs_diff(ours.len()) <= 2, "{latency}: {theirs:?} {ours:?}");
        assert_eq!(theirs.last(), ours.last(), "{latency}: the most, and all samples");
        let all = ours.last().map_or(0, |row| row.2);
        // Where a percentile falls exactly between two samples, the library takes the one below and we the one above.
        let is_between = |row: &(f64, f64, u64)| (row.1 * all as f64 - row.2 as f64).abs() < 1e-6;
        for (their, our) in theirs.iter().zip(&ours).take(ours.len() - 3) {
            let is_alike = their == our || (is_between(their) && their.1 == our.1 && their < our);
            assert!(is_alike, "{latency}: {their:?}, and ours {our:?}");
        }
        let alike = theirs.iter().zip(&ours).filter(|(their, our)| their == our).count();
        assert!(alike * 10 >= ours.len() * 6, "{latency}: {alike} of {} rows alike", ours.len());
        let p50 = report["latencies"][latency]["p50_us"].as_f64().unwrap();
        let at_p50 = theirs.iter().find(|row| row.1 >= 0.5).unwrap();
        // The report rounds to 0.1 us.
        let is_told = (at_p50.0 - p50).abs() <= 0.06 || is_between(at_p50);
        assert!(is_told, "{latency}: {at_p50:?}, and the report says {p50}");
        println!("{latency}: {alike} of {} rows alike, p50 {} us", ours.len(), at_p50.0);
    }
}

/// What the library's processor makes of one latency in the log, as a percentile table in µs.
async fn processed(jar: &Path, folder: &Path, latency: &str) -> String {
    let output = Command::new("java")
        .arg("-cp")
        .arg(jar)
        .args(["org.HdrHistogram.HistogramLogProcessor", "-tag", latency])
        .args(["-outputValueUnitRatio", "1000", "-i"])
        .arg(folder.join("latencies.hlog"))
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Rows of a percentile table: value, percentile, count up to it. What the processor writes about single intervals has
/// other columns and is left out.
fn percentiles(table: &str) -> Vec<(f64, f64, u64)> {
    let from = table.find("TotalCount").unwrap_or_else(|| panic!("a table in {table}"));
    let rows = table[from..].lines().skip(1).filter(|line| !line.starts_with('#'));
    rows.filter_map(|line| {
        let mut columns = line.split_whitespace();
        let mut next = || columns.next();
        Some((next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?))
    })
    .collect()
}

/// Of Kafka, whose programs the shared services fetched.
fn jar() -> Option<PathBuf> {
    let folders = std::fs::read_dir(chatctl::config::cache_folder()?).ok()?;
    let folders = folders.flatten().map(|entry| entry.path());
    let jars = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let is_it = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("HdrHistogram-") && name.ends_with(".jar")
    };
    jars.map(|entry| entry.path()).find(is_it)
}
