//! Coming back to where one was.

use super::subject::{PAST, Room, Subject, ack, open, page_of, recovered, resume, send_all, seqs};
use crate::model::{Epoch, LIMITS, Limits, Seq};

pub async fn a_bridge_is_exactly_what_is_missing_by_seq(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    let times = (0..30).map(|step| PAST + (step * 7) % 20);
    let sent = send_all(&subject.engine, room.messages(&ann, times)).await;
    let epoch = subject.engine.epoch(room.conv);
    for from in [0, 1, 17, 29, 30] {
        let opened = resume(&subject.elsewhere, &room, &bob, &epoch, from).await;
        assert_eq!((opened.head, &opened.epoch), (Seq(30), &epoch));
        assert_eq!(opened.unread.unread.count, 30, "a bridge acknowledges nothing");
        assert_eq!(opened.unread.before, 0);
        let late = sent.iter().filter(|message| message.late).count();
        assert_eq!(opened.unread.late, late);
        assert_eq!(recovered(opened).as_deref(), Some(&sent[from as usize..]), "from {from}");
    }
}

pub async fn an_empty_conversation_is_resumed_at_0(subject: Subject) {
    let (room, ann) = (subject.channel("empty"), subject.user("ann"));
    let epoch = subject.engine.epoch(room.conv);
    let opened = resume(&subject.engine, &room, &ann, &epoch, 0).await;
    assert!(opened.became, "a resume opens like any other");
    assert_eq!(recovered(opened), Some(Vec::new()));
    let opened = resume(&subject.engine, &room, &ann, &epoch, 1).await;
    assert!(page_of(opened).items.is_empty());
}

pub async fn another_epoch_or_a_number_above_the_head_gets_a_page(subject: Subject) {
    let (room, ann) = (subject.channel("page"), subject.user("ann"));
    send_all(&subject.engine, room.messages(&ann, vec![PAST; 15])).await;
    let (epoch, other) = (subject.engine.epoch(room.conv), Epoch::generate());
    for (epoch, from) in [(&other, 14), (&other, 15), (&epoch, 16), (&epoch, u64::MAX >> 11)] {
        let opened = resume(&subject.engine, &room, &ann, epoch, from).await;
        assert_eq!(opened.head, Seq(15));
        let shown = page_of(opened);
        assert_eq!((seqs(&shown.items), shown.older), ((6..=15).collect(), true));
    }
}

pub async fn a_gap_above_the_limit_gets_a_page(subject: Subject) {
    let (room, ann) = (subject.channel("gap"), subject.user("ann"));
    let max = LIMITS.resume_max as u64;
    let sent = send_all(&subject.engine, room.messages(&ann, vec![PAST; max as usize + 5])).await;
    let epoch = subject.engine.epoch(room.conv);
    let opened = resume(&subject.engine, &room, &ann, &epoch, 5).await;
    assert_eq!(recovered(opened).as_deref(), Some(&sent[5..]), "just as many as may be");
    let shown = page_of(resume(&subject.engine, &room, &ann, &epoch, 4).await);
    assert_eq!((shown.items.len(), shown.older), (10, true), "never in part");
}

pub async fn unread_before_is_0_when_resumed(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    // More than counting looks at.
    let count = Limits::SCAN_MAX + 100;
    send_all(&subject.engine, room.messages(&ann, vec![PAST; count])).await;
    open(&subject.engine, &room, &bob, 0).await;
    let epoch = subject.engine.epoch(room.conv);
    let opened = resume(&subject.engine, &room, &bob, &epoch, count as u64 - 3).await;
    assert_eq!(opened.unread.before, 0);
    assert!(opened.unread.unread.more);
    assert_eq!(recovered(opened).map(|items| items.len()), Some(3));
}

pub async fn unread_late_messages_are_counted_wherever_they_are_when_resumed(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    // The late one stands behind more messages than counting looks at: a client that is not told
    // of it would never ask.
    send_all(&subject.engine, room.messages(&ann, vec![PAST; Limits::SCAN_MAX + 50])).await;
    let last = send_all(&subject.engine, room.messages(&ann, [PAST - 1])).await[0].seq.0;
    open(&subject.engine, &room, &bob, 0).await;
    let epoch = subject.engine.epoch(room.conv);
    let opened = resume(&subject.engine, &room, &bob, &epoch, last).await;
    assert!(opened.unread.late >= 1, "{:?}", opened.unread);
    ack(&subject.engine, room.acking(&bob, last, &[])).await;
    let opened = resume(&subject.engine, &room, &bob, &epoch, last).await;
    assert_eq!(opened.unread.late, 0);
}
