//! `chatctl serve`: settings to engines to a server, until it is told to stop.

use std::future::pending;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use super::document::Document;
#[cfg(feature = "faults")]
use super::engines::break_engines;
use super::engines::{check_durability, open_engines, services_of};
use super::tenancy::{company, tenancy_of};
use super::{Exit, identity, init_env, print_out};
use crate::chat::{ChatService, ChatSettings};
use crate::clock;
use crate::config::{Config, LogFormat, Sources, TlsConfig, VariableArgs, env_example};
use crate::model::{Durability, NodeId};
use crate::protocol::WEBSOCKET_PATH;
use crate::server::{self, Listeners, NodeInfo, PublicTls, ServerSettings};
use crate::tls::ServerIdentity;

/// Run a chat server until it is told to stop.
///
/// Every setting is a flag, a variable of the environment, or a line of .env; flags win over the environment, the environment over .env. One
/// line on stdout says that it is ready, and where; logs go to stderr. SIGTERM and Ctrl-C drain it.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The flags, made from the table of variables.
    #[command(flatten)]
    pub variables: VariableArgs,
    /// First bring up the services that the chosen engines need, as `init-env` does
    #[arg(long)]
    pub with_services: bool,
    /// Print `.env.example` and exit
    #[arg(long, hide = true)]
    pub print_env_example: bool,
    /// Print one of the documents in `docs/` and exit
    #[arg(long, hide = true)]
    pub print_document: Option<Document>,
}

/// Runs a server until a signal stops it (`Pass`) or its engine breaks (`ToolError`).
pub async fn run(args: ServeArgs) -> anyhow::Result<Exit> {
    if args.print_env_example {
        print_out(&env_example())?;
        return Ok(Exit::Pass);
    }
    if let Some(document) = args.print_document {
        print_out(&document.text()?)?;
        return Ok(Exit::Pass);
    }
    let mut sources = Sources::of_process(&args.variables)?;
    if args.with_services {
        let needed = services_of(&Config::load(&sources)?);
        init_env::bring_up_for(&needed, &mut sources).await?;
    }
    let config = Config::load(&sources)?;
    clock::set_offset(config.clock_offset_ms);
    // Writes what is left when it is dropped.
    let _log = start_log(&config, &sources)?;
    refuse_huge_pages();
    for warning in sources.warnings() {
        tracing::warn!("{warning}");
    }
    let (files_max, connections_max) = (raise_file_limit(), config.connections_max);
    let metrics = server::install_metrics()?;
    let tls = match &config.tls {
        Some(files) => Some(public_tls(files).await?),
        None => None,
    };
    let listeners = Listeners {
        tls: tls.clone(),
        public: bind(config.listen, "CHATCTL_LISTEN")?,
        admin: bind(config.admin_listen, "CHATCTL_ADMIN_LISTEN")?,
    };
    // Before the engine opens: a signal while it recovers must not be lost.
    let mut signals = Signals::listen()?;
    let node = NodeId::generate();
    let name = node_name(&config, listeners.public.local_addr()?);
    let engines = open_engines(&config, &node, &name).await?;
    #[cfg(feature = "faults")]
    let engines = break_engines(engines, config.fault);
    check_durability(&config, &engines.store)?;
    if engines.store.persistence.durability() == Durability::NONE {
        // It goes with the process at once. To give its memory back row by row takes a second for each million messages.
        std::mem::forget(Arc::clone(&engines.store.persistence));
    }

    let info = NodeInfo {
        node: node.clone(),
        distribution: engines.distribution.name(),
        registry: engines.registry.name(),
        required_durability: config.require_durability,
    };
    let access = identity::open_access(&config).await?;
    let company = company(&config, engines.store.single.as_deref());
    let tenancy = tenancy_of(&config, &node, &name, company)?;
    let crowded = match &tenancy {
        Some(tenancy) => Some(tenancy.claim().await.context("this node cannot run here")?),
        None => None,
    };
    let chat = ChatService::start(
        engines.store.persistence,
        engines.distribution,
        engines.registry,
        ChatSettings { node, ping: config.ping, limits: config.limits, access },
    )
    .await;
    let chat = match (chat, &tenancy) {
        (Ok(chat), _) => chat,
        (Err(error), None) => return Err(error.into()),
        (Err(error), Some(tenancy)) => {
            tenancy.close().await;
            return Err(error.into());
        }
    };

    let public_address = listeners.public.local_addr()?;
    let admin_address = listeners.admin.local_addr()?;
    if let Some(path) = &config.admin_address_file {
        write_address(path, admin_address)?;
    }
    identity::warn(&config);
    for warning in tls.iter().flat_map(|tls| tls.identity.warnings()) {
        tracing::warn!("{warning}");
    }
    // Only now: a start that fails says why in one line.
    if let Some(files_max) = files_max.filter(|&max| max < connections_max as u64) {
        tracing::info!(
            "this process may hold {files_max} files open, fewer than CHATCTL_CONNECTIONS_MAX={connections_max}; raise its limit (ulimit -n) to take so many clients"
        );
    }
    tracing::info!(%public_address, %admin_address, tls = tls.is_some(), "serving");
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    print_out(&format!("ready {scheme}://{public_address}{WEBSOCKET_PATH}\n"))?;

    let stop = CancellationToken::new();
    let server = server::run(listeners, chat, info, settings(config), metrics, stop.clone());
    let supervise = async {
        let broken = tokio::select! {
            name = signals.next() => {
                tracing::info!("{name}: draining; a second signal ends at once");
                None
            }
            broken = until_broken(engines.store.broken) => {
                Some(anyhow!("the message engine is broken: {broken}"))
            }
            reason = until_broken(crowded) => Some(anyhow!("this node must not run on: {reason}")),
        };
        stop.cancel();
        broken
    };
    let (broken, ()) = {
        let both = async { tokio::join!(supervise, server) };
        tokio::select! {
            ended = both => ended,
            () = second_signal(&stop) => bail!("ended by a second signal before the drain was over"),
        }
    };
    if let Some(tenancy) = &tenancy {
        tenancy.close().await;
    }
    broken.map_or(Ok(Exit::Pass), Err)
}

async fn public_tls(files: &TlsConfig) -> anyhow::Result<PublicTls> {
    let identity = ServerIdentity::load(&files.certificate, &files.key).await?;
    let acceptor = identity.acceptor().map_err(anyhow::Error::msg)?;
    Ok(PublicTls { identity, acceptor })
}

/// What this node is known by after a restart. An address is bound once on a host.
fn node_name(config: &Config, address: SocketAddr) -> String {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    config.node.clone().unwrap_or_else(|| format!("{host}/{address}"))
}

/// The reason, once there is one; an engine that never breaks is waited for without end.
pub(super) async fn until_broken(broken: Option<oneshot::Receiver<String>>) -> String {
    match broken {
        Some(receiver) => match receiver.await {
            Ok(reason) => reason,
            // The engine ended without a complaint.
            Err(_) => pending().await,
        },
        None => pending().await,
    }
}

fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    let listener = match server::bind(address) {
        Ok(listener) => listener,
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("{address} is taken by another process; stop it or set {key} to a free address")
        }
        Err(error) => bail!("cannot listen on {address}: {error}; set {key} to another address"),
    };
    Ok(listener)
}

fn settings(config: Config) -> ServerSettings {
    ServerSettings {
        ping: config.ping,
        drain: config.drain,
        outbox_bytes_max: config.outbox_bytes_max,
        connections_max: config.connections_max,
        connections_per_address_max: config.limits.connections_per_address_max,
        connects_per_s_max: config.limits.connects_per_s_max,
        header_timeout: config.header_timeout,
        origins: config.origins,
        admin_token: config.admin_token,
        ..ServerSettings::default()
    }
}

/// Takes as many file descriptors as the system allows us: each client is one. Shells and service
/// managers often start processes with 1024. The result is the limit, `None` when there is none.
fn raise_file_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// Memory comes in pages of 4 KiB. The allocator asks for pages of 2 MiB, and who touches one first waits until the kernel has cleared all of
/// it: 3 to 6 ms on a virtual machine, eight times a second, in front of every message that stands in line (`bench floor`, G6).
fn refuse_huge_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay as the system has them");
    }
}

/// A library's advice on settings that are chosen on purpose, again with every session.
const QUIETER: &str = "scylla=error";

/// Lines of the log that may wait for somebody to read them.
const LOG_LINES_MAX: usize = 8_192;

/// Logs go to stderr: stdout holds one line and nothing else. By a thread of its own, which leaves out what it cannot get rid of:
/// whoever reads the log must not hold up the chat.
fn start_log(config: &Config, sources: &Sources) -> anyhow::Result<WorkerGuard> {
    let filter = log_filter(config, sources)?;
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LOG_LINES_MAX)
        .thread_name("log")
        .finish(std::io::stderr());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(writer);
    let installed = match config.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    installed.map_err(|error| anyhow!("the log cannot start: {error}"))?;
    Ok(guard)
}

/// What is logged; the error names the variable.
pub(super) fn log_filter(config: &Config, sources: &Sources) -> anyhow::Result<EnvFilter> {
    // What is set comes last and wins.
    EnvFilter::builder()
        .parse(format!("{QUIETER},{}", config.log))
        .map_err(|error| anyhow!("{}: {error}", Config::refuse(sources, "CHATCTL_LOG")))
}

/// Written beside and renamed, so that whoever waits for the file never reads half of it.
fn write_address(path: &Path, address: SocketAddr) -> anyhow::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, format!("{address}\n"))
        .and_then(|()| std::fs::rename(&beside, path))
        .with_context(|| {
            format!(
                "cannot write {}; set CHATCTL_ADMIN_ADDRESS_FILE to a file in a folder that is there",
                path.display()
            )
        })
}

/// The signals that stop a server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Waits for a signal that comes after the drain began.
async fn second_signal(stop: &CancellationToken) {
    stop.cancelled().await;
    match Signals::listen() {
        Ok(mut signals) => drop(signals.next().await),
        Err(_) => pending().await,
    }
}
