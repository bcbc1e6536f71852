//! The workload `idle-connections`: what a connection costs that says nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::crowd::{Connected, connect_crowd};
use super::error::BenchError;
use super::file_limit::make_room_for;
use super::recorder::Recorder;
use super::run::{Findings, Finished, Run, RunOptions};
use crate::client::Client;
use crate::harness::Targets;

/// How often memory is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Looks in a row that must agree before the server counts as quiet.
const QUIET_LOOKS: usize = 6;

/// Longest wait for quiet; a server that never is gets its last value.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(20);

/// Options of the workload.
#[derive(Debug, Clone, Serialize)]
pub struct IdleConnectionsOptions {
    /// Connections, each with `hello` only.
    pub clients: usize,
    /// How long one may take to connect, ms.
    pub connect_timeout_ms: u64,
    /// What user names begin with.
    pub user_prefix: String,
}

/// Connects everybody, waits until the server is quiet, and divides its growth by the clients.
pub async fn run(
    run_options: &RunOptions,
    options: &IdleConnectionsOptions,
    cancel: &CancellationToken,
) -> Result<Finished, BenchError> {
    if options.clients == 0 {
        return Err(BenchError::Usage("--clients 0: give at least 1".into()));
    }
    make_room_for(options.clients)?;
    let run = Run::begin("idle-connections", run_options, &["connect"]).await?;
    let before = quiet_bytes(run.targets(), cancel).await?;
    let connecting_since = Instant::now();
    let clients = connect_all(&run, options, cancel).await?;
    let connecting_s = connecting_since.elapsed().as_secs_f64();
    let after = quiet_bytes(run.targets(), cancel).await?;

    let connected = clients.iter().filter(|client| !client.is_closed()).count();
    let per_connection = after.saturating_sub(before) as f64 / connected.max(1) as f64;
    let named = |values: &[(&str, f64)]| {
        values.iter().map(|&(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>()
    };
    let findings = Findings {
        config: serde_json::to_value(options).unwrap_or_default(),
        durations_s: named(&[("connecting", connecting_s)]),
        rates: named(&[("connects_per_s", connected as f64 / connecting_s)]),
        figures: named(&[
            ("resident_bytes_before", before as f64),
            ("resident_bytes_after", after as f64),
            ("bytes_per_idle_connection", per_connection),
        ]),
        counts: BTreeMap::from([("connected".to_owned(), connected as u64)]),
        complete: connected == options.clients,
        aborted: cancel.is_cancelled(),
        notes: vec![
            "resident memory of the server's process; what the kernel holds for a socket is not in it"
                .to_owned(),
        ],
        ..Findings::default()
    };
    drop(clients);
    run.finish(findings).await
}

async fn connect_all(
    run: &Run,
    options: &IdleConnectionsOptions,
    cancel: &CancellationToken,
) -> Result<Vec<Client>, BenchError> {
    let addresses = run.targets().addresses();
    run.record.start();
    let connect_timeout = Duration::from_millis(options.connect_timeout_ms);
    let connecting =
        connect_crowd(addresses, &options.user_prefix, 0..options.clients, connect_timeout);
    let connected = tokio::select! {
        connected = connecting => connected?,
        () = cancel.cancelled() => Vec::new(),
    };
    let mut recorder = Recorder::new();
    let clients = connected.into_iter().map(|Connected { client, asked_at, connected_at }| {
        recorder.record(0, connected_at, connected_at.duration_since(asked_at));
        client
    });
    let clients = clients.collect();
    run.record.merge(&mut recorder);
    Ok(clients)
}

/// Resident memory once it stays within half a percent.
async fn quiet_bytes(targets: &Targets, cancel: &CancellationToken) -> Result<u64, BenchError> {
    let deadline = Instant::now() + QUIET_WAIT_MAX;
    let mut looks: Vec<u64> = Vec::new();
    loop {
        let bytes = targets.resident_bytes().await.ok_or_else(|| {
            BenchError::Unmeasurable(
                "the server's memory cannot be read: it has ended, or, with --url, give --admin host:port for its chatctl_process_resident_bytes"
                    .to_owned(),
            )
        })?;
        looks.push(bytes);
        let recent = &looks[looks.len().saturating_sub(QUIET_LOOKS)..];
        let (least, most) = (recent.iter().min(), recent.iter().max());
        let spread = most.zip(least).map_or(0, |(most, least)| most - least);
        let quiet = recent.len() == QUIET_LOOKS && spread <= bytes / 200;
        if quiet || Instant::now() >= deadline || cancel.is_cancelled() {
            return Ok(bytes);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
