//! What pages cost as the volume grows.

use super::plot::{Line, svg};
use super::*;
use crate::harness::{Host, ResultFolder, folder_name};

/// Messages in all of the conversations that are read beside the large ones, and in each of them.
const SPREAD: (u64, u64) = (1_000_000, 100);
/// How often each page is read.
const ROUNDS: usize = 4_000;
/// The kinds of pages, and the colour of each.
const WAYS: [(&str, &str); 3] =
    [("open", "#0072b2"), ("newest range", "#d55e00"), ("random cursor", "#009e73")];

/// Percentiles of one kind of page in one volume, µs.
struct Cell {
    p50_us: f64,
    p99_us: f64,
}

impl Cell {
    fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e6;
        Self { p50_us: at(0.5), p99_us: at(0.99) }
    }
}

/// Reads of pages as one conversation grows, and spread over many; one store, reads interleaved. A table and a plot,
/// kept under `results/`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for minutes"]
async fn as_the_volume_grows() {
    let Some(server) = server(&["--appendonly", "no"]) else { return };
    let engine = engine(&fresh_settings(&server)).await;
    let sizes = load::volumes_asked();
    let mut summary = Vec::new();
    let mut say = |line: String| {
        println!("{line}");
        summary.push(line);
    };
    for &size in &sizes {
        let (before, started) = (used_memory(&server), Instant::now());
        let retries = fill(&engine, &[room(&format!("size-{size}"))], size).await;
        let (seconds, bytes) = (started.elapsed().as_secs_f64(), used_memory(&server) - before);
        say(format!(
            "{size}: {:.0} writes/s, {retries} sent again, {:.0} bytes a message",
            size as f64 / seconds,
            bytes as f64 / size as f64
        ));
    }
    let messages = SPREAD.0.min(load::volume_asked());
    let spread: Vec<Room> =
        (0..messages / SPREAD.1).map(|at| room(&format!("spread-{at}"))).collect();
    let before = used_memory(&server);
    let retries = fill(&engine, &spread, SPREAD.1).await;
    say(format!(
        "{} × {}: {retries} sent again, {:.0} bytes a message",
        spread.len(),
        SPREAD.1,
        (used_memory(&server) - before) as f64 / messages as f64
    ));
    // The last column is for those that are spread.
    let mut times = vec![WAYS.map(|_| Vec::new()); sizes.len() + 1];
    for _ in 0..ROUNDS {
        for (which, times) in times.iter_mut().enumerate() {
            let (room, size) = match sizes.get(which) {
                Some(&size) => (room(&format!("size-{size}")), size),
                None => (spread[rand::random_range(0..spread.len())].clone(), SPREAD.1),
            };
            let mut page = RangeQuery { order: Order::Desc, limit: PAGE, ..room.history() };
            let started = Instant::now();
            engine.open(room.opening(&ann(), PAGE)).await.unwrap();
            times[0].push(started.elapsed());
            let started = Instant::now();
            engine.range(page.clone()).await.unwrap();
            times[1].push(started.elapsed());
            let seq = rand::random_range(PAGE as u64 + 1..=size);
            page.start = Some((PAST + (seq - 1) * 1_000, Seq(seq)));
            let started = Instant::now();
            engine.range(page).await.unwrap();
            times[2].push(started.elapsed());
        }
    }
    let cells: Vec<[Cell; WAYS.len()]> =
        times.into_iter().map(|times| times.map(Cell::new)).collect();
    let columns: Vec<_> = sizes.iter().map(u64::to_string).collect();
    say(format!(
        "load {}; p50 / p99 in µs at {}, {} × {}",
        machine_load(),
        columns.join(", "),
        spread.len(),
        SPREAD.1
    ));
    let mut lines = Vec::new();
    for (way, (name, colour)) in WAYS.into_iter().enumerate() {
        let texts: Vec<_> = cells
            .iter()
            .map(|cells| format!("{:.0} / {:.0}", cells[way].p50_us, cells[way].p99_us))
            .collect();
        let (least, most) = (&cells[0][way], &cells[sizes.len() - 1][way]);
        let (p50, p99) = (most.p50_us / least.p50_us, most.p99_us / least.p99_us);
        let texts = texts.join(", ");
        say(format!("{name}: {texts}; most ÷ least: p50 {p50:.2} p99 {p99:.2}"));
        let line = |percentile: &str, dashed, value: fn(&Cell) -> f64| Line {
            name: format!("{name} {percentile}"),
            colour,
            dashed,
            points: sizes
                .iter()
                .zip(&cells)
                .map(|(&size, cells)| (size as f64, value(&cells[way])))
                .collect(),
        };
        lines.extend([
            line("p50", false, |cell| cell.p50_us),
            line("p99", true, |cell| cell.p99_us),
        ]);
    }
    keep(&summary, &lines);
}

fn keep(summary: &[String], lines: &[Line]) {
    let out = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let mut folder = ResultFolder::create(&out, &folder_name("pages", "redis")).unwrap();
    let host = Host::find();
    let title = format!(
        "REDIS: a page of {PAGE} as its conversation grows ({}, {} cores)",
        host.cpu_model, host.cores
    );
    let plot = svg(&title, "messages in the conversation", "µs", lines);
    let mut rows = "line,messages,us\n".to_owned();
    for line in lines {
        let row = |(messages, us): &(f64, f64)| format!("{},{messages},{us:.1}\n", line.name);
        rows.extend(line.points.iter().map(row));
    }
    let text = summary.join("\n");
    let readme = format!(
        "# What pages cost as the volume grows\n\n\
         `CHATCTL_TEST_VOLUME={} cargo test --release figures::pages -- --ignored --nocapture`, revision {}, \
         durability none (`appendonly no`), {} ({} cores, kernel {}).\n\n```text\n{text}\n```\n\n![p50 and p99](pages.svg)\n",
        load::volume_asked(),
        env!("CHATCTL_GIT_REVISION"),
        host.cpu_model,
        host.cores,
        host.kernel,
    );
    for (name, text) in [("README.md", &readme), ("pages.csv", &rows), ("pages.svg", &plot)] {
        folder.write(name, text.as_bytes()).unwrap();
    }
    println!("kept in {}", folder.path().display());
}
