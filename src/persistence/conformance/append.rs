//! Numbers and the message itself.

use std::sync::Arc;

use futures_util::future::join_all;

use super::subject::{
    PAST, Room, Subject, all_pages, everything, open, page_of, send, send_all, seqs,
};
use crate::clock::unix_ms;
use crate::model::{LIMITS, MessageType, Seq};
use crate::persistence::{Append, AppendOutcome};

/// How far the clock of a real service may be off: more, and a node is not ready.
pub const CLOCK_SKEW_MS: u64 = 2_000;

pub async fn numbers_are_1_2_3_without_gaps_when_many_append_at_once(subject: Subject) {
    const WRITERS: usize = 4;
    const EACH: usize = 40;
    let room = subject.channel("busy");
    let writers = (0..WRITERS).map(|writer| {
        let user = subject.user(&format!("user{writer}"));
        let node = if writer % 2 == 0 { &subject.engine } else { &subject.elsewhere };
        let (engine, room) = (Arc::clone(node), room.clone());
        tokio::spawn(async move {
            let mut sent = Vec::new();
            for _ in 0..EACH {
                sent.push(send(&engine, room.message(&user, None)).await.seq);
            }
            sent
        })
    });
    let mut given = Vec::new();
    for writer in join_all(writers).await {
        let sent = writer.expect("no panic");
        assert!(sent.is_sorted(), "what was answered first comes first");
        given.extend(sent);
    }
    given.sort_unstable();
    let expected: Vec<u64> = (1..=(WRITERS * EACH) as u64).collect();
    assert_eq!(given.iter().map(|seq| seq.0).collect::<Vec<_>>(), expected);
    assert_eq!(seqs(&everything(&subject.engine, room.conv).await), expected);
    assert_eq!(seqs(&everything(&subject.elsewhere, room.conv).await), expected);
}

pub async fn appends_called_one_after_the_other_are_stored_in_that_order(subject: Subject) {
    let (room, ann) = (subject.channel("ordered"), subject.user("ann"));
    let appends: Vec<Append> = (0..100).map(|_| room.message(&ann, None)).collect();
    let cids: Vec<_> = appends.iter().map(|append| append.cid.clone()).collect();
    let mut calls: Vec<_> =
        appends.into_iter().map(|append| subject.engine.append(append)).collect();
    // Polled backwards: the order is that of the calls.
    calls.reverse();
    for outcome in join_all(calls).await {
        assert!(matches!(outcome, Ok(AppendOutcome::Stored(_))), "{outcome:?}");
    }
    let stored = everything(&subject.engine, room.conv).await;
    assert_eq!(stored.iter().map(|message| message.cid.clone()).collect::<Vec<_>>(), cids);
}

pub async fn an_append_that_nobody_waits_for_leaves_no_gap(subject: Subject) {
    let (room, ann) = (subject.channel("impatient"), subject.user("ann"));
    for round in 0..50 {
        let call = subject.engine.append(room.message(&ann, None));
        if round % 2 == 0 {
            call.await.expect("the engine works");
        }
    }
    let last = send(&subject.engine, room.message(&ann, None)).await;
    let stored = everything(&subject.engine, room.conv).await;
    assert!((26..=51).contains(&last.seq.0));
    assert_eq!(seqs(&stored)[..last.seq.0 as usize], (1..=last.seq.0).collect::<Vec<_>>());
}

pub async fn a_message_is_stored_as_it_was_sent_and_read_the_same_everywhere(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    let every_character: String =
        (0u8..128).map(char::from).chain("äß€😀\u{2028}\u{feff}".chars()).collect();
    let append = Append {
        kind: MessageType::new("x.y-z_0").expect("a type"),
        ..room.named(&ann, "!\"#~", &every_character, PAST)
    };
    let started = unix_ms();
    let sent = send(&subject.engine, append.clone()).await;
    let ended = unix_ms();
    assert_eq!(sent.seq, Seq(1));
    assert_eq!((&sent.from, &sent.cid, &sent.kind), (&ann, &append.cid, &append.kind));
    assert_eq!((sent.content.as_str(), sent.ts, sent.late), (&*every_character, PAST, false));
    assert!((started - CLOCK_SKEW_MS..=ended + CLOCK_SKEW_MS).contains(&sent.at), "{}", sent.at);

    let readers = [&subject.engine, &subject.elsewhere];
    for engine in readers {
        assert_eq!(everything(engine, room.conv).await, [Arc::clone(&sent)]);
        assert_eq!(all_pages(engine, room.history()).await, [Arc::clone(&sent)]);
        let opened = open(engine, &room, &bob, 10).await;
        assert_eq!((&opened.epoch, opened.head), (&subject.engine.epoch(room.conv), Seq(1)));
        assert_eq!(page_of(opened).items, [Arc::clone(&sent)]);
        let summary = engine.summary(room.conv, &bob).await.expect("a summary");
        assert_eq!(summary.newest, Some(Arc::clone(&sent)));
    }
}

pub async fn the_longest_names_and_contents_are_stored(subject: Subject) {
    let long = |name: &str| {
        let user = subject.user(name);
        let text = format!("{user}{}", "x".repeat(64 - user.as_str().len()));
        crate::model::UserName::new(&text).expect("64 characters")
    };
    let (ann, bob) = (long("ann"), long("bob"));
    let room = Room::direct(&ann, &bob);
    let content = "\u{1}".repeat(LIMITS.content_bytes_max);
    let sent = send(&subject.engine, room.named(&ann, &"c".repeat(64), &content, None)).await;
    assert_eq!(page_of(open(&subject.elsewhere, &room, &bob, 1).await).items, [sent]);
}

pub async fn conversations_do_not_mix(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let rooms = [
        Room::direct(&ann, &bob),
        Room::direct(&ann, &ann),
        subject.channel("one"),
        subject.channel("other"),
    ];
    for (count, room) in rooms.iter().enumerate() {
        send_all(&subject.engine, room.messages(&ann, vec![PAST; count + 1])).await;
    }
    for (count, room) in rooms.iter().enumerate() {
        let expected: Vec<u64> = (1..=count as u64 + 1).collect();
        assert_eq!(seqs(&everything(&subject.engine, room.conv).await), expected);
        assert_eq!(seqs(&all_pages(&subject.engine, room.history()).await), expected);
    }
}

pub async fn a_read_that_starts_after_the_answer_shows_the_message(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    for round in 1..=30 {
        let ts = PAST + round % 7;
        let sent = send(&subject.engine, room.message(&ann, ts)).await;
        let (engine, room, bob) = (Arc::clone(&subject.elsewhere), room.clone(), bob.clone());
        let reader = tokio::spawn(async move {
            let opened = open(&engine, &room, &bob, 200).await;
            assert_eq!(opened.head, sent.seq);
            assert!(page_of(opened).items.contains(&sent));
            let before = Seq(sent.seq.0 - 1);
            let page = engine.after(room.conv, before, 10).await.expect("a page").page;
            assert_eq!(page.items, [Arc::clone(&sent)]);
            assert!(all_pages(&engine, room.history()).await.contains(&sent));
            let summary = engine.summary(room.conv, &bob).await.expect("a summary");
            assert_eq!(summary.newest, Some(sent));
        });
        reader.await.expect("no panic");
    }
}

pub async fn what_one_call_returns_is_of_one_moment(subject: Subject) {
    let (room, ann, bob) = (subject.channel("moving"), subject.user("ann"), subject.user("bob"));
    open(&subject.engine, &room, &bob, 0).await;
    let writer = {
        let (engine, room) = (Arc::clone(&subject.engine), room.clone());
        tokio::spawn(async move {
            for ts in 0..150 {
                send(&engine, room.message(&ann, PAST + ts)).await;
            }
        })
    };
    while !writer.is_finished() {
        let opened = open(&subject.elsewhere, &room, &bob, 200).await;
        let head = opened.head.0;
        let unread = opened.unread.unread;
        assert_eq!((unread.count, unread.more), ((head as usize).min(99), head > 99));
        assert_eq!(seqs(&page_of(opened).items), (1..=head).collect::<Vec<_>>());
    }
    writer.await.expect("no panic");
}

pub async fn what_a_reader_has_seen_stays_seen(subject: Subject) {
    let (room, ann, bob) = (subject.channel("seen"), subject.user("ann"), subject.user("bob"));
    // More than engines keep at hand, so that reads are answered from more than one place.
    send_all(&subject.engine, room.messages(&ann, vec![PAST; 190])).await;
    open(&subject.engine, &room, &bob, 0).await;
    let writer = {
        let (engine, room) = (Arc::clone(&subject.engine), room.clone());
        tokio::spawn(async move {
            for _ in 0..60 {
                send_all(&engine, room.messages(&ann, vec![PAST; 5])).await;
            }
        })
    };
    let mut seen = Seq::ZERO;
    while !writer.is_finished() {
        let after = Seq(seen.0.saturating_sub(180));
        let page = subject.engine.after(room.conv, after, 200).await.expect("a page").page;
        let last = page.items.last().expect("not empty").seq;
        assert!(last >= seen, "{seen} was there, now {last} is the last");
        let head = open(&subject.engine, &room, &bob, 0).await.head;
        assert!(head >= last, "{last} was read, now {head} is the head");
        seen = head;
    }
    writer.await.expect("no panic");
}
