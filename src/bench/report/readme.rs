//! The page that explains a result folder.

use super::Report;

/// `README.md` of a result folder, with the plain summary in it.
pub fn readme(report: &Report, summary: &str, files: &[String]) -> String {
    let Report { workload, engine, command, started_at, versions, host, .. } = report;
    let aborted =
        if report.aborted { "\n**Stopped with Ctrl-C before it was complete.**\n" } else { "" };
    let servers: String = report
        .servers
        .iter()
        .map(|server| {
            let own = if server.own { "started by the bench, fresh data" } else { "given" };
            let data = server.data_filesystem.as_deref().unwrap_or("unknown");
            format!(
                "| {} | {} | {} | {data} | {own} |\n",
                server.url, server.engine, server.durability
            )
        })
        .collect();
    let durations: Vec<_> =
        report.durations_s.iter().map(|(name, s)| format!("{name} {s:.3} s")).collect();
    let files: String =
        files.iter().map(|name| format!("- `{name}`: {}\n", explain(name))).collect();
    format!(
        "# {workload} on {engine}, {started_at}\n{aborted}\n\
        ```sh\n{command}\n```\n\n\
        | | |\n|---|---|\n\
        | chatctl | {} ({}), {}, {} |\n\
        | host | {}: {}, {} cores, {} MiB |\n\
        | kernel | {} |\n\
        | load | {} |\n\
        | durations | {} |\n\n\
        | server | engine | durability | data on | |\n|---|---|---|---|---|\n{servers}\n\
        Figures of different durability classes are not comparable.\n\n\
        ```text\n{summary}```\n\n## Files\n\n{files}",
        versions.chatctl,
        versions.git_revision,
        versions.profile,
        versions.rustc,
        host.name,
        host.cpu_model,
        host.cores,
        host.memory_bytes >> 20,
        host.kernel,
        report.load,
        durations.join(", "),
    )
}

fn explain(file: &str) -> &'static str {
    match file.rsplit_once('.') {
        Some((_, "json")) => "every number, with `schema_version`",
        Some((_, "html")) => "all of it as a page with plots: open it in a browser",
        Some((_, "hlog")) => "all samples, ns, HdrHistogram interval log with one tag per latency",
        Some((_, "hgrm")) => "percentile distribution, µs, for HdrHistogram plotters",
        _ => "what was printed",
    }
}
