//! One client of a pair: connected, its conversation open, its own messages numbered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::super::delivery_checker::DeliveryChecker;
use super::super::error::BenchError;
use super::inbox::Inbox;
use super::options::PairedClientsOptions;
use super::reading::PageReader;
use crate::client::{Address, ClientError, ClientOptions};
use crate::harness::content::ContentMaker;
use crate::history::{RecordedClient, Recorder};
use crate::model::{ConvId, LIMITS, MessageType, UserName};
use crate::protocol::{Open, To};

/// One client of a pair.
#[derive(Debug)]
pub(super) struct Chatter {
    pub(super) client: Arc<RecordedClient>,
    pub(super) user: UserName,
    pub(super) inbox: Arc<Inbox>,
    pub(super) conv: ConvId,
    pub(super) head: u64,
    pub(super) seed: u64,
    /// Messages sent so far, given up ones included.
    pub(super) number: u64,
    pub(super) random: SmallRng,
    pub(super) maker: Arc<ContentMaker>,
    pub(super) kind: MessageType,
    pub(super) late_ratio: f64,
    pub(super) in_flight: usize,
    read_limit: usize,
    /// From the first packet to the reply to its `open`.
    pub(super) joined: Duration,
}

impl Chatter {
    /// Connects client `index` to `address` and opens the chat with `peer`.
    pub(super) async fn join(
        address: &Address,
        index: usize,
        peer: UserName,
        options: &PairedClientsOptions,
        maker: Arc<ContentMaker>,
        recorder: Option<&Arc<Recorder>>,
    ) -> Result<Self, BenchError> {
        let begun = Instant::now();
        let user = options.user(index)?;
        let inbox = Arc::new(Inbox::default());
        let receiving = Arc::clone(&inbox);
        let client_options = ClientOptions {
            connect_timeout: Duration::from_millis(options.connect_timeout_ms),
            client: Some("chatctl bench paired-clients".into()),
            ..ClientOptions::default()
        };
        let on_push = move |push| receiving.received(&push);
        let client = RecordedClient::connect(recorder, address, &user, client_options, on_push)
            .await
            .map_err(BenchError::client(format!("connecting client {index}")))?;
        let to = To::User(peer.clone());
        // Its own messages are answered, so it need not be pushed them too.
        let open = Open { to, limit: 0, resume: None, echo: false, push: true };
        let opened = client
            .open(None, open)
            .await
            .map_err(BenchError::client(format!("opening the chat of {user} with {peer}")))?;
        if recorder.is_some() && opened.head.0 > 0 {
            return Err(BenchError::Usage(format!(
                "--check: the chat of {user} with {peer} holds {} messages that nobody recorded; leave --user-prefix out",
                opened.head.0
            )));
        }
        inbox.begin(DeliveryChecker::new(opened.conv, opened.head, peer));
        let kind = MessageType::new("text")
            .map_err(|error| BenchError::Usage(format!("a type must be {error}")))?;
        let seed = options.seed.wrapping_mul(0x9e37_79b9).wrapping_add(index as u64);
        Ok(Self {
            client: Arc::new(client),
            user,
            inbox,
            conv: opened.conv,
            head: opened.head.0,
            seed,
            number: 0,
            random: SmallRng::seed_from_u64(seed),
            maker,
            kind,
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
        match self.client.is_closed() {
            true => Some(format!("{}: {}", self.user, self.client.closed().await)),
            false => None,
        }
    }

    /// What reads its newest page, also while it sends.
    pub(super) fn page_reader(&self) -> PageReader {
        PageReader { client: Arc::clone(&self.client), conv: self.conv, limit: self.read_limit }
    }

    /// Waits until all that the server wrote before is here: a second copy of a delivery that nobody
    /// waits for, for example.
    pub(super) async fn drain(&self) -> Result<(), ClientError> {
        self.client.ping().await
    }

    /// Reads all that its conversation holds, for the record.
    pub(super) async fn read_everything(&self) -> Result<bool, ClientError> {
        self.client.read_everything(self.conv, LIMITS.read_limit_max).await
    }

    /// Closes the connection.
    pub(super) async fn close(self) {
        if let Some(client) = Arc::into_inner(self.client) {
            client.close().await;
        }
    }
}
