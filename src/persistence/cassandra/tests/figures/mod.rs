//! What the engine takes and gives, as tables. Run one at a time, on a quiet machine:
//! `cargo test --release --lib cassandra::tests::figures::NAME -- --ignored --nocapture`.
#![expect(clippy::print_stdout, reason = "its only purpose")]

mod bare;
mod pages;
mod pairs;
mod rates;
mod wobble;

use super::*;
use crate::persistence::cassandra::layout::BUCKET_ROWS;
use crate::persistence::conformance::load::{self, machine_load};

/// Conversations, or senders, at once.
const CONCURRENCY: usize = 64;
/// How long each rate is measured.
const MEASURED: Duration = Duration::from_secs(6);

fn content() -> String {
    "x".repeat(200)
}

/// The number of copies and the sync of figures: `CHATCTL_TEST_NODES` (1 or 3).
fn nodes_asked() -> u8 {
    load::asked("CHATCTL_TEST_NODES", 1)
}

fn percentile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let at = ((times.len() as f64 * share) as usize).min(times.len() - 1);
    times[at].as_secs_f64() * 1e3
}

/// Calls a second of so many workers, each one after the other.
async fn rate<F: Future<Output = ()> + Send + 'static>(
    workers: usize,
    call: impl Fn(usize, u64) -> F + Clone + Send + Sync + 'static,
) -> f64 {
    load::rate(workers, MEASURED, call).await
}

/// Calls at a fixed rate for a while, whatever they take; the latency of each from when it was due, and when that was.
async fn at_rate<F: Future<Output = ()> + Send + 'static>(
    per_second: f64,
    during: Duration,
    call: impl Fn(u64) -> F,
) -> Vec<(Duration, Duration)> {
    let begun = Instant::now();
    let mut calls = Vec::new();
    for number in 0.. {
        let offset = Duration::from_secs_f64(number as f64 / per_second);
        if offset >= during {
            break;
        }
        // Timers tick at 1 ms: what is due by then is called at once.
        if begun + offset > Instant::now() {
            tokio::time::sleep_until((begun + offset).into()).await;
        }
        let call = call(number);
        calls.push(tokio::spawn(async move {
            call.await;
            (offset, begun.elapsed().saturating_sub(offset))
        }));
    }
    join_all(calls).await.into_iter().map(|call| call.expect("a call")).collect()
}
