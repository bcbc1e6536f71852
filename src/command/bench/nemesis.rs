//! `chatctl bench paired-clients --nemesis …`: what is broken while it measures, and what the run needs for that.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::engines::EnginesArgs;
use super::millis;
use crate::bench::BenchError;
use crate::bench::nemesis_plan::NemesisPlan;
use crate::command::engine_choice::services_of;
use crate::command::init_env;
use crate::command::place::{Place, PlaceOptions};
use crate::harness::duration::parse as duration;
use crate::harness::{HarnessError, TargetOptions};
use crate::nemesis::{Kind, Shape};
use crate::services::Nodes;

/// What is broken.
#[derive(Debug, Args)]
pub(super) struct NemesisArgs {
    /// What is broken while it measures, with commas between, as check validity does: kill, restart, pause and clock (servers started here),
    /// cut, partition and latency (links between clients and servers and between servers and services, which then lead through
    /// proxies), restart-engine and pause-engine (services of --engines that init-env started; one engine, one bus). Clients connect
    /// again and send the same again until it is answered, and the time that takes is in the latencies. The run is a minute long
    /// where neither --duration nor --rate says otherwise. Everything is made whole again
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["messages", "pause", "find_max", "grow"])]
    nemesis: Vec<Kind>,
    /// One thing is broken in each such time; --seed decides what, whom, when and for how long
    #[arg(long, value_parser = duration, default_value = "10s", requires = "nemesis")]
    every: Duration,
    /// Folder of services of its own for --engines beside --nemesis, as init-env --dir makes them, instead of those that variables name.
    /// They go on running: chatctl init-env --dir FOLDER --down
    #[arg(long, requires = "nemesis", requires = "engines", value_name = "FOLDER")]
    services_dir: Option<PathBuf>,
    /// Nodes of Kafka and Cassandra in it: 1 or 3
    #[arg(long, requires = "services_dir", default_value = "1", value_parser = init_env::parse_nodes)]
    service_nodes: Nodes,
}

impl NemesisArgs {
    /// Whether anything is to be broken.
    pub(super) fn is_asked(&self) -> bool {
        !self.nemesis.is_empty()
    }

    /// The plan, if anything is to be broken.
    pub(super) fn plan(&self, seed: u64) -> Option<NemesisPlan> {
        let (kinds, every_ms) = (self.nemesis.clone(), millis(self.every));
        self.is_asked().then_some(NemesisPlan { kinds, every_ms, seed })
    }

    /// Brings up what the run needs, with proxies in its links where they are to be broken. What cannot be broken is refused before
    /// anything is started.
    pub(super) async fn place(
        &self,
        engines: &EnginesArgs,
        options: TargetOptions,
    ) -> anyhow::Result<Place> {
        let choice = engines.only(options.nodes).map_err(BenchError::Usage)?;
        let needed = choice.as_ref().map(|choice| services_of(std::slice::from_ref(choice)));
        let breaks_links = self.nemesis.iter().any(|kind| kind.is_of_link());
        let is_own = options.addresses.is_empty();
        let expected = Shape {
            nodes: if is_own { options.nodes.max(1) } else { 0 },
            links: usize::from(breaks_links),
            services: needed.as_ref().map_or(0, Vec::len),
        };
        let of_url = |text: String| match is_own {
            true => format!("{text}: --engines redis or cassandra, or --distribution"),
            false => text,
        };
        expected.check(&self.nemesis).map_err(|text| BenchError::Usage(of_url(text)))?;
        let place = PlaceOptions {
            choice: choice.as_ref(),
            services_dir: self.services_dir.as_deref(),
            service_nodes: self.service_nodes,
            breaks_links,
        };
        let placed = place.prepare(options).await;
        // Servers that do not start are told of as without a nemesis.
        placed.map_err(|error| match error.downcast::<HarnessError>() {
            Ok(error) => BenchError::from(error).into(),
            Err(error) => error,
        })
    }
}
