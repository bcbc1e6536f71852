//! The bytes of a few clients, as a node of its own takes them: frames, commands, sessions over the embedded engine in memory, and what comes back.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::timeout;

use super::frame_reader::{Decoder, Heard};
pub use super::socketio::fuzzing::packets as socketio;
use crate::chat::{Access, ChatService, ChatSettings, Frame, Outbox, Session, Taken};
use crate::distribution::local::LocalDistribution;
use crate::fuzzing::split_first;
use crate::model::{ConvId, LIMITS, NodeId, OperatorLimits, Seq};
use crate::persistence::local::{LocalSettings, SyncPolicy, open};
use crate::protocol::{CloseCode, Push, Reply, ServerFrame, parse_command};
use crate::registry::local::LocalRegistry;

const CLIENTS: usize = 3;
/// Bytes that may wait for a client; the smaller one is too little for a page.
pub(super) const OUTBOX_BYTES: [usize; 2] = [1 << 20, 4 << 10];
/// An answer is waited for no longer than a client would.
pub(super) const PATIENCE: Duration = Duration::from_millis(LIMITS.answer_ms_max + 1_000);

/// Bytes of the client 0, as they come over its connection; or, if the first one is a `t`, lines of text. Of a line, `0` to `2` say whose frame
/// it is, `a` to `c` the same in pieces, `-` that a client is gone; anything else is bytes of the client 0. In a frame `$conv`,
/// `$group`, `$epoch` and `$cursor` stand for those that the client saw last.
///
/// Each command has one answer under its `id`, and what is sent can be read; an outbox holds no more than it may; a stream that was opened goes up by
/// number; and how bytes are cut on their way makes no difference.
pub fn frame(input: &[u8]) {
    let (kind, rest) = split_first(input);
    let small = usize::from(kind == b'T' || kind & 0x80 != 0);
    let turns: Vec<Turn<'_>> = match kind {
        b't' | b'T' => rest.split(|&byte| byte == b'\n').map(Turn::of_line).collect(),
        _ => {
            cut_anywhere(rest);
            vec![Turn::Bytes(rest)]
        }
    };
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("a runtime: {error}"));
    runtime.block_on(talk(&turns, OUTBOX_BYTES[small]));
}

/// What happens next.
enum Turn<'a> {
    /// The client 0 sends bytes.
    Bytes(&'a [u8]),
    /// A client sends a text, in pieces or not.
    Text { client: usize, text: &'a [u8], in_pieces: bool },
    /// A client goes away, and another one comes.
    Gone,
}

impl<'a> Turn<'a> {
    fn of_line(line: &'a [u8]) -> Self {
        match line {
            [who @ b'0'..=b'2', text @ ..] => {
                Self::Text { client: usize::from(who - b'0'), text, in_pieces: false }
            }
            [who @ b'a'..=b'c', text @ ..] => {
                Self::Text { client: usize::from(who - b'a'), text, in_pieces: true }
            }
            [b'-', ..] => Self::Gone,
            bytes => Self::Bytes(bytes),
        }
    }
}

async fn talk(turns: &[Turn<'_>], outbox_bytes_max: usize) {
    let service = service().await;
    let new = || Client::new(&service, outbox_bytes_max);
    let mut clients: [Client; CLIENTS] = std::array::from_fn(|_| new());
    for turn in turns {
        match turn {
            Turn::Bytes(bytes) => clients[0].hear(bytes).await,
            Turn::Text { client, text, in_pieces } => {
                let client = &mut clients[*client];
                let text = client.filled_in(&String::from_utf8_lossy(text));
                client.hear(&framed(text.as_bytes(), *in_pieces)).await;
            }
            Turn::Gone => std::mem::replace(&mut clients[CLIENTS - 1], new()).end().await,
        }
        // The committer is a thread of its own: what comes of a command need not be there already.
        for client in &mut clients {
            client.take_what_is_there();
        }
    }
    for client in &mut clients {
        client.wait_for_answers().await;
    }
    for client in clients {
        client.end().await;
    }
    service.close().await;
}

/// What comes of a command that a session handles, and what it was told meanwhile: the session waits for a reader.
pub(super) async fn handled(
    handling: impl Future<Output = Result<(), CloseCode>>,
    outbox: &Outbox,
    outbox_bytes_max: usize,
) -> (Result<(), CloseCode>, Vec<Frame>) {
    let (mut frames, mut is_open) = (Vec::new(), true);
    let mut handling = std::pin::pin!(handling);
    loop {
        let before = frames.len();
        tokio::select! {
            biased;
            handled = &mut handling => return (handled, frames),
            taken = outbox.take(&mut frames), if is_open => {
                within(&frames[before..], outbox_bytes_max);
                outbox.wrote();
                is_open = taken == Taken::Frames;
            }
        }
    }
}

/// What a session was told and nobody has taken.
pub(super) fn taken(outbox: &Outbox, outbox_bytes_max: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    outbox.try_take(&mut frames);
    within(&frames, outbox_bytes_max);
    outbox.wrote();
    frames
}

pub(super) async fn service() -> Arc<ChatService> {
    let settings = LocalSettings {
        data_dir: "unused".into(),
        sync: SyncPolicy::Memory,
        reserve_bytes: 0,
        cache_bytes: 1 << 20,
    };
    let (engine, _fatal) = open(settings).unwrap_or_else(|error| panic!("an engine: {error}"));
    let settings = ChatSettings {
        node: NodeId::generate(),
        ping: Duration::from_secs(25),
        limits: OperatorLimits::default(),
        access: Access::default(),
    };
    let (bus, registry) = (LocalDistribution::default(), LocalRegistry::default());
    let started = ChatService::start(engine, Arc::new(bus), Arc::new(registry), settings).await;
    started.unwrap_or_else(|error| panic!("a node: {error}"))
}

/// One connection, and what is known of it.
struct Client {
    decoder: Decoder,
    session: Session,
    outbox: Arc<Outbox>,
    outbox_bytes_max: usize,
    /// The `id`s that an answer is owed to.
    owed: Vec<Option<u64>>,
    /// What the server would not listen to any more.
    closed: Option<CloseCode>,
    streams: HashMap<ConvId, Seq>,
    seen: HashMap<&'static str, String>,
}

impl Client {
    fn new(service: &Arc<ChatService>, outbox_bytes_max: usize) -> Self {
        let outbox = Arc::new(Outbox::new(outbox_bytes_max));
        Self {
            decoder: Decoder::default(),
            session: Session::new(Arc::clone(service), Arc::clone(&outbox)),
            outbox,
            outbox_bytes_max,
            owed: Vec::new(),
            closed: None,
            streams: HashMap::new(),
            seen: HashMap::new(),
        }
    }

    /// What the loop of a connection does with bytes.
    async fn hear(&mut self, bytes: &[u8]) {
        if self.closed.is_some() {
            return;
        }
        self.decoder.push(bytes);
        loop {
            let heard = match self.decoder.next() {
                Ok(Some(heard)) => heard,
                Ok(None) => return,
                Err(code) => {
                    self.closed = Some(code);
                    return;
                }
            };
            let handled = match heard {
                Heard::Text(text) => self.handle(&text).await,
                Heard::Ping(_) | Heard::Pong => self.session.control(),
                Heard::End(_) => Err(CloseCode::SHUTDOWN),
            };
            if let Err(code) = handled {
                self.closed = Some(code);
                return;
            }
        }
    }

    /// Hands a command over, and reads meanwhile: the session waits for a reader.
    async fn handle(&mut self, text: &str) -> Result<(), CloseCode> {
        self.owed.push(match parse_command(text) {
            Ok((id, _)) => Some(id),
            Err(rejected) => rejected.id,
        });
        let handling = self.session.handle(text);
        let (handled, frames) = handled(handling, &self.outbox, self.outbox_bytes_max).await;
        self.read(&frames);
        handled
    }

    fn take_what_is_there(&mut self) {
        let frames = taken(&self.outbox, self.outbox_bytes_max);
        self.read(&frames);
    }

    /// Whoever is not closed has an answer to everything, in time.
    async fn wait_for_answers(&mut self) {
        while !self.owed.is_empty() && self.closed.is_none() {
            let mut frames = Vec::new();
            let taken = timeout(PATIENCE, self.outbox.take(&mut frames)).await;
            assert!(taken.is_ok(), "no answer under {:?}", self.owed);
            self.outbox.wrote();
            self.read(&frames);
            if let Ok(Taken::Closed(code)) = taken {
                self.closed = Some(code);
            }
        }
    }

    fn read(&mut self, frames: &[Frame]) {
        for frame in frames {
            match ServerFrame::parse(frame) {
                Ok(ServerFrame::Reply { id, reply }) => self.answered(id, &reply),
                Ok(ServerFrame::Push(push)) => self.pushed(&push),
                Err(error) => panic!("{error}: {frame}"),
            }
        }
    }

    fn answered(&mut self, id: Option<u64>, reply: &Reply) {
        let place = self.owed.iter().position(|owed| *owed == id);
        assert!(place.is_some(), "nothing was owed to {id:?}: {reply:?}");
        place.map(|place| self.owed.swap_remove(place));
        let mut see = |name, text: &str| drop(self.seen.insert(name, text.to_owned()));
        match reply {
            Reply::Open(opened) => {
                see("$conv", &opened.conv.to_string());
                see("$epoch", opened.epoch.as_str());
                if let Some(next) = opened.next.as_ref().or(opened.late_next.as_ref()) {
                    see("$cursor", next);
                }
                assert!(opened.items.iter().all(|item| item.seq <= opened.head), "{opened:?}");
                self.streams.insert(opened.conv, opened.head);
            }
            Reply::Read(read) => {
                if let Some(next) = &read.next {
                    see("$cursor", next);
                }
            }
            Reply::List(list) => {
                if let Some(next) = &list.next {
                    see("$cursor", next);
                }
            }
            Reply::Create(made) => see("$group", made.group.as_str()),
            _ => {}
        }
    }

    fn pushed(&mut self, push: &Push) {
        let Push::Msg(pushed) = push else { return };
        let (conv, seq) = (pushed.conv, pushed.message.seq);
        let last = self.streams.insert(conv, seq);
        assert!(last.is_some_and(|last| last < seq), "{conv} {seq} after {last:?}");
    }

    fn filled_in(&self, text: &str) -> String {
        let fill = |text: String, (name, value): (&&str, &String)| text.replace(name, value);
        self.seen.iter().fold(text.to_owned(), fill)
    }

    async fn end(mut self) {
        self.take_what_is_there();
        self.session.end().await;
    }
}

pub(super) fn within(frames: &[Frame], bytes_max: usize) {
    let bytes: usize = frames.iter().map(|frame| frame.len()).sum();
    assert!(bytes <= bytes_max, "{bytes} bytes waited where there may be {bytes_max}");
}

/// A text as a client frames it, in one frame, or in two with a ping between.
pub(super) fn framed(text: &[u8], in_pieces: bool) -> Vec<u8> {
    let mask = [0x5a, 0, 0xff, 0x01];
    let mut bytes = Vec::new();
    let mut put = |first: u8, payload: &[u8]| {
        bytes.push(first);
        match payload.len() {
            short @ ..126 => bytes.push(0x80 | short as u8),
            medium @ ..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(medium as u16).to_be_bytes());
            }
            long => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    };
    if in_pieces {
        let (one, two) = text.split_at(text.len() / 2);
        put(0x01, one);
        put(0x89, b"ping");
        put(0x80, two);
    } else {
        put(0x81, text);
    }
    bytes
}

/// Bytes one by one say the same as all at once.
fn cut_anywhere(bytes: &[u8]) {
    let mut whole = Decoder::default();
    whole.push(bytes);
    let at_once = all_of(&mut whole);
    let (mut cut, mut one_by_one) = (Decoder::default(), (Vec::new(), None));
    for byte in bytes {
        cut.push(std::slice::from_ref(byte));
        let (mut heard, end) = all_of(&mut cut);
        one_by_one.0.append(&mut heard);
        if end.is_some() {
            one_by_one.1 = end;
            break;
        }
    }
    assert_eq!(at_once, one_by_one, "how bytes are cut makes no difference");
}

fn all_of(decoder: &mut Decoder) -> (Vec<Heard>, Option<CloseCode>) {
    let mut heard = Vec::new();
    loop {
        match decoder.next() {
            Ok(Some(end @ Heard::End(_))) => {
                heard.push(end);
                return (heard, Some(CloseCode::SHUTDOWN));
            }
            Ok(Some(more)) => heard.push(more),
            Ok(None) => return (heard, None),
            Err(code) => return (heard, Some(code)),
        }
    }
}
