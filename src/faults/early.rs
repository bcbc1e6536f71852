//! Sends that are answered before they are stored, if they ever are.

use std::future::ready;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::answers;
use super::memory::Shared;
use super::sends::Outcome;
use crate::clock::unix_ms;
use crate::model::{Epoch, Message, Seq};
use crate::persistence::{Append, AppendOutcome, Stored};

/// A `ts` this near to the limit may be refused.
const SKEW_MARGIN_MS: u64 = 1_000;

/// Answers so many sends at once, and stores them behind the next one, the newest first.
pub fn answer(
    shared: &Arc<Shared>,
    mut append: Append,
    depth: usize,
) -> BoxFuture<'static, Outcome> {
    let (conv, name) = (append.conv, (append.sender.clone(), append.cid.clone()));
    let is_sure = is_sure(&append);
    let begun = shared.with(conv, |memory| {
        let promised =
            memory.owed.iter().find(|(owed, _)| (&owed.sender, &owed.cid) == (&name.0, &name.1));
        if let Some((_, promised)) = promised {
            return Err(Stored { dup: true, ..promised.clone() });
        }
        let is_new = memory.known.insert(name) && is_sure;
        let is_others = memory.owed.iter().all(|(owed, _)| owed.sender != append.sender);
        let begins = memory.owed.is_empty() && memory.in_flight == 0 && is_new;
        let goes_on = (1..depth).contains(&memory.owed.len()) && is_new && is_others;
        if let Some((newest, epoch)) = memory.newest.clone()
            && (goes_on || begins && shared.acts())
        {
            // Of those that are owed the first comes last.
            let place = newest.seq.0 + 1 + (depth - memory.owed.len()) as u64;
            let stored = promise(&append, Seq(place), epoch, memory.highest_ts);
            append.ts = Some(stored.message.ts);
            memory.owed.push((append, stored.clone()));
            return Err(stored);
        }
        // Behind somebody else's: behind one's own it would be `fifo` as well, and mostly only that.
        let behind: Vec<_> =
            if is_new && is_others { std::mem::take(&mut memory.owed) } else { Vec::new() };
        memory.in_flight += 1;
        let first = shared.engine.append(append);
        let behind = behind.into_iter().rev();
        Ok((first, behind.map(|(owed, _)| shared.engine.append(owed)).collect::<Vec<_>>()))
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
        for behind in behind {
            if let Ok(AppendOutcome::Stored(stored)) = behind.await {
                shared.note(conv, &stored);
            }
        }
        shared.with(conv, |memory| memory.in_flight -= 1);
        outcome
    })
}

/// Answers some sends with the number of the newest message, and stores nothing.
pub fn overwrite(shared: &Arc<Shared>, append: Append) -> BoxFuture<'static, Outcome> {
    let name = (append.sender.clone(), append.cid.clone());
    let is_sure = is_sure(&append);
    let answer = shared.with(append.conv, |memory| {
        if let Some((content, stored)) = memory.overwritten.get(&name) {
            return Some(match *content == append.content {
                true => AppendOutcome::Stored(Stored { dup: true, ..stored.clone() }),
                false => AppendOutcome::Conflict,
            });
        }
        let is_new = memory.known.insert(name.clone()) && is_sure;
        let (newest, epoch) = memory.newest.clone().filter(|_| is_new && shared.acts())?;
        let stored = promise(&append, newest.seq, epoch, memory.highest_ts);
        memory.overwritten.insert(name, (append.content.clone(), stored.clone()));
        Some(AppendOutcome::Stored(stored))
    });
    match answer {
        Some(answer) => Box::pin(ready(Ok(answer))),
        None => answers::append(shared, append),
    }
}

/// Whether the engine will not refuse its time.
fn is_sure(append: &Append) -> bool {
    let ts_max = (unix_ms() + append.future_skew_ms_max).saturating_sub(SKEW_MARGIN_MS);
    append.ts.is_none_or(|ts| ts <= ts_max)
}

/// What a send is told that it is.
fn promise(append: &Append, seq: Seq, epoch: Epoch, highest_ts: u64) -> Stored {
    let now = unix_ms();
    let ts = append.ts.unwrap_or(highest_ts.max(now));
    let message = Message {
        seq,
        from: append.sender.clone(),
        cid: append.cid.clone(),
        kind: append.kind.clone(),
        content: append.content.clone(),
        ts,
        at: now,
        late: ts < highest_ts,
    };
    Stored { message: Arc::new(message), dup: false, epoch, became: Vec::new(), roster: 0 }
}
