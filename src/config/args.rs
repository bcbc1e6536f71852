//! One flag per variable, made from the table.

use std::collections::BTreeMap;

use clap::{Arg, ArgMatches, Command};

use super::{Kind, VARIABLES, Variable};

/// The variables that were given as flags, by key. Not judged yet: a bad value gets the same error
/// whether it came from a flag or from the environment.
#[derive(Debug, Clone, Default)]
pub struct VariableArgs {
    values: BTreeMap<String, String>,
}

impl VariableArgs {
    /// What was given.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }
}

fn flag(variable: &Variable) -> Arg {
    let mut help = variable.doc.to_owned();
    if let Kind::Choice(words) = variable.kind {
        help += &format!(" [one of: {}]", words.join(", "));
    }
    if let Some(default) = variable.default {
        help += &format!(" [default: {default}]");
    }
    help += &format!(" [env: {}]", variable.key);
    Arg::new(variable.key)
        .long(variable.flag)
        .value_name(variable.kind.value_name())
        .help(help)
        .num_args(1)
}

impl clap::Args for VariableArgs {
    fn augment_args(command: Command) -> Command {
        command.args(VARIABLES.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for VariableArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for variable in VARIABLES {
            if let Some(value) = matches.get_one::<String>(variable.key) {
                self.values.insert(variable.key.to_owned(), value.clone());
            }
        }
        Ok(())
    }
}
