//! The table of the faults: what each does, how often it acts, and what must be reported.

use super::{Fault, Shape};

/// One row: the fault, its name, how often it acts, and what must be reported.
pub(super) struct Row {
    pub fault: Fault,
    pub name: &'static str,
    /// It acts at every so-many-th occasion.
    pub every: u64,
    pub expected: &'static [&'static str],
    pub shape: Shape,
}

const fn row(
    fault: Fault,
    name: &'static str,
    every: u64,
    expected: &'static [&'static str],
) -> Row {
    Row { fault, name, every, expected, shape: Shape::OneNode }
}

impl Row {
    const fn of(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }
}

/// The table, in the order of the names in the design. "Also" marks side effects that cannot be avoided.
pub(super) const TABLE: &[Row] = &[
    // An answered message is in no page. Also: a number is missing there (`hole`).
    row(Fault::DropAcked, "drop-acked", 20, &["lost"]),
    // A conversation keeps only so many of its newest messages, a number in the place of `every`.
    row(Fault::TrimOldest, "trim-oldest", 30, &["lost"]),
    // Of sends that wait together, one of the later ones is answered and pushed, and in no page.
    row(Fault::DropBatchHalf, "drop-batch-half", 5, &["lost"]),
    // A message that nobody sent is stored behind a sent one.
    row(Fault::Invent, "invent", 20, &["phantom"]),
    // Pages and pushes name another sender. Also: `seq-reuse`, against the answer to the real one.
    row(Fault::WrongSender, "wrong-sender", 10, &["phantom"]),
    // Pages show a stored message with other content.
    row(Fault::CorruptContent, "corrupt-content", 20, &["corrupt"]),
    // A content is cut as it is stored, as by a column too narrow.
    row(Fault::TruncateStored, "truncate-stored", 10, &["corrupt"]),
    // Pages show a time that is one millisecond off. Also: `order-disagreement`, against the push.
    row(Fault::ShiftTs, "shift-ts", 20, &["corrupt"]),
    // A retry is answered as it must be, and stored once more.
    row(Fault::DoubleRetry, "double-retry", 1, &["duplicate"]),
    // A name that is known is stored as if it were new, and answered so. Also: `inconsistent-offset`.
    row(Fault::ForgetCid, "forget-cid", 1, &["duplicate"]),
    // The answer to a retry names the number before the right one.
    row(Fault::WrongOffset, "wrong-offset", 1, &["inconsistent-offset"]),
    // A retry is answered with its own time instead of the one that is stored.
    row(Fault::RetryTs, "retry-ts", 1, &["inconsistent-offset"]),
    // Some pages show two neighbours with their numbers exchanged. Also: `late-misflag`.
    row(Fault::Disagree, "disagree", 3, &["order-disagreement"]),
    // A page of history is sorted by number instead of by time.
    row(Fault::SortBySeq, "sort-by-seq", 2, &["order-disagreement"]),
    // A send is answered at once and stored behind the next one of somebody else. Also: `ryw` until
    // then, `fifo`, `late-misflag`.
    row(Fault::AnswerEarly, "answer-early", 5, &["realtime-inversion"]),
    // Two sends are answered at once, and stored behind the next one, the last of them first. Also: as above.
    row(Fault::WriteBackwards, "write-backwards", 4, &["realtime-inversion"]),
    // A send waits a moment for the next of its sender and is stored behind it.
    row(Fault::SwapSends, "swap-sends", 3, &["fifo"]),
    // A send comes to the engine from a worker of its own, which is slow now and then.
    row(Fault::RaceSends, "race-sends", 4, &["fifo"]),
    // A fresh read is of a moment three messages ago. Also: `nonmonotonic`, where they had been seen.
    row(Fault::StaleRead, "stale-read", 2, &["ryw"]),
    // History is read from an index that is brought up to date now and then. Also: `nonmonotonic`, `causal`.
    row(Fault::SlowIndex, "slow-index", 1, &["ryw"]),
    // A fresh read leaves out the newest message while it is young, mostly one that was pushed. Also: `ryw`, `causal`.
    row(Fault::HeadBack, "head-back", 1, &["nonmonotonic"]),
    // A fresh read leaves out the newest message where its sender's clock is behind the server's. Also: `ryw`, `causal`.
    row(Fault::LagClock, "lag-clock", 1, &["nonmonotonic"]),
    // The same while pushes come late, so that its reader has not seen it. Also: `ryw`, `nonmonotonic`.
    row(Fault::HideCause, "hide-cause", 1, &["causal"]),
    // Messages are shown in batches of so many, in the place of `every`, and pushes come late. Also: `ryw`, `nonmonotonic`.
    row(Fault::ShowInBatches, "show-in-batches", 3, &["causal"]),
    // A number is given to nothing.
    row(Fault::Hole, "hole", 20, &["hole"]),
    // A send that is refused takes a number.
    row(Fault::BurnNumber, "burn-number", 4, &["hole"]),
    // A message gets the number of the one before it, and is not pushed. Also: `hole`, `rt-miss`.
    row(Fault::ReuseSeq, "reuse-seq", 20, &["seq-reuse"]),
    // A send is answered with the number of the newest message, which stays what it was.
    row(Fault::Overwrite, "overwrite", 20, &["seq-reuse"]),
    // A page leaves one message out.
    row(Fault::SkipPageItem, "skip-page-item", 2, &["page-skip"]),
    // A page begins behind everything of the time that the last one ended with. Also: `lost`.
    row(Fault::SkipEqualTs, "skip-equal-ts", 1, &["page-skip"]),
    // A page begins with what the last one ended with.
    row(Fault::RepeatPageItem, "repeat-page-item", 2, &["page-dup"]),
    // A range of times is answered in whole buckets.
    row(Fault::WidenRange, "widen-range", 1, &["page-dup"]),
    // A push is left out.
    row(Fault::MissPush, "miss-push", 20, &["rt-miss"]),
    // Sessions of a sender are not pushed what another session of theirs sent.
    row(Fault::MissOwn, "miss-own", 5, &["rt-miss"]),
    // A late message is not pushed.
    row(Fault::MissLate, "miss-late", 5, &["rt-miss"]),
    // A push is sent twice.
    row(Fault::DoublePush, "double-push", 20, &["rt-dup"]),
    // A push is followed by the one before it, once more.
    row(Fault::RepeatPush, "repeat-push", 20, &["rt-dup"]),
    // A push waits for the next of its stream. Also: `rt-miss`, if none follows.
    row(Fault::SwapPushes, "swap-pushes", 10, &["rt-reorder"]),
    // Pushes of late messages wait for one that is on time. Also: `rt-miss`, if none follows.
    row(Fault::HoldLatePush, "hold-late-push", 1, &["rt-reorder"]),
    // `open` says that nothing unread lies before its page.
    row(Fault::HideGap, "hide-gap", 1, &["silent-gap"]),
    // A resume is granted without its first message.
    row(Fault::PartialResume, "partial-resume", 1, &["silent-gap"]),
    // A message is flagged the other way round, everywhere.
    row(Fault::MisflagLate, "misflag-late", 20, &["late-misflag"]),
    // A message of the very highest time is late, everywhere. Also: `late-dropped`.
    row(Fault::EqualIsLate, "equal-is-late", 1, &["late-misflag"]),
    // Every other unread late message is not reported.
    row(Fault::ForgetLate, "forget-late", 1, &["late-dropped"]),
    // The first page of unread late messages is said to be the last.
    row(Fault::EndLateEarly, "end-late-early", 1, &["late-dropped"]),
    // `open` reports an acknowledged late message as unread.
    row(Fault::LateZombie, "late-zombie", 1, &["late-zombie"]),
    // `open` reports a late message of the reader's own as unread.
    row(Fault::OwnLate, "own-late", 1, &["late-zombie"]),
    // An acknowledgement is answered and not stored.
    row(Fault::ForgetAck, "forget-ack", 3, &["ack-regress"]),
    // An acknowledgement replaces what was acknowledged before. Also: counts that do not fit.
    row(Fault::AckLastWins, "ack-last-wins", 1, &["ack-regress"]),
    // A page holds a message of another conversation in place of its own.
    row(Fault::MisroutePage, "misroute-page", 5, &["misroute"]),
    // A push is a message of another conversation. Also: `rt-miss`, for the one it replaces.
    row(Fault::MisroutePush, "misroute-push", 20, &["misroute"]),
    // Whoever was once a member of a group is told to be one. Also pushes go on.
    row(Fault::NobodyLeaves, "nobody-leaves", 1, &["revoked-leak"]),
    // The chat is not told that somebody was removed, and messages do not name their roster.
    row(Fault::UnheardRemoval, "unheard-removal", 1, &["revoked-leak"]),
    // A stored message is answered with a definite error.
    row(Fault::LieFail, "lie-fail", 20, &["lying-fail"]),
    // A stored message is answered as one whose time is too far ahead.
    row(Fault::LieFuture, "lie-future", 20, &["lying-fail"]),
    // A retry of the same content is refused as a conflict.
    row(Fault::FalseConflict, "false-conflict", 2, &["lying-fail"]),
    // One of two nodes shows a message with other content.
    row(Fault::ForkContent, "fork-content", 20, &["diverged"]).of(Shape::TwoNodes),
    // One of two nodes shows two neighbours with their numbers exchanged.
    row(Fault::ForkOrder, "fork-order", 20, &["diverged"]).of(Shape::TwoNodes),
    // One of two nodes lacks a message.
    row(Fault::ForkMissing, "fork-missing", 20, &["diverged"]).of(Shape::TwoNodes),
    // When the service was away, the newest messages of every conversation are gone; so many, in the place of `every`.
    row(Fault::LoseTail, "lose-tail", 3, &["undetected-loss"]).of(Shape::BrokenService),
    // When the service was away, everything that the longest conversation held is gone.
    row(Fault::LoseConversation, "lose-conversation", 1, &["undetected-loss"])
        .of(Shape::BrokenService),
    // Refused sends stay in the queue of the engine; after so many, in the place of `every`, it takes none. Also: `lost`.
    row(Fault::LeakQueue, "leak-queue", 12, &["stuck"]),
    // When nobody has sent anything for a while, the server takes itself for dead and ends.
    row(Fault::EndInQuiet, "end-in-quiet", 1, &["stuck"]),
    // Hints that come much too late, or twice, must not be visible at all.
    row(Fault::DelayHint, "delay-hint", 10, &[]),
    row(Fault::DoubleHint, "double-hint", 2, &[]),
];
