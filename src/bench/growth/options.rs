//! What `growth` can be told.

use serde::Serialize;

use super::axis::Axis;
use super::operation::Operation;
use super::subject::CONVERSATIONS;
use crate::bench::error::BenchError;
use crate::bench::file_limit::make_room_for;
use crate::bench::filled::PAGE;
use crate::bench::filling::{check_size, user};
use crate::bench::stats::P50;
use crate::harness::TargetOptions;

/// Conversations of a step beside the population: of the measured reader and of the one who warms up.
pub(super) const CONVERSATIONS_OF_STEP: u64 = 2 * CONVERSATIONS;

/// Connections beside the crowd.
const OTHER_CONNECTIONS: usize = 64;

/// More servers on one machine prove nothing more.
const NODES_MAX: u64 = 16;

/// Options of the workload.
#[derive(Debug, Clone, Serialize)]
pub struct GrowthOptions {
    /// What grows.
    pub of: Axis,
    /// How far, in ascending steps.
    pub sizes: Vec<u64>,
    /// How often each operation is done at each size.
    pub operations: u64,
    /// How long the same is done before without being measured, ms.
    pub warmup_ms: u64,
    /// Bytes of each message's content.
    pub size_bytes: usize,
    /// Decides contents and random times.
    pub seed: u64,
    /// What user names begin with; must be new to the server.
    pub user_prefix: String,
    /// How long one client may take to connect, ms.
    pub connect_timeout_ms: u64,
    /// How long a delivery may take, ms.
    pub delivery_wait_ms: u64,
}

impl GrowthOptions {
    /// Refuses what cannot be measured, before anything is started.
    pub fn validate(&self, targets: &TargetOptions) -> Result<(), BenchError> {
        let refuse = |text: String| Err(BenchError::Usage(text));
        let [first, ..] = self.sizes[..] else {
            return refuse("--sizes: give sizes, like 1000,10000,100000".into());
        };
        if !self.sizes.windows(2).all(|two| two[0] < two[1]) {
            return refuse("--sizes: give them in ascending order, each once".into());
        }
        if self.operations < P50.samples_min {
            return refuse(format!(
                "--operations {}: give at least {}; p99 needs 1000",
                self.operations, P50.samples_min
            ));
        }
        let (least, apart, most) = match self.of {
            // What is sent at one size must not be more than the next.
            Axis::Messages => (PAGE as u64, self.operations, u64::MAX),
            Axis::Conversations => (CONVERSATIONS_OF_STEP, CONVERSATIONS_OF_STEP, u64::MAX),
            Axis::Connections => (1, 1, u64::MAX),
            Axis::Nodes => (1, 1, NODES_MAX),
        };
        let of = self.of.name();
        if first < least {
            return refuse(format!("--sizes {first}: give at least {least} {of}"));
        }
        if let Some(two) = self.sizes.windows(2).find(|two| two[1] - two[0] < apart) {
            let why = match self.of {
                Axis::Messages => ": so many are sent at each size (--operations)",
                _ => ": so many are made for each size to be measured in",
            };
            return refuse(format!(
                "--sizes {},{}: {of} must be at least {apart} apart{why}",
                two[0], two[1]
            ));
        }
        if let Some(size) = self.sizes.iter().find(|&&size| size > most) {
            return refuse(format!("--sizes {size}: give at most {most} {of}"));
        }
        if self.of == Axis::Nodes && !targets.addresses.is_empty() {
            return refuse("--of nodes: it starts the servers itself; leave --url out".into());
        }
        if self.of == Axis::Nodes && targets.nodes > 1 {
            return refuse("--nodes: with --of nodes, --sizes says how many there are".into());
        }
        check_size(self.size_bytes)?;
        // The longest name that is made of it.
        user(&self.user_prefix, "other0000000000000000")?;
        if self.of == Axis::Connections {
            make_room_for(
                usize::try_from(self.largest()).unwrap_or(usize::MAX >> 8) + OTHER_CONNECTIONS,
            )?;
        }
        Ok(())
    }

    pub(super) fn largest(&self) -> u64 {
        self.sizes.last().copied().unwrap_or_default()
    }

    /// The latency of an operation at a size, as in results.
    pub(super) fn latencies(&self) -> Vec<String> {
        let operations = Operation::of(self.of);
        let at = |size: &u64| {
            let size = *size;
            operations.iter().map(move |operation| format!("{}-{size}", operation.name()))
        };
        self.sizes.iter().flat_map(at).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::bench::growth) fn options(of: Axis, sizes: &[u64]) -> GrowthOptions {
        GrowthOptions {
            of,
            sizes: sizes.to_vec(),
            operations: 100,
            warmup_ms: 0,
            size_bytes: 256,
            seed: 1,
            user_prefix: "bench".to_owned(),
            connect_timeout_ms: 1_000,
            delivery_wait_ms: 1_000,
        }
    }

    fn refused(options: &GrowthOptions, targets: &TargetOptions) -> String {
        match options.validate(targets) {
            Err(BenchError::Usage(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_can_be_measured_is_taken() {
        let own = TargetOptions { nodes: 1, ..TargetOptions::default() };
        for (of, sizes) in [
            (Axis::Messages, &[10, 110, 1_000_000][..]),
            (Axis::Conversations, &[20, 40]),
            (Axis::Connections, &[1, 2]),
            (Axis::Nodes, &[1, 2, 16]),
        ] {
            options(of, sizes).validate(&own).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_measured_is_refused_with_its_flag() {
        let own = TargetOptions { nodes: 1, ..TargetOptions::default() };
        for (of, sizes, said) in [
            (Axis::Messages, &[][..], "--sizes: give sizes"),
            (Axis::Messages, &[100, 100], "ascending"),
            (Axis::Messages, &[1_000, 100], "ascending"),
            (Axis::Messages, &[9], "--sizes 9: give at least 10 messages"),
            (Axis::Messages, &[100, 199], "at least 100 apart: so many are sent"),
            (Axis::Conversations, &[19], "at least 20 conversations"),
            (Axis::Conversations, &[20, 39], "at least 20 apart"),
            (Axis::Connections, &[0, 10], "at least 1 connections"),
            (Axis::Nodes, &[1, 17], "--sizes 17: give at most 16 nodes"),
        ] {
            let text = refused(&options(of, sizes), &own);
            assert!(text.contains(said), "{text} lacks {said}");
        }
        let few = GrowthOptions { operations: 19, ..options(Axis::Messages, &[10]) };
        assert!(refused(&few, &own).starts_with("--operations 19: give at least 20"));
        let small = GrowthOptions { size_bytes: 10, ..options(Axis::Messages, &[10]) };
        assert!(refused(&small, &own).starts_with("--size 10"));
        let long = GrowthOptions { user_prefix: "x".repeat(60), ..options(Axis::Messages, &[10]) };
        assert!(refused(&long, &own).starts_with("--user-prefix"));
    }

    #[test]
    fn nodes_are_its_own_to_start() {
        let given = TargetOptions {
            addresses: vec!["ws://127.0.0.1:1/v1/ws".parse().unwrap()],
            nodes: 1,
            ..TargetOptions::default()
        };
        assert!(refused(&options(Axis::Nodes, &[1, 2]), &given).contains("--url"));
        options(Axis::Messages, &[10]).validate(&given).unwrap();
        let several = TargetOptions { nodes: 2, ..TargetOptions::default() };
        assert!(refused(&options(Axis::Nodes, &[1, 2]), &several).starts_with("--nodes"));
    }
}
