//! Paged reads: `page-skip`, `page-dup`, the order of what they show, and readings that came too
//! early (`ryw`, `nonmonotonic`, `causal`).

use std::collections::{BTreeSet, HashSet};
use std::ops::RangeInclusive;

use super::anomaly::Anomaly;
use super::chains::Chain;
use super::findings::Findings;
use super::judged::Judged;
use super::log::Growing;
use crate::history::{Item, ReadKind};

/// Judges all readings but those of late messages only.
pub fn judge(judged: &Judged<'_, '_>, chains: &[Chain<'_>], findings: &mut Findings) {
    let floor = |chain: &Chain<'_>| judged.floors.at(chain.pages[0]).all;
    let of_late = |chain: &Chain<'_>| matches!(chain.asked.kind, ReadKind::Late {});
    let mut ordered: Vec<&Chain<'_>> = chains.iter().filter(|chain| !of_late(chain)).collect();
    ordered.sort_by_key(|chain| floor(chain));
    let mut grown = Growing::default();
    for chain in ordered {
        let shown = judge_items(judged, chain, findings);
        let stored = grown.up_to(judged.log, floor(chain));
        if chain.from_start && !chain.asked.is_final {
            judge_missing(judged, chain, &shown, stored, findings);
        }
    }
}

/// Each message once, in the asked order, and only what was asked for.
fn judge_items(
    judged: &Judged<'_, '_>,
    chain: &Chain<'_>,
    findings: &mut Findings,
) -> HashSet<u64> {
    let name = judged.conversation.name;
    let user = chain.first(judged.conversation).user();
    let mut shown = HashSet::new();
    let mut last: Option<(&Item, u64)> = None;
    for &(item, line) in &chain.items {
        let wanted = match chain.asked.kind {
            ReadKind::Range { from, to, .. } => (from..=to).contains(&item.ts),
            ReadKind::After { after_seq } => item.seq > after_seq,
            ReadKind::Late {} => true,
        };
        if !shown.insert(item.seq.0) || !wanted {
            findings.add(
                Anomaly::PageDup,
                name,
                &[line, chain.first(judged.conversation).begun_at()],
                || {
                    let why = if wanted { "twice" } else { "beyond what it asked for" };
                    format!("a paged read of {user} shows seq {} {why}", item.seq)
                },
            );
            continue;
        }
        if !judged.is_clear(item.seq.0) {
            continue;
        }
        if let Some((before, before_line)) = last {
            let ordered = match chain.asked.kind {
                ReadKind::Range { descending: true, .. } => position(item) < position(before),
                ReadKind::Range { .. } => position(item) > position(before),
                ReadKind::After { .. } | ReadKind::Late {} => item.seq > before.seq,
            };
            if !ordered {
                findings.add(Anomaly::OrderDisagreement, name, &[before_line, line], || {
                    format!(
                        "a read of {user} shows seq {} (ts {}) right after seq {} (ts {})",
                        item.seq, item.ts, before.seq, before.ts
                    )
                });
            }
        }
        last = Some((item, line));
    }
    shown
}

fn position(item: &Item) -> (u64, u64) {
    (item.ts, item.seq.0)
}

/// Everything that was there before the reading began and lies in the part that it covered.
fn judge_missing(
    judged: &Judged<'_, '_>,
    chain: &Chain<'_>,
    shown: &HashSet<u64>,
    stored: &BTreeSet<(u64, u64)>,
    findings: &mut Findings,
) {
    let floors = judged.floors.at(chain.pages[0]);
    let end = chain.items.last().map(|(item, _)| *item);
    if end.is_none() && !chain.complete {
        return;
    }
    let stop = if chain.complete { None } else { end };
    let covered = |seq: u64, ts: u64| match chain.asked.kind {
        ReadKind::Range { from, to, descending } => {
            (from..=to).contains(&ts)
                && stop.is_none_or(|stop| {
                    if descending { (ts, seq) > position(stop) } else { (ts, seq) < position(stop) }
                })
        }
        ReadKind::After { after_seq } => {
            seq > after_seq.0 && stop.is_none_or(|stop| seq < stop.seq.0)
        }
        ReadKind::Late {} => false,
    };
    let numbers = numbers(judged, chain, stop, floors.all, stored);
    let Some(numbers) = numbers else { return };
    let highest = shown.iter().copied().filter(|&seq| judged.is_clear(seq)).max().unwrap_or(0);
    let mut early = BTreeSet::new();
    let mut skipped = BTreeSet::new();
    for seq in numbers {
        let Some(slot) = judged.log.slots.get(&seq) else { continue };
        if shown.contains(&seq) || !judged.is_clear(seq) || !covered(seq, slot.ts) {
            continue;
        }
        if seq > highest {
            early.insert(seq)
        } else {
            skipped.insert(seq)
        };
    }
    let first = chain.first(judged.conversation);
    if let Some(seq) = skipped.first() {
        let stored = judged.log.slots.get(seq).map_or(0, |slot| slot.line);
        let lines = [stored, first.begun_at(), chain.ended_at(judged.conversation)];
        findings.add(Anomaly::PageSkip, judged.conversation.name, &lines, || {
            format!(
                "a read of {} leaves out seq {seq} ({} in all), stored before it began",
                first.user(),
                skipped.len()
            )
        });
    }
    judged.report_stale(first, floors, &early, findings);
}

/// The numbers to look at; as few as the part of history that was read allows, so that newest pages of a
/// long conversation cost what they show.
fn numbers(
    judged: &Judged<'_, '_>,
    chain: &Chain<'_>,
    stop: Option<&Item>,
    floor: u64,
    stored: &BTreeSet<(u64, u64)>,
) -> Option<Vec<u64>> {
    let in_seq = |range: RangeInclusive<u64>| -> Vec<u64> {
        if range.is_empty() {
            return Vec::new();
        }
        judged.log.slots.range(range).map(|(&seq, _)| seq).collect()
    };
    Some(match chain.asked.kind {
        ReadKind::After { after_seq } => {
            let end = stop.map_or(floor, |stop| floor.min(stop.seq.0));
            in_seq(after_seq.0.saturating_add(1)..=end)
        }
        ReadKind::Range { from, to, descending } => {
            let (mut low, mut high) = ((from, 0), (to, u64::MAX));
            match stop {
                Some(stop) if descending => low = low.max(position(stop)),
                Some(stop) => high = high.min(position(stop)),
                None => {}
            }
            if low > high {
                return None;
            }
            stored.range(low..=high).map(|&(_, seq)| seq).collect()
        }
        ReadKind::Late {} => return None,
    })
}
