//! What scripts take and answer, as types.

use std::collections::BTreeMap;
use std::sync::Arc;

use redis::Value;

use crate::model::{AckSet, Cid, Count, Membership, Message, MessageType, Roster, Seq, UserName};
use crate::persistence::{Append, EngineError};

/// What a script answered, read from the left.
pub struct Reply(std::vec::IntoIter<Value>);

impl Reply {
    /// An answer is always an array.
    pub fn new(value: Value) -> Result<Self, EngineError> {
        match value {
            Value::Array(values) => Ok(Self(values.into_iter())),
            _ => Err(unreadable("a reply")),
        }
    }

    fn next(&mut self) -> Result<Value, EngineError> {
        self.0.next().ok_or_else(|| unreadable("a reply that ends early"))
    }

    /// The next word.
    pub fn text(&mut self) -> Result<String, EngineError> {
        match self.next()? {
            Value::BulkString(bytes) => {
                String::from_utf8(bytes).map_err(|_| unreadable("text that is not UTF-8"))
            }
            Value::SimpleString(text) => Ok(text),
            Value::Int(number) => Ok(number.to_string()),
            _ => Err(unreadable("a word")),
        }
    }

    /// The next number; negative stands for none.
    pub fn number(&mut self) -> Result<Option<u64>, EngineError> {
        match self.next()? {
            Value::Int(number) => Ok(u64::try_from(number).ok()),
            Value::BulkString(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                text.parse().map(Some).map_err(|_| unreadable("a number"))
            }
            _ => Err(unreadable("a number")),
        }
    }

    /// The next number, which is there.
    pub fn count(&mut self) -> Result<u64, EngineError> {
        self.number()?.ok_or_else(|| unreadable("a count below 0"))
    }

    /// The next yes or no.
    pub fn flag(&mut self) -> Result<bool, EngineError> {
        Ok(self.count()? != 0)
    }

    /// The next capped count.
    pub fn capped(&mut self) -> Result<Count, EngineError> {
        Ok(Count { count: self.count()? as usize, more: self.flag()? })
    }

    /// The next acknowledgement: `generation up_to lo hi …`.
    pub fn acked(&mut self) -> Result<AckSet, EngineError> {
        let text = self.text()?;
        let mut numbers = text.split(' ').skip(1).map(|word| word.parse().map(Seq));
        let mut next = || numbers.next().transpose().map_err(|_| unreadable("an acknowledgement"));
        let mut acked = AckSet::up_to(next()?.unwrap_or_default());
        while let (Some(lo), Some(hi)) = (next()?, next()?) {
            acked.ranges.push((lo, hi));
        }
        if !acked.is_normal() {
            return Err(unreadable("an acknowledgement"));
        }
        Ok(acked)
    }

    /// The next roster: version, owner, and its members.
    pub fn roster(&mut self) -> Result<Roster, EngineError> {
        let unreadable = || unreadable("a roster");
        let version = self.count()?;
        let owner = UserName::new(&self.text()?).ok();
        let Value::Array(fields) = self.next()? else { return Err(unreadable()) };
        let (mut fields, mut members) = (Self(fields.into_iter()), BTreeMap::new());
        while let Ok(field) = fields.text() {
            let user = field.strip_prefix("m ").and_then(|user| UserName::new(user).ok());
            let text = fields.text()?;
            let mut numbers = text.split(' ').map(str::parse::<u64>);
            let numbers = (numbers.next(), numbers.next(), numbers.next());
            let (Some(user), (Some(Ok(joined)), Some(Ok(since)), Some(Ok(life)))) = (user, numbers)
            else {
                return Err(unreadable());
            };
            members.insert(user, Membership { joined, since: Seq(since), life });
        }
        Ok(Roster { version, owner, members })
    }

    /// The next list of messages.
    pub fn messages(&mut self) -> Result<Vec<Arc<Message>>, EngineError> {
        let Value::Array(items) = self.next()? else { return Err(unreadable("messages")) };
        items
            .into_iter()
            .map(|item| {
                let Value::BulkString(bytes) = item else { return Err(unreadable("a message")) };
                let text = std::str::from_utf8(&bytes).map_err(|_| unreadable("a message"))?;
                message(text).map(Arc::new).ok_or_else(|| unreadable("a message"))
            })
            .collect()
    }
}

/// `seq wire ts at late from cid type content`.
fn message(text: &str) -> Option<Message> {
    let mut words = text.splitn(9, ' ');
    let seq = Seq(words.next()?.parse().ok()?);
    let _wire = words.next()?;
    let (ts, at) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let late = words.next()? == "1";
    let from = UserName::new(words.next()?).ok()?;
    let cid = Cid::new(words.next()?).ok()?;
    let kind = MessageType::new(words.next()?).ok()?;
    Some(Message { seq, from, cid, kind, content: words.next()?.to_owned(), ts, at, late })
}

/// A message before it has its number; its bytes on the wire do not depend on what is not yet known.
pub fn unnumbered(append: &Append) -> Message {
    Message {
        seq: Seq::ZERO,
        from: append.sender.clone(),
        cid: append.cid.clone(),
        kind: append.kind.clone(),
        content: append.content.clone(),
        ts: 0,
        at: 0,
        late: false,
    }
}

/// The part of a stored message that its sender gives: `from cid type content`.
pub fn given_text(message: &Message) -> String {
    format!("{} {} {} {}", message.from, message.cid, message.kind, message.content)
}

fn unreadable(what: &str) -> EngineError {
    EngineError::Internal(format!("redis: the store answered {what} that this version cannot read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_as_it_was() {
        let read = message("7 180 5 9 1 ann c-1 text grüße  und\nmehr ").unwrap();
        assert_eq!((read.seq, read.ts, read.at, read.late), (Seq(7), 5, 9, true));
        assert_eq!(read.content, "grüße  und\nmehr ");
        assert_eq!(given_text(&read), "ann c-1 text grüße  und\nmehr ");
        assert!(message("7 180 5 9 1 ann c-1 text").is_none());
    }

    #[test]
    fn an_acknowledgement_is_read_with_its_ranges() {
        let mut reply = Reply::new(Value::Array(vec![Value::BulkString(b"1 3 5 6 9 12".to_vec())]));
        let acked = reply.as_mut().unwrap().acked().unwrap();
        assert_eq!(
            acked,
            AckSet { up_to: Seq(3), ranges: vec![(Seq(5), Seq(6)), (Seq(9), Seq(12))] }
        );
    }

    #[test]
    fn an_acknowledgement_that_none_makes_is_not_read() {
        for text in ["1 3 9 6", "1 3 4 6", "1 3 9 12 5 6", "1 18446744073709551615 0 0"] {
            let mut reply = Reply::new(Value::Array(vec![Value::BulkString(text.into())])).unwrap();
            assert!(reply.acked().is_err(), "{text}");
        }
    }
}
