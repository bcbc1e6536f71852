//! G14 and G23: what connections cost that say nothing, and how long a server takes to start and to stop.

use std::time::{Duration, Instant};

use super::super::figure::Figure;
use super::super::load::{closed, send_each};
use super::super::subject::Subject;
use super::{Bench, DURABLE, Failure, MEMORY};
use crate::bench::BenchError;
use crate::bench::file_limit::make_room_for;

/// Of rounds of a second; fewer in shorter ones.
const CONNECTIONS: f64 = 10_000.0;
const CONNECTIONS_MIN: usize = 200;
const MESSAGES: f64 = 1e6;
const MESSAGES_MIN: u64 = 10_000;

/// Who fills the store, and who asks while it stops.
const FILLERS: usize = 64;
const IN_FLIGHT: usize = 16;

const KIB: f64 = 1_024.0;

/// How long memory may take to settle.
const SETTLING: Duration = Duration::from_millis(500);

pub(super) async fn idle(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let count = (CONNECTIONS * bench.slice.as_secs_f64().min(1.0)) as usize;
    let count = count.max(CONNECTIONS_MIN) / 2 * 2;
    make_room_for(count)?;
    let mut grown = Vec::new();
    for _ in 0..bench.rounds.min(3) {
        let subject = bench.subject(MEMORY).await?;
        // What the first connections bring is the server's own.
        let early = subject.pairs(50).await?;
        tokio::time::sleep(SETTLING).await;
        let before = subject.resident_bytes().await;
        let lines = subject.pairs(count / 2).await?;
        tokio::time::sleep(SETTLING).await;
        let after = subject.resident_bytes().await;
        let bytes = before.zip(after).map(|(before, after)| after.saturating_sub(before));
        grown.push(bytes.map(|bytes| bytes as f64 / KIB / lines.len() as f64));
        drop((early, lines));
        subject.stop().await?;
    }
    let what = format!("KiB of memory per idle connection that has a chat open, {count} of them");
    Ok(vec![Figure::new("G14", what, &grown).at_most(8.0)])
}

pub(super) async fn starts(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let share = bench.slice.as_secs_f64().min(1.0);
    let count = ((MESSAGES * share) as u64).max(MESSAGES_MIN);
    let mut subject = bench.subject(DURABLE).await?;
    let mut lines = subject.notes(FILLERS).await?;
    send_each(&mut lines, IN_FLIGHT, count.div_ceil(FILLERS as u64)).await?;
    let (mut clean, mut killed, mut stopped) = (Vec::new(), Vec::new(), Vec::new());
    drop(lines);
    for _ in 0..bench.rounds.min(3) {
        // The first kill finds what the filling left, the next ones what was written since.
        under_load(&mut subject, bench.slice, async |subject| subject.kill().await).await?;
        killed.push(Some(seconds(subject.begin(bench.cores).await?)));
        let ended = under_load(&mut subject, bench.slice, async |subject| subject.end().await);
        stopped.push(Some(seconds(ended.await?)));
        clean.push(Some(seconds(subject.begin(bench.cores).await?)));
    }
    subject.stop().await?;
    let of = format!("{count} messages stored");
    Ok(vec![
        Figure::new("G23", format!("s from start to ready after a clean stop, {of}"), &clean)
            .at_most(0.5),
        Figure::new("G23", "s from start to ready after kill -9 under load", &killed).at_most(1.5),
        Figure::new(
            "G23",
            format!("s to stop under load, {FILLERS} × {IN_FLIGHT} in flight"),
            &stopped,
        )
        .at_most(2.0),
    ])
}

/// Ends the server while everybody asks, after a slice of that; how long the end took.
async fn under_load(
    subject: &mut Subject,
    slice: Duration,
    end: impl AsyncFnOnce(&mut Subject) -> Result<(), BenchError>,
) -> Result<Duration, Failure> {
    let mut lines = subject.notes(FILLERS).await?;
    // Everybody is told to go, or cut off, which ends the asking with an error; they go.
    let asking =
        async move { closed(&mut lines, &mut [], IN_FLIGHT, Duration::from_secs(60)).await };
    let ending = async {
        tokio::time::sleep(slice).await;
        let began = Instant::now();
        end(subject).await.map(|()| began.elapsed())
    };
    let (_, took) = tokio::join!(asking, ending);
    Ok(took?)
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
