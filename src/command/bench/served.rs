//! `chatctl bench floor --engines …`: engines that stand on services, which are brought up.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::bench::BenchError;
use crate::bench::floor::{Served, Service, set_redis_fsync};
use crate::command::engine_choice::{Engine, EngineChoice, services_of};
use crate::command::place::start_services;
use crate::config::{Sources, VariableArgs};
use crate::services::{Nodes, ServiceKind};

#[derive(Debug, Args)]
pub(super) struct ServedArgs {
    /// Measure these too, beside a bare program that writes to the same service: redis, cassandra, kafka (two servers that keep
    /// messages in Redis). Services are brought up as init-env does, where no variable says where they are
    #[arg(long, value_delimiter = ',')]
    engines: Vec<Engine>,
    /// Folder of services of its own for --engines, as init-env --dir makes them, instead of those that variables name. They
    /// go on running: chatctl init-env --dir FOLDER --down
    #[arg(long, requires = "engines", value_name = "FOLDER")]
    services_dir: Option<PathBuf>,
    /// appendfsync of the Redis while it is measured; afterwards it is what it was
    #[arg(long, requires = "engines", value_name = "WHEN", value_parser = ["always", "everysec", "no"])]
    redis_fsync: Option<String>,
}

/// What a setting of Redis was, to be so again.
#[derive(Debug)]
pub(super) struct Before {
    url: String,
    fsync: String,
}

impl ServedArgs {
    /// Brings up what the engines need.
    pub(super) async fn bring_up(&self) -> anyhow::Result<(Vec<Served>, Option<Before>)> {
        let choices: Vec<_> =
            self.engines.iter().map(|&engine| choice(engine)).collect::<Result<_, _>>()?;
        let mut sources = Sources::of_process(&VariableArgs::default())?;
        let needed = services_of(&choices);
        if self.redis_fsync.is_some() && !needed.contains(&ServiceKind::Redis) {
            return Err(usage("--redis-fsync: none of --engines uses Redis"));
        }
        let folder = self.services_dir.as_deref();
        start_services(folder, &needed, Nodes::One, &mut sources).await?;
        let mut served = Vec::new();
        for (engine, choice) in self.engines.iter().zip(&choices) {
            let of = |key: &str| sources.value(key).with_context(|| format!("{key} is not set"));
            let list = |key: &str| -> anyhow::Result<Vec<String>> {
                Ok(of(key)?.split(',').map(|one| one.trim().to_owned()).collect())
            };
            let service = match engine {
                Engine::Cassandra => Service::Cassandra(list("CASSANDRA_HOSTS")?),
                Engine::Kafka => Service::Kafka(list("KAFKA_BROKERS")?),
                // Others were refused above.
                Engine::Redis | Engine::Local | Engine::Riak => {
                    Service::Redis(of("REDIS_URL")?.to_owned())
                }
            };
            let environment = choice.environment(&sources)?;
            let name = choice.name().to_uppercase().replace('-', " + ");
            served.push(Served { name, environment, nodes: choice.nodes, service });
        }
        let before = match &self.redis_fsync {
            Some(fsync) => {
                let url = sources.value("REDIS_URL").context("REDIS_URL is not set")?.to_owned();
                Some(Before { fsync: set(&url, fsync).await?, url })
            }
            None => None,
        };
        Ok((served, before))
    }
}

impl Before {
    /// Makes it so again.
    pub(super) async fn restore(self) -> anyhow::Result<()> {
        set(&self.url, &self.fsync).await.map(drop)
    }
}

fn choice(engine: Engine) -> anyhow::Result<EngineChoice> {
    Ok(match engine {
        Engine::Redis | Engine::Cassandra => {
            EngineChoice { messages: engine, bus: Engine::Local, nodes: 1 }
        }
        Engine::Riak => {
            return Err(usage(
                "--engines riak: no bare program writes to a Riak; give redis, cassandra or kafka",
            ));
        }
        Engine::Kafka => EngineChoice { messages: Engine::Redis, bus: Engine::Kafka, nodes: 2 },
        Engine::Local => {
            return Err(usage(
                "--engines local: LOCAL is measured always; give redis, cassandra or kafka",
            ));
        }
    })
}

fn usage(text: &str) -> anyhow::Error {
    BenchError::Usage(text.to_owned()).into()
}

/// The result is what it was.
async fn set(url: &str, fsync: &str) -> anyhow::Result<String> {
    let before = set_redis_fsync(url, fsync).await.map_err(anyhow::Error::msg);
    before.context("--redis-fsync: appendfsync of the Redis cannot be set")
}
