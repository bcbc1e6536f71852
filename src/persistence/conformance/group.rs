//! Groups: who is in one, and what its messages know of it.

use futures_util::future::join_all;

use super::subject::{
    PAST, Room, Subject, everything, open, regroup, regrouped, roster, send, stored,
};
use crate::model::{GroupAct, GroupRefusal, Membership, Roster, Seq, UserName, life_number};
use crate::persistence::{Append, AppendOutcome, GroupOutcome};

fn invite(user: &UserName) -> GroupAct {
    GroupAct::Invite(user.clone())
}

fn remove(user: &UserName) -> GroupAct {
    GroupAct::Remove(user.clone())
}

fn members(roster: &Roster) -> Vec<&UserName> {
    roster.members.keys().collect()
}

/// A group of these users; the first owns it.
async fn group_of(subject: &Subject, users: &[&UserName]) -> Room {
    let room = subject.group();
    regrouped(&subject.engine, &room, users[0], GroupAct::Create).await;
    for user in &users[1..] {
        regrouped(&subject.engine, &room, users[0], invite(user)).await;
    }
    room
}

async fn refused(subject: &Subject, room: &Room, by: &UserName, act: GroupAct) -> GroupRefusal {
    match regroup(&subject.engine, room, by, act).await {
        GroupOutcome::Refused(refusal) => refusal,
        done => panic!("not refused: {done:?}"),
    }
}

async fn is_stranger(subject: &Subject, append: Append) -> bool {
    let outcome = subject.elsewhere.append(append).await.expect("the engine works");
    matches!(outcome, AppendOutcome::NotMember)
}

pub async fn whoever_makes_a_group_owns_it(subject: Subject) {
    let (ann, bob, room) = (subject.user("ann"), subject.user("bob"), subject.group());
    assert_eq!(*roster(&subject.engine, &room).await, Roster::default());
    let (made, became) = regrouped(&subject.engine, &room, &ann, GroupAct::Create).await;
    assert_eq!((made.owner.as_ref(), members(&made), made.version), (Some(&ann), vec![&ann], 1));
    assert_eq!(became, Some(ann.clone()));
    let again = regrouped(&subject.elsewhere, &room, &ann, GroupAct::Create).await;
    assert_eq!(again, (made.clone(), None), "twice is once");
    let taken = refused(&subject, &room, &bob, GroupAct::Create).await;
    assert_eq!(taken, GroupRefusal::Taken);
    assert_eq!(roster(&subject.elsewhere, &room).await, made);
}

pub async fn any_member_invites_and_only_the_owner_removes(subject: Subject) {
    let [ann, bob, eve, max] = ["ann", "bob", "eve", "max"].map(|name| subject.user(name));
    let room = group_of(&subject, &[&ann, &bob]).await;
    let (now, _) = regrouped(&subject.elsewhere, &room, &bob, invite(&eve)).await;
    assert_eq!((members(&now), now.version), (vec![&ann, &bob, &eve], 3));
    let (same, became) = regrouped(&subject.engine, &room, &ann, invite(&eve)).await;
    assert_eq!((same, became), (now, None), "who is in it stays in it");
    assert_eq!(refused(&subject, &room, &bob, remove(&eve)).await, GroupRefusal::NotOwner);
    assert_eq!(refused(&subject, &room, &max, remove(&eve)).await, GroupRefusal::NotMember);
    assert_eq!(refused(&subject, &room, &max, invite(&max)).await, GroupRefusal::NotMember);
    let (now, _) = regrouped(&subject.elsewhere, &room, &ann, remove(&bob)).await;
    assert_eq!((members(&now), now.version), (vec![&ann, &eve], 4));
    let (same, _) = regrouped(&subject.engine, &room, &ann, remove(&bob)).await;
    assert_eq!(same, now, "who is not in it need not be removed");
    let outside = subject.group();
    assert_eq!(refused(&subject, &outside, &ann, invite(&bob)).await, GroupRefusal::NotMember);
}

pub async fn an_owner_who_leaves_is_followed_by_the_oldest_member(subject: Subject) {
    let [ann, zoe, bob] = ["ann", "zoe", "bob"].map(|name| subject.user(name));
    let room = group_of(&subject, &[&ann, &zoe, &bob]).await;
    regrouped(&subject.engine, &room, &ann, remove(&zoe)).await;
    regrouped(&subject.engine, &room, &ann, invite(&zoe)).await;
    let (now, _) = regrouped(&subject.elsewhere, &room, &ann, GroupAct::Quit).await;
    assert_eq!(now.owner.as_ref(), Some(&bob), "zoe came later, the second time");
    regrouped(&subject.engine, &room, &zoe, GroupAct::Quit).await;
    let (empty, _) = regrouped(&subject.engine, &room, &bob, GroupAct::Quit).await;
    assert_eq!((empty.owner.clone(), members(&empty), empty.version), (None, vec![], 8));
    assert_eq!(refused(&subject, &room, &bob, invite(&bob)).await, GroupRefusal::NotMember);
    assert_eq!(refused(&subject, &room, &bob, GroupAct::Create).await, GroupRefusal::Taken);
}

pub async fn a_change_is_seen_at_once_on_every_node(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = group_of(&subject, &[&ann]).await;
    for round in 0..10u64 {
        let (now, _) = regrouped(&subject.engine, &room, &ann, invite(&bob)).await;
        assert_eq!(roster(&subject.elsewhere, &room).await, now);
        assert_eq!(now.membership(&bob).map(|bob| bob.joined), Some(2 + 2 * round));
        let sent = stored(&subject.elsewhere, room.message(&bob, PAST)).await;
        assert_eq!((sent.message.seq, sent.roster), (Seq(round + 1), now.version));
        let (now, _) = regrouped(&subject.elsewhere, &room, &ann, remove(&bob)).await;
        assert_eq!(roster(&subject.engine, &room).await, now);
        assert!(is_stranger(&subject, room.message(&bob, PAST)).await);
    }
}

pub async fn only_members_append_and_a_stranger_leaves_no_trace(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let nowhere = subject.group();
    assert!(is_stranger(&subject, nowhere.message(&ann, PAST)).await);
    let room = group_of(&subject, &[&ann, &bob]).await;
    let first = room.named(&bob, "first", "hello", PAST);
    assert_eq!(stored(&subject.engine, first.clone()).await.roster, 2);
    assert!(stored(&subject.engine, first.clone()).await.dup);
    regrouped(&subject.engine, &room, &bob, GroupAct::Quit).await;
    // Not even what is stored is told, nor that a name is taken or a time too far ahead.
    let conflict = Append { content: "other".to_owned(), ..first.clone() };
    let ahead = Append { ts: Some(u64::MAX >> 11), ..room.message(&bob, PAST) };
    for append in [first.clone(), conflict, ahead, room.named(&bob, "new", "hello", PAST + 9)] {
        assert!(is_stranger(&subject, append).await);
    }
    let next = send(&subject.engine, room.message(&ann, PAST + 1)).await;
    assert_eq!((next.seq, next.late), (Seq(2), false));
    regrouped(&subject.engine, &room, &ann, invite(&bob)).await;
    assert!(stored(&subject.elsewhere, first).await.dup);
    assert_eq!(send(&subject.elsewhere, room.named(&bob, "new", "hello", PAST)).await.seq, Seq(3));
}

pub async fn nothing_of_a_removed_user_is_stored_after_the_answer(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = group_of(&subject, &[&ann, &bob]).await;
    for _ in 0..5 {
        // Many of his are on their way on both nodes while he is removed.
        let on_way = (0..40).map(|at| {
            let engine = if at % 2 == 0 { &subject.engine } else { &subject.elsewhere };
            engine.append(room.message(&bob, PAST))
        });
        let on_way: Vec<_> = on_way.collect();
        let removing = async {
            regrouped(&subject.elsewhere, &room, &ann, remove(&bob)).await;
            send(&subject.engine, room.message(&ann, PAST)).await.seq
        };
        let (outcomes, mark) = futures_util::future::join(join_all(on_way), removing).await;
        for outcome in outcomes {
            match outcome.expect("the engine works") {
                AppendOutcome::Stored(stored) => {
                    assert!(stored.message.seq < mark, "{} after {mark}", stored.message.seq);
                }
                AppendOutcome::NotMember => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(everything(&subject.elsewhere, room.conv).await.len() as u64, mark.0);
        regrouped(&subject.engine, &room, &ann, invite(&bob)).await;
    }
}

pub async fn an_append_names_a_roster_of_its_moment_or_a_later_one(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = group_of(&subject, &[&ann]).await;
    let changing = async {
        let mut answered = Vec::new();
        for round in 0..15 {
            let act = if round % 2 == 0 { invite(&bob) } else { remove(&bob) };
            let (now, _) = regrouped(&subject.elsewhere, &room, &ann, act).await;
            // Everything from here on is of this roster or a later one.
            let next = stored(&subject.engine, room.message(&ann, PAST)).await;
            assert!(next.roster >= now.version, "{next:?} after {}", now.version);
            answered.push((next.message.seq, now.version));
        }
        answered
    };
    let sending = async {
        let mut sent = Vec::new();
        for _ in 0..60 {
            let stored = stored(&subject.engine, room.message(&ann, PAST)).await;
            sent.push((stored.message.seq, stored.roster));
        }
        sent
    };
    let (answered, sent) = futures_util::future::join(changing, sending).await;
    for &(seq, roster) in &sent {
        for &(after, version) in &answered {
            assert!(seq < after || roster >= version, "{seq} is of {roster}, {after} of {version}");
        }
    }
}

pub async fn racing_changes_all_take_effect(subject: Subject) {
    const GUESTS: usize = 12;
    let ann = subject.user("ann");
    let guests: Vec<_> = (0..GUESTS).map(|at| subject.user(&format!("guest-{at}"))).collect();
    let room = group_of(&subject, &[&ann]).await;
    let changes = guests.iter().enumerate().map(|(at, guest)| {
        let engine = if at % 2 == 0 { &subject.engine } else { &subject.elsewhere };
        regrouped(engine, &room, &ann, invite(guest))
    });
    for (now, _) in join_all(changes).await {
        assert!((2..=1 + GUESTS as u64).contains(&now.version));
    }
    let now = roster(&subject.engine, &room).await;
    assert_eq!((now.version, now.members.len()), (1 + GUESTS as u64, 1 + GUESTS));
    let mut joined: Vec<u64> = now.members.values().map(|member| member.joined).collect();
    joined.sort_unstable();
    assert_eq!(joined, (1..=1 + GUESTS as u64).collect::<Vec<_>>());
}

pub async fn a_membership_names_the_head_at_which_it_began(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = group_of(&subject, &[&ann]).await;
    for at in 0..3 {
        send(&subject.engine, room.message(&ann, PAST + at)).await;
    }
    let (now, _) = regrouped(&subject.elsewhere, &room, &ann, invite(&bob)).await;
    let life = life_number(&subject.engine.epoch(room.conv));
    assert_eq!(now.membership(&bob), Some(Membership { joined: 2, since: Seq(3), life }));
    assert_eq!(now.membership(&ann), Some(Membership { joined: 1, since: Seq::ZERO, life }));
}

pub async fn a_group_becomes_yours_when_you_are_invited(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = group_of(&subject, &[&ann]).await;
    send(&subject.engine, room.message(&ann, PAST)).await;
    let (_, became) = regrouped(&subject.engine, &room, &ann, invite(&bob)).await;
    assert_eq!(became, Some(bob.clone()));
    for user in [&ann, &bob] {
        let mine = subject.elsewhere.mine(user).await.expect("an index");
        assert_eq!(mine.iter().map(|entry| entry.conv).collect::<Vec<_>>(), [room.conv]);
        assert_eq!(mine[0].place, room.place);
    }
    assert!(!open(&subject.elsewhere, &room, &bob, 10).await.became, "it was theirs");
    regrouped(&subject.engine, &room, &bob, GroupAct::Quit).await;
    let (_, became) = regrouped(&subject.elsewhere, &room, &ann, invite(&bob)).await;
    assert_eq!(became, None, "once");
}

pub async fn a_summary_says_whether_it_was_opened(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = group_of(&subject, &[&ann, &bob]).await;
    send(&subject.engine, room.message(&ann, PAST)).await;
    let summary = subject.elsewhere.summary(room.conv, &bob).await.expect("a summary");
    assert_eq!(summary.acked_up_to, None);
    let opened = open(&subject.engine, &room, &bob, 10).await;
    assert_eq!((opened.acked.up_to, opened.unread.unread.count), (Seq(1), 0));
    send(&subject.engine, room.message(&ann, PAST)).await;
    let summary = subject.elsewhere.summary(room.conv, &bob).await.expect("a summary");
    assert_eq!((summary.acked_up_to, summary.unread.count), (Some(Seq(1)), 1));
}

/// Wherever an engine begins a new part of a conversation, the roster goes with it.
pub async fn changes_and_messages_take_turns_for_long(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = group_of(&subject, &[&ann]).await;
    let mut version = 1;
    for round in 0..30u64 {
        for _ in 0..round % 5 {
            let stored = stored(&subject.engine, room.message(&ann, PAST + round)).await;
            assert_eq!(stored.roster, version);
        }
        let act = if round % 2 == 0 { invite(&bob) } else { remove(&bob) };
        let (now, _) = regrouped(&subject.elsewhere, &room, &ann, act).await;
        version += 1;
        assert_eq!(now.version, version);
        assert_eq!(is_stranger(&subject, room.message(&bob, PAST)).await, round % 2 == 1);
    }
    // A change where the last part is full, or empty, whatever its size.
    for round in 0..40 {
        let stored = stored(&subject.elsewhere, room.message(&ann, PAST)).await;
        assert_eq!(stored.roster, version);
        let act = if round % 2 == 0 { invite(&bob) } else { remove(&bob) };
        version = regrouped(&subject.engine, &room, &ann, act).await.0.version;
    }
    let all = everything(&subject.elsewhere, room.conv).await;
    assert!(all.iter().zip(1..).all(|(message, seq)| message.seq.0 == seq));
}
