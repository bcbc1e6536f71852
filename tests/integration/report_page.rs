//! `report.html` in a real browser, and `chatctl bench report`, which makes it again.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::browser::Document;
use crate::support::{PATIENCE, chatctl, only_entry};

const PERCENTILES: [&str; 5] = ["p50_us", "p90_us", "p99_us", "p999_us", "p9999_us"];

/// A window at a desk, and a phone.
const WIDE_PX: u32 = 1_200;
const PHONE_PX: u32 = 360;

async fn bench(working_folder: &Path, arguments: &[&str]) -> Output {
    let mut command = chatctl(&["bench"]);
    command.args(arguments).current_dir(working_folder);
    timeout(3 * PATIENCE, command.output()).await.expect("ends in time").unwrap()
}

/// A small run against a server of its own: its folder.
async fn run(out: &Path) -> PathBuf {
    let arguments = ["paired-clients", "--clients", "4", "--duration", "2500ms", "--out", "."];
    let output = bench(out, &arguments).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    only_entry(out)
}

fn report_of(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap()
}

/// The samples of `folder` with a report that says something else of them.
fn copy(folder: &Path, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let copy = folder.with_file_name(name);
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(folder.join("latencies.hlog"), copy.join("latencies.hlog")).unwrap();
    let mut report = report_of(folder);
    change(&mut report);
    std::fs::write(copy.join("report.json"), serde_json::to_vec(&report).unwrap()).unwrap();
    copy
}

/// What every page must be: no error of a script, every plot drawn, and no wider than its window.
fn check_page(page: &Document, width_px: u32) {
    assert_eq!(page.root("data-errors"), "[]");
    let window: u32 = page.root("data-window-width").parse().unwrap();
    assert_eq!(window, width_px, "the width that was asked for");
    let needed: u32 = page.root("data-scroll-width").parse().unwrap();
    assert!(needed <= window, "{needed} px in a window of {window} px");
}

#[tokio::test]
async fn a_run_shows_the_numbers_of_its_report_in_a_browser() {
    let out = tempfile::tempdir().unwrap();
    let folder = run(out.path()).await;
    let file = folder.join("report.html");
    let written = std::fs::read(&file).unwrap();
    assert!(written.len() < 2_000_000, "{} bytes", written.len());

    std::fs::remove_file(&file).unwrap();
    let rebuilt = bench(out.path(), &["report", folder.to_str().unwrap()]).await;
    assert_eq!(rebuilt.status.code(), Some(0), "{rebuilt:?}");
    assert_eq!(String::from_utf8(rebuilt.stdout).unwrap().trim(), file.to_str().unwrap());
    assert!(std::fs::read(&file).unwrap() == written, "not the page that the run wrote");

    let Some(page) = Document::open(&file, WIDE_PX).await else { return };
    check_page(&page, WIDE_PX);
    let report = report_of(&folder);
    assert_eq!(page.rows("latencies"), ["write", "delivery", "read", "connect"]);
    for latency in ["write", "delivery", "read"] {
        let stats = &report["latencies"][latency];
        let count = page.number("latencies", latency, "count").unwrap();
        assert!(count > 100.0 && Some(count) == stats["count"].as_f64(), "{latency}: {count}");
        for name in PERCENTILES.iter().chain(&["min_us", "mean_us", "max_us"]) {
            let shown = page.number("latencies", latency, name);
            assert_eq!(shown, stats[name].as_f64(), "{latency} {name}");
        }
    }
    let sent = report["counts"]["sent"].as_f64();
    assert_eq!(page.number("counts", "sent", "sent"), sent);
    let rate = report["rates"]["messages_per_s"].as_f64();
    assert_eq!(page.number("rates", "messages_per_s", "messages_per_s"), rate);
    assert_eq!(page.elements("b")[0]["data-verdict"], "pass");

    let figures = page.elements("figure");
    let kinds: Vec<_> = figures.iter().map(|figure| figure["data-plot"].as_str()).collect();
    assert_eq!(kinds, ["curves", "over-time", "over-time", "over-time", "rates"]);
    assert!(figures.iter().all(|figure| figure["data-drawn"] == "true"), "{figures:?}");
    assert_eq!(page.elements("canvas").len(), 5);
    assert_eq!(page.root("data-plots"), "5");
    // What is drawn is what was measured: the highest point of a latency over time is its maximum.
    for figure in figures.iter().filter(|figure| figure["data-plot"] == "over-time") {
        let unit_us = match figure["data-y-unit"].as_str() {
            "µs" => 1.0,
            "ms" => 1_000.0,
            "s" => 1_000_000.0,
            other => panic!("{other}"),
        };
        let drawn_us = figure["data-y-max"].parse::<f64>().unwrap() * unit_us;
        let max_us = report["latencies"][&figure["data-latency"]]["max_us"].as_f64().unwrap();
        assert!((drawn_us - max_us).abs() < 0.2, "{drawn_us} {max_us}");
        assert_eq!(figure["data-series"], "3");
        assert!(figure["data-points"].parse::<u32>().unwrap() >= 2, "{figure:?}");
    }

    let phone = Document::open(&file, PHONE_PX).await.unwrap();
    check_page(&phone, PHONE_PX);
    assert_eq!(phone.elements("canvas").len(), 5);
}

#[tokio::test]
async fn several_runs_are_compared_merged_and_marked() {
    let out = tempfile::tempdir().unwrap();
    let folder = run(out.path()).await;
    let own = report_of(&folder);
    let variant = |name: &str, engine: &str, durability: &str, stored: u64| {
        copy(&folder, name, |report| {
            report["engine"] = json!(engine);
            report["servers"][0]["durability"] = json!(durability);
            report["figures"]["stored_before"] = json!(stored);
            report["notes"] = json!(["</script><img src=x onerror=\"document.title = 'broken'\">"]);
            report["command"] = json!("chatctl </script><script>throw 'broken'</script>");
            report["marks"] = json!([
                {"at_s": 0.5, "label": "kill <b>"},
                {"at_s": 1.0, "until_s": 2.0, "label": "paused"},
            ]);
        })
    };
    let folders = [
        variant("a", "local", "disk", 0),
        variant("b", "local", "disk", 1_000_000),
        variant("c", "redis", "disk", 0),
        variant("d", "redis", "process", 0),
    ];
    let folders: Vec<&str> = folders.iter().map(|folder| folder.to_str().unwrap()).collect();

    let marked = bench(out.path(), &["report", folders[0]]).await;
    assert_eq!(marked.status.code(), Some(0), "{marked:?}");
    let Some(page) = Document::open(&Path::new(folders[0]).join("report.html"), WIDE_PX).await
    else {
        return;
    };
    check_page(&page, WIDE_PX);
    assert_eq!(page.rows("marks"), ["kill <b>", "paused"]);
    assert_eq!(page.number("marks", "paused", "until_s"), Some(2.0));
    let over_time = ["over-time", "rates"];
    for figure in page.elements("figure") {
        let marks = over_time.contains(&figure["data-plot"].as_str()).then_some("2");
        assert_eq!(figure.get("data-marks").map(String::as_str), marks, "{figure:?}");
    }

    let mut arguments = vec!["report"];
    arguments.extend(&folders);
    let compared = bench(out.path(), &arguments).await;
    assert_eq!(compared.status.code(), Some(0), "{compared:?}");
    assert_eq!(String::from_utf8(compared.stdout).unwrap().trim(), "bench-report.html");
    let file = out.path().join("bench-report.html");
    let page = Document::open(&file, WIDE_PX).await.unwrap();
    check_page(&page, WIDE_PX);
    assert_eq!(page.rows("runs").len(), 4);
    let disk = "paired-clients write disk";
    let labels = ["1: local, disk", "2: local, disk, 1000000 stored", "3: redis, disk"];
    assert_eq!(page.rows(disk), labels);
    assert_eq!(page.rows("paired-clients write process"), ["4: redis, process"]);
    for name in PERCENTILES {
        let expected = own["latencies"]["write"][name].as_f64();
        assert_eq!(page.number(disk, "3: redis, disk", name), expected, "{name}");
    }
    let figures = page.elements("figure");
    let of = |kind: &str| figures.iter().filter(|f| f["data-plot"] == kind).collect::<Vec<_>>();
    assert_eq!(of("compare").len(), 3);
    assert!(of("compare").iter().all(|figure| figure["data-series"] == "4"));
    // Three latencies and three rates; only one engine has two volumes.
    assert_eq!(of("growth").len(), 6);
    assert!(of("growth").iter().all(|figure| figure["data-points"] == "2"), "{figures:?}");
    // The runs one by one are drawn when somebody opens them.
    assert_eq!(page.elements("canvas").len(), 9);
    let phone = Document::open(&file, PHONE_PX).await.unwrap();
    check_page(&phone, PHONE_PX);

    // The same samples as another run of the same kind.
    let again = copy(Path::new(folders[3]), "e", |_| {});
    let merged_file = out.path().join("merged.html");
    arguments.extend([again.to_str().unwrap(), "--merge", "--out", merged_file.to_str().unwrap()]);
    let merged = bench(out.path(), &arguments).await;
    assert_eq!(merged.status.code(), Some(0), "{merged:?}");
    let page = Document::open(&merged_file, WIDE_PX).await.unwrap();
    check_page(&page, WIDE_PX);
    let process = "paired-clients write process";
    assert_eq!(page.rows(process), ["4: redis, process (2 runs)"]);
    let twice = own["latencies"]["write"]["count"].as_f64().unwrap() * 2.0;
    assert_eq!(page.number(process, "4: redis, process (2 runs)", "count"), Some(twice));
    assert_eq!(
        page.number(process, "4: redis, process (2 runs)", "p50_us"),
        own["latencies"]["write"]["p50_us"].as_f64()
    );

    // The folder of a table of engines stands for its runs.
    let table = out.path().join("table");
    std::fs::create_dir(&table).unwrap();
    std::fs::write(table.join("engines.json"), "{}").unwrap();
    for folder in &folders[..2] {
        let name = Path::new(folder).file_name().unwrap();
        std::fs::rename(folder, table.join(name)).unwrap();
    }
    let whole = bench(out.path(), &["report", table.to_str().unwrap()]).await;
    assert_eq!(whole.status.code(), Some(0), "{whole:?}");
    let page = Document::open(&table.join("bench-report.html"), WIDE_PX).await.unwrap();
    assert_eq!(page.rows(disk), labels[..2]);
}

#[tokio::test]
async fn folders_that_cannot_be_shown_are_named() {
    let out = tempfile::tempdir().unwrap();
    let folder = run(out.path()).await;
    let newer = copy(&folder, "newer", |report| report["schema_version"] = json!(2));
    let damaged = copy(&folder, "damaged", |_| {});
    let log = std::fs::read(damaged.join("latencies.hlog")).unwrap();
    std::fs::write(damaged.join("latencies.hlog"), &log[..log.len() / 2]).unwrap();
    let good = folder.to_str().unwrap();
    for (wrong, code, said) in [
        (newer.to_str().unwrap(), 1, "newer/report.json has schema_version 2"),
        (damaged.to_str().unwrap(), 1, "damaged/latencies.hlog is damaged"),
        ("nowhere", 1, "nowhere/report.json"),
        (good, 64, "give each folder once"),
    ] {
        let refused = bench(out.path(), &["report", good, wrong]).await;
        assert_eq!(refused.status.code(), Some(code), "{refused:?}");
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(error.contains(said) && refused.stdout.is_empty(), "{error}");
    }
    assert!(!out.path().join("bench-report.html").exists());
    assert_eq!(bench(out.path(), &["report"]).await.status.code(), Some(64));
}

#[tokio::test]
async fn the_schema_is_the_published_one() {
    let printed = bench(Path::new("."), &["schema"]).await;
    assert_eq!(printed.status.code(), Some(0), "{printed:?}");
    let published = include_str!("../../docs/report.schema.json");
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), published);
}
