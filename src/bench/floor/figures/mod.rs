//! How each figure is measured: the real thing and the bare one in turn, round by round.

mod delivery;
mod durable;
mod harness;
mod notes;
mod pairs;
mod served;
mod standing;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::bare::{BareServer, Kind};
use super::cores::Cores;
use super::figure::Figure;
use super::line::Line;
use super::service::Served;
use super::subject::Subject;
use crate::bench::error::BenchError;
use crate::bench::stats::median;

/// ns in a µs and in a ms.
const US: f64 = 1e3;
const MS: f64 = 1e6;

/// Policies of LOCAL.
const MEMORY: &str = "memory";
const DURABLE: &str = "always";

/// How everything is measured.
#[derive(Debug, Clone)]
pub(super) struct Bench {
    pub cores: Cores,
    pub only: Vec<String>,
    pub rounds: usize,
    pub slice: Duration,
    pub epoch: Instant,
    pub program: Option<PathBuf>,
    pub environment: Vec<(String, String)>,
    pub served: Vec<Served>,
}

/// Why a figure could not be measured.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Bench(#[from] BenchError),
    #[error("a connection of the load failed: {0}")]
    Line(#[from] io::Error),
}

/// Which figures an experiment measures.
const EXPERIMENTS: [(&[&str], Experiment); 10] = [
    (&["G1", "G2"], Experiment::Notes),
    (&["G3", "G4", "G5", "G6"], Experiment::Durable),
    (&["G11"], Experiment::ToOne),
    (&["G12", "G13"], Experiment::ToMany),
    (&["G14"], Experiment::Idle),
    (&["G18"], Experiment::Harness),
    (&["G23"], Experiment::Starts),
    (&["G25"], Experiment::FlatOut),
    (&["G26"], Experiment::AtARate),
    (&["G25", "G26"], Experiment::Served),
];

/// Figures that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Experiment {
    Notes,
    Durable,
    ToOne,
    ToMany,
    Idle,
    Harness,
    Starts,
    FlatOut,
    AtARate,
    /// On engines that stand on services; of none, none.
    Served,
}

impl Experiment {
    /// Those that measure any of `names`; all, where none are named. The error names one that is unknown.
    pub fn choose(names: &[String]) -> Result<Vec<Self>, BenchError> {
        let known = || EXPERIMENTS.iter().flat_map(|(figures, _)| figures.iter());
        if let Some(unknown) =
            names.iter().find(|name| known().all(|known| !name.eq_ignore_ascii_case(known)))
        {
            // Some are measured by more than one.
            let mut all = Vec::new();
            for name in known().copied() {
                if !all.contains(&name) {
                    all.push(name);
                }
            }
            return Err(BenchError::Usage(format!(
                "--only {unknown}: give some of {}",
                all.join(", ")
            )));
        }
        let asked = EXPERIMENTS
            .iter()
            .filter(|(figures, _)| figures.iter().any(|figure| is_asked(names, figure)));
        Ok(asked.map(|&(_, experiment)| experiment).collect())
    }

    pub async fn measure(self, bench: &Bench) -> Result<Vec<Figure>, Failure> {
        match self {
            Self::Notes => notes::measure(bench).await,
            Self::Durable => durable::measure(bench).await,
            Self::ToOne => delivery::to_one(bench).await,
            Self::ToMany => delivery::to_many(bench).await,
            Self::Idle => standing::idle(bench).await,
            Self::Harness => harness::measure(bench).await,
            Self::Starts => Box::pin(standing::starts(bench)).await,
            Self::FlatOut => pairs::flat_out(bench).await,
            Self::AtARate => pairs::at_a_rate(bench).await,
            Self::Served => served::measure(bench).await,
        }
    }
}

/// Whether a figure is among `names`, or none are named.
pub(super) fn is_asked(names: &[String], figure: &str) -> bool {
    names.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case(figure))
}

impl Bench {
    /// A server of this policy.
    async fn subject(&self, policy: &str) -> Result<Subject, BenchError> {
        let policy = ("CHATCTL_LOCAL_SYNC".to_owned(), policy.to_owned());
        let environment: Vec<_> = self.environment.iter().cloned().chain([policy]).collect();
        Subject::start(self.program.as_deref(), &environment, 1, self.cores, self.epoch).await
    }

    /// Servers whose engines stand on a service.
    async fn served_subject(&self, served: &Served) -> Result<Subject, BenchError> {
        let environment: Vec<_> =
            served.environment.iter().chain(&self.environment).cloned().collect();
        let program = self.program.as_deref();
        Subject::start(program, &environment, served.nodes, self.cores, self.epoch).await
    }

    fn bare(&self, kind: Kind) -> Result<BareServer, BenchError> {
        BareServer::start(kind, self.cores)
    }

    /// Connections to it, so many in a room, if there are rooms.
    async fn bare_lines(
        &self,
        server: &BareServer,
        count: usize,
        in_a_room: Option<usize>,
    ) -> io::Result<Vec<Line>> {
        let mut lines = Vec::with_capacity(count);
        for number in 0..count {
            let room = in_a_room.map(|size| format!("room {}", number / size));
            lines.push(Line::bare(server.address(), room.as_deref(), self.epoch).await?);
        }
        Ok(lines)
    }

    /// The steps of a round: forwards and backwards by turns, so that whatever changes on the machine meets all of them.
    fn order(&self, round: usize, steps: usize) -> Vec<usize> {
        match round % 2 {
            0 => (0..steps).collect(),
            _ => (0..steps).rev().collect(),
        }
    }
}

/// Round by round; unknown where either is.
fn ratio<T: Copy + Into<Option<f64>>>(real: &[T], bare: &[T]) -> Vec<Option<f64>> {
    let both = real.iter().zip(bare);
    both.map(|(&real, &bare)| Some(real.into()? / bare.into()?)).collect()
}

/// The median of those that are known.
fn middle<T: Copy + Into<Option<f64>>>(values: &[T]) -> f64 {
    let known: Vec<f64> = values.iter().filter_map(|&value| value.into()).collect();
    median(&known).unwrap_or(f64::NAN)
}

fn per_s(real: &[f64], bare: &[f64]) -> String {
    format!("{:.0}/s ÷ {:.0}/s", middle(real), middle(bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_chosen_by_name() {
        let of = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            Experiment::choose(&names)
        };
        assert_eq!(of(&[]).unwrap().len(), EXPERIMENTS.len());
        assert_eq!(of(&["g5", "G3", "G12"]).unwrap(), [Experiment::Durable, Experiment::ToMany]);
        let error = of(&["G1", "G99"]).unwrap_err().to_string();
        assert!(error.contains("--only G99") && error.contains("G26"), "{error}");
    }
}
