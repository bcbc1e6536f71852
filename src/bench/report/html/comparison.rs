//! Several runs side by side. Each durability class has tables of its own: a weaker one is faster because it promises less.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::super::Report;
use super::data::Growth;
use super::markup::{Cell, escaped, plot, table};
use super::run_section::{
    LATENCY_COLUMNS, latency_cells, section, started_at, value_cell, verdict,
};
use super::shown_run::ShownRun;
use crate::model::Durability;

/// The title of a page of several runs.
pub fn title(runs: &[ShownRun]) -> String {
    let engines: BTreeSet<&str> = runs.iter().map(|run| run.report().engine.as_str()).collect();
    let engines: Vec<&str> = engines.into_iter().collect();
    let count: usize = runs.iter().map(ShownRun::run_count).sum();
    format!("{count} runs on {}", engines.join(", "))
}

/// The body of a page of several runs.
pub fn page_of_several(runs: &[ShownRun], growths: &[Growth]) -> String {
    let mut html = format!("<h1>{}</h1>\n", escaped(&title(runs)));
    html.push_str(
        "<p>Figures of different durability classes, hosts or loads are not comparable; each class has tables of its own.</p>\n",
    );
    html.push_str(&overview(runs));
    let numbered: Vec<(usize, &ShownRun)> = runs.iter().enumerate().collect();
    for workload in distinct(runs.iter().map(|run| run.report().workload.as_str())) {
        let of = |&&(_, run): &&(usize, &ShownRun)| run.report().workload == workload;
        let of_workload: Vec<_> = numbered.iter().filter(of).copied().collect();
        html.push_str(&format!("<h2>{}</h2>\n", escaped(workload)));
        html.push_str(&latencies(workload, &of_workload));
        html.push_str(&rates(workload, &of_workload));
        let plots = growth_plots(workload, growths);
        if !plots.is_empty() {
            html.push_str(&format!("<h3>Growth</h3>\n{plots}"));
        }
    }
    html.push_str("<h2>Each run</h2>\n");
    for (index, run) in numbered {
        let label = format!("{} ({})", run.label, run.report().workload);
        html.push_str(&format!(
            "<details class=run><summary>{}</summary>\n{}</details>\n",
            escaped(&label),
            section(run, index, 3)
        ));
    }
    html
}

/// One row per run: what it was, and which options tell it from the others of its workload.
fn overview(runs: &[ShownRun]) -> String {
    let row = |run: &ShownRun| {
        let report = run.report();
        let verdicts = distinct(run.reports().map(|report| verdict(report).0));
        vec![
            Cell::text(&run.label),
            Cell::text(&report.workload),
            Cell::text(verdicts.join(", ")),
            Cell::text(distinct(run.reports().map(|report| report.load.as_str())).join(", ")),
            Cell::text(run.reports().map(started_at).collect::<Vec<_>>().join(", ")),
            Cell::text(distinct(run.reports().map(|report| report.host.name.as_str())).join(", ")),
            Cell::text(
                distinct(run.reports().map(|report| report.versions.git_revision.as_str()))
                    .join(", "),
            ),
            Cell::text(differing(run, runs)),
            Cell::text(run.folders.join(", ")),
        ]
    };
    let columns = [
        "run",
        "workload",
        "verdict",
        "load",
        "started at",
        "host",
        "revision",
        "differs in",
        "folder",
    ];
    let rows: Vec<_> = runs.iter().map(row).collect();
    table("runs", "Runs", &columns, &rows)
}

/// Options of a run that are not the same in all runs of its workload.
fn differing(run: &ShownRun, runs: &[ShownRun]) -> String {
    // Names of users are new for every run.
    const NEW_EACH_TIME: [&str; 1] = ["user_prefix"];
    let same_workload =
        runs.iter().filter(|other| other.report().workload == run.report().workload);
    let reports: Vec<&Report> = same_workload.flat_map(ShownRun::reports).collect();
    let mut texts = Vec::new();
    let options = reports.iter().filter_map(|report| report.config.as_object());
    for name in options.flat_map(|options| options.keys()).collect::<BTreeSet<_>>() {
        let differs = reports.windows(2).any(
            |two| matches!(two, [one, other] if one.config.get(name) != other.config.get(name)),
        );
        if differs && !NEW_EACH_TIME.contains(&name.as_str()) {
            let values = run.reports().map(|report| match report.config.get(name) {
                Some(value) => value.to_string(),
                None => "absent".to_owned(),
            });
            let values: BTreeSet<String> = values.collect();
            let values: Vec<String> = values.into_iter().collect();
            texts.push(format!("{name} {}", values.join(" and ")));
        }
    }
    texts.join(", ")
}

/// For each latency the curves of all runs, then a table per durability class.
fn latencies(workload: &str, runs: &[(usize, &ShownRun)]) -> String {
    let mut html = String::new();
    let names = runs.iter().flat_map(|(_, run)| run.drawn().map(|(name, _)| name.as_str()));
    for latency in distinct(names) {
        html.push_str(&format!("<h3>{} latency</h3>\n", escaped(latency)));
        let places: Vec<String> = runs.iter().map(|(index, _)| index.to_string()).collect();
        let attributes = [("runs", places.join(" ")), ("latency", latency.to_owned())];
        let caption = format!("Percentile curves of {latency}");
        html.push_str(&plot(
            "compare",
            &caption,
            "each as far as ten samples lie beyond it",
            &attributes,
        ));
        for (class, runs) in by_durability(runs) {
            let row = |run: &&ShownRun| {
                let mut row = vec![Cell::text(&run.label)];
                row.extend(latency_cells(run, latency));
                row
            };
            let rows: Vec<_> = runs.iter().map(row).collect();
            let columns: Vec<_> = std::iter::once("run").chain(LATENCY_COLUMNS).collect();
            let key = format!("{workload} {latency} {class}");
            html.push_str(&table(&key, &format!("{latency}, durability {class}"), &columns, &rows));
        }
    }
    html
}

/// What each run did per second, what it cost, and how its deliveries were made up: tables per durability class.
fn rates(workload: &str, runs: &[(usize, &ShownRun)]) -> String {
    let mut html = String::from("<h3>Rates and figures</h3>\n");
    for (class, runs) in by_durability(runs) {
        let reports = || runs.iter().flat_map(|run| run.reports());
        let rates = distinct(reports().flat_map(|report| report.rates.keys().map(String::as_str)));
        let figures =
            distinct(reports().flat_map(|report| report.figures.keys().map(String::as_str)));
        let (stages, figures): (Vec<&str>, Vec<&str>) =
            figures.into_iter().partition(|name| name.starts_with("stage_"));
        let columns: Vec<&str> = rates.into_iter().chain(figures).collect();
        for (key, caption, columns) in
            [("rates", "Rates, figures", columns), ("stages", "Stages", stages)]
        {
            if !columns.is_empty() {
                let key = format!("{workload} {key} {class}");
                html.push_str(&values(
                    &key,
                    &format!("{caption}, durability {class}"),
                    &columns,
                    &runs,
                ));
            }
        }
    }
    html
}

/// One row per run, with these rates and figures.
fn values(key: &str, caption: &str, names: &[&str], runs: &[&ShownRun]) -> String {
    let value = |report: &Report, name: &str| {
        report.rates.get(name).or_else(|| report.figures.get(name)).copied()
    };
    let row = |run: &&ShownRun| {
        let mut row = vec![Cell::text(&run.label)];
        row.extend(names.iter().map(|&name| value_cell(run, name, |report| value(report, name))));
        row
    };
    let rows: Vec<_> = runs.iter().map(row).collect();
    let columns: Vec<_> = std::iter::once("run").chain(names.iter().copied()).collect();
    table(key, caption, &columns, &rows)
}

/// What grows in runs of `workload`.
pub fn growth_plots(workload: &str, growths: &[Growth]) -> String {
    let mut html = String::new();
    for (index, growth) in growths.iter().enumerate() {
        if growth.workload == workload {
            let what = if growth.is_latency { "latency" } else { "rate" };
            let caption = format!("{} {what} over {}", growth.of, growth.over);
            let attributes = [("growth", index.to_string())];
            html.push_str(&plot("growth", &caption, "none counts as one", &attributes));
        }
    }
    html
}

/// The runs of each durability class, the strongest class first.
fn by_durability<'a>(runs: &[(usize, &'a ShownRun)]) -> Vec<(String, Vec<&'a ShownRun>)> {
    let mut classes: Vec<(String, Vec<&ShownRun>)> = Vec::new();
    for (_, run) in runs {
        let class = run.report().durability();
        match classes.iter_mut().find(|(known, _)| *known == class) {
            Some((_, runs)) => runs.push(run),
            None => classes.push((class, vec![run])),
        }
    }
    let strength = |class: &str| {
        let parsed = class.parse::<Durability>().ok();
        parsed.map(|durability| (durability.level, durability.replicated))
    };
    classes.sort_by_key(|(class, _)| Reverse(strength(class)));
    classes
}

/// Each once, in the order of the first.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct: Vec<&str> = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}
