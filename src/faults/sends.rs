//! Faults of sending: what becomes of a send before the engine has it.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::memory::{Held, Shared};
use super::{Fault, answers, crash, early, losses};
use crate::persistence::{Append, AppendOutcome, EngineError};

/// How long a send waits for the next of its sender.
const SWAP_WAIT: Duration = Duration::from_millis(20);
/// How long a slow worker takes to come to the engine: longer than the next frame of the same session.
const WORKER_LAG: Duration = Duration::from_millis(4);
/// Nobody sends for so long: shorter than the end of a run waits.
const QUIET: Duration = Duration::from_millis(200);
/// How often that is looked at.
const QUIET_LOOK: Duration = Duration::from_millis(10);

pub type Outcome = Result<AppendOutcome, EngineError>;

/// [`Persistence::append`](crate::persistence::Persistence::append), broken.
pub fn append(shared: &Arc<Shared>, append: Append) -> BoxFuture<'static, Outcome> {
    match shared.fault {
        Some(Fault::SwapSends) => swap(shared, append),
        Some(Fault::RaceSends) if shared.acts() => come_late(shared, append),
        Some(Fault::AnswerEarly) => early::answer(shared, append, 1),
        Some(Fault::WriteBackwards) => early::answer(shared, append, 2),
        Some(Fault::Overwrite) => early::overwrite(shared, append),
        Some(Fault::EndInQuiet) => {
            watch_for_quiet(shared);
            answers::append(shared, append)
        }
        Some(Fault::LoseTail | Fault::LoseConversation) => watch_for_loss(shared, append),
        _ => answers::append(shared, append),
    }
}

fn come_late(shared: &Arc<Shared>, append: Append) -> BoxFuture<'static, Outcome> {
    let shared = Arc::clone(shared);
    Box::pin(async move {
        tokio::time::sleep(WORKER_LAG).await;
        shared.engine.append(append).await
    })
}

fn watch_for_loss(shared: &Arc<Shared>, append: Append) -> BoxFuture<'static, Outcome> {
    let (begun, appending) = (Instant::now(), answers::append(shared, append));
    let shared = Arc::clone(shared);
    Box::pin(async move {
        let outcome = appending.await;
        losses::notice(&shared, begun.elapsed(), &outcome);
        outcome
    })
}

/// The first send sets the watch.
fn watch_for_quiet(shared: &Arc<Shared>) {
    let mut last_sent = shared.last_sent.lock().unwrap_or_else(PoisonError::into_inner);
    let is_first = last_sent.replace(Instant::now()).is_none();
    drop(last_sent);
    if !is_first {
        return;
    }
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(QUIET_LOOK).await;
            let last_sent = shared.last_sent.lock().unwrap_or_else(PoisonError::into_inner);
            if last_sent.is_some_and(|at| at.elapsed() >= QUIET) {
                crash::end();
            }
        }
    });
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
