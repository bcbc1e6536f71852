//! The conversations that are open on this node.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use super::room::Room;
use super::subscription::Subscription;
use crate::distribution::Distribution;
use crate::model::{ConvId, Place, SessionId, UserName};

/// Locks that rooms are spread over, so that conversations do not wait for each other.
const SHARDS: usize = 64;

type ByConv = foldhash::HashMap<ConvId, Arc<Room>>;
type Shard = Mutex<ByConv>;

/// All rooms; one exists as long as somebody is in it. Locks are taken in the order shard, room, index.
pub struct Rooms {
    /// Told which conversations are open here.
    distribution: Arc<dyn Distribution>,
    shards: Vec<Shard>,
    hasher: RandomState,
    /// The open direct chats of each user, for presence.
    direct: Mutex<HashMap<UserName, Direct>>,
}

/// What is open of one user.
#[derive(Debug, Default)]
struct Direct {
    convs: BTreeSet<ConvId>,
    /// Of the newest change of presence that was told here.
    version: u64,
}

impl Rooms {
    /// None yet; `distribution` is told which there are.
    pub fn new(distribution: Arc<dyn Distribution>) -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Self { distribution, shards, hasher: RandomState::default(), direct: Mutex::default() }
    }

    fn shard(&self, conv: ConvId) -> MutexGuard<'_, ByConv> {
        let at = self.hasher.hash_one(conv) as usize % SHARDS;
        // No code under this lock can panic half-way through a change.
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn direct(&self) -> MutexGuard<'_, HashMap<UserName, Direct>> {
        self.direct.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The room of a conversation that is open here.
    pub fn get(&self, conv: ConvId) -> Option<Arc<Room>> {
        self.shard(conv).get(&conv).cloned()
    }

    /// Every room, as they are at some moment of the call each.
    pub fn all(&self) -> Vec<(ConvId, Arc<Room>)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(shard.iter().map(|(conv, room)| (*conv, Arc::clone(room))));
        }
        all
    }

    /// Joins a room, creating it if need be.
    pub fn join(
        &self,
        conv: ConvId,
        place: &Arc<Place>,
        subscription: Arc<Subscription>,
    ) -> Arc<Room> {
        let mut shard = self.shard(conv);
        let room = shard.entry(conv).or_insert_with(|| {
            let mut direct = self.direct();
            for user in place.participants() {
                direct.entry(user.clone()).or_default().convs.insert(conv);
            }
            self.distribution.opened(conv);
            Arc::new(Room::new(conv, Arc::clone(place)))
        });
        room.join(subscription);
        Arc::clone(room)
    }

    /// Leaves a room and removes it when it is empty.
    pub fn leave(&self, conv: ConvId, session: &SessionId) {
        let mut shard = self.shard(conv);
        if let Some(room) = shard.get(&conv)
            && room.leave(session)
        {
            self.remove(&mut shard, conv);
        }
    }

    /// Removes a room that has become empty by itself.
    pub fn sweep(&self, conv: ConvId) {
        let mut shard = self.shard(conv);
        if shard.get(&conv).is_some_and(|room| room.is_empty()) {
            self.remove(&mut shard, conv);
        }
    }

    fn remove(&self, shard: &mut ByConv, conv: ConvId) {
        let Some(room) = shard.remove(&conv) else { return };
        self.distribution.closed(conv);
        let mut direct = self.direct();
        for user in room.place().participants() {
            if let Some(of_user) = direct.get_mut(user) {
                of_user.convs.remove(&conv);
                if of_user.convs.is_empty() {
                    direct.remove(user);
                }
            }
        }
    }

    /// Which change of a user's presence was told last; 0: none.
    pub fn presence_version(&self, user: &UserName) -> u64 {
        self.direct().get(user).map_or(0, |of_user| of_user.version)
    }

    /// The open direct chats of a user that are to be told of a change of presence; none when a newer one was told. 0 is a
    /// guess: it is told, and what comes is newer.
    pub fn told_of(&self, user: &UserName, version: u64) -> Vec<Arc<Room>> {
        let convs: Vec<ConvId> = match self.direct().get_mut(user) {
            Some(of_user) if version == 0 || version > of_user.version => {
                of_user.version = of_user.version.max(version);
                of_user.convs.iter().copied().collect()
            }
            _ => Vec::new(),
        };
        convs.into_iter().filter_map(|conv| self.get(conv)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Outbox;
    use crate::chat::directory::SessionHandle;
    use crate::distribution::local::LocalDistribution;

    #[test]
    fn of_two_changes_of_presence_the_newer_one_is_the_last_that_is_told() {
        let name = |name| UserName::new(name).unwrap();
        let (ann, bob) = (name("ann"), name("bob"));
        let place = Arc::new(Place::direct(ann.clone(), bob.clone()));
        let rooms = Rooms::new(Arc::new(LocalDistribution::default()));
        let outbox = Arc::new(Outbox::new(1 << 20));
        let session = Arc::new(SessionHandle::new(SessionId::generate(), ann, outbox, None));
        let subscription = Arc::new(Subscription::new(session, true, true, None));
        rooms.join(place.conv_id(), &place, subscription);
        let told: Vec<usize> =
            [5, 4, 5, 0, 4, 6].iter().map(|&version| rooms.told_of(&bob, version).len()).collect();
        assert_eq!(told, [1, 0, 0, 1, 0, 1]);
        assert!(rooms.told_of(&name("cat"), 1).is_empty());
    }
}
