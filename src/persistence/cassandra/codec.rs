//! Rows as messages, and messages as values of a statement.

use std::sync::Arc;

use scylla::DeserializeRow;
use scylla::value::CqlValue;

use super::failure::unreadable;
use super::rosters::RosterId;
use crate::model::{Cid, ConvId, Message, MessageType, Seq, UserName};
use crate::persistence::EngineError;

/// The values of one statement of a batch.
pub type Values = Vec<Option<CqlValue>>;

/// A message as rows hold it.
#[derive(Debug, DeserializeRow)]
#[cfg_attr(any(test, feature = "fuzzing"), derive(serde::Deserialize))]
pub struct MessageRow {
    seq: i64,
    sender: String,
    cid: String,
    kind: String,
    content: String,
    ts: i64,
    at: i64,
    late: bool,
}

/// A message in its bucket, beside what the bucket says of itself; of a bucket without a message only that.
#[derive(Debug, DeserializeRow)]
#[cfg_attr(any(test, feature = "fuzzing"), derive(serde::Deserialize))]
pub struct BucketRow {
    head: i64,
    high: i64,
    floor: i64,
    generation: i64,
    cuts: String,
    roster: Option<Vec<u8>>,
    seq: Option<i64>,
    sender: Option<String>,
    cid: Option<String>,
    kind: Option<String>,
    content: Option<String>,
    ts: Option<i64>,
    at: Option<i64>,
    late: Option<bool>,
    tag: Option<i64>,
}

/// What a bucket says of itself, as it is stored.
#[derive(Debug, DeserializeRow)]
#[cfg_attr(any(test, feature = "fuzzing"), derive(serde::Deserialize))]
pub struct StaticsRow {
    head: i64,
    high: i64,
    floor: i64,
    generation: i64,
    cuts: String,
    roster: Option<Vec<u8>>,
}

/// What a bucket says of itself.
#[derive(Debug)]
pub struct Statics {
    /// The highest number in it, or before it where it holds none yet.
    pub head: Seq,
    /// The highest `ts` in the conversation so far.
    pub high: u64,
    /// The highest `ts` before the bucket.
    pub floor: u64,
    /// The life that wrote last.
    pub generation: u64,
    /// Where each life found the end.
    pub cuts: Vec<(u64, Seq)>,
    /// Who is in the group; `None` where it is none.
    pub roster: Option<RosterId>,
}

/// A stored message, and the batch that wrote it.
#[derive(Debug, Clone)]
pub struct Row {
    /// The message.
    pub message: Arc<Message>,
    /// Its batch.
    pub tag: i64,
}

#[cfg(test)]
impl Row {
    /// Of ann, named after its number.
    pub fn sample(seq: Seq, ts: u64) -> Self {
        let message = Message {
            seq,
            from: UserName::new("ann").unwrap(),
            cid: Cid::new(&format!("c{seq}")).unwrap(),
            kind: MessageType::new("text").unwrap(),
            content: String::new(),
            ts,
            at: 0,
            late: false,
        };
        Self { message: Arc::new(message), tag: 1 }
    }
}

impl MessageRow {
    /// As a message. Everything was checked before it was stored, so an error means that somebody else wrote it.
    pub fn message(self) -> Result<Arc<Message>, EngineError> {
        let name = |text: String| UserName::new(&text).map_err(|_| unreadable("a sender"));
        Ok(Arc::new(Message {
            seq: Seq(number(self.seq)),
            from: name(self.sender)?,
            cid: Cid::new(&self.cid).map_err(|_| unreadable("a cid"))?,
            kind: MessageType::new(&self.kind).map_err(|_| unreadable("a type"))?,
            content: self.content,
            ts: number(self.ts),
            at: number(self.at),
            late: self.late,
        }))
    }
}

impl BucketRow {
    /// What the bucket says of itself.
    pub fn statics(&mut self) -> Result<Statics, EngineError> {
        let Self { head, high, floor, generation, .. } = *self;
        let (cuts, roster) = (std::mem::take(&mut self.cuts), self.roster.take());
        StaticsRow { head, high, floor, generation, cuts, roster }.statics()
    }

    /// The message, and its batch; `None` in a bucket that holds none.
    pub fn row(self) -> Result<Option<Row>, EngineError> {
        let Some(seq) = self.seq else { return Ok(None) };
        let whole = || {
            let Self { sender, cid, kind, content, ts, at, late, tag, .. } = self;
            let (sender, cid, kind, content) = (sender?, cid?, kind?, content?);
            let message =
                MessageRow { seq, sender, cid, kind, content, ts: ts?, at: at?, late: late? };
            Some((message, tag?))
        };
        let (message, tag) = whole().ok_or_else(|| unreadable("half a message"))?;
        Ok(Some(Row { message: message.message()?, tag }))
    }
}

impl Statics {
    /// Which of two is older: messages and changes of a group come in one order.
    pub fn position(&self) -> (u64, Seq, u64) {
        (self.generation, self.head, self.roster.map_or(0, RosterId::version))
    }
}

impl StaticsRow {
    /// As it is meant.
    pub fn statics(self) -> Result<Statics, EngineError> {
        let roster = self.roster.as_deref().map(RosterId::of).transpose()?;
        Ok(Statics {
            head: Seq(number(self.head)),
            high: number(self.high),
            floor: number(self.floor),
            generation: number(self.generation),
            cuts: cuts_of(&self.cuts)?,
            roster,
        })
    }
}

/// A number that is never negative; everything that is stored is below 2⁵³.
pub fn number(value: i64) -> u64 {
    value.cast_unsigned()
}

/// As the driver takes it.
pub fn bigint(value: u64) -> i64 {
    value.cast_signed()
}

/// The values of `insert.cql`.
pub fn insert_values(conv: ConvId, bucket: u64, row: &Row) -> Values {
    let Message { seq, from, cid, kind, content, ts, at, late } = &*row.message;
    let text = |text: &str| Some(CqlValue::Text(text.to_owned()));
    vec![
        Some(CqlValue::Blob(conv.as_bytes().to_vec())),
        Some(CqlValue::BigInt(bigint(bucket))),
        Some(CqlValue::BigInt(bigint(seq.0))),
        text(from.as_str()),
        text(cid.as_str()),
        text(kind.as_str()),
        text(content),
        Some(CqlValue::BigInt(bigint(*ts))),
        Some(CqlValue::BigInt(bigint(*at))),
        Some(CqlValue::Boolean(*late)),
        Some(CqlValue::BigInt(row.tag)),
    ]
}

/// `"generation head "` pairs as they stand in a bucket.
fn cuts_of(text: &str) -> Result<Vec<(u64, Seq)>, EngineError> {
    let numbers: Result<Vec<u64>, _> = text.split_whitespace().map(str::parse).collect();
    let numbers = numbers.map_err(|_| unreadable("cuts"))?;
    Ok(numbers.chunks_exact(2).map(|pair| (pair[0], Seq(pair[1]))).collect())
}

/// The inverse.
pub fn cuts_text(cuts: &[(u64, Seq)]) -> String {
    cuts.iter().map(|(began, head)| format!("{began} {head} ")).collect()
}
