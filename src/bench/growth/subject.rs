//! The conversation that is measured, and the clients of its two users.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;

use super::desk::Desk;
use super::operation::Operation;
use super::population::begin;
use crate::bench::correctness::Correctness;
use crate::bench::delivery_checker::{DeliveryChecker, SentAt};
use crate::bench::error::BenchError;
use crate::bench::filled::Filled;
use crate::bench::filling::{Filling, connect, insist, text};
use crate::bench::progress::Progress;
use crate::client::{Answered, Client, PushHandler, ReceivedPush};
use crate::harness::content::ContentMaker;
use crate::model::{Cid, UserName};
use crate::protocol::{Command, List, ListReply, Open, Push, Reply, To};

/// Conversations that the reader has.
pub const CONVERSATIONS: u64 = 10;

/// Items of a page of `list`.
const LIST_PAGE: usize = 50;

/// Pushes that wait to be looked at: more than come beside one message.
const PUSHES_WAITING: usize = 4_096;

/// A conversation between two users, read by one and written to by the other, one thing at a time.
#[derive(Debug)]
pub struct Subject {
    /// Sends.
    writer: Client,
    from: UserName,
    /// Has the conversation open for pushes …
    _listener: Client,
    pushes: mpsc::Receiver<ReceivedPush>,
    checker: DeliveryChecker,
    /// … and opens, reads and lists, all without disturbing those.
    reader: Client,
    filled: Filled,
    /// Who has many conversations, and how many of them are on a page.
    many: Option<(Client, usize)>,
    maker: ContentMaker,
    random: SmallRng,
    delivery_wait: Duration,
    /// Of pages; deliveries have their checker.
    pages: Correctness,
    errors: BTreeMap<String, u64>,
}

/// How long something took, and when it was over.
pub type Took = (Operation, Instant, Duration);

impl Subject {
    /// Fills the conversation of the users with this suffix to `volume` messages, of which it has `stored` already, and connects everybody. The
    /// reader gets the rest of their [`CONVERSATIONS`], where they are new.
    pub async fn prepare(
        desk: &Desk<'_>,
        suffix: &str,
        stored: u64,
        volume: u64,
    ) -> Result<Self, BenchError> {
        let from = desk.user(&format!("writer{suffix}"))?;
        let to = desk.user(&format!("reader{suffix}"))?;
        if stored == 0 {
            let progress = Progress::start("beginning conversations", Some(CONVERSATIONS - 1));
            for number in 1..CONVERSATIONS {
                let friend = desk.user(&format!("friend{suffix}.{number}"))?;
                begin(desk, &friend, std::slice::from_ref(&to), &progress).await?;
            }
        }
        let filling = Filling {
            address: desk.first(),
            writer: &from,
            reader: &to,
            size_bytes: desk.size_bytes,
            seed: desk.seed,
            connect_timeout: desk.connect_timeout,
        };
        filling.fill(stored..volume).await?;
        let open = |to: &UserName, push| Open {
            to: To::User(to.clone()),
            limit: 0,
            resume: None,
            echo: false,
            push,
        };
        let (timeout, none) = (desk.connect_timeout, PushHandler::Ignore);
        let writer = connect(desk.first(), &from, timeout, none).await?;
        writer.open(open(&to, false)).await.map_err(BenchError::client("opening to write"))?;
        let reader = connect(desk.last(), &to, timeout, PushHandler::Ignore).await?;
        let filled = Filled::open(&reader, from.clone(), volume).await?;
        let (pushed, pushes) = mpsc::channel(PUSHES_WAITING);
        let listener = connect(desk.last(), &to, timeout, PushHandler::Queue(pushed)).await?;
        let opened = listener.open(open(&from, true)).await;
        let opened = opened.map_err(BenchError::client("opening to listen"))?;
        Ok(Self {
            checker: DeliveryChecker::new(opened.conv, opened.head, from.clone()),
            writer,
            from,
            _listener: listener,
            pushes,
            reader,
            filled,
            many: None,
            maker: ContentMaker::new(desk.size_bytes, desk.seed),
            random: SmallRng::seed_from_u64(desk.seed),
            delivery_wait: desk.delivery_wait,
            pages: Correctness::default(),
            errors: BTreeMap::new(),
        })
    }

    /// Also asks for the conversations of `many`, who has so many.
    pub async fn list_many(
        &mut self,
        desk: &Desk<'_>,
        many: &UserName,
        conversations: usize,
    ) -> Result<(), BenchError> {
        let timeout = desk.connect_timeout;
        let client = connect(desk.last(), many, timeout, PushHandler::Ignore).await?;
        self.many = Some((client, conversations.min(LIST_PAGE)));
        Ok(())
    }

    /// Messages in the conversation.
    pub fn stored(&self) -> u64 {
        self.filled.head.0
    }

    /// Reads everything that was sent meanwhile: what comes next is the same whatever was before.
    pub async fn settle(&mut self) -> Result<(), BenchError> {
        self.filled.acknowledge(&self.reader).await
    }

    /// Does it once, and judges what came of it. A send tells of its delivery, too; a delivery alone is nothing that can be done.
    pub async fn perform(&mut self, operation: Operation) -> Result<Vec<Took>, BenchError> {
        let list = || Command::List(List { limit: LIST_PAGE, cursor: None });
        let asked_at = Instant::now();
        let answered = match operation {
            Operation::Delivery => return Ok(Vec::new()),
            Operation::Send => return self.send().await,
            Operation::Ping => self.ask(&Command::Ping {}).await?,
            Operation::Open => {
                let answered = self.ask(&self.filled.open_command()).await?;
                self.filled.judge(&answered.reply, None, &mut self.pages);
                answered
            }
            Operation::Read => {
                let answered = self.ask(&self.filled.read_command(None)).await?;
                self.filled.judge(&answered.reply, None, &mut self.pages);
                answered
            }
            Operation::RandomRead => {
                let times = self.filled.ts_oldest..=self.filled.ts_newest;
                let to = Some(self.random.random_range(times));
                let answered = self.ask(&self.filled.read_command(to)).await?;
                self.filled.judge(&answered.reply, to, &mut self.pages);
                answered
            }
            Operation::List => {
                let answered = self.ask(&list()).await?;
                judge_list(&answered.reply, CONVERSATIONS as usize, &mut self.pages);
                answered
            }
            Operation::ListMany => {
                let Some((client, expected)) = &self.many else { return Ok(Vec::new()) };
                let answered = ask(client, &list(), operation, &mut self.errors).await?;
                judge_list(&answered.reply, *expected, &mut self.pages);
                answered
            }
        };
        Ok(vec![(operation, answered.received_at, answered.received_at - asked_at)])
    }

    async fn ask(&mut self, command: &Command) -> Result<Answered, BenchError> {
        ask(&self.reader, command, Operation::Read, &mut self.errors).await
    }

    async fn send(&mut self) -> Result<Vec<Took>, BenchError> {
        let number = self.filled.head.0;
        let command = text(&self.maker, self.checker.conv(), &self.from, "grow", number)?;
        let Command::Send(send) = &command else { return Ok(Vec::new()) };
        let cid: Cid = send.cid.clone();
        let asked_at = Instant::now();
        self.checker.expect(cid.clone(), SentAt { intended: asked_at, really: asked_at });
        let answered = ask(&self.writer, &command, Operation::Send, &mut self.errors).await?;
        let Reply::Send(reply) = &answered.reply else {
            let wrong = self.writer.wrong_reply("send", &answered.reply);
            return Err(BenchError::client("sending")(wrong));
        };
        self.checker.acknowledged(&cid, reply);
        self.filled.head = reply.seq;
        self.filled.ts_newest = self.filled.ts_newest.max(reply.ts);
        let mut took =
            vec![(Operation::Send, answered.received_at, answered.received_at - asked_at)];
        let deadline = tokio::time::Instant::now() + self.delivery_wait;
        while !self.checker.is_settled() {
            match tokio::time::timeout_at(deadline, self.pushes.recv()).await {
                Ok(Some(ReceivedPush { push: Push::Msg(push), received_at })) => {
                    self.checker.delivered(&push, received_at);
                }
                Ok(Some(_)) => {}
                // Its connection is over, or the time is.
                Ok(None) | Err(_) => self.checker.expire(),
            }
        }
        for time in self.checker.take_times() {
            took.push((Operation::Delivery, time.received_at, time.received_at - time.sent.really));
        }
        Ok(took)
    }

    /// What was wrong, and which answers were none; the connections end.
    pub fn finish(mut self, correctness: &mut Correctness, errors: &mut BTreeMap<String, u64>) {
        // What came without being waited for.
        while let Ok(received) = self.pushes.try_recv() {
            if let Push::Msg(push) = &received.push {
                self.checker.delivered(push, received.received_at);
            }
        }
        correctness.add(&self.checker.finish());
        correctness.add(&self.pages);
        for (label, count) in self.errors {
            *errors.entry(label).or_default() += count;
        }
    }
}

/// Asks until there is an answer; those that were none are in what it took.
async fn ask(
    client: &Client,
    command: &Command,
    operation: Operation,
    errors: &mut BTreeMap<String, u64>,
) -> Result<Answered, BenchError> {
    let told = |error: &crate::client::ClientError| *errors.entry(error.label()).or_default() += 1;
    let answered = insist(client, command, client.call(command).await, told).await;
    answered.map_err(BenchError::client(operation.name()))
}

/// Nothing moves while it is listed, so that it is exact: as many as there are, the one with the newest message first.
fn judge_list(reply: &Reply, expected: usize, counts: &mut Correctness) {
    counts.pages_checked += 1;
    let none = ListReply { items: Vec::new(), next: None };
    let page = match reply {
        Reply::List(page) => page,
        _ => &none,
    };
    counts.page_missing += expected.saturating_sub(page.items.len()) as u64;
    let unsorted = page.items.windows(2).any(|two| two[0].newest.at < two[1].newest.at);
    counts.page_unsorted += u64::from(unsorted);
}
