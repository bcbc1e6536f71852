//! `chatctl bench paired-clients --engines …`: contestants, and the services that they need.

use std::fmt;
use std::str::FromStr;

use anyhow::Context as _;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::failed;
use crate::bench::BenchError;
use crate::bench::RunOptions;
use crate::bench::engines::{self, Compared, Contestant, EnginesOptions, render};
use crate::bench::paired_clients::PairedClientsOptions;
use crate::bench::report::Verdict;
use crate::command::{Exit, init_env, print_out, style_of_stdout};
use crate::config::{Sources, VariableArgs};
use crate::harness::fresh_name;
use crate::services::ServiceKind;

/// The most messages that may be asked for to be stored.
const VOLUME_MAX: f64 = 1e9;

/// Which engines take part, and how.
#[derive(Debug, Args)]
pub struct EnginesArgs {
    /// Run the same work over each of these, by turns, and print one table: local, redis, cassandra. Services
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

/// An engine's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Local,
    Redis,
    Cassandra,
    Kafka,
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "local" => Ok(Self::Local),
            "redis" => Ok(Self::Redis),
            "cassandra" => Ok(Self::Cassandra),
            "kafka" => Ok(Self::Kafka),
            _ => Err("use local, redis, cassandra (messages) or local, redis, kafka (the bus)"
                .to_owned()),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Local => "local",
            Self::Redis => "redis",
            Self::Cassandra => "cassandra",
            Self::Kafka => "kafka",
        })
    }
}

/// `1000`, `1e3`.
fn volume(text: &str) -> Result<u64, String> {
    match text.trim().parse::<f64>() {
        Ok(volume) if (1.0..=VOLUME_MAX).contains(&volume) && volume.fract() == 0.0 => {
            Ok(volume as u64)
        }
        _ => Err("write a number of messages, like 1000 or 1e3".to_owned()),
    }
}

impl EnginesArgs {
    /// Whether a table was asked for.
    pub(super) fn is_asked(&self) -> bool {
        !self.engines.is_empty()
    }

    /// Runs everybody and prints the table, or what is in `engines.json`.
    pub(super) async fn run(
        self,
        run: RunOptions,
        work: PairedClientsOptions,
        json: bool,
        cancel: &CancellationToken,
    ) -> anyhow::Result<Exit> {
        let mut pairs = Vec::new();
        for &messages in &self.engines {
            for &bus in &self.distribution {
                if messages == Engine::Kafka || bus == Engine::Cassandra {
                    let text = format!("{messages} with {bus} as its bus is nothing that there is");
                    return failed(BenchError::Usage(text));
                }
                let is_alone = messages == Engine::Local || bus == Engine::Local;
                if run.targets.nodes > 1 && is_alone {
                    eprintln!("left out: {messages} with {bus} as its bus runs on one node only");
                    continue;
                }
                pairs.push((messages, bus));
            }
        }
        if pairs.is_empty() {
            let text = "--nodes: nothing that was asked for runs on several nodes";
            return failed(BenchError::Usage(text.to_owned()));
        }
        let mut sources = Sources::of_process(&VariableArgs::default())?;
        let needed = needed(&pairs, run.targets.nodes);
        if !needed.is_empty() {
            init_env::bring_up_for(&needed, &mut sources).await?;
        }
        let nodes = run.targets.nodes;
        let contestants =
            pairs.iter().map(|&(messages, bus)| contestant(messages, bus, nodes, &sources));
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

fn needed(pairs: &[(Engine, Engine)], nodes: usize) -> Vec<ServiceKind> {
    let used = |engine| pairs.iter().any(|&(messages, bus)| messages == engine || bus == engine);
    let mut needed = Vec::new();
    // Several nodes keep who is connected in Redis.
    if used(Engine::Redis) || used(Engine::Kafka) || nodes > 1 {
        needed.push(ServiceKind::Redis);
    }
    if used(Engine::Kafka) {
        needed.push(ServiceKind::Kafka);
    }
    if used(Engine::Cassandra) {
        needed.push(ServiceKind::Cassandra);
    }
    needed
}

fn contestant(
    messages: Engine,
    bus: Engine,
    nodes: usize,
    sources: &Sources,
) -> anyhow::Result<Contestant> {
    let name = match bus {
        Engine::Local => messages.to_string(),
        bus => format!("{messages}-{bus}"),
    };
    let engine = |engine: Engine| engine.to_string().to_uppercase();
    let registry = if nodes > 1 { Engine::Redis } else { Engine::Local };
    let mut environment = vec![
        ("WS_MESSAGE_PERSISTENCE_ENGINE".to_owned(), engine(messages)),
        ("WS_MESSAGE_DISTRIBUTION_ENGINE".to_owned(), engine(bus)),
        ("WS_CONN_PERSISTENCE_ENGINE".to_owned(), engine(registry)),
    ];
    let used = [messages, bus, registry];
    for (engine, key) in [
        (Engine::Redis, "REDIS_URL"),
        (Engine::Kafka, "KAFKA_BROKERS"),
        (Engine::Cassandra, "CASSANDRA_HOSTS"),
    ] {
        if used.contains(&engine) {
            let value = sources.value(key).with_context(|| format!("{key} is not set"))?;
            environment.push((key.to_owned(), value.to_owned()));
        }
    }
    if used.contains(&Engine::Redis) {
        // Nobody else's data, nodes or users.
        let prefix = format!("{}:", fresh_name("bench"));
        environment.push(("CHATCTL_REDIS_PREFIX".to_owned(), prefix));
    }
    Ok(Contestant { name, environment })
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

    #[test]
    fn contestants_are_told_where_their_services_are_and_no_more() {
        let sources = Sources {
            dotenv: [("REDIS_URL", "redis://r"), ("KAFKA_BROKERS", "k:1")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..Sources::default()
        };
        let of = |messages, bus, nodes| contestant(messages, bus, nodes, &sources).unwrap();
        let local = of(Engine::Local, Engine::Local, 1);
        assert_eq!((local.name.as_str(), local.environment.len()), ("local", 3));
        let both = of(Engine::Redis, Engine::Kafka, 3);
        assert_eq!(both.name, "redis-kafka");
        let value = |key: &str| {
            both.environment.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
        };
        assert_eq!(value("WS_MESSAGE_DISTRIBUTION_ENGINE"), Some("KAFKA"));
        assert_eq!(value("WS_CONN_PERSISTENCE_ENGINE"), Some("REDIS"));
        assert_eq!(value("KAFKA_BROKERS"), Some("k:1"));
        assert!(value("CHATCTL_REDIS_PREFIX").unwrap().starts_with("bench-"));
        assert_eq!(value("CASSANDRA_HOSTS"), None);
        let usual = contestant(Engine::Cassandra, Engine::Local, 1, &Sources::default()).unwrap();
        assert_eq!(usual.environment.last().unwrap().0, "CASSANDRA_HOSTS", "its default");
        let all = [(Engine::Cassandra, Engine::Kafka)];
        assert_eq!(
            needed(&all, 1),
            [ServiceKind::Redis, ServiceKind::Kafka, ServiceKind::Cassandra]
        );
        assert!(needed(&[(Engine::Local, Engine::Local)], 1).is_empty());
    }
}
