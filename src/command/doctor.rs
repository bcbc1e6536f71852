//! `chatctl doctor`: whether a server could start with these settings. It looks at everything that `serve` needs and changes nothing, so
//! that it may run beside servers on the same engines.

mod engines;
mod finding;
mod host;

use std::time::Duration;

use clap::Args;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use serde_json::json;
use tokio::time::timeout;

use self::finding::{Finding, Level};
use super::serve::log_filter;
use super::{Exit, print_out};
use crate::clock;
use crate::config::{Config, Judged, Sources, VariableArgs};

/// How long one check may take: more than any of the limits inside, whose errors say more.
const CHECK_TIME: Duration = Duration::from_secs(10);
const SETTINGS: &str = "settings";

/// Find out whether a server could start with these settings, and what to do where not.
///
/// Looks at settings, data folder, listeners, certificates, keys of tokens, engines and limits of this machine; one line each: ok, warn or
/// fail. Nothing is changed anywhere: it may run beside servers. Exit code 0 when nothing fails, else 1.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The flags, made from the table of variables.
    #[command(flatten)]
    variables: VariableArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints what all checks found.
pub async fn run(args: DoctorArgs) -> anyhow::Result<Exit> {
    let mut findings = Vec::new();
    match Sources::of_process(&args.variables) {
        Err(error) => findings.push(Finding::fail(SETTINGS, error.to_string())),
        Ok(sources) => {
            let (found, config) = settings(&sources);
            findings.extend(found);
            match config {
                Some(config) => {
                    clock::set_offset(config.clock_offset_ms);
                    findings.extend(examine(&config).await);
                }
                None => findings.push(Finding::warn(
                    SETTINGS,
                    "nothing else was looked at; correct the settings and run this again",
                )),
            }
        }
    }
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    let text = if args.json {
        let result = json!({"schema_version": 1, "level": worst, "findings": findings});
        serde_json::to_string_pretty(&result)? + "\n"
    } else {
        findings.iter().map(|finding| format!("{finding}\n")).collect()
    };
    print_out(&text)?;
    Ok(if worst == Level::Fail { Exit::ToolError } else { Exit::Pass })
}

/// What is wrong with the settings, and what is left of them.
fn settings(sources: &Sources) -> (Vec<Finding>, Option<Config>) {
    let Judged { config, errors } = Judged::of(sources);
    let mut findings: Vec<_> =
        errors.iter().map(|error| Finding::fail(SETTINGS, error.to_string())).collect();
    if let Some(Err(error)) = config.as_ref().map(|config| log_filter(config, sources)) {
        findings.push(Finding::fail(SETTINGS, format!("{error:#}")));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(SETTINGS, "every variable has a value that it may have"));
    } else if config.is_some() {
        let text =
            "what follows was found without the values that are refused, as if they were not set";
        findings.push(Finding::warn(SETTINGS, text));
    }
    findings.extend(sources.warnings().into_iter().map(|text| Finding::warn(SETTINGS, text)));
    (findings, config)
}

/// All checks, side by side; the findings in the order of the list.
async fn examine(config: &Config) -> Vec<Finding> {
    let checks = [
        ("data", host::data_folder(config).boxed()),
        ("listen", async { host::listeners(config) }.boxed()),
        ("tls", host::tls(config.tls.as_ref()).boxed()),
        ("identity", engines::identity(config).boxed()),
        ("messages", engines::messages(config).boxed()),
        ("bus", engines::bus(config).boxed()),
        ("registry", engines::registry(config).boxed()),
        ("open_files", async { host::open_files(config) }.boxed()),
    ];
    join_all(checks.map(|(name, check)| in_time(name, check))).await.concat()
}

async fn in_time(name: &'static str, check: BoxFuture<'_, Vec<Finding>>) -> Vec<Finding> {
    timeout(CHECK_TIME, check).await.unwrap_or_else(|_| {
        let text = format!(
            "no result in {} s; see whether the disk or the service that it asks answers at all",
            CHECK_TIME.as_secs()
        );
        vec![Finding::fail(name, text)]
    })
}
