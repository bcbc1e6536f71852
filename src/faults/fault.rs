//! What can be broken, and what the judge must call it.

use std::fmt;
use std::str::FromStr;

use super::Shape;
use super::table::{Row, TABLE};

/// One promise, broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the table says what each does")]
pub enum Fault {
    DropAcked,
    TrimOldest,
    DropBatchHalf,
    Invent,
    WrongSender,
    CorruptContent,
    TruncateStored,
    ShiftTs,
    DoubleRetry,
    ForgetCid,
    WrongOffset,
    RetryTs,
    Disagree,
    SortBySeq,
    AnswerEarly,
    WriteBackwards,
    SwapSends,
    RaceSends,
    StaleRead,
    SlowIndex,
    HeadBack,
    LagClock,
    HideCause,
    ShowInBatches,
    Hole,
    BurnNumber,
    ReuseSeq,
    Overwrite,
    SkipPageItem,
    SkipEqualTs,
    RepeatPageItem,
    WidenRange,
    MissPush,
    MissOwn,
    MissLate,
    DoublePush,
    RepeatPush,
    SwapPushes,
    HoldLatePush,
    HideGap,
    PartialResume,
    MisflagLate,
    EqualIsLate,
    ForgetLate,
    EndLateEarly,
    LateZombie,
    OwnLate,
    ForgetAck,
    AckLastWins,
    MisroutePage,
    MisroutePush,
    NobodyLeaves,
    UnheardRemoval,
    LieFail,
    LieFuture,
    FalseConflict,
    ForkContent,
    ForkOrder,
    ForkMissing,
    LoseTail,
    LoseConversation,
    LeakQueue,
    EndInQuiet,
    DelayHint,
    DoubleHint,
}

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
    /// the workload to go on. Where the table says so, it is another number that the fault needs.
    pub fn every(self) -> u64 {
        self.row().every
    }

    /// What a run must be like for it to show.
    pub fn shape(self) -> Shape {
        self.row().shape
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
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// What `check validity` judges: design §6.
    const JUDGED: [&str; 29] = [
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
        "revoked-leak",
        "lying-fail",
        "diverged",
        "undetected-loss",
        "stuck",
    ];

    #[test]
    fn every_fault_has_one_row_and_every_judged_name_two_faults() {
        let names: BTreeSet<String> = Fault::all().map(|fault| fault.to_string()).collect();
        assert_eq!((names.len(), TABLE.len()), (TABLE.len(), Fault::DoubleHint as usize + 1));
        assert!(TABLE.len() >= 60, "{} faults", TABLE.len());
        for fault in Fault::all() {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        let mut of_name: BTreeMap<&str, usize> = BTreeMap::new();
        for name in Fault::all().flat_map(Fault::expected) {
            *of_name.entry(name).or_default() += 1;
        }
        let named: BTreeSet<&str> = of_name.keys().copied().collect();
        assert_eq!(named, BTreeSet::from(JUDGED));
        let few: Vec<_> = of_name.iter().filter(|(_, count)| **count < 2).collect();
        assert!(few.is_empty(), "{few:?}");
        assert!("no-such-fault".parse::<Fault>().is_err());
    }
}
