//! Who takes part in a run, and where they talk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::harness::HarnessError;
use crate::model::{ChannelName, ConvId, GroupId, Place, UserName};
use crate::protocol::{Send, To};

/// Users of one channel.
const CHANNEL_USERS: usize = 4;

/// Users that may be in one group.
const GROUP_USERS: usize = 4;

/// Sends of one user that are remembered for retries.
const REMEMBERED_MAX: usize = 48;

/// A conversation of the run.
#[derive(Debug)]
pub struct Venue {
    /// What it is; of a group nobody knows before it is made.
    place: OnceLock<Place>,
    /// It is a group: the first member makes it, and owns it as long as the run goes on.
    pub is_group: bool,
    /// Who may be there.
    pub members: Vec<usize>,
    /// As the first `open` answered; what a later one answers instead shows up as contents of
    /// another conversation.
    pub conv: OnceLock<ConvId>,
    /// The last time that somebody put on a message, for equal ones.
    pub ts_last: AtomicU64,
}

impl Venue {
    fn new(place: Place, members: Vec<usize>) -> Self {
        Self { place: OnceLock::from(place), is_group: false, ..Self::group(members) }
    }

    fn group(members: Vec<usize>) -> Self {
        let (place, conv) = (OnceLock::new(), OnceLock::new());
        Self { place, is_group: true, members, conv, ts_last: AtomicU64::new(0) }
    }

    /// The group was made.
    pub fn made(&self, group: GroupId) {
        let place = Place::Group(group);
        // Once, before anybody plays.
        let _ = self.conv.set(place.conv_id());
        let _ = self.place.set(place);
    }

    /// What `open` of `user` says; nothing of a group that was not made.
    pub fn to(&self, user: &UserName) -> Option<To> {
        Some(match self.place.get()? {
            Place::Channel(name) => To::Channel(name.clone()),
            Place::Group(id) => To::Group(id.clone()),
            place @ Place::Direct(one, _) => To::User(place.peer_of(user).unwrap_or(one).clone()),
        })
    }
}

/// A send as it was asked, and whether it was answered.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Where.
    pub venue: usize,
    /// What.
    pub send: Send,
    /// Answered ok: it is stored for certain.
    pub is_settled: bool,
}

/// A user, with what all its sessions share.
#[derive(Debug)]
pub struct User {
    /// Its name.
    pub name: UserName,
    /// The venues that it is in.
    pub venues: Vec<usize>,
    sent: Mutex<Vec<Sent>>,
}

impl User {
    /// Remembers a send for retries, also by another session; the oldest one makes room.
    pub fn remember(&self, sent: Sent) {
        let mut all = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == REMEMBERED_MAX {
            all.remove(0);
        }
        all.push(sent);
    }

    /// Notes that a send was answered ok.
    pub fn settle(&self, send: &Send) {
        let mut all = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |sent: &&mut Sent| sent.send.cid == send.cid && sent.send.conv == send.conv;
        if let Some(sent) = all.iter_mut().find(same) {
            sent.is_settled = true;
        }
    }

    /// What is remembered.
    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Everybody and every place of a run.
#[derive(Debug)]
pub struct Cast {
    /// The users; fewer than clients, so that some have two sessions.
    pub users: Vec<User>,
    /// The conversations.
    pub venues: Vec<Venue>,
}

impl Cast {
    /// The cast of `clients` clients: neighbours talk in direct chats, four at a time in channels that
    /// overlap and in groups, and the first keeps notes to itself.
    pub fn new(clients: usize, prefix: &str) -> Result<Self, HarnessError> {
        let wrong = |error: crate::model::InvalidName| {
            HarnessError::Usage(format!("--user-prefix makes no valid name: it {error}"))
        };
        let count = (clients * 3).div_ceil(4).max(1);
        let names: Vec<UserName> = (0..count)
            .map(|number| UserName::new(&format!("{prefix}-{number}")))
            .collect::<Result<_, _>>()
            .map_err(wrong)?;
        let mut venues =
            vec![Venue::new(Place::direct(names[0].clone(), names[0].clone()), vec![0])];
        for one in 0..count.saturating_sub(1) {
            let place = Place::direct(names[one].clone(), names[one + 1].clone());
            venues.push(Venue::new(place, vec![one, one + 1]));
        }
        for first in (0..count).step_by(CHANNEL_USERS - 1) {
            let name = ChannelName::new(&format!("{prefix}-channel-{first}")).map_err(wrong)?;
            let members = (first..count.min(first + CHANNEL_USERS)).collect();
            venues.push(Venue::new(Place::Channel(name), members));
        }
        for first in (0..count).step_by(GROUP_USERS) {
            venues.push(Venue::group((first..count.min(first + GROUP_USERS)).collect()));
        }
        let users = names.into_iter().enumerate().map(|(number, name)| {
            let mine = |venue: &usize| venues[*venue].members.contains(&number);
            User { name, venues: (0..venues.len()).filter(mine).collect(), sent: Mutex::default() }
        });
        Ok(Self { users: users.collect(), venues })
    }

    /// A time like the last one of the venue, or `now` when there is none.
    pub fn equal_ts(&self, venue: usize, now: u64) -> u64 {
        match self.venues[venue].ts_last.load(Ordering::Relaxed) {
            0 => now,
            last => last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_company_in_direct_chats_and_channels() {
        for clients in 1..20 {
            let cast = Cast::new(clients, "t").unwrap();
            assert!(cast.users.len() <= clients);
            for user in &cast.users {
                let channels = user.venues.iter().filter(|&&venue| {
                    matches!(cast.venues[venue].place.get(), Some(Place::Channel(_)))
                });
                assert!(channels.count() >= 1, "{}", user.name);
                let groups = user.venues.iter().filter(|&&venue| cast.venues[venue].is_group);
                assert_eq!(groups.count(), 1, "{}", user.name);
            }
        }
        let cast = Cast::new(8, "t").unwrap();
        assert!(cast.users.len() < 8, "some users have two sessions");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_settled_by_conversation() {
        let cast = Cast::new(2, "t").unwrap();
        let user = &cast.users[0];
        for number in 0..REMEMBERED_MAX + 3 {
            let conv = cast.venues[number % 2].place.get().unwrap().conv_id();
            let cid = crate::model::Cid::new(&format!("c{}", number / 2)).unwrap();
            let kind = crate::model::MessageType::new("text").unwrap();
            let send = Send { conv, cid, kind, content: "x".into(), ts: None };
            user.remember(Sent { venue: number % 2, send, is_settled: false });
        }
        let sent = user.sent();
        assert_eq!(sent.len(), REMEMBERED_MAX);
        user.settle(&sent[7].send);
        assert_eq!(user.sent().iter().filter(|sent| sent.is_settled).count(), 1);
        assert!(user.sent()[7].is_settled);
    }
}
