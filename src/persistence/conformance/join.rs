//! What the first open decides.

use std::sync::Arc;

use futures_util::future::join_all;

use super::subject::{PAST, Room, Subject, ack, open, regrouped, send, send_all, stored};
use crate::model::{GroupAct, Seq, UserName};

pub async fn the_first_open_of_a_channel_acknowledges_up_to_its_head_once(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let group = subject.group();
    for act in [GroupAct::Create, GroupAct::Invite(bob.clone())] {
        regrouped(&subject.engine, &group, &ann, act).await;
    }
    for room in [subject.channel("joined"), group] {
        // The last is late: what was said before you came is not unread.
        send_all(&subject.engine, room.messages(&ann, [PAST + 1, PAST + 2, PAST])).await;
        let opened = open(&subject.engine, &room, &bob, 10).await;
        assert_eq!((opened.head, opened.acked.up_to), (Seq(3), Seq(3)));
        assert_eq!((opened.unread.unread.count, opened.unread.late), (0, 0));
        send_all(&subject.engine, room.messages(&ann, [PAST + 3, PAST])).await;
        for _ in 0..2 {
            let opened = open(&subject.elsewhere, &room, &bob, 10).await;
            assert_eq!((opened.head, opened.acked.up_to), (Seq(5), Seq(3)));
            assert_eq!((opened.unread.unread.count, opened.unread.late), (2, 1));
        }
    }
}

pub async fn the_first_open_of_an_empty_channel_starts_at_0_for_good(subject: Subject) {
    let (room, ann, bob) = (subject.channel("early"), subject.user("ann"), subject.user("bob"));
    assert_eq!(open(&subject.engine, &room, &bob, 10).await.acked.up_to, Seq::ZERO);
    send_all(&subject.engine, room.messages(&ann, vec![PAST; 3])).await;
    let opened = open(&subject.engine, &room, &bob, 10).await;
    assert_eq!((opened.acked.up_to, opened.unread.unread.count), (Seq::ZERO, 3));
}

pub async fn a_direct_chat_starts_at_0(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    send_all(&subject.engine, room.messages(&ann, vec![PAST; 3])).await;
    let opened = open(&subject.engine, &room, &bob, 10).await;
    assert_eq!((opened.acked.up_to, opened.unread.unread.count), (Seq::ZERO, 3));
}

pub async fn racing_first_opens_agree_on_one_start(subject: Subject) {
    let ann = subject.user("ann");
    for round in 0..8 {
        let room = subject.channel(&format!("race{round}"));
        let bob = subject.user(&format!("bob{round}"));
        let opens = (0..6).map(|racer| {
            let node = if racer % 2 == 0 { &subject.engine } else { &subject.elsewhere };
            let (engine, room, ann, bob) =
                (Arc::clone(node), room.clone(), ann.clone(), bob.clone());
            tokio::spawn(async move {
                send(&engine, room.message(&ann, None)).await;
                let opened = open(&engine, &room, &bob, 10).await;
                assert!(opened.acked.up_to <= opened.head, "of one moment: {opened:?}");
                (opened.acked, opened.became)
            })
        });
        let opened: Vec<_> = join_all(opens).await.into_iter().map(Result::unwrap).collect();
        assert!(opened.iter().all(|(acked, _)| *acked == opened[0].0), "{opened:?}");
        assert_eq!(opened.iter().filter(|(_, became)| *became).count(), 1, "{opened:?}");
        assert!(opened[0].0.up_to >= Seq(1));
        assert_eq!(open(&subject.engine, &room, &bob, 0).await.acked, opened[0].0);
    }
}

pub async fn a_conversation_becomes_yours_once(subject: Subject) {
    let (room, ann, bob) = (subject.channel("yours"), subject.user("ann"), subject.user("bob"));
    assert!(open(&subject.engine, &room, &ann, 0).await.became);
    assert!(!open(&subject.elsewhere, &room, &ann, 0).await.became);
    let sent = stored(&subject.engine, room.message(&ann, PAST)).await;
    assert!(sent.became.is_empty(), "a message makes a channel nobody's");
    assert!(!open(&subject.engine, &room, &ann, 0).await.became);
    assert!(open(&subject.engine, &room, &bob, 0).await.became, "each user on their own");
}

pub async fn a_crowd_that_joins_a_moving_channel_sees_one_moment_each(subject: Subject) {
    const TASKS: usize = 8;
    const EACH: usize = 40;
    let (room, ann) = (subject.channel("crowd"), subject.user("ann"));
    let crowd = (0..TASKS).map(|task| {
        let node = if task % 2 == 0 { &subject.engine } else { &subject.elsewhere };
        let (engine, room, ann) = (Arc::clone(node), room.clone(), ann.clone());
        let users: Vec<UserName> =
            (0..EACH).map(|index| subject.user(&format!("u{task}-{index}"))).collect();
        tokio::spawn(async move {
            for user in users {
                let append = engine.append(room.message(&ann, None));
                let (first, again) =
                    tokio::join!(open(&engine, &room, &user, 1), open(&engine, &room, &user, 1));
                append.await.expect("the engine works");
                assert_eq!(first.acked, again.acked);
                assert!(first.became != again.became, "of two opens one is the first");
                for opened in [first, again] {
                    assert!(opened.acked.up_to <= opened.head, "{opened:?}");
                    let above = (opened.head.0 - opened.acked.up_to.0) as usize;
                    let unread = opened.unread.unread;
                    assert_eq!((unread.count, unread.more), (above.min(99), above > 99));
                }
            }
        })
    });
    for task in join_all(crowd).await {
        task.expect("no panic");
    }
}

fn sorted(mut users: Vec<UserName>) -> Vec<UserName> {
    users.sort();
    users
}

pub async fn the_first_message_makes_a_direct_chat_both_users_once(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    let append = room.named(&ann, "first", "hello", PAST);
    let first = stored(&subject.engine, append.clone()).await;
    assert_eq!(sorted(first.became), [ann.clone(), bob.clone()]);
    for (sender, append) in [(&ann, append), (&bob, room.message(&bob, PAST))] {
        let again = stored(&subject.elsewhere, append).await;
        assert!(again.became.is_empty(), "{sender} again: {:?}", again.became);
    }
    for user in [&ann, &bob] {
        assert!(!open(&subject.engine, &room, user, 0).await.became);
        let mine = subject.engine.mine(user).await.expect("an index");
        assert_eq!(mine.len(), 1);
        assert_eq!((mine[0].conv, &mine[0].place), (room.conv, &room.place));
    }
}

pub async fn a_message_names_only_those_who_had_not_opened(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    assert!(open(&subject.engine, &room, &ann, 0).await.became);
    assert_eq!(stored(&subject.engine, room.message(&ann, PAST)).await.became, [bob]);

    let notes = Room::direct(&ann, &ann);
    let first = stored(&subject.engine, notes.message(&ann, PAST)).await;
    assert!(!open(&subject.engine, &notes, &ann, 0).await.became);
    assert_eq!(first.became, [ann], "once, though both are the same");
}

pub async fn mutual_is_when_both_have_opened_or_written(subject: Subject) {
    let (ann, bob, eve) = (subject.user("ann"), subject.user("bob"), subject.user("eve"));
    let opened = Room::direct(&ann, &bob);
    assert!(!open(&subject.engine, &opened, &ann, 0).await.mutual);
    send(&subject.engine, opened.message(&ann, PAST)).await;
    assert!(!open(&subject.engine, &opened, &ann, 0).await.mutual, "being written to is nothing");
    assert!(open(&subject.elsewhere, &opened, &bob, 0).await.mutual);
    assert!(open(&subject.engine, &opened, &ann, 0).await.mutual);

    let written = Room::direct(&bob, &eve);
    send(&subject.engine, written.message(&eve, PAST)).await;
    assert!(open(&subject.elsewhere, &written, &bob, 0).await.mutual, "eve wrote");

    let notes = Room::direct(&ann, &ann);
    send(&subject.engine, notes.message(&ann, PAST)).await;
    assert!(!open(&subject.engine, &notes, &ann, 0).await.mutual, "it takes two");
    let channel = subject.channel("both");
    open(&subject.engine, &channel, &ann, 0).await;
    assert!(!open(&subject.engine, &channel, &bob, 0).await.mutual);
}

pub async fn what_a_first_open_decides_can_be_acknowledged_on(subject: Subject) {
    let (room, ann, bob) = (subject.channel("going-on"), subject.user("ann"), subject.user("bob"));
    send_all(&subject.engine, room.messages(&ann, vec![PAST; 3])).await;
    open(&subject.engine, &room, &bob, 0).await;
    send_all(&subject.engine, room.messages(&ann, vec![PAST; 3])).await;
    let acked = ack(&subject.engine, room.acking(&bob, 0, &[(4, 5)])).await;
    assert_eq!((acked.up_to, acked.ranges.len()), (Seq(4), 0), "it grows from its start");
}
