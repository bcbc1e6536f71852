//! Counting what has not been read.

use super::subject::{PAST, Room, Subject, ack, open, send, send_all};
use crate::model::{Count, LIMITS, Limits, UnreadCounts};

pub async fn unread_is_exact_up_to_the_cap_and_then_more(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    let max = LIMITS.unread_max;
    send_all(&subject.engine, room.messages(&ann, vec![PAST; max - 1])).await;
    for (count, more) in [(max, false), (max, true), (max, true)] {
        send(&subject.engine, room.message(&ann, PAST)).await;
        let expected = Count { count, more };
        assert_eq!(open(&subject.engine, &room, &bob, 1).await.unread.unread, expected);
        let summary = subject.elsewhere.summary(room.conv, &bob).await.expect("a summary");
        assert_eq!(summary.unread, expected);
    }
    let outcome = subject.engine.ack(room.acking(&bob, 2, &[])).await.expect("the engine works");
    let crate::persistence::AckOutcome::Merged { unread, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(unread, Count { count: max, more: false });
}

pub async fn your_own_messages_are_never_unread(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let (chat, notes) = (Room::direct(&ann, &bob), Room::direct(&ann, &ann));
    for room in [&chat, &notes] {
        // The second is late, and elsewhere than on the page.
        send_all(&subject.engine, room.messages(&ann, [PAST + 9, PAST + 1, PAST + 10])).await;
        let opened = open(&subject.engine, room, &ann, 1).await;
        assert_eq!(opened.unread, UnreadCounts::default());
        assert!(super::subject::page_of(opened).late.is_empty());
        let summary = subject.engine.summary(room.conv, &ann).await.expect("a summary");
        assert_eq!(summary.unread, Count::default());
    }
    send(&subject.engine, chat.message(&bob, PAST + 10)).await;
    let unread = Count { count: 1, more: false };
    assert_eq!(open(&subject.engine, &chat, &ann, 1).await.unread.unread, unread);
}

pub async fn unread_before_counts_on_time_messages_older_than_the_page(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    // 1@10 2@10 3@20 4@15L 5@20 6@30
    send_all(&subject.engine, room.messages(&ann, [10, 10, 20, 15, 20, 30].map(|ts| PAST + ts)))
        .await;
    for (limit, before) in [(0, 5), (1, 4), (2, 3), (3, 2), (4, 2), (5, 1), (6, 0)] {
        let counts = open(&subject.engine, &room, &bob, limit).await.unread;
        assert_eq!(counts.before, before, "limit {limit}");
        assert_eq!((counts.unread.count, counts.late), (6, 1), "limit {limit}");
    }
    ack(&subject.engine, room.acking(&bob, 1, &[(3, 4)])).await;
    let counts = open(&subject.engine, &room, &bob, 1).await.unread;
    assert_eq!((counts.before, counts.unread.count), (2, 4), "2 and 5 are left before 6");
}

pub async fn unread_before_is_never_0_when_there_is_one(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    // Counting looks at a bounded number of messages: all but the last of them are bob's own.
    send_all(&subject.engine, room.messages(&bob, vec![PAST; Limits::SCAN_MAX])).await;
    let counts = open(&subject.engine, &room, &bob, 10).await.unread;
    assert_eq!(counts, UnreadCounts::default(), "as many as are looked at are counted exactly");
    send(&subject.engine, room.message(&ann, PAST)).await;
    send_all(&subject.engine, room.messages(&bob, vec![PAST + 1; 10])).await;
    let counts = open(&subject.engine, &room, &bob, 10).await.unread;
    assert!(counts.unread.count == 1 || counts.unread.more, "{counts:?}");
    assert!(counts.before >= 1, "{counts:?}");
    let summary = subject.engine.summary(room.conv, &bob).await.expect("a summary");
    assert!(summary.unread.count == 1 || summary.unread.more, "{summary:?}");
}
