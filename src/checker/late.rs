//! Lateness recomputed: `late-misflag`.

use super::anomaly::Anomaly;
use super::findings::Findings;
use super::log::Log;

/// Follows the order from the first message as far as it is known without a gap: a message is late
/// when its time is below the highest before it.
pub fn judge(name: &str, log: &Log<'_>, findings: &mut Findings) {
    // Where the order itself is in doubt, every later flag would be too.
    if !log.disputed.is_empty() {
        return;
    }
    let mut highest: Option<(u64, u64, u64)> = None;
    for (expected, (&seq, slot)) in (1..).zip(&log.slots) {
        if seq != expected {
            return;
        }
        let late = highest.is_some_and(|(ts, ..)| slot.ts < ts);
        if late != slot.late {
            let (ts, of, line) = highest.unwrap_or((0, 0, slot.line));
            findings.add(Anomaly::LateMisflag, name, &[line, slot.line], || {
                format!("seq {seq} with ts {} is flagged late:{}; the highest ts before it is {ts}, of seq {of}", slot.ts, slot.late)
            });
        }
        if highest.is_none_or(|(ts, ..)| slot.ts > ts) {
            highest = Some((slot.ts, seq, slot.line));
        }
    }
}
