//! `chatctl bench paired-clients --engines …`: contestants, and the services that they need.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::failed;
use crate::bench::BenchError;
use crate::bench::RunOptions;
use crate::bench::engines::{self, Compared, Contestant, EnginesOptions, render};
use crate::bench::paired_clients::PairedClientsOptions;
use crate::bench::report::Verdict;
use crate::command::engine_choice::{Engine, EngineChoice, services_of};
use crate::command::{Exit, init_env, print_out, style_of_stdout};
use crate::config::{Sources, VariableArgs};

/// The most messages that may be asked for to be stored.
const VOLUME_MAX: f64 = 1e9;

/// Which engines take part, and how.
#[derive(Debug, Args)]
pub struct EnginesArgs {
    /// Run the same work over each of these, by turns, and print one table: local, redis, cassandra, riak. Services
    /// are brought up as init-env does, where no variable says where they are
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["url", "user_prefix", "junit", "summary_md", "push_url"])]
    engines: Vec<Engine>,
    /// Each of them with each of these buses: local, redis, kafka
    #[arg(long, value_delimiter = ',', default_value = "local", requires = "engines")]
    distribution: Vec<Engine>,
    /// How often each is run; forwards and backwards by turns
    #[arg(long, default_value_t = 1, requires = "engines")]
    rounds: usize,
    /// Measure at these volumes of stored messages, on the same servers, like 1e3,1e4,1e5
    #[arg(long, value_delimiter = ',', requires = "engines", value_parser = volume)]
    grow: Vec<u64>,
}

/// `1000`, `1e3`.
pub(super) fn volume(text: &str) -> Result<u64, String> {
    match text.trim().parse::<f64>() {
        Ok(volume) if (1.0..=VOLUME_MAX).contains(&volume) && volume.fract() == 0.0 => {
            Ok(volume as u64)
        }
        _ => Err("write a whole number from 1 to 1e9, like 1000 or 1e3".to_owned()),
    }
}

impl EnginesArgs {
    /// Whether a table was asked for.
    pub(super) fn is_asked(&self) -> bool {
        !self.engines.is_empty()
    }

    /// The one choice for a run that is no comparison; `None` where none was asked for. The error names the flag.
    pub(super) fn only(&self, nodes: usize) -> Result<Option<EngineChoice>, String> {
        match (&self.engines[..], &self.distribution[..], self.rounds) {
            ([], ..) => Ok(None),
            (&[messages], &[bus], 1) => {
                let choice = EngineChoice { messages, bus, nodes };
                choice.check()?;
                match choice.is_too_many_nodes() {
                    true => Err(format!(
                        "--nodes {nodes}: {messages} with {bus} as its bus runs on one node only"
                    )),
                    false => Ok(Some(choice)),
                }
            }
            _ => Err("--engines: a run with --nemesis has one engine and one bus (--distribution), and is run once (--rounds 1)"
                .to_owned()),
        }
    }

    /// Runs everybody and prints the table, or what is in `engines.json`.
    pub(super) async fn run(
        self,
        run: RunOptions,
        work: PairedClientsOptions,
        json: bool,
        cancel: &CancellationToken,
    ) -> anyhow::Result<Exit> {
        let mut choices = Vec::new();
        for &messages in &self.engines {
            for &bus in &self.distribution {
                let choice = EngineChoice { messages, bus, nodes: run.targets.nodes };
                if let Err(text) = choice.check() {
                    return failed(BenchError::Usage(text));
                }
                if choice.is_too_many_nodes() {
                    eprintln!("left out: {messages} with {bus} as its bus runs on one node only");
                    continue;
                }
                choices.push(choice);
            }
        }
        if choices.is_empty() {
            let text = "--nodes: nothing that was asked for runs on several nodes";
            return failed(BenchError::Usage(text.to_owned()));
        }
        let mut sources = Sources::of_process(&VariableArgs::default())?;
        let needed = services_of(&choices);
        if !needed.is_empty() {
            init_env::bring_up_for(&needed, &mut sources).await?;
        }
        let contestants = choices.iter().map(|choice| contestant(choice, &sources));
        let options = EnginesOptions {
            contestants: contestants.collect::<anyhow::Result<_>>()?,
            rounds: self.rounds,
            volumes: self.grow,
            run,
            work,
        };
        let compared = match Box::pin(engines::run(&options, cancel)).await {
            Ok(compared) => compared,
            Err(error) => return failed(error),
        };
        print(&compared, json)?;
        Ok(exit_of(&compared))
    }
}

fn contestant(choice: &EngineChoice, sources: &Sources) -> anyhow::Result<Contestant> {
    Ok(Contestant { name: choice.name(), environment: choice.environment(sources)? })
}

fn print(compared: &Compared, json: bool) -> anyhow::Result<()> {
    let text = match json {
        true => serde_json::to_string_pretty(&compared.rows)? + "\n",
        false => render(&compared.rows, style_of_stdout()),
    };
    print_out(&text)?;
    eprintln!("kept in {}", compared.folder.display());
    Ok(())
}

/// A broken promise of anybody counts; what failed or is not complete leaves the table without an answer. Gates are each
/// row's.
fn exit_of(compared: &Compared) -> Exit {
    let rows = &compared.rows;
    let failed = rows.iter().any(|row| row.failed.is_some() || row.verdict.is_none());
    let mut verdict = rows.iter().filter_map(|row| row.verdict).fold(Verdict::Pass, Verdict::or);
    if failed || compared.aborted || rows.is_empty() {
        verdict = verdict.or(Verdict::Incomplete);
    }
    let gates: Vec<_> = rows.iter().flat_map(|row| row.gates.values().copied()).collect();
    super::exit_of(verdict, &gates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_written_as_people_do() {
        assert_eq!((volume("1000"), volume("1e6")), (Ok(1_000), Ok(1_000_000)));
        for wrong in ["", "0", "-1", "1.5", "1e12", "many"] {
            assert!(volume(wrong).is_err(), "{wrong}");
        }
    }
}
