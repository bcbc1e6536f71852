//! One client of a pair: connected, its conversation open, its own messages numbered.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::super::delivery_checker::DeliveryChecker;
use super::super::error::BenchError;
use super::super::page_checker::PageChecker;
use super::super::recorder::Recorder;
use super::inbox::Inbox;
use super::options::{PairedClientsOptions, cid};
use super::tally::Tally;
use super::{READ, WRITE};
use crate::client::{Address, Answer, Answered, Client, ClientError, ClientOptions, PushHandler};
use crate::harness::content::ContentMaker;
use crate::model::{Cid, ConvId, MessageType, Order, UserName};
use crate::protocol::{Command, Open, Read, ReadKind, ReadReply, Reply, Send, SendReply, To};

/// Times that a message is sent before it is given up.
const ATTEMPTS_MAX: u32 = 5;

/// First wait before a repetition where the server names none; doubles each time.
const RETRY_WAIT: Duration = Duration::from_millis(50);

/// How much older than now the `ts` of a late message is, ms.
const LATE_MS: std::ops::RangeInclusive<u64> = 1_000..=3_600_000;

/// One client of a pair.
#[derive(Debug)]
pub(super) struct Chatter {
    client: Arc<Client>,
    pub(super) user: UserName,
    pub(super) inbox: Arc<Inbox>,
    pub(super) conv: ConvId,
    head: u64,
    seed: u64,
    /// Messages sent so far, given up ones included.
    number: u64,
    random: SmallRng,
    maker: Arc<ContentMaker>,
    kind: MessageType,
    late_ratio: f64,
    in_flight: usize,
    read_limit: usize,
    answer_timeout: Duration,
}

/// A message on its way.
#[derive(Debug)]
struct Outgoing {
    cid: Cid,
    command: Command,
    sent_at: Instant,
    attempts: u32,
    /// An earlier attempt may have stored it.
    uncertain: bool,
}

impl Chatter {
    /// Connects client `index` to `address` and opens the chat with `peer`.
    pub(super) async fn join(
        address: &Address,
        index: usize,
        peer: UserName,
        options: &PairedClientsOptions,
        maker: Arc<ContentMaker>,
    ) -> Result<Self, BenchError> {
        let user = options.user(index)?;
        let inbox = Arc::new(Inbox::default());
        let receiving = Arc::clone(&inbox);
        let pushes = PushHandler::Callback(Box::new(move |push| receiving.received(&push)));
        let client_options = ClientOptions {
            connect_timeout: Duration::from_millis(options.connect_timeout_ms),
            client: Some("chatctl bench paired-clients".into()),
            pushes,
            ..ClientOptions::default()
        };
        let answer_timeout = client_options.answer_timeout;
        let client = Client::connect(address, &user, client_options)
            .await
            .map_err(BenchError::client(format!("connecting client {index}")))?;
        let to = To::User(peer.clone());
        // Its own messages are answered, so it need not be pushed them too.
        let open = Open { to, limit: 0, resume: None, echo: false, push: true };
        let opened = client
            .open(open)
            .await
            .map_err(BenchError::client(format!("opening the chat of {user} with {peer}")))?;
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
            answer_timeout,
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

    /// Sends `count` messages to `peer`, at most `in_flight` of them unanswered, and waits for all
    /// answers. The first of them were meant to start at `intended`.
    pub(super) async fn send_chunk(
        &mut self,
        count: u64,
        intended: Instant,
        peer: &Inbox,
        pages: &mut PageChecker,
        recorder: &mut Recorder,
        tally: &mut Tally,
    ) -> Result<(), ClientError> {
        let mut unsent = count;
        let mut started_at = Some(intended);
        let mut unanswered = FuturesUnordered::new();
        loop {
            let room = (self.in_flight - unanswered.len()) as u64;
            let fresh = self.prepare(room.min(unsent));
            unsent -= fresh.len() as u64;
            if !fresh.is_empty() {
                let sent_at = started_at.take().unwrap_or_else(Instant::now);
                peer.with(|checker| {
                    fresh.iter().for_each(|(cid, _)| checker.expect(cid.clone(), sent_at));
                });
                let (cids, commands): (Vec<_>, Vec<_>) = fresh.into_iter().unzip();
                let answers = self.client.submit_many(&commands).await?;
                for ((cid, command), answer) in cids.into_iter().zip(commands).zip(answers) {
                    let outgoing =
                        Outgoing { cid, command, sent_at, attempts: 1, uncertain: false };
                    let (client, answer) = (Arc::clone(&self.client), Some(answer));
                    let wait = Duration::ZERO;
                    unanswered.push(attempt(client, self.answer_timeout, outgoing, answer, wait));
                }
            }
            let Some(mut answered) = unanswered.next().await else { return Ok(()) };
            // All that is there is taken before more is sent, so that sends go out in batches too.
            loop {
                let (outgoing, result) = answered;
                let again = self.answered(outgoing, result, peer, pages, recorder, tally)?;
                if let Some((outgoing, wait)) = again {
                    let client = Arc::clone(&self.client);
                    unanswered.push(attempt(client, self.answer_timeout, outgoing, None, wait));
                }
                match unanswered.next().now_or_never() {
                    Some(Some(next)) => answered = next,
                    Some(None) | None => break,
                }
            }
        }
    }

    /// The next messages.
    fn prepare(&mut self, count: u64) -> Vec<(Cid, Command)> {
        let mut fresh = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let cid = cid(self.seed, self.head, self.number);
            let content = self.maker.make(self.conv, &self.user, &cid, self.number);
            self.number += 1;
            let now = now_ms();
            let late = self.late_ratio > 0.0 && self.random.random_bool(self.late_ratio);
            let ts = if late { now.saturating_sub(self.random.random_range(LATE_MS)) } else { now };
            let kind = self.kind.clone();
            let send = Send { conv: self.conv, cid: cid.clone(), kind, content, ts: Some(ts) };
            fresh.push((cid, Command::Send(send)));
        }
        fresh
    }

    /// Takes an answer into account; `Some` when the message is to be sent again after a wait.
    fn answered(
        &self,
        mut outgoing: Outgoing,
        result: Result<Answered, ClientError>,
        peer: &Inbox,
        pages: &mut PageChecker,
        recorder: &mut Recorder,
        tally: &mut Tally,
    ) -> Result<Option<(Outgoing, Duration)>, ClientError> {
        let error = match result {
            Ok(Answered { reply: Reply::Send(reply), received_at }) => {
                let took = received_at.saturating_duration_since(outgoing.sent_at);
                recorder.record(WRITE, received_at, took);
                self.stored(outgoing, &reply, peer, pages, tally);
                return Ok(None);
            }
            Ok(Answered { reply, .. }) => ClientError::Protocol {
                address: self.client.address().to_string(),
                problem: format!("it answered send with {reply:?}"),
            },
            Err(error) => error,
        };
        tally.error(&error);
        outgoing.uncertain |= !error.is_definite();
        if error.is_retryable() && outgoing.attempts < ATTEMPTS_MAX {
            let wait = match &error {
                ClientError::Refused(error) => error.retry_after_ms.map(Duration::from_millis),
                _ => None,
            };
            let wait = wait.unwrap_or(RETRY_WAIT * (1 << (outgoing.attempts - 1)));
            outgoing.attempts += 1;
            tally.retries += 1;
            return Ok(Some((outgoing, wait)));
        }
        if !matches!(error, ClientError::Refused(_) | ClientError::Timeout { .. }) {
            return Err(error);
        }
        tally.given_up += 1;
        peer.with(|checker| checker.given_up(&outgoing.cid, !outgoing.uncertain));
        if outgoing.uncertain {
            self.inbox.with(DeliveryChecker::own_uncertain);
        }
        Ok(None)
    }

    fn stored(
        &self,
        outgoing: Outgoing,
        reply: &SendReply,
        peer: &Inbox,
        pages: &mut PageChecker,
        tally: &mut Tally,
    ) {
        tally.sent += 1;
        tally.late += u64::from(reply.late);
        // Nobody else has this cid, so a first attempt cannot be a duplicate.
        tally.correctness.contradicted += u64::from(reply.dup && outgoing.attempts == 1);
        peer.with(|checker| checker.acknowledged(&outgoing.cid, reply));
        self.inbox.with(|checker| checker.own_stored(reply.seq));
        pages.acknowledged(outgoing.cid, reply);
    }

    /// Reads the newest page and judges it.
    pub(super) async fn read_page(
        &self,
        recorder: &mut Recorder,
        tally: &mut Tally,
    ) -> Result<Option<ReadReply>, ClientError> {
        let kind = ReadKind::Range { from: None, to: None, order: Order::Desc };
        let read = Read { conv: self.conv, kind, limit: self.read_limit, cursor: None };
        let command = Command::Read(read);
        for attempt in 1..=ATTEMPTS_MAX {
            let asked_at = Instant::now();
            let error = match self.client.call(&command).await {
                Ok(Answered { reply: Reply::Read(page), received_at }) => {
                    recorder.record(READ, received_at, received_at.duration_since(asked_at));
                    tally.reads += 1;
                    return Ok(Some(page));
                }
                Ok(Answered { reply, .. }) => ClientError::Protocol {
                    address: self.client.address().to_string(),
                    problem: format!("it answered read with {reply:?}"),
                },
                Err(error) => error,
            };
            tally.error(&error);
            if matches!(error, ClientError::Closed { .. } | ClientError::Protocol { .. }) {
                return Err(error);
            }
            if !error.is_retryable() {
                break;
            }
            tokio::time::sleep(RETRY_WAIT * (1 << (attempt - 1))).await;
        }
        tally.reads_failed += 1;
        Ok(None)
    }

    /// Waits until all that the server wrote before is here: a second copy of a delivery that nobody
    /// waits for, for example.
    pub(super) async fn drain(&self) -> Result<(), ClientError> {
        self.client.ping().await
    }

    /// Closes the connection.
    pub(super) async fn close(self) {
        if let Some(client) = Arc::into_inner(self.client) {
            client.close().await;
        }
    }
}

/// Waits for an answer within the answer timeout; where none is under way, waits and sends again.
async fn attempt(
    client: Arc<Client>,
    answer_timeout: Duration,
    outgoing: Outgoing,
    answer: Option<Answer>,
    wait: Duration,
) -> (Outgoing, Result<Answered, ClientError>) {
    let result = match answer {
        Some(answer) => tokio::time::timeout(answer_timeout, answer)
            .await
            .unwrap_or_else(|_| Err(client.timed_out())),
        None => {
            tokio::time::sleep(wait).await;
            client.call(&outgoing.command).await
        }
    };
    (outgoing, result)
}

/// The wall clock, ms since 1970 UTC.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
