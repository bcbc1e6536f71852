//! Acknowledging.

use std::sync::Arc;

use futures_util::future::join_all;

use super::subject::{PAST, Room, Subject, ack, all_late, open, page_of, send, send_all, seqs};
use crate::model::{AckSet, Count, LIMITS, Seq, UserName};
use crate::persistence::{AckOutcome, Persistence};

/// A direct chat with `count` messages of the second user, opened by the first.
async fn chat(subject: &Subject, count: u64) -> (Room, UserName, UserName) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    send_all(&subject.engine, room.messages(&bob, (0..count).map(|ts| PAST + ts))).await;
    open(&subject.engine, &room, &ann, 0).await;
    (room, ann, bob)
}

/// Half-open ranges as literals.
type Ranges<'a> = &'a [(u64, u64)];

fn set(up_to: u64, ranges: Ranges<'_>) -> AckSet {
    let ranges = ranges.iter().map(|&(lo, hi)| (Seq(lo), Seq(hi))).collect();
    AckSet { up_to: Seq(up_to), ranges }
}

/// What is stored, as a later `open` tells.
async fn acked(engine: &Arc<dyn Persistence>, room: &Room, user: &UserName) -> AckSet {
    open(engine, room, user, 0).await.acked
}

pub async fn acknowledgements_merge_to_their_union(subject: Subject) {
    let (room, ann, _) = chat(&subject, 30).await;
    let script: [(u64, Ranges<'_>, AckSet); 8] = [
        (3, &[], set(3, &[])),
        (0, &[(10, 12), (20, 25)], set(3, &[(10, 12), (20, 25)])),
        (1, &[], set(3, &[(10, 12), (20, 25)])),
        (0, &[(12, 14), (19, 20), (21, 23)], set(3, &[(10, 14), (19, 25)])),
        (0, &[(5, 6)], set(3, &[(5, 6), (10, 14), (19, 25)])),
        (0, &[(4, 5)], set(5, &[(10, 14), (19, 25)])),
        (11, &[(28, 31)], set(13, &[(19, 25), (28, 31)])),
        (30, &[], set(30, &[])),
    ];
    for (up_to, ranges, expected) in script {
        let request = room.acking(&ann, up_to, ranges);
        assert_eq!(ack(&subject.engine, request.clone()).await, expected);
        assert_eq!(ack(&subject.elsewhere, request).await, expected, "again changes nothing");
        assert_eq!(acked(&subject.elsewhere, &room, &ann).await, expected);
    }
}

pub async fn ranges_in_any_order_and_overlapping_are_one_union(subject: Subject) {
    let (room, ann, _) = chat(&subject, 30).await;
    let request = room.acking(&ann, 0, &[(20, 22), (5, 9), (21, 26), (7, 8), (9, 10)]);
    assert_eq!(ack(&subject.engine, request).await, set(0, &[(5, 10), (20, 26)]));
}

pub async fn merging_is_the_same_in_every_order_and_in_a_race(subject: Subject) {
    let (room, ann, bob) = chat(&subject, 60).await;
    let carl_room = subject.channel("other");
    let (dora, eve) = (subject.user("dora"), subject.user("eve"));
    for user in [&dora, &eve] {
        open(&subject.engine, &carl_room, user, 0).await;
    }
    send_all(&subject.engine, carl_room.messages(&bob, vec![PAST; 60])).await;
    let parts = |room: &Room, user: &UserName| {
        (0..20)
            .map(|part| {
                room.acking(user, u64::from(part == 7) * 4, &[(part * 3 + 1, part * 3 + 3)])
            })
            .collect::<Vec<_>>()
    };
    let forward = parts(&carl_room, &dora);
    let mut backward = parts(&carl_room, &eve);
    backward.reverse();
    for request in forward.into_iter().chain(backward) {
        ack(&subject.engine, request).await;
    }
    let racers = parts(&room, &ann).into_iter().enumerate().map(|(at, request)| {
        let engine = if at % 2 == 0 { &subject.engine } else { &subject.elsewhere };
        let engine = Arc::clone(engine);
        tokio::spawn(async move { ack(&engine, request).await })
    });
    for racer in join_all(racers).await {
        racer.expect("no panic");
    }
    let expected = acked(&subject.engine, &carl_room, &dora).await;
    assert_eq!((expected.up_to, expected.ranges.len()), (Seq(5), 18));
    assert_eq!(acked(&subject.engine, &carl_room, &eve).await, expected);
    assert_eq!(acked(&subject.elsewhere, &room, &ann).await, expected);
}

pub async fn above_the_head_changes_nothing_at_all(subject: Subject) {
    let (room, ann, _) = chat(&subject, 5).await;
    ack(&subject.engine, room.acking(&ann, 1, &[])).await;
    let above: [(u64, Ranges<'_>); 5] =
        [(6, &[]), (u64::MAX >> 11, &[]), (6, &[(3, 4)]), (2, &[(5, 7)]), (0, &[(3, 4), (6, 7)])];
    for (up_to, ranges) in above {
        let outcome = subject.engine.ack(room.acking(&ann, up_to, ranges)).await;
        assert!(matches!(outcome, Ok(AckOutcome::AboveHead)), "{outcome:?}");
        assert_eq!(acked(&subject.engine, &room, &ann).await, set(1, &[]));
    }
    let exactly = room.acking(&ann, 0, &[(5, 6)]);
    assert_eq!(ack(&subject.engine, exactly).await, set(1, &[(5, 6)]), "the head may be acked");
    let nothing = subject.channel("empty");
    open(&subject.engine, &nothing, &ann, 0).await;
    let outcome = subject.engine.ack(nothing.acking(&ann, 1, &[])).await;
    assert!(matches!(outcome, Ok(AckOutcome::AboveHead)), "{outcome:?}");
    assert_eq!(ack(&subject.engine, nothing.acking(&ann, 0, &[])).await, set(0, &[]));
}

pub async fn too_many_ranges_change_nothing(subject: Subject) {
    let max = LIMITS.acked_ranges_max as u64;
    let (room, ann, _) = chat(&subject, 2 * max + 10).await;
    let singles: Vec<(u64, u64)> = (1..=max).map(|at| (2 * at, 2 * at + 1)).collect();
    for part in singles.chunks(LIMITS.ack_ranges_max) {
        ack(&subject.engine, room.acking(&ann, 0, part)).await;
    }
    let full = acked(&subject.engine, &room, &ann).await;
    assert_eq!((full.up_to, full.ranges.len()), (Seq(0), max as usize));
    let one_more = room.acking(&ann, 0, &[(2 * max + 5, 2 * max + 6)]);
    let outcome = subject.engine.ack(one_more.clone()).await;
    assert!(matches!(outcome, Ok(AckOutcome::TooManyRanges)), "{outcome:?}");
    assert_eq!(acked(&subject.engine, &room, &ann).await, full);
    // Joining two makes room for one.
    ack(&subject.engine, room.acking(&ann, 0, &[(3, 4)])).await;
    ack(&subject.engine, one_more).await;
}

pub async fn up_to_acknowledges_late_messages_too(subject: Subject) {
    let (room, ann, bob) = chat(&subject, 5).await;
    send_all(&subject.engine, room.messages(&bob, [PAST, PAST + 1, PAST + 9])).await;
    let late = |after| all_late(&subject.elsewhere, &room, &ann, Some(Seq(after)), 10);
    assert_eq!(seqs(&late(0).await), [6, 7]);
    ack(&subject.engine, room.acking(&ann, 6, &[])).await;
    assert_eq!(seqs(&late(0).await), [7]);
    ack(&subject.engine, room.acking(&ann, 0, &[(7, 8)])).await;
    assert!(late(0).await.is_empty());
    let counts = open(&subject.engine, &room, &ann, 1).await.unread;
    assert_eq!((counts.unread.count, counts.late, counts.before), (1, 0, 0));
}

pub async fn a_late_message_after_the_acknowledgement_is_unread_however_old(subject: Subject) {
    let (room, ann, bob) = chat(&subject, 5).await;
    ack(&subject.engine, room.acking(&ann, 5, &[])).await;
    let old = send(&subject.engine, room.message(&bob, 0)).await;
    assert!(old.late);
    let opened = open(&subject.elsewhere, &room, &ann, 2).await;
    assert_eq!((opened.unread.unread.count, opened.unread.late), (1, 1));
    assert_eq!(page_of(opened).late, [Arc::clone(&old)]);
    let late = all_late(&subject.elsewhere, &room, &ann, Some(Seq::ZERO), 10).await;
    assert_eq!(late, [old]);
}

pub async fn the_answer_counts_what_is_unread_now(subject: Subject) {
    let (room, ann, bob) = chat(&subject, 10).await;
    send(&subject.engine, room.message(&ann, PAST)).await;
    send(&subject.engine, room.message(&bob, PAST)).await;
    let cases: [(u64, Ranges<'_>, usize); 3] = [(4, &[], 7), (0, &[(6, 8)], 5), (11, &[], 1)];
    for (up_to, ranges, count) in cases {
        let outcome = subject.engine.ack(room.acking(&ann, up_to, ranges)).await;
        let Ok(AckOutcome::Merged { unread, .. }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(unread, Count { count, more: false });
        let summary = subject.elsewhere.summary(room.conv, &ann).await.expect("a summary");
        assert_eq!(summary.unread, unread);
    }
}

pub async fn one_users_acknowledgement_is_not_anothers(subject: Subject) {
    let (room, ann, bob) = chat(&subject, 5).await;
    ack(&subject.engine, room.acking(&ann, 5, &[])).await;
    send(&subject.engine, room.message(&ann, PAST + 9)).await;
    let opened = open(&subject.engine, &room, &bob, 10).await;
    assert_eq!(opened.unread.unread.count, 1, "ann's message is unread by bob");
    assert!(!opened.acked.contains(Seq(6)));
}
