//! The way of one client to the server: a connection with its conversation open, and, beside a nemesis, another one after it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::inbox::Inbox;
use super::tally::Tally;
use crate::client::{Address, ClientError, ClientOptions};
use crate::history::{Asked, ReadAsked, ReadKind, RecordedClient, Recorder, Seen, read_of};
use crate::model::{ConvId, Epoch, LIMITS, Message, Seq, UserName};
use crate::protocol::{CloseCode, Command, Open, OpenReply, Reply, Resume, To};

/// The pause between two tries to come back.
const COME_BACK_PAUSE: Duration = Duration::from_millis(50);

/// How long one such try may take at most: another node may let it in.
const COME_BACK_TIMEOUT: Duration = Duration::from_secs(3);

/// Who talks to whom, and where.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// The nodes, at least one.
    pub(super) addresses: Vec<Address>,
    /// Which of them is asked first.
    pub(super) home: usize,
    pub(super) user: UserName,
    pub(super) peer: UserName,
    pub(super) connect_timeout: Duration,
    /// How long somebody whose connection was lost tries to come back, and asks for the same again; `None`: not at all.
    pub(super) patience: Option<Duration>,
    pub(super) recorder: Option<Arc<Recorder>>,
}

/// A client that is there again when its connection was lost, if it is patient.
#[derive(Debug)]
pub(super) struct Line {
    way: Way,
    inbox: Arc<Inbox>,
    epoch: Epoch,
    state: watch::Sender<State>,
    /// Connections that were tried: each goes to the next node.
    turns: AtomicUsize,
    losses: Mutex<Losses>,
}

#[derive(Debug)]
enum State {
    /// The newest connection, which may be over already.
    Up(Arc<RecordedClient>),
    /// There will be no other one; why.
    Over(String),
}

/// What became of lost connections.
#[derive(Debug, Default)]
struct Losses {
    reconnects: u64,
    longest: Duration,
    errors: BTreeMap<String, u64>,
}

impl Way {
    /// Connects to the node whose turn it is; pushes go to `inbox`.
    pub(super) async fn connect(
        &self,
        turn: usize,
        connect_timeout: Duration,
        inbox: &Arc<Inbox>,
    ) -> Result<RecordedClient, ClientError> {
        let options = ClientOptions {
            connect_timeout,
            client: Some("chatctl bench paired-clients".into()),
            ..ClientOptions::default()
        };
        // What an earlier connection still brings is not for this one.
        let (receiving, connection) = (Arc::clone(inbox), inbox.hold());
        let on_push = move |push| receiving.received(connection, push);
        let address = &self.addresses[(self.home + turn) % self.addresses.len()];
        RecordedClient::connect(self.recorder.as_ref(), address, &self.user, options, on_push).await
    }

    /// The `open` of the conversation with the peer. Its own messages are answered, so it need not be pushed them too.
    pub(super) fn open(&self, resume: Option<Resume>) -> Open {
        Open { to: To::User(self.peer.clone()), limit: 0, resume, echo: false, push: true }
    }
}

impl Line {
    /// One that begins with a client whose conversation is open.
    pub(super) fn new(
        way: Way,
        inbox: Arc<Inbox>,
        client: RecordedClient,
        opened: &OpenReply,
    ) -> Arc<Self> {
        Arc::new(Self {
            way,
            inbox,
            epoch: opened.epoch.clone(),
            state: watch::Sender::new(State::Up(Arc::new(client))),
            turns: AtomicUsize::new(0),
            losses: Mutex::default(),
        })
    }

    /// How long lost connections are waited for, if at all.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.way.patience
    }

    /// The client, as soon as it is connected; an error where it will not be any more. Somebody must [`keep`](Self::keep) the line.
    pub(super) async fn client(&self) -> Result<Arc<RecordedClient>, ClientError> {
        let mut state = self.state.subscribe();
        let is_there = |state: &State| match state {
            State::Up(client) => self.way.patience.is_none() || !client.is_closed(),
            State::Over(_) => true,
        };
        match state.wait_for(is_there).await.as_deref() {
            Ok(State::Up(client)) => Ok(Arc::clone(client)),
            Ok(State::Over(why)) => Err(self.closed(why.clone())),
            Err(_) => Err(self.closed("it is not kept any more".to_owned())),
        }
    }

    /// The client, if it is connected now; an error where it will not be any more.
    pub(super) async fn connected(&self) -> Result<Option<Arc<RecordedClient>>, ClientError> {
        match self.newest() {
            Some(client) if self.way.patience.is_none() || !client.is_closed() => Ok(Some(client)),
            Some(_) => Ok(None),
            None => self.client().await.map(Some),
        }
    }

    /// The newest connection, be it over or not.
    pub(super) fn newest(&self) -> Option<Arc<RecordedClient>> {
        match &*self.state.borrow() {
            State::Up(client) => Some(Arc::clone(client)),
            State::Over(_) => None,
        }
    }

    /// Why there is no connection and will be none, if so.
    pub(super) async fn over(&self) -> Option<String> {
        let client = match &*self.state.borrow() {
            State::Over(why) => return Some(why.clone()),
            State::Up(client) => Arc::clone(client),
        };
        match self.way.patience.is_none() && client.is_closed() {
            true => Some(client.closed().await.to_string()),
            false => None,
        }
    }

    /// Whether what ended so is asked for again on the next connection.
    pub(super) fn survives(&self, error: &ClientError) -> bool {
        let is_over = || matches!(&*self.state.borrow(), State::Over(_));
        self.way.patience.is_some() && comes_back(error) && !is_over()
    }

    /// Waits for connections to be lost, and connects again. Never ends: what becomes of it is seen by whoever wants a client.
    pub(super) async fn keep(&self) {
        while let (Some(patience), Some(client)) = (self.way.patience, self.newest()) {
            let error = client.closed().await;
            drop(client);
            let next = match comes_back(&error) {
                true => {
                    self.come_back(patience).await.map_err(|last| match self.inbox.was_reset() {
                        true => reason_of(&last),
                        false => {
                            let (lost, last) = (reason_of(&error), reason_of(&last));
                            format!("{lost}; not let in for {} s: {last}", patience.as_secs())
                        }
                    })
                }
                false => Err(reason_of(&error)),
            };
            self.state.send_replace(match next {
                Ok(client) => State::Up(Arc::new(client)),
                Err(why) => State::Over(why),
            });
        }
        std::future::pending().await
    }

    async fn come_back(&self, patience: Duration) -> Result<RecordedClient, ClientError> {
        let lost_at = Instant::now();
        loop {
            let turn = self.turns.fetch_add(1, Ordering::Relaxed);
            let error = match self.try_again(turn).await {
                Ok(client) => {
                    let mut losses = self.losses();
                    losses.reconnects += 1;
                    losses.longest = losses.longest.max(lost_at.elapsed());
                    return Ok(client);
                }
                Err(error) => error,
            };
            *self.losses().errors.entry(error.label()).or_insert(0) += 1;
            if self.inbox.was_reset() || lost_at.elapsed() >= patience {
                return Err(error);
            }
            tokio::time::sleep(COME_BACK_PAUSE).await;
        }
    }

    /// Connects, and goes on where the last connection ended: what was missed meanwhile is delivered by the reply.
    async fn try_again(&self, turn: usize) -> Result<RecordedClient, ClientError> {
        let connect_timeout = self.way.connect_timeout.min(COME_BACK_TIMEOUT);
        let client = self.way.connect(turn, connect_timeout, &self.inbox).await?;
        let seq = self.inbox.with(|checker| checker.seq_last());
        let resume = Resume { epoch: self.epoch.clone(), seq };
        let opened = client.open(None, self.way.open(Some(resume))).await?;
        let received_at = Instant::now();
        if opened.epoch != self.epoch {
            self.inbox.reset();
            return Err(self.closed("the server lost data and began a new epoch".to_owned()));
        }
        let missed = match opened.recovered {
            Some(true) => opened.items,
            // More than one reply holds.
            _ => missed(&client, opened.conv, seq, opened.head).await?,
        };
        self.inbox.go_on(&self.way.user, &missed, received_at);
        Ok(client)
    }

    /// A connection of its own to the first node, with the conversation open: after everything was healed, whoever comes must be let in.
    pub(super) async fn come_home(&self) -> Result<RecordedClient, ClientError> {
        let nobody = Arc::new(Inbox::default());
        let client = self.way.connect(0, self.way.connect_timeout, &nobody).await?;
        client.open(None, self.way.open(None)).await?;
        Ok(client)
    }

    /// Where it begins.
    pub(super) fn home(&self) -> &Address {
        &self.way.addresses[self.way.home % self.way.addresses.len()]
    }

    /// The error of an answer that is of another method.
    pub(super) fn wrong_reply(&self, method: &str, reply: &Reply) -> ClientError {
        match &*self.state.borrow() {
            State::Up(client) => client.wrong_reply(method, reply),
            State::Over(why) => self.closed(why.clone()),
        }
    }

    /// Something of the run itself, for the record.
    pub(super) fn note(&self, seen: Seen) {
        if let Some(recorder) = &self.way.recorder {
            recorder.note(seen);
        }
    }

    /// Tells what became of lost connections, once.
    pub(super) fn tell(&self, tally: &mut Tally) {
        let losses = std::mem::take(&mut *self.losses());
        tally.reconnects += losses.reconnects;
        tally.away_longest = tally.away_longest.max(losses.longest);
        for (label, count) in losses.errors {
            *tally.errors.entry(label).or_insert(0) += count;
        }
    }

    /// Ends the connection politely.
    pub(super) async fn close(&self) {
        let last = self.state.send_replace(State::Over("closed by this client".to_owned()));
        if let State::Up(client) = last
            && let Some(client) = Arc::into_inner(client)
        {
            client.close().await;
        }
    }

    fn closed(&self, reason: String) -> ClientError {
        ClientError::Closed { address: self.home().to_string(), code: None, reason }
    }

    fn losses(&self) -> MutexGuard<'_, Losses> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to say of it where the address is said already.
fn reason_of(error: &ClientError) -> String {
    match error {
        ClientError::Closed { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

/// Whether whoever was cut off so may come again.
fn comes_back(error: &ClientError) -> bool {
    match error {
        ClientError::Closed { code, .. } => code.is_none_or(CloseCode::reconnect),
        _ => false,
    }
}

/// Everything above `after` and up to `head`, read page by page.
async fn missed(
    client: &RecordedClient,
    conv: ConvId,
    after: Seq,
    head: Seq,
) -> Result<Vec<Arc<Message>>, ClientError> {
    let (mut missed, chain) = (Vec::new(), client.new_chain());
    let (mut cursor, kind) = (None, ReadKind::After { after_seq: after });
    for page in 0.. {
        let limit = LIMITS.read_limit_max;
        let asked = ReadAsked { kind: kind.clone(), limit, page, chain, is_final: false };
        let read = Command::Read(read_of(conv, &asked, cursor));
        let reply = match client.call_patiently(Some(conv), &Asked::Read(asked), &read).await?.reply
        {
            Reply::Read(reply) => reply,
            other => return Err(client.wrong_reply("read", &other)),
        };
        // What came after the open is pushed.
        missed.extend(reply.items.into_iter().filter(|message| message.seq <= head));
        cursor = reply.next;
        if cursor.is_none() || missed.last().is_some_and(|last| last.seq >= head) {
            break;
        }
    }
    Ok(missed)
}
