//! What can be broken, and what the judge must call it.

use std::fmt;
use std::str::FromStr;

/// One promise, broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the table says what each does")]
pub enum Fault {
    DropAcked,
    Invent,
    CorruptContent,
    DoubleRetry,
    WrongOffset,
    Disagree,
    AnswerEarly,
    SwapSends,
    StaleRead,
    HeadBack,
    HideCause,
    Hole,
    ReuseSeq,
    SkipPageItem,
    RepeatPageItem,
    MissPush,
    DoublePush,
    SwapPushes,
    HideGap,
    PartialResume,
    MisflagLate,
    ForgetLate,
    LateZombie,
    ForgetAck,
    MisroutePage,
    MisroutePush,
    LieFail,
    DelayHint,
    DoubleHint,
}

/// One row: the fault, its name, how often it acts, and what must be reported.
struct Row {
    fault: Fault,
    name: &'static str,
    /// It acts at every so-many-th occasion.
    every: u64,
    expected: &'static [&'static str],
}

const fn row(
    fault: Fault,
    name: &'static str,
    every: u64,
    expected: &'static [&'static str],
) -> Row {
    Row { fault, name, every, expected }
}

/// The table, in the order of the names in the design. "Also" marks side effects that cannot be avoided.
const TABLE: &[Row] = &[
    // An answered message is in no page. Also: a number is missing there (`hole`).
    row(Fault::DropAcked, "drop-acked", 20, &["lost"]),
    // A message that nobody sent is stored behind a sent one.
    row(Fault::Invent, "invent", 20, &["phantom"]),
    // Pages show a stored message with other content.
    row(Fault::CorruptContent, "corrupt-content", 20, &["corrupt"]),
    // A retry is answered as it must be, and stored once more.
    row(Fault::DoubleRetry, "double-retry", 1, &["duplicate"]),
    // The answer to a retry names the number before the right one.
    row(Fault::WrongOffset, "wrong-offset", 1, &["inconsistent-offset"]),
    // Some pages show two neighbours with their numbers exchanged. Also: `late-misflag`.
    row(Fault::Disagree, "disagree", 3, &["order-disagreement"]),
    // A send is answered at once and stored behind the next one of somebody else. Also: `ryw` until
    // then, `fifo`, `late-misflag`.
    row(Fault::AnswerEarly, "answer-early", 5, &["realtime-inversion"]),
    // A send waits a moment for the next of its sender and is stored behind it.
    row(Fault::SwapSends, "swap-sends", 3, &["fifo"]),
    // A fresh read is of a moment three messages ago. Also: `nonmonotonic`, where they had been seen.
    row(Fault::StaleRead, "stale-read", 2, &["ryw"]),
    // A fresh read leaves out the newest message, mostly one that was pushed. Also: `ryw`, `causal`.
    row(Fault::HeadBack, "head-back", 2, &["nonmonotonic"]),
    // The same while pushes come late, so that its reader has not seen it. Also: `ryw`, `nonmonotonic`.
    row(Fault::HideCause, "hide-cause", 1, &["causal"]),
    // A number is given to nothing.
    row(Fault::Hole, "hole", 20, &["hole"]),
    // A message gets the number of the one before it, and is not pushed. Also: `hole`, `rt-miss`.
    row(Fault::ReuseSeq, "reuse-seq", 20, &["seq-reuse"]),
    // A page leaves one message out.
    row(Fault::SkipPageItem, "skip-page-item", 2, &["page-skip"]),
    // A page begins with what the last one ended with.
    row(Fault::RepeatPageItem, "repeat-page-item", 2, &["page-dup"]),
    // A push is left out.
    row(Fault::MissPush, "miss-push", 20, &["rt-miss"]),
    // A push is sent twice.
    row(Fault::DoublePush, "double-push", 20, &["rt-dup"]),
    // A push waits for the next of its stream. Also: `rt-miss`, if none follows.
    row(Fault::SwapPushes, "swap-pushes", 10, &["rt-reorder"]),
    // `open` says that nothing unread lies before its page.
    row(Fault::HideGap, "hide-gap", 1, &["silent-gap"]),
    // A resume is granted without its first message.
    row(Fault::PartialResume, "partial-resume", 1, &["silent-gap"]),
    // A message is flagged the other way round, everywhere.
    row(Fault::MisflagLate, "misflag-late", 20, &["late-misflag"]),
    // Every other unread late message is not reported.
    row(Fault::ForgetLate, "forget-late", 1, &["late-dropped"]),
    // `open` reports an acknowledged late message as unread.
    row(Fault::LateZombie, "late-zombie", 1, &["late-zombie"]),
    // An acknowledgement is answered and not stored.
    row(Fault::ForgetAck, "forget-ack", 3, &["ack-regress"]),
    // A page holds a message of another conversation in place of its own.
    row(Fault::MisroutePage, "misroute-page", 5, &["misroute"]),
    // A push is a message of another conversation. Also: `rt-miss`, for the one it replaces.
    row(Fault::MisroutePush, "misroute-push", 20, &["misroute"]),
    // A stored message is answered with a definite error.
    row(Fault::LieFail, "lie-fail", 20, &["lying-fail"]),
    // Hints that come much too late, or twice, must not be visible at all.
    row(Fault::DelayHint, "delay-hint", 10, &[]),
    row(Fault::DoubleHint, "double-hint", 2, &[]),
];

impl Fault {
    /// Every fault, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.fault)
    }

    /// The anomalies that `check validity` must report, others may be there beside them; none: the run
    /// must be valid.
    pub fn expected(self) -> &'static [&'static str] {
        self.row().expected
    }

    /// It acts at every so-many-th occasion: often enough for a run of seconds, seldom enough for
    /// the workload to go on.
    pub fn every(self) -> u64 {
        self.row().every
    }

    fn row(self) -> &'static Row {
        let row = TABLE.iter().find(|row| row.fault == self);
        row.unwrap_or_else(|| unreachable!("{self:?} has a row: a test looks"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.row().name)
    }
}

/// There is no fault of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no fault {0:?}")]
pub struct UnknownFault(String);

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let row = TABLE.iter().find(|row| row.name == text);
        row.map(|row| row.fault).ok_or_else(|| UnknownFault(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What `check validity` judges on one node: design §6 without what needs several, or groups.
    const JUDGED: [&str; 25] = [
        "lost",
        "phantom",
        "corrupt",
        "duplicate",
        "inconsistent-offset",
        "order-disagreement",
        "realtime-inversion",
        "fifo",
        "ryw",
        "nonmonotonic",
        "causal",
        "hole",
        "seq-reuse",
        "page-skip",
        "page-dup",
        "rt-miss",
        "rt-dup",
        "rt-reorder",
        "silent-gap",
        "late-misflag",
        "late-dropped",
        "late-zombie",
        "ack-regress",
        "misroute",
        "lying-fail",
    ];

    #[test]
    fn every_fault_has_one_row_and_every_judged_name_a_fault() {
        let names: BTreeSet<String> = Fault::all().map(|fault| fault.to_string()).collect();
        assert_eq!((names.len(), TABLE.len()), (TABLE.len(), Fault::DoubleHint as usize + 1));
        for fault in Fault::all() {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        let expected: BTreeSet<_> = Fault::all().flat_map(Fault::expected).copied().collect();
        assert_eq!(expected, BTreeSet::from(JUDGED));
        assert!("no-such-fault".parse::<Fault>().is_err());
    }
}
