//! Values of the tables as bytes, format 1.

use std::sync::Arc;

use super::tables::TableError;
use crate::model::{AckSet, Cid, Message, MessageType, Place, Roster, Seq, UserName};

/// A message with the highest `ts` committed before it: what lateness was decided by.
#[derive(Debug, Clone)]
pub struct Record {
    /// The message.
    pub message: Arc<Message>,
    /// Highest `ts` before it; 0 before the first.
    pub high_ts_before: u64,
}

impl Record {
    /// The highest `ts` up to and with this message.
    pub fn high_ts(&self) -> u64 {
        self.high_ts_before.max(self.message.ts)
    }
}

/// `late ts at high_ts_before`, then `from`, `cid`, `type` with a length byte each, then the content.
pub fn write_message(record: &Record, bytes: &mut Vec<u8>) {
    let message = &*record.message;
    let names = [message.from.as_str(), message.cid.as_str(), message.kind.as_str()];
    let names_bytes: usize = names.iter().map(|name| 1 + name.len()).sum();
    bytes.reserve(25 + names_bytes + message.content.len());
    bytes.push(u8::from(message.late));
    for number in [message.ts, message.at, record.high_ts_before] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    for name in names {
        bytes.push(name.len() as u8);
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes.extend_from_slice(message.content.as_bytes());
}

/// The same by itself.
#[cfg(any(test, feature = "fuzzing"))]
pub fn encode_message(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_message(record, &mut bytes);
    bytes
}

/// The inverse; an error means that the file holds something else than was written.
pub fn decode_message(seq: Seq, bytes: &[u8]) -> Result<Record, TableError> {
    decode(seq, bytes).ok_or_else(|| TableError::corrupt("message", seq))
}

fn decode(seq: Seq, bytes: &[u8]) -> Option<Record> {
    let mut reader = Reader(bytes);
    let late = reader.take(1)? == [1];
    let (ts, at, high_ts_before) = (reader.number()?, reader.number()?, reader.number()?);
    let from = UserName::new(reader.name()?).ok()?;
    let cid = Cid::new(reader.name()?).ok()?;
    let kind = MessageType::new(reader.name()?).ok()?;
    let content = std::str::from_utf8(reader.0).ok()?.to_owned();
    let message = Arc::new(Message { seq, from, cid, kind, content, ts, at, late });
    Some(Record { message, high_ts_before })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn name(&mut self) -> Option<&'a str> {
        let length = *self.take(1)?.first()?;
        std::str::from_utf8(self.take(usize::from(length))?).ok()
    }
}

/// JSON: rare, and read whole.
pub fn encode_roster(roster: &Roster) -> Vec<u8> {
    serde_json::to_vec(roster).unwrap_or_else(|_| unreachable!("a roster has only string keys"))
}

/// The inverse.
pub fn decode_roster(bytes: &[u8]) -> Result<Arc<Roster>, TableError> {
    serde_json::from_slice(bytes).map(Arc::new).map_err(|error| {
        TableError(format!("a stored roster cannot be read back: {error}; restore the data folder"))
    })
}

/// `up_to`, then `lo hi` of each range.
pub fn encode_acks(acked: &AckSet) -> Vec<u8> {
    let ranges = acked.ranges.iter().flat_map(|&(lo, hi)| [lo, hi]);
    std::iter::once(acked.up_to).chain(ranges).flat_map(|seq| seq.0.to_be_bytes()).collect()
}

/// The inverse.
pub fn decode_acks(bytes: &[u8]) -> Result<AckSet, TableError> {
    let mut reader = Reader(bytes);
    let mut decoded = None;
    if bytes.len() % 16 == 8 {
        let mut acked = AckSet::up_to(Seq(reader.number().unwrap_or_default()));
        while let (Some(lo), Some(hi)) = (reader.number(), reader.number()) {
            acked.ranges.push((Seq(lo), Seq(hi)));
        }
        decoded = Some(acked);
    }
    decoded
        .filter(AckSet::is_normal)
        .ok_or_else(|| TableError::corrupt("acknowledgement", Seq::ZERO))
}

/// A place as JSON: small, rare, and readable in a dump.
pub fn encode_place(place: &Place) -> Vec<u8> {
    serde_json::to_vec(place).unwrap_or_else(|_| unreachable!("a place has only string keys"))
}

/// The inverse.
pub fn decode_place(bytes: &[u8]) -> Result<Arc<Place>, TableError> {
    serde_json::from_slice(bytes).map(Arc::new).map_err(|_| TableError::corrupt("place", Seq::ZERO))
}

/// A number as key or value bytes.
pub fn decode_seq(bytes: &[u8]) -> Result<Seq, TableError> {
    let bytes: [u8; 8] =
        bytes.try_into().map_err(|_| TableError::corrupt("sequence number", Seq::ZERO))?;
    Ok(Seq(u64::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_as_it_was_and_a_cut_one_is_an_error() {
        let message = Message {
            seq: Seq(7),
            from: UserName::new("ann").unwrap(),
            cid: Cid::new("c-1").unwrap(),
            kind: MessageType::new("text").unwrap(),
            content: "grüße 😀".to_owned(),
            ts: 5,
            at: 9,
            late: true,
        };
        let bytes =
            encode_message(&Record { message: Arc::new(message.clone()), high_ts_before: 6 });
        let record = decode_message(Seq(7), &bytes).unwrap();
        assert_eq!(*record.message, message);
        assert_eq!(record.high_ts(), 6);
        assert!(decode_message(Seq(7), &bytes[..30]).is_err());
    }

    #[test]
    fn acknowledgements_come_back_as_they_were() {
        let acked = AckSet { up_to: Seq(3), ranges: vec![(Seq(5), Seq(6)), (Seq(9), Seq(12))] };
        assert_eq!(decode_acks(&encode_acks(&acked)).unwrap(), acked);
        assert!(decode_acks(&[0; 16]).is_err());
        assert!(decode_acks(&[]).is_err());
        let empty = AckSet { up_to: Seq(3), ranges: vec![(Seq(9), Seq(6))] };
        assert!(decode_acks(&encode_acks(&empty)).is_err(), "a range that ends before it begins");
    }
}
