//! The sends of one session that the engine has: one task for all of them.
//!
//! What the engine answers at the same time wakes the session once, is answered together, and is written to the socket at once. With a task
//! for each send every answer was a write of its own.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Turn;
use crate::chat::ChatService;
use crate::chat::subscription::{SendKey, Subscription};
use crate::model::{ConvId, Place};
use crate::persistence::{AppendOutcome, EngineError};

/// A send that the engine was given.
pub(super) struct Begun {
    pub id: u64,
    pub conv: ConvId,
    pub place: Arc<Place>,
    pub subscription: Arc<Subscription>,
    pub own_send: Option<SendKey>,
    pub taken: Instant,
    pub turn: Turn,
}

/// The same with what the engine will say of it.
pub(super) struct UnderWay {
    pub begun: Begun,
    pub appending: BoxFuture<'static, Result<AppendOutcome, EngineError>>,
}

/// Those of one session. As many as may be in flight, which each holds its place for.
#[derive(Default)]
pub(super) struct SendsUnderWay {
    /// Of the task, which begins with the first send that must be waited for, and ends with the last after the session has.
    /// Boxed: the queue keeps room for 32, also while the session is idle.
    queue: Option<mpsc::UnboundedSender<Box<UnderWay>>>,
}

impl SendsUnderWay {
    /// Takes one more; it takes effect even if the session ends.
    pub fn take(&mut self, service: &Arc<ChatService>, mut send: UnderWay) {
        if let Some(outcome) = (&mut send.appending).now_or_never() {
            return send.begun.settle(service, outcome);
        }
        let queue = self.queue.get_or_insert_with(|| {
            let (queue, waiting) = mpsc::unbounded_channel();
            service.spawn(finish_all(Arc::clone(service), waiting));
            queue
        });
        if let Err(mpsc::error::SendError(send)) = queue.send(Box::new(send)) {
            // The task has broken off, which it never should: the next one gets another.
            self.queue = None;
            let service = Arc::clone(service);
            Arc::clone(&service).spawn(async move { send.finish(&service).await });
        }
    }
}

async fn finish_all(
    service: Arc<ChatService>,
    mut waiting: mpsc::UnboundedReceiver<Box<UnderWay>>,
) {
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = under_way.next() => {}
            send = waiting.recv() => match send {
                // One that broke off must not take the others with it.
                Some(send) => under_way.push(AssertUnwindSafe(send.finish(&service)).catch_unwind()),
                None => break,
            },
        }
    }
    while under_way.next().await.is_some() {}
}
