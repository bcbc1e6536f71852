//! A bus that delays, doubles or misroutes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::Fault;
use super::crash::{CrashPoint, crash_instead_of};
use super::pages::astray;
use super::stale::BATCH_LAG;
use crate::distribution::{Distribution, Hint, HintSink, MessageHint, StartError};
use crate::model::{ConvId, Message};

/// Long after rooms have given up waiting for it.
const DELAY: Duration = Duration::from_millis(200);
/// Long enough that somebody reads meanwhile.
const LAG: Duration = Duration::from_millis(100);

/// A bus around an honest one. A late or doubled hint must not be visible: rooms repair it.
pub struct FaultyDistribution {
    bus: Arc<dyn Distribution>,
    fault: Option<Fault>,
    every: u64,
    occasions: AtomicU64,
    newest: Mutex<HashMap<ConvId, Arc<Message>>>,
}

impl FaultyDistribution {
    /// Breaks `fault` at every so-many-th message.
    pub fn new(bus: Arc<dyn Distribution>, fault: Option<Fault>, every: u64) -> Self {
        let occasions = AtomicU64::new(0);
        Self { bus, fault, every: every.max(1), occasions, newest: Mutex::default() }
    }

    fn publish_late(&self, hint: MessageHint, wait: Duration) {
        let bus = Arc::clone(&self.bus);
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            bus.publish(Hint::Message(hint));
        });
    }

    /// Notes the newest message of each conversation, and gives one of another.
    fn of_another(&self, conv: ConvId, message: &Arc<Message>) -> Option<Arc<Message>> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.insert(conv, Arc::clone(message));
        newest.iter().find(|(other, _)| **other != conv).map(|(_, message)| Arc::clone(message))
    }
}

#[async_trait]
impl Distribution for FaultyDistribution {
    fn name(&self) -> &'static str {
        self.bus.name()
    }

    async fn start(&self, sink: Arc<dyn HintSink>) -> Result<(), StartError> {
        self.bus.start(sink).await
    }

    async fn close(&self) {
        self.bus.close().await;
    }

    fn opened(&self, conv: ConvId) {
        self.bus.opened(conv);
    }

    fn closed(&self, conv: ConvId) {
        self.bus.closed(conv);
    }

    fn publish(&self, hint: Hint) {
        let Hint::Message(mut hint) = hint else { return self.bus.publish(hint) };
        if crash_instead_of(CrashPoint::BeforePublish) {
            return;
        }
        let another = self.of_another(hint.conv, &hint.message);
        let count = self.occasions.fetch_add(1, Ordering::Relaxed) + 1;
        match self.fault {
            Some(Fault::HideCause) => return self.publish_late(hint, LAG),
            Some(Fault::ShowInBatches) => return self.publish_late(hint, BATCH_LAG),
            _ => {}
        }
        match (self.fault, another) {
            _ if !count.is_multiple_of(self.every) => {}
            (Some(Fault::MisroutePush), Some(stray)) => {
                hint.message = astray(&stray, &hint.message);
            }
            (Some(Fault::DoubleHint), _) => self.bus.publish(Hint::Message(hint.clone())),
            (Some(Fault::DelayHint), _) => return self.publish_late(hint, DELAY),
            _ => {}
        }
        self.bus.publish(Hint::Message(hint));
    }
}
