//! The checker: a pure function from what clients did and saw to a verdict.
//!
//! # Words
//!
//! *Before* means by line: an operation is before another when its end has a lower index than the other's invoke
//! (a recorder takes index and time under one lock). Operations that overlap may have happened in either
//! order. A send is *answered* by its `ok`; it is *failed* by a `fail`; otherwise (`info`, or no
//! end) it may have happened, once. A number is *known at* a line when, before it, a send was
//! answered with it or somebody saw it as an item or below a head. Who sends is the user; *own* is
//! by user, *session* by connection. A *reading* is all pages of one chain, or an open.
//! Conversations are new: nothing was stored in them before the history.
//!
//! No alarm is ever raised on what could be right: in doubt a rule is silent. Numbers
//! about which observers contradict each other are reported once and then used no more. Of a
//! conversation with several epochs only its order, streams and final reads are judged.
//!
//! # The names
//!
//! - **lost**: a message that was answered, or seen, before a complete final read began, and whose
//!   name (sender, cid) is not in it. Under a new epoch, where no node is of class `disk`, it is counted as
//!   `declared-loss` instead. A lost message is not reported by other names as well.
//! - **phantom**: an item whose sender never sent that cid in any conversation, or had not yet.
//! - **corrupt**: an item whose digest, or an item or answer whose `ts`, is not one that its sender sent under its cid.
//! - **duplicate**: one (sender, cid) shown under two numbers of an epoch, neither of which holds another message.
//! - **inconsistent-offset**: two answers to one (sender, cid) name different `seq`, `ts` or `late`;
//!   or an answer names another `seq` or `ts` than every reader sees.
//! - **order-disagreement**: two observations place the same messages differently: messages that
//!   exchange numbers, one number with two `ts`, or a page that is not in the order that it promises.
//! - **realtime-inversion**: a send was answered before another was first invoked, and has the higher number.
//! - **fifo**: of two sends of one session, invoked in this order (overlapping or not), each tried once and
//!   answered without `dup`, the second has the lower number.
//! - **ryw**: a reading misses the newest end of what was stored, and in it a message of its own user that was
//!   answered before (*read your writes*).
//! - **nonmonotonic**: likewise, and the same session had seen a missing message, or a head at or above it.
//! - **causal**: likewise, and only others knew of it; or a send gets a lower number than a message which
//!   its user had seen (or, unanswered, anybody had seen) before it was first invoked.
//! - **hole**: a complete final read lacks a number below its highest that nobody knows anything of.
//! - **seq-reuse**: two different messages under one number of an epoch, neither of them seen elsewhere.
//! - **page-skip**: a reading leaves out a message that was known before it began and lies in the part that
//!   its pages covered, although it shows one with a higher number; in an `open`, one that is not unread.
//! - **page-dup**: a reading shows a message twice, or one outside of what it asked for (its times, its number, its head).
//! - **rt-miss**: a stream (the pushes after an `open` answered with `push`, until the next open is answered, a leave,
//!   a reset or the end of the session) went past a number without ever pushing it, or was alive at the first
//!   final read and never got a number known then. With `echo:false` what the session itself sent is left out.
//! - **rt-dup**: a stream pushed a number twice, or one at or below the head of its open, or, with
//!   `echo:false`, a message that only this session had sent.
//! - **rt-reorder**: a stream pushed a number for the first time after a higher one.
//! - **silent-gap**: unread on-time messages are left out and not admitted: missing from the part of the page
//!   that they belong to, not counted in `unread` or `unread_before`, `gap:false` with some before the
//!   page, "nothing older" with something older, `recovered:true` with missing messages or unasked, or
//!   acknowledged in a reply although their reader never did.
//! - **late-misflag**: `late` is not what the list of (seq, ts) from 1 on recomputes (`ts` below the highest
//!   before), or two observations differ in it.
//! - **late-dropped**: an unread late message is neither on the page of an open, nor beside it, nor after its `late_next`;
//!   or is missing from a `read{late}` that covered it; or `unread_late` is too low. Unread means: of another
//!   sender, and by no acknowledgement (an uncertain one counts as given) asked before the reading ended.
//! - **late-zombie**: something is given as late and unread that is on time, the reader's own or
//!   acknowledged before the reading began; or one of the counts is too high.
//! - **ack-regress**: a reply shows a message of others as not acknowledged that an earlier reply to the same user showed,
//!   or an answered acknowledgement covered; also in another session, also the reply to that acknowledgement itself.
//! - **misroute**: an item that was sent in another conversation; or a push to a session that never asked to
//!   open the conversation, has left it, opened it without pushes, or opened it under another epoch.
//! - **revoked-leak**: after a removal from a group, or a quit, was answered, and before an invitation could
//!   have come, the user asked something in it and was answered, or was shown a message with a number from the first on that was
//!   sent only then.
//! - **lying-fail**: a message is stored whose every send, before it was seen, was answered as certainly not done; or a
//!   `conflict` is answered although nothing else was ever sent under that cid (the digest covers all that makes a conflict).
//!
//! Of several nodes, and of runs in which things are broken on purpose (the lines of the nemesis):
//!
//! - **diverged**: the final reads of two nodes, under one epoch, differ in content, order, times or flags, in numbers
//!   that both have reached. What differs is not reported by other names as well.
//! - **undetected-loss**: what would be `lost`, while a service was broken after the message was known, and the final read is of the same epoch:
//!   the engine came back with less than it had answered, and nothing says so.
//! - **stuck**: after the last line that says that everything is healed, somebody is not let in; or an operation of a session that began
//!   after it is not answered within `answer_ms_max` and a second for the way; or of its sends none succeeds.
//! - *Conservation* is reported as **lost** or **phantom** of no conversation: the servers counted more stored messages than the final reads
//!   hold, or fewer than they hold without the sends of which nobody knows.
//!
//! # The verdict
//!
//! `invalid` when anything was found; else `unknown` when nothing was sent, or a conversation with an
//! answered send has no complete final read; else `valid`. A final read counts when it is marked so, all of
//! its pages were answered, and it asked for everything (`after_seq` 0, or all times).

mod acks;
mod anomaly;
mod chains;
mod conversation;
mod diverged;
mod excerpts;
pub mod export;
mod facts;
mod finals;
mod findings;
mod floors;
mod judged;
mod kept;
mod late;
mod log;
mod opens;
mod paging;
mod realtime;
mod revoked;
mod run;
mod sends;
mod sent;
mod streamed;
mod timeline;
pub mod verdict;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use self::verdict::{Counts, Outcome, SCHEMA_VERSION, Verdict};
use crate::history::Event;
pub use anomaly::Anomaly;
use conversation::Conversation;
use facts::{Counter, Facts};
use findings::Findings;
use floors::FloorsAt;
use judged::Judged;
pub use kept::keep;
use log::Log;
use realtime::Realtime;
use sent::{Elsewhere, SentIndex};
pub use streamed::{judge_file, timeline_of_file};

/// Judges a history: a pure function of it.
pub fn judge(events: &[Event]) -> Verdict {
    let (mut facts, mut counter) = (Facts::default(), Counter::default());
    for event in events {
        facts.take(event);
        counter.take(event);
    }
    let elsewhere = Elsewhere::of(events);
    let mut whole = Whole { counts: counter.finish(), ..Whole::default() };
    for conversation in &conversation::collect(events) {
        whole.take(judge_conversation(conversation, &facts, &elsewhere));
    }
    whole.judge_run(&facts, events);
    let line = |index: u64| {
        let event = events.get(usize::try_from(index).ok()?)?;
        serde_json::to_string(event).ok()
    };
    whole.verdict(line)
}

/// What is known of a whole history so far.
#[derive(Debug, Default)]
struct Whole {
    counts: Counts,
    findings: Findings,
    declared_loss: u64,
    stored: u64,
    /// Why not all of it could be judged.
    unknown_because: Vec<String>,
}

/// What one conversation comes to.
#[derive(Debug, Default)]
struct Part {
    findings: Findings,
    messages: u64,
    declared_loss: u64,
    stored: u64,
    /// Something was sent in it, and no final read tells what became of it.
    unread: Option<String>,
}

impl Whole {
    fn take(&mut self, part: Part) {
        self.counts.conversations += 1;
        self.counts.messages += part.messages;
        self.findings.merge(part.findings);
        self.declared_loss += part.declared_loss;
        self.stored += part.stored;
        self.unknown_because.extend(part.unread);
    }

    /// Judges what belongs to no conversation, after all of them. `events`: at least those after the last healing.
    fn judge_run(&mut self, facts: &Facts, events: &[Event]) {
        facts.run.judge_liveness(events, &mut self.findings);
        let is_whole = self.unknown_because.is_empty() && self.declared_loss == 0;
        // A loss is reported as itself.
        if is_whole && self.findings.is_empty() {
            let (stored, unknown) = (self.stored, self.counts.sends_unknown);
            facts.run.judge_conservation(stored, unknown, &mut self.findings);
        }
    }

    /// `line` knows the text of a line.
    fn verdict(mut self, line: impl Fn(u64) -> Option<String>) -> Verdict {
        if self.counts.sends_ok == 0 {
            self.unknown_because.push("no send was answered ok".to_owned());
        }
        let outcome = match (self.findings.is_empty(), self.unknown_because.is_empty()) {
            (false, _) => Outcome::Invalid,
            (true, false) => Outcome::Unknown,
            (true, true) => Outcome::Valid,
        };
        Verdict {
            schema_version: SCHEMA_VERSION,
            outcome,
            unknown_because: self.unknown_because,
            counts: self.counts,
            declared_loss: self.declared_loss,
            anomalies: self.findings.into_broken(line),
        }
    }
}

fn judge_conversation<'a>(
    conversation: &Conversation<'a>,
    facts: &Facts,
    elsewhere: &Elsewhere<'_>,
) -> Part {
    let mut part = Part::default();
    let findings = &mut part.findings;
    let name = conversation.name;
    let sent = SentIndex::of(conversation);
    for (begun, refused) in sent.false_conflicts(&conversation.operations) {
        findings.add(Anomaly::LyingFail, name, &[begun, refused], || {
            "a send was refused as a conflict, but nothing else was ever sent under its cid"
                .to_owned()
        });
    }
    let mut epochs: BTreeSet<&'a str> = conversation.epochs.clone();
    if epochs.is_empty() {
        epochs.insert("");
    }
    let chains = chains::chains(conversation);
    let diverged = diverged::judge(conversation, &chains, findings);
    let rest = (&sent, elsewhere, &diverged);
    let logs: BTreeMap<&'a str, Log<'a>> = epochs
        .iter()
        .map(|&epoch| (epoch, Log::build(conversation, epoch, rest, findings)))
        .collect();
    part.messages = logs.values().map(|log| log.slots.len() as u64).max().unwrap_or(0);
    let rest = (&facts.run, facts.may_lose());
    let finals = finals::judge(conversation, &logs, &chains, rest, findings);
    let floors = FloorsAt::of(conversation);
    let quiet = finals.begun_at.map(|begun| {
        let first = chains.iter().map(|chain| chain.pages[0]);
        let at =
            first.into_iter().find(|&number| conversation.operations[number].begun_at() == begun);
        (begun, at.map_or(0, |number| floors.at(number).all))
    });
    let closes = &facts.closes;
    realtime::judge(
        &Realtime { conversation, logs: &logs, sent: &sent, closes, quiet, lost: &finals.lost },
        findings,
    );
    // Under more than one epoch a reply's number cannot be compared with what was known before.
    let single = logs.values().next().filter(|_| logs.len() == 1);
    if let Some(log) = single {
        revoked::judge(conversation, log, &sent, findings);
        let lost: &HashSet<u64> = &finals.lost;
        let judged = Judged { conversation, log, sent: &sent, floors: &floors, lost };
        if lost.is_empty() {
            late::judge(name, log, findings);
        }
        sends::judge(&judged, findings);
        paging::judge(&judged, &chains, findings);
        let complete_up_to = if lost.is_empty() { log.complete_up_to() } else { 0 };
        opens::judge(&judged, complete_up_to, findings);
        acks::judge(&judged, &chains, findings);
    }
    (part.declared_loss, part.stored) = (finals.declared, finals.stored);
    let sent = conversation.operations.iter().any(|operation| operation.sent().is_some());
    if sent && !finals.complete {
        part.unread = Some(format!("{name} has no complete final read"));
    }
    part
}

#[cfg(test)]
pub(crate) mod tests;
