//! The task that owns one socket: writes what is submitted, reads what comes.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, SinkExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message, Utf8Bytes};

use super::wire::Wire;
use super::{Answered, PushHandler, ReceivedPush};
use crate::protocol::{ErrorBody, ErrorCode, Reply, ServerFrame};

/// Submissions that are taken before what they hold is flushed.
const TAKEN_AT_ONCE_MAX: usize = 64;

/// How long a polite close waits for the other end's.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// However long a server says that it must not be asked, it is asked again after this.
const HOLD_MAX: Duration = Duration::from_secs(10);

/// One encoded command and who waits for its answer.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) text: Utf8Bytes,
    pub(super) answer: oneshot::Sender<Answered>,
}

/// Who waits for an answer, and since when.
struct Unanswered {
    answer: oneshot::Sender<Answered>,
    sent_at: Instant,
}

/// What the task is asked to do.
#[derive(Debug)]
pub(super) enum Submission {
    One(Call),
    /// Written together, flushed once.
    Many(Vec<Call>),
    Close,
}

/// How a connection ended.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    Closed { code: Option<u16>, reason: String },
    Protocol { problem: String },
}

/// Everything that the task owns.
pub(super) struct Connection {
    sink: SplitSink<Wire, Message>,
    stream: SplitStream<Wire>,
    submissions: mpsc::Receiver<Submission>,
    /// Taken and not yet given to the socket; refilled only when empty.
    writes: VecDeque<Utf8Bytes>,
    flushed: bool,
    unanswered: HashMap<u64, Unanswered>,
    in_flight_max: usize,
    /// Nothing is taken before this: the server said that it was asked too much.
    held_until: Option<Instant>,
    pushes: PushHandler,
    ended: Arc<OnceLock<Ended>>,
}

impl Connection {
    pub(super) fn new(
        wire: Wire,
        submissions: mpsc::Receiver<Submission>,
        in_flight_max: usize,
        pushes: PushHandler,
        ended: Arc<OnceLock<Ended>>,
    ) -> Self {
        let (sink, stream) = wire.split();
        Self {
            sink,
            stream,
            submissions,
            writes: VecDeque::new(),
            flushed: true,
            unanswered: HashMap::new(),
            in_flight_max,
            held_until: None,
            pushes,
            ended,
        }
    }

    /// Runs until either end closes. What is unanswered then learns of it by its dropped sender,
    /// after `ended` says why.
    pub(super) async fn run(mut self) {
        let ended = self.serve().await;
        let _ = self.ended.set(ended);
    }

    async fn serve(&mut self) -> Ended {
        let mut taken = Vec::new();
        loop {
            let may_take = self.flushed
                && self.unanswered.len() < self.in_flight_max
                && self.held_until.is_none();
            // Reading goes on while a write is stuck: a server that waits for us to read our
            // answers before it reads more would otherwise never get on.
            tokio::select! {
                frame = self.stream.next() => {
                    let received_at = Instant::now();
                    if let Err(ended) = self.received(frame, received_at).await {
                        return ended;
                    }
                }
                result = write_all(&mut self.sink, &mut self.writes), if !self.flushed => {
                    match result {
                        Ok(()) => self.flushed = true,
                        Err(error) => return ended_by(&error),
                    }
                }
                () = until(self.held_until), if self.held_until.is_some() => {
                    self.held_until = None;
                }
                count = self.submissions.recv_many(&mut taken, TAKEN_AT_ONCE_MAX), if may_take => {
                    let closing = taken.drain(..).fold(count == 0, |closing, submission| {
                        self.take(submission) || closing
                    });
                    if closing {
                        return self.close().await;
                    }
                }
            }
        }
    }

    /// Queues a submission for writing; `true` when it asks to close.
    fn take(&mut self, submission: Submission) -> bool {
        let calls = match submission {
            Submission::One(call) => {
                self.queue(call);
                return false;
            }
            Submission::Many(calls) => calls,
            Submission::Close => return true,
        };
        calls.into_iter().for_each(|call| self.queue(call));
        false
    }

    fn queue(&mut self, call: Call) {
        let unanswered = Unanswered { answer: call.answer, sent_at: Instant::now() };
        self.unanswered.insert(call.id, unanswered);
        self.writes.push_back(call.text);
        self.flushed = false;
    }

    async fn received(
        &mut self,
        frame: Option<Result<Message, SocketError>>,
        received_at: Instant,
    ) -> Result<(), Ended> {
        let protocol = |problem: String| Ended::Protocol { problem };
        let text = match frame {
            None => {
                let reason = "the connection ended".to_owned();
                return Err(Ended::Closed { code: None, reason });
            }
            Some(Err(error)) => return Err(ended_by(&error)),
            Some(Ok(Message::Text(text))) => text,
            // The pong to a ping is written by the library with the next read.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return Ok(()),
            Some(Ok(Message::Binary(_))) => return Err(protocol("it sent a binary frame".into())),
            Some(Ok(Message::Close(close))) => {
                // The library has queued the answering close frame; give it to the socket.
                let _ = tokio::time::timeout(CLOSE_WAIT, self.sink.flush()).await;
                return Err(Ended::Closed {
                    code: close.as_ref().map(|close| close.code.into()),
                    reason: close.map(|close| close.reason.to_string()).unwrap_or_default(),
                });
            }
        };
        match ServerFrame::parse(&text).map_err(protocol)? {
            ServerFrame::Reply { id: Some(id), reply } => {
                if let Reply::Error(ErrorBody {
                    code: ErrorCode::RateLimited | ErrorCode::Overloaded,
                    retry_after_ms: Some(retry_after_ms),
                    ..
                }) = &reply
                {
                    // For all commands of this session, not only for this one.
                    let until = received_at + Duration::from_millis(*retry_after_ms).min(HOLD_MAX);
                    self.held_until = self.held_until.max(Some(until));
                }
                match self.unanswered.remove(&id) {
                    // Whoever asked may have stopped waiting.
                    Some(Unanswered { answer, sent_at }) => {
                        drop(answer.send(Answered { reply, sent_at, received_at }));
                    }
                    None => return Err(protocol(format!("it answered {id}, which nobody asked"))),
                }
            }
            ServerFrame::Reply { id: None, reply: Reply::Error(error) } => {
                return Err(protocol(format!("it could not read the id of a command: {error}")));
            }
            ServerFrame::Reply { id: None, .. } => {
                return Err(protocol("it answered without an id".into()));
            }
            ServerFrame::Push(push) => {
                let received = ReceivedPush { push, received_at };
                match &mut self.pushes {
                    PushHandler::Ignore => {}
                    PushHandler::Callback(callback) => callback(received),
                    PushHandler::Queue(queue) => drop(queue.send(received).await),
                }
            }
        }
        Ok(())
    }

    /// Our own close: what was taken is written first, then the close handshake is waited for.
    async fn close(&mut self) -> Ended {
        let handshake = async {
            write_all(&mut self.sink, &mut self.writes).await?;
            self.sink.send(Message::Close(None)).await?;
            while let Some(Ok(_)) = self.stream.next().await {}
            Ok::<_, SocketError>(())
        };
        let _ = tokio::time::timeout(CLOSE_WAIT, handshake).await;
        Ended::Closed { code: Some(1000), reason: "closed by this client".to_owned() }
    }
}

/// Gives every frame to the socket and flushes once. Cancel-safe: what was not given stays queued.
async fn write_all<S: Sink<Message, Error = SocketError> + Unpin>(
    sink: &mut S,
    writes: &mut VecDeque<Utf8Bytes>,
) -> Result<(), SocketError> {
    poll_fn(|context| poll_write_all(Pin::new(&mut *sink), writes, context)).await
}

fn poll_write_all<S: Sink<Message, Error = SocketError>>(
    mut sink: Pin<&mut S>,
    writes: &mut VecDeque<Utf8Bytes>,
    context: &mut Context<'_>,
) -> Poll<Result<(), SocketError>> {
    while !writes.is_empty() {
        ready!(sink.as_mut().poll_ready(context))?;
        if let Some(text) = writes.pop_front() {
            sink.as_mut().start_send(Message::Text(text))?;
        }
    }
    sink.poll_flush(context)
}

async fn until(held: Option<Instant>) {
    if let Some(held) = held {
        tokio::time::sleep_until(held.into()).await;
    }
}

fn ended_by(error: &SocketError) -> Ended {
    match error {
        // A server that was killed: a cut like any other, no breach of the protocol.
        SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            Ended::Closed { code: None, reason: error.to_string() }
        }
        SocketError::Capacity(_) | SocketError::Protocol(_) | SocketError::Utf8(_) => {
            Ended::Protocol { problem: error.to_string() }
        }
        _ => Ended::Closed { code: None, reason: error.to_string() },
    }
}
