//! The subscription: hears what other nodes publish, and notices when it does not hear.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::dialer::{Dialer, REDIAL_PAUSE};
use crate::distribution::wire::{Heard, Note, decode};
use crate::distribution::{Concerned, HintSink};
use crate::model::NodeId;

/// Time between two heartbeats.
const BEAT: Duration = Duration::from_secs(1);
/// A heartbeat without an answer for this long ends the connection.
const BEAT_TIME: Duration = Duration::from_secs(2);
/// While nothing is heard, a gap is told this often.
const GAP_BEAT: Duration = Duration::from_millis(500);
/// How long a start waits for the server.
const START_TIME: Duration = Duration::from_secs(10);

/// Keeps the subscription.
pub struct Subscriber {
    dialer: Arc<Dialer>,
    node: NodeId,
    sink: Arc<dyn HintSink>,
}

/// A connection that is subscribed.
pub struct Subscription {
    connection: MultiplexedConnection,
    /// Told when the connection has ended.
    ended: Arc<Notify>,
}

impl Subscriber {
    /// Hands what other nodes than `node` publish to `sink`.
    pub fn new(dialer: Arc<Dialer>, node: NodeId, sink: Arc<dyn HintSink>) -> Self {
        Self { dialer, node, sink }
    }

    /// The first subscription. The server may be starting, too.
    pub async fn first(&self) -> Result<Subscription, String> {
        let deadline = Instant::now() + START_TIME;
        loop {
            match self.subscribe().await {
                Ok(subscription) => return Ok(subscription),
                Err(reason) if Instant::now() > deadline => return Err(reason),
                Err(_) => sleep(REDIAL_PAUSE).await,
            }
        }
    }

    async fn subscribe(&self) -> Result<Subscription, String> {
        let ended = Arc::new(Notify::new());
        let (node, sink) = (self.node.clone(), Arc::clone(&self.sink));
        let end = Arc::clone(&ended);
        let connection = self
            .dialer
            .subscribe(move |info: PushInfo| match info.kind {
                PushKind::Message => take(&node, &*sink, &info.data),
                PushKind::Disconnection => end.notify_one(),
                _ => {}
            })
            .await?;
        Ok(Subscription { connection, ended })
    }

    /// Keeps it alive for ever. Each new subscription begins with a gap: nobody knows what the old one missed.
    pub async fn run(self, mut subscription: Subscription) {
        loop {
            let reason = watch(&mut subscription).await;
            tracing::warn!(%reason, "redis: the subscription to the bus is down");
            // Its connection may still bring something: no harm, hints may come twice.
            subscription = tokio::select! {
                // Boxed: it holds a whole connection.
                subscription = Box::pin(self.subscribe_again()) => subscription,
                never = self.tell_gaps() => match never {},
            };
            tracing::info!("redis: subscribed to the bus again");
            self.sink.gap(Concerned::All);
        }
    }
}

impl Subscriber {
    async fn subscribe_again(&self) -> Subscription {
        loop {
            match self.subscribe().await {
                Ok(subscription) => return subscription,
                Err(error) => {
                    tracing::debug!(%error, "redis: the bus cannot be subscribed to");
                    sleep(REDIAL_PAUSE).await;
                }
            }
        }
    }

    /// While nothing is heard, the engine is asked.
    async fn tell_gaps(&self) -> Infallible {
        loop {
            self.sink.gap(Concerned::All);
            sleep(GAP_BEAT).await;
        }
    }
}

/// Until the subscription is of no use any more; the reason.
async fn watch(subscription: &mut Subscription) -> String {
    loop {
        tokio::select! {
            () = subscription.ended.notified() => return "the connection ended".to_owned(),
            () = sleep(BEAT) => {}
        }
        let ping = redis::cmd("PING");
        let pong = ping.query_async::<Value>(&mut subscription.connection);
        match timeout(BEAT_TIME, pong).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("no answer in {} ms", BEAT_TIME.as_millis()),
        }
    }
}

/// `data` is the channel and what was published there.
fn take(node: &NodeId, sink: &dyn HintSink, data: &[Value]) {
    let Some(Value::BulkString(bytes)) = data.get(1) else { return };
    match decode(node, bytes) {
        Heard::Own => {}
        Heard::Note(note) => match *note {
            Note::Hint(hint) => sink.deliver(hint),
            Note::Gap => sink.gap(Concerned::All),
        },
        // Of a node of another version: what it says is stored, so the engine has it.
        Heard::Unreadable => {
            metrics::counter!("chatctl_hints_unreadable_total").increment(1);
            sink.gap(Concerned::All);
        }
    }
}
