//! What a case works with: an engine, names that nobody else uses, and short ways to call it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::future::join_all;

use crate::model::{
    AckSet, ChannelName, Cid, ConvId, Epoch, GroupAct, GroupId, LIMITS, Message, MessageType,
    Order, Place, Roster, Seq, UserName,
};
use crate::persistence::{
    AckOutcome, AckRequest, Append, AppendOutcome, GroupOutcome, GroupRequest, OpenQuery, OpenView,
    Opened, Persistence, RangeQuery, Stored,
};

/// A time in the past to count from, ms.
pub const PAST: u64 = 1_700_000_000_000;

/// Where a suite gets its engine from: one store.
#[async_trait]
pub trait Factory: Send + Sync + 'static {
    /// Opens the store.
    async fn create(&self) -> Arc<dyn Persistence>;

    /// Another node over the same store; `None` where an engine is for one node only.
    async fn second_node(&self) -> Option<Arc<dyn Persistence>> {
        None
    }

    /// Whether the store outlives the engine.
    fn survives(&self) -> bool;

    /// Ends the engine and opens the same store again; only called where it survives.
    async fn reopen(&self, engine: Arc<dyn Persistence>, ending: Ending) -> Arc<dyn Persistence>;
}

/// How an engine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Closed first.
    Closed,
    /// Dropped without a word.
    Abandoned,
}

/// The engine under test, and names that are fresh even on a store that others share.
pub struct Subject {
    factory: Box<dyn Factory>,
    /// The engine.
    pub engine: Arc<dyn Persistence>,
    /// A second node where there can be one, otherwise the same.
    pub elsewhere: Arc<dyn Persistence>,
    suffix: String,
}

impl Subject {
    /// Opens the store.
    pub async fn new(factory: impl Factory) -> Self {
        let engine = factory.create().await;
        let elsewhere = factory.second_node().await.unwrap_or_else(|| Arc::clone(&engine));
        Self { factory: Box::new(factory), engine, elsewhere, suffix: fresh_suffix() }
    }

    /// Whether [`Subject::reopen`] finds what was stored.
    pub fn survives(&self) -> bool {
        self.factory.survives()
    }

    /// Ends the engine and opens the same store again.
    pub async fn reopen(self, ending: Ending) -> Self {
        let Self { factory, engine, elsewhere, suffix } = self;
        drop(elsewhere);
        let engine = factory.reopen(engine, ending).await;
        let elsewhere = factory.second_node().await.unwrap_or_else(|| Arc::clone(&engine));
        Self { factory, engine, elsewhere, suffix }
    }

    /// From here on names are other ones.
    pub fn forget_names(&mut self) {
        self.suffix = fresh_suffix();
    }

    /// A user of this case.
    pub fn user(&self, name: &str) -> UserName {
        UserName::new(&format!("{name}-{}", self.suffix)).expect("short enough")
    }

    /// A group of this case, which nobody has made yet.
    pub fn group(&self) -> Room {
        Room::new(Place::Group(GroupId::generate()))
    }

    /// A channel of this case.
    pub fn channel(&self, name: &str) -> Room {
        let name = format!("{name}-{}", self.suffix);
        Room::new(Place::Channel(ChannelName::new(&name).expect("short enough")))
    }
}

fn fresh_suffix() -> String {
    Epoch::generate().to_string()
}

/// A conversation.
#[derive(Debug, Clone)]
pub struct Room {
    /// Its id.
    pub conv: ConvId,
    /// What it is.
    pub place: Arc<Place>,
}

impl Room {
    /// The room of a place.
    pub fn new(place: Place) -> Self {
        Self { conv: place.conv_id(), place: Arc::new(place) }
    }

    /// The direct chat of two users.
    pub fn direct(one: &UserName, other: &UserName) -> Self {
        Self::new(Place::direct(one.clone(), other.clone()))
    }

    /// A message with a `cid` like no other.
    pub fn message(&self, sender: &UserName, ts: impl Into<Option<u64>>) -> Append {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let cid = format!("cid-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.named(sender, &cid, "hello", ts)
    }

    /// A message with a given `cid` and content.
    pub fn named(
        &self,
        sender: &UserName,
        cid: &str,
        content: &str,
        ts: impl Into<Option<u64>>,
    ) -> Append {
        Append {
            conv: self.conv,
            place: Arc::clone(&self.place),
            sender: sender.clone(),
            cid: Cid::new(cid).expect("a cid"),
            kind: MessageType::new("text").expect("a type"),
            content: content.to_owned(),
            ts: ts.into(),
            future_skew_ms_max: LIMITS.future_skew_ms_max,
            restored: None,
        }
    }

    /// As many messages as there are times, in their order.
    pub fn messages(&self, sender: &UserName, times: impl IntoIterator<Item = u64>) -> Vec<Append> {
        times.into_iter().map(|ts| self.message(sender, ts)).collect()
    }

    /// An open without resume.
    pub fn opening(&self, user: &UserName, limit: usize) -> OpenQuery {
        OpenQuery {
            conv: self.conv,
            place: Arc::clone(&self.place),
            user: user.clone(),
            limit,
            resume: None,
        }
    }

    /// All history, oldest first, in pages as large as they may be.
    pub fn history(&self) -> RangeQuery {
        RangeQuery {
            conv: self.conv,
            from: 0,
            to: u64::MAX,
            order: Order::Asc,
            start: None,
            limit: LIMITS.read_limit_max,
        }
    }

    /// An acknowledgement; ranges are half-open.
    pub fn acking(&self, user: &UserName, up_to: u64, ranges: &[(u64, u64)]) -> AckRequest {
        AckRequest {
            conv: self.conv,
            user: user.clone(),
            up_to: Seq(up_to),
            ranges: ranges.iter().map(|&(lo, hi)| (Seq(lo), Seq(hi))).collect(),
        }
    }
}

/// A page as `open` shows it.
#[derive(Debug)]
pub struct Shown {
    /// The newest messages.
    pub items: Vec<Arc<Message>>,
    /// There are older ones.
    pub older: bool,
    /// Unread late ones elsewhere.
    pub late: Vec<Arc<Message>>,
    /// Where more of those are.
    pub late_next: Option<Seq>,
}

/// The page of an open that did not recover.
pub fn page_of(opened: Opened) -> Shown {
    match opened.view {
        OpenView::Page { items, older, late, late_next } => Shown { items, older, late, late_next },
        OpenView::Recovered(_) => panic!("recovered where nobody asked to"),
    }
}

/// The bridge of an open, `None` when it is a page.
pub fn recovered(opened: Opened) -> Option<Vec<Arc<Message>>> {
    match opened.view {
        OpenView::Recovered(items) => Some(items),
        OpenView::Page { .. } => None,
    }
}

/// The numbers of messages.
pub fn seqs(messages: &[Arc<Message>]) -> Vec<u64> {
    messages.iter().map(|message| message.seq.0).collect()
}

/// The bytes that the page bound counts.
pub fn wire_bytes<'a>(messages: impl IntoIterator<Item = &'a Arc<Message>>) -> usize {
    messages.into_iter().map(|message| message.wire_bytes()).sum()
}

/// Appends what must be stored.
pub async fn stored(engine: &Arc<dyn Persistence>, append: Append) -> Stored {
    match engine.append(append).await.expect("the engine works") {
        AppendOutcome::Stored(stored) => stored,
        other => panic!("not stored: {other:?}"),
    }
}

/// Appends a new message.
pub async fn send(engine: &Arc<dyn Persistence>, append: Append) -> Arc<Message> {
    let stored = stored(engine, append).await;
    assert!(!stored.dup, "a new message is no duplicate: {stored:?}");
    stored.message
}

/// Appends new messages in their order, many at once.
pub async fn send_all(engine: &Arc<dyn Persistence>, appends: Vec<Append>) -> Vec<Arc<Message>> {
    /// Below every engine's bound of waiting appends.
    const IN_FLIGHT: usize = 200;
    let mut sent = Vec::with_capacity(appends.len());
    let mut waiting = appends.into_iter().peekable();
    while waiting.peek().is_some() {
        let calls: Vec<_> =
            waiting.by_ref().take(IN_FLIGHT).map(|append| send(engine, append)).collect();
        sent.extend(join_all(calls).await);
    }
    sent
}

/// Does something to a group.
pub async fn regroup(
    engine: &Arc<dyn Persistence>,
    room: &Room,
    by: &UserName,
    act: GroupAct,
) -> GroupOutcome {
    let (conv, place, by) = (room.conv, Arc::clone(&room.place), by.clone());
    engine.regroup(GroupRequest { conv, place, by, act }).await.expect("the engine works")
}

/// Does something to a group that may be done; the roster, and whom it became theirs by it.
pub async fn regrouped(
    engine: &Arc<dyn Persistence>,
    room: &Room,
    by: &UserName,
    act: GroupAct,
) -> (Arc<Roster>, Option<UserName>) {
    match regroup(engine, room, by, act).await {
        GroupOutcome::Done { now, became } => (now.roster, became),
        GroupOutcome::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

/// Who is in a group.
pub async fn roster(engine: &Arc<dyn Persistence>, room: &Room) -> Arc<Roster> {
    engine.roster(room.conv).await.expect("the engine works").roster
}

/// Opens a room.
pub async fn open(
    engine: &Arc<dyn Persistence>,
    room: &Room,
    user: &UserName,
    limit: usize,
) -> Opened {
    engine.open(room.opening(user, limit)).await.expect("the engine works")
}

/// Opens a room with a resume point.
pub async fn resume(
    engine: &Arc<dyn Persistence>,
    room: &Room,
    user: &UserName,
    epoch: &Epoch,
    seq: u64,
) -> Opened {
    let resume = Some((epoch.clone(), Seq(seq)));
    engine.open(OpenQuery { resume, ..room.opening(user, 10) }).await.expect("the engine works")
}

/// Acknowledges what may be acknowledged.
pub async fn ack(engine: &Arc<dyn Persistence>, request: AckRequest) -> AckSet {
    match engine.ack(request).await.expect("the engine works") {
        AckOutcome::Merged { acked, .. } => acked,
        other => panic!("not merged: {other:?}"),
    }
}

/// Every message of a conversation by number, page by page.
pub async fn everything(engine: &Arc<dyn Persistence>, conv: ConvId) -> Vec<Arc<Message>> {
    let mut all: Vec<Arc<Message>> = Vec::new();
    loop {
        let after = all.last().map_or(Seq::ZERO, |message| message.seq);
        let page = engine.after(conv, after, LIMITS.read_limit_max).await.expect("a page").page;
        assert!(!page.items.is_empty() || !page.more, "an empty page has nothing after it");
        all.extend(page.items);
        if !page.more {
            return all;
        }
    }
}

/// Every message of a history read, page by page.
pub async fn all_pages(engine: &Arc<dyn Persistence>, mut query: RangeQuery) -> Vec<Arc<Message>> {
    let mut all: Vec<Arc<Message>> = Vec::new();
    loop {
        let page = engine.range(query.clone()).await.expect("a page");
        assert!(!page.items.is_empty() || !page.more, "an empty page has nothing after it");
        all.extend(page.items);
        if !page.more {
            return all;
        }
        query.start = all.last().map(|message| message.position());
    }
}

/// Every unread late message above a number, page by page.
pub async fn all_late(
    engine: &Arc<dyn Persistence>,
    room: &Room,
    user: &UserName,
    after: Option<Seq>,
    limit: usize,
) -> Vec<Arc<Message>> {
    let mut all = Vec::new();
    let mut next = after;
    while let Some(after) = next {
        let page = engine.unread_late(room.conv, user, after, limit).await.expect("a page");
        assert!(page.items.len() <= limit);
        assert!(page.next.is_none_or(|next| next > after), "paging must get on");
        all.extend(page.items);
        next = page.next;
    }
    all
}

/// The life of a store that has one for all conversations.
pub fn epoch_of(engine: &dyn Persistence) -> Epoch {
    engine.epoch(Place::Channel(ChannelName::new("any").unwrap()).conv_id())
}
