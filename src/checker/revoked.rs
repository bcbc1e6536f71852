//! Whoever is a member of a group no more sees nothing of it that came later: `revoked-leak`.

use super::anomaly::Anomaly;
use super::conversation::{Conversation, Operation};
use super::findings::Findings;
use super::log::Log;
use super::sent::SentIndex;
use crate::history::Asked;

/// A time in which a user is certainly no member.
#[derive(Debug)]
struct Absence<'a> {
    user: &'a str,
    /// Line of the invoke that ended the membership.
    asked_at: u64,
    /// Line of its answer: from here on.
    from: u64,
    /// The first line at which the user may be one again.
    until: u64,
}

impl Absence<'_> {
    fn holds(&self, line: u64) -> bool {
        (self.from + 1..self.until).contains(&line)
    }
}

/// Judges a group under its one epoch.
pub fn judge(
    conversation: &Conversation<'_>,
    log: &Log<'_>,
    sent: &SentIndex<'_>,
    findings: &mut Findings,
) {
    for absence in absences(&conversation.operations) {
        judge_answers(conversation, &absence, findings);
        judge_items(conversation, &absence, (log, sent), findings);
    }
}

/// From the answer to a removal to the first invitation that may have come after it.
fn absences<'a>(operations: &[Operation<'a>]) -> Vec<Absence<'a>> {
    let ended = operations.iter().filter(|operation| operation.seen().is_some());
    let ended = ended.filter_map(|operation| match operation.asked {
        Asked::Remove { user } => Some((user.as_str(), operation)),
        Asked::Quit {} => Some((operation.user(), operation)),
        _ => None,
    });
    ended
        .map(|(user, removal)| {
            let may_follow = |invite: &&Operation<'_>| {
                let of_user = matches!(invite.asked, Asked::Invite { user: whom } if whom == user);
                // What nobody knows of may happen at any time from its invoke on.
                let last = if invite.seen().is_some() { invite.ended_at() } else { u64::MAX };
                of_user && !invite.failed() && last > removal.begun_at()
            };
            let invites = operations.iter().filter(may_follow);
            let until = invites.map(Operation::begun_at).min().unwrap_or(u64::MAX);
            Absence { user, asked_at: removal.begun_at(), from: removal.ended_at(), until }
        })
        .filter(|absence| absence.from < absence.until)
        .collect()
}

/// Nothing that was asked is answered; to leave what one is not in is no matter.
fn judge_answers(conversation: &Conversation<'_>, absence: &Absence<'_>, findings: &mut Findings) {
    let is_own = |operation: &&Operation<'_>| operation.user() == absence.user;
    for operation in conversation.operations.iter().filter(is_own) {
        let is_open = !matches!(operation.asked, Asked::Leave {});
        if is_open
            && operation.seen().is_some()
            && absence.holds(operation.begun_at())
            && absence.holds(operation.ended_at())
        {
            let lines = [absence.from, operation.begun_at(), operation.ended_at()];
            findings.add(Anomaly::RevokedLeak, conversation.name, &lines, || {
                format!(
                    "{} was removed, and then asked and was answered: {:?}",
                    absence.user,
                    operation.asked.function()
                )
            });
        }
    }
}

/// Nothing is shown that was stored afterwards.
fn judge_items(
    conversation: &Conversation<'_>,
    absence: &Absence<'_>,
    (log, sent): (&Log<'_>, &SentIndex<'_>),
    findings: &mut Findings,
) {
    let begun = |key| {
        let operations = sent.get(key)?.operations.iter();
        operations.map(|&number| conversation.operations[number].begun_at()).min()
    };
    // Numbers are in the order of storing: all from the first on that was sent afterwards.
    let later = log.slots.iter().find(|(seq, slot)| {
        !log.disputed.contains(seq) && begun(slot.key()).is_some_and(|begun| begun > absence.from)
    });
    let Some((&first, slot)) = later else { return };
    conversation.items(|event, _, item| {
        let is_own = event.user.as_deref() == Some(absence.user);
        if is_own
            && item.seq.0 >= first
            && !log.disputed.contains(&item.seq.0)
            && absence.holds(event.index)
        {
            let lines = [absence.asked_at, absence.from, slot.line, event.index];
            findings.add(Anomaly::RevokedLeak, conversation.name, &lines, || {
                format!(
                    "{} was removed, and was then shown seq {}, stored after the answer",
                    absence.user, item.seq
                )
            });
        }
    });
}
