//! What a nemesis breaks, and how each part of it is made whole again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use super::proxy::{Proxy, Weather};
use super::schedule::{Shape, What};
use crate::harness::{HarnessError, Stopped, Targets};
use crate::services::{Environment, NodeProcess, Progress};

/// The variable that sets a server's clock wrong.
const CLOCK_OFFSET: &str = "CHATCTL_CLOCK_OFFSET_MS";

/// How long a server may take until it is ready again, once everything else is whole.
pub(super) const READY_MAX: Duration = Duration::from_secs(30);

/// Servers, links and services of one run.
#[derive(Debug)]
pub struct World {
    targets: Targets,
    links: Vec<Link>,
    services: Option<Environment>,
    /// A server was started again: its counters began anew.
    restarted: bool,
    /// Servers that were given a wrong clock and not yet a right one.
    wrong_clocks: BTreeSet<usize>,
}

/// A link that leads through proxies. Others may lead through some of them, too.
#[derive(Debug)]
pub struct Link {
    name: String,
    proxies: Vec<Arc<Proxy>>,
}

impl Link {
    /// `name`: between whom, for people.
    pub fn new(name: String, proxies: Vec<Arc<Proxy>>) -> Self {
        Self { name, proxies }
    }

    fn each(&self, what: impl Fn(&Proxy)) {
        self.proxies.iter().for_each(|proxy| what(proxy));
    }
}

/// An act under way; [`World::undo`] ends it. Dropped instead, a stopped server goes on.
#[derive(Debug)]
pub enum Begun {
    /// Undone by itself, or by making the whole world whole.
    Done,
    /// A stopped server.
    Stopped {
        /// Held until it goes on.
        _stopped: Stopped,
    },
    /// A server that is away, or has a wrong clock.
    Node(usize),
    /// A server that has drained and ended.
    Drained(usize),
    /// A link with bad weather.
    Link(usize),
    /// Nodes of services are away or stopped.
    Services,
}

impl World {
    /// Puts together what may be broken. `services`: those that we run, if any.
    pub fn new(targets: Targets, links: Vec<Link>, services: Option<Environment>) -> Self {
        Self { targets, links, services, restarted: false, wrong_clocks: BTreeSet::new() }
    }

    /// How much of each there is.
    pub fn shape(&self) -> Shape {
        Shape {
            nodes: self.targets.own().len(),
            links: self.links.len(),
            services: self.processes().len(),
        }
    }

    /// The servers.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Whether a server was started again, so that its counters began anew.
    pub fn was_restarted(&self) -> bool {
        self.restarted
    }

    /// What the servers say that they have stored; `None` where they do not say, are somebody else's, or were started again.
    pub async fn stored_so_far(&self) -> Option<u64> {
        if self.restarted || self.targets.own().is_empty() {
            return None;
        }
        let metrics = self.targets.scrape(&mut Vec::new()).await?;
        Some(metrics.get("chatctl_messages_appended_total").unwrap_or(0.0) as u64)
    }

    /// The servers, to be stopped.
    pub fn targets_mut(&mut self) -> &mut Targets {
        &mut self.targets
    }

    /// What an act is and whom it concerns, for people and histories.
    pub fn describe(&self, what: &What) -> (String, String) {
        let node = |node: &usize| format!("node {}", node + 1);
        let link =
            |link: &usize| self.links.get(*link).map_or_else(String::new, |link| link.name.clone());
        let service = |service: &usize| {
            self.processes().get(*service).map_or_else(String::new, |(name, _)| name.clone())
        };
        match what {
            What::Kill { node: on } => ("kill".into(), node(on)),
            What::Restart { node: on } => ("restart".into(), node(on)),
            What::Pause { node: on } => ("pause".into(), node(on)),
            What::Clock { node: on, offset_ms } => (format!("clock {offset_ms:+} ms"), node(on)),
            What::Cut { link: on, half: None } => ("cut".into(), link(on)),
            What::Cut { link: on, half: Some(half) } => (format!("half-close {half:?}"), link(on)),
            What::Weather { link: on, weather } => (weather.to_string(), link(on)),
            What::RestartEngine { service: on } => ("kill".into(), service(on)),
            What::PauseEngine { service: on } => ("pause".into(), service(on)),
        }
    }

    /// Begins an act. An error is one of ours: what cannot be broken any more proves nothing.
    pub async fn begin(&mut self, what: &What) -> Result<Begun, HarnessError> {
        Ok(match what {
            What::Kill { node } => {
                self.restarted = true;
                self.node(*node)?.kill().await?;
                Begun::Node(*node)
            }
            What::Restart { node } => {
                self.restarted = true;
                let server = self.node(*node)?;
                if let Some(wrong) = server.stop().await {
                    // Nothing that drains without end is left to whoever heals.
                    server.kill().await?;
                    return Err(gone(format!("node {}: {wrong}", node + 1)));
                }
                Begun::Drained(*node)
            }
            What::Clock { node, offset_ms } => {
                self.restarted = true;
                self.wrong_clocks.insert(*node);
                let server = self.node(*node)?;
                server.kill().await?;
                server.restart(&[(CLOCK_OFFSET.to_owned(), offset_ms.to_string())]).await?;
                Begun::Node(*node)
            }
            What::Pause { node } => match self.node(*node)?.stoppable().and_then(|it| it.stop()) {
                Some(stopped) => Begun::Stopped { _stopped: stopped },
                None => return Err(gone(format!("node {} has ended by itself", node + 1))),
            },
            What::Cut { link, half } => {
                self.link(*link)?.each(|proxy| match half {
                    None => proxy.cut(),
                    Some(half) => proxy.half_close(*half),
                });
                Begun::Done
            }
            What::Weather { link, weather } => {
                self.link(*link)?.each(|proxy| proxy.set(weather.clone()));
                Begun::Link(*link)
            }
            What::RestartEngine { service } => self.signal(*service, Signal::KILL)?,
            What::PauseEngine { service } => self.signal(*service, Signal::STOP)?,
        })
    }

    /// Undoes an act.
    pub async fn undo(&mut self, begun: Begun) -> Result<(), HarnessError> {
        match begun {
            Begun::Done | Begun::Stopped { .. } => Ok(()),
            Begun::Node(node) => {
                let server = self.node(node)?;
                // One with a wrong clock still runs.
                server.kill().await?;
                server.restart(&[]).await?;
                self.wrong_clocks.remove(&node);
                Ok(())
            }
            Begun::Drained(node) => {
                self.node(node)?.restart(&[]).await?;
                // As an operator does, before it is the next one's turn.
                self.targets.wait_until_ready(READY_MAX).await
            }
            Begun::Link(link) => {
                self.link(link)?.each(|proxy| proxy.set(Weather::default()));
                Ok(())
            }
            Begun::Services => self.heal_services().await,
        }
    }

    /// Makes everything whole, whatever was done to it and however far: links are clear, services are up, servers run and have their own
    /// clocks.
    pub async fn heal(&mut self) -> Result<(), HarnessError> {
        self.links.iter().for_each(|link| link.each(|proxy| proxy.set(Weather::default())));
        self.heal_services().await?;
        for (node, server) in self.targets.own_mut().iter_mut().enumerate() {
            if let Some(stoppable) = server.stoppable() {
                // Dropped at once: a stopped one goes on.
                drop(stoppable.stop());
            }
            if self.wrong_clocks.remove(&node) {
                server.kill().await?;
            }
            if !server.is_running() {
                self.restarted = true;
                server.restart(&[]).await?;
            }
        }
        Ok(())
    }

    async fn heal_services(&self) -> Result<(), HarnessError> {
        let Some(environment) = &self.services else { return Ok(()) };
        for (name, process) in self.processes() {
            process.signal(Signal::CONT).map_err(|error| gone(format!("{name}: {error}")))?;
        }
        for report in environment.up(&Progress::silent()).await {
            report.health.map_err(|error| gone(error.to_string()))?;
        }
        Ok(())
    }

    fn node(&mut self, node: usize) -> Result<&mut crate::harness::ServerProcess, HarnessError> {
        let absent = || gone(format!("there is no node {}", node + 1));
        self.targets.own_mut().get_mut(node).ok_or_else(absent)
    }

    fn link(&self, link: usize) -> Result<&Link, HarnessError> {
        self.links.get(link).ok_or_else(|| gone(format!("there is no link {link}")))
    }

    fn signal(&self, service: usize, signal: Signal) -> Result<Begun, HarnessError> {
        let processes = self.processes();
        let (name, process) =
            processes.get(service).ok_or_else(|| gone(format!("there is no service {service}")))?;
        process.signal(signal).map_err(|error| gone(format!("{name}: {error}")))?;
        Ok(Begun::Services)
    }

    /// The nodes of services that we run, by name.
    fn processes(&self) -> Vec<(String, &NodeProcess)> {
        let services = self.services.iter().flat_map(|environment| environment.services());
        services
            .flat_map(|service| {
                (1..)
                    .zip(service.processes())
                    .map(|(number, process)| (format!("{} {number}", service.kind()), process))
            })
            .collect()
    }
}

fn gone(what: String) -> HarnessError {
    HarnessError::Nemesis(what)
}
