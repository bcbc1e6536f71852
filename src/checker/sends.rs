//! The order of sends in real time: `fifo`, `causal`, `realtime-inversion`.

use std::collections::HashMap;

use super::anomaly::Anomaly;
use super::findings::Findings;
use super::judged::Judged;
use crate::history::Asked;

/// Judges every answered send of a conversation.
pub fn judge(judged: &Judged<'_, '_>, findings: &mut Findings) {
    let Judged { conversation, log, sent, floors, .. } = judged;
    let name = conversation.name;
    let mut written: HashMap<u64, (u64, u64)> = HashMap::new();
    for (number, operation) in conversation.operations.iter().enumerate() {
        let (Asked::Send { cid, .. }, Some((seq, _, _, dup))) = (operation.asked, operation.sent())
        else {
            continue;
        };
        let user = operation.user();
        let Some(tries) = sent.get((user, cid)) else { continue };
        if log.disputed.contains(&seq.0) {
            continue;
        }
        let line = operation.ended_at();
        // A cid that was tried more than once may have been stored by any of the tries.
        if tries.operations.len() == 1 && !dup {
            let (last, last_line) = written.entry(operation.session()).or_insert((0, 0)).to_owned();
            if seq.0 < last {
                findings.add(Anomaly::Fifo, name, &[last_line, line], || {
                    format!("{user} wrote {cid} after the message that became seq {last}, but it became seq {seq}")
                });
                continue;
            }
            written.insert(operation.session(), (seq.0, line));
        }
        let first = tries.operations.iter().copied();
        let Some(first) = first.into_iter().find(|&at| !conversation.operations[at].failed())
        else {
            continue;
        };
        if first != number {
            continue;
        }
        let before = floors.at(first);
        let begun = conversation.operations[first].begun_at();
        let witness = |floor: u64| log.slots.get(&floor).map_or(begun, |slot| slot.line);
        if seq.0 <= before.user {
            findings.add(Anomaly::Causal, name, &[witness(before.user), begun, line], || {
                format!(
                    "{user} had seen seq {} before sending {cid}, which became seq {seq}",
                    before.user
                )
            });
        } else if seq.0 <= before.answered {
            findings.add(
                Anomaly::RealtimeInversion,
                name,
                &[witness(before.answered), begun, line],
                || {
                    format!(
                        "seq {} was answered before {user} sent {cid}, which became seq {seq}",
                        before.answered
                    )
                },
            );
        } else if seq.0 <= before.all {
            findings.add(Anomaly::Causal, name, &[witness(before.all), begun, line], || {
                format!(
                    "seq {} had been seen before {user} sent {cid}, which became seq {seq}",
                    before.all
                )
            });
        }
    }
}
