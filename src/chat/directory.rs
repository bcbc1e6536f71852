//! The sessions of this node by user, and the `listed` pushes for conversations they have not open.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::standing::{Due, Standing};
use super::{Frame, Outbox, encode};
use crate::identity::Pass;
use crate::model::{ConvId, LIMITS, Place, Seq, SessionId, UserName};
use crate::protocol::{ListedPush, Push, To};

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
    /// A session that has nothing open, of whoever the pass says.
    pub fn with_standing(id: SessionId, standing: Standing, outbox: Arc<Outbox>) -> Self {
        let user = standing.pass().user.clone();
        Self { id, user, outbox, view: Mutex::default(), standing: Mutex::new(standing) }
    }

    /// The same, of a user who need not prove it.
    #[cfg(test)]
    pub fn new(id: SessionId, user: UserName, outbox: Arc<Outbox>) -> Self {
        let standing = Standing::new(Pass::unproven(user, 0), 0, 0);
        Self::with_standing(id, standing, outbox)
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
    /// Sessions that something waits for.
    waiting: Mutex<Vec<Arc<SessionHandle>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Directory {
    /// Adds a session.
    pub fn add(&self, session: Arc<SessionHandle>) {
        lock(&self.by_user).entry(session.user.clone()).or_default().push(session);
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
    pub fn mention(&self, conv: ConvId, place: &Place, head: Seq) {
        let now = Instant::now();
        let tell = |session: &Arc<SessionHandle>| {
            let listed = ListedPush { conv, to: to_for(place, &session.user), head };
            if session.mention(listed, now) {
                lock(&self.waiting).push(Arc::clone(session));
            }
        };
        match place {
            Place::Direct(..) => {
                for user in place.participants() {
                    self.sessions_of(user).iter().for_each(tell);
                }
            }
            Place::Channel(_) | Place::Group(_) => {
                let watchers = lock(&self.watchers).get(&conv).cloned().unwrap_or_default();
                watchers.iter().for_each(tell);
            }
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
