//! What is broken on purpose in a world, to prove that its history shows it.

use crate::chat::flaw::Flaw;
use crate::checker::Anomaly;

/// One promise that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A rule of the chat itself.
    Rule(Flaw),
    /// The store forgets what it stored under a `cid`.
    ForgottenCids,
    /// The store answers before it has stored, and then does not.
    EarlyAnswers,
    /// An acknowledgement replaces what was acknowledged.
    RegressingAcks,
    /// Of two appends that wait, the second is done first.
    SwappedAppends,
    /// History is read from a copy that lags behind.
    StaleReads,
    /// What may have been done is answered as certainly not done.
    LyingErrors,
    /// The bus hands a message to another conversation.
    MisroutedHints,
    /// A connection loses a frame.
    LostFrames,
    /// A connection hands frames on in another order.
    SwappedFrames,
}

impl Broken {
    /// All of them, with the names under which a judge may report each.
    pub const ALL: [(Self, &'static [Anomaly]); 16] = [
        (Self::Rule(Flaw::FillsNothing), &[Anomaly::RtMiss]),
        (Self::Rule(Flaw::SkipsAhead), &[Anomaly::RtMiss, Anomaly::RtReorder]),
        (Self::Rule(Flaw::HoldsNothing), &[Anomaly::RtMiss]),
        (Self::Rule(Flaw::GoesLiveBehind), &[Anomaly::RtMiss]),
        (Self::Rule(Flaw::MixesEpochs), &[Anomaly::Misroute, Anomaly::RtMiss, Anomaly::SeqReuse]),
        (Self::Rule(Flaw::IgnoresRosters), &[Anomaly::RevokedLeak]),
        (Self::Rule(Flaw::AsksNoRoster), &[Anomaly::RevokedLeak]),
        (Self::ForgottenCids, &[Anomaly::Duplicate, Anomaly::InconsistentOffset]),
        (Self::EarlyAnswers, &[Anomaly::Lost, Anomaly::InconsistentOffset]),
        (Self::RegressingAcks, &[Anomaly::AckRegress]),
        (Self::SwappedAppends, &[Anomaly::Fifo]),
        (
            Self::StaleReads,
            &[Anomaly::Ryw, Anomaly::Nonmonotonic, Anomaly::Causal, Anomaly::PageSkip],
        ),
        (Self::LyingErrors, &[Anomaly::LyingFail]),
        (Self::MisroutedHints, &[Anomaly::Misroute]),
        (Self::LostFrames, &[Anomaly::RtMiss]),
        (Self::SwappedFrames, &[Anomaly::RtReorder, Anomaly::RtMiss]),
    ];
}
