//! Reading one conversation: the rules, over anything that can answer a few simple questions.
//!
//! The same code runs over what is held in memory, on the caller's thread, and over what must be fetched: a log
//! answers a miss of its own kind where it does not hold what is asked, and is asked again once it does.

use std::collections::HashSet;
use std::sync::Arc;

use super::{LatePage, OpenQuery, OpenView, Opened, Page, RangeQuery, Summary};
use crate::model::{
    AckSet, Count, Epoch, LIMITS, Limits, Message, Order, Seq, UnreadScan, UserName,
};

/// What the rules look at in a message; its content is not among it.
pub trait Entry: Clone {
    /// Its number.
    fn seq(&self) -> Seq;

    /// Its time, ms.
    fn ts(&self) -> u64;

    /// Whether it is late.
    fn late(&self) -> bool;

    /// Who sent it.
    fn from(&self) -> &UserName;

    /// What it counts for in a page: [`Message::wire_bytes`].
    fn wire_bytes(&self) -> usize;

    /// Where it stands in history.
    fn position(&self) -> (u64, Seq) {
        (self.ts(), self.seq())
    }
}

impl Entry for Arc<Message> {
    fn seq(&self) -> Seq {
        self.seq
    }

    fn ts(&self) -> u64 {
        self.ts
    }

    fn late(&self) -> bool {
        self.late
    }

    fn from(&self) -> &UserName {
        &self.from
    }

    fn wire_bytes(&self) -> usize {
        Message::wire_bytes(self)
    }
}

/// Takes entries one by one; `false` ends the scan.
pub type Each<'a, E> = &'a mut dyn FnMut(&E) -> bool;

/// One conversation at one moment.
pub trait Log {
    /// Its messages.
    type Entry: Entry;
    /// Why it did not answer.
    type Miss;

    /// Number of the newest message.
    fn head(&self) -> Seq;

    /// What a user has acknowledged; `None` before the first open.
    fn acked(&self, user: &UserName) -> Result<Option<AckSet>, Self::Miss>;

    /// Messages above a number, ascending.
    fn after(&self, after: Seq, each: Each<'_, Self::Entry>) -> Result<(), Self::Miss>;

    /// Late messages above a number, ascending.
    fn late_after(&self, after: Seq, each: Each<'_, Self::Entry>) -> Result<(), Self::Miss>;

    /// History by time.
    fn range(&self, query: &RangeQuery) -> Result<Page<Self::Entry>, Self::Miss>;
}

/// Collects messages up to a count and a number of bytes; the first always fits.
#[derive(Debug)]
pub struct PageBuilder<E> {
    page: Page<E>,
    limit: usize,
    bytes_left: usize,
}

impl<E: Entry> PageBuilder<E> {
    /// An empty page.
    pub fn new(limit: usize, bytes_max: usize) -> Self {
        Self { page: Page { items: Vec::new(), more: false }, limit, bytes_left: bytes_max }
    }

    /// Adds a message; `false`: it does not fit, the page is complete and there is more.
    pub fn add(&mut self, message: &E) -> bool {
        let bytes = message.wire_bytes();
        let fits = bytes <= self.bytes_left || self.page.items.is_empty();
        if self.page.items.len() == self.limit || !fits {
            self.page.more = true;
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.page.items.push(message.clone());
        true
    }

    /// The page, and the bytes that are left.
    pub fn finish(self) -> (Page<E>, usize) {
        (self.page, self.bytes_left)
    }
}

/// The newest page by `(ts, seq)`, newest first.
fn newest<L: Log + ?Sized>(log: &L, query: &OpenQuery) -> Result<Page<L::Entry>, L::Miss> {
    if query.limit == 0 {
        return Ok(Page { items: Vec::new(), more: log.head() > Seq::ZERO });
    }
    let (conv, limit) = (query.conv, query.limit);
    log.range(&RangeQuery { conv, from: 0, to: u64::MAX, order: Order::Desc, start: None, limit })
}

/// Everything that an `open` answers but whether the conversation is new to the user.
pub fn open<L: Log + ?Sized>(
    log: &L,
    query: &OpenQuery,
    epoch: &Epoch,
) -> Result<Opened<L::Entry>, L::Miss> {
    let acked = log.acked(&query.user)?.unwrap_or_default();
    let recovered = match &query.resume {
        Some((resumed, seq)) if resumed == epoch => recover(log, *seq)?,
        _ => None,
    };
    let (view, page_start) = match recovered {
        Some(items) => (OpenView::Recovered(items), Some((0, Seq::ZERO))),
        None => {
            let page = newest(log, query)?;
            let bytes: usize = page.items.iter().map(Entry::wire_bytes).sum();
            let bytes_left = LIMITS.page_bytes_max.saturating_sub(bytes);
            let on_page: HashSet<Seq> = page.items.iter().map(Entry::seq).collect();
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
            let start = items.first().map(Entry::position);
            let view =
                OpenView::Page { items, older: page.more, late: late.items, late_next: late.next };
            (view, start)
        }
    };
    let mut scan = UnreadScan::new(&query.user, &acked, page_start, LIMITS.unread_max);
    log.after(acked.up_to, &mut |message| {
        scan.see(message.seq(), message.ts(), message.from().as_str(), message.late())
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
fn recover<L: Log + ?Sized>(log: &L, seq: Seq) -> Result<Option<Vec<L::Entry>>, L::Miss> {
    let head = log.head();
    if seq > head || head.0 - seq.0 > LIMITS.resume_max as u64 {
        return Ok(None);
    }
    let mut items = Vec::with_capacity((head.0 - seq.0) as usize);
    let mut bytes = 0;
    log.after(seq, &mut |message| {
        bytes += message.wire_bytes();
        items.push(message.clone());
        bytes <= LIMITS.page_bytes_max
    })?;
    Ok((bytes <= LIMITS.page_bytes_max).then_some(items))
}

/// Unread late messages above `after` that `skip` does not name.
fn late_page<L: Log + ?Sized>(
    log: &L,
    user: &UserName,
    acked: &AckSet,
    after: Seq,
    skip: &dyn Fn(Seq) -> bool,
    limit: usize,
    bytes_max: usize,
) -> Result<LatePage<L::Entry>, L::Miss> {
    let mut page = LatePage { items: Vec::new(), next: None };
    let (mut bytes, mut looked_at, mut last) = (0, 0, after);
    log.late_after(after.max(acked.up_to), &mut |message| {
        let seq = message.seq();
        let wanted = message.from() != user && !acked.contains(seq) && !skip(seq);
        bytes += if wanted { message.wire_bytes() } else { 0 };
        let full = wanted && (page.items.len() == limit || bytes > bytes_max);
        if full || looked_at == Limits::SCAN_MAX {
            page.next = Some(last);
            return false;
        }
        looked_at += 1;
        last = seq;
        if wanted {
            page.items.push(message.clone());
        }
        true
    })?;
    Ok(page)
}

/// One page of `read{late}`: at least one message when there is one within the scan.
pub fn unread_late<L: Log + ?Sized>(
    log: &L,
    user: &UserName,
    after: Seq,
    limit: usize,
) -> Result<LatePage<L::Entry>, L::Miss> {
    let acked = log.acked(user)?.unwrap_or_default();
    // One message is never larger than a page, so a whole page always holds the first.
    late_page(log, user, &acked, after, &|_| false, limit, LIMITS.page_bytes_max)
}

/// From the index of late messages, so that late ones are seen also where the general scan stops early.
fn unread_late_count<L: Log + ?Sized>(
    log: &L,
    user: &UserName,
    acked: &AckSet,
) -> Result<usize, L::Miss> {
    let (mut count, mut looked_at, mut cut) = (0, 0, false);
    log.late_after(acked.up_to, &mut |message| {
        if looked_at == Limits::SCAN_MAX {
            cut = true;
            return false;
        }
        looked_at += 1;
        count += usize::from(message.from() != user && !acked.contains(message.seq()));
        count < LIMITS.unread_max
    })?;
    Ok(if cut { count.max(1) } else { count })
}

/// Messages above a number.
pub fn after<L: Log + ?Sized>(
    log: &L,
    after: Seq,
    limit: usize,
) -> Result<Page<L::Entry>, L::Miss> {
    let mut page = PageBuilder::new(limit, LIMITS.page_bytes_max);
    log.after(after, &mut |message| page.add(message))?;
    Ok(page.finish().0)
}

/// What a user has not read.
pub fn unread<L: Log + ?Sized>(log: &L, user: &UserName) -> Result<Count, L::Miss> {
    let acked = log.acked(user)?.unwrap_or_default();
    let mut scan = UnreadScan::new(user, &acked, None, LIMITS.unread_max);
    log.after(acked.up_to, &mut |message| {
        scan.see(message.seq(), message.ts(), message.from().as_str(), message.late())
    })?;
    Ok(scan.finish().unread)
}

/// What `list` shows.
pub fn summary<L: Log + ?Sized>(log: &L, user: &UserName) -> Result<Summary<L::Entry>, L::Miss> {
    let mut newest = None;
    if let Some(before) = log.head().0.checked_sub(1) {
        log.after(Seq(before), &mut |message| {
            newest = Some(message.clone());
            true
        })?;
    }
    let acked_up_to = log.acked(user)?.map(|acked| acked.up_to);
    Ok(Summary { newest, unread: unread(log, user)?, acked_up_to })
}
