//! The sessions of this node by user, and the `listed` pushes for conversations they have not open.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::pace::ReplyMeter;
use super::rate::Rate;
use super::standing::{Due, Standing};
use super::{Frame, Outbox, encode};
use crate::identity::Pass;
use crate::model::{ConvId, LIMITS, Place, Roster, Seq, SessionId, UserName};
use crate::protocol::{ListedPush, Push, RemovedPush, To};

/// A conversation that is not open is mentioned to a session at most this often.
const LISTED_INTERVAL: Duration = Duration::from_secs(1);

/// A session as the rest of the node sees it.
#[derive(Debug)]
pub struct SessionHandle {
    /// Its identity.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserName,
    /// Where it is told things.
    pub outbox: Arc<Outbox>,
    /// What was replied to it of late.
    pub replied: ReplyMeter,
    view: Mutex<SessionView>,
    standing: Mutex<Standing>,
}

/// What a session has in sight.
#[derive(Debug, Default)]
struct SessionView {
    open: HashSet<ConvId>,
    watched: HashSet<ConvId>,
    mentions: HashMap<ConvId, Mention>,
}

/// When a conversation was mentioned last, and what to mention when it may be again.
#[derive(Debug)]
struct Mention {
    at: Instant,
    waiting: Option<ListedPush>,
}

impl SessionHandle {
    /// A session that has nothing open, of whoever the pass says; what is replied to it is measured by `reply_bytes`.
    pub fn with_standing(
        id: SessionId,
        standing: Standing,
        outbox: Arc<Outbox>,
        reply_bytes: Option<Rate>,
    ) -> Self {
        let (user, replied) = (standing.pass().user.clone(), ReplyMeter::new(reply_bytes));
        let standing = Mutex::new(standing);
        Self { id, user, outbox, replied, view: Mutex::default(), standing }
    }

    /// The same, of a user who need not prove it.
    #[cfg(test)]
    pub fn new(
        id: SessionId,
        user: UserName,
        outbox: Arc<Outbox>,
        reply_bytes: Option<Rate>,
    ) -> Self {
        let standing = Standing::new(Pass::unproven(user, 0), 0, 0);
        Self::with_standing(id, standing, outbox, reply_bytes)
    }

    /// Queues the reply to a command.
    pub fn reply(&self, frame: Frame) {
        self.replied.replied(frame.len());
        self.outbox.push(frame);
    }

    /// From now on another pass of the same user counts.
    pub fn stand(&self, standing: Standing) {
        *lock(&self.standing) = standing;
    }

    /// What is due in it because of its pass.
    pub fn due(&self, now: u64) -> Due {
        lock(&self.standing).due(now)
    }

    /// Looks at its pass.
    pub fn with_pass<T>(&self, look: impl FnOnce(&Pass) -> T) -> T {
        look(lock(&self.standing).pass())
    }

    fn view(&self) -> MutexGuard<'_, SessionView> {
        // No code under this lock can panic half-way through a change.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records whether a conversation is open here.
    pub fn set_open(&self, conv: ConvId, open: bool) {
        let mut view = self.view();
        if open {
            view.open.insert(conv);
            view.mentions.remove(&conv);
        } else {
            view.open.remove(&conv);
        }
    }

    /// Mentions a message unless its conversation is open; `true`: later, call [`SessionHandle::flush`].
    fn mention(&self, listed: ListedPush, now: Instant) -> bool {
        let mut view = self.view();
        if view.open.contains(&listed.conv) {
            return false;
        }
        match view.mentions.get_mut(&listed.conv) {
            Some(mention) if now - mention.at < LISTED_INTERVAL => {
                let first = mention.waiting.is_none();
                if mention.waiting.as_ref().is_none_or(|waiting| waiting.head < listed.head) {
                    mention.waiting = Some(listed);
                }
                first
            }
            _ => {
                let mention = Mention { at: now, waiting: None };
                view.mentions.insert(listed.conv, mention);
                self.outbox.push(listed_frame(listed));
                false
            }
        }
    }

    /// Mentions what had to wait; `true`: something still waits.
    fn flush(&self, now: Instant) -> bool {
        let mut view = self.view();
        let mut waits = false;
        view.mentions.retain(|_, mention| {
            if now - mention.at < LISTED_INTERVAL {
                waits |= mention.waiting.is_some();
                return true;
            }
            match mention.waiting.take() {
                Some(listed) => {
                    self.outbox.push(listed_frame(listed));
                    mention.at = now;
                    true
                }
                None => false,
            }
        });
        waits
    }
}

fn listed_frame(listed: ListedPush) -> Frame {
    encode::push(&Push::Listed(listed))
}

/// What `open` takes for a conversation, as one of its users sees it.
pub fn to_for(place: &Place, user: &UserName) -> To {
    match place {
        Place::Direct(one, other) => {
            To::User(if one == user { other.clone() } else { one.clone() })
        }
        Place::Channel(name) => To::Channel(name.clone()),
        Place::Group(id) => To::Group(id.clone()),
    }
}

/// Who is connected to this node.
#[derive(Debug, Default)]
pub struct Directory {
    by_user: Mutex<HashMap<UserName, Vec<Arc<SessionHandle>>>>,
    /// Sessions that have a channel in sight without having it open: they left it or listed it.
    watchers: Mutex<HashMap<ConvId, Vec<Arc<SessionHandle>>>>,
    /// Messages of groups that watchers may hear of, once it is known who is a member.
    of_groups: Mutex<BTreeMap<ConvId, (Arc<Place>, Seq)>>,
    /// Sessions that something waits for.
    waiting: Mutex<Vec<Arc<SessionHandle>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Directory {
    /// Adds a session, whose first frame is `greeting`; `false`: its user has `sessions_max` of them here, and nothing happened.
    pub fn add(
        &self,
        session: Arc<SessionHandle>,
        sessions_max: Option<u64>,
        greeting: Frame,
    ) -> bool {
        let mut by_user = lock(&self.by_user);
        let sessions = by_user.get(&session.user).map_or(0, Vec::len) as u64;
        if sessions_max.is_some_and(|max| sessions >= max) {
            return false;
        }
        // Before the others can find it: nothing may be pushed before this.
        session.outbox.push(greeting);
        by_user.entry(session.user.clone()).or_default().push(session);
        true
    }

    /// Removes a session and everything that it watched.
    pub fn remove(&self, session: &SessionHandle) {
        remove_from(&mut lock(&self.by_user), &session.user, &session.id);
        let watched = std::mem::take(&mut session.view().watched);
        let mut watchers = lock(&self.watchers);
        for conv in watched {
            remove_from(&mut watchers, &conv, &session.id);
        }
    }

    /// The sessions of a user on this node.
    pub fn sessions_of(&self, user: &UserName) -> Vec<Arc<SessionHandle>> {
        lock(&self.by_user).get(user).cloned().unwrap_or_default()
    }

    /// All sessions of this node.
    pub fn all(&self) -> Vec<Arc<SessionHandle>> {
        let mut all: Vec<_> = lock(&self.by_user).values().flatten().cloned().collect();
        all.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        all
    }

    /// From now on the session hears of messages in a channel that it has not open.
    pub fn watch(&self, conv: ConvId, session: &Arc<SessionHandle>) {
        let mut view = session.view();
        if view.watched.len() < LIMITS.list_max && view.watched.insert(conv) {
            drop(view);
            lock(&self.watchers).entry(conv).or_default().push(Arc::clone(session));
        }
    }

    /// A conversation became a user's: all of the user's sessions are told.
    pub fn became(&self, conv: ConvId, place: &Place, user: &UserName, head: Seq) {
        let listed = ListedPush { conv, to: to_for(place, user), head };
        let frame = listed_frame(listed);
        for session in self.sessions_of(user) {
            session.outbox.push(frame.clone());
        }
    }

    /// A message came: sessions that have its conversation in sight but not open are told, now or soon.
    pub fn mention(&self, conv: ConvId, place: &Arc<Place>, head: Seq) {
        let tell = |session: &Arc<SessionHandle>| self.tell(conv, place, head, session);
        match &**place {
            Place::Direct(..) => {
                for user in place.participants() {
                    self.sessions_of(user).iter().for_each(tell);
                }
            }
            Place::Channel(_) => self.watchers_of(conv).iter().for_each(tell),
            Place::Group(_) => {
                if lock(&self.watchers).contains_key(&conv) {
                    let mut of_groups = lock(&self.of_groups);
                    let entry = of_groups.entry(conv).or_insert((Arc::clone(place), head));
                    entry.1 = entry.1.max(head);
                }
            }
        }
    }

    fn watchers_of(&self, conv: ConvId) -> Vec<Arc<SessionHandle>> {
        lock(&self.watchers).get(&conv).cloned().unwrap_or_default()
    }

    fn tell(&self, conv: ConvId, place: &Place, head: Seq, session: &Arc<SessionHandle>) {
        let listed = ListedPush { conv, to: to_for(place, &session.user), head };
        if session.mention(listed, Instant::now()) {
            lock(&self.waiting).push(Arc::clone(session));
        }
    }

    /// Messages of groups to mention, the newest of each; for [`Directory::mention_to`].
    pub fn take_group_mentions(&self) -> Vec<(ConvId, Arc<Place>, Seq)> {
        let taken = std::mem::take(&mut *lock(&self.of_groups));
        taken.into_iter().map(|(conv, (place, head))| (conv, place, head)).collect()
    }

    /// A message came into a group: its members are told who have it in sight.
    pub fn mention_to(&self, conv: ConvId, place: &Place, head: Seq, roster: &Roster) {
        for session in self.watchers_of(conv) {
            match roster.membership(&session.user) {
                Some(_) => self.tell(conv, place, head, &session),
                None => self.forget(conv, &session),
            }
        }
    }

    /// A user is no member of a group any more: sessions that have it not open are told, and hear of it no more.
    pub fn removed(&self, conv: ConvId, user: &UserName) {
        let frame = encode::push(&Push::Removed(RemovedPush { conv }));
        for session in self.sessions_of(user) {
            self.forget(conv, &session);
            // Where it is open, the room tells.
            if !session.view().open.contains(&conv) {
                session.outbox.push(frame.clone());
            }
        }
    }

    fn forget(&self, conv: ConvId, session: &SessionHandle) {
        let mut view = session.view();
        view.mentions.remove(&conv);
        if view.watched.remove(&conv) {
            drop(view);
            remove_from(&mut lock(&self.watchers), &conv, &session.id);
        }
    }

    /// Tells what had to wait and now may; called a few times a second.
    pub fn flush(&self) {
        let now = Instant::now();
        let mut sessions = std::mem::take(&mut *lock(&self.waiting));
        sessions.retain(|session| session.flush(now));
        if !sessions.is_empty() {
            let mut waiting = lock(&self.waiting);
            waiting.append(&mut sessions);
            waiting.sort_unstable_by(|one, other| one.id.cmp(&other.id));
            waiting.dedup_by(|one, other| one.id == other.id);
        }
    }
}

fn remove_from<K: std::hash::Hash + Eq>(
    map: &mut HashMap<K, Vec<Arc<SessionHandle>>>,
    key: &K,
    id: &SessionId,
) {
    if let Some(sessions) = map.get_mut(key) {
        sessions.retain(|session| session.id != *id);
        if sessions.is_empty() {
            map.remove(key);
        }
    }
}
