//! `chatctl completions`: what makes a shell complete our commands.

use clap::Args;
use clap_complete::Shell;

use super::{Exit, print_out};
use crate::cli::Cli;

/// Print what makes a shell complete commands and flags.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints it.
pub fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::tree(), "chatctl", &mut script);
    print_out(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Pass)
}
