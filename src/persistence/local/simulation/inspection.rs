//! Whether the tables belong together: what no batch may leave behind, nor half of one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::Unbounded;

use super::machine::DiskTables;
use crate::model::{Cid, ConvId, Seq, UserName};
use crate::persistence::local::codec::{decode_acks, decode_message};
use crate::persistence::local::keys::{self, Table};
use crate::persistence::local::tables::Tables;

/// Every message by its name, with its number.
pub type Found = BTreeMap<(ConvId, UserName, Cid), Seq>;

/// What is there; the text names what does not belong together.
pub fn inspect(tables: &DiskTables) -> Result<Found, String> {
    let rows = |table| {
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let view = tables.view();
        let mut add = |key: &[u8], value: &[u8]| {
            rows.insert(key.to_vec(), value.to_vec());
            Ok(true)
        };
        view.scan(table, (Unbounded, Unbounded), false, &mut add).unwrap();
        rows
    };
    let (mut found, mut heads) = (Found::new(), BTreeMap::<ConvId, (Seq, u64)>::new());
    let [mut by_time, mut dedupe, mut late] = [const { BTreeSet::<Vec<u8>>::new() }; 3];
    for (key, value) in rows(Table::Messages) {
        let (conv, seq) =
            (ConvId::from_bytes(&key[..ConvId::BYTES]).unwrap(), keys::trailing_seq(&key).unwrap());
        let message = decode_message(seq, &value).unwrap().message;
        let (head, high_ts) = heads.entry(conv).or_default();
        if seq != head.next() || message.late != (message.ts < *high_ts) {
            return Err(format!("{message:?} follows number {head} and time {high_ts}"));
        }
        (*head, *high_ts) = (seq, message.ts.max(*high_ts));
        by_time.insert(keys::by_time(conv, (message.ts, seq)).to_vec());
        dedupe.insert(keys::dedupe(conv, &message.from, &message.cid));
        if message.late {
            late.insert(key);
        }
        let name = (conv, message.from.clone(), message.cid.clone());
        if let Some(other) = found.insert(name, seq) {
            return Err(format!("{message:?} is also number {other}"));
        }
    }
    for (table, expected) in
        [(Table::ByTime, by_time), (Table::Dedupe, dedupe), (Table::Late, late)]
    {
        if rows(table).keys().ne(&expected) {
            return Err(format!("the table {} is not that of the messages", table.name()));
        }
    }
    for (key, value) in rows(Table::Acks) {
        let (conv, user) = keys::split_acks(&key).unwrap();
        let acked = decode_acks(&value).unwrap();
        let head = heads.get(&conv).map_or(Seq::ZERO, |(head, _)| *head);
        let highest = acked.ranges.last().map_or(acked.up_to, |(_, hi)| Seq(hi.0 - 1));
        if highest > head {
            return Err(format!("{user} acknowledged up to {highest}, above the head {head}"));
        }
    }
    Ok(found)
}
