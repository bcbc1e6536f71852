//! G18: what the clients of `bench paired-clients` cost, against the server that they measure.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::super::figure::Figure;
use super::{Bench, DURABLE, Failure};
use crate::bench::BenchError;
use crate::bench::compare::measure::Work;
use crate::bench::floor::line::CONTENT_BYTES;
use crate::bench::paired_clients::{LATENCIES, drive};
use crate::bench::recorder::RunRecord;
use crate::clock::process_cpu;
use crate::harness::fresh_name;

const CLIENTS: usize = 50;
const IN_FLIGHT: usize = 8;

/// Messages of each client in a round of a second.
const MESSAGES: f64 = 800.0;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let subject = bench.subject(DURABLE).await?;
    let messages = ((MESSAGES * bench.slice.as_secs_f64()) as u64).max(20);
    let work = Work { clients: CLIENTS, messages, size_bytes: CONTENT_BYTES, in_flight: IN_FLIGHT };
    let never = CancellationToken::new();
    let mut ratios = Vec::new();
    let (mut clients_us, mut server_us) = (0.0, 0.0);
    for _ in 0..bench.rounds {
        let options = work.options(&fresh_name("floor"), messages);
        let record = Arc::new(RunRecord::new(&LATENCIES));
        let (mark, cpu) = (subject.mark().await?, process_cpu());
        let driving = drive(subject.addresses(), &options, &record, None, &never, async {});
        let driven = Box::pin(driving).await?;
        let clients = (process_cpu() - cpu).as_secs_f64();
        let grown = subject.since(&mark).await?;
        let server = grown.get("chatctl_process_cpu_seconds_total").copied().unwrap_or(f64::NAN);
        if !driven.tally.is_complete() {
            let text = "the clients of G18 did not get all of their work done".to_owned();
            return Err(BenchError::Unmeasurable(text).into());
        }
        let sent = driven.tally.sent as f64;
        (clients_us, server_us) = (clients * 1e6 / sent, server * 1e6 / sent);
        ratios.push(Some(clients / server));
    }
    subject.stop().await?;
    let what = "CPU time of the clients of paired-clients ÷ the server's";
    let basis = format!(
        "last round: {clients_us:.1} µs ÷ {server_us:.1} µs a message, reads of pages included"
    );
    Ok(vec![Figure::new("G18", what, &ratios).at_most(0.8).of(basis)])
}
