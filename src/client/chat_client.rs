//! A session with a chat server.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::error::{Error as SocketError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::task::AbortOnDropHandle;

use super::connection::{Call, Connection, Ended, Submission};
use super::trusted::secure;
use super::wire::Wire;
use super::{Address, ClientError, ClientOptions, socketio};
use crate::model::{ConvId, UserName};
use crate::protocol::{
    Ack, AckReply, Command, Hello, HelloReply, Leave, List, ListReply, Open, OpenReply, Read,
    ReadReply, Reply, Send, SendReply,
};
use crate::tls::Stream;

/// Largest frame that is read: a page of `page_bytes_max` with what stands around it.
const FRAME_BYTES_MAX: usize = 4 << 20;

/// Submissions that may wait for the connection's task; more make the submitter wait.
const SUBMISSIONS_MAX: usize = 64;

/// An answer that is no error, and when it was here.
#[derive(Debug)]
pub struct Answered {
    /// The answer.
    pub reply: Reply,
    /// When the command was given to the socket, after all that it had to wait for on this side.
    pub sent_at: Instant,
    /// When the last byte of its frame had been read, before it was parsed.
    pub received_at: Instant,
}

/// What outlives the borrow of a client: where it is connected, and how that ended.
#[derive(Debug)]
struct Link {
    address: Address,
    ended: Arc<OnceLock<Ended>>,
}

impl Link {
    fn error(&self) -> ClientError {
        let address = self.address.to_string();
        match self.ended.get() {
            Some(Ended::Closed { code, reason }) => {
                ClientError::Closed { address, code: *code, reason: reason.clone() }
            }
            Some(Ended::Protocol { problem }) => {
                ClientError::Protocol { address, problem: problem.clone() }
            }
            None => {
                ClientError::Closed { address, code: None, reason: "cut by this client".into() }
            }
        }
    }

    fn timed_out(&self, waited: Duration) -> ClientError {
        ClientError::Timeout { address: self.address.to_string(), waited_ms: millis(waited) }
    }

    fn wrong_reply(&self, method: &str, reply: &Reply) -> ClientError {
        let problem = format!("it answered {method} with {reply:?}");
        ClientError::Protocol { address: self.address.to_string(), problem }
    }
}

/// The answer to one submitted command. Waits without a deadline of its own; dropping it forgets
/// the answer, not the command.
#[derive(Debug)]
pub struct Answer {
    receiver: oneshot::Receiver<Answered>,
    link: Arc<Link>,
}

impl Answer {
    /// Waits no longer than this; the command may be done all the same.
    pub async fn within(self, timeout: Duration) -> Result<Answered, ClientError> {
        let link = Arc::clone(&self.link);
        tokio::time::timeout(timeout, self).await.unwrap_or_else(|_| Err(link.timed_out(timeout)))
    }
}

impl Future for Answer {
    type Output = Result<Answered, ClientError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(Pin::new(&mut self.receiver).poll(context)) {
            Ok(Answered { reply: Reply::Error(error), .. }) => Err(ClientError::Refused(error)),
            Ok(answered) => Ok(answered),
            Err(_) => Err(self.link.error()),
        })
    }
}

/// A session with a chat server: connected, and past `hello`. Dropping it cuts the connection.
#[derive(Debug)]
pub struct Client {
    submissions: mpsc::Sender<Submission>,
    id_last: AtomicU64,
    link: Arc<Link>,
    answer_timeout: Duration,
    hello: Box<HelloReply>,
    connection: AbortOnDropHandle<()>,
}

impl Client {
    /// Connects, upgrades and says `hello` as `user`.
    pub async fn connect(
        address: &Address,
        user: &UserName,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let connect_timeout = options.connect_timeout;
        let connecting = Self::connect_without_deadline(address, user, options);
        tokio::time::timeout(connect_timeout, connecting).await.unwrap_or_else(|_| {
            let timeout_ms = millis(connect_timeout);
            Err(ClientError::ConnectTimeout { address: address.to_string(), timeout_ms })
        })
    }

    async fn connect_without_deadline(
        address: &Address,
        user: &UserName,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let wire = match socketio::open(address) {
            Some(stock) => Wire::SocketIo(stock.map_err(|reason| ClientError::Handshake {
                address: address.to_string(),
                reason,
            })?),
            None => Wire::WebSocket(Box::new(upgrade(address).await?)),
        };
        let ended = Arc::new(OnceLock::new());
        let (submissions, receiver) = mpsc::channel(SUBMISSIONS_MAX);
        let ClientOptions { answer_timeout, in_flight_max, client, pushes, credentials, .. } =
            options;
        let connection = Connection::new(wire, receiver, in_flight_max, pushes, Arc::clone(&ended));
        let connection = AbortOnDropHandle::new(tokio::spawn(connection.run()));
        let link = Arc::new(Link { address: address.clone(), ended });
        let hello = match credentials.token(user)? {
            Some(token) => Hello { token: Some(token), user: None, client },
            None => Hello { token: None, user: Some(user.clone()), client },
        };
        let hello = Command::Hello(hello);
        let (call, answer) = encode(1, &hello, &link)?;
        submissions.send(Submission::One(call)).await.map_err(|_| link.error())?;
        let hello = match answer.await?.reply {
            Reply::Hello(hello) => hello,
            other => return Err(link.wrong_reply("hello", &other)),
        };
        let id_last = AtomicU64::new(1);
        Ok(Self { submissions, id_last, link, answer_timeout, hello, connection })
    }

    /// What the server said at `hello`: node, engine, durability class, limits.
    pub fn hello(&self) -> &HelloReply {
        &self.hello
    }

    /// Where it is connected.
    pub fn address(&self) -> &Address {
        &self.link.address
    }

    /// Whether the connection is over; what is submitted now fails.
    pub fn is_closed(&self) -> bool {
        self.submissions.is_closed()
    }

    /// Waits until the connection is over and says how.
    pub async fn closed(&self) -> ClientError {
        self.submissions.closed().await;
        self.link.error()
    }

    /// Hands one command to the connection, in order; waits only while too many are unanswered.
    pub async fn submit(&self, command: &Command) -> Result<Answer, ClientError> {
        let (call, answer) = encode(self.next_id(), command, &self.link)?;
        self.hand_over(Submission::One(call)).await?;
        Ok(answer)
    }

    /// Hands many commands to the connection, which feeds all of them and flushes once. The answers
    /// are in the order of the commands.
    pub async fn submit_many(&self, commands: &[Command]) -> Result<Vec<Answer>, ClientError> {
        let mut calls = Vec::with_capacity(commands.len());
        let mut answers = Vec::with_capacity(commands.len());
        for command in commands {
            let (call, answer) = encode(self.next_id(), command, &self.link)?;
            calls.push(call);
            answers.push(answer);
        }
        self.hand_over(Submission::Many(calls)).await?;
        Ok(answers)
    }

    /// One command and its answer, within the answer timeout.
    pub async fn call(&self, command: &Command) -> Result<Answered, ClientError> {
        let asking = async { self.submit(command).await?.await };
        tokio::time::timeout(self.answer_timeout, asking)
            .await
            .unwrap_or_else(|_| Err(self.timed_out()))
    }

    /// The error of a call that had no answer in time.
    pub fn timed_out(&self) -> ClientError {
        self.link.timed_out(self.answer_timeout)
    }

    /// The error of an answer that is of another method.
    pub fn wrong_reply(&self, method: &str, reply: &Reply) -> ClientError {
        self.link.wrong_reply(method, reply)
    }

    /// Opens a conversation.
    pub async fn open(&self, open: Open) -> Result<Box<OpenReply>, ClientError> {
        match self.call(&Command::Open(open)).await?.reply {
            Reply::Open(reply) => Ok(reply),
            other => Err(self.link.wrong_reply("open", &other)),
        }
    }

    /// Stores a message.
    pub async fn send(&self, send: Send) -> Result<SendReply, ClientError> {
        match self.call(&Command::Send(send)).await?.reply {
            Reply::Send(reply) => Ok(reply),
            other => Err(self.link.wrong_reply("send", &other)),
        }
    }

    /// Reads messages.
    pub async fn read(&self, read: Read) -> Result<ReadReply, ClientError> {
        match self.call(&Command::Read(read)).await?.reply {
            Reply::Read(reply) => Ok(reply),
            other => Err(self.link.wrong_reply("read", &other)),
        }
    }

    /// Acknowledges messages.
    pub async fn ack(&self, ack: Ack) -> Result<AckReply, ClientError> {
        match self.call(&Command::Ack(ack)).await?.reply {
            Reply::Ack(reply) => Ok(reply),
            other => Err(self.link.wrong_reply("ack", &other)),
        }
    }

    /// Ends the pushes of a conversation.
    pub async fn leave(&self, conv: ConvId) -> Result<(), ClientError> {
        match self.call(&Command::Leave(Leave { conv })).await?.reply {
            Reply::Leave(_) => Ok(()),
            other => Err(self.link.wrong_reply("leave", &other)),
        }
    }

    /// Lists the user's conversations.
    pub async fn list(&self, list: List) -> Result<ListReply, ClientError> {
        match self.call(&Command::List(list)).await?.reply {
            Reply::List(reply) => Ok(reply),
            other => Err(self.link.wrong_reply("list", &other)),
        }
    }

    /// Asks whether the server is there.
    pub async fn ping(&self) -> Result<(), ClientError> {
        match self.call(&Command::Ping {}).await?.reply {
            Reply::Ping(_) => Ok(()),
            other => Err(self.link.wrong_reply("ping", &other)),
        }
    }

    /// Closes politely: what was submitted is written, then the close handshake is waited for,
    /// about a second at most.
    pub async fn close(self) {
        if self.submissions.send(Submission::Close).await.is_ok() {
            let _ = tokio::time::timeout(Duration::from_secs(2), self.connection).await;
        }
    }

    fn next_id(&self) -> u64 {
        self.id_last.fetch_add(1, Ordering::Relaxed) + 1
    }

    async fn hand_over(&self, submission: Submission) -> Result<(), ClientError> {
        self.submissions.send(submission).await.map_err(|_| self.link.error())
    }
}

async fn upgrade(address: &Address) -> Result<WebSocketStream<Stream>, ClientError> {
    let unreachable = |source| ClientError::Unreachable { address: address.to_string(), source };
    let stream = TcpStream::connect(address.authority()).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    let stream = secure(address, stream).await?;
    // Small: a harness holds thousands of these.
    let config = WebSocketConfig::default()
        .read_buffer_size(8 << 10)
        .write_buffer_size(16 << 10)
        .max_write_buffer_size(1 << 20)
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    match client_async_with_config(address.url(), stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(SocketError::Io(source)) => Err(unreachable(source)),
        Err(error) => {
            let reason = match error {
                SocketError::Protocol(ProtocolError::HttparseError(_)) => {
                    "it does not speak HTTP; a server that speaks TLS is reached by wss://"
                        .to_owned()
                }
                SocketError::Http(response) => format!("it answered HTTP {}", response.status()),
                other => other.to_string(),
            };
            Err(ClientError::Handshake { address: address.to_string(), reason })
        }
    }
}

fn encode(id: u64, command: &Command, link: &Arc<Link>) -> Result<(Call, Answer), ClientError> {
    /// [`Request`](crate::protocol::Request) with a borrowed command: a retry need not copy the content.
    #[derive(serde::Serialize)]
    struct Borrowed<'a> {
        id: u64,
        #[serde(flatten)]
        command: &'a Command,
    }
    let text = serde_json::to_string(&Borrowed { id, command }).map_err(|error| {
        let problem = format!("a command cannot be written as JSON: {error}");
        ClientError::Protocol { address: link.address.to_string(), problem }
    })?;
    let (sender, receiver) = oneshot::channel();
    let call = Call { id, text: text.into(), answer: sender };
    Ok((call, Answer { receiver, link: Arc::clone(link) }))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
