//! The command line: one tree, one subcommand per file in [`crate::command`].

use clap::{Parser, Subcommand};

use crate::command::bench::BenchArgs;
use crate::command::check::CheckArgs;
use crate::command::config::ConfigArgs;
use crate::command::doctor::DoctorArgs;
use crate::command::dump::DumpArgs;
use crate::command::init_env::InitEnvArgs;
use crate::command::revoke::RevokeArgs;
use crate::command::serve::ServeArgs;
use crate::command::token::TokenArgs;
use crate::command::transfer::{ExportArgs, ImportArgs};

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
    /// Prepare Redis, Kafka and Cassandra for the engines: fetch, start, create what is needed, check, stop
    InitEnv(InitEnvArgs),
    /// Measure a chat server with real clients, and check every delivery
    Bench(Box<BenchArgs>),
    /// Judge a chat server: nothing lost, doubled, reordered, altered or wrongly marked read
    Check(Box<CheckArgs>),
    /// Find out whether a server could start with these settings, and what to do where not
    Doctor(Box<DoctorArgs>),
    /// Show the settings of a server
    Config(ConfigArgs),
    /// Make a token for tests, and print it
    Token(TokenArgs),
    /// Take a user's access away, or one token's: on every node within two seconds
    Revoke(RevokeArgs),
    /// Write all conversations of a message engine into a file
    Export(Box<ExportArgs>),
    /// Put everything that `export` wrote into a message engine
    Import(Box<ImportArgs>),
    /// Print conversations as the message engine has them: ids from stdin, one a line
    #[command(hide = true)]
    Dump(DumpArgs),
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
        // The lines are wrapped at the width of the terminal.
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for variable in VARIABLES {
            assert!(help.contains(&format!("--{} <", variable.flag)), "{}", variable.flag);
            assert!(help.contains(&format!("[env: {}]", variable.key)), "{}", variable.key);
        }
    }

    #[test]
    fn a_flag_reaches_its_variable() {
        let cli = Cli::try_parse_from(["chatctl", "serve", "--listen", "127.0.0.1:0"]).unwrap();
        let Command::Serve(args) = cli.command else { panic!("{cli:?}") };
        assert_eq!(args.variables.values()["CHATCTL_LISTEN"], "127.0.0.1:0");
    }
}
