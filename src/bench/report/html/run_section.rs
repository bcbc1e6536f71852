//! Everything about one run, or about several that are added up.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Report, Verdict};
use super::comparison::growth_plots;
use super::data::Growth;
use super::markup::{Cell, escaped, number, plot, table};
use super::shown_run::ShownRun;

/// Columns of a table of latencies; all times in ms.
pub const LATENCY_COLUMNS: [&str; 9] = [
    "samples",
    "mean ms",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "p99.9 ms",
    "p99.99 ms",
    "max ms",
    "min ms",
];

/// Which of a report's maps of numbers.
type Floats = fn(&Report) -> &BTreeMap<String, f64>;

/// Counts by name.
type Counts = Vec<(String, u64)>;

const STAGES: &str = "What each stage of a delivery took: <i>stored</i>, until it was durable; <i>told</i>, until the bus had the hint; \
    <i>travelled</i>, from durable to the other server; <i>written</i>, to the socket.";

/// The title of a page of one run.
pub fn title(run: &ShownRun) -> String {
    format!("{} on {}", run.report().workload, run.report().engine)
}

/// The body of a page of one run.
pub fn page_of_one(run: &ShownRun, growths: &[Growth]) -> String {
    let plots = growth_plots(&run.report().workload, growths);
    let plots = if plots.is_empty() { plots } else { format!("<h2>Growth</h2>\n{plots}") };
    format!("<h1>{}</h1>\n{}{plots}", escaped(&title(run)), section(run, 0, 2))
}

/// Everything about the run with this place in the page's data; headings begin at `level`.
pub fn section(run: &ShownRun, index: usize, level: u8) -> String {
    let heading = |text: &str| format!("<h{level}>{text}</h{level}>\n");
    let mut html = head(run);
    html.push_str(&growth(run, &heading));
    html.push_str(&heading("Latencies"));
    html.push_str(&latencies(run));
    let has_samples = run.latencies.iter().any(|(_, histogram)| !histogram.is_empty());
    let place = ("run", index.to_string());
    if has_samples {
        let note = "each as far as ten samples lie beyond it";
        html.push_str(&plot("curves", "Percentile curves", note, std::slice::from_ref(&place)));
    }
    if run.report().growth.is_none() {
        // Each of its latencies is of one part of the time only.
        html.push_str(&over_time(run, &place, &heading));
    }
    html.push_str(&stages(run, &heading));
    html.push_str(&heading("Figures"));
    html.push_str(&figures(run));
    html.push_str(&notes(run, &heading));
    html
}

/// How a verdict is written, with a class for its colour.
pub fn verdict(report: &Report) -> (&'static str, &'static str) {
    match report.verdict {
        Verdict::Pass => ("PASS", "pass"),
        Verdict::Incomplete => ("INCOMPLETE", "incomplete"),
        Verdict::Invalid => ("INVALID", "invalid"),
    }
}

/// The cells of [`LATENCY_COLUMNS`].
pub fn latency_cells(run: &ShownRun, latency: &str) -> Vec<Cell> {
    let Some(stats) = run.stats(latency) else {
        return vec![Cell::Absent; LATENCY_COLUMNS.len()];
    };
    vec![
        Cell::count("count", stats.count),
        Cell::latency("mean_us", stats.mean_us),
        Cell::latency("p50_us", stats.p50_us),
        Cell::latency("p90_us", stats.p90_us),
        Cell::latency("p99_us", stats.p99_us),
        Cell::latency("p999_us", stats.p999_us),
        Cell::latency("p9999_us", stats.p9999_us),
        Cell::latency("max_us", stats.max_us),
        Cell::latency("min_us", stats.min_us),
    ]
}

/// The value of something, or what runs that are added up have between them.
pub fn value_cell(run: &ShownRun, name: &str, value: impl Fn(&Report) -> Option<f64>) -> Cell {
    match run.range(value) {
        None => Cell::Absent,
        Some((least, _)) if run.run_count() == 1 => Cell::figure(name, least),
        Some((least, most)) => Cell::Range(format!("{} … {}", number(least), number(most))),
    }
}

/// Verdict, and what is needed to judge and repeat the run.
fn head(run: &ShownRun) -> String {
    let mut html = String::new();
    for report in run.reports() {
        let (word, class) = verdict(report);
        let correctness = &report.correctness;
        let (deliveries, pages) = (correctness.delivered, correctness.pages_checked);
        let wrong = correctness.violations().into_iter().filter(|&(_, count)| count > 0);
        let mut wrong: Vec<_> = wrong.map(|(name, count)| format!("{name} {count}")).collect();
        if wrong.is_empty() {
            wrong.push("nothing wrong in them".to_owned());
        }
        let check = report.check.as_ref();
        let check =
            check.map(|check| format!(" Recorded and judged: {}.", escaped(&check.shown())));
        let check = check.unwrap_or_default();
        let aborted = match report.aborted {
            true => " <strong>Stopped with Ctrl-C before it was complete.</strong>",
            false => "",
        };
        html.push_str(&format!(
            "<p class=verdict><b class=\"pill {class}\" data-verdict={class}>{word}</b> \
             {deliveries} deliveries and {pages} pages checked: {}.{check}{aborted}</p>\n",
            escaped(&wrong.join(", "))
        ));
    }
    let joined = |fact: &dyn Fn(&Report) -> String| {
        let facts: BTreeSet<String> = run.reports().map(fact).collect();
        facts.into_iter().collect::<Vec<_>>().join("; ")
    };
    let facts = [
        ("Engine", joined(&|report| report.engine.clone())),
        ("Durability", joined(&Report::durability)),
        ("Load", joined(&|report| report.load.clone())),
        ("Started at", joined(&started_at)),
        ("Host", joined(&host)),
        ("chatctl", joined(&version)),
        ("Folder", run.folders.join(", ")),
    ];
    html.push_str("<dl class=facts>\n");
    for (name, fact) in facts.iter().filter(|(_, fact)| !fact.is_empty()) {
        html.push_str(&format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escaped(fact)));
    }
    html.push_str("</dl>\n");
    let commands: BTreeSet<&str> = run.reports().map(|report| report.command.as_str()).collect();
    for command in commands {
        html.push_str(&format!("<pre class=command tabindex=0>{}</pre>\n", escaped(command)));
    }
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for server in run.reports().flat_map(|report| &report.servers) {
        let own = if server.own { "started by the bench, fresh data" } else { "given" };
        rows.push(vec![
            Cell::text(&server.node),
            Cell::Code(server.url.clone()),
            Cell::text(&server.engine),
            Cell::text(&server.durability),
            Cell::text(server.data_filesystem.as_deref().unwrap_or("unknown")),
            Cell::text(own),
        ]);
    }
    let columns = ["node", "address", "engine", "durability", "data on", ""];
    html.push_str(&table("servers", "Servers", &columns, &rows));
    html
}

/// To the second, which is enough to find a run again.
pub fn started_at(report: &Report) -> String {
    match report.started_at.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => report.started_at.clone(),
    }
}

fn host(report: &Report) -> String {
    let host = &report.host;
    let memory_mib = host.memory_bytes >> 20;
    format!(
        "{}: {}, {} cores, {memory_mib} MiB, kernel {}",
        host.name, host.cpu_model, host.cores, host.kernel
    )
}

fn version(report: &Report) -> String {
    let versions = &report.versions;
    format!(
        "{} ({}), {}, {}",
        versions.chatctl, versions.git_revision, versions.profile, versions.rustc
    )
}

fn latencies(run: &ShownRun) -> String {
    let row = |name: &String| {
        let mut row = vec![Cell::text(name)];
        row.extend(latency_cells(run, name));
        row
    };
    let rows: Vec<_> = run.latencies.iter().map(|(name, _)| row(name)).collect();
    let columns: Vec<_> = std::iter::once("latency").chain(LATENCY_COLUMNS).collect();
    let caption = "From all samples; –: too few for this percentile";
    table("latencies", caption, &columns, &rows)
}

/// What operations took at each size.
fn growth(run: &ShownRun, heading: &dyn Fn(&str) -> String) -> String {
    let mut html = String::new();
    for growth in run.reports().filter_map(|report| report.growth.as_ref()) {
        for (caption, rows) in growth.tables() {
            let Some((columns, rows)) = rows.split_first() else { continue };
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            let cells = |row: &Vec<String>| row.iter().map(Cell::text).collect::<Vec<_>>();
            let rows: Vec<Vec<Cell>> = rows.iter().map(cells).collect();
            html.push_str(&table(&format!("growth {caption}"), &caption, &columns, &rows));
        }
    }
    if html.is_empty() { html } else { heading("What operations cost at each size") + &html }
}

fn over_time(
    run: &ShownRun,
    place: &(&'static str, String),
    heading: &dyn Fn(&str) -> String,
) -> String {
    let Some(width) = run.intervals.first().map(|interval| interval.width.as_secs_f64()) else {
        return match run.run_count() {
            1 => String::new(),
            _ => {
                heading("Over time")
                    + "<p>Runs that are added up did not run at the same time: see each run's own report.</p>\n"
            }
        };
    };
    let mut html = heading("Over time");
    let note = format!("per interval of {width} s; a p50 needs 20 samples in it, a p99 1000");
    for (name, histogram) in run.drawn() {
        if !histogram.is_empty() {
            let attributes = [place.clone(), ("latency", name.clone())];
            html.push_str(&plot("over-time", &format!("{name} latency"), &note, &attributes));
        }
    }
    let note = "without the last interval, in which the run ended";
    html.push_str(&plot("rates", "Completed per second", note, std::slice::from_ref(place)));
    if !run.report().marks.is_empty() {
        let seconds = |name: &str, s: Option<f64>| match s {
            Some(s) => Cell::figure(name, s),
            None => Cell::Absent,
        };
        let row = |mark: &super::super::Mark| {
            let (at, until) = (seconds("at_s", Some(mark.at_s)), seconds("until_s", mark.until_s));
            let target = mark.target.as_deref().map_or(Cell::Absent, Cell::text);
            vec![Cell::text(&mark.label), target, at, until]
        };
        let rows: Vec<_> = run.report().marks.iter().map(row).collect();
        html.push_str(&table("marks", "Marks", &["what", "on", "at s", "until s"], &rows));
    }
    html
}

/// What each stage of a delivery took, as `stage_<name>_mean_us` and `stage_<name>_p99_below_us` say.
fn stages(run: &ShownRun, heading: &dyn Fn(&str) -> String) -> String {
    let names = run.reports().flat_map(|report| report.figures.keys()).filter_map(|name| {
        name.strip_prefix("stage_")?.strip_suffix("_mean_us").map(str::to_owned)
    });
    let mut names: Vec<String> = names.collect::<BTreeSet<_>>().into_iter().collect();
    if names.is_empty() {
        return String::new();
    }
    // The way of a message; what is not known comes after.
    let way = ["stored", "told", "travelled", "written"];
    names.sort_by_key(|name| way.iter().position(|known| known == name).unwrap_or(way.len()));
    let figure = |report: &Report, name: &str, what: &str| {
        report.figures.get(&format!("stage_{name}_{what}")).copied()
    };
    let mean = |name: &str| run.range(|report| figure(report, name, "mean_us"));
    let most = names.iter().filter_map(|name| Some(mean(name)?.1)).fold(0.0, f64::max);
    let row = |name: &String| {
        let bar = mean(name).map_or(0.0, |(_, mean)| if most > 0.0 { mean / most } else { 0.0 });
        vec![
            Cell::text(name),
            value_cell(run, "mean_us", |report| figure(report, name, "mean_us")),
            Cell::Bar(bar),
            value_cell(run, "p99_below_us", |report| figure(report, name, "p99_below_us")),
        ]
    };
    let rows: Vec<_> = names.iter().map(row).collect();
    let columns = ["stage", "mean µs", "", "p99 below µs"];
    let table = table("stages", "Of all messages of the run", &columns, &rows);
    format!("{}<p>{STAGES}</p>\n{table}", heading("Stages"))
}

fn figures(run: &ShownRun) -> String {
    let mut html = String::from("<div class=columns>\n");
    let floats: [(&str, &str, Floats); 3] = [
        ("rates", "Rates", |report| &report.rates),
        ("figures", "Figures", |report| &report.figures),
        ("durations", "Durations, s", |report| &report.durations_s),
    ];
    for (key, caption, of) in floats {
        let names: BTreeSet<&String> = run.reports().flat_map(|report| of(report).keys()).collect();
        let names = names.into_iter().filter(|name| !name.starts_with("stage_"));
        let value = |name: &String| value_cell(run, name, |report| of(report).get(name).copied());
        let rows: Vec<_> = names.map(|name| vec![Cell::text(name), value(name)]).collect();
        html.push_str(&facts_table(key, caption, &rows));
    }
    for (key, caption, counts) in counted(run) {
        let row = |(name, count): (String, u64)| vec![Cell::text(&name), Cell::count(&name, count)];
        let rows: Vec<_> = counts.into_iter().map(row).collect();
        html.push_str(&facts_table(key, caption, &rows));
    }
    html.push_str("</div>\n");
    let mut counters: BTreeMap<&String, f64> = BTreeMap::new();
    for (name, grown) in run.reports().flat_map(|report| &report.server_counters) {
        *counters.entry(name).or_default() += grown;
    }
    let row = |(name, grown): (&String, f64)| vec![Cell::text(name), Cell::figure(name, grown)];
    let rows: Vec<_> = counters.into_iter().map(row).collect();
    if !rows.is_empty() {
        let table = table("counters", "How much they grew", &["counter", "by"], &rows);
        html.push_str(&format!("<details><summary>Server counters</summary>\n{table}</details>\n"));
    }
    for report in run.reports() {
        let config = serde_json::to_string_pretty(&report.config).unwrap_or_default();
        html.push_str(&format!(
            "<details><summary>All options</summary>\n<pre tabindex=0>{}</pre></details>\n",
            escaped(&config)
        ));
    }
    html
}

/// What was counted, summed over the runs.
fn counted(run: &ShownRun) -> [(&'static str, &'static str, Counts); 3] {
    let sum = |of: &dyn Fn(&Report) -> Counts| {
        let mut sums: Counts = Vec::new();
        for (name, count) in run.reports().flat_map(of) {
            match sums.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += count,
                None => sums.push((name, count)),
            }
        }
        sums
    };
    let own = |counts: &BTreeMap<String, u64>| -> Counts {
        counts.iter().map(|(name, count)| (name.clone(), *count)).collect()
    };
    let wrong = |report: &Report| -> Counts {
        let checked = [
            ("delivered", report.correctness.delivered),
            ("pages_checked", report.correctness.pages_checked),
        ];
        let all = checked.into_iter().chain(report.correctness.violations());
        all.map(|(name, count)| (name.to_owned(), count)).collect()
    };
    [
        ("counts", "Counts", sum(&|report| own(&report.counts))),
        ("correctness", "Correctness", sum(&wrong)),
        ("errors", "Error answers", sum(&|report| own(&report.errors))),
    ]
}

fn facts_table(key: &str, caption: &str, rows: &[Vec<Cell>]) -> String {
    match rows {
        [] => String::new(),
        rows => table(key, caption, &["", ""], rows),
    }
}

fn notes(run: &ShownRun, heading: &dyn Fn(&str) -> String) -> String {
    let notes: BTreeSet<&String> = run.reports().flat_map(|report| &report.notes).collect();
    // In their own order where there is one.
    let notes: Vec<&String> = match run.run_count() {
        1 => run.report().notes.iter().collect(),
        _ => notes.into_iter().collect(),
    };
    if notes.is_empty() {
        return String::new();
    }
    let items: String = notes.iter().map(|note| format!("<li>{}</li>\n", escaped(note))).collect();
    format!("{}<ul class=notes>\n{items}</ul>\n", heading("Notes"))
}
