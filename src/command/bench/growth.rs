//! `chatctl bench growth`: its options, and the engines that it is run on.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::engines::volume;
use super::{CommonArgs, millis};
use crate::bench::growth::{self, Axis, GrowthOptions};
use crate::bench::{BenchError, Finished};
use crate::command::engine_choice::{Engine, EngineChoice, services_of};
use crate::command::place::start_services;
use crate::config::{Sources, VariableArgs};
use crate::harness::TargetOptions;
use crate::harness::duration::parse as duration;
use crate::services::Nodes;

#[derive(Debug, Args)]
pub(super) struct GrowthArgs {
    #[command(flatten)]
    pub(super) common: CommonArgs,
    /// What grows
    #[arg(long, value_enum)]
    of: AxisArg,
    /// How far, in ascending steps, like 1e3,1e4,1e5
    #[arg(long, value_delimiter = ',', value_parser = volume, required = true)]
    sizes: Vec<u64>,
    /// Where the started servers keep messages: local, redis, cassandra, riak. Services are brought up as init-env does, where no
    /// variable says where they are
    #[arg(long, conflicts_with = "url")]
    engine: Option<Engine>,
    /// How the started servers hear of each other's messages: local, redis, kafka
    #[arg(long, requires = "engine")]
    distribution: Option<Engine>,
    /// Folder of services of its own for --engine, as init-env --dir makes them, instead of those that variables name. They
    /// go on running: chatctl init-env --dir FOLDER --down
    #[arg(long, requires = "engine", value_name = "FOLDER")]
    services_dir: Option<PathBuf>,
    /// How often each operation is done at each size; a p99 needs 1000
    #[arg(long, default_value_t = 1_000)]
    operations: u64,
    /// Do the same for this long before each size is measured
    #[arg(long, value_parser = duration, default_value = "2s")]
    warmup: Duration,
    /// Bytes of each message's content
    #[arg(long, default_value_t = 256)]
    size: usize,
    /// Decides contents and the random times that are read at
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A message that is not delivered after so long is lost
    #[arg(long, default_value = "10s", value_parser = duration)]
    delivery_wait: Duration,
}

/// What grows.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum AxisArg {
    /// Messages in one conversation
    Messages,
    /// Conversations in the store, up to 1000 of them one user's
    Conversations,
    /// Other connections, which say nothing
    Connections,
    /// Servers, on engines that they share
    Nodes,
}

impl From<AxisArg> for Axis {
    fn from(arg: AxisArg) -> Self {
        match arg {
            AxisArg::Messages => Self::Messages,
            AxisArg::Conversations => Self::Conversations,
            AxisArg::Connections => Self::Connections,
            AxisArg::Nodes => Self::Nodes,
        }
    }
}

impl GrowthArgs {
    pub(super) async fn run(self, cancel: &CancellationToken) -> anyhow::Result<Finished> {
        let options = GrowthOptions {
            of: self.of.into(),
            sizes: self.sizes,
            operations: self.operations,
            warmup_ms: millis(self.warmup),
            size_bytes: self.size,
            seed: self.seed,
            user_prefix: self.common.user_prefix(),
            connect_timeout_ms: millis(self.common.connect_timeout),
            delivery_wait_ms: millis(self.delivery_wait),
        };
        let mut run = self.common.run_options(&[]);
        // Before services are brought up for nothing.
        options.validate(&run.targets)?;
        if let Some(messages) = self.engine {
            let bus = self.distribution.unwrap_or(Engine::Local);
            let nodes = match options.of {
                Axis::Nodes => options.sizes.iter().max().map_or(1, |&nodes| nodes as usize),
                _ => run.targets.nodes,
            };
            let choice = EngineChoice { messages, bus, nodes };
            use_engines(&choice, self.services_dir.as_deref(), &mut run.targets).await?;
        }
        Ok(Box::pin(growth::run(&run, &options, cancel)).await?)
    }
}

/// Brings up what the engines need, and tells the servers of it; what the user says of the servers stands above it.
async fn use_engines(
    choice: &EngineChoice,
    services_dir: Option<&std::path::Path>,
    targets: &mut TargetOptions,
) -> anyhow::Result<()> {
    choice.check().map_err(BenchError::Usage)?;
    if choice.is_too_many_nodes() {
        let text = format!(
            "--engine {} with --distribution {} runs on one node only: use redis or cassandra with redis or kafka",
            choice.messages, choice.bus
        );
        return Err(BenchError::Usage(text).into());
    }
    let mut sources = Sources::of_process(&VariableArgs::default())?;
    let needed = services_of(std::slice::from_ref(choice));
    start_services(services_dir, &needed, Nodes::One, &mut sources).await?;
    targets.label = Some(choice.name());
    targets.environment.splice(0..0, choice.environment(&sources)?);
    Ok(())
}
