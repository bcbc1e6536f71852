//! A conversation as the tables hold it.

use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

use super::codec::{Record, decode_acks, decode_message, decode_roster};
use super::keys::{self, Table};
use super::tables::{Miss, TableError, View};
use crate::model::{AckSet, ConvId, LIMITS, Message, Order, Roster, Seq, UserName};
use crate::persistence::log::{Each, Log, PageBuilder};
use crate::persistence::{Page, RangeQuery};

/// One conversation in one view of the tables. Its methods may read the disk.
pub struct TableLog<'a> {
    view: &'a dyn View,
    conv: ConvId,
    head: Seq,
}

impl<'a> TableLog<'a> {
    /// Finds the head.
    pub fn new(view: &'a dyn View, conv: ConvId) -> Result<Self, TableError> {
        let mut log = Self { view, conv, head: Seq::ZERO };
        if let Some(record) = log.newest_records(1)?.pop() {
            log.head = record.message.seq;
        }
        Ok(log)
    }

    /// The last `count` messages by number, newest first.
    pub fn newest_records(&self, count: usize) -> Result<Vec<Record>, TableError> {
        let (low, high) = (keys::by_seq(self.conv, Seq(0)), keys::by_seq(self.conv, Seq(u64::MAX)));
        let bounds = (Included(&low[..]), Included(&high[..]));
        let mut records = Vec::with_capacity(count);
        self.view.scan(Table::Messages, bounds, true, &mut |key, value| {
            let seq = keys::trailing_seq(key).unwrap_or_default();
            records.push(decode_message(seq, value)?);
            Ok(records.len() < count)
        })?;
        Ok(records)
    }

    /// Who is in the group; empty where it is none.
    pub fn roster(&self) -> Result<Arc<Roster>, TableError> {
        let value = self.view.get(Table::Rosters, &keys::roster(self.conv))?;
        value.map_or_else(|| Ok(Arc::default()), |value| decode_roster(&value))
    }

    fn message(&self, seq: Seq) -> Result<Arc<Message>, TableError> {
        stored_message(self.view, self.conv, seq)
    }
}

/// A message that an index names.
pub fn stored_message(view: &dyn View, conv: ConvId, seq: Seq) -> Result<Arc<Message>, TableError> {
    let value = view
        .get(Table::Messages, &keys::by_seq(conv, seq))?
        .ok_or_else(|| TableError::corrupt("message", seq))?;
    Ok(decode_message(seq, &value)?.message)
}

/// A stored acknowledgement.
pub fn stored_acks(
    view: &dyn View,
    conv: ConvId,
    user: &UserName,
) -> Result<Option<AckSet>, TableError> {
    view.get(Table::Acks, &keys::acks(conv, user))?.map(|value| decode_acks(&value)).transpose()
}

impl Log for TableLog<'_> {
    type Entry = Arc<Message>;
    type Miss = Miss;

    fn head(&self) -> Seq {
        self.head
    }

    fn acked(&self, user: &UserName) -> Result<Option<AckSet>, Miss> {
        Ok(stored_acks(self.view, self.conv, user)?)
    }

    fn after(&self, after: Seq, each: Each<'_, Arc<Message>>) -> Result<(), Miss> {
        let low = keys::by_seq(self.conv, after);
        let high = keys::by_seq(self.conv, Seq(u64::MAX));
        let bounds = (Excluded(&low[..]), Included(&high[..]));
        self.view.scan(Table::Messages, bounds, false, &mut |key, value| {
            let seq = keys::trailing_seq(key).unwrap_or_default();
            Ok(each(&decode_message(seq, value)?.message))
        })?;
        Ok(())
    }

    fn late_after(&self, after: Seq, each: Each<'_, Arc<Message>>) -> Result<(), Miss> {
        let low = keys::by_seq(self.conv, after);
        let high = keys::by_seq(self.conv, Seq(u64::MAX));
        let bounds = (Excluded(&low[..]), Included(&high[..]));
        self.view.scan(Table::Late, bounds, false, &mut |key, _| {
            let seq = keys::trailing_seq(key).unwrap_or_default();
            Ok(each(&self.message(seq)?))
        })?;
        Ok(())
    }

    fn range(&self, query: &RangeQuery) -> Result<Page, Miss> {
        let low = keys::by_time(self.conv, (query.from, Seq::ZERO));
        let high = keys::by_time(self.conv, (query.to, Seq(u64::MAX)));
        let start = query.start.map(|position| keys::by_time(self.conv, position));
        let descending = query.order == Order::Desc;
        let (mut lower, mut upper) = (Included(&low[..]), Included(&high[..]));
        match &start {
            Some(start) if descending && start <= &high => upper = Excluded(start),
            Some(start) if !descending && start >= &low => lower = Excluded(start),
            _ => {}
        }
        let mut page = PageBuilder::new(query.limit, LIMITS.page_bytes_max);
        self.view.scan(Table::ByTime, (lower, upper), descending, &mut |key, _| {
            let seq = keys::trailing_seq(key).unwrap_or_default();
            Ok(page.add(&self.message(seq)?))
        })?;
        Ok(page.finish().0)
    }
}
