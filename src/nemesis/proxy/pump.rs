//! One direction of one connection.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::weather::{Direction, Weather};

/// Most bytes that are read at once.
const READ_BYTES: usize = 16 << 10;

/// Pieces on their way at most: a link that holds them makes its sender wait, as a full network does.
const ON_THE_WAY_MAX: usize = 64;

/// A narrow link is written to this often in a second.
const WRITES_PER_S: u64 = 50;

/// What a pump works with.
pub(super) struct Pump<'a> {
    pub(super) direction: Direction,
    pub(super) weather: watch::Receiver<Weather>,
    /// Bytes that came out at the other end.
    pub(super) passed: &'a AtomicU64,
    /// This direction ends now, the other goes on.
    pub(super) half_close: CancellationToken,
}

impl Pump<'_> {
    /// Moves bytes until the sender ends, and hands its end on.
    pub(super) async fn run(self, from: OwnedReadHalf, to: OwnedWriteHalf) -> io::Result<()> {
        let (pieces, waiting) = mpsc::channel(ON_THE_WAY_MAX);
        let Self { direction, weather, passed, half_close } = self;
        let read = read(from, pieces, weather.clone(), half_close);
        let write = write(to, waiting, weather, direction, passed);
        tokio::try_join!(read, write).map(|_| ())
    }
}

async fn read(
    mut from: OwnedReadHalf,
    pieces: mpsc::Sender<(Instant, Bytes)>,
    weather: watch::Receiver<Weather>,
    half_close: CancellationToken,
) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut due = Instant::now();
    loop {
        let count = tokio::select! {
            biased;
            () = half_close.cancelled() => return Ok(()),
            count = from.read(&mut buffer) => count?,
        };
        if count == 0 {
            return Ok(());
        }
        let delay = delay(&weather.borrow());
        // Nothing overtakes what came before it.
        due = due.max(Instant::now() + delay);
        let piece = Bytes::copy_from_slice(&buffer[..count]);
        if pieces.send((due, piece)).await.is_err() {
            return Ok(());
        }
    }
}

fn delay(weather: &Weather) -> Duration {
    match weather.jitter.is_zero() {
        true => weather.latency,
        false => weather.latency + rand::rng().random_range(Duration::ZERO..=weather.jitter),
    }
}

async fn write(
    mut to: OwnedWriteHalf,
    mut waiting: mpsc::Receiver<(Instant, Bytes)>,
    mut weather: watch::Receiver<Weather>,
    direction: Direction,
    passed: &AtomicU64,
) -> io::Result<()> {
    while let Some((due, mut piece)) = waiting.recv().await {
        sleep_until(due).await;
        while !piece.is_empty() {
            let Some(Weather { bytes_per_s, piece_bytes, .. }) =
                passable(&mut weather, direction).await
            else {
                return Ok(());
            };
            let narrow = bytes_per_s.map(|bytes| (bytes / WRITES_PER_S).max(1) as usize);
            let most = narrow.unwrap_or(usize::MAX).min(piece_bytes.unwrap_or(usize::MAX)).max(1);
            let part = piece.split_to(most.min(piece.len()));
            to.write_all(&part).await?;
            passed.fetch_add(part.len() as u64, Ordering::Relaxed);
            if let Some(bytes) = bytes_per_s {
                sleep(Duration::from_secs_f64(part.len() as f64 / bytes.max(1) as f64)).await;
            } else if piece_bytes.is_some() {
                // Another task may run, so that the other end sees each by itself.
                tokio::task::yield_now().await;
            }
        }
    }
    passable(&mut weather, direction).await;
    to.shutdown().await
}

/// Waits until something may pass; `None`: the proxy is gone, and nobody can heal this any more.
async fn passable(weather: &mut watch::Receiver<Weather>, direction: Direction) -> Option<Weather> {
    weather.wait_for(|weather| !weather.holds(direction)).await.ok().map(|now| now.clone())
}
