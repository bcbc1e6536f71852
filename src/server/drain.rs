//! The way to stop: nobody new, everybody told, the load spread, an end in bounded time.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Node;
use crate::protocol::CloseCode;

/// Part of the drain time for which sessions are told but not closed: commands begun are answered.
const NOTICE_SHARE: f64 = 0.1;
/// Part over which the closes are spread, so that the other nodes do not get everybody at once.
const SPREAD_SHARE: f64 = 0.4;
/// Connections closed in one step of the spread.
const STEP: Duration = Duration::from_millis(10);
/// After the abort every connection only has to end its session.
const ABORT_MAX: Duration = Duration::from_secs(2);

/// Returns when every WebSocket has ended, after the drain time at the latest (and the moment that
/// it takes to abort the rest).
pub(super) async fn drain(node: &Node) {
    let deadline = Instant::now() + node.settings.drain;
    node.readiness.set_draining();
    node.draining.cancel();
    node.chat.drain();
    node.websockets.close();
    tracing::info!(connections = node.connections.count(), "draining");
    tokio::select! {
        () = node.websockets.wait() => {}
        () = close_all(node) => {}
        () = sleep_until(deadline) => {}
    }
    tokio::select! {
        () = node.websockets.wait() => {}
        () = sleep_until(deadline) => {
            tracing::warn!(connections = node.connections.count(), "the drain time is over");
        }
    }
    node.abort.cancel();
    if timeout(ABORT_MAX, node.websockets.wait()).await.is_err() {
        tracing::error!(connections = node.connections.count(), "sessions did not end");
    }
}

async fn close_all(node: &Node) {
    sleep(node.settings.drain.mul_f64(NOTICE_SHARE)).await;
    let outboxes = node.connections.close_newcomers(CloseCode::SHUTDOWN);
    let spread = node.settings.drain.mul_f64(SPREAD_SHARE);
    let steps = (spread.as_millis() / STEP.as_millis()).max(1) as usize;
    for group in outboxes.chunks(outboxes.len().div_ceil(steps).max(1)) {
        for outbox in group {
            outbox.close(CloseCode::SHUTDOWN);
        }
        sleep(STEP).await;
    }
}
