//! Reading one conversation: the rules, over anything that can answer a few simple questions.
//!
//! The same code runs over the ring of newest messages (no disk, on the caller's thread) and over
//! the tables; the ring answers [`Miss::Elsewhere`] where it does not hold what is asked.

use std::collections::HashSet;
use std::sync::Arc;

use super::tables::TableError;
use crate::model::{
    AckSet, Count, Epoch, LIMITS, Limits, Message, Order, Seq, UnreadScan, UserName,
};
use crate::persistence::{LatePage, OpenQuery, OpenView, Opened, Page, RangeQuery, Summary};

/// Why a log did not answer.
#[derive(Debug)]
pub enum Miss {
    /// It is not held here; ask the tables.
    Elsewhere,
    /// The tables cannot be read.
    Failed(TableError),
}

impl From<TableError> for Miss {
    fn from(error: TableError) -> Self {
        Self::Failed(error)
    }
}

/// Takes messages one by one; `false` ends the scan.
pub type EachMessage<'a> = &'a mut dyn FnMut(&Arc<Message>) -> bool;

/// One conversation at one moment.
pub trait Log {
    /// Number of the newest message.
    fn head(&self) -> Seq;

    /// What a user has acknowledged; `None` before the first open.
    fn acked(&self, user: &UserName) -> Result<Option<AckSet>, Miss>;

    /// Messages above a number, ascending.
    fn after(&self, after: Seq, each: EachMessage<'_>) -> Result<(), Miss>;

    /// Late messages above a number, ascending.
    fn late_after(&self, after: Seq, each: EachMessage<'_>) -> Result<(), Miss>;

    /// History by time.
    fn range(&self, query: &RangeQuery) -> Result<Page, Miss>;
}

/// Collects messages up to a count and a number of bytes; the first always fits.
#[derive(Debug)]
pub struct PageBuilder {
    page: Page,
    limit: usize,
    bytes_left: usize,
}

impl PageBuilder {
    /// An empty page.
    pub fn new(limit: usize, bytes_max: usize) -> Self {
        Self { page: Page::default(), limit, bytes_left: bytes_max }
    }

    /// Adds a message; `false`: it does not fit, the page is complete and there is more.
    pub fn add(&mut self, message: &Arc<Message>) -> bool {
        let bytes = message.wire_bytes();
        let fits = bytes <= self.bytes_left || self.page.items.is_empty();
        if self.page.items.len() == self.limit || !fits {
            self.page.more = true;
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.page.items.push(Arc::clone(message));
        true
    }

    /// The page, and the bytes that are left.
    pub fn finish(self) -> (Page, usize) {
        (self.page, self.bytes_left)
    }
}

/// The newest page by `(ts, seq)`, newest first.
fn newest(log: &dyn Log, query: &OpenQuery) -> Result<Page, Miss> {
    if query.limit == 0 {
        return Ok(Page { items: Vec::new(), more: log.head() > Seq::ZERO });
    }
    let (conv, limit) = (query.conv, query.limit);
    log.range(&RangeQuery { conv, from: 0, to: u64::MAX, order: Order::Desc, start: None, limit })
}

/// Everything that an `open` answers but whether the conversation is new to the user.
pub fn open(log: &dyn Log, query: &OpenQuery, epoch: &Epoch) -> Result<Opened, Miss> {
    let acked = log.acked(&query.user)?.unwrap_or_default();
    let recovered = match &query.resume {
        Some((resumed, seq)) if resumed == epoch => recover(log, *seq)?,
        _ => None,
    };
    let (view, page_start) = match recovered {
        Some(items) => (OpenView::Recovered(items), Some((0, Seq::ZERO))),
        None => {
            let page = newest(log, query)?;
            let bytes: usize = page.items.iter().map(|message| message.wire_bytes()).sum();
            let bytes_left = LIMITS.page_bytes_max.saturating_sub(bytes);
            let on_page: HashSet<Seq> = page.items.iter().map(|message| message.seq).collect();
            let late = late_page(
                log,
                &query.user,
                &acked,
                acked.up_to,
                &|seq| on_page.contains(&seq),
                LIMITS.late_max,
                bytes_left,
            )?;
            let mut items = page.items;
            items.reverse();
            let start = items.first().map(|message| message.position());
            let view =
                OpenView::Page { items, older: page.more, late: late.items, late_next: late.next };
            (view, start)
        }
    };
    let mut scan = UnreadScan::new(&query.user, &acked, page_start, LIMITS.unread_max);
    log.after(acked.up_to, &mut |message| {
        scan.see(message.seq, message.ts, message.from.as_str(), message.late)
    })?;
    let mut unread = scan.finish();
    unread.late = unread_late_count(log, &query.user, &acked)?;
    if matches!(view, OpenView::Recovered(_)) {
        // A scan that was cut says "at least one", but a bridge has nothing before it.
        unread.before = 0;
    }
    let mutual = match query.place.peer_of(&query.user) {
        Some(peer) if *peer != query.user => log.acked(peer)?.is_some(),
        _ => false,
    };
    Ok(Opened {
        epoch: epoch.clone(),
        head: log.head(),
        acked,
        unread,
        view,
        became: false,
        mutual,
    })
}

/// Exactly the messages above `seq`, when they are few enough and fit one reply.
fn recover(log: &dyn Log, seq: Seq) -> Result<Option<Vec<Arc<Message>>>, Miss> {
    let head = log.head();
    if seq > head || head.0 - seq.0 > LIMITS.resume_max as u64 {
        return Ok(None);
    }
    let mut items = Vec::with_capacity((head.0 - seq.0) as usize);
    let mut bytes = 0;
    log.after(seq, &mut |message| {
        bytes += message.wire_bytes();
        items.push(Arc::clone(message));
        bytes <= LIMITS.page_bytes_max
    })?;
    Ok((bytes <= LIMITS.page_bytes_max).then_some(items))
}

/// Unread late messages above `after` that `skip` does not name.
fn late_page(
    log: &dyn Log,
    user: &UserName,
    acked: &AckSet,
    after: Seq,
    skip: &dyn Fn(Seq) -> bool,
    limit: usize,
    bytes_max: usize,
) -> Result<LatePage, Miss> {
    let mut page = LatePage::default();
    let (mut bytes, mut looked_at, mut last) = (0, 0, after);
    log.late_after(after.max(acked.up_to), &mut |message| {
        let wanted = message.from != *user && !acked.contains(message.seq) && !skip(message.seq);
        bytes += if wanted { message.wire_bytes() } else { 0 };
        let full = wanted && (page.items.len() == limit || bytes > bytes_max);
        if full || looked_at == Limits::SCAN_MAX {
            page.next = Some(last);
            return false;
        }
        looked_at += 1;
        last = message.seq;
        if wanted {
            page.items.push(Arc::clone(message));
        }
        true
    })?;
    Ok(page)
}

/// One page of `read{late}`: at least one message when there is one within the scan.
pub fn unread_late(
    log: &dyn Log,
    user: &UserName,
    after: Seq,
    limit: usize,
) -> Result<LatePage, Miss> {
    let acked = log.acked(user)?.unwrap_or_default();
    // One message is never larger than a page, so a whole page always holds the first.
    late_page(log, user, &acked, after, &|_| false, limit, LIMITS.page_bytes_max)
}

/// From the index of late messages, so that late ones are seen also where the general scan stops early.
fn unread_late_count(log: &dyn Log, user: &UserName, acked: &AckSet) -> Result<usize, Miss> {
    let (mut count, mut looked_at, mut cut) = (0, 0, false);
    log.late_after(acked.up_to, &mut |message| {
        if looked_at == Limits::SCAN_MAX {
            cut = true;
            return false;
        }
        looked_at += 1;
        count += usize::from(message.from != *user && !acked.contains(message.seq));
        count < LIMITS.unread_max
    })?;
    Ok(if cut { count.max(1) } else { count })
}

/// Messages above a number.
pub fn after(log: &dyn Log, after: Seq, limit: usize) -> Result<Page, Miss> {
    let mut page = PageBuilder::new(limit, LIMITS.page_bytes_max);
    log.after(after, &mut |message| page.add(message))?;
    Ok(page.finish().0)
}

/// What a user has not read.
pub fn unread(log: &dyn Log, user: &UserName) -> Result<Count, Miss> {
    let acked = log.acked(user)?.unwrap_or_default();
    let mut scan = UnreadScan::new(user, &acked, None, LIMITS.unread_max);
    log.after(acked.up_to, &mut |message| {
        scan.see(message.seq, message.ts, message.from.as_str(), message.late)
    })?;
    Ok(scan.finish().unread)
}

/// What `list` shows.
pub fn summary(log: &dyn Log, user: &UserName) -> Result<Summary, Miss> {
    let mut newest = None;
    if let Some(before) = log.head().0.checked_sub(1) {
        log.after(Seq(before), &mut |message| {
            newest = Some(Arc::clone(message));
            true
        })?;
    }
    Ok(Summary { newest, unread: unread(log, user)? })
}
