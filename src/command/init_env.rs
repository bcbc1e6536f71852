//! `chatctl init-env`: real services for the engines, from nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum};

use super::engines::{brokers, cassandra_access};
use super::{Exit, print_out};
use crate::config::{
    DotenvMerge, KeptPlace, ServicesConfig, Sources, VariableArgs, cache_folder, state_folder,
};
use crate::persistence::cassandra;
use crate::services::{
    self, ComposePrograms, Environment, ExternalAddresses, Mode, Nodes, Plan, Ports, Progress,
    Provision, ServiceKind, ServiceReport, find_engine,
};
use crate::tls;

/// The tables of the CASSANDRA engine.
pub const CASSANDRA_SCHEMA: &[services::SchemaFile] = &[
    services::SchemaFile { version: cassandra::SCHEMA[0].0, cql: cassandra::SCHEMA[0].1 },
    services::SchemaFile { version: cassandra::SCHEMA[1].0, cql: cassandra::SCHEMA[1].1 },
];

/// Prepare Redis, Kafka and Cassandra for the engines: fetch, start, create what is needed, check, stop.
///
/// A Riak, which nobody can fetch, is looked at (--mode external --services riak).
///
/// Run again, it changes nothing. Where they are is written to a block of its own in .env, which `serve`, `bench` and `check` read.
#[derive(Debug, Args)]
pub struct InitEnvArgs {
    /// Who runs the services: child processes of ours (native), a container engine (docker), or somebody else
    /// (external: at REDIS_URL, KAFKA_BROKERS, CASSANDRA_HOSTS, RIAK_URL) [default: docker where an engine answers, else native]
    #[arg(long, value_enum, overrides_with = "mode")]
    mode: Option<ModeArg>,
    /// Which services, with commas between: redis, valkey, kafka, cassandra, riak (external only)
    #[arg(long, value_delimiter = ',', default_value = "redis,kafka,cassandra")]
    services: Vec<ServiceKind>,
    /// Nodes of Kafka and of Cassandra, 1 or 3; Redis is one in any case
    #[arg(long, default_value = "1", value_parser = parse_nodes)]
    nodes: Nodes,
    /// First wipe what init-env made for these services, and nothing else; says what
    #[arg(long, conflicts_with = "check")]
    reset: bool,
    /// Change nothing: print each service, its version, address, durability settings, and whether it is healthy
    #[arg(long, conflicts_with = "down")]
    check: bool,
    /// Stop the services; their data stays unless --reset is given too
    #[arg(long)]
    down: bool,
    /// Print what would be in .env instead of writing it
    #[arg(long, conflicts_with_all = ["check", "down"])]
    print: bool,
    /// Where the services keep their files [default: ~/.local/state/chatctl/services]
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Take free ports instead of the documented ones when the folder is new
    #[arg(long, hide = true)]
    fresh_ports: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    Native,
    Docker,
    External,
}

pub(super) fn parse_nodes(text: &str) -> Result<Nodes, String> {
    match text {
        "1" => Ok(Nodes::One),
        "3" => Ok(Nodes::Three),
        _ => Err("use 1 or 3".to_owned()),
    }
}

/// Brings the services up, or checks, stops or wipes them. `ToolError` when one is not healthy.
pub async fn run(args: InitEnvArgs) -> anyhow::Result<Exit> {
    let sources = Sources::of_process(&VariableArgs::default())?;
    let plan = args.plan(&sources).await?;
    if args.check {
        let reports = services::check(&plan).await?;
        print_out(&table(&reports))?;
        return Ok(verdict(&reports));
    }
    let progress = Progress::on_stderr();
    let environment = Environment::open(plan, &progress).await?;
    if args.reset {
        for what in environment.wipes().await? {
            progress.note(&format!("wipes {what}"));
        }
        environment.wipe(&progress).await?;
    }
    if args.down {
        if !args.reset {
            environment.down(&progress).await?;
        }
        return Ok(Exit::Pass);
    }
    let reports = environment.up(&progress).await;
    if verdict(&reports) == Exit::Pass {
        let path = Path::new(".env");
        let merge = DotenvMerge::of_file(path, &environment.variables())?;
        say_what_was_kept(&merge, &progress);
        if args.print {
            print_out(&merge.text)?;
            return Ok(Exit::Pass);
        }
        merge.write(path)?;
        if !merge.written.is_empty() {
            progress.note(&format!("wrote {} to .env", merge.written.join(", ")));
        }
    }
    print_out(&table(&reports))?;
    Ok(verdict(&reports))
}

/// Brings up the services of these kinds for a server, unless the user says where they are; puts their addresses into
/// `sources`, beneath whatever the user has set. What we run ourselves, if any.
pub async fn bring_up_for(
    kinds: &[ServiceKind],
    sources: &mut Sources,
) -> anyhow::Result<Option<Environment>> {
    let progress = Progress::on_stderr();
    let of_user = |key: &'static str| {
        let set =
            |map: &BTreeMap<String, String>| map.get(key).is_some_and(|text| !text.is_empty());
        let in_dotenv = DotenvMerge::of_file(Path::new(".env"), &[(key, String::new())]);
        // A block of ours may be replaced; anything else in .env is the user's.
        let ours = in_dotenv.is_ok_and(|merge| merge.kept.iter().all(|kept| kept.key != key));
        set(&sources.flags) || set(&sources.environment) || (set(&sources.dotenv) && !ours)
    };
    // A Riak is somebody else's also where its address is the default.
    let is_theirs =
        |kind: &ServiceKind| *kind == ServiceKind::Riak || of_user(address_variable(*kind));
    let (theirs, ours): (Vec<_>, Vec<_>) = kinds.iter().copied().partition(is_theirs);
    if !theirs.is_empty() {
        let plan = plan(sources, Some(Mode::External), theirs, Nodes::One, None, Ports::Free);
        Box::pin(bring_up(plan.await?, &progress)).await?;
    }
    if ours.is_empty() {
        return Ok(None);
    }
    let plan = plan(sources, None, ours, Nodes::One, None, Ports::Free).await?;
    let environment = Box::pin(bring_up(plan, &progress)).await?;
    tell(&environment, &mut sources.dotenv);
    Ok(Some(environment))
}

/// Brings up services of these kinds in a folder of their own, as child processes, whatever the user's variables say; puts their
/// addresses into `sources`, above everything else.
pub async fn bring_up_in(
    folder: PathBuf,
    kinds: &[ServiceKind],
    nodes: Nodes,
    sources: &mut Sources,
) -> anyhow::Result<Environment> {
    let (mode, kinds) = (Some(Mode::Native), kinds.to_vec());
    // Several such folders may be new at the same moment: each would find the documented ports free.
    let plan = plan(sources, mode, kinds, nodes, Some(folder), Ports::FreshFirst).await?;
    let environment = Box::pin(bring_up(plan, &Progress::on_stderr())).await?;
    tell(&environment, &mut sources.flags);
    Ok(environment)
}

async fn bring_up(plan: Plan, progress: &Progress) -> anyhow::Result<Environment> {
    let environment = Environment::open(plan, progress).await?;
    for report in environment.up(progress).await {
        if let Err(error) = report.health {
            bail!("{error}");
        }
    }
    Ok(environment)
}

fn tell(environment: &Environment, variables: &mut BTreeMap<String, String>) {
    let found = environment.variables().into_iter();
    variables.extend(found.map(|(key, value)| (key.to_owned(), value)));
}

fn address_variable(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Redis | ServiceKind::Valkey => "REDIS_URL",
        ServiceKind::Kafka => "KAFKA_BROKERS",
        ServiceKind::Cassandra => "CASSANDRA_HOSTS",
        ServiceKind::Riak => "RIAK_URL",
    }
}

impl InitEnvArgs {
    async fn plan(&self, sources: &Sources) -> anyhow::Result<Plan> {
        let mode = self.mode.map(|mode| match mode {
            ModeArg::Native => Mode::Native,
            ModeArg::Docker => Mode::Docker,
            ModeArg::External => Mode::External,
        });
        let mut kinds = self.services.clone();
        kinds.sort_unstable();
        kinds.dedup();
        let ports = if self.fresh_ports { Ports::FreshFirst } else { Ports::Free };
        plan(sources, mode, kinds, self.nodes, self.dir.clone(), ports).await
    }
}

async fn plan(
    sources: &Sources,
    mode: Option<Mode>,
    kinds: Vec<ServiceKind>,
    nodes: Nodes,
    folder: Option<PathBuf>,
    ports: Ports,
) -> anyhow::Result<Plan> {
    let config = ServicesConfig::load(sources)?;
    let mode = match mode {
        Some(mode) => mode,
        None if find_engine(&ComposePrograms::default()).await.is_ok() => Mode::Docker,
        None => Mode::Native,
    };
    let homeless =
        || anyhow!("this user has no home folder; say where with --dir, and set XDG_CACHE_HOME");
    let folder = match folder {
        Some(folder) => folder,
        None => state_folder().ok_or_else(homeless)?.join("services"),
    };
    let looks_at_redis = mode == Mode::External
        && kinds.iter().any(|kind| matches!(kind, ServiceKind::Redis | ServiceKind::Valkey));
    if let Some(variable) = config.redis_place.variable().filter(|_| looks_at_redis) {
        bail!(
            "one server is looked at here, and not who says where it is; name it by REDIS_URL=redis://host:port, without {variable}"
        );
    }
    let redis_authority = match &config.redis_tls_ca {
        None => None,
        Some(file) => Some(tls::read_certificates("CHATCTL_REDIS_TLS_CA", file)?),
    };
    Ok(Plan {
        mode,
        kinds,
        nodes,
        folder,
        cache: cache_folder().ok_or_else(homeless)?,
        external: Box::new(ExternalAddresses {
            redis_url: config.redis_url.expose().to_owned(),
            redis_authority,
            kafka: brokers(&config.kafka_brokers, &config.kafka_access)?,
            cassandra: config.cassandra_hosts,
            cassandra_access: cassandra_access(
                config.cassandra_login.as_ref(),
                &config.cassandra_tls,
            )?,
            riak_url: config.riak_url,
            riak_bucket_type: config.riak_bucket_type,
        }),
        ports,
        provision: Provision {
            kafka_topic: config.kafka_topic,
            kafka_partitions: config.kafka_partitions,
            cassandra_keyspace: config.cassandra_keyspace,
            cassandra_replication: u32::try_from(nodes.count()).unwrap_or(1),
            cassandra_schema: CASSANDRA_SCHEMA,
        },
    })
}

fn say_what_was_kept(merge: &DotenvMerge, progress: &Progress) {
    for kept in merge.kept.iter().filter(|kept| !kept.agrees) {
        let place = match kept.place {
            KeptPlace::EditedBlock => "in the block of init-env, edited by hand",
            KeptPlace::Outside => "in .env",
        };
        progress.note(&format!(
            "kept your {} ({place}): it leads elsewhere than to the service that runs now",
            kept.key
        ));
    }
}

fn verdict(reports: &[ServiceReport]) -> Exit {
    if reports.iter().all(|report| report.health.is_ok()) { Exit::Pass } else { Exit::ToolError }
}

/// One line a service, and the reason beneath where one is not healthy.
fn table(reports: &[ServiceReport]) -> String {
    let head =
        ["service", "version", "address", "memory", "durability", "state"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(reports.iter().map(row)).collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text += "\n";
    }
    for report in reports {
        if let Err(error) = &report.health {
            text += &format!("\n{}: {error}\n", report.kind);
        }
    }
    text
}

fn row(report: &ServiceReport) -> [String; 6] {
    let unknown = || "-".to_owned();
    let memory =
        report.resident_bytes.map_or_else(unknown, |bytes| format!("{} MB", bytes / 1_000_000));
    let (version, durability, state) = match &report.health {
        Ok(health) => {
            let version = health.version.clone().unwrap_or_else(unknown);
            (version, health.durability.clone(), "healthy")
        }
        Err(_) => (unknown(), unknown(), "not healthy"),
    };
    let address = report.addresses.join(",");
    [report.kind.name().to_owned(), version, address, memory, durability, state.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::{Health, ServiceError};

    #[test]
    fn the_table_says_what_is_healthy_and_why_not() {
        let report = |kind, address: &str, resident_bytes, health| ServiceReport {
            kind,
            addresses: vec![address.to_owned()],
            resident_bytes,
            created: Vec::new(),
            health,
        };
        let health = Health {
            version: Some("7.0.15".into()),
            durability: "appendonly yes, appendfsync always, noeviction".into(),
        };
        let broken =
            ServiceError::unhealthy(ServiceKind::Kafka, "127.0.0.1:19092")("nobody listens");
        let reports = [
            report(ServiceKind::Redis, "127.0.0.1:16379", Some(12_345_678), Ok(health)),
            report(ServiceKind::Kafka, "127.0.0.1:19092", None, Err(broken)),
        ];
        insta::assert_snapshot!(table(&reports), @r"
        service  version  address          memory  durability                                      state
        redis    7.0.15   127.0.0.1:16379  12 MB   appendonly yes, appendfsync always, noeviction  healthy
        kafka    -        127.0.0.1:19092  -       -                                               not healthy

        kafka: kafka at 127.0.0.1:19092: nobody listens
        ");
        assert_eq!(verdict(&reports), Exit::ToolError);
    }
}
