//! What two clients of Socket.IO say, over a WebSocket and by requests, as a node of its own takes it, and what they are told.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::ReadBuf;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::http;
use super::intake::{Intake, Step};
use super::packet::{self, Incoming};
use super::peer::Peer;
use crate::chat::{ChatService, Frame, Session, Taken};
use crate::fuzzing::split_first;
use crate::protocol::CloseCode;
use crate::server::ServerSettings;
use crate::server::frame_reader::{Decoder, Heard};
use crate::server::fuzzing::{OUTBOX_BYTES, PATIENCE, framed, handled, service, taken};

const CLIENTS: usize = 2;

/// Bytes of a client over its WebSocket, which is new or, if the first one is a `u`, an upgrade; or, if that is a `t`, lines. Of a line, `0` and `1` say who
/// sends this text, `a` and `b` the same in pieces, `p` and `q` that it is a request, with `|` between its packets. `$conv`, `$group`, `$epoch` and `$cursor` are as for
/// the target `frame`.
///
/// Packets that we send are packets; each callback is answered once; what is given to the engine is made of whole frames that it takes; how
/// bytes are cut on their way makes no difference; an outbox holds no more than it may.
pub fn packets(input: &[u8]) {
    let (kind, rest) = split_first(input);
    let small = usize::from(kind == b'T');
    let is_upgrade = kind == b'u';
    let lines: Vec<&[u8]> = match kind {
        b't' | b'T' => rest.split(|&byte| byte == b'\n').collect(),
        _ => {
            cut_anywhere(is_upgrade, rest);
            vec![]
        }
    };
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("a runtime: {error}"));
    runtime.block_on(async {
        let service = service().await;
        let new = |is_upgrade| Client::new(&service, is_upgrade, OUTBOX_BYTES[small]);
        let mut clients: [Client; CLIENTS] = std::array::from_fn(|_| new(is_upgrade));
        if lines.is_empty() {
            clients[0].hear(rest).await;
        }
        for line in lines {
            let (who, text) = split_first(line);
            let client = &mut clients[usize::from(matches!(who, b'1' | b'b' | b'q'))];
            let text = client.filled_in(&String::from_utf8_lossy(text));
            match who {
                b'p' | b'q' => client.post(&text.replace('|', "\u{1e}")).await,
                b'0' | b'1' | b'a' | b'b' => {
                    client.hear(&framed(text.as_bytes(), matches!(who, b'a' | b'b'))).await;
                }
                _ => client.hear(line).await,
            }
            for client in &mut clients {
                client.take_what_is_there();
            }
        }
        for mut client in clients {
            client.wait_for_answers().await;
            client.session.end().await;
        }
        service.close().await;
    });
}

/// One connection, and what is known of it.
struct Client {
    peer: Arc<Peer>,
    intake: Intake,
    session: Session,
    outbox_bytes_max: usize,
    /// Callbacks that were not answered.
    owed: Vec<u64>,
    is_closed: bool,
    seen: HashMap<&'static str, String>,
}

impl Client {
    fn new(service: &Arc<ChatService>, is_upgrade: bool, outbox_bytes_max: usize) -> Self {
        let settings = ServerSettings { outbox_bytes_max, ..ServerSettings::default() };
        let peer = Peer::new(&settings);
        Self {
            session: Session::new(Arc::clone(service), Arc::clone(&peer.outbox)),
            peer,
            intake: Intake::new(is_upgrade),
            outbox_bytes_max,
            owed: Vec::new(),
            is_closed: false,
            seen: HashMap::new(),
        }
    }

    /// What a line does with bytes, and what the connection does with what is heard.
    async fn hear(&mut self, bytes: &[u8]) {
        self.intake.push(bytes);
        self.intake.is_alive();
        loop {
            match self.intake.next() {
                Ok(Step::Said(packet)) => {
                    self.peer.said(packet);
                    self.handle_what_was_said().await;
                }
                Ok(Step::ForEngine) => {}
                Ok(Step::Wanting | Step::Over) => break,
                Err(code) => self.close(code),
            }
        }
        let given = given(&mut self.intake);
        assert!(given.len() <= 2 * bytes.len() + 16, "{} for {}", given.len(), bytes.len());
        let mut engine = Decoder::default();
        engine.push(&given);
        loop {
            match engine.next() {
                Ok(Some(Heard::End(_)) | None) => break,
                Ok(Some(Heard::Text(text))) => assert!(["1", "2probe", "3", "5"].contains(&&*text)),
                Ok(Some(Heard::Ping(_))) => {}
                other => panic!("the engine is given {other:?}"),
            }
        }
    }

    async fn post(&mut self, body: &str) {
        if let Err(code) = http::say(&self.peer, body.as_bytes()) {
            self.handle_what_was_said().await;
            self.close(code);
        }
        self.handle_what_was_said().await;
    }

    async fn handle_what_was_said(&mut self) {
        while let Some(text) = self.peer.inbox.try_packet() {
            if self.is_closed {
                continue;
            }
            let handled = match packet::decode(text) {
                Incoming::Frame(frame) => self.handle(&frame).await,
                Incoming::Foreign(namespace) => {
                    is_packet(&packet::no_namespace(&namespace));
                    self.session.control()
                }
                Incoming::Ignored => self.session.control(),
                Incoming::Bad => self.handle("").await,
                Incoming::Binary => Err(CloseCode::BINARY),
                Incoming::Leave => Err(CloseCode::SHUTDOWN),
            };
            if let Err(code) = handled {
                self.close(code);
            }
        }
    }

    /// Hands a command over, and reads meanwhile: the session waits for a reader.
    async fn handle(&mut self, frame: &str) -> Result<(), CloseCode> {
        self.owed.extend(packet::callback(frame));
        let handling = self.session.handle(frame);
        let (handled, frames) = handled(handling, &self.peer.outbox, self.outbox_bytes_max).await;
        self.read(&frames);
        handled
    }

    fn take_what_is_there(&mut self) {
        let frames = taken(&self.peer.outbox, self.outbox_bytes_max);
        self.read(&frames);
    }

    /// Whoever is not closed has an answer to everything, in time.
    async fn wait_for_answers(&mut self) {
        while !self.owed.is_empty() && !self.is_closed {
            let mut frames = Vec::new();
            let taken = timeout(PATIENCE, self.peer.outbox.take(&mut frames)).await;
            assert!(taken.is_ok(), "no answer to {:?}", self.owed);
            self.peer.outbox.wrote();
            self.read(&frames);
            if let Ok(Taken::Closed(code)) = taken {
                self.close(code);
            }
        }
    }

    fn close(&mut self, code: CloseCode) {
        is_packet(&packet::closing(code));
        self.is_closed = true;
    }

    fn read(&mut self, frames: &[Frame]) {
        let mut packets = Vec::new();
        for frame in frames {
            packet::encode(frame, &mut packets);
        }
        for packet in &packets {
            let (callback, body) = is_packet(packet);
            if let Some(callback) = callback {
                let place = self.owed.iter().position(|&owed| owed == callback);
                assert!(place.is_some(), "nothing was owed to {callback}: {packet}");
                place.map(|place| self.owed.swap_remove(place));
            }
            let said = &body[0]["ok"];
            for (name, keys) in [
                ("$conv", &["conv"][..]),
                ("$epoch", &["epoch"]),
                ("$group", &["group"]),
                ("$cursor", &["next", "late_next"]),
            ] {
                if let Some(value) = keys.iter().find_map(|key| said[key].as_str()) {
                    self.seen.insert(name, value.to_owned());
                }
            }
        }
    }

    fn filled_in(&self, text: &str) -> String {
        let fill = |text: String, (name, value): (&&str, &String)| text.replace(name, value);
        self.seen.iter().fold(text.to_owned(), fill)
    }
}

/// The callback that a packet of ours answers, and what it holds.
fn is_packet(packet: &str) -> (Option<u64>, Value) {
    let (kind, rest) = packet.split_at(1);
    // A namespace, which is the client's word, ends at its comma.
    let rest = match rest.strip_prefix('/') {
        Some(named) => named.split_once(',').unwrap_or_else(|| panic!("no end: {packet}")).1,
        None => rest,
    };
    let begins = rest.find(['[', '{']).unwrap_or_else(|| panic!("no body: {packet}"));
    let (head, body) = rest.split_at(begins);
    let body: Value =
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {packet}"));
    match kind {
        "0" => assert!(head.is_empty() && body["sid"].is_string(), "{packet}"),
        "2" => assert!(head.is_empty() && body[0].is_string() && body[1].is_object(), "{packet}"),
        "3" => assert!(body[0]["ok"].is_object() != body[0]["error"].is_object(), "{packet}"),
        "4" => assert!(body["message"].is_string(), "{packet}"),
        _ => panic!("{packet}"),
    }
    let callback = || head.parse().unwrap_or_else(|error| panic!("{error}: {packet}"));
    ((kind == "3").then(callback), body)
}

fn given(intake: &mut Intake) -> Vec<u8> {
    let (mut all, mut bytes) = (Vec::new(), [0; 256]);
    loop {
        let mut buffer = ReadBuf::new(&mut bytes);
        if !intake.take(&mut buffer) {
            return all;
        }
        all.extend_from_slice(buffer.filled());
    }
}

/// Bytes one by one say the same as all at once.
fn cut_anywhere(is_upgrade: bool, bytes: &[u8]) {
    let said = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut intake, mut said, mut engine) = (Intake::new(is_upgrade), Vec::new(), Vec::new());
        for piece in pieces {
            intake.push(piece);
            loop {
                match intake.next() {
                    Ok(Step::Wanting | Step::Over) => break,
                    step => said.push(step),
                }
            }
            engine.extend(given(&mut intake));
        }
        (said, engine)
    };
    let (at_once, one_by_one) = (said(&mut [bytes].into_iter()), said(&mut bytes.chunks(1)));
    assert_eq!(at_once, one_by_one, "how bytes are cut makes no difference");
}
