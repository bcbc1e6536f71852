//! What is gone although it was answered.

use std::time::Duration;

use super::Fault;
use super::memory::Shared;
use crate::model::{ConvId, Seq};
use crate::persistence::{AppendOutcome, EngineError};

/// An engine that takes longer was away.
const AWAY: Duration = Duration::from_millis(250);

/// Whether no page shows this number any more.
pub fn is_gone(shared: &Shared, conv: ConvId, seq: Seq) -> bool {
    shared.with(conv, |memory| match shared.fault {
        Some(Fault::TrimOldest) => {
            let newest = memory.newest.as_ref().map_or(Seq::ZERO, |(newest, _)| newest.seq);
            newest.0 >= seq.0.saturating_add(shared.every())
        }
        _ => memory.vanished.contains(&seq),
    })
}

/// Notices that the engine was away, for the first time: then some of what it holds is gone.
pub fn notice(shared: &Shared, took: Duration, outcome: &Result<AppendOutcome, EngineError>) {
    if !matches!(shared.fault, Some(Fault::LoseTail | Fault::LoseConversation)) {
        return;
    }
    let was_away = took >= AWAY || outcome.is_err();
    if !was_away || shared.occasion() > 0 {
        return;
    }
    let mut longest = Seq::ZERO;
    shared.with_each(|memory| {
        let newest = memory.newest.as_ref().map_or(Seq::ZERO, |(newest, _)| newest.seq);
        longest = longest.max(newest);
        if shared.has(Fault::LoseTail) {
            let kept = newest.0.saturating_sub(shared.every());
            memory.vanished.extend((kept + 1..=newest.0).map(Seq));
        }
    });
    let mut is_lost = shared.has(Fault::LoseConversation);
    shared.with_each(|memory| {
        let newest = memory.newest.as_ref().map_or(Seq::ZERO, |(newest, _)| newest.seq);
        if is_lost && newest == longest {
            memory.vanished.extend((1..=newest.0).map(Seq));
            is_lost = false;
        }
    });
}
