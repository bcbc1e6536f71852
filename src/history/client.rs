//! A client whose acts and sights are written down, where somebody keeps a record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout_at;

use super::event::{Asked, Failure, ReadAsked, ReadKind, Seen};
use super::recorder::Recorder;
use super::seen::{item_of, seen_of};
use super::session_log::{Operation, SessionLog};
use crate::client::{
    Address, Answer, Answered, Client, ClientError, ClientOptions, PushHandler, ReceivedPush,
};
use crate::harness::content::message_digest;
use crate::model::{ConvId, INTEGER_MAX, Order, Place, Seq, UserName};
use crate::protocol::{self, Command, Open, OpenReply, Push, Reply};

/// Pages of a final read; a read that has not ended by then would never.
pub const FINAL_PAGES_MAX: u64 = 100_000;

/// Times that a command is sent which the server refuses because too much was asked.
pub const TOO_FAST_MAX: u32 = 20;

/// A session with a server, and its lines in a history if there is one. Without a recorder it costs nothing.
#[derive(Debug)]
pub struct RecordedClient {
    client: Client,
    log: Option<SessionLog>,
    /// Held from the line in the history until the connection has the command: a server is judged by the order in which a session
    /// asked, so what several tasks ask at once must stand in the history as the server sees it.
    in_order: Mutex<()>,
    answer_timeout: Duration,
}

/// The answer to one command, on its way. Dropped, the history says that nobody knows.
#[derive(Debug)]
pub struct RecordedAnswer {
    answer: Answer,
    ending: Ending,
    answer_timeout: Duration,
}

/// What is written down when an answer is here.
#[derive(Debug)]
struct Ending(Option<Operation>);

impl RecordedClient {
    /// Connects and says `hello`. Pushes are written down, then given to `on_push`, on the reading task: it must not block.
    pub async fn connect(
        recorder: Option<&Arc<Recorder>>,
        address: &Address,
        user: &UserName,
        options: ClientOptions,
        mut on_push: impl FnMut(ReceivedPush) + Send + 'static,
    ) -> Result<Self, ClientError> {
        let log = recorder.map(|recorder| recorder.session(user.as_str()));
        let pushed = log.clone();
        let pushes = PushHandler::Callback(Box::new(move |received| {
            if let Some(log) = &pushed {
                note_push(log, &received);
            }
            on_push(received);
        }));
        let answer_timeout = options.answer_timeout;
        let options = ClientOptions { pushes, ..options };
        let client = Client::connect(address, user, options).await?;
        if let Some(log) = &log {
            let hello = client.hello();
            let durability = hello.engine.durability.to_string();
            log.connected(hello.node.as_str(), hello.session.to_string(), durability);
        }
        Ok(Self { client, log, in_order: Mutex::new(()), answer_timeout })
    }

    /// Hands one command to the connection. `asked` is what the history says of it, `conv` the conversation as far
    /// as it is known.
    pub async fn submit(
        &self,
        conv: Option<ConvId>,
        asked: impl FnOnce() -> Asked,
        command: &Command,
    ) -> Result<RecordedAnswer, ClientError> {
        let turn = self.turn().await;
        let ending = self.begin(conv, asked);
        let submitted = self.client.submit(command).await;
        drop(turn);
        match submitted {
            Ok(answer) => Ok(self.answer(answer, ending)),
            Err(error) => {
                ending.failed(&error);
                Err(error)
            }
        }
    }

    /// Hands many sends to the connection, which flushes once. The answers are in their order.
    pub async fn submit_sends(
        &self,
        sends: &[Command],
    ) -> Result<Vec<RecordedAnswer>, ClientError> {
        let turn = self.turn().await;
        let endings: Vec<Ending> = sends.iter().map(|send| self.begin_send(send)).collect();
        let submitted = self.client.submit_many(sends).await;
        drop(turn);
        match submitted {
            Ok(answers) => {
                let recorded = answers.into_iter().zip(endings);
                Ok(recorded.map(|(answer, ending)| self.answer(answer, ending)).collect())
            }
            Err(error) => {
                endings.into_iter().for_each(|ending| ending.failed(&error));
                Err(error)
            }
        }
    }

    /// One send more and its answer, within the answer timeout.
    pub async fn send_again(&self, send: &Command) -> Result<Answered, ClientError> {
        match send {
            Command::Send(asked) => {
                self.call(Some(asked.conv), || asked_of_send(asked), send).await
            }
            _ => self.client.call(send).await,
        }
    }

    /// One command and its answer, within the answer timeout.
    pub async fn call(
        &self,
        conv: Option<ConvId>,
        asked: impl FnOnce() -> Asked,
        command: &Command,
    ) -> Result<Answered, ClientError> {
        let deadline = Instant::now() + self.answer_timeout;
        let submitted = timeout_at(deadline.into(), self.submit(conv, asked, command)).await;
        let submitted = submitted.unwrap_or_else(|_| Err(self.client.timed_out()));
        submitted?.end_within(deadline.saturating_duration_since(Instant::now())).await
    }

    /// The same, again while the server refuses it because too much was asked. Each time is an operation of the history.
    pub async fn call_patiently(
        &self,
        conv: Option<ConvId>,
        asked: &Asked,
        command: &Command,
    ) -> Result<Answered, ClientError> {
        let mut answer = self.call(conv, || asked.clone(), command).await;
        for _ in 1..TOO_FAST_MAX {
            if !answer.as_ref().is_err_and(ClientError::is_too_fast) {
                break;
            }
            // The connection waits for as long as the server says.
            answer = self.call(conv, || asked.clone(), command).await;
        }
        answer
    }

    /// Opens a conversation; `conv` is its id as far as it is known.
    pub async fn open(
        &self,
        conv: Option<ConvId>,
        open: Open,
    ) -> Result<Box<OpenReply>, ClientError> {
        let asked = asked_of_open(&open);
        match self.call_patiently(conv, &asked, &Command::Open(open)).await?.reply {
            Reply::Open(reply) => Ok(reply),
            other => Err(self.wrong_reply("open", &other)),
        }
    }

    /// A number for all pages of one read.
    pub fn new_chain(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.recorder().new_chain())
    }

    /// Reads at most `pages_max` pages; whether it came to the end.
    pub async fn read(
        &self,
        conv: ConvId,
        kind: ReadKind,
        limit: usize,
        pages_max: u64,
        is_final: bool,
    ) -> Result<bool, ClientError> {
        let (chain, mut cursor) = (self.new_chain(), None);
        for page in 0..pages_max {
            let asked = ReadAsked { kind: kind.clone(), limit, page, chain, is_final };
            let read = Command::Read(read_of(conv, &asked, cursor));
            match self.call_patiently(Some(conv), &Asked::Read(asked), &read).await?.reply {
                Reply::Read(reply) => cursor = reply.next,
                other => return Err(self.wrong_reply("read", &other)),
            }
            if cursor.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads all of a conversation, in pages of `limit`: what a verdict needs in the end.
    pub async fn read_everything(&self, conv: ConvId, limit: usize) -> Result<bool, ClientError> {
        let all = ReadKind::After { after_seq: Seq::ZERO };
        self.read(conv, all, limit, FINAL_PAGES_MAX, true).await
    }

    /// The error of an answer that is of another method.
    pub fn wrong_reply(&self, method: &str, reply: &Reply) -> ClientError {
        self.client.wrong_reply(method, reply)
    }

    /// Whether the connection is over; what is submitted now fails. That it is over is written down when it is noticed, at the latest here.
    pub fn is_closed(&self) -> bool {
        let is_closed = self.client.is_closed();
        if is_closed
            && let Some(log) = &self.log
            && let Some(error) = self.client.closed().now_or_never()
        {
            note_close(log, &error);
        }
        is_closed
    }

    /// Waits until the connection is over and says how.
    pub async fn closed(&self) -> ClientError {
        let error = self.client.closed().await;
        if let Some(log) = &self.log {
            note_close(log, &error);
        }
        error
    }

    /// Waits until all that the server wrote before is here. Not written down: it is no operation on messages.
    pub async fn ping(&self) -> Result<(), ClientError> {
        let mut answer = self.client.ping().await;
        for _ in 1..TOO_FAST_MAX {
            if !answer.as_ref().is_err_and(ClientError::is_too_fast) {
                break;
            }
            answer = self.client.ping().await;
        }
        answer
    }

    /// Drops the socket, with whatever is under way.
    pub fn cut(self) {
        if let Some(log) = &self.log {
            log.closed(None, true);
        }
    }

    /// Ends politely.
    pub async fn close(self) {
        if let Some(log) = &self.log {
            log.closed(Some(1000), true);
        }
        self.client.close().await;
    }

    fn answer(&self, answer: Answer, ending: Ending) -> RecordedAnswer {
        RecordedAnswer { answer, ending, answer_timeout: self.answer_timeout }
    }

    /// Nothing where nothing is written down.
    async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match &self.log {
            Some(_) => Some(self.in_order.lock().await),
            None => None,
        }
    }

    fn begin(&self, conv: Option<ConvId>, asked: impl FnOnce() -> Asked) -> Ending {
        Ending(self.log.as_ref().map(|log| log.invoke(conv, asked())))
    }

    fn begin_send(&self, command: &Command) -> Ending {
        match command {
            Command::Send(send) => self.begin(Some(send.conv), || asked_of_send(send)),
            _ => Ending(None),
        }
    }
}

impl RecordedAnswer {
    /// Waits for it, as long as an answer may take, and writes it down.
    pub async fn end(self) -> Result<Answered, ClientError> {
        let answer_timeout = self.answer_timeout;
        self.end_within(answer_timeout).await
    }

    async fn end_within(self, time: Duration) -> Result<Answered, ClientError> {
        self.ending.over(self.answer.within(time).await)
    }
}

impl Ending {
    fn over(self, answered: Result<Answered, ClientError>) -> Result<Answered, ClientError> {
        match &answered {
            Ok(answered) => self.answered(answered),
            Err(error) => self.failed(error),
        }
        answered
    }

    fn answered(self, answered: &Answered) {
        let Some(operation) = self.0 else { return };
        let conv = match &answered.reply {
            Reply::Open(open) => Some(open.conv),
            Reply::Create(create) => Some(Place::Group(create.group.clone()).conv_id()),
            _ => None,
        };
        operation.ok(answered.received_at, conv, seen_of(&answered.reply));
    }

    fn failed(self, error: &ClientError) {
        let Some(operation) = self.0 else { return };
        let log = operation.log().clone();
        let code = match error {
            ClientError::Refused(body) => Some(body.code),
            _ => None,
        };
        let failure = Failure { code, message: error.to_string() };
        match error.is_definite() {
            true => operation.fail(failure),
            false => operation.info(failure),
        }
        note_close(&log, error);
    }
}

/// What a history says of a send.
pub fn asked_of_send(send: &protocol::Send) -> Asked {
    Asked::Send {
        cid: send.cid.as_str().to_owned(),
        digest: message_digest(send.kind.as_str(), &send.content),
        ts: send.ts,
    }
}

/// What a history says of an `open`.
pub fn asked_of_open(open: &Open) -> Asked {
    let &Open { limit, echo, push, ref resume, .. } = open;
    let resume = resume.as_ref().map(|resume| (resume.epoch.to_string(), resume.seq));
    Asked::Open { limit, resume, echo, push }
}

/// The read that `asked` means.
pub fn read_of(conv: ConvId, asked: &ReadAsked, cursor: Option<String>) -> protocol::Read {
    let kind = match asked.kind {
        ReadKind::Range { from, to, descending } => protocol::ReadKind::Range {
            from: (from > 0).then_some(from),
            to: (to < INTEGER_MAX).then_some(to),
            order: if descending { Order::Desc } else { Order::Asc },
        },
        ReadKind::After { after_seq } => protocol::ReadKind::After { after_seq },
        ReadKind::Late {} => protocol::ReadKind::Late { late: true },
    };
    protocol::Read { conv, kind, limit: asked.limit, cursor }
}

fn note_close(log: &SessionLog, error: &ClientError) {
    if let ClientError::Closed { code, .. } = error {
        log.closed(*code, false);
    }
}

fn note_push(log: &SessionLog, received: &ReceivedPush) {
    let (conv, seen) = match &received.push {
        Push::Msg(push) => {
            (push.conv, Seen::Recv { epoch: String::new(), item: item_of(&push.message) })
        }
        Push::Reset(reset) => (reset.conv, Seen::Reset { epoch: reset.epoch.to_string() }),
        Push::Removed(removed) => (removed.conv, Seen::Removed {}),
        // Best effort by definition: nothing to judge.
        Push::Acked(_)
        | Push::Presence(_)
        | Push::Listed(_)
        | Push::Members(_)
        | Push::Notice(_) => return,
    };
    log.happened(received.received_at, Some(conv), seen);
}
