//! What `open` answers: its head, its page or bridge, and its counts.

use std::collections::{BTreeSet, HashSet};

use super::anomaly::Anomaly;
use super::conversation::Operation;
use super::findings::Findings;
use super::judged::Judged;
use super::log::Growing;
use crate::history::{Asked, Item, OpenSeen};
use crate::model::{AckSet, LIMITS, Limits};

/// What the families of an open share.
#[derive(Debug)]
struct Opening<'o, 'a> {
    operation: &'o Operation<'a>,
    seen: &'a OpenSeen,
    acked: AckSet,
    shown: HashSet<u64>,
    lines: [u64; 2],
}

impl Opening<'_, '_> {
    fn is_unread(&self, seq: u64, from: &str) -> bool {
        from != self.operation.user() && !self.acked.contains(crate::model::Seq(seq))
    }
}

/// Judges every answered open.
pub fn judge(judged: &Judged<'_, '_>, complete_up_to: u64, findings: &mut Findings) {
    let operations = &judged.conversation.operations;
    let opens = operations.iter().enumerate();
    let mut opens: Vec<_> =
        opens.filter_map(|(at, operation)| operation.open().map(|seen| (at, seen))).collect();
    opens.sort_by_key(|(_, seen)| seen.head);
    let mut grown = Growing::default();
    for (number, seen) in opens {
        let operation = &operations[number];
        let stored = grown.up_to(judged.log, seen.head.0);
        let acked = AckSet { up_to: seen.acked_up_to, ranges: seen.acked_ranges.clone() };
        let shown = seen.items.iter().map(|item| item.seq.0).collect();
        let lines = [operation.begun_at(), operation.ended_at()];
        let opening = Opening { operation, seen, acked, shown, lines };
        let floors = judged.floors.at(number);
        let above = judged.log.slots.range(seen.head.0.saturating_add(1)..);
        let known = above.map(|(&seq, _)| seq).take_while(|&seq| seq <= floors.all);
        let missing: BTreeSet<u64> = known.filter(|&seq| judged.is_clear(seq)).collect();
        judged.report_stale(operation, floors, &missing, findings);
        judge_order(judged, &opening, findings);
        if seen.recovered == Some(true) {
            judge_bridge(judged, &opening, findings);
        } else {
            judge_page(judged, &opening, stored, findings);
            judge_late(judged, &opening, findings);
        }
        if seen.head.0 <= complete_up_to {
            judge_counts(judged, &opening, findings);
        }
    }
}

/// Each item once, and in order.
fn judge_order(judged: &Judged<'_, '_>, opening: &Opening<'_, '_>, findings: &mut Findings) {
    let (seen, name) = (opening.seen, judged.conversation.name);
    let bridge = seen.recovered == Some(true);
    let key = |item: &Item| if bridge { (0, item.seq.0) } else { (item.ts, item.seq.0) };
    let mut met = HashSet::new();
    for item in seen.items.iter().chain(seen.late.iter().flatten()) {
        if !met.insert(item.seq.0) || item.seq > seen.head {
            findings.add(Anomaly::PageDup, name, &opening.lines, || {
                format!(
                    "an open of {} shows seq {} twice, or above its head {}",
                    opening.operation.user(),
                    item.seq,
                    seen.head
                )
            });
        }
    }
    let late = seen.late.as_deref().unwrap_or_default();
    let unordered = seen.items.windows(2).find(|two| key(&two[0]) > key(&two[1]));
    let unordered = unordered.or_else(|| late.windows(2).find(|two| two[0].seq > two[1].seq));
    if let Some([one, other]) = unordered {
        findings.add(Anomaly::OrderDisagreement, name, &opening.lines, || {
            format!(
                "an open of {} shows seq {} before seq {}",
                opening.operation.user(),
                one.seq,
                other.seq
            )
        });
    }
}

/// A granted resume is exactly what was missing.
fn judge_bridge(judged: &Judged<'_, '_>, opening: &Opening<'_, '_>, findings: &mut Findings) {
    let (seen, name) = (opening.seen, judged.conversation.name);
    let Asked::Open { resume, .. } = opening.operation.asked else { return };
    let Some((_, from)) = resume.as_ref().filter(|(epoch, _)| *epoch == seen.epoch) else {
        findings.add(Anomaly::SilentGap, name, &opening.lines, || {
            "a resume is said to be recovered that was not asked, or of another epoch".to_owned()
        });
        return;
    };
    if let Some(item) = seen.items.iter().find(|item| item.seq <= *from) {
        findings.add(Anomaly::PageDup, name, &opening.lines, || {
            format!("a resume from seq {from} shows seq {} again", item.seq)
        });
    }
    let span = seen.head.0.saturating_sub(from.0);
    let distinct = opening.shown.iter().filter(|&&seq| seq > from.0 && seq <= seen.head.0).count();
    // What is lost is told by that name.
    let is_missing = |seq: &u64| !opening.shown.contains(seq) && !judged.lost.contains(seq);
    let missing = match (distinct as u64) < span {
        true => (from.0 + 1..=seen.head.0).find(is_missing),
        false => None,
    };
    if missing.is_some() || *from > seen.head {
        findings.add(Anomaly::SilentGap, name, &opening.lines, || {
            format!(
                "a resume of {} from seq {from} to {} is said to be recovered and misses seq {}",
                opening.operation.user(),
                seen.head,
                missing.unwrap_or(0)
            )
        });
    }
}

/// The page holds all that is not older than its oldest item.
fn judge_page(
    judged: &Judged<'_, '_>,
    opening: &Opening<'_, '_>,
    stored: &BTreeSet<(u64, u64)>,
    findings: &mut Findings,
) {
    let (seen, name) = (opening.seen, judged.conversation.name);
    let Asked::Open { limit, .. } = opening.operation.asked else { return };
    let oldest = seen.items.iter().map(|item| (item.ts, item.seq.0)).min();
    // What is lost is told by that name.
    let is_lost = |seq: &&u64| **seq <= seen.head.0 && !opening.shown.contains(seq);
    let lost = || judged.lost.iter().filter(is_lost).count();
    if seen.complete
        && (seen.items.len() as u64) < seen.head.0
        && opening.shown.len() == seen.items.len()
        && ((seen.items.len() + lost()) as u64) < seen.head.0
    {
        findings.add(Anomaly::SilentGap, name, &opening.lines, || {
            format!(
                "an open shows {} of {} messages and says that there is nothing older",
                seen.items.len(),
                seen.head
            )
        });
        return;
    }
    let low = match oldest {
        Some(oldest) => oldest,
        None if *limit > 0 => (0, 0),
        None => return,
    };
    for &(_, seq) in stored.range(low..) {
        if opening.shown.contains(&seq) || !judged.is_clear(seq) {
            continue;
        }
        let Some(slot) = judged.log.slots.get(&seq) else { continue };
        let anomaly = match opening.is_unread(seq, slot.from) {
            true if slot.late => {
                let beside = seen.late.iter().flatten().any(|item| item.seq.0 == seq);
                if beside { Anomaly::PageSkip } else { Anomaly::LateDropped }
            }
            true => Anomaly::SilentGap,
            false => Anomaly::PageSkip,
        };
        let lines = [slot.line, opening.lines[0], opening.lines[1]];
        findings.add(anomaly, name, &lines, || {
            format!(
                "an open of {} with head {} leaves seq {seq} out of its page",
                opening.operation.user(),
                seen.head
            )
        });
        return;
    }
}

/// Every unread late message is on the page, beside it, or after `late_next`.
fn judge_late(judged: &Judged<'_, '_>, opening: &Opening<'_, '_>, findings: &mut Findings) {
    let (seen, name) = (opening.seen, judged.conversation.name);
    let late = seen.late.as_deref().unwrap_or_default();
    let user = opening.operation.user();
    for item in late {
        if !item.late || !opening.is_unread(item.seq.0, &item.from) {
            findings.add(Anomaly::LateZombie, name, &opening.lines, || {
                format!("an open of {user} gives seq {} as unread and late; it is on time, read, or {user}'s own", item.seq)
            });
        }
    }
    let beside: HashSet<u64> = late.iter().map(|item| item.seq.0).collect();
    let end = match late.last() {
        Some(last) if seen.late_more => last.seq.0,
        None if seen.late_more => return,
        _ => seen.head.0,
    };
    let oldest = seen.items.iter().map(|item| (item.ts, item.seq.0)).min();
    let begin = seen.acked_up_to.0.saturating_add(1);
    let unread =
        judged.log.late.range(begin..).take_while(|seq| **seq <= end).take(2 * Limits::SCAN_MAX);
    for &seq in unread {
        let Some(slot) = judged.log.slots.get(&seq) else { continue };
        let there = opening.shown.contains(&seq) || beside.contains(&seq);
        // What is missing from the page itself has been reported.
        let in_page = oldest.is_some_and(|oldest| (slot.ts, seq) >= oldest);
        if !there && !in_page && judged.is_clear(seq) && opening.is_unread(seq, slot.from) {
            let lines = [slot.line, opening.lines[0], opening.lines[1]];
            findings.add(Anomaly::LateDropped, name, &lines, || {
                format!("an open of {user} leaves out seq {seq}, late and unread")
            });
            return;
        }
    }
}

/// The counts, where the whole order below the head is known and short enough to be counted.
fn judge_counts(judged: &Judged<'_, '_>, opening: &Opening<'_, '_>, findings: &mut Findings) {
    let (seen, name) = (opening.seen, judged.conversation.name);
    let bridge = seen.recovered == Some(true);
    let begin = seen.acked_up_to.0.saturating_add(1);
    if seen.head.0.saturating_sub(seen.acked_up_to.0) > Limits::SCAN_MAX as u64 {
        return;
    }
    let oldest = seen.items.iter().map(|item| (item.ts, item.seq.0)).min();
    let (mut unread, mut late, mut before) = (0, 0, 0);
    for (&seq, slot) in judged.log.slots.range(begin..).take_while(|(seq, _)| **seq <= seen.head.0)
    {
        if !opening.is_unread(seq, slot.from) {
            continue;
        }
        unread += 1;
        late += usize::from(slot.late);
        let older = oldest.is_none_or(|oldest| (slot.ts, seq) < oldest);
        before += usize::from(!slot.late && older && !bridge);
    }
    let cap = LIMITS.unread_max;
    let user = opening.operation.user();
    let mut compare = |what: &str, claimed: usize, exact: usize, fewer: Anomaly| {
        let exact = exact.min(cap);
        if claimed != exact {
            let anomaly = if claimed < exact { fewer } else { Anomaly::LateZombie };
            findings.add(anomaly, name, &opening.lines, || {
                format!(
                    "an open of {user} with head {} counts {what} {claimed}; it is {exact}",
                    seen.head
                )
            });
        }
        claimed == exact
    };
    let counted = compare("unread", seen.unread, unread, Anomaly::SilentGap)
        & compare("unread_late", seen.unread_late, late, Anomaly::LateDropped)
        & seen
            .unread_before
            .is_none_or(|claimed| compare("unread_before", claimed, before, Anomaly::SilentGap));
    let denied = seen.gap == Some(false) && before > 0;
    if counted && (denied || (unread > cap && !seen.unread_more)) {
        findings.add(Anomaly::SilentGap, name, &opening.lines, || {
            format!("an open of {user} denies unread messages: {unread} in all, {before} before its page")
        });
    }
}
