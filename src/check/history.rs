//! What clients did and saw, line by line: the only thing that the checker knows.
//!
//! A history is JSON lines. An operation is an `invoke` and, later, its `ok`, `fail` (it certainly
//! did not and will not happen) or `info` (nobody knows). A process has one operation outstanding
//! and is not used again after an `info`. What arrives by itself (`recv`), connections and
//! the acts of a nemesis are single `info`-less lines of type `ok`.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::model::{Message, Seq};
use crate::protocol::ErrorCode;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the history, from 0, without gaps.
    pub index: u64,
    /// When, on the harness's one monotonic clock; never decreasing.
    pub time_ns: u64,
    /// Whose operation: one lane of one session.
    pub process: u64,
    /// The session (one connection, from `hello` to its end) that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// The server process, as `hello` named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Which conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conv: Option<String>,
    /// Begin or end of what, with its value.
    #[serde(flatten)]
    pub act: Act,
}

/// `type`, `f` and `value` of a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Act {
    /// An operation begins.
    Invoke {
        /// The operation and what is asked.
        #[serde(flatten)]
        asked: Asked,
    },
    /// An operation succeeded, or something happened.
    Ok {
        /// The operation and what was answered.
        #[serde(flatten)]
        seen: Seen,
    },
    /// An operation certainly did not and will not happen.
    Fail {
        /// Which operation.
        f: Function,
        /// Why.
        error: Failure,
    },
    /// An operation may have happened, or may yet.
    Info {
        /// Which operation.
        f: Function,
        /// What is known of the reason.
        error: Failure,
    },
}

/// The operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are the methods of the protocol")]
pub enum Function {
    Send,
    Read,
    Open,
    Ack,
    List,
    Leave,
}

/// Why an operation did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The server's error code; absent when the connection broke or no answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// For people.
    pub message: String,
}

/// `f` and `value` of an invoke.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "f", content = "value", rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields are those of the protocol's methods")]
pub enum Asked {
    Send { cid: String, digest: String, ts: Option<u64> },
    Read(ReadAsked),
    Open { limit: usize, resume: Option<(String, Seq)>, echo: bool, push: bool },
    Ack { up_to: Option<Seq>, ranges: Vec<(Seq, Seq)> },
    List { first_page: bool },
    Leave {},
}

/// What a `read` asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadAsked {
    /// Which kind.
    pub kind: ReadKind,
    /// Most messages.
    pub limit: usize,
    /// Counts the pages of one paged read, from 0; `chain` says which read.
    pub page: u64,
    /// All pages of one read share this number.
    pub chain: u64,
    /// One of the last reads, after everything was quiet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_final: bool,
}

/// The three kinds of `read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields are those of the protocol's read")]
pub enum ReadKind {
    Range { from: u64, to: u64, descending: bool },
    After { after_seq: Seq },
    Late {},
}

/// `f` and `value` of an ok.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "f", content = "value", rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields are those of the protocol's replies")]
pub enum Seen {
    Send {
        seq: Seq,
        ts: u64,
        late: bool,
        dup: bool,
        epoch: String,
    },
    Read {
        epoch: String,
        items: Vec<Item>,
        complete: bool,
    },
    Open(Box<OpenSeen>),
    Ack {
        up_to: Seq,
        ranges: Vec<(Seq, Seq)>,
    },
    List {
        entries: Vec<ListSeen>,
        complete: bool,
    },
    Leave {},
    /// A pushed message.
    Recv {
        epoch: String,
        item: Item,
    },
    /// A session began.
    Connect {
        session: String,
        durability: String,
    },
    /// A session ended; `code` of the close frame where there was one.
    Close {
        code: Option<u16>,
        by_us: bool,
    },
    /// A conversation's stream was replaced.
    Reset {
        epoch: String,
    },
    /// Something was broken or healed.
    Nemesis {
        what: String,
    },
}

/// What `open` answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OpenSeen {
    /// The life of the store.
    pub epoch: String,
    /// Number of the newest message.
    pub head: Seq,
    /// The page, or the resumed messages.
    pub items: Vec<Item>,
    /// Unread late messages beside the page; absent when resumed.
    pub late: Option<Vec<Item>>,
    /// There are more late ones than `late` holds.
    pub late_more: bool,
    /// Acknowledged up to here.
    pub acked_up_to: Seq,
    /// Acknowledged above.
    pub acked_ranges: Vec<(Seq, Seq)>,
    /// Unread count.
    pub unread: usize,
    /// There may be more.
    pub unread_more: bool,
    /// Unread late count.
    pub unread_late: usize,
    /// Unread on-time messages before the page.
    pub unread_before: Option<usize>,
    /// Whether the reply admits a gap.
    pub gap: Option<bool>,
    /// There is nothing older (no `next`).
    pub complete: bool,
    /// Whether the resume was granted.
    pub recovered: Option<bool>,
}

/// One entry of `list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListSeen {
    /// The conversation.
    pub conv: String,
    /// Its head.
    pub head: Seq,
    /// Unread count.
    pub unread: usize,
    /// Its newest message.
    pub newest: Item,
}

/// A message as somebody saw it: `[seq, cid, digest, ts, late, from]`. The digest is of what was
/// received, computed by the harness; the content says what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ItemTuple", into = "ItemTuple")]
pub struct Item {
    /// Its number.
    pub seq: Seq,
    /// The sender's name for it.
    pub cid: String,
    /// Digest of the content as received.
    pub digest: String,
    /// Its time, ms.
    pub ts: u64,
    /// Flagged as late.
    pub late: bool,
    /// The sender.
    pub from: String,
}

type ItemTuple = (Seq, String, String, u64, bool, String);

impl From<ItemTuple> for Item {
    fn from((seq, cid, digest, ts, late, from): ItemTuple) -> Self {
        Self { seq, cid, digest, ts, late, from }
    }
}

impl From<Item> for ItemTuple {
    fn from(item: Item) -> Self {
        (item.seq, item.cid, item.digest, item.ts, item.late, item.from)
    }
}

impl Item {
    /// A message as it was received, with the digest of its content.
    pub fn of(message: &Message, digest: String) -> Self {
        Self {
            seq: message.seq,
            cid: message.cid.as_str().to_owned(),
            digest,
            ts: message.ts,
            late: message.late,
            from: message.from.as_str().to_owned(),
        }
    }
}

/// Why a file is no history.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum HistoryError {
    #[error("the history cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("line {line} of the history is damaged: {problem}")]
    Damaged { line: u64, problem: String },
}

/// Writes one line.
pub fn write_event(writer: &mut impl Write, event: &Event) -> io::Result<()> {
    serde_json::to_writer(&mut *writer, event)?;
    writer.write_all(b"\n")
}

/// Reads a whole history; a line that is not one is named by its number, from 1.
pub fn read_history(reader: impl BufRead) -> Result<Vec<Event>, HistoryError> {
    let mut events: Vec<Event> = Vec::new();
    for (at, line) in reader.lines().enumerate() {
        let number = at as u64 + 1;
        let damaged = |problem: String| HistoryError::Damaged { line: number, problem };
        let line = line.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => damaged(error.to_string()),
            _ => HistoryError::Io(error),
        })?;
        let event: Event =
            serde_json::from_str(&line).map_err(|error| damaged(error.to_string()))?;
        if event.index != at as u64 {
            return Err(damaged(format!("index {} where {at} follows", event.index)));
        }
        if events.last().is_some_and(|last| last.time_ns > event.time_ns) {
            return Err(damaged("time goes backwards".to_owned()));
        }
        events.push(event);
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_comes_back_as_it_was_and_a_damaged_line_is_named() {
        let item = Item {
            seq: Seq(1),
            cid: "c".into(),
            digest: "d".into(),
            ts: 5,
            late: false,
            from: "ann".into(),
        };
        let acts = vec![
            Act::Invoke { asked: Asked::Send { cid: "c".into(), digest: "d".into(), ts: Some(5) } },
            Act::Ok {
                seen: Seen::Send { seq: Seq(1), ts: 5, late: false, dup: false, epoch: "e".into() },
            },
            Act::Ok { seen: Seen::Recv { epoch: "e".into(), item } },
            Act::Invoke { asked: Asked::Leave {} },
            Act::Info {
                f: Function::Leave,
                error: Failure { code: Some(ErrorCode::Timeout), message: "?".into() },
            },
        ];
        let (session, node) = (Some(7), Some("n".to_owned()));
        let (user, conv) = (Some("ann".to_owned()), Some("C".to_owned()));
        let events: Vec<Event> = (0u64..)
            .zip(acts)
            .map(|(index, act)| Event {
                index,
                time_ns: index * 10,
                process: 1,
                session,
                node: node.clone(),
                user: user.clone(),
                conv: conv.clone(),
                act,
            })
            .collect();
        let mut bytes = Vec::new();
        events.iter().for_each(|event| write_event(&mut bytes, event).unwrap());
        let text = String::from_utf8(bytes).unwrap();
        let first = r#"{"index":0,"time_ns":0,"process":1,"session":7,"node":"n","user":"ann","conv":"C","type":"invoke","f":"send","value":{"cid":"c","digest":"d","ts":5}}"#;
        assert_eq!(text.lines().next(), Some(first));
        assert_eq!(read_history(text.as_bytes()).unwrap(), events);

        let damaged = text.replacen("\"recv\"", "\"recieve\"", 1);
        let error = read_history(damaged.as_bytes()).unwrap_err();
        assert!(matches!(error, HistoryError::Damaged { line: 3, .. }), "{error}");
        let without_second = text.lines().enumerate().filter(|(at, _)| *at != 1);
        let cut: Vec<&str> = without_second.map(|(_, line)| line).collect();
        let error = read_history(cut.join("\n").as_bytes()).unwrap_err();
        assert!(matches!(error, HistoryError::Damaged { line: 2, .. }), "{error}");
    }
}
