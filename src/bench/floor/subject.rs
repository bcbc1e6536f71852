//! The real thing: a chat server on the servers' core, and lines to it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::cores::Cores;
use super::line::Line;
use crate::bench::error::BenchError;
use crate::client::Address;
use crate::harness::{Metrics, ServerProcess, TargetOptions, Targets, fresh_name};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// No pings while it is measured, and nobody is closed for being silent.
const PING_MS: &str = "600000";

/// A server of our own, or several on engines that they share.
#[derive(Debug)]
pub(super) struct Subject {
    targets: Targets,
    addresses: Vec<SocketAddr>,
    epoch: Instant,
}

/// What its counters were, and when.
#[derive(Debug)]
pub(super) struct Mark(Metrics);

impl Subject {
    /// Starts one with fresh data, and keeps it on its core. This thread has to be on its own afterwards, and is.
    pub async fn start(
        program: Option<&Path>,
        environment: &[(String, String)],
        nodes: usize,
        cores: Cores,
        epoch: Instant,
    ) -> Result<Self, BenchError> {
        let ping = ("CHATCTL_PING_MS".to_owned(), PING_MS.to_owned());
        let options = TargetOptions {
            nodes,
            program: program.map(Path::to_owned),
            environment: [ping].into_iter().chain(environment.iter().cloned()).collect(),
            connect_timeout: CONNECT_TIMEOUT,
            ..TargetOptions::default()
        };
        // A process is where its parent's thread was.
        Cores::stay_on(cores.server)?;
        let targets = Targets::start(&options).await;
        Cores::stay_on(cores.clients)?;
        let targets = targets?;
        let mut addresses = Vec::new();
        for address in targets.addresses() {
            let authority = address.authority();
            let found =
                tokio::net::lookup_host(authority).await.ok().and_then(|mut all| all.next());
            addresses.push(
                found.ok_or_else(|| {
                    BenchError::Unmeasurable(format!("{authority} is no address"))
                })?,
            );
        }
        Ok(Self { targets, addresses, epoch })
    }

    // Names are never used twice: a message is known by its sender and its number, which begins anew with each line.

    /// As many people who write notes to themselves.
    pub async fn notes(&self, count: usize) -> io::Result<Vec<Line>> {
        let name = fresh_name("floor");
        let mut lines = Vec::with_capacity(count);
        for number in 0..count {
            let user = format!("{name}-{number}");
            let to = json!({"user": user});
            lines.push(Line::chat(self.addresses[0], &user, &to, true, self.epoch).await?);
        }
        Ok(lines)
    }

    /// Pairs who write to each other, from one server to the next: the two of a pair follow each other. Their own messages do not come back.
    pub async fn pairs(&self, count: usize) -> io::Result<Vec<Line>> {
        let name = fresh_name("floor");
        let mut lines = Vec::with_capacity(2 * count);
        for pair in 0..count {
            let (one, other) = (format!("{name}-{pair}a"), format!("{name}-{pair}b"));
            for (node, user, peer) in [(0, &one, &other), (1, &other, &one)] {
                let to = json!({"user": peer});
                let address = self.addresses[node % self.addresses.len()];
                lines.push(Line::chat(address, user, &to, false, self.epoch).await?);
            }
        }
        Ok(lines)
    }

    /// Members of one channel; their own messages do not come back.
    pub async fn channel(&self, members: usize) -> io::Result<Vec<Line>> {
        let name = fresh_name("floor");
        let to = json!({"channel": name});
        let mut lines = Vec::with_capacity(members);
        for member in 0..members {
            let user = format!("{name}-{member}");
            lines.push(Line::chat(self.addresses[0], &user, &to, false, self.epoch).await?);
        }
        Ok(lines)
    }

    /// Engine and durability class.
    pub fn engine(&self) -> String {
        let info = self.targets.infos().first();
        info.map_or_else(String::new, |info| format!("{} ({})", info.engine, info.durability))
    }

    /// Counters as they are.
    pub async fn mark(&self) -> Result<Mark, BenchError> {
        let mut notes = Vec::new();
        let metrics = self.targets.scrape(&mut notes).await;
        metrics.map(Mark).ok_or_else(|| BenchError::Unmeasurable(notes.join("; ")))
    }

    /// What they have grown by.
    pub async fn since(&self, mark: &Mark) -> Result<BTreeMap<String, f64>, BenchError> {
        Ok(self.mark().await?.0.since(&mark.0))
    }

    /// Where clients connect.
    pub fn addresses(&self) -> &[Address] {
        self.targets.addresses()
    }

    /// Its resident memory, bytes.
    pub async fn resident_bytes(&self) -> Option<u64> {
        self.targets.resident_bytes().await
    }

    fn process(&mut self) -> Result<&mut ServerProcess, BenchError> {
        let gone = || BenchError::Unmeasurable("there is no server of our own".to_owned());
        self.targets.own_mut().first_mut().ok_or_else(gone)
    }

    /// Lets it end as on SIGTERM; its data stays.
    pub async fn end(&mut self) -> Result<(), BenchError> {
        self.process()?.stop().await.map_or(Ok(()), |wrong| Err(BenchError::Unmeasurable(wrong)))
    }

    /// Ends it with whatever is under way; its data stays.
    pub async fn kill(&mut self) -> Result<(), BenchError> {
        Ok(self.process()?.kill().await?)
    }

    /// Starts it again with its data, where it was; how long it took until it was ready.
    pub async fn begin(&mut self, cores: Cores) -> Result<Duration, BenchError> {
        Cores::stay_on(cores.server)?;
        let began = Instant::now();
        let begun = self.process()?.restart(&[]).await;
        let took = began.elapsed();
        Cores::stay_on(cores.clients)?;
        begun?;
        Ok(took)
    }

    /// Ends it; what was wrong with its end is an error.
    pub async fn stop(mut self) -> Result<(), BenchError> {
        match self.targets.stop().await {
            None => Ok(()),
            Some(wrong) => Err(BenchError::Unmeasurable(wrong)),
        }
    }
}
