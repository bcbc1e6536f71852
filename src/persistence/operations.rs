//! How long each operation of a message engine took, and how often it failed.

use std::time::Duration;

use metrics::{Counter, Histogram};

use super::EngineError;

/// One operation of an engine. `/metrics` shows `chatctl_engine_operation_seconds` and
/// `chatctl_engine_operation_errors_total` by engine and operation, from the start on.
pub struct Operation {
    seconds: Histogram,
    errors: Counter,
}

impl Operation {
    /// Both are looked up once, so that counting allocates nothing.
    pub fn new(engine: &'static str, operation: &'static str) -> Self {
        let labels = [("engine", engine), ("operation", operation)];
        Self {
            seconds: metrics::histogram!("chatctl_engine_operation_seconds", &labels),
            errors: metrics::counter!("chatctl_engine_operation_errors_total", &labels),
        }
    }

    /// Counts one that ended like this. A refusal by the rules (a conflict, an unknown member) is no error.
    pub fn record<T>(&self, took: Duration, result: &Result<T, EngineError>) {
        self.seconds.record(took.as_secs_f64());
        if result.is_err() {
            self.errors.increment(1);
        }
    }
}
