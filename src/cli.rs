//! The command line: one tree, one subcommand per file in [`crate::command`].

mod examples;

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::command::bench::BenchArgs;
use crate::command::check::CheckArgs;
use crate::command::completions::CompletionsArgs;
use crate::command::config::ConfigArgs;
use crate::command::demo::DemoArgs;
use crate::command::doctor::DoctorArgs;
use crate::command::dump::DumpArgs;
use crate::command::init_env::InitEnvArgs;
use crate::command::man::ManArgs;
use crate::command::revoke::RevokeArgs;
use crate::command::serve::ServeArgs;
use crate::command::token::TokenArgs;
use crate::command::transfer::{ExportArgs, ImportArgs};

/// A chat backend with pluggable engines, and the harness that judges them.
#[derive(Debug, Parser)]
#[command(name = "chatctl", version, about, disable_help_subcommand = true)]
// Also on a wide terminal: nobody reads longer lines with ease.
#[command(max_term_width = 80)]
pub struct Cli {
    /// What to do; `None`: say what there is to do first.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// The tree of commands, with their examples.
    pub fn tree() -> clap::Command {
        examples::with_examples(Self::command())
    }

    /// Reads a command line, the name of the program first. The error is for people, and also what `--help` answers.
    pub fn read<A: Into<OsString> + Clone>(
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self, clap::Error> {
        Self::from_arg_matches(&Self::tree().try_get_matches_from(arguments)?)
    }
}

/// The subcommands.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "what is said of each, in help too, stands at its arguments")]
pub enum Command {
    Demo(DemoArgs),
    Serve(ServeArgs),
    InitEnv(InitEnvArgs),
    Bench(Box<BenchArgs>),
    Check(Box<CheckArgs>),
    Doctor(Box<DoctorArgs>),
    Config(ConfigArgs),
    Token(TokenArgs),
    Revoke(RevokeArgs),
    Export(Box<ExportArgs>),
    Import(Box<ImportArgs>),
    Completions(CompletionsArgs),
    Man(ManArgs),
    #[command(hide = true)]
    Dump(DumpArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::VARIABLES;

    /// Every command that there is, by the words that lead to it; also what is hidden.
    fn each(command: &mut clap::Command, path: &[String], visit: &mut dyn FnMut(&[String], &str)) {
        visit(path, &command.render_long_help().to_string());
        for below in command.get_subcommands_mut() {
            let path = [path, &[below.get_name().to_owned()]].concat();
            each(below, &path, visit);
        }
    }

    fn helps() -> Vec<(String, String)> {
        let (mut tree, mut helps) = (Cli::tree(), Vec::new());
        tree.build();
        each(&mut tree, &[], &mut |path, help| helps.push((path.join(" "), help.to_owned())));
        helps
    }

    #[test]
    fn verify_cli() {
        Cli::tree().debug_assert();
    }

    /// Clap looks at this only in a build that is slower, and otherwise takes a name that nothing has for nothing.
    #[test]
    fn whatever_is_in_conflict_is_there() {
        fn look(command: &clap::Command) {
            for argument in command.get_arguments() {
                // Panics where a name is unknown.
                let _ = command.get_arg_conflicts_with(argument);
            }
            command.get_subcommands().for_each(look);
        }
        let mut tree = Cli::tree();
        tree.build();
        look(&tree);
        let both = ["chatctl", "bench", "paired-clients", "--find-max", "write.p99<1s"];
        let more = ["--gate", "errors==0"];
        assert!(Cli::read(both).is_ok());
        let error = Cli::read(both.into_iter().chain(more)).unwrap_err().to_string();
        assert!(error.contains("cannot be used with"), "{error}");
    }

    #[test]
    fn every_help_fits_eighty_columns() {
        let helps = helps();
        assert!(helps.len() > 20, "{}", helps.len());
        for (path, help) in helps {
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "chatctl {path} --help: {line}");
            }
        }
    }

    #[test]
    fn every_command_that_does_something_has_examples() {
        for (path, help) in helps() {
            let has = help.contains("\nExamples:\n  chatctl");
            // Hidden, or a part of `baseline`, whose help has them; `schema` takes nothing.
            let needs_none =
                ["dump", "bench schema", "bench baseline save", "bench baseline check"];
            assert_ne!(has, needs_none.contains(&path.as_str()), "{path}");
        }
    }

    #[test]
    fn what_stands_at_the_arguments_is_in_the_help() {
        let helps: std::collections::BTreeMap<_, _> = helps().into_iter().collect();
        for (path, words) in [
            ("bench", "3 a performance gate failed"),
            ("check", "4 invalid"),
            ("demo", "opens nothing"),
            ("doctor", "may run beside servers"),
        ] {
            let help = helps[path].split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(help.contains(words), "chatctl {path} --help: {help}");
        }
    }

    #[test]
    fn serve_has_a_flag_for_every_variable() {
        let help = Cli::tree().find_subcommand_mut("serve").unwrap().render_long_help().to_string();
        // The lines are wrapped at the width of the terminal.
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for variable in VARIABLES {
            assert!(help.contains(&format!("--{} <", variable.flag)), "{}", variable.flag);
            assert!(help.contains(&format!("[env: {}]", variable.key)), "{}", variable.key);
        }
    }

    #[test]
    fn a_flag_reaches_its_variable() {
        let cli = Cli::read(["chatctl", "serve", "--listen", "127.0.0.1:0"]).unwrap();
        let Some(Command::Serve(args)) = cli.command else { panic!("{cli:?}") };
        assert_eq!(args.variables.values()["CHATCTL_LISTEN"], "127.0.0.1:0");
    }

    #[test]
    fn a_mistyped_command_flag_or_word_is_told_what_it_means() {
        for (line, meant) in [
            (&["chatctl", "serv"][..], "'serve'"),
            (&["chatctl", "bench", "paired-client"], "'paired-clients'"),
            (&["chatctl", "serve", "--listn", "x"], "'--listen'"),
            (&["chatctl", "init-env", "--mode", "dockr"], "'docker'"),
            (&["chatctl", "init-env", "--services", "casandra"], "did you mean cassandra?"),
            (&["chatctl", "bench", "paired-clients", "--engines", "locl"], "did you mean local?"),
            (&["chatctl", "check", "validity", "--nemesis", "paus"], "did you mean pause?"),
        ] {
            let error = Cli::read(line).unwrap_err().to_string();
            assert!(error.contains(meant), "{line:?}: {error}");
        }
    }
}
