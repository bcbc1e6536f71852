//! Many connections that say `hello` and nothing more.

use std::ops::Range;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::error::BenchError;
use super::filling::{connect, user};
use super::progress::Progress;
use crate::client::{Address, Client, PushHandler};

/// Connections that are made at the same time.
const CONNECTING_MAX: usize = 64;

/// One of them.
#[derive(Debug)]
pub struct Connected {
    /// The connection; it ends when this is dropped.
    pub client: Client,
    /// When it was begun.
    pub asked_at: Instant,
    /// When `hello` was answered.
    pub connected_at: Instant,
}

/// Connects the users `prefix-number`, spread over the addresses. One that cannot be connected ends it.
pub async fn connect_crowd(
    addresses: &[Address],
    prefix: &str,
    numbers: Range<usize>,
    connect_timeout: Duration,
) -> Result<Vec<Connected>, BenchError> {
    let progress = Progress::start("connecting", Some(numbers.len() as u64));
    let progress = &progress;
    let connecting = numbers.map(|number| async move {
        let user = user(prefix, &number.to_string())?;
        let asked_at = Instant::now();
        let address = &addresses[number % addresses.len()];
        let client = connect(address, &user, connect_timeout, PushHandler::Ignore).await?;
        progress.add(1);
        Ok::<_, BenchError>(Connected { client, asked_at, connected_at: Instant::now() })
    });
    stream::iter(connecting).buffer_unordered(CONNECTING_MAX).try_collect().await
}
