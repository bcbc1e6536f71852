//! The order of one conversation under one epoch, put together from everything that anybody saw.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::anomaly::Anomaly;
use super::conversation::Conversation;
use super::findings::Findings;
use super::sent::{Elsewhere, Key, Origin, SentIndex};
use crate::history::{Item, Seen};

/// What stands under one number.
#[derive(Debug, Clone, Copy)]
pub struct Slot<'a> {
    /// The sender.
    pub from: &'a str,
    /// The sender's name for it.
    pub cid: &'a str,
    /// Its time, ms.
    pub ts: u64,
    /// Flagged as late.
    pub late: bool,
    /// The line that showed it first.
    pub line: u64,
    /// Some item showed it (else only the answer to its send names it).
    pub shown: bool,
}

impl<'a> Slot<'a> {
    /// Its name.
    pub fn key(&self) -> Key<'a> {
        (self.from, self.cid)
    }
}

/// The reconstructed order.
#[derive(Debug, Default)]
pub struct Log<'a> {
    /// By number.
    pub slots: BTreeMap<u64, Slot<'a>>,
    /// Where each message stands; the first number seen.
    pub places: HashMap<Key<'a>, u64>,
    /// Numbers about which observers disagree: nothing further is concluded from them.
    pub disputed: BTreeSet<u64>,
    /// Numbers of the late ones.
    pub late: BTreeSet<u64>,
}

#[derive(Debug)]
struct Clash<'a> {
    seq: u64,
    one: Slot<'a>,
    other: Slot<'a>,
}

impl<'a> Log<'a> {
    /// Puts the order together, and reports what contradicts itself or was never sent. `diverged`: numbers about which nodes disagree, and
    /// which are reported as that.
    pub fn build(
        conversation: &Conversation<'a>,
        epoch: &'a str,
        (sent, elsewhere, diverged): (&SentIndex<'a>, &Elsewhere<'_>, &BTreeSet<u64>),
        findings: &mut Findings,
    ) -> Self {
        let single = conversation.epochs.len() <= 1;
        let name = conversation.name;
        let mut log = Self { disputed: diverged.clone(), ..Self::default() };
        let mut clashes = Vec::new();
        let mut moved: Vec<(u64, Slot<'a>, bool)> = Vec::new();
        let mut reported: BTreeSet<(Anomaly, u64)> = BTreeSet::new();
        conversation.items(|event, of, item| {
            let unnamed = of.is_none() && single;
            if (of != Some(epoch) && !unnamed) || diverged.contains(&item.seq.0) {
                return;
            }
            let origin = sent.origin(item, event.index, elsewhere);
            let wrong = match origin {
                Origin::Sent => wrong_time(item, sent).then_some((Anomaly::Corrupt, 0)),
                Origin::Failed(begun, ended) => {
                    let fresh = reported.insert((Anomaly::LyingFail, item.seq.0));
                    if fresh {
                        let lines = [begun, ended, event.index];
                        findings.add(Anomaly::LyingFail, name, &lines, || {
                            format!("seq {} ({} of {}) is stored, but its send was answered as certainly not done", item.seq, item.cid, item.from)
                        });
                    }
                    None
                }
                Origin::Altered(line) => Some((Anomaly::Corrupt, line)),
                Origin::Elsewhere => Some((Anomaly::Misroute, event.index)),
                Origin::Nowhere => Some((Anomaly::Phantom, event.index)),
            };
            if let Some((anomaly, line)) = wrong {
                if reported.insert((anomaly, item.seq.0)) {
                    let lines = [line, event.index];
                    findings.add(anomaly, name, &lines, || {
                        let user = event.user.as_deref().unwrap_or("?");
                        format!("{user} saw seq {} ({} of {}, digest {}, ts {}), which {}", item.seq, item.cid, item.from, item.digest, item.ts, match anomaly {
                            Anomaly::Corrupt => "was sent otherwise",
                            Anomaly::Misroute => "was sent in another conversation",
                            _ => "nobody had sent",
                        })
                    });
                }
                if matches!(origin, Origin::Elsewhere | Origin::Nowhere) {
                    log.disputed.insert(item.seq.0);
                }
            }
            let slot = Slot { from: &item.from, cid: &item.cid, ts: item.ts, late: item.late, line: event.index, shown: true };
            log.show(item.seq.0, slot, &mut clashes, &mut moved, (name, findings));
        });
        log.judge_places(name, &clashes, &moved, findings);
        log.take_answers(conversation, epoch, sent, findings);
        log.late = log.slots.iter().filter(|(_, slot)| slot.late).map(|(&seq, _)| seq).collect();
        log
    }

    fn show(
        &mut self,
        seq: u64,
        slot: Slot<'a>,
        clashes: &mut Vec<Clash<'a>>,
        moved: &mut Vec<(u64, Slot<'a>, bool)>,
        (name, findings): (&str, &mut Findings),
    ) {
        let Some(known) = self.slots.get(&seq).copied() else {
            self.slots.insert(seq, slot);
            if let Some(&at) = self.places.get(&slot.key()) {
                moved.push((at, slot, false));
                moved.push((seq, slot, false));
            } else {
                self.places.insert(slot.key(), seq);
            }
            return;
        };
        if known.key() != slot.key() {
            self.disputed.insert(seq);
            let elsewhere = self.places.get(&slot.key()).is_some_and(|&at| at != seq);
            if elsewhere {
                moved.push((seq, slot, true));
            } else {
                self.places.entry(slot.key()).or_insert(seq);
            }
            if clashes.len() < 1_000 {
                clashes.push(Clash { seq, one: known, other: slot });
            }
            return;
        }
        if known.ts != slot.ts && self.disputed.insert(seq) {
            findings.add(Anomaly::OrderDisagreement, name, &[known.line, slot.line], || {
                format!(
                    "seq {seq} has ts {} and ts {}: its place in history differs",
                    known.ts, slot.ts
                )
            });
        } else if known.late != slot.late && self.disputed.insert(seq) {
            findings.add(Anomaly::LateMisflag, name, &[known.line, slot.line], || {
                format!(
                    "seq {seq} is flagged late:{} here and late:{} there",
                    known.late, slot.late
                )
            });
        }
    }

    /// Two messages under one number, or one message under two: which of the three is it?
    fn judge_places(
        &mut self,
        name: &str,
        clashes: &[Clash<'a>],
        moved: &[(u64, Slot<'a>, bool)],
        findings: &mut Findings,
    ) {
        let swapped = |key: Key<'a>| {
            moved.iter().any(|(seq, slot, _)| {
                slot.key() == key && clashes.iter().any(|clash| clash.seq == *seq)
            }) || (clashes.iter().any(|clash| clash.other.key() == key || clash.one.key() == key)
                && moved.iter().any(|(_, slot, _)| slot.key() == key))
        };
        let mut seen = BTreeSet::new();
        for clash in clashes {
            if !seen.insert(clash.seq) {
                continue;
            }
            let Clash { seq, one, other } = clash;
            let both = swapped(one.key()) || swapped(other.key());
            let anomaly = if both { Anomaly::OrderDisagreement } else { Anomaly::SeqReuse };
            findings.add(anomaly, name, &[one.line, other.line], || {
                format!(
                    "seq {seq} is {} of {} and also {} of {}",
                    one.cid, one.from, other.cid, other.from
                )
            });
        }
        let mut seen = BTreeSet::new();
        for (seq, slot, _) in moved {
            self.disputed.insert(*seq);
            if swapped(slot.key()) || !seen.insert(slot.key()) {
                continue;
            }
            let first = self.places.get(&slot.key()).copied().unwrap_or(0);
            let lines = [self.slots.get(&first).map_or(slot.line, |known| known.line), slot.line];
            let second = moved.iter().filter(|(_, other, _)| other.key() == slot.key());
            let second = second.map(|(seq, ..)| *seq).find(|&seq| seq != first).unwrap_or(*seq);
            findings.add(Anomaly::Duplicate, name, &lines, || {
                format!(
                    "{} of {} is stored as seq {first} and again as seq {second}",
                    slot.cid, slot.from
                )
            });
        }
    }

    /// What the answers to sends say, beside what was shown.
    fn take_answers(
        &mut self,
        conversation: &Conversation<'a>,
        epoch: &'a str,
        sent: &SentIndex<'a>,
        findings: &mut Findings,
    ) {
        let name = conversation.name;
        let mut answered: HashMap<Key<'a>, (u64, u64, bool, u64)> = HashMap::new();
        for operation in &conversation.operations {
            let Some(Seen::Send { seq, ts, late, epoch: of, .. }) = operation.seen() else {
                continue;
            };
            let crate::history::Asked::Send { cid, .. } = operation.asked else { continue };
            if of != epoch {
                continue;
            }
            let key: Key<'a> = (operation.user(), cid);
            let line = operation.ended_at();
            let first = *answered.entry(key).or_insert((seq.0, *ts, *late, line));
            let place = self.places.get(&key).copied();
            let slot = place.and_then(|at| self.slots.get(&at)).copied();
            let disputed = place.is_some_and(|at| self.disputed.contains(&at));
            if (seq.0, *ts, *late) != (first.0, first.1, first.2) {
                if !disputed {
                    findings.add(Anomaly::InconsistentOffset, name, &[first.3, line], || {
                        format!("{cid} of {} was answered seq {}, ts {}, late:{} and then seq {seq}, ts {ts}, late:{late}", key.0, first.0, first.1, first.2)
                    });
                }
                self.disputed.extend([seq.0, first.0]);
                continue;
            }
            if line != first.3 {
                continue;
            }
            let asked = sent.get(key).map_or(&[][..], |sent| &sent.times);
            if !asked.iter().any(|asked| asked.is_none_or(|asked| asked == *ts)) {
                findings.add(Anomaly::Corrupt, name, &[operation.begun_at(), line], || {
                    format!(
                        "{cid} of {} was answered with ts {ts}, which it was not sent with",
                        key.0
                    )
                });
                self.disputed.insert(seq.0);
            }
            match slot {
                Some(_) if disputed => {}
                Some(slot) if place != Some(seq.0) || slot.ts != *ts => {
                    findings.add(Anomaly::InconsistentOffset, name, &[line, slot.line], || {
                        format!("{cid} of {} was answered seq {seq}, ts {ts} and is shown as seq {}, ts {}", key.0, place.unwrap_or(0), slot.ts)
                    });
                    self.disputed.extend(place);
                    self.disputed.insert(seq.0);
                }
                Some(slot) if slot.late != *late => {
                    findings.add(Anomaly::LateMisflag, name, &[line, slot.line], || {
                        format!(
                            "seq {seq} was answered late:{late} and is shown late:{}",
                            slot.late
                        )
                    });
                    self.disputed.insert(seq.0);
                }
                Some(_) => {}
                None => {
                    let new =
                        Slot { from: key.0, cid: key.1, ts: *ts, late: *late, line, shown: false };
                    if let Some(known) = self.slots.get(&seq.0).copied() {
                        self.disputed.insert(seq.0);
                        findings.add(Anomaly::SeqReuse, name, &[known.line, line], || {
                            format!(
                                "seq {seq} is {} of {} and was also answered to {cid} of {}",
                                known.cid, known.from, key.0
                            )
                        });
                    } else {
                        self.slots.insert(seq.0, new);
                        self.places.insert(key, seq.0);
                    }
                }
            }
        }
    }

    /// How far every number from 1 is known and undisputed.
    pub fn complete_up_to(&self) -> u64 {
        let mut next = 1;
        for &seq in self.slots.keys() {
            if seq != next || self.disputed.contains(&seq) {
                break;
            }
            next += 1;
        }
        next - 1
    }
}

fn wrong_time(item: &Item, sent: &SentIndex<'_>) -> bool {
    let times = sent.get((&item.from, &item.cid)).map_or(&[][..], |sent| &sent.times);
    !times.iter().any(|asked| asked.is_none_or(|asked| asked == item.ts))
}

/// The messages by `(ts, seq)` as the conversation grows. Asked with rising heads, so that a page near the
/// newest message costs what it shows, however much was stored later.
#[derive(Debug, Default)]
pub struct Growing {
    stored: BTreeSet<(u64, u64)>,
    head: u64,
}

impl Growing {
    /// All that stands at or below `head`, which must not be lower than the one before.
    pub fn up_to(&mut self, log: &Log<'_>, head: u64) -> &BTreeSet<(u64, u64)> {
        if head > self.head {
            let new = log.slots.range(self.head + 1..=head);
            self.stored.extend(new.map(|(&seq, slot)| (slot.ts, seq)));
            self.head = head;
        }
        &self.stored
    }
}
