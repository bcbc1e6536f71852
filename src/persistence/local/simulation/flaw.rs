//! What is broken on purpose, to prove that it is found.

/// One promise that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Under `always` a batch is answered before it is forced to the disk.
    AnsweredUnsynced,
    /// Under `interval` nothing is ever forced to the disk.
    NeverSynced,
    /// What a killed process left is read and answered, and not forced to the disk.
    FoundUnsynced,
    /// A crash leaves half of the last batch.
    HalfBatch,
    /// What was sent under which `cid` is forgotten over a crash.
    ForgottenCids,
    /// A write that failed is taken for one that did not.
    SwallowedFailure,
    /// A lost end is no new epoch.
    KeptEpoch,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AnsweredUnsynced,
        Self::NeverSynced,
        Self::FoundUnsynced,
        Self::HalfBatch,
        Self::ForgottenCids,
        Self::SwallowedFailure,
        Self::KeptEpoch,
    ];
}
