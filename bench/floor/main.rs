//! The floor: a server that stores nothing and answers at once, to see what the harness itself can do.
//!
//! `cargo run --release --example floor` prints its address; `chatctl bench paired-clients --url …` drives it as it drives any server,
//! and every delivery and page is judged as ever: it numbers messages, pushes them to the peer, and keeps a page of each conversation.
//! It is no chat server: no durability, no limits, no errors.
#![expect(clippy::print_stdout, reason = "the address is what it is started for")]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use chatctl::model::{
    AllLimits, ConvId, Durability, Epoch, LIMITS, Message, NodeId, Place, Seq, SessionId, UserName,
};
use chatctl::protocol::{
    Command, EngineInfo, ErrorBody, ErrorCode, HelloReply, MsgPush, OpenReply, Push, ReadReply,
    Reply, ReplyFrame, SendReply, To, parse_command,
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message as Frame, Utf8Bytes};

/// Frames that are written before they are flushed.
const BATCH: usize = 256;

/// As the server's own.
const BUFFER_BYTES: usize = 16 << 10;

/// Conversations are apart, so that nobody waits for another.
type World = Mutex<HashMap<ConvId, Arc<Mutex<Conversation>>>>;

#[derive(Default)]
struct Conversation {
    head: u64,
    ts_max: u64,
    newest: VecDeque<Arc<Message>>,
    sessions: Vec<(UserName, mpsc::UnboundedSender<Utf8Bytes>)>,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("ws://{}/v1/ws", listener.local_addr()?);
    let world = Arc::<World>::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(stream, Arc::clone(&world)));
    }
}

async fn serve(stream: TcpStream, world: Arc<World>) {
    let config =
        WebSocketConfig::default().read_buffer_size(BUFFER_BYTES).write_buffer_size(BUFFER_BYTES);
    let accepted = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await;
    let Ok(socket) = accepted else { return };
    let (mut sink, mut stream) = socket.split();
    let (sender, mut receiver) = mpsc::unbounded_channel::<Utf8Bytes>();
    let mut session = Session { user: None, open: HashMap::new(), world, sender };
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            _ = receiver.recv_many(&mut batch, BATCH) => {
                for text in batch.drain(..) {
                    if sink.feed(Frame::Text(text)).await.is_err() {
                        return;
                    }
                }
                if sink.flush().await.is_err() {
                    return;
                }
            }
            frame = stream.next() => {
                let Some(Ok(Frame::Text(text))) = frame else { return };
                let Ok((id, command)) = parse_command(&text) else { return };
                let reply = session.answer(command).unwrap_or_else(|| {
                    Reply::Error(ErrorBody::new(ErrorCode::UnknownMethod, "the floor does not know this"))
                });
                session.tell(&session.sender, &ReplyFrame { id: Some(id), reply });
            }
        }
    }
}

struct Session {
    user: Option<UserName>,
    open: HashMap<ConvId, Arc<Mutex<Conversation>>>,
    world: Arc<World>,
    sender: mpsc::UnboundedSender<Utf8Bytes>,
}

impl Session {
    fn tell(&self, to: &mpsc::UnboundedSender<Utf8Bytes>, what: &impl serde::Serialize) {
        if let Ok(text) = serde_json::to_string(what) {
            // A session that is gone misses nothing.
            let _ = to.send(text.into());
        }
    }

    fn answer(&mut self, command: Command) -> Option<Reply> {
        match command {
            Command::Hello(hello) => {
                // It checks no tokens.
                let user = hello.user?;
                self.user = Some(user.clone());
                Some(Reply::Hello(Box::new(HelloReply {
                    session: SessionId::generate(),
                    user,
                    node: NodeId::generate(),
                    protocol: 1,
                    engine: EngineInfo { name: "FLOOR".into(), durability: Durability::NONE },
                    limits: AllLimits::default(),
                    ping_ms: 25_000,
                })))
            }
            Command::Open(open) => {
                let To::User(peer) = open.to else { return None };
                let user = self.user.clone()?;
                let conv = Place::direct(user.clone(), peer).conv_id();
                let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
                let conversation = Arc::clone(world.entry(conv).or_default());
                drop(world);
                let mut state = conversation.lock().unwrap_or_else(PoisonError::into_inner);
                state.sessions.push((user, self.sender.clone()));
                let head = Seq(state.head);
                drop(state);
                self.open.insert(conv, conversation);
                Some(Reply::Open(Box::new(OpenReply::bare(conv, Epoch::new("floor").ok()?, head))))
            }
            Command::Send(send) => {
                let user = self.user.as_ref()?;
                let conversation = self.open.get(&send.conv)?;
                let mut state = conversation.lock().unwrap_or_else(PoisonError::into_inner);
                state.head += 1;
                let (seq, at) = (Seq(state.head), state.head);
                let ts = send.ts.unwrap_or(at);
                let late = ts < state.ts_max;
                state.ts_max = state.ts_max.max(ts);
                let chatctl::protocol::Send { conv, cid, kind, content, .. } = send;
                let from = user.clone();
                let message = Arc::new(Message { seq, from, cid, kind, content, ts, at, late });
                let place =
                    state.newest.partition_point(|other| other.position() < message.position());
                state.newest.insert(place, Arc::clone(&message));
                if state.newest.len() > LIMITS.read_limit_max + 1 {
                    state.newest.pop_front();
                }
                let push = Push::Msg(MsgPush { conv, message });
                for (_, peer) in state.sessions.iter().filter(|(name, _)| name != user) {
                    self.tell(peer, &push);
                }
                Some(Reply::Send(SendReply { seq, ts, late, dup: false, at }))
            }
            Command::Read(read) => {
                let conversation = self.open.get(&read.conv)?;
                let state = conversation.lock().unwrap_or_else(PoisonError::into_inner);
                let items = state.newest.iter().rev().take(read.limit).cloned().collect();
                let next = (state.newest.len() > read.limit).then(|| "floor".to_owned());
                Some(Reply::Read(ReadReply { items, next }))
            }
            Command::Ping {} => Some(Reply::Ping(chatctl::protocol::Empty {})),
            _ => None,
        }
    }
}
