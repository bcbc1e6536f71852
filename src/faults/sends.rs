//! Faults of sending.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::Fault;
use super::memory::{Held, Shared};
use super::pages::shown;
use crate::clock::unix_ms;
use crate::model::{Message, Seq};
use crate::persistence::{Append, AppendOutcome, EngineError, Stored};

/// How long a send waits for the next of its sender.
const SWAP_WAIT: Duration = Duration::from_millis(20);
/// A `ts` this near to the limit may be refused.
const SKEW_MARGIN_MS: u64 = 1_000;

type Outcome = Result<AppendOutcome, EngineError>;

/// [`Persistence::append`](crate::persistence::Persistence::append), broken.
pub fn append(shared: &Arc<Shared>, append: Append) -> BoxFuture<'static, Outcome> {
    match shared.fault {
        Some(Fault::SwapSends) => swap(shared, append),
        Some(Fault::AnswerEarly) => answer_early(shared, append),
        _ => spoil_outcome(shared, append),
    }
}

fn spoil_outcome(shared: &Arc<Shared>, append: Append) -> BoxFuture<'static, Outcome> {
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
        match outcome? {
            AppendOutcome::Stored(stored) => {
                shared.note(append.conv, &stored);
                spoil_stored(&shared, append, stored).await
            }
            refused => Ok(refused),
        }
    })
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
        Some(Fault::WrongOffset) if stored.dup && stored.message.seq.0 > 1 && shared.acts() => {
            let seq = Seq(stored.message.seq.0 - 1);
            stored.message = Arc::new(Message { seq, ..(*stored.message).clone() });
        }
        Some(Fault::LieFail) if !stored.dup && shared.acts() => {
            return Err(EngineError::Unavailable("a deliberate lie".to_owned()));
        }
        Some(Fault::MisflagLate | Fault::ReuseSeq) => {
            if let Some(message) = shown(shared, append.conv, &stored.message) {
                stored.message = message;
            }
        }
        _ => {}
    }
    Ok(AppendOutcome::Stored(stored))
}

fn swap(shared: &Arc<Shared>, append: Append) -> BoxFuture<'static, Outcome> {
    let (conv, sender) = (append.conv, append.sender.clone());
    // The engine is called under the lock: the order of the calls is what this is about.
    let overtaken = shared.with(conv, |memory| {
        let held = memory.held.remove(&sender)?;
        let first = shared.engine.append(append.clone());
        let second = shared.engine.append(held.append);
        Some((first, second, held.answer))
    });
    if let Some((first, second, answer)) = overtaken {
        // Nobody may be waiting any more.
        tokio::spawn(async move { drop(answer.send(second.await)) });
        return first;
    }
    if !shared.acts() {
        return shared.engine.append(append);
    }
    let (answer, answered) = oneshot::channel();
    shared.with(conv, |memory| memory.held.insert(sender.clone(), Held { append, answer }));
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        tokio::time::sleep(SWAP_WAIT).await;
        // Possibly a later one of the same sender, which then waits less.
        let alone = shared.with(conv, |memory| {
            let held = memory.held.remove(&sender)?;
            Some((shared.engine.append(held.append), held.answer))
        });
        if let Some((appending, answer)) = alone {
            drop(answer.send(appending.await));
        }
    });
    Box::pin(async move {
        let lost = |_| Err(EngineError::Internal("a held send was dropped".to_owned()));
        answered.await.unwrap_or_else(lost)
    })
}

fn answer_early(shared: &Arc<Shared>, mut append: Append) -> BoxFuture<'static, Outcome> {
    let (conv, name) = (append.conv, (append.sender.clone(), append.cid.clone()));
    let ts_max = (unix_ms() + append.future_skew_ms_max).saturating_sub(SKEW_MARGIN_MS);
    let is_sure = append.ts.is_none_or(|ts| ts <= ts_max);
    let begun = shared.with(conv, |memory| {
        if let Some((owed, promised)) = &memory.owed
            && (&owed.sender, &owed.cid) == (&name.0, &name.1)
        {
            return Err(Stored { dup: true, ..promised.clone() });
        }
        let is_new = memory.known.insert(name) && is_sure;
        // Behind somebody else's: behind one's own it would be `fifo` as well, and mostly only that.
        let behind = memory.owed.take_if(|(owed, _)| is_new && owed.sender != append.sender);
        if behind.is_none()
            && is_new
            && memory.in_flight == 0
            && memory.owed.is_none()
            && let Some((newest, epoch)) = memory.newest.clone()
            && shared.acts()
        {
            let stored = promise(&append, &newest, epoch, memory.highest_ts);
            append.ts = Some(stored.message.ts);
            memory.owed = Some((append, stored.clone()));
            return Err(stored);
        }
        memory.in_flight += 1;
        let first = shared.engine.append(append);
        Ok((first, behind.map(|(owed, _)| shared.engine.append(owed))))
    });
    let (first, behind) = match begun {
        Ok(begun) => begun,
        Err(promised) => return Box::pin(ready(Ok(AppendOutcome::Stored(promised)))),
    };
    let shared = Arc::clone(shared);
    Box::pin(async move {
        let outcome = first.await;
        if let Ok(AppendOutcome::Stored(stored)) = &outcome {
            shared.note(conv, stored);
        }
        if let Some(behind) = behind
            && let Ok(AppendOutcome::Stored(stored)) = behind.await
        {
            shared.note(conv, &stored);
        }
        shared.with(conv, |memory| memory.in_flight -= 1);
        outcome
    })
}

/// What a send will be once the next one stands before it.
fn promise(
    append: &Append,
    newest: &Message,
    epoch: crate::model::Epoch,
    highest_ts: u64,
) -> Stored {
    let now = unix_ms();
    let ts = append.ts.unwrap_or(highest_ts.max(now));
    let message = Message {
        seq: newest.seq.next().next(),
        from: append.sender.clone(),
        cid: append.cid.clone(),
        kind: append.kind.clone(),
        content: append.content.clone(),
        ts,
        at: now,
        late: ts < highest_ts,
    };
    Stored { message: Arc::new(message), dup: false, epoch, became: Vec::new() }
}
