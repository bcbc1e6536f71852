//! The rules of an engine as a specification: plain lists, everything recomputed from them, nothing
//! kept that could be derived. Slow on purpose.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::{
    AckSet, ConvId, Count, Epoch, LIMITS, Message, Order, Place, Roster, Seq, UnreadCounts,
    UserName,
};
use crate::persistence::{
    AckOutcome, AckRequest, Append, AppendOutcome, GroupOutcome, GroupRequest, LatePage, Mine,
    OpenQuery, OpenView, Opened, Page, RangeQuery, Rostered, Stored, Summary,
};

/// What the engine's clock said when it decided an append.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The commit time.
    pub at: u64,
    /// What a message without `ts` is stamped with, unless the highest `ts` is above it.
    pub stamp: u64,
}

/// All conversations.
#[derive(Debug)]
pub struct Model {
    /// The life of the store.
    pub epoch: Epoch,
    /// The lives of conversations that have another one.
    pub epochs: HashMap<ConvId, Epoch>,
    /// The conversations that anybody touched.
    conversations: HashMap<ConvId, Conversation>,
    /// Who is in which group.
    rosters: HashMap<ConvId, Arc<Roster>>,
    /// What became whose, in that order.
    mine: HashMap<UserName, Vec<(ConvId, Arc<Place>)>>,
}

/// One conversation.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    /// The messages by number: the first is 1.
    pub messages: Vec<Arc<Message>>,
    /// Who has opened it, and which numbers each has acknowledged.
    pub acked: HashMap<UserName, BTreeSet<u64>>,
}

impl Model {
    /// Nothing yet.
    pub fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            epochs: HashMap::new(),
            conversations: HashMap::new(),
            rosters: HashMap::new(),
            mine: HashMap::new(),
        }
    }

    /// The life that a conversation's numbers belong to.
    pub fn epoch_of(&self, conv: ConvId) -> Epoch {
        self.epochs.get(&conv).unwrap_or(&self.epoch).clone()
    }

    /// A conversation as it is.
    pub fn conversation(&self, conv: ConvId) -> Conversation {
        self.conversations.get(&conv).cloned().unwrap_or_default()
    }

    /// A conversation to change.
    pub fn conversation_mut(&mut self, conv: ConvId) -> &mut Conversation {
        self.conversations.entry(conv).or_default()
    }

    /// Decides a send.
    pub fn append(&mut self, append: &Append, clock: Clock) -> AppendOutcome {
        let roster = self.roster(append.conv);
        if matches!(*append.place, Place::Group(_)) && roster.membership(&append.sender).is_none() {
            return AppendOutcome::NotMember;
        }
        let roster = roster.version;
        let conversation = self.conversation_mut(append.conv);
        let first = conversation
            .messages
            .iter()
            .find(|message| message.from == append.sender && message.cid == append.cid)
            .cloned();
        if let Some(message) = first {
            if message.kind != append.kind || message.content != append.content {
                return AppendOutcome::Conflict;
            }
            let (epoch, became) = (self.epoch_of(append.conv), Vec::new());
            return AppendOutcome::Stored(Stored { message, dup: true, epoch, became, roster });
        }
        if append.ts.is_some_and(|ts| ts > clock.at + append.future_skew_ms_max) {
            return AppendOutcome::TsInFuture;
        }
        AppendOutcome::Stored(self.store(append, clock))
    }

    /// Stores a message that is new and allowed.
    pub fn store(&mut self, append: &Append, clock: Clock) -> Stored {
        let conversation = self.conversation_mut(append.conv);
        let highest_ts = conversation.highest_ts();
        let ts = append.ts.unwrap_or(clock.stamp.max(highest_ts));
        let message = Arc::new(Message {
            seq: conversation.head().next(),
            from: append.sender.clone(),
            cid: append.cid.clone(),
            kind: append.kind.clone(),
            content: append.content.clone(),
            ts,
            at: clock.at,
            late: ts < highest_ts,
        });
        conversation.messages.push(Arc::clone(&message));
        let users: Vec<UserName> = append.place.participants().cloned().collect();
        let became = users.into_iter().filter(|user| self.make_mine(user, &append.place)).collect();
        let roster = self.roster(append.conv).version;
        Stored { message, dup: false, epoch: self.epoch_of(append.conv), became, roster }
    }

    fn make_mine(&mut self, user: &UserName, place: &Arc<Place>) -> bool {
        let mine = self.mine.entry(user.clone()).or_default();
        let is_new = mine.iter().all(|(_, known)| known != place);
        if is_new {
            mine.push((place.conv_id(), Arc::clone(place)));
        }
        is_new
    }

    /// Who is in a group.
    pub fn roster(&self, conv: ConvId) -> Arc<Roster> {
        self.rosters.get(&conv).cloned().unwrap_or_default()
    }

    /// Changes a group.
    pub fn regroup(&mut self, request: &GroupRequest) -> GroupOutcome {
        let GroupRequest { conv, place, by, act } = request;
        let before = self.roster(*conv);
        let (mut roster, mut became) = (Arc::clone(&before), None);
        match before.after(by, act, (self.conversation(*conv).head(), &self.epoch_of(*conv))) {
            Err(refusal) => return GroupOutcome::Refused(refusal),
            Ok(None) => {}
            Ok(Some(changed)) => {
                for user in changed.joined_since(&before) {
                    if self.make_mine(user, place) {
                        became = Some(user.clone());
                    }
                }
                roster = Arc::new(changed);
                self.rosters.insert(*conv, Arc::clone(&roster));
            }
        }
        GroupOutcome::Done { now: Rostered { epoch: self.epoch_of(*conv), roster }, became }
    }

    /// Whether a conversation is in a user's index.
    pub fn is_mine(&self, user: &UserName, conv: ConvId) -> bool {
        let mine = self.mine.get(user).into_iter().flatten();
        mine.into_iter().any(|(known, _)| *known == conv)
    }

    /// Opens a conversation.
    pub fn open(&mut self, query: &OpenQuery) -> Opened {
        let became = self.join(query);
        let conversation = self.conversation(query.conv);
        let view = match &query.resume {
            Some((epoch, seq)) if *epoch == self.epoch_of(query.conv) => conversation.bridge(*seq),
            _ => None,
        };
        let view = view.unwrap_or_else(|| conversation.page(&query.user, query.limit));
        Opened {
            epoch: self.epoch_of(query.conv),
            head: conversation.head(),
            acked: conversation.acked_by(&query.user),
            unread: conversation.unread_counts(&query.user, &view),
            view,
            became,
            mutual: conversation.is_mutual(&query.place),
        }
    }

    fn join(&mut self, query: &OpenQuery) -> bool {
        let conversation = self.conversation_mut(query.conv);
        let start = match *query.place {
            Place::Direct(..) => 0,
            Place::Channel(_) | Place::Group(_) => conversation.head().0,
        };
        conversation.acked.entry(query.user.clone()).or_insert_with(|| (1..=start).collect());
        // A group became theirs when they were invited.
        !matches!(*query.place, Place::Group(_)) && self.make_mine(&query.user, &query.place)
    }

    /// Merges an acknowledgement.
    pub fn ack(&mut self, request: &AckRequest) -> AckOutcome {
        let conversation = self.conversation_mut(request.conv);
        let head = conversation.head();
        let reaches_above = |&(_, hi): &(Seq, Seq)| hi > head.next();
        if request.up_to > head || request.ranges.iter().any(reaches_above) {
            return AckOutcome::AboveHead;
        }
        let acked = conversation.acked.entry(request.user.clone()).or_default();
        let mut union = acked.clone();
        union.extend(1..=request.up_to.0);
        for &(lo, hi) in &request.ranges {
            union.extend(lo.0..hi.0);
        }
        if normal_form(&union).ranges.len() > LIMITS.acked_ranges_max {
            return AckOutcome::TooManyRanges;
        }
        *acked = union;
        AckOutcome::Merged {
            acked: conversation.acked_by(&request.user),
            unread: capped(conversation.unread(&request.user).len()),
        }
    }

    /// The conversations of a user.
    pub fn mine(&self, user: &UserName) -> Vec<Mine> {
        let last = self.mine.get(user).map_or(&[][..], Vec::as_slice);
        let last = last.iter().rev().take(LIMITS.list_max);
        last.filter_map(|(conv, place)| {
            let newest = self.conversation(*conv).messages.last().cloned()?;
            Some(Mine { conv: *conv, place: Arc::clone(place), at: newest.at })
        })
        .collect()
    }
}

impl Conversation {
    /// Number of the newest message.
    pub fn head(&self) -> Seq {
        Seq(self.messages.len() as u64)
    }

    /// The time by which lateness is decided.
    pub fn highest_ts(&self) -> u64 {
        self.messages.iter().map(|message| message.ts).max().unwrap_or(0)
    }

    /// What a user has acknowledged; nothing before the first open.
    pub fn acked_by(&self, user: &UserName) -> AckSet {
        self.acked.get(user).map(normal_form).unwrap_or_default()
    }

    /// The messages of others that a user has not acknowledged, by number.
    pub fn unread(&self, user: &UserName) -> Vec<Arc<Message>> {
        let is_acked = |seq: Seq| self.acked.get(user).is_some_and(|acked| acked.contains(&seq.0));
        let unread = self.messages.iter();
        unread.filter(|message| message.from != *user && !is_acked(message.seq)).cloned().collect()
    }

    /// The late ones among them, above a number.
    pub fn unread_late(&self, user: &UserName, after: Seq) -> Vec<Arc<Message>> {
        let mut late = self.unread(user);
        late.retain(|message| message.late && message.seq > after);
        late
    }

    /// History: by `(ts, seq)`, within the bounds, strictly beyond `start`, in the asked order.
    pub fn range(&self, query: &RangeQuery) -> Page {
        let mut found = self.messages.clone();
        found.sort_by_key(|message| message.position());
        if query.order == Order::Desc {
            found.reverse();
        }
        found.retain(|message| {
            let is_beyond = query.start.is_none_or(|start| match query.order {
                Order::Asc => message.position() > start,
                Order::Desc => message.position() < start,
            });
            is_beyond && message.ts >= query.from && message.ts <= query.to
        });
        bounded(found, query.limit, LIMITS.page_bytes_max)
    }

    /// By number.
    pub fn after(&self, after: Seq, limit: usize) -> Page {
        let mut found = self.messages.clone();
        found.retain(|message| message.seq > after);
        bounded(found, limit, LIMITS.page_bytes_max)
    }

    /// One page of unread late messages.
    pub fn late_page(&self, user: &UserName, after: Seq, limit: usize) -> LatePage {
        let page = bounded(self.unread_late(user, after), limit, LIMITS.page_bytes_max);
        let last = page.items.last().map(|message| message.seq);
        LatePage { next: last.filter(|_| page.more), items: page.items }
    }

    /// Exactly what is above `seq`, if it may be bridged.
    fn bridge(&self, seq: Seq) -> Option<OpenView> {
        let missing = self.head().0.checked_sub(seq.0)?;
        let page = self.after(seq, LIMITS.resume_max);
        (missing <= LIMITS.resume_max as u64 && !page.more)
            .then_some(OpenView::Recovered(page.items))
    }

    /// The newest page, and the unread late messages that are not on it.
    fn page(&self, user: &UserName, limit: usize) -> OpenView {
        let mut newest = self.messages.clone();
        newest.sort_by_key(|message| message.position());
        newest.reverse();
        let mut page = bounded(newest, limit, LIMITS.page_bytes_max);
        page.items.reverse();
        let bytes: usize = page.items.iter().map(|message| message.wire_bytes()).sum();
        let mut late = self.unread_late(user, Seq::ZERO);
        late.retain(|message| !page.items.contains(message));
        let before_late = late.first().map_or(Seq::ZERO, |message| Seq(message.seq.0 - 1));
        let bytes_left = LIMITS.page_bytes_max.saturating_sub(bytes);
        let late = bounded(late, LIMITS.late_max, bytes_left);
        let last = late.items.last().map_or(before_late, |message| message.seq);
        OpenView::Page {
            items: page.items,
            older: page.more,
            late: late.items,
            late_next: late.more.then_some(last),
        }
    }

    /// How many are unread: all, late, and on time before the page.
    pub fn unread_counts(&self, user: &UserName, view: &OpenView) -> UnreadCounts {
        let unread = self.unread(user);
        let late = unread.iter().filter(|message| message.late).count();
        let is_before = |message: &Message| match view {
            OpenView::Recovered(_) => false,
            OpenView::Page { items, .. } => {
                items.first().is_none_or(|first| message.position() < first.position())
            }
        };
        let before = unread.iter().filter(|message| !message.late && is_before(message)).count();
        UnreadCounts {
            unread: capped(unread.len()),
            late: capped(late).count,
            before: capped(before).count,
        }
    }

    /// A direct chat of two in which both have opened or written.
    fn is_mutual(&self, place: &Place) -> bool {
        let users: Vec<&UserName> = place.participants().collect();
        let was_here = |user: &UserName| {
            self.acked.contains_key(user) || self.messages.iter().any(|sent| sent.from == *user)
        };
        users.len() == 2 && users.into_iter().all(was_here)
    }

    /// What `list` shows.
    pub fn summary(&self, user: &UserName) -> Summary {
        let newest = self.messages.last().cloned();
        let acked_up_to = self.acked.contains_key(user).then(|| self.acked_by(user).up_to);
        Summary { newest, unread: capped(self.unread(user).len()), acked_up_to }
    }
}

/// The first messages that fit a count and a number of bytes (the first always does, unless there
/// is already something in the reply: then `bytes_max` is less than a page).
fn bounded(found: Vec<Arc<Message>>, limit: usize, bytes_max: usize) -> Page {
    let total = found.len();
    let (mut items, mut bytes) = (Vec::new(), 0);
    for message in found {
        bytes += message.wire_bytes();
        if items.len() == limit || bytes > bytes_max {
            break;
        }
        items.push(message);
    }
    Page { more: items.len() < total, items }
}

/// Exact up to `unread_max`.
fn capped(count: usize) -> Count {
    Count { count: count.min(LIMITS.unread_max), more: count > LIMITS.unread_max }
}

/// A set of numbers as the contract writes it down.
pub fn normal_form(acked: &BTreeSet<u64>) -> AckSet {
    let mut up_to = 0;
    let mut ranges: Vec<(Seq, Seq)> = Vec::new();
    for &seq in acked {
        match ranges.last_mut() {
            _ if seq == up_to + 1 => up_to = seq,
            Some((_, hi)) if hi.0 == seq => *hi = Seq(seq + 1),
            _ => ranges.push((Seq(seq), Seq(seq + 1))),
        }
    }
    AckSet { up_to: Seq(up_to), ranges }
}
