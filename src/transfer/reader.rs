//! A file of an export, read line by line: what is handed out is in order, fits, and is as it was written.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::chain::{Chain, ContentHash};
use super::error::TransferError;
use super::line::{End, FORMAT, Line, Opening, Totals};
use crate::model::{ConvId, LIMITS, Message, Place, Seq, UserName};

/// Longest line: the largest message with every byte escaped, and the names around it.
const LINE_BYTES_MAX: usize = 8 << 20;

/// Reads a file from its beginning.
pub struct Reader {
    path: PathBuf,
    input: BufReader<File>,
    line: u64,
    bytes: u64,
    chain: Chain,
    all: ContentHash,
    open: Option<Open>,
    last_conv: Option<ConvId>,
    totals: Totals,
    has_header: bool,
    is_complete: bool,
}

/// The conversation that is being read.
struct Open {
    opening: Opening,
    digest: ContentHash,
    head: Seq,
    high_ts: u64,
    last_user: Option<UserName>,
    /// Who must have it, and was not seen so far: both of a direct chat.
    expected: Vec<UserName>,
    /// Everybody who has it, in a group.
    users: BTreeSet<UserName>,
    has_roster: bool,
}

/// Up to where a file is whole conversations.
#[derive(Debug, Clone)]
pub struct Whole {
    /// Bytes.
    pub bytes: u64,
    /// The chain up to there.
    pub chain: Chain,
    /// The last conversation.
    pub conv: Option<ConvId>,
    /// The digests up to there.
    pub all: ContentHash,
    /// What is in it so far.
    pub totals: Totals,
}

impl Reader {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Self, TransferError> {
        let failed = |source| TransferError::Io { path: path.to_owned(), source };
        let input = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
        Ok(Self {
            path: path.to_owned(),
            input,
            line: 0,
            bytes: 0,
            chain: Chain::default(),
            all: ContentHash::default(),
            open: None,
            last_conv: None,
            totals: Totals::default(),
            has_header: false,
            is_complete: false,
        })
    }

    /// Whether the last line was there.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The state between two conversations.
    pub fn whole(&self) -> Option<Whole> {
        let is_between = self.has_header && self.open.is_none() && !self.is_complete;
        is_between.then(|| Whole {
            bytes: self.bytes,
            chain: self.chain.clone(),
            conv: self.last_conv,
            all: self.all.clone(),
            totals: self.totals.clone(),
        })
    }

    /// The next line; `None` at the end of the file. A last line without its line feed was cut off: as good as the end, unless
    /// something follows.
    pub fn next(&mut self) -> Result<Option<Line>, TransferError> {
        let Some(text) = self.next_text()? else { return Ok(None) };
        self.line += 1;
        if self.line == 1 {
            // Another format may have another first line.
            let format = serde_json::from_slice::<Value>(&text).ok();
            let format = format.and_then(|line| line["export"]["format"].as_u64());
            if let Some(format) = format.filter(|&format| format != u64::from(FORMAT)) {
                return Err(self.wrong(format!(
                    "this is format {format}, and this version reads format {FORMAT}; use the chatctl that wrote it, or a newer one"
                )));
            }
        }
        let line: Line = serde_json::from_slice(&text)
            .map_err(|error| self.wrong(format!("it is no line of an export: {error}")))?;
        self.take(&line, &text).map_err(|reason| self.wrong(reason))?;
        self.bytes += text.len() as u64 + 1;
        self.chain.push(&text);
        Ok(Some(line))
    }

    fn next_text(&mut self) -> Result<Option<Vec<u8>>, TransferError> {
        let mut text = Vec::new();
        loop {
            let buffer = self
                .input
                .fill_buf()
                .map_err(|source| TransferError::Io { path: self.path.clone(), source })?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let (taken, is_whole) = match buffer.iter().position(|&byte| byte == b'\n') {
                Some(at) => (at, true),
                None => (buffer.len(), false),
            };
            text.extend_from_slice(&buffer[..taken]);
            self.input.consume(taken + usize::from(is_whole));
            if is_whole {
                return Ok(Some(text));
            }
            if text.len() > LINE_BYTES_MAX {
                self.line += 1;
                return Err(self.wrong("it is too long for a line of an export".to_owned()));
            }
        }
    }

    fn wrong(&self, reason: String) -> TransferError {
        TransferError::Line { path: self.path.clone(), line: self.line, reason }
    }

    /// Whether the line may stand here, and says what is true.
    fn take(&mut self, line: &Line, text: &[u8]) -> Result<(), String> {
        if self.is_complete {
            return Err("something follows the last line".to_owned());
        }
        if self.has_header == matches!(line, Line::Export(_)) {
            return Err(match self.has_header {
                true => "a second first line".to_owned(),
                false => "an export does not begin so".to_owned(),
            });
        }
        match (line, &mut self.open) {
            (Line::Export(_), _) => {
                self.has_header = true;
                Ok(())
            }
            (Line::Conversation(opening), None) => self.take_opening(opening, text),
            (Line::Complete(totals), None) => self.take_totals(totals),
            (Line::Message(message), Some(open)) => open.take_message(message, text),
            (Line::Member(member), Some(open)) => {
                let acked = member.acked.as_ref();
                open.take_member(&member.user, text)?;
                let fits = acked
                    .is_none_or(|acked| acked.is_normal() && acked.cut_to(open.head) == *acked);
                if fits { Ok(()) } else { Err("it acknowledges what is not there".to_owned()) }
            }
            (Line::Roster(roster), Some(open)) => {
                let is_sorted = roster.members.is_sorted_by(|one, other| one.user < other.user);
                let fits = roster.members.iter().all(|member| {
                    member.since <= open.head && (1..=roster.version).contains(&member.joined)
                });
                let has_it = roster.members.iter().all(|member| open.users.contains(&member.user));
                let owner = roster.owner.as_ref();
                let has_owner = owner
                    .is_none_or(|owner| roster.members.iter().any(|member| member.user == *owner));
                open.take_roster(text)?;
                let fits = is_sorted && fits && has_it && has_owner && roster.version > 0;
                if fits { Ok(()) } else { Err("no group has such members".to_owned()) }
            }
            (Line::End(end), Some(_)) => self.take_end(end),
            (Line::Conversation(_) | Line::Complete(_), Some(open)) => {
                Err(format!("conversation {} has no end", open.opening.conv))
            }
            _ => Err("it belongs to no conversation".to_owned()),
        }
    }

    fn take_opening(&mut self, opening: &Opening, text: &[u8]) -> Result<(), String> {
        let Opening { conv, place } = opening;
        let is_sorted = !matches!(place, Place::Direct(one, other) if one > other);
        if place.conv_id() != *conv || !is_sorted {
            return Err(format!("{conv} is not the id of that place"));
        }
        if self.last_conv.is_some_and(|last| last.as_bytes() >= conv.as_bytes()) {
            return Err(format!("conversation {conv} stands in the wrong place"));
        }
        let mut digest = ContentHash::default();
        digest.push(text);
        self.open = Some(Open {
            opening: opening.clone(),
            digest,
            head: Seq::ZERO,
            high_ts: 0,
            last_user: None,
            expected: place.participants().cloned().collect(),
            users: BTreeSet::new(),
            has_roster: false,
        });
        Ok(())
    }

    fn take_end(&mut self, end: &End) -> Result<(), String> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let conv = open.opening.conv;
        let digest = open.digest.hex();
        if open.head > Seq::ZERO && !open.expected.is_empty() {
            return Err(format!("direct chat {conv} is not in the list of {}", open.expected[0]));
        }
        if (end.conv, end.messages) != (conv, open.head.0) {
            return Err(format!("conversation {conv} has {} messages", open.head));
        }
        if end.digest != digest || end.chain != self.chain.hex() {
            return Err(format!(
                "the lines of conversation {conv}, or before it, are not as they were written"
            ));
        }
        self.all.push(digest.as_bytes());
        self.last_conv = Some(conv);
        self.totals.conversations += 1;
        self.totals.messages += end.messages;
        Ok(())
    }

    fn take_totals(&mut self, totals: &Totals) -> Result<(), String> {
        self.totals.chain = self.chain.hex();
        self.totals.digest = self.all.clone().hex();
        self.is_complete = true;
        if *totals == self.totals {
            Ok(())
        } else {
            Err("the file does not have what its last line says".to_owned())
        }
    }
}

impl Open {
    fn take_message(&mut self, message: &Message, text: &[u8]) -> Result<(), String> {
        if self.last_user.is_some() || self.has_roster {
            return Err("a message behind the members".to_owned());
        }
        if message.seq != self.head.next() {
            return Err(format!("message {} follows message {}", message.seq, self.head));
        }
        if message.late != (message.ts < self.high_ts) {
            return Err("late is not what the times before it say".to_owned());
        }
        if message.content.len() > LIMITS.content_bytes_max {
            return Err(format!("the content has more than {} bytes", LIMITS.content_bytes_max));
        }
        let of_direct = matches!(&self.opening.place, Place::Direct(one, other)
            if message.from != *one && message.from != *other);
        if of_direct {
            return Err("the sender is not in that direct chat".to_owned());
        }
        self.high_ts = self.high_ts.max(message.ts);
        self.head = message.seq;
        self.digest.push(text);
        Ok(())
    }

    fn take_member(&mut self, user: &UserName, text: &[u8]) -> Result<(), String> {
        if self.has_roster || self.last_user.as_ref().is_some_and(|last| last >= user) {
            return Err("a member in the wrong place".to_owned());
        }
        self.last_user = Some(user.clone());
        self.expected.retain(|expected| expected != user);
        if matches!(self.opening.place, Place::Group(_)) {
            self.users.insert(user.clone());
        }
        self.digest.push(text);
        Ok(())
    }

    fn take_roster(&mut self, text: &[u8]) -> Result<(), String> {
        if self.has_roster || !matches!(self.opening.place, Place::Group(_)) {
            return Err("a roster in the wrong place".to_owned());
        }
        self.has_roster = true;
        self.digest.push(text);
        Ok(())
    }
}
