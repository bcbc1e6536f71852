//! RFC 6455, case by case, over raw sockets: what a client sends, and exactly what it gets. Every case names its section. After
//! its answers a connection that is still open is closed with 1000, which must be the next thing that comes back: so nothing else
//! was said. The same table stands over Socket.IO, where the event `closing` has our code, and an empty close frame follows.

use rstest::rstest;

use crate::support::raw::{Got, Raw, close, frame, with_length};
use crate::support::{Server, unique};

/// What texts are on a wire. Commands are of the same length.
#[derive(Clone, Copy)]
struct Wire {
    is_socketio: bool,
    /// A command.
    ping: &'static [u8],
    /// Its reply.
    reply: &'static str,
    /// What stands around what a command has as padding.
    padding: [&'static str; 2],
    /// No command, and the answer to it.
    bad: &'static [u8],
    bad_frame: [&'static str; 2],
}

const CHAT: Wire = Wire {
    is_socketio: false,
    ping: br#"{"id":2,"ping":{}}"#,
    reply: r#"{"id":2,"ping":{}}"#,
    padding: [r#"{"id":2,"ping":{"pad":""#, r#""}}"#],
    bad: b"{}",
    bad_frame: [r#"{"error":"#, "}"],
};

const SOCKETIO: Wire = Wire {
    is_socketio: true,
    ping: br#"4210001["ping",{}]"#,
    reply: r#"4310001[{"ok":{}}]"#,
    padding: [r#"4210001["ping",{"pad":""#, r#""}]"#],
    bad: b"42{}",
    bad_frame: [r#"42["error","#, "]"],
};

/// What is sent at once, and what must come back before the next is sent.
type Step = (Vec<u8>, Vec<Got>);

struct Case {
    section: &'static str,
    name: String,
    steps: Vec<Step>,
    /// It ends with a close that the client did not ask for.
    is_offence: bool,
}

fn case(section: &'static str, name: impl Into<String>, sent: Vec<u8>, got: Vec<Got>) -> Case {
    Case { section, name: name.into(), steps: vec![(sent, got)], is_offence: false }
}

/// Sent, and closed with this code.
fn closes(section: &'static str, name: impl Into<String>, sent: Vec<u8>, code: u16) -> Case {
    Case { is_offence: true, ..echoes(section, name, sent, code) }
}

/// The client closes with this code, and has it back.
fn echoes(section: &'static str, name: impl Into<String>, sent: Vec<u8>, code: u16) -> Case {
    case(section, name, sent, vec![Got::Close(Some(code))])
}

/// Sent, and answered as the command.
fn replies(section: &'static str, name: impl Into<String>, sent: Vec<u8>) -> Case {
    case(section, name, sent, vec![reply()])
}

/// Stands for the reply of the wire.
fn reply() -> Got {
    Got::Text(CHAT.reply.to_owned())
}

fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, payload.len() as u8], payload].concat()
}

impl Wire {
    /// A command of exactly so many bytes.
    fn padded(&self, bytes: usize) -> Vec<u8> {
        let [start, end] = self.padding;
        format!("{start}{}{end}", "x".repeat(bytes - start.len() - end.len())).into_bytes()
    }

    /// The command in frames of these lengths and the rest.
    fn fragmented(&self, lengths: &[usize]) -> Vec<u8> {
        let (mut sent, mut rest) = (Vec::new(), self.ping);
        for (number, &length) in lengths.iter().enumerate() {
            let (piece, tail) = rest.split_at(length);
            sent.extend(frame(u8::from(number == 0), piece));
            rest = tail;
        }
        sent.extend(frame(0x80, rest));
        sent
    }

    /// The answer to what is no command.
    fn bad_frame(&self, message: &str) -> Got {
        let [start, end] = self.bad_frame;
        Got::Text(format!(
            r#"{start}{{"code":"bad_frame","message":"{message}","temporary":false,"definite":true}}{end}"#
        ))
    }
}

fn framing(wire: Wire) -> Vec<Case> {
    let mut cases = vec![
        replies("5.2", "a text frame", frame(0x81, wire.ping)),
        replies(
            "5.3",
            "a mask of zeros",
            [&[0x81, 0x80 | wire.ping.len() as u8, 0, 0, 0, 0], wire.ping].concat(),
        ),
        closes("5.1", "a text without a mask", unmasked(0x81, wire.ping), 1002),
        closes("5.1", "a ping without a mask", unmasked(0x89, b"x"), 1002),
        closes("5.1", "a close without a mask", unmasked(0x88, &1000u16.to_be_bytes()), 1002),
        closes("5.6", "a binary frame", frame(0x82, wire.ping), 1003),
        closes("5.6", "an empty binary frame", frame(0x82, b""), 1003),
        closes("5.6", "the first fragment of a binary message", frame(0x02, wire.ping), 1003),
        replies("5.2", "a length of 125 in 7 bits", frame(0x81, &wire.padded(125))),
        replies("5.2", "a length of 126 in 16 bits", frame(0x81, &wire.padded(126))),
        replies("5.2", "a length of 65 535 in 16 bits", frame(0x81, &wire.padded(65_535))),
        replies("5.2", "a length of 65 536 in 64 bits", frame(0x81, &wire.padded(65_536))),
        replies("5.2", "frame_bytes_max − 1", frame(0x81, &wire.padded(131_071))),
        replies("5.2", "frame_bytes_max", frame(0x81, &wire.padded(131_072))),
        closes("7.4.1", "frame_bytes_max + 1", frame(0x81, &wire.padded(131_073)), 1009),
        closes(
            "5.2",
            "125 in 16 bits",
            with_length(0x81, &[0xfe, 0, 125], &wire.padded(125)),
            1002,
        ),
        closes(
            "5.2",
            "18 in 64 bits",
            with_length(0x81, &[0xff, 0, 0, 0, 0, 0, 0, 0, 18], wire.ping),
            1002,
        ),
        closes(
            "5.2",
            "65 535 in 64 bits",
            with_length(0x81, &[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], &wire.padded(65_535)),
            1002,
        ),
        closes(
            "5.2",
            "the top bit of 64",
            with_length(0x81, &[0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], b""),
            1002,
        ),
        closes(
            "7.4.1",
            "2⁶³ − 1",
            with_length(0x81, &[0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], b""),
            1009,
        ),
        case("5.2", "two frames at once", frame(0x81, wire.ping).repeat(2), vec![reply(), reply()]),
    ];
    for (bit, name) in [(0x40, "RSV1"), (0x20, "RSV2"), (0x10, "RSV3")] {
        cases.push(closes("5.2", format!("{name} of a text"), frame(0x81 | bit, wire.ping), 1002));
        cases.push(closes("5.2", format!("{name} of a ping"), frame(0x89 | bit, b""), 1002));
    }
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        let sent = frame(0x80 | opcode, b"");
        cases.push(closes("5.2", format!("reserved opcode {opcode:#x}"), sent, 1002));
    }
    cases
}

fn fragments(wire: Wire) -> Vec<Case> {
    let start = || frame(0x01, &wire.ping[..5]);
    let rest = || frame(0x80, &wire.ping[5..]);
    let pong = |payload: &[u8]| Got::Pong(payload.to_vec());
    let message = match wire.is_socketio {
        false => "id must be an integer of at least 1, once",
        true => "not a frame: EOF while parsing a value at line 1 column 0",
    };
    let many = |frames: usize| [start(), frame(0x00, b"").repeat(frames - 2), rest()].concat();
    let halves = |bytes: usize| {
        let whole = wire.padded(bytes);
        let (first, second) = whole.split_at(bytes / 2);
        [frame(0x01, first), frame(0x80, second)].concat()
    };
    let interleaved = |name: &str, payload: &'static [u8]| Case {
        section: "5.4, 5.5",
        name: name.to_owned(),
        steps: vec![
            ([start(), frame(0x89, payload)].concat(), vec![pong(payload)]),
            (rest(), vec![reply()]),
        ],
        is_offence: false,
    };
    vec![
        replies("5.4", "two fragments", wire.fragmented(&[9])),
        replies("5.4", "three fragments", wire.fragmented(&[3, 9])),
        replies("5.4", "an empty first fragment", wire.fragmented(&[0, 9])),
        replies("5.4", "an empty last fragment", wire.fragmented(&[9, 9])),
        replies("5.4", "a byte in each", wire.fragmented(&[1; 17])),
        closes("5.4", "a last fragment without a first", frame(0x80, wire.ping), 1002),
        closes("5.4", "a middle fragment without a first", frame(0x00, wire.ping), 1002),
        closes(
            "5.4",
            "a fragment after the last",
            [frame(0x81, wire.bad), frame(0x80, b"")].concat(),
            1002,
        )
        .after(vec![wire.bad_frame(message)]),
        closes("5.4", "a text within a text", [start(), frame(0x81, wire.ping)].concat(), 1002),
        closes("5.4", "the start of a text within a text", [start(), start()].concat(), 1002),
        // Neither may stand here: what is told first is that it is never spoken.
        closes("5.4, 5.6", "a binary within a text", [start(), frame(0x82, b"")].concat(), 1003),
        interleaved("a ping between fragments", b"between"),
        interleaved("an empty ping between fragments", b""),
        interleaved("a ping of 125 bytes between fragments", &[b'p'; 125]),
        replies(
            "5.4, 5.5",
            "a pong between fragments",
            [start(), frame(0x8a, b"?"), rest()].concat(),
        ),
        case(
            "5.4, 5.5.1",
            "a close between fragments",
            [start(), close(1000, b"")].concat(),
            vec![Got::Close(Some(1000))],
        ),
        replies("5.4", "fragments_max − 1", many(255)),
        replies("5.4", "fragments_max", many(256)),
        closes("7.4.1", "fragments_max + 1", many(257), 1009),
        replies("5.4", "message_bytes_max − 1 in two fragments", halves(131_071)),
        replies("5.4", "message_bytes_max in two fragments", halves(131_072)),
        closes("7.4.1", "message_bytes_max + 1 in two fragments", halves(131_073), 1009),
    ]
}

impl Case {
    /// The same with answers that come before.
    fn after(mut self, mut before: Vec<Got>) -> Self {
        before.append(&mut self.steps[0].1);
        self.steps[0].1 = before;
        self
    }
}

fn control_frames(wire: Wire) -> Vec<Case> {
    let pong = |payload: &[u8]| vec![Got::Pong(payload.to_vec())];
    let mut cases = vec![
        case("5.5.2", "an empty ping", frame(0x89, b""), pong(b"")),
        case(
            "5.5.2",
            "a ping that is no text",
            frame(0x89, &[0xff, 0x00, 0xfe]),
            pong(&[0xff, 0, 0xfe]),
        ),
        case("5.5.2", "a ping of 124 bytes", frame(0x89, &[b'p'; 124]), pong(&[b'p'; 124])),
        case("5.5.2", "a ping of 125 bytes", frame(0x89, &[b'p'; 125]), pong(&[b'p'; 125])),
        closes("5.5", "a ping of 126 bytes", frame(0x89, &[b'p'; 126]), 1002),
        replies(
            "5.5.3",
            "a pong that nobody asked for",
            [frame(0x8a, b""), frame(0x81, wire.ping)].concat(),
        ),
        replies(
            "5.5.3",
            "a pong of 125 bytes",
            [frame(0x8a, &[0; 125]), frame(0x81, wire.ping)].concat(),
        ),
        closes("5.5", "a pong of 126 bytes", frame(0x8a, &[0; 126]), 1002),
        closes("5.5", "a close of 126 bytes", close(1000, &[b'x'; 124]), 1002),
    ];
    for (first, name) in [(0x09, "ping"), (0x0a, "pong"), (0x08, "close")] {
        cases.push(closes("5.5", format!("a {name} in fragments"), frame(first, b""), 1002));
    }
    cases
}

fn texts(wire: Wire) -> Vec<Case> {
    let mut cases = Vec::new();
    for (bytes, name) in [
        (&[0xff][..], "no byte of UTF-8"),
        (&[0x80], "a byte that only goes on"),
        (&[0xc0, 0x80], "an overlong form of U+0000"),
        (&[0xe0, 0x80, 0xaf], "an overlong form of a slash"),
        (&[0xed, 0xa0, 0x80], "half of a surrogate pair"),
        (&[0xf4, 0x90, 0x80, 0x80], "beyond U+10FFFF"),
        (&[0xf8, 0x88, 0x80, 0x80, 0x80], "a form of five bytes"),
        (&[0xe2, 0x82], "a character cut off at the end"),
    ] {
        let whole = [b"{\"", bytes].concat();
        cases.push(closes("8.1", name, frame(0x81, &whole), 1007));
        let cut = whole.len() - 1;
        let pieces = [frame(0x01, &whole[..cut]), frame(0x80, &whole[cut..])].concat();
        cases.push(closes("8.1", format!("{name}, over two fragments"), pieces, 1007));
    }
    cases.push(closes("8.1", "known from the first fragment", frame(0x01, b"\xff"), 1007));
    let [start, end] = wire.padding;
    let smiling = format!("{start}κόσμε 🙂{end}").into_bytes();
    for cut in 0..=smiling.len() {
        let pieces = [frame(0x01, &smiling[..cut]), frame(0x80, &smiling[cut..])].concat();
        cases.push(replies("5.6, 8.1", format!("characters of many bytes, cut at {cut}"), pieces));
    }
    cases
}

fn closing(wire: Wire) -> Vec<Case> {
    let mut cases = vec![
        case("5.5.1", "an empty close", frame(0x88, b""), vec![Got::Close(None)]),
        closes("5.5.1", "a close of one byte", frame(0x88, &[3]), 1002),
        echoes("5.5.1", "a reason", close(1000, "adiós".as_bytes()), 1000),
        echoes("5.5.1", "a reason of 123 bytes", close(1000, &[b'x'; 123]), 1000),
        closes("5.5.1, 8.1", "a reason that is no UTF-8", close(1000, &[0xff]), 1007),
        echoes(
            "5.5.1",
            "a command after the close",
            [close(1000, b""), frame(0x81, wire.ping)].concat(),
            1000,
        ),
        echoes(
            "5.5.1",
            "a ping after the close",
            [close(1000, b""), frame(0x89, b"x")].concat(),
            1000,
        ),
        echoes("5.5.1", "two closes", [close(1000, b""), close(1001, b"")].concat(), 1000),
        echoes(
            "5.5.1",
            "rubbish after the close",
            [close(1000, b""), vec![0xff; 100]].concat(),
            1000,
        ),
    ];
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ] {
        cases.push(echoes("7.4", format!("code {code}"), close(code, b""), code));
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.push(closes(
            "7.4",
            format!("code {code}, which nobody may send"),
            close(code, b""),
            1002,
        ));
    }
    cases
}

#[rstest]
#[case::chat(CHAT)]
#[case::socketio(SOCKETIO)]
#[tokio::test]
async fn every_case_of_the_table(#[case] wire: Wire) {
    let server = Server::start().await;
    let address = server.address();
    let (mut wrong, mut count) = (Vec::new(), 0);
    let parts = [framing(wire), fragments(wire), control_frames(wire), texts(wire), closing(wire)];
    for case in parts.into_iter().flatten() {
        count += 1;
        if let Err(problem) = play(wire, &address, &case).await {
            wrong.push(format!("§{} {}: {problem}", case.section, case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
    println!("{count} cases");
}

/// What must come where the table says so.
fn on(wire: Wire, case: &Case, expected: &Got) -> Vec<Got> {
    match expected {
        Got::Close(Some(code)) if wire.is_socketio && case.is_offence => {
            // Whoever should not come back is sent away; the engine's own close comes between.
            let is_final = matches!(code, 1002 | 1003 | 1007 | 1009 | 4500..);
            let texts = ["closing", "41", "1"].into_iter().filter(|text| is_final || *text != "41");
            texts.map(|text| Got::Text(text.to_owned())).chain([Got::Close(None)]).collect()
        }
        // tungstenite does not know it, and takes it for an offence.
        Got::Close(Some(1014)) if wire.is_socketio => vec![Got::Close(Some(1002))],
        expected if *expected == reply() => vec![Got::Text(wire.reply.to_owned())],
        expected => vec![expected.clone()],
    }
}

/// The next, `closing` by its code only: the reason is for people.
async fn next(raw: &mut Raw, expected: &Got) -> Got {
    let got = raw.read().await;
    match (&got, expected) {
        (Got::Text(text), Got::Close(Some(code)))
            if text.starts_with(&format!(r#"42["closing",{{"code":{code},"#)) =>
        {
            Got::Text("closing".to_owned())
        }
        _ => got,
    }
}

async fn play(wire: Wire, address: &str, case: &Case) -> Result<(), String> {
    let user = unique("ann");
    let mut raw = match wire.is_socketio {
        false => Raw::greeted(address, &user).await,
        true => Raw::greeted_by_socketio(address, &user).await,
    };
    let mut is_closed = false;
    for (sent, all) in &case.steps {
        raw.write(sent).await;
        for of_table in all {
            for expected in on(wire, case, of_table) {
                let got = next(&mut raw, of_table).await;
                if got != expected {
                    return Err(format!("{got:?} came instead of {expected:?}"));
                }
                is_closed |= matches!(got, Got::Close(_));
            }
        }
    }
    if !is_closed {
        raw.write(&close(1000, b"")).await;
        let got = raw.read().await;
        if got != Got::Close(Some(1000)) {
            return Err(format!("{got:?} came beside the answers"));
        }
    }
    // §7.1.1: the server closes the connection first; after its close frame it says nothing (§5.5.1).
    raw.shut().await;
    match raw.read().await {
        Got::End => Ok(()),
        got => Err(format!("{got:?} came after the close")),
    }
}

#[tokio::test]
async fn a_frame_that_comes_byte_by_byte_is_one_frame() {
    let server = Server::start().await;
    let mut raw = Raw::greeted(&server.address(), "ann").await;
    for sent in [CHAT.fragmented(&[3, 9]), frame(0x89, b"ping"), frame(0x81, &CHAT.padded(130))] {
        for byte in sent {
            raw.write(&[byte]).await;
            tokio::task::yield_now().await;
        }
    }
    let mut got = vec![raw.read().await, raw.read().await, raw.read().await];
    got.sort_by_key(|got| matches!(got, Got::Pong(_)));
    assert_eq!(got, [reply(), reply(), Got::Pong(b"ping".to_vec())]);
}
