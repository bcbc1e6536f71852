//! The bus of a single node: a hint is a function call. It loses nothing, and reorders what
//! concurrent senders publish.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use super::{Distribution, Hint, HintSink, StartError};

/// Hands each hint straight to the node's own sink.
#[derive(Default)]
pub struct LocalDistribution {
    sink: OnceLock<Arc<dyn HintSink>>,
}

#[async_trait]
impl Distribution for LocalDistribution {
    fn name(&self) -> &'static str {
        "LOCAL"
    }

    async fn start(&self, sink: Arc<dyn HintSink>) -> Result<(), StartError> {
        // A second start would be a mistake of our own; the first sink stays.
        let _ = self.sink.set(sink);
        Ok(())
    }

    fn publish(&self, hint: Hint) {
        if let Some(sink) = self.sink.get() {
            sink.deliver(hint);
        }
    }
}
