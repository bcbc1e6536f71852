//! Bare servers: tungstenite on tokio, with nothing of a chat. What they cost is what any chat server on them costs at least.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message as Frame, Utf8Bytes};

use super::cores::Cores;
use crate::bench::error::BenchError;

/// As the server's own.
const BUFFER_BYTES: usize = 16 << 10;

/// Frames that are written before they are flushed.
const BATCH: usize = 256;

/// What a bare server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Each frame goes back, one send for each.
    Echo,
    /// The first frame of a connection names its room, and is answered. Each other is a send, which goes to all others in the room as a message, and its number goes back; what waits
    /// for a connection is written at once.
    Relay,
}

/// A server on a thread of its own, on the servers' core; dropped, it ends.
#[derive(Debug)]
pub(super) struct BareServer {
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
}

impl BareServer {
    /// Starts one.
    pub fn start(kind: Kind, cores: Cores) -> Result<Self, BenchError> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(BenchError::Thread)?;
        let serving = move || {
            // Where it cannot be kept there, the clients' thread has said so.
            let _ = Cores::stay_on(cores.server);
            runtime.block_on(async {
                tokio::select! {
                    _ = serve(kind, listener) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("bare".to_owned()).spawn(serving);
        let thread = thread.map_err(BenchError::Thread)?;
        Ok(Self { address, thread: Some(thread), stop: Some(stop) })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn failed(error: io::Error) -> BenchError {
    BenchError::Unmeasurable(format!("a bare server cannot be started: {error}"))
}

type Room = Vec<(usize, mpsc::UnboundedSender<Utf8Bytes>)>;
type Rooms = Arc<Mutex<HashMap<Utf8Bytes, Arc<Mutex<Room>>>>>;

async fn serve(kind: Kind, listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let rooms = Rooms::default();
    for number in 0.. {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        match kind {
            Kind::Echo => drop(tokio::spawn(echo(stream))),
            Kind::Relay => drop(tokio::spawn(relay(number, stream, Arc::clone(&rooms)))),
        }
    }
    Ok(())
}

async fn accept(stream: TcpStream) -> Option<WebSocketStream<TcpStream>> {
    let config =
        WebSocketConfig::default().read_buffer_size(BUFFER_BYTES).write_buffer_size(BUFFER_BYTES);
    tokio_tungstenite::accept_async_with_config(stream, Some(config)).await.ok()
}

async fn echo(stream: TcpStream) -> Option<()> {
    let mut socket = accept(stream).await?;
    while let Some(Ok(frame @ Frame::Text(_))) = socket.next().await {
        socket.send(frame).await.ok()?;
    }
    None
}

async fn relay(number: usize, stream: TcpStream, rooms: Rooms) -> Option<()> {
    let (mut sink, mut stream) = accept(stream).await?.split();
    let Some(Ok(Frame::Text(name))) = stream.next().await else { return None };
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let room = {
        let mut rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(rooms.entry(name).or_default())
    };
    room.lock().unwrap_or_else(PoisonError::into_inner).push((number, sender.clone()));
    sink.send(Frame::Text(Utf8Bytes::from_static("{}"))).await.ok()?;
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            _ = receiver.recv_many(&mut batch, BATCH) => {
                for text in batch.drain(..) {
                    sink.feed(Frame::Text(text)).await.ok()?;
                }
                sink.flush().await.ok()?;
            }
            frame = stream.next() => {
                let Some(Ok(Frame::Text(text))) = frame else { return None };
                let until = text.find(',')?;
                sender.send(format!("{}}}", &text[..until]).into()).ok()?;
                // `,"send":{…}}` becomes `{"msg":{…}}`: made once, shared by all.
                let body = text[until..].strip_prefix(r#","send""#)?;
                let push = Utf8Bytes::from(format!(r#"{{"msg"{body}"#));
                for (other, sender) in &*room.lock().unwrap_or_else(PoisonError::into_inner) {
                    if *other != number {
                        // One that is gone misses nothing.
                        let _ = sender.send(push.clone());
                    }
                }
            }
        }
    }
}
