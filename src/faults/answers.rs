//! Faults of what becomes of a send in the engine, and of what is answered.

use std::future::ready;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Fault;
use super::memory::Shared;
use super::pages::shown;
use super::sends::Outcome;
use crate::model::{ConvId, Message, Seq};
use crate::persistence::{Append, AppendOutcome, EngineError, Stored};

/// Stores a message, and breaks what is answered.
pub fn append(shared: &Arc<Shared>, mut append: Append) -> BoxFuture<'static, Outcome> {
    if shared.has(Fault::LeakQueue) && shared.occasions() >= shared.every() {
        return Box::pin(ready(Err(EngineError::Overloaded("a deliberate leak".to_owned()))));
    }
    if shared.has(Fault::TruncateStored) && is_long(shared, &append) {
        append.content.pop();
    }
    let waits = shared.has(Fault::DropBatchHalf).then(|| wait(shared, append.conv));
    let appending = shared.engine.append(append.clone());
    let stores_more = matches!(shared.fault, Some(Fault::Invent | Fault::Hole)) && shared.acts();
    let extra = stores_more.then(|| shared.engine.append(shared.renamed(&append)));
    let shared = Arc::clone(shared);
    Box::pin(async move {
        let outcome = appending.await;
        if let Some(extra) = extra {
            // Whether it was stored shows in the reads.
            let _ = extra.await;
        }
        if let Some(is_behind) = waits {
            shared.with(append.conv, |memory| memory.in_flight -= 1);
            if let (true, Ok(AppendOutcome::Stored(Stored { message, dup: false, .. }))) =
                (is_behind, &outcome)
            {
                shared.with(append.conv, |memory| memory.vanished.insert(message.seq));
            }
        }
        match outcome? {
            AppendOutcome::Stored(stored) => {
                shared.note(append.conv, &stored);
                spoil_stored(&shared, append, stored).await
            }
            refused => {
                spoil_refused(&shared, &append).await;
                Ok(refused)
            }
        }
    })
}

/// One more waits; whether it is one of those behind others that will vanish.
fn wait(shared: &Shared, conv: ConvId) -> bool {
    let waiting = shared.with(conv, |memory| {
        memory.in_flight += 1;
        memory.in_flight
    });
    waiting > 1 && shared.acts()
}

/// The same names whenever they are sent.
fn is_long(shared: &Shared, append: &Append) -> bool {
    let sum: u64 = append.cid.as_str().bytes().map(u64::from).sum();
    sum.is_multiple_of(shared.every())
}

/// What a refused send leaves behind.
async fn spoil_refused(shared: &Shared, append: &Append) {
    match shared.fault {
        Some(Fault::BurnNumber) if shared.acts() => {
            let burnt = Append { ts: None, ..shared.renamed(append) };
            // Whether it took a number shows in the reads.
            let _ = shared.engine.append(burnt).await;
        }
        Some(Fault::LeakQueue) => {
            shared.occasion();
        }
        _ => {}
    }
}

async fn spoil_stored(shared: &Shared, append: Append, mut stored: Stored) -> Outcome {
    match shared.fault {
        Some(Fault::DoubleRetry) if stored.dup && shared.acts() => {
            let copy = shared.renamed(&append);
            shared.with(append.conv, |memory| {
                memory.aliases.insert(copy.cid.clone(), append.cid.clone())
            });
            let content = append.content;
            // Whether it was stored shows in the reads.
            let _ = shared.engine.append(Append { content, ..copy }).await;
        }
        Some(Fault::ForgetCid) if stored.dup && shared.acts() => {
            let copy = shared.renamed(&append);
            shared.with(append.conv, |memory| {
                memory.aliases.insert(copy.cid.clone(), append.cid.clone())
            });
            let copy = Append { content: append.content, ..copy };
            if let AppendOutcome::Stored(copied) = shared.engine.append(copy).await? {
                shared.note(append.conv, &copied);
                stored = copied;
                if let Some(message) = shown(shared, append.conv, &stored.message) {
                    stored.message = message;
                }
            }
        }
        Some(Fault::RetryTs) if stored.dup && shared.acts() => {
            if let Some(ts) = append.ts {
                stored.message = Arc::new(Message { ts, ..(*stored.message).clone() });
            }
        }
        Some(Fault::FalseConflict) if stored.dup && shared.acts() => {
            return Ok(AppendOutcome::Conflict);
        }
        Some(Fault::LieFuture) if !stored.dup && shared.acts() => {
            return Ok(AppendOutcome::TsInFuture);
        }
        Some(Fault::WrongOffset) if stored.dup && stored.message.seq.0 > 1 && shared.acts() => {
            let seq = Seq(stored.message.seq.0 - 1);
            stored.message = Arc::new(Message { seq, ..(*stored.message).clone() });
        }
        Some(Fault::LieFail) if !stored.dup && shared.acts() => {
            return Err(EngineError::Unavailable("a deliberate lie".to_owned()));
        }
        Some(Fault::MisflagLate | Fault::ReuseSeq | Fault::EqualIsLate | Fault::WrongSender) => {
            if let Some(message) = shown(shared, append.conv, &stored.message) {
                stored.message = message;
            }
        }
        _ => {}
    }
    Ok(AppendOutcome::Stored(stored))
}
