//! One client of a pair: connected, its conversation open, its own messages numbered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::super::delivery_checker::DeliveryChecker;
use super::super::error::BenchError;
use super::inbox::Inbox;
use super::line::{Line, Way};
use super::options::PairedClientsOptions;
use super::reading::PageReader;
use crate::client::{Address, ClientError};
use crate::harness::content::ContentMaker;
use crate::history::{Recorder, Seen};
use crate::model::{ConvId, LIMITS, UserName};

/// One client of a pair.
#[derive(Debug)]
pub(super) struct Chatter {
    pub(super) line: Arc<Line>,
    pub(super) user: UserName,
    pub(super) inbox: Arc<Inbox>,
    pub(super) conv: ConvId,
    pub(super) head: u64,
    pub(super) seed: u64,
    /// Messages sent so far, given up ones included.
    pub(super) number: u64,
    pub(super) random: SmallRng,
    pub(super) maker: Arc<ContentMaker>,
    pub(super) late_ratio: f64,
    pub(super) in_flight: usize,
    read_limit: usize,
    /// From the first packet to the reply to its `open`.
    pub(super) joined: Duration,
}

impl Chatter {
    /// Connects client `index`, of whom neighbours are on different nodes, and opens the chat with `peer`.
    pub(super) async fn join(
        addresses: &[Address],
        index: usize,
        peer: UserName,
        options: &PairedClientsOptions,
        maker: Arc<ContentMaker>,
        recorder: Option<&Arc<Recorder>>,
    ) -> Result<Self, BenchError> {
        let begun = Instant::now();
        let user = options.user(index)?;
        let inbox = Arc::new(Inbox::default());
        let way = Way {
            addresses: addresses.to_vec(),
            home: index % addresses.len(),
            user: user.clone(),
            peer: peer.clone(),
            connect_timeout: Duration::from_millis(options.connect_timeout_ms),
            patience: options.patience(),
            recorder: recorder.cloned(),
        };
        let client = way
            .connect(0, way.connect_timeout, &inbox)
            .await
            .map_err(BenchError::client(format!("connecting client {index}")))?;
        let opened = client
            .open(None, way.open(None))
            .await
            .map_err(BenchError::client(format!("opening the chat of {user} with {peer}")))?;
        if recorder.is_some() && opened.head.0 > 0 {
            return Err(BenchError::Usage(format!(
                "--check: the chat of {user} with {peer} holds {} messages that nobody recorded; leave --user-prefix out",
                opened.head.0
            )));
        }
        inbox.begin(DeliveryChecker::new(opened.conv, opened.head, peer));
        let seed = options.seed.wrapping_mul(0x9e37_79b9).wrapping_add(index as u64);
        Ok(Self {
            line: Line::new(way, Arc::clone(&inbox), client, &opened),
            user,
            inbox,
            conv: opened.conv,
            head: opened.head.0,
            seed,
            number: 0,
            random: SmallRng::seed_from_u64(seed),
            maker,
            late_ratio: options.late_ratio,
            in_flight: options.in_flight,
            read_limit: options.read_limit,
            joined: begun.elapsed(),
        })
    }

    /// Why the connection is over, if it is.
    pub(super) async fn broken(&self) -> Option<String> {
        if self.inbox.was_reset() {
            return Some(format!("{}: the server lost data and began a new epoch", self.user));
        }
        let why = self.line.over().await?;
        Some(format!("{}: {why}", self.user))
    }

    /// What reads its newest page, also while it sends.
    pub(super) fn page_reader(&self) -> PageReader {
        PageReader { line: Arc::clone(&self.line), conv: self.conv, limit: self.read_limit }
    }

    /// Waits until all that the server wrote before is here: a second copy of a delivery that nobody
    /// waits for, for example.
    pub(super) async fn drain(&self) -> Result<(), ClientError> {
        loop {
            match self.line.client().await?.ping().await {
                Err(error) if self.line.survives(&error) => {}
                pinged => return pinged,
            }
        }
    }

    /// After everything was healed: comes to its first node anew, where it must be let in and its send must be answered. What becomes of it
    /// is for the record.
    pub(super) async fn is_served(&mut self) {
        if let Err(error) = self.sends_from_home().await {
            let (address, error) = (self.line.home().to_string(), error.to_string());
            self.line.note(Seen::Unreachable { address, error });
        }
    }

    async fn sends_from_home(&mut self) -> Result<(), ClientError> {
        let client = self.line.come_home().await?;
        let (_, send) = self.prepare();
        // An answer that is an error is in the history.
        let _ = client.send_again(&send).await;
        client.close().await;
        Ok(())
    }

    /// Reads all that its conversation holds, for the record; on its first node where connections may have been lost.
    pub(super) async fn read_everything(&self) -> Result<(), ClientError> {
        let limit = LIMITS.read_limit_max;
        if self.line.patience().is_some() {
            let client = self.line.come_home().await?;
            client.read_everything(self.conv, limit).await?;
            client.close().await;
        } else if let Some(client) = self.line.newest() {
            client.read_everything(self.conv, limit).await?;
        }
        Ok(())
    }

    /// Closes the connection.
    pub(super) async fn close(self) {
        self.line.close().await;
    }
}
