//! The names of what can be wrong.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One kind of broken promise; the checker's own page defines each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the page of the checker defines each, in this order")]
pub enum Anomaly {
    Lost,
    Phantom,
    Corrupt,
    Duplicate,
    InconsistentOffset,
    OrderDisagreement,
    RealtimeInversion,
    Fifo,
    Ryw,
    Nonmonotonic,
    Causal,
    Hole,
    SeqReuse,
    PageSkip,
    PageDup,
    RtMiss,
    RtDup,
    RtReorder,
    SilentGap,
    LateMisflag,
    LateDropped,
    LateZombie,
    AckRegress,
    Misroute,
    RevokedLeak,
    LyingFail,
    Diverged,
    UndetectedLoss,
    Stuck,
}

impl Anomaly {
    /// Every name, in the order of the definitions.
    pub const ALL: [Self; 29] = [
        Self::Lost,
        Self::Phantom,
        Self::Corrupt,
        Self::Duplicate,
        Self::InconsistentOffset,
        Self::OrderDisagreement,
        Self::RealtimeInversion,
        Self::Fifo,
        Self::Ryw,
        Self::Nonmonotonic,
        Self::Causal,
        Self::Hole,
        Self::SeqReuse,
        Self::PageSkip,
        Self::PageDup,
        Self::RtMiss,
        Self::RtDup,
        Self::RtReorder,
        Self::SilentGap,
        Self::LateMisflag,
        Self::LateDropped,
        Self::LateZombie,
        Self::AckRegress,
        Self::Misroute,
        Self::RevokedLeak,
        Self::LyingFail,
        Self::Diverged,
        Self::UndetectedLoss,
        Self::Stuck,
    ];

    /// As reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Phantom => "phantom",
            Self::Corrupt => "corrupt",
            Self::Duplicate => "duplicate",
            Self::InconsistentOffset => "inconsistent-offset",
            Self::OrderDisagreement => "order-disagreement",
            Self::RealtimeInversion => "realtime-inversion",
            Self::Fifo => "fifo",
            Self::Ryw => "ryw",
            Self::Nonmonotonic => "nonmonotonic",
            Self::Causal => "causal",
            Self::Hole => "hole",
            Self::SeqReuse => "seq-reuse",
            Self::PageSkip => "page-skip",
            Self::PageDup => "page-dup",
            Self::RtMiss => "rt-miss",
            Self::RtDup => "rt-dup",
            Self::RtReorder => "rt-reorder",
            Self::SilentGap => "silent-gap",
            Self::LateMisflag => "late-misflag",
            Self::LateDropped => "late-dropped",
            Self::LateZombie => "late-zombie",
            Self::AckRegress => "ack-regress",
            Self::Misroute => "misroute",
            Self::RevokedLeak => "revoked-leak",
            Self::LyingFail => "lying-fail",
            Self::Diverged => "diverged",
            Self::UndetectedLoss => "undetected-loss",
            Self::Stuck => "stuck",
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
