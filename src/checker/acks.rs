//! Acknowledgements in time: `ack-regress`, what nobody acknowledged (`silent-gap`), and the reads
//! of unread late messages, which depend on them (`late-dropped`, `late-zombie`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::anomaly::Anomaly;
use super::chains::Chain;
use super::conversation::{Moment, Operation};
use super::findings::Findings;
use super::judged::Judged;
use crate::history::{Asked, ReadKind, Seen};
use crate::model::{AckSet, Limits, Seq};

/// Numbers looked at to name the first one that is wrong.
const LOOK_MAX: u64 = 10_000;

/// What is known of one user's acknowledgements at one moment.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Certainly acknowledged: answered, or shown by a reply.
    certain: Arc<AckSet>,
    /// At most this: the first state shown, and everything asked since that did not certainly fail.
    possible: AckSet,
    begun: bool,
    /// Invitations that are under way, or may be: each may acknowledge everything.
    invites: usize,
    /// Line at which the last one ended: what was asked before may tell of a time before it.
    invited_at: u64,
}

fn union(one: &AckSet, up_to: Seq, ranges: &[(Seq, Seq)]) -> AckSet {
    let well: Vec<(Seq, Seq)> = ranges.iter().copied().filter(|(lo, hi)| lo < hi).collect();
    one.merged(up_to, &well, Seq(u64::MAX), usize::MAX).unwrap_or_else(|_| one.clone())
}

/// The parts of `one` that `other` lacks, half-open.
fn beyond(one: &AckSet, other: &AckSet) -> Vec<(u64, u64)> {
    let whole = |set: &AckSet| {
        let below = (1, set.up_to.0.saturating_add(1));
        std::iter::once(below)
            .chain(set.ranges.iter().map(|(lo, hi)| (lo.0, hi.0)))
            .collect::<Vec<_>>()
    };
    let (mut left, taken) = (Vec::new(), whole(other));
    let mut at = 0;
    for (mut lo, hi) in whole(one) {
        while at < taken.len() && taken[at].1 <= lo {
            at += 1;
        }
        let mut next = at;
        while lo < hi {
            match taken.get(next) {
                Some(&(start, end)) if start < hi => {
                    if lo < start {
                        left.push((lo, start));
                    }
                    lo = lo.max(end);
                    next += 1;
                }
                _ => {
                    left.push((lo, hi));
                    break;
                }
            }
        }
    }
    left
}

/// Judges the conversation's acknowledgements, and its reads of late messages.
pub fn judge(judged: &Judged<'_, '_>, chains: &[Chain<'_>], findings: &mut Findings) {
    let conversation = judged.conversation;
    let mut late_pages: HashMap<usize, (usize, bool)> = HashMap::new();
    for (at, chain) in chains.iter().enumerate() {
        if matches!(chain.asked.kind, ReadKind::Late {}) {
            let last = chain.pages.len() - 1;
            late_pages
                .extend(chain.pages.iter().enumerate().map(|(n, &page)| (page, (at, n == last))));
        }
    }
    let mut users: HashMap<&str, Known> = HashMap::new();
    let mut certain_at: HashMap<usize, Arc<AckSet>> = HashMap::new();
    for moment in &conversation.moments {
        match *moment {
            Moment::Begun(number) => {
                let operation = &conversation.operations[number];
                let known = users.entry(operation.user()).or_default();
                if matches!(
                    operation.asked,
                    Asked::Open { .. } | Asked::Ack { .. } | Asked::Read(_)
                ) {
                    certain_at.insert(number, Arc::clone(&known.certain));
                }
                if let (Asked::Ack { up_to, ranges }, false) = (operation.asked, operation.failed())
                {
                    known.possible = union(&known.possible, up_to.unwrap_or_default(), ranges);
                }
                if let Asked::Invite { user } = operation.asked {
                    users.entry(user).or_default().invites += 1;
                }
            }
            Moment::Ended(number) => {
                let operation = &conversation.operations[number];
                if let Asked::Invite { user } = operation.asked {
                    let invited = users.entry(user).or_default();
                    (invited.begun, invited.invited_at) = (false, operation.ended_at());
                    let is_over = operation.failed() || operation.seen().is_some();
                    invited.invites -= usize::from(is_over && invited.invites > 0);
                }
                let Some(before) = certain_at.remove(&number) else { continue };
                let known = users.entry(operation.user()).or_default();
                let state = match operation.seen() {
                    Some(Seen::Open(seen)) => (seen.acked_up_to, &seen.acked_ranges),
                    Some(Seen::Ack { up_to, ranges }) => (*up_to, ranges),
                    Some(Seen::Read { .. }) => {
                        if let Some(&(at, last)) = late_pages.get(&number) {
                            judge_late_page(judged, operation, &before, findings);
                            if last && known.begun && known.invites == 0 {
                                judge_late_chain(judged, &chains[at], &known.possible, findings);
                            }
                        }
                        continue;
                    }
                    _ => continue,
                };
                let state = AckSet { up_to: state.0, ranges: state.1.clone() };
                let mut required = before.as_ref().clone();
                if let Asked::Ack { up_to, ranges } = operation.asked {
                    required = union(&required, up_to.unwrap_or_default(), ranges);
                }
                judge_state(judged, operation, &required, &state, known, findings);
                known.certain = Arc::new(union(
                    &union(&known.certain, state.up_to, &state.ranges),
                    required.up_to,
                    &required.ranges,
                ));
            }
            _ => {}
        }
    }
}

fn judge_state(
    judged: &Judged<'_, '_>,
    operation: &Operation<'_>,
    required: &AckSet,
    state: &AckSet,
    known: &mut Known,
    findings: &mut Findings,
) {
    let (user, name) = (operation.user(), judged.conversation.name);
    // An engine may count one's own messages as acknowledged, or not.
    let of_others = |parts: Vec<(u64, u64)>| {
        let mut numbers =
            parts.into_iter().flat_map(|(lo, hi)| lo..hi.min(lo.saturating_add(LOOK_MAX)));
        numbers.find(|seq| judged.log.slots.get(seq).is_some_and(|slot| slot.from != user))
    };
    let lines = [operation.begun_at(), operation.ended_at()];
    if let Some(seq) = of_others(beyond(required, state)) {
        findings.add(Anomaly::AckRegress, name, &lines, || {
            format!(
                "{user} had acknowledged seq {seq}; now it is not (up to {}, {} ranges)",
                state.up_to,
                state.ranges.len()
            )
        });
    }
    if !known.begun || known.invites > 0 {
        known.begun = known.invites == 0 && operation.begun_at() >= known.invited_at;
        known.possible = union(&known.possible, state.up_to, &state.ranges);
    } else if let Some(seq) = of_others(beyond(state, &known.possible)) {
        known.possible = union(&known.possible, state.up_to, &state.ranges);
        findings.add(Anomaly::SilentGap, name, &lines, || {
            format!("seq {seq} is said to be acknowledged by {user}, who never did")
        });
    }
}

/// What a read of late messages shows must be late, of others, and not acknowledged.
fn judge_late_page(
    judged: &Judged<'_, '_>,
    operation: &Operation<'_>,
    certain: &AckSet,
    findings: &mut Findings,
) {
    let Some((_, items, _)) = operation.read() else { return };
    let user = operation.user();
    for item in items {
        if !item.late || item.from == user || certain.contains(item.seq) {
            let lines = [operation.begun_at(), operation.ended_at()];
            findings.add(Anomaly::LateZombie, judged.conversation.name, &lines, || {
                format!("a read of {user}'s unread late messages shows seq {}: on time, read, or {user}'s own", item.seq)
            });
        }
    }
    if let Some(two) = items.windows(2).find(|two| two[0].seq >= two[1].seq) {
        let anomaly =
            if two[0].seq == two[1].seq { Anomaly::PageDup } else { Anomaly::OrderDisagreement };
        let lines = [operation.begun_at(), operation.ended_at()];
        findings.add(anomaly, judged.conversation.name, &lines, || {
            format!(
                "a read of {user}'s late messages shows seq {} before seq {}",
                two[0].seq, two[1].seq
            )
        });
    }
}

/// Everything late that was there before, and that its reader cannot have acknowledged.
fn judge_late_chain(
    judged: &Judged<'_, '_>,
    chain: &Chain<'_>,
    possible: &AckSet,
    findings: &mut Findings,
) {
    let first = chain.first(judged.conversation);
    let floor = judged.floors.at(chain.pages[0]).all;
    let shown: HashSet<u64> = chain.items.iter().map(|(item, _)| item.seq.0).collect();
    let end = match (chain.complete, chain.items.last()) {
        (true, _) => floor,
        (false, Some((last, _))) => floor.min(last.seq.0),
        (false, None) => return,
    };
    if !chain.from_start {
        return;
    }
    let above = judged.log.late.range(possible.up_to.0.saturating_add(1)..);
    for &seq in above.take_while(|seq| **seq <= end).take(4 * Limits::SCAN_MAX) {
        let Some(slot) = judged.log.slots.get(&seq) else { continue };
        let read = slot.from == first.user() || possible.contains(Seq(seq));
        if !read && !shown.contains(&seq) && judged.is_clear(seq) {
            let lines = [slot.line, first.begun_at(), chain.ended_at(judged.conversation)];
            findings.add(Anomaly::LateDropped, judged.conversation.name, &lines, || {
                format!("a read of {}'s unread late messages leaves out seq {seq}", first.user())
            });
            return;
        }
    }
}
