//! `chatctl config show`: the settings of a server, and where each comes from.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Exit, print_out};
use crate::config::{Judged, Shown, Sources, VariableArgs};

/// Show the settings of a server.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every variable as it holds, and where it comes from: flag, environment, .env or default. What is secret is masked
    Show(Box<ShowArgs>),
}

/// What `config show` takes: the variables of the server.
#[derive(Debug, Args)]
struct ShowArgs {
    #[command(flatten)]
    variables: VariableArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the settings. What is wrong with them goes to stderr, and makes it [`Exit::ToolError`].
pub fn run(args: ConfigArgs) -> anyhow::Result<Exit> {
    let ConfigCommand::Show(args) = args.command;
    let sources = Sources::of_process(&args.variables)?;
    let shown = Shown::all(&sources);
    let text = if args.json {
        serde_json::to_string_pretty(&json!({"schema_version": 1, "variables": shown}))? + "\n"
    } else {
        shown.iter().map(line).collect()
    };
    print_out(&text)?;
    for warning in sources.warnings() {
        eprintln!("chatctl: {warning}");
    }
    let errors = Judged::of(&sources).errors;
    for error in &errors {
        eprintln!("chatctl: {error}");
    }
    Ok(if errors.is_empty() { Exit::Pass } else { Exit::ToolError })
}

fn line(shown: &Shown) -> String {
    let Shown { key, .. } = shown;
    match (&shown.value, shown.source) {
        (Some(value), Some(source)) => format!("{key}={value}  ({})\n", source.name()),
        _ => format!("{key} is not set\n"),
    }
}
