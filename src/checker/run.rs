//! What belongs to no conversation: what was broken and healed, and what the servers counted.

use std::collections::{HashMap, HashSet};

use super::anomaly::Anomaly;
use super::conversation::session_of;
use super::findings::Findings;
use crate::history::{Act, Asked, Event, NemesisPhase, NemesisTarget, Seen};
use crate::model::LIMITS;

/// How long an answer may be on its way beyond what the server may take, ms: both ends share a busy machine.
const WAY_MS: u64 = 1_000;

/// The notes of a run.
#[derive(Debug, Default)]
pub struct Run {
    /// Lines at which a service began to be broken.
    service_broken_at: Vec<u64>,
    /// Where everything was whole for the last time.
    healed_at: Option<u64>,
    /// What the servers counted, and where that stands.
    counted: Option<(u64, u64)>,
}

impl Run {
    /// Takes a line in, in the order of the history.
    pub fn take(&mut self, event: &Event) {
        match &event.act {
            Act::Ok { seen: Seen::Nemesis { on, phase, .. } } => match (on, phase) {
                (_, NemesisPhase::Healed) => self.healed_at = Some(event.index),
                (NemesisTarget::Service, NemesisPhase::Begins) => {
                    self.service_broken_at.push(event.index);
                }
                _ => {}
            },
            Act::Ok { seen: Seen::Counted { messages } } => {
                self.counted = Some((*messages, event.index));
            }
            _ => {}
        }
    }

    /// Where everything was whole for the last time.
    pub fn healed_at(&self) -> Option<u64> {
        self.healed_at
    }

    /// The first line after `from` and before `to` at which a service began to be broken.
    pub fn service_broken_between(&self, from: u64, to: u64) -> Option<u64> {
        let first = self.service_broken_at.partition_point(|&at| at <= from);
        self.service_broken_at.get(first).copied().filter(|&at| at < to)
    }

    /// `stuck`: after everything was whole, whoever comes is let in and answered. `events`: at least those after that.
    pub fn judge_liveness(&self, events: &[Event], findings: &mut Findings) {
        let Some(healed_at) = self.healed_at else { return };
        let after = events.iter().filter(|event| event.index > healed_at);
        let mut fresh = HashSet::new();
        let mut asked: HashMap<u64, &Event> = HashMap::new();
        let (mut sends, mut sends_ok) = (Vec::new(), 0);
        for event in after {
            match &event.act {
                Act::Ok { seen: Seen::Unreachable { address, error } } => {
                    findings.add(Anomaly::Stuck, "", &[healed_at, event.index], || {
                        format!("after everything was healed, {address} let nobody in: {error}")
                    });
                }
                // What a session from before has lived through may have broken it for good.
                Act::Ok { seen: Seen::Connect { .. } } => {
                    fresh.insert(session_of(event));
                }
                Act::Invoke { asked: what } if fresh.contains(&session_of(event)) => {
                    if matches!(what, Asked::Send { .. }) {
                        sends.push(event.index);
                    }
                    asked.insert(event.process, event);
                }
                Act::Ok { .. } | Act::Fail { .. } | Act::Info { .. } => {
                    let Some(begun) = asked.remove(&event.process) else { continue };
                    if matches!(event.act, Act::Ok { seen: Seen::Send { .. } }) {
                        sends_ok += 1;
                    }
                    let unsure = match &event.act {
                        // An answer that says that it is not certain is one.
                        Act::Info { error, .. } => error.code.is_none(),
                        _ => false,
                    };
                    let took_ms = (event.time_ns - begun.time_ns) / 1_000_000;
                    if unsure || took_ms > LIMITS.answer_ms_max + WAY_MS {
                        not_answered(begun, Some((event, took_ms)), healed_at, findings);
                    }
                }
                Act::Invoke { .. } => {}
            }
        }
        let mut open: Vec<&Event> = asked.into_values().collect();
        open.sort_by_key(|event| event.index);
        let ended_at_ns = events.last().map_or(0, |event| event.time_ns);
        for begun in open {
            // What was asked when the run was stopped had no time to be answered.
            if ended_at_ns - begun.time_ns > (LIMITS.answer_ms_max + WAY_MS) * 1_000_000 {
                not_answered(begun, None, healed_at, findings);
            }
        }
        if let (Some(&first), 0) = (sends.first(), sends_ok) {
            findings.add(Anomaly::Stuck, "", &[healed_at, first], || {
                format!("after everything was healed, none of {} sends succeeded", sends.len())
            });
        }
    }

    /// Conservation: what the servers say that they appended is what is stored. Sends of which nobody knows may have been stored without
    /// having been counted. `stored`: what the final reads hold in all, where every one is complete.
    pub fn judge_conservation(&self, stored: u64, sends_unknown: u64, findings: &mut Findings) {
        let Some((counted, line)) = self.counted else { return };
        if counted > stored {
            findings.add(Anomaly::Lost, "", &[line], || {
                format!("the servers counted {counted} stored messages, and the final reads hold {stored}")
            });
        } else if stored > counted + sends_unknown {
            findings.add(Anomaly::Phantom, "", &[line], || {
                format!(
                    "the final reads hold {stored} messages, and the servers counted {counted}, with {sends_unknown} sends unknown"
                )
            });
        }
    }
}

fn not_answered(
    begun: &Event,
    ended: Option<(&Event, u64)>,
    healed_at: u64,
    findings: &mut Findings,
) {
    let conv = begun.conv.as_deref().unwrap_or("");
    let mut lines = vec![healed_at, begun.index];
    lines.extend(ended.map(|(event, _)| event.index));
    findings.add(Anomaly::Stuck, conv, &lines, || {
        let user = begun.user.as_deref().unwrap_or("?");
        let how = match ended {
            Some((_, took_ms)) => format!("had no answer after {took_ms} ms"),
            None => "was never answered".to_owned(),
        };
        format!("after everything was healed, an operation of {user} {how}")
    });
}
