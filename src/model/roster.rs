//! Who is in a group, and who may change that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{Epoch, LIMITS, Seq, UserName};

/// The members of a group at one moment. The roster of a group that does not exist is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Roster {
    /// Counts the changes: 1 when the group is made; 0 where there is none.
    pub version: u64,
    /// Who may remove others; `None` in a group that everybody has left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserName>,
    /// Everybody, the owner too.
    pub members: BTreeMap<UserName, Membership>,
}

/// How somebody came to be a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The version of the roster that began with it. Who was removed and invited again has another one.
    pub joined: u64,
    /// The head when it began: for whoever was a member before, everything up to here counts as read.
    pub since: Seq,
    /// The life of the store that `since` belongs to, as [`life_number`]: in another one it says nothing.
    #[serde(default)]
    pub life: u64,
}

/// A life of the store as a number.
pub fn life_number(epoch: &Epoch) -> u64 {
    xxh3_64(epoch.as_str().as_bytes())
}

impl Membership {
    /// Up to where everything counts as read in a life of the store.
    pub fn read_up_to(&self, epoch: &Epoch) -> Seq {
        if self.life == life_number(epoch) { self.since } else { Seq::ZERO }
    }
}

/// What somebody does to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupAct {
    /// Makes it, and is its owner.
    Create,
    /// Makes another a member.
    Invite(UserName),
    /// Ends the membership of another.
    Remove(UserName),
    /// Ends one's own.
    Quit,
}

/// Why not. Definite: nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupRefusal {
    /// Who asks is no member, or there is no such group.
    NotMember,
    /// Only the owner may.
    NotOwner,
    /// As many members as there may be.
    Full,
    /// The id is taken.
    Taken,
}

impl Roster {
    /// The membership of a user, if there is one.
    pub fn membership(&self, user: &UserName) -> Option<Membership> {
        self.members.get(user).copied()
    }

    /// The roster after `by` has done something while the conversation's head was `head` in this life of the store; `None` when it is that already:
    /// an invited member stays one, and somebody who is not there need not be removed. So each act but the last may be done twice:
    /// who quits again is no member any more.
    pub fn after(
        &self,
        by: &UserName,
        act: &GroupAct,
        (head, epoch): (Seq, &Epoch),
    ) -> Result<Option<Self>, GroupRefusal> {
        if *act == GroupAct::Create {
            if self.version > 0 {
                let is_own = self.owner.as_ref() == Some(by);
                return if is_own { Ok(None) } else { Err(GroupRefusal::Taken) };
            }
            let mut made = Self { owner: Some(by.clone()), ..Self::default() };
            made.add(by.clone(), head, epoch);
            return Ok(Some(made));
        }
        if !self.members.contains_key(by) {
            return Err(GroupRefusal::NotMember);
        }
        let mut changed = self.clone();
        match act {
            GroupAct::Create => {}
            GroupAct::Invite(user) => {
                if self.members.contains_key(user) {
                    return Ok(None);
                }
                if self.members.len() >= LIMITS.group_members_max {
                    return Err(GroupRefusal::Full);
                }
                changed.add(user.clone(), head, epoch);
            }
            GroupAct::Remove(user) => {
                if self.owner.as_ref() != Some(by) {
                    return Err(GroupRefusal::NotOwner);
                }
                if !self.members.contains_key(user) {
                    return Ok(None);
                }
                changed.drop(user);
            }
            GroupAct::Quit => changed.drop(by),
        }
        Ok(Some(changed))
    }

    fn add(&mut self, user: UserName, since: Seq, epoch: &Epoch) {
        self.version += 1;
        let (joined, life) = (self.version, life_number(epoch));
        self.members.insert(user, Membership { joined, since, life });
    }

    fn drop(&mut self, user: &UserName) {
        self.version += 1;
        self.members.remove(user);
        if self.owner.as_ref() == Some(user) {
            let oldest = self.members.iter().min_by_key(|(_, membership)| membership.joined);
            self.owner = oldest.map(|(user, _)| user.clone());
        }
    }

    /// Who is a member here and was none in `earlier`, or had another membership there.
    pub fn joined_since<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = &'a UserName> {
        self.beside(earlier)
    }

    /// Who was a member in `earlier` and is none here, or has another membership by now.
    pub fn left_since<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = &'a UserName> {
        earlier.beside(self)
    }

    fn beside<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a UserName> {
        let is_other = |(user, membership): &(&UserName, &Membership)| {
            other.members.get(*user).is_none_or(|there| there.joined != membership.joined)
        };
        self.members.iter().filter(is_other).map(|(user, _)| user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch() -> Epoch {
        Epoch::new("e").unwrap()
    }

    fn name(name: &str) -> UserName {
        UserName::new(name).unwrap()
    }

    fn group(acts: &[(&str, GroupAct)]) -> Roster {
        let start = Roster::default();
        acts.iter().fold(start, |roster, (by, act)| {
            roster.after(&name(by), act, (Seq(7), &epoch())).unwrap().unwrap_or(roster)
        })
    }

    #[test]
    fn whoever_makes_it_owns_it_and_any_member_invites() {
        let invite = |user| GroupAct::Invite(name(user));
        let group =
            group(&[("ann", GroupAct::Create), ("ann", invite("bob")), ("bob", invite("eve"))]);
        assert_eq!((group.version, group.owner.clone()), (3, Some(name("ann"))));
        let (since, life) = (Seq(7), life_number(&epoch()));
        assert_eq!(group.membership(&name("eve")), Some(Membership { joined: 3, since, life }));
        assert_eq!(group.after(&name("eve"), &invite("bob"), (Seq(9), &epoch())), Ok(None));
        let remove = GroupAct::Remove(name("bob"));
        assert_eq!(
            group.after(&name("eve"), &remove, (Seq(9), &epoch())),
            Err(GroupRefusal::NotOwner)
        );
        assert_eq!(
            group.after(&name("max"), &remove, (Seq(9), &epoch())),
            Err(GroupRefusal::NotMember)
        );
        assert_eq!(
            group.after(&name("max"), &GroupAct::Quit, (Seq(9), &epoch())),
            Err(GroupRefusal::NotMember)
        );
        assert_eq!(
            group.after(&name("max"), &GroupAct::Create, (Seq(9), &epoch())),
            Err(GroupRefusal::Taken)
        );
    }

    #[test]
    fn the_oldest_member_owns_what_its_owner_has_left() {
        let invite = |user| GroupAct::Invite(name(user));
        let remove = |user| GroupAct::Remove(name(user));
        let left = group(&[
            ("ann", GroupAct::Create),
            ("ann", invite("zoe")),
            ("ann", invite("bob")),
            ("ann", remove("zoe")),
            ("ann", invite("zoe")),
            ("ann", GroupAct::Quit),
        ]);
        assert_eq!(left.owner, Some(name("bob")), "zoe came again");
        let empty = left.after(&name("bob"), &remove("bob"), (Seq(9), &epoch())).unwrap().unwrap();
        let empty =
            empty.after(&name("zoe"), &GroupAct::Quit, (Seq(9), &epoch())).unwrap().unwrap();
        assert_eq!((empty.owner.clone(), empty.members.len(), empty.version), (None, 0, 8));
        let none = empty.after(&name("zoe"), &invite("zoe"), (Seq(9), &epoch()));
        assert_eq!(none, Err(GroupRefusal::NotMember));
    }

    #[test]
    fn what_a_membership_says_of_reading_ends_with_the_life_of_the_store() {
        let made = group(&[("ann", GroupAct::Create)]);
        let ann = made.membership(&name("ann")).unwrap();
        assert_eq!(ann.read_up_to(&epoch()), Seq(7));
        assert_eq!(ann.read_up_to(&Epoch::new("other").unwrap()), Seq::ZERO);
    }

    #[test]
    fn a_full_group_takes_nobody_more() {
        let mut full = group(&[("ann", GroupAct::Create)]);
        for number in 1..LIMITS.group_members_max {
            full.add(name(&format!("user-{number}")), Seq::ZERO, &epoch());
        }
        let invite = GroupAct::Invite(name("late"));
        assert_eq!(full.after(&name("ann"), &invite, (Seq(1), &epoch())), Err(GroupRefusal::Full));
        full.drop(&name("user-1"));
        assert!(matches!(full.after(&name("ann"), &invite, (Seq(1), &epoch())), Ok(Some(_))));
    }

    #[test]
    fn who_was_away_meanwhile_has_left_and_come() {
        let invite = |user| GroupAct::Invite(name(user));
        let earlier = group(&[("ann", GroupAct::Create), ("ann", invite("bob"))]);
        let away =
            earlier.after(&name("bob"), &GroupAct::Quit, (Seq(8), &epoch())).unwrap().unwrap();
        let again = away.after(&name("ann"), &invite("bob"), (Seq(9), &epoch())).unwrap().unwrap();
        assert_eq!(again.left_since(&earlier).collect::<Vec<_>>(), [&name("bob")]);
        assert_eq!(again.joined_since(&earlier).collect::<Vec<_>>(), [&name("bob")]);
        assert_eq!(away.joined_since(&earlier).count(), 0);
    }
}
