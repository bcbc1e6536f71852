//! `chatctl` alone: what to do first. On stdout and with 0, as `gh` and `cargo` do: nothing went wrong.

use super::{Exit, print_out};

const TEXT: &str = "\
A chat backend with pluggable engines, and the harness that judges them.

Begin with one of these:
  chatctl demo                                see it: two people who chat
  chatctl serve                               run one: http://127.0.0.1:8080/
  chatctl bench paired-clients --clients 50   measure one, check all

chatctl --help has all commands; chatctl COMMAND --help has flags and examples.
";

/// Says it.
pub(super) fn run() -> anyhow::Result<Exit> {
    print_out(TEXT)?;
    Ok(Exit::Pass)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;

    #[test]
    fn three_commands_that_there_are_in_eighty_columns() {
        assert!(TEXT.lines().all(|line| line.len() <= 80), "{TEXT}");
        let commands: Vec<_> = TEXT.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        assert_eq!(commands.len(), 3);
        for line in commands {
            let (command, _) = line.split_once("   ").unwrap();
            Cli::read(command.split(' ')).unwrap();
        }
    }
}
