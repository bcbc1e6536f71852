//! The page that `open` answers.

use super::subject::{PAST, Room, Subject, ack, all_late, open, page_of, send, send_all, seqs};
use crate::model::{AckSet, Count, LIMITS, Seq, UnreadCounts};

pub async fn an_empty_conversation_has_head_0_and_nothing_else(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    for room in [Room::direct(&ann, &bob), subject.channel("empty")] {
        let opened = open(&subject.engine, &room, &ann, 10).await;
        assert_eq!((opened.head, &opened.acked), (Seq::ZERO, &AckSet::default()));
        assert_eq!(opened.unread, UnreadCounts::default());
        let shown = page_of(opened);
        assert!(shown.items.is_empty() && shown.late.is_empty());
        assert!(!shown.older && shown.late_next.is_none());
        let page = subject.engine.range(room.history()).await.expect("a page");
        assert!(page.items.is_empty() && !page.more);
        let page = subject.engine.after(room.conv, Seq::ZERO, 10).await.expect("a page").page;
        assert!(page.items.is_empty() && !page.more);
        let late = subject.engine.unread_late(room.conv, &ann, Seq::ZERO, 10).await;
        let late = late.expect("a page");
        assert!(late.items.is_empty() && late.next.is_none());
        let summary = subject.engine.summary(room.conv, &ann).await.expect("a summary");
        assert_eq!((summary.newest, summary.unread), (None, Count::default()));
    }
}

pub async fn the_page_is_the_newest_by_ts_with_late_ones_in_their_place(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    // By (ts, seq): 4@5 1@10 6@10 2@20 5@20 3@30
    let times = [10, 20, 30, 5, 20, 10].map(|ts| PAST + ts);
    send_all(&subject.engine, room.messages(&ann, times)).await;
    for (limit, expected, older) in [
        (1, vec![3], true),
        (2, vec![5, 3], true),
        (3, vec![2, 5, 3], true),
        (5, vec![1, 6, 2, 5, 3], true),
        (6, vec![4, 1, 6, 2, 5, 3], false),
        (200, vec![4, 1, 6, 2, 5, 3], false),
    ] {
        let opened = open(&subject.elsewhere, &room, &bob, limit).await;
        assert_eq!(opened.head, Seq(6));
        let shown = page_of(opened);
        assert_eq!((seqs(&shown.items), shown.older), (expected, older), "limit {limit}");
    }
}

pub async fn unread_late_messages_elsewhere_are_shown_beside_the_page_by_seq(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    // By seq: 1@10 2@20 3@15 late 4@30 5@12 late 6@40 7@46 8@45 late 9@50, and 10@11 late, bob's own.
    let times = [10, 20, 15, 30, 12, 40, 46, 45, 50].map(|ts| PAST + ts);
    send_all(&subject.engine, room.messages(&ann, times)).await;
    send(&subject.engine, room.message(&bob, PAST + 11)).await;
    let shown = page_of(open(&subject.engine, &room, &bob, 3).await);
    assert_eq!(seqs(&shown.items), [8, 7, 9]);
    assert_eq!(seqs(&shown.late), [3, 5], "8 is on the page, 10 is his own");
    assert!(shown.older && shown.late_next.is_none());

    ack(&subject.engine, room.acking(&bob, 0, &[(3, 4)])).await;
    let shown = page_of(open(&subject.elsewhere, &room, &bob, 3).await);
    assert_eq!(seqs(&shown.late), [5], "acknowledged ones are left out");
    let shown = page_of(open(&subject.engine, &room, &bob, 2).await);
    assert_eq!(seqs(&shown.late), [5, 8]);
    let shown = page_of(open(&subject.engine, &room, &bob, 200).await);
    assert!(shown.late.is_empty() && !shown.older);
    let shown = page_of(open(&subject.engine, &room, &ann, 1).await);
    assert_eq!(seqs(&shown.late), [10]);
}

pub async fn limit_0_answers_counts_and_no_items(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    send_all(&subject.engine, room.messages(&ann, [PAST + 10, PAST + 20, PAST + 15])).await;
    let opened = open(&subject.engine, &room, &bob, 0).await;
    assert_eq!(opened.head, Seq(3));
    let unread = Count { count: 3, more: false };
    assert_eq!(opened.unread, UnreadCounts { unread, late: 1, before: 2 });
    let shown = page_of(opened);
    assert!(shown.items.is_empty() && shown.older);
    assert_eq!(seqs(&shown.late), [3]);
}

pub async fn more_late_messages_than_fit_are_all_reached_exactly_once(subject: Subject) {
    const LATE: u64 = 250;
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    send(&subject.engine, room.message(&ann, PAST + 1_000)).await;
    let late = room.messages(&ann, (0..LATE).map(|ts| PAST + ts % 40));
    send_all(&subject.engine, late).await;
    open(&subject.engine, &room, &bob, 0).await;
    // Two of them are acknowledged: one that would be shown, one that would be paged.
    ack(&subject.engine, room.acking(&bob, 0, &[(10, 11), (220, 221)])).await;
    let opened = open(&subject.engine, &room, &bob, 1).await;
    assert_eq!(opened.unread.late, LIMITS.unread_max);
    let shown = page_of(opened);
    assert_eq!((seqs(&shown.items), shown.late.len()), (vec![1], LIMITS.late_max));
    let next = shown.late_next.expect("there are more");
    let expected: Vec<u64> = (2..=LATE + 1).filter(|seq| ![10, 220].contains(seq)).collect();
    for limit in [7, 100, 200] {
        let mut reached = seqs(&shown.late);
        let rest = all_late(&subject.elsewhere, &room, &bob, Some(next), limit).await;
        reached.extend(seqs(&rest));
        assert_eq!(reached, expected, "limit {limit}");
        let alone = all_late(&subject.engine, &room, &bob, Some(Seq::ZERO), limit).await;
        assert_eq!(seqs(&alone), expected, "limit {limit}");
    }
    let page = subject.engine.unread_late(room.conv, &bob, Seq(200), 200).await.expect("a page");
    assert_eq!((page.items.len(), page.next), (50, None), "a page that is the last says so");
}

pub async fn late_messages_behind_a_thousand_acknowledged_ones_are_reached(subject: Subject) {
    const LATE: u64 = 1_100;
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    send(&subject.engine, room.message(&ann, PAST + 1_000)).await;
    send_all(&subject.engine, room.messages(&ann, vec![PAST; LATE as usize])).await;
    open(&subject.engine, &room, &bob, 0).await;
    // 1 stays unread, so that `up_to` cannot absorb the range.
    ack(&subject.engine, room.acking(&bob, 0, &[(2, LATE)])).await;
    let opened = open(&subject.engine, &room, &bob, 1).await;
    assert!(opened.unread.late >= 1, "a late one may be unread, and is: {:?}", opened.unread);
    let shown = page_of(opened);
    let mut reached = seqs(&shown.late);
    reached.extend(seqs(&all_late(&subject.engine, &room, &bob, shown.late_next, 10).await));
    assert_eq!(reached, [LATE, LATE + 1]);
}
