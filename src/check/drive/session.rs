//! A client whose every act and sight is recorded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::client::{Address, ClientError, ClientOptions, ReceivedPush};
use crate::history::{
    Asked, ReadKind, RecordedAnswer, RecordedClient, Recorder, TOO_FAST_MAX, asked_of_open,
    asked_of_send,
};
use crate::model::{ConvId, Epoch, GroupId, Seq, UserName};
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
    client: RecordedClient,
    streams: Streams,
}

/// A command on its way.
#[derive(Debug)]
pub struct Pending {
    answer: Result<RecordedAnswer, ClientError>,
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
        let streams = Streams::default();
        let pushed = Arc::clone(&streams);
        let options = ClientOptions {
            connect_timeout,
            client: Some("chatctl check".to_owned()),
            ..ClientOptions::default()
        };
        let on_push = move |received: ReceivedPush| note_push(&pushed, received.push);
        let client =
            RecordedClient::connect(Some(recorder), address, user, options, on_push).await?;
        Ok(Self { client, streams })
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
        let answer = self.client.submit(conv, || asked, &command).await;
        Pending { answer, streams: Arc::clone(&self.streams), conv, exact }
    }

    /// One command and its answer; `None` when there is none, or it is an error.
    pub async fn ask(&self, conv: Option<ConvId>, asked: Asked, command: Command) -> Option<Reply> {
        for _ in 0..TOO_FAST_MAX {
            let answer = self.begin(conv, asked.clone(), command.clone()).await.end().await;
            // The connection waits for as long as the server says.
            if !answer.as_ref().is_err_and(ClientError::is_too_fast) {
                return answer.ok();
            }
        }
        None
    }

    /// Begins a send.
    pub async fn begin_send(&self, send: &protocol::Send) -> Pending {
        self.begin(Some(send.conv), asked_of_send(send), Command::Send(send.clone())).await
    }

    /// Opens a conversation; `conv` is its id as far as it is known.
    pub async fn open(&self, conv: Option<ConvId>, open: protocol::Open) -> Option<Box<OpenReply>> {
        match self.ask(conv, asked_of_open(&open), Command::Open(open)).await? {
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
        self.client.read(conv, kind, limit, pages_max, is_final).await.unwrap_or(false)
    }

    /// Reads all of a conversation, for the last time, in pages of `limit`.
    pub async fn read_everything(&self, conv: ConvId, limit: usize) {
        // A final read that fails is in the history, and so is that there is none.
        let _ = self.client.read_everything(conv, limit).await;
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

    /// Makes a group.
    pub async fn create(&self) -> Result<GroupId, ClientError> {
        let command = Command::Create {};
        match self.begin(None, Asked::Create {}, command).await.end().await? {
            Reply::Create(reply) => Ok(reply.group),
            other => Err(self.client.wrong_reply("create", &other)),
        }
    }

    /// Makes another a member of a group.
    pub async fn invite(&self, conv: ConvId, user: UserName) {
        let asked = Asked::Invite { user: user.to_string() };
        self.ask(Some(conv), asked, Command::Invite(protocol::Other { conv, user })).await;
    }

    /// Ends the membership of another.
    pub async fn remove(&self, conv: ConvId, user: UserName) {
        let asked = Asked::Remove { user: user.to_string() };
        self.ask(Some(conv), asked, Command::Remove(protocol::Other { conv, user })).await;
    }

    /// Ends one's own membership.
    pub async fn quit(&self, conv: ConvId) {
        self.ask(Some(conv), Asked::Quit {}, Command::Quit(protocol::Quit { conv })).await;
    }

    /// Leaves a conversation.
    pub async fn leave(&self, conv: ConvId) {
        let command = Command::Leave(protocol::Leave { conv });
        let left = self.ask(Some(conv), Asked::Leave {}, command).await.is_some();
        if left {
            lock(&self.streams).streams.remove(&conv);
        }
    }

    /// Drops the socket, with whatever is under way.
    pub fn cut(self) {
        self.client.cut();
    }

    /// Ends politely.
    pub async fn close(self) {
        self.client.close().await;
    }
}

impl Pending {
    /// Waits for the answer.
    pub async fn end(self) -> Result<Reply, ClientError> {
        let Self { answer, streams, conv, exact } = self;
        let reply = answer?.end().await?.reply;
        note_reply(&streams, conv, exact, &reply);
        Ok(reply)
    }
}

fn note_push(streams: &Streams, push: Push) {
    let mut known = lock(streams);
    match push {
        Push::Msg(push) => {
            let seq = push.message.seq;
            if let Some(stream) = known.streams.get_mut(&push.conv) {
                stream.head = stream.head.max(seq);
            }
            let pushed = known.pushed.entry(push.conv).or_default();
            *pushed = seq.max(*pushed);
        }
        Push::Reset(reset) => drop(known.streams.remove(&reset.conv)),
        Push::Removed(removed) => drop(known.streams.remove(&removed.conv)),
        // Best effort by definition: nothing to know.
        Push::Acked(_)
        | Push::Presence(_)
        | Push::Listed(_)
        | Push::Members(_)
        | Push::Notice(_) => {}
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

fn lock(streams: &Streams) -> MutexGuard<'_, Known> {
    streams.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An `open` with everything at its default.
pub fn plain_open(to: To, limit: usize) -> protocol::Open {
    protocol::Open { to, limit, resume: None, echo: true, push: true }
}
