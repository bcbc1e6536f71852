//! The command line: one tree, one subcommand per file in [`crate::command`].

use clap::{Parser, Subcommand};

use crate::command::serve::ServeArgs;

/// A chat backend with pluggable engines, and the harness that judges them.
#[derive(Debug, Parser)]
#[command(name = "chatctl", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a chat server until it is told to stop
    Serve(ServeArgs),
    // `Bench(BenchArgs)` of command/bench.rs goes here.
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::config::VARIABLES;

    #[test]
    fn verify_cli() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_has_a_flag_for_every_variable() {
        let help =
            Cli::command().find_subcommand_mut("serve").unwrap().render_long_help().to_string();
        for variable in VARIABLES {
            assert!(help.contains(&format!("--{} <", variable.flag)), "{}", variable.flag);
            assert!(help.contains(&format!("[env: {}]", variable.key)), "{}", variable.key);
        }
    }

    #[test]
    fn a_flag_reaches_its_variable() {
        let cli = Cli::try_parse_from(["chatctl", "serve", "--listen", "127.0.0.1:0"]).unwrap();
        let Command::Serve(args) = cli.command;
        assert_eq!(args.variables.values()["CHATCTL_LISTEN"], "127.0.0.1:0");
    }
}
