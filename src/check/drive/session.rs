//! A client whose every act and sight is recorded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::recorder::{Operation, Recorder, SessionLog};
use super::seen::{item_of, seen_of};
use crate::check::history::{Asked, Failure, ReadAsked, ReadKind, Seen};
use crate::client::{
    Address, Answer, Answered, Client, ClientError, ClientOptions, PushHandler, ReceivedPush,
};
use crate::harness::content::message_digest;
use crate::model::{ConvId, Epoch, INTEGER_MAX, Order, Seq, UserName};
use crate::protocol::{self, Command, OpenReply, Push, Reply, To};

/// What a session knows of a conversation that it has opened.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The life of the store.
    pub epoch: Epoch,
    /// The highest number that it has heard of, by reply or push.
    pub head: Seq,
    /// The head when it opened.
    pub opened_at: Seq,
    /// Whether everything is pushed to it, its own messages too.
    pub exact: bool,
}

/// Everything that a session knows of its streams.
#[derive(Debug, Default)]
struct Known {
    streams: HashMap<ConvId, Stream>,
    /// The highest number pushed; beside `streams` because the first push may be noted before the reply
    /// that came before it.
    pushed: HashMap<ConvId, Seq>,
}

type Streams = Arc<Mutex<Known>>;

/// A session with a server, and its lines in the history.
#[derive(Debug)]
pub struct Session {
    client: Client,
    log: SessionLog,
    streams: Streams,
}

/// A command on its way.
#[derive(Debug)]
pub struct Pending {
    operation: Operation,
    answer: Result<Answer, ClientError>,
    log: SessionLog,
    streams: Streams,
    conv: Option<ConvId>,
    exact: bool,
}

impl Session {
    /// Connects and says `hello`.
    pub async fn connect(
        recorder: &Arc<Recorder>,
        address: &Address,
        user: &UserName,
        connect_timeout: Duration,
    ) -> Result<Self, ClientError> {
        let log = recorder.session(user.as_str());
        let streams = Streams::default();
        let (push_log, push_streams) = (log.clone(), Arc::clone(&streams));
        let pushes = move |received| note_push(&push_log, &push_streams, received);
        let options = ClientOptions {
            connect_timeout,
            pushes: PushHandler::Callback(Box::new(pushes)),
            client: Some("chatctl check".to_owned()),
            ..ClientOptions::default()
        };
        let client = Client::connect(address, user, options).await?;
        let hello = client.hello();
        let durability = hello.engine.durability.to_string();
        log.connected(hello.node.as_str(), hello.session.to_string(), durability);
        Ok(Self { client, log, streams })
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// What it knows of a conversation; `None` while it is not open here.
    pub fn stream(&self, conv: ConvId) -> Option<Stream> {
        lock(&self.streams).streams.get(&conv).cloned()
    }

    /// Whether every exact stream has come as far as `heads` say.
    pub fn is_up_to(&self, heads: &HashMap<ConvId, Seq>) -> bool {
        let known = lock(&self.streams);
        known.streams.iter().filter(|(_, stream)| stream.exact).all(|(conv, stream)| {
            let pushed = known.pushed.get(conv).copied().unwrap_or_default().max(stream.opened_at);
            heads.get(conv).is_none_or(|&head| pushed >= head)
        })
    }

    /// Raises `heads` to what this session has heard of.
    pub fn raise(&self, heads: &mut HashMap<ConvId, Seq>) {
        for (&conv, stream) in &lock(&self.streams).streams {
            let head = heads.entry(conv).or_default();
            *head = stream.head.max(*head);
        }
    }

    /// Grows with every message pushed to this session.
    pub fn movement(&self) -> u64 {
        lock(&self.streams).pushed.values().map(|seq| seq.0).sum()
    }

    /// Hands a command to the socket, without waiting for its answer.
    pub async fn begin(&self, conv: Option<ConvId>, asked: Asked, command: Command) -> Pending {
        let exact = matches!(&asked, Asked::Open { echo: true, push: true, .. });
        let operation = self.log.invoke(conv, asked);
        let answer = self.client.submit(&command).await;
        let (log, streams) = (self.log.clone(), Arc::clone(&self.streams));
        Pending { operation, answer, log, streams, conv, exact }
    }

    /// One command and its answer; `None` when there is none, or it is an error.
    pub async fn ask(&self, conv: Option<ConvId>, asked: Asked, command: Command) -> Option<Reply> {
        self.begin(conv, asked, command).await.end(self.answer_timeout()).await.ok()
    }

    /// Begins a send.
    pub async fn begin_send(&self, send: &protocol::Send) -> Pending {
        let asked = Asked::Send {
            cid: send.cid.as_str().to_owned(),
            digest: message_digest(send.kind.as_str(), &send.content),
            ts: send.ts,
        };
        self.begin(Some(send.conv), asked, Command::Send(send.clone())).await
    }

    /// Opens a conversation; `conv` is its id as far as it is known.
    pub async fn open(&self, conv: Option<ConvId>, open: protocol::Open) -> Option<Box<OpenReply>> {
        let protocol::Open { limit, echo, push, ref resume, .. } = open;
        let resume = resume.as_ref().map(|resume| (resume.epoch.to_string(), resume.seq));
        let asked = Asked::Open { limit, resume, echo, push };
        match self.ask(conv, asked, Command::Open(open)).await? {
            Reply::Open(reply) => Some(reply),
            _ => None,
        }
    }

    /// Reads at most `pages_max` pages; whether it came to the end.
    pub async fn read(
        &self,
        conv: ConvId,
        kind: ReadKind,
        limit: usize,
        pages_max: u64,
        is_final: bool,
    ) -> bool {
        let chain = self.log.recorder().new_chain();
        let mut cursor = None;
        for page in 0..pages_max {
            let asked = ReadAsked { kind: kind.clone(), limit, page, chain, is_final };
            let read = protocol::Read { conv, kind: protocol_kind(&kind), limit, cursor };
            let reply = self.ask(Some(conv), Asked::Read(asked), Command::Read(read)).await;
            match reply {
                Some(Reply::Read(reply)) => cursor = reply.next,
                _ => return false,
            }
            if cursor.is_none() {
                return true;
            }
        }
        false
    }

    /// Acknowledges.
    pub async fn ack(&self, conv: ConvId, up_to: Option<Seq>, ranges: Vec<(Seq, Seq)>) {
        let asked = Asked::Ack { up_to, ranges: ranges.clone() };
        let ranges = (!ranges.is_empty()).then_some(ranges);
        self.ask(Some(conv), asked, Command::Ack(protocol::Ack { conv, up_to, ranges })).await;
    }

    /// Lists conversations, at most `pages_max` pages.
    pub async fn list(&self, limit: usize, pages_max: usize) {
        let mut cursor = None;
        for page in 0..pages_max {
            let command = Command::List(protocol::List { limit, cursor });
            let reply = self.ask(None, Asked::List { first_page: page == 0 }, command).await;
            match reply {
                Some(Reply::List(reply)) if reply.next.is_some() => cursor = reply.next,
                _ => return,
            }
        }
    }

    /// Leaves a conversation.
    pub async fn leave(&self, conv: ConvId) {
        let command = Command::Leave(protocol::Leave { conv });
        let left = self.ask(Some(conv), Asked::Leave {}, command).await.is_some();
        if left {
            lock(&self.streams).streams.remove(&conv);
        }
    }

    /// How long an answer may take.
    pub fn answer_timeout(&self) -> Duration {
        ClientOptions::default().answer_timeout
    }

    /// Drops the socket, with whatever is under way.
    pub fn cut(self) {
        self.log.closed(None, true);
    }

    /// Ends politely.
    pub async fn close(self) {
        self.log.closed(Some(1000), true);
        self.client.close().await;
    }
}

impl Pending {
    /// Waits for the answer and records it.
    pub async fn end(self, answer_timeout: Duration) -> Result<Reply, ClientError> {
        let Self { operation, answer, log, streams, conv, exact } = self;
        let answered = match answer {
            Ok(answer) => match tokio::time::timeout(answer_timeout, answer).await {
                Ok(answered) => answered,
                Err(_) => Err(ClientError::Timeout {
                    address: "the server".to_owned(),
                    waited_ms: u64::try_from(answer_timeout.as_millis()).unwrap_or(u64::MAX),
                }),
            },
            Err(error) => Err(error),
        };
        match answered {
            Ok(Answered { reply, received_at }) => {
                note_reply(&streams, conv, exact, &reply);
                let (of, seen) = seen_of(&reply, exact_conv(conv, &reply));
                operation.ok(received_at, of, seen);
                Ok(reply)
            }
            Err(error) => {
                let failure = failure(&error);
                if error.is_definite() {
                    operation.fail(failure);
                } else {
                    operation.info(failure);
                }
                if let ClientError::Closed { code, .. } = &error {
                    log.closed(*code, false);
                }
                Err(error)
            }
        }
    }
}

/// The conversation that an answer belongs to: the asked one where one was named.
fn exact_conv(conv: Option<ConvId>, reply: &Reply) -> Option<ConvId> {
    match reply {
        Reply::Open(open) => conv.or(Some(open.conv)),
        _ => conv,
    }
}

fn failure(error: &ClientError) -> Failure {
    let code = match error {
        ClientError::Refused(body) => Some(body.code),
        _ => None,
    };
    Failure { code, message: error.to_string() }
}

fn note_push(log: &SessionLog, streams: &Streams, received: ReceivedPush) {
    match received.push {
        Push::Msg(push) => {
            let seq = push.message.seq;
            let mut known = lock(streams);
            if let Some(stream) = known.streams.get_mut(&push.conv) {
                stream.head = stream.head.max(seq);
            }
            let pushed = known.pushed.entry(push.conv).or_default();
            *pushed = seq.max(*pushed);
            drop(known);
            let seen = Seen::Recv { epoch: String::new(), item: item_of(&push.message) };
            log.happened(received.received_at, Some(push.conv), seen);
        }
        Push::Reset(reset) => {
            lock(streams).streams.remove(&reset.conv);
            let seen = Seen::Reset { epoch: reset.epoch.to_string() };
            log.happened(received.received_at, Some(reset.conv), seen);
        }
        // Best effort by definition: nothing to judge.
        Push::Acked(_) | Push::Presence(_) | Push::Listed(_) | Push::Notice(_) => {}
    }
}

fn note_reply(streams: &Streams, conv: Option<ConvId>, exact: bool, reply: &Reply) {
    let mut known = lock(streams);
    match reply {
        Reply::Open(open) => {
            let (epoch, head) = (open.epoch.clone(), open.head);
            let stream = Stream { epoch, head, opened_at: head, exact };
            known.streams.insert(open.conv, stream);
        }
        Reply::Send(send) => {
            if let Some(stream) = conv.and_then(|conv| known.streams.get_mut(&conv)) {
                stream.head = stream.head.max(send.seq);
            }
        }
        _ => {}
    }
}

fn protocol_kind(kind: &ReadKind) -> protocol::ReadKind {
    match *kind {
        ReadKind::Range { from, to, descending } => protocol::ReadKind::Range {
            from: (from > 0).then_some(from),
            to: (to < INTEGER_MAX).then_some(to),
            order: if descending { Order::Desc } else { Order::Asc },
        },
        ReadKind::After { after_seq } => protocol::ReadKind::After { after_seq },
        ReadKind::Late {} => protocol::ReadKind::Late { late: true },
    }
}

fn lock(streams: &Streams) -> MutexGuard<'_, Known> {
    streams.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An `open` with everything at its default.
pub fn plain_open(to: To, limit: usize) -> protocol::Open {
    protocol::Open { to, limit, resume: None, echo: true, push: true }
}
