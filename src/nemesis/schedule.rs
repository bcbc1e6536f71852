//! What is done when: decided by a seed before anything runs.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::kind::Kind;
use super::proxy::{Direction, Weather};
use crate::history::NemesisTarget;

/// The widest offset of a wrong clock, ms: more than a message may lie in the future.
const OFFSET_MS_MAX: i64 = 90_000;

/// What there is to be broken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// Servers of ours.
    pub nodes: usize,
    /// Links that lead through a proxy.
    pub links: usize,
    /// Nodes of services that we run.
    pub services: usize,
}

/// One act: begun at its time, undone after its hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// When, from the beginning.
    pub at: Duration,
    /// How long it lasts.
    pub hold: Duration,
    /// What.
    pub what: What,
}

/// What is done to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A server is killed.
    Kill {
        /// Which, from 0.
        node: usize,
    },
    /// A server drains, ends and is started again.
    Restart {
        /// Which, from 0.
        node: usize,
    },
    /// A server is stopped.
    Pause {
        /// Which, from 0.
        node: usize,
    },
    /// A server has another clock.
    Clock {
        /// Which, from 0.
        node: usize,
        /// What is added to it, ms.
        offset_ms: i64,
    },
    /// A link's connections end.
    Cut {
        /// Which, from 0.
        link: usize,
        /// One direction of them only.
        half: Option<Direction>,
    },
    /// A link has bad weather.
    Weather {
        /// Which, from 0.
        link: usize,
        /// How bad.
        weather: Weather,
    },
    /// A node of a service is killed.
    RestartEngine {
        /// Which, from 0.
        service: usize,
    },
    /// A node of a service is stopped.
    PauseEngine {
        /// Which, from 0.
        service: usize,
    },
}

impl What {
    /// What kind of thing it is done to.
    pub fn target(&self) -> NemesisTarget {
        match self {
            Self::Kill { .. } | Self::Restart { .. } | Self::Pause { .. } | Self::Clock { .. } => {
                NemesisTarget::Node
            }
            Self::Cut { .. } | Self::Weather { .. } => NemesisTarget::Link,
            Self::RestartEngine { .. } | Self::PauseEngine { .. } => NemesisTarget::Service,
        }
    }
}

impl Shape {
    /// Whether there is something to break for each of `kinds`; the error names the first for which there is nothing.
    pub fn check(&self, kinds: &[Kind]) -> Result<(), String> {
        for &kind in kinds {
            let (has, wants) = match kind {
                Kind::Kill | Kind::Restart | Kind::Pause | Kind::Clock => {
                    (self.nodes, "a server that is started for the run (no --url)")
                }
                Kind::Cut | Kind::Partition | Kind::Latency => {
                    (self.links, "a link through a proxy")
                }
                Kind::RestartEngine | Kind::PauseEngine => {
                    (self.services, "a service that init-env runs natively")
                }
            };
            if has == 0 {
                return Err(format!("--nemesis {kind} needs {wants}"));
            }
        }
        Ok(())
    }
}

/// What will be done: one act in each `every` until `total` is over, each of a kind, a target, a time within its turn and a length
/// that `seed` decides. Restarts go round the servers, as an operator's do. The same arguments give the same acts. The error names a kind for which there is nothing to break.
pub fn schedule(
    kinds: &[Kind],
    every: Duration,
    total: Duration,
    seed: u64,
    shape: &Shape,
) -> Result<Vec<Act>, String> {
    shape.check(kinds)?;
    let mut random = SmallRng::seed_from_u64(seed ^ 0x006e_656d_6573_6973);
    let mut acts = Vec::new();
    let turns = total.as_millis() / every.as_millis().max(1);
    // Kinds come in rounds, so that a short run has as many of them as it can.
    let mut round: Vec<Kind> = Vec::new();
    let mut restarts = 0;
    for turn in 0..u32::try_from(turns).unwrap_or(u32::MAX) {
        if round.is_empty() {
            round = kinds.to_vec();
        }
        if round.is_empty() {
            break;
        }
        let kind = round.swap_remove(random.random_range(0..round.len()));
        let begins = every * turn + every.mul_f64(random.random_range(0.05..0.3));
        let hold = every.mul_f64(random.random_range(0.2..0.55));
        let what = match kind {
            Kind::Restart => {
                restarts += 1;
                What::Restart { node: (restarts - 1) % shape.nodes }
            }
            kind => what(kind, shape, &mut random),
        };
        acts.push(Act { at: begins, hold, what });
    }
    Ok(acts)
}

fn what(kind: Kind, shape: &Shape, random: &mut SmallRng) -> What {
    let node = random.random_range(0..shape.nodes.max(1));
    let link = random.random_range(0..shape.links.max(1));
    let service = random.random_range(0..shape.services.max(1));
    match kind {
        Kind::Kill => What::Kill { node },
        Kind::Restart => What::Restart { node },
        Kind::Pause => What::Pause { node },
        Kind::Clock => {
            let offset_ms = random.random_range(500..OFFSET_MS_MAX);
            What::Clock { node, offset_ms: if random.random() { offset_ms } else { -offset_ms } }
        }
        Kind::Cut => {
            let halves = [None, None, Some(Direction::ToServer), Some(Direction::ToClient)];
            What::Cut { link, half: halves.choose(random).copied().flatten() }
        }
        Kind::Partition => {
            let (to_server, to_client) = [(true, true), (true, true), (true, false), (false, true)]
                [random.random_range(0..4)];
            let weather = Weather {
                holds_to_server: to_server,
                holds_to_client: to_client,
                ..Weather::default()
            };
            What::Weather { link, weather }
        }
        Kind::Latency => What::Weather { link, weather: slow(random) },
        Kind::RestartEngine => What::RestartEngine { service },
        Kind::PauseEngine => What::PauseEngine { service },
    }
}

fn slow(random: &mut SmallRng) -> Weather {
    let ms = Duration::from_millis;
    match random.random_range(0..4) {
        0 => Weather { piece_bytes: Some(1), ..Weather::default() },
        1 => {
            let bytes_per_s = Some(random.random_range(20_000..200_000));
            Weather { bytes_per_s, ..Weather::default() }
        }
        _ => Weather {
            latency: ms(random.random_range(5..150)),
            jitter: ms(random.random_range(0..100)),
            ..Weather::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { nodes: 3, links: 6, services: 2 };
    const S: Duration = Duration::from_secs(1);

    fn acts(seed: u64) -> Vec<Act> {
        schedule(&Kind::ALL, 5 * S, 225 * S, seed, &SHAPE).unwrap()
    }

    #[test]
    fn the_same_seed_does_the_same() {
        assert_eq!(acts(7), acts(7));
        assert_ne!(acts(7), acts(8));
    }

    #[test]
    fn each_turn_has_one_act_that_ends_within_it_and_every_kind_comes() {
        let acts = acts(2);
        assert_eq!(acts.len(), 45);
        for (turn, act) in (0..).zip(&acts) {
            assert!(act.at >= 5 * S * turn && act.at + act.hold < 5 * S * (turn + 1), "{act:?}");
        }
        // Each kind once in its first round.
        let names: std::collections::BTreeSet<_> = acts[..9]
            .iter()
            .map(|act| std::mem::discriminant(&act.what))
            .map(|what| format!("{what:?}"))
            .collect();
        assert_eq!(names.len(), 8, "partition and latency are both weather");
        let nodes: std::collections::BTreeSet<_> = acts
            .iter()
            .filter_map(|act| match act.what {
                What::Kill { node } | What::Pause { node } | What::Clock { node, .. } => Some(node),
                _ => None,
            })
            .collect();
        assert_eq!(nodes.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn restarts_go_round_the_servers() {
        let acts = schedule(&[Kind::Restart, Kind::Cut], S, 14 * S, 5, &SHAPE).unwrap();
        let restarted: Vec<_> = acts
            .iter()
            .filter_map(|act| match act.what {
                What::Restart { node } => Some(node),
                _ => None,
            })
            .collect();
        assert_eq!(restarted, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn what_is_not_there_cannot_be_broken() {
        let alone = Shape { nodes: 1, links: 1, services: 0 };
        let error = schedule(&[Kind::Kill, Kind::RestartEngine], S, 10 * S, 1, &alone).unwrap_err();
        assert!(error.contains("restart-engine") && error.contains("init-env"), "{error}");
        assert_eq!(schedule(&[], S, 10 * S, 1, &Shape::default()), Ok(Vec::new()));
    }
}
