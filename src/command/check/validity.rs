//! `chatctl check validity`: servers, what is broken while they are driven, and the verdict.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::{exit_of, print};
use crate::check::drive::{Amount, DriveOptions, Driven, drive};
use crate::check::report::CheckReport;
use crate::check::take_dump;
use crate::checker::judge;
use crate::client::{Address, speak_socketio};
use crate::command::Exit;
use crate::command::black_box::{nodes, server_variable, shown_command};
use crate::command::engine_choice::{Engine, EngineChoice};
use crate::command::format::FormatArgs;
use crate::command::init_env;
use crate::command::place::{Place, PlaceOptions};
use crate::config::socketio_client;
use crate::harness::duration::parse as duration;
use crate::harness::{HarnessError, ResultFolder, TargetOptions, folder_name, fresh_name};
use crate::nemesis::{Kind, Nemesis, schedule};
use crate::services::Nodes;

/// How long one client may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The same where links are broken: another node may let it in.
const CONNECT_TIMEOUT_BROKEN: Duration = Duration::from_secs(3);

/// How long a client tries to connect before it gives up, where nothing is broken on purpose.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same beside a nemesis: longer than any act and what comes after it.
const PATIENCE_BROKEN: Duration = Duration::from_secs(60);

/// Messages of each client where nobody says how much.
const MESSAGES: u64 = 100;
/// How long a run with a nemesis is where nobody says so.
const NEMESIS_DURATION: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(super) struct ValidityArgs {
    /// Server to judge, like ws://127.0.0.1:8080/v1/ws; repeat for several nodes of one store, clients
    /// are spread over them. None: a server is started for this run
    #[arg(long)]
    url: Vec<Address>,
    /// Servers to start, on engines that they share; clients are spread over them
    #[arg(long, default_value_t = 1, value_parser = nodes, conflicts_with = "url")]
    nodes: usize,
    /// Where the started servers keep messages: local, redis, cassandra, riak. Services are brought up as init-env does, where no
    /// variable says where they are
    #[arg(long, conflicts_with = "url")]
    engine: Option<Engine>,
    /// How the started servers hear of each other's messages: local, redis, kafka
    #[arg(long, requires = "engine")]
    distribution: Option<Engine>,
    /// Folder of services of its own for this check, as init-env --dir makes them, instead of those that variables name. They go on
    /// running: chatctl init-env --dir FOLDER --down
    #[arg(long, requires = "engine", value_name = "FOLDER")]
    services_dir: Option<PathBuf>,
    /// Nodes of Kafka and Cassandra in it: 1 or 3
    #[arg(long, requires = "services_dir", default_value = "1", value_parser = init_env::parse_nodes)]
    service_nodes: Nodes,
    /// Environment of the started servers, like CHATCTL_LOCAL_SYNC=never; repeat for several. Their data
    /// is put under TMPDIR
    #[arg(long, value_name = "KEY=VALUE", value_parser = server_variable, conflicts_with = "url")]
    server_env: Vec<(String, String)>,
    /// The same for one of several started servers, which are counted from 1, like 2:CHATCTL_LOG=debug; repeat for several
    #[arg(long, value_name = "N:KEY=VALUE", value_parser = of_node, conflicts_with = "url")]
    node_env: Vec<(usize, (String, String))>,
    /// Sessions at a time; some users have two
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// Messages that each sends; 100 where neither this nor --duration nor --nemesis is given
    #[arg(long, conflicts_with = "duration")]
    messages: Option<u64>,
    /// How long they go on, like 60s; a minute with --nemesis
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// Mean pause between two things that a client does, where the length of the run is given
    #[arg(long, value_parser = duration, default_value = "10ms")]
    pace: Duration,
    /// What is broken meanwhile, with commas between: kill, restart, pause and clock (servers started here), cut, partition and latency
    /// (links between clients and servers and between servers and services, which then lead through proxies), restart-engine and
    /// pause-engine (services that init-env started). Everything is made whole again
    #[arg(long, value_delimiter = ',', conflicts_with = "messages")]
    nemesis: Vec<Kind>,
    /// One thing is broken in each such time
    #[arg(long, value_parser = duration, default_value = "10s", requires = "nemesis")]
    every: Duration,
    /// How the clients connect: websocket, or socketio, which has the stock client of npm do it, in node processes: by turns over
    /// WebSocket, by polling, and from polling upgraded. It is looked for in the node_modules folder that CHATCTL_SOCKETIO_CLIENT names
    #[arg(long, value_enum, default_value = "websocket")]
    transport: Transport,
    /// Decides what is asked, and what is broken
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where result folders are made; nothing there is written over
    #[arg(long, default_value = "results", value_name = "DIR")]
    out: PathBuf,
    /// What user and channel names begin with; the default is new for every run
    #[arg(long)]
    user_prefix: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
}

/// How clients connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Transport {
    Websocket,
    #[value(name = "socketio")]
    SocketIo,
}

impl ValidityArgs {
    /// Has the clients connect as asked.
    fn prepare_clients(&self, certificates: Option<&Path>) -> Result<(), HarnessError> {
        if self.transport == Transport::Websocket {
            return Ok(());
        }
        let modules = socketio_client().ok_or_else(|| {
            "--transport socketio needs the stock client: run `npm install socket.io-client@4.8` somewhere, and set \
             CHATCTL_SOCKETIO_CLIENT to the node_modules folder there"
                .to_owned()
        });
        modules
            .and_then(|modules| {
                speak_socketio(&modules, certificates)
                    .map_err(|error| format!("CHATCTL_SOCKETIO_CLIENT: {error}"))
            })
            .map_err(HarnessError::Usage)
    }

    fn amount(&self) -> Amount {
        let of_nemesis = (!self.nemesis.is_empty()).then_some(NEMESIS_DURATION);
        match (self.messages, self.duration.or(of_nemesis)) {
            (None, Some(length)) => Amount::Time { length, pace: self.pace },
            (messages, _) => Amount::Messages(messages.unwrap_or(MESSAGES)),
        }
    }
}

pub(super) async fn run(
    args: ValidityArgs,
    certificates: Option<&Path>,
    cancel: &CancellationToken,
) -> anyhow::Result<Exit> {
    ResultFolder::check(&args.out)?;
    args.prepare_clients(certificates)?;
    let Place { mut world, addresses } = place(&args).await?;
    let engine = world.targets().engine_label();
    let is_broken = !args.nemesis.is_empty();
    let amount = args.amount();
    let acts = match amount {
        Amount::Time { length, .. } if is_broken => {
            schedule(&args.nemesis, args.every, length, args.seed, &world.shape())
        }
        _ => Ok(Vec::new()),
    };
    let acts = match acts {
        Ok(acts) => acts,
        Err(text) => {
            world.targets_mut().stop().await;
            return Err(HarnessError::Usage(text).into());
        }
    };
    let options = DriveOptions {
        addresses,
        clients: args.clients,
        amount,
        seed: args.seed,
        user_prefix: args.user_prefix.unwrap_or_else(|| fresh_name("check")),
        connect_timeout: if is_broken { CONNECT_TIMEOUT_BROKEN } else { CONNECT_TIMEOUT },
        patience: if is_broken { PATIENCE_BROKEN } else { PATIENCE },
    };
    let driven = Box::pin(drive(&options, Nemesis::new(world, acts), cancel)).await?;
    let Driven { nemesis, mut events, mut shortfalls } = driven;
    let mut notes = Vec::new();
    if is_broken {
        notes.push(format!("the nemesis did {} acts", nemesis.done()));
    }
    let mut world = nemesis.into_world();
    let targets = world.targets_mut();
    let servers = targets.infos().to_vec();
    if !shortfalls.is_empty() {
        notes.extend(targets.log_tail().into_iter().map(|line| format!("server log: {line}")));
    }
    shortfalls.extend(targets.stop().await);
    // Links are still there: its way to the store may lead through one.
    if let Err(reason) = take_dump(targets, &mut events).await {
        shortfalls.push(format!("the store could not be read without a server: {reason}"));
    }
    notes.extend(shortfalls.iter().cloned());
    let verdict = judge(&events).at_most_unknown(shortfalls);
    let mut folder = ResultFolder::create(&args.out, &folder_name("check-validity", &engine))?;
    let command = shown_command();
    let report = CheckReport {
        command: &command,
        options: &options,
        servers: &servers,
        verdict: &verdict,
        notes: &notes,
    };
    report.write(&mut folder, &events)?;
    print(&verdict, args.format.is_json()).context("writing to stdout")?;
    notes.iter().for_each(|note| eprintln!("note: {note}"));
    eprintln!("kept in {}", folder.path().display());
    Ok(exit_of(&verdict))
}

/// Brings up what the run needs, with proxies in its links where they are to be broken.
async fn place(args: &ValidityArgs) -> anyhow::Result<Place> {
    let mut options = TargetOptions {
        addresses: args.url.clone(),
        nodes: args.nodes,
        environment: args.server_env.clone(),
        connect_timeout: CONNECT_TIMEOUT,
        ..TargetOptions::default()
    };
    options.environment_of_each.resize_with(args.nodes, Vec::new);
    for (number, variable) in &args.node_env {
        let of_node = options.environment_of_each.get_mut(number - 1).ok_or_else(|| {
            HarnessError::Usage(format!("--node-env names node {number} of {}", args.nodes))
        })?;
        of_node.push(variable.clone());
    }
    let of_engine = |messages| {
        let bus = args.distribution.unwrap_or(Engine::Local);
        let choice = EngineChoice { messages, bus, nodes: args.nodes };
        choice.check().map(|()| choice).map_err(HarnessError::Usage)
    };
    let choice = args.engine.map(of_engine).transpose()?;
    let place = PlaceOptions {
        choice: choice.as_ref(),
        services_dir: args.services_dir.as_deref(),
        service_nodes: args.service_nodes,
        breaks_links: args.nemesis.iter().any(|kind| kind.is_of_link()),
    };
    place.prepare(options).await
}

/// `2:KEY=VALUE`.
fn of_node(text: &str) -> Result<(usize, (String, String)), String> {
    let (number, variable) = text.split_once(':').unwrap_or(("", ""));
    match number.parse() {
        Ok(number) if number > 0 => Ok((number, server_variable(variable)?)),
        _ => Err("write it as N:KEY=VALUE, with the number of a server from 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_of_one_node_names_it() {
        assert_eq!(of_node("2:A=b:c").unwrap(), (2, ("A".to_owned(), "b:c".to_owned())));
        for wrong in ["A=b", "0:A=b", "x:A=b", "2:A", "2:=b", ""] {
            assert!(of_node(wrong).is_err(), "{wrong}");
        }
    }
}
