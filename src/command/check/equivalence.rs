//! `chatctl check equivalence`: the same schedule on each engine, compared.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::check::equivalence::{Answers, Work};
use crate::command::engine_choice::{Engine, EngineChoice, services_of};
use crate::command::place::start_services;
use crate::command::{Exit, print_out};
use crate::config::{Sources, VariableArgs};
use crate::harness::{HarnessError, TargetOptions, Targets, fresh_name};
use crate::services::Nodes;

/// How long one client may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Turns of one pair at most: more messages than a bucket of CASSANDRA holds.
const TURNS_MAX: usize = 1_250;
/// Pairs, as far as there are operations for them.
const PAIRS: usize = 64;

#[derive(Debug, Args)]
pub(super) struct EquivalenceArgs {
    /// Engines to compare, each with the first: local, redis, cassandra, riak
    #[arg(long, value_delimiter = ',', default_value = "local,redis,cassandra")]
    engines: Vec<Engine>,
    /// Operations on each; they are done by pairs of people, 64 or more
    #[arg(long, default_value_t = 100_000)]
    operations: usize,
    /// Decides what is asked
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of services of its own, as init-env --dir makes them, instead of those that variables name
    #[arg(long, value_name = "FOLDER")]
    services_dir: Option<PathBuf>,
}

pub(super) async fn run(args: EquivalenceArgs, cancel: &CancellationToken) -> anyhow::Result<Exit> {
    let choice = |&messages: &Engine| EngineChoice { messages, bus: Engine::Local, nodes: 1 };
    let choices: Vec<EngineChoice> = args.engines.iter().map(choice).collect();
    for choice in &choices {
        choice.check().map_err(HarnessError::Usage)?;
    }
    if choices.len() < 2 {
        let text = "--engines: give at least two to compare";
        return Err(HarnessError::Usage(text.to_owned()).into());
    }
    if args.operations == 0 {
        let text = "--operations must be at least 1";
        return Err(HarnessError::Usage(text.to_owned()).into());
    }
    let turns = (args.operations / PAIRS).clamp(1, TURNS_MAX);
    let work = Work {
        pairs: args.operations.div_ceil(turns),
        turns,
        seed: args.seed,
        connect_timeout: CONNECT_TIMEOUT,
    };
    let mut sources = Sources::of_process(&VariableArgs::default())?;
    let folder = args.services_dir.as_deref();
    let _services =
        start_services(folder, &services_of(&choices), Nodes::One, &mut sources).await?;
    let mut all: Vec<(EngineChoice, Answers)> = Vec::new();
    for choice in choices {
        let begun = Instant::now();
        let answers = Box::pin(answers(&choice, &sources, &work, cancel)).await?;
        if cancel.is_cancelled() {
            print_out("stopped\n")?;
            return Ok(Exit::Inconclusive);
        }
        let (name, count) = (choice.name(), work.operations());
        print_out(&format!("{name}: {count} operations in {:.1?}\n", begun.elapsed()))?;
        all.push((choice, answers));
    }
    let Some(((first, reference), others)) = all.split_first() else { return Ok(Exit::Pass) };
    let mut exit = Exit::Pass;
    for (other, answers) in others {
        let (one, other) = (first.name(), other.name());
        let text = match work.compare(reference, answers) {
            None => format!("{one} and {other}: every answer is the same\n"),
            Some(found) => {
                exit = Exit::Validity;
                format!(
                    "{one} and {other} differ, first in turn {} of pair {} (seed {}): {}\n  {one}: {}\n  {other}: {}\n",
                    found.turn, found.pair, work.seed, found.asked, found.one, found.other
                )
            }
        };
        print_out(&text)?;
    }
    Ok(exit)
}

async fn answers(
    choice: &EngineChoice,
    sources: &Sources,
    work: &Work,
    cancel: &CancellationToken,
) -> anyhow::Result<Answers> {
    let options = TargetOptions {
        nodes: 1,
        environment: choice.environment(sources)?,
        connect_timeout: CONNECT_TIMEOUT,
        ..TargetOptions::default()
    };
    let mut targets = Targets::start(&options).await?;
    let address = targets.addresses().first().context("the server has no address")?.clone();
    let answers = work.run(&address, &fresh_name("same"), cancel).await;
    let stopped = targets.stop().await;
    let answers = answers.with_context(|| format!("{}: an answer is missing", choice.name()))?;
    if let Some(stopped) = stopped {
        anyhow::bail!("{}: {stopped}", choice.name());
    }
    Ok(answers)
}
