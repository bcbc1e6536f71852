//! The final reads: `lost`, `hole`, and what a new epoch declares lost.

use std::collections::{BTreeMap, HashSet};

use super::anomaly::Anomaly;
use super::chains::Chain;
use super::conversation::Conversation;
use super::findings::Findings;
use super::log::Log;
use super::run::Run;
use crate::history::{ReadKind, Seen};
use crate::model::INTEGER_MAX;

/// What the final reads of a conversation tell.
#[derive(Debug, Default)]
pub struct Finals {
    /// Some final read is complete.
    pub complete: bool,
    /// Where the first of them begins.
    pub begun_at: Option<u64>,
    /// The most messages that one of them holds.
    pub stored: u64,
    /// Numbers that are missing.
    pub lost: HashSet<u64>,
    /// Messages gone by a new epoch that may do so.
    pub declared: u64,
}

/// Whether it is a final read of everything, answered to its end.
pub fn covers_all(chain: &Chain<'_>) -> bool {
    let whole = match chain.asked.kind {
        ReadKind::Range { from, to, .. } => from == 0 && to >= INTEGER_MAX,
        ReadKind::After { after_seq } => after_seq.0 == 0,
        ReadKind::Late {} => false,
    };
    chain.asked.is_final && chain.complete && chain.from_start && whole
}

/// Judges the final reads. `may_lose`: the durability class lets a new epoch lose messages.
pub fn judge<'a>(
    conversation: &Conversation<'a>,
    logs: &BTreeMap<&'a str, Log<'a>>,
    chains: &[Chain<'a>],
    (run, may_lose): (&Run, bool),
    findings: &mut Findings,
) -> Finals {
    let mut finals = Finals::default();
    let mut declared = HashSet::new();
    for chain in chains.iter().filter(|chain| covers_all(chain)) {
        finals.complete = true;
        let begun = chain.first(conversation).begun_at();
        finals.begun_at = Some(finals.begun_at.map_or(begun, |at| at.min(begun)));
        let Some(Seen::Read { epoch, .. }) = chain.first(conversation).seen() else { continue };
        let shown: HashSet<u64> = chain.items.iter().map(|(item, _)| item.seq.0).collect();
        let keys: HashSet<(&str, &str)> =
            chain.items.iter().map(|(item, _)| (item.from.as_str(), item.cid.as_str())).collect();
        for (of, log) in logs {
            for (&seq, slot) in &log.slots {
                let known = slot.line < begun && !log.disputed.contains(&seq);
                if !known || keys.contains(&slot.key()) {
                    continue;
                }
                if *of != epoch && may_lose {
                    declared.insert((*of, seq));
                } else if finals.lost.insert(seq) {
                    let broken = match *of == epoch {
                        true => run.service_broken_between(slot.line, begun),
                        false => None,
                    };
                    let anomaly = match broken {
                        Some(_) => Anomaly::UndetectedLoss,
                        None => Anomaly::Lost,
                    };
                    let mut lines = vec![slot.line, begun, chain.ended_at(conversation)];
                    lines.extend(broken);
                    findings.add(anomaly, conversation.name, &lines, || {
                        let how = if slot.shown { "had been seen" } else { "was answered ok" };
                        let silently = match broken {
                            Some(_) => "; its service was broken in between, and no new epoch says that it came back with less",
                            None => "",
                        };
                        format!(
                            "seq {seq} ({} of {}) {how} and is not in the final read{silently}",
                            slot.cid, slot.from
                        )
                    });
                }
            }
        }
        let Some(log) = logs.get(epoch.as_str()) else { continue };
        let highest = shown.iter().max().copied().unwrap_or(0);
        finals.stored = finals.stored.max(shown.len() as u64);
        let disputed = |seq: &u64| log.disputed.contains(seq) || log.slots.contains_key(seq);
        let hole = (1..highest).find(|seq| !shown.contains(seq) && !disputed(seq));
        if let Some(seq) = hole {
            findings.add(
                Anomaly::Hole,
                conversation.name,
                &[begun, chain.ended_at(conversation)],
                || format!("the final read goes up to seq {highest} and has no seq {seq}"),
            );
        }
    }
    finals.declared = declared.len() as u64;
    finals
}
