//! Which messages are late.

use std::sync::Arc;

use futures_util::future::join_all;

use super::append::CLOCK_SKEW_MS;
use super::subject::{PAST, Subject, everything, send, send_all};
use crate::clock::unix_ms;
use crate::model::{Message, Seq};
use crate::persistence::AppendOutcome;

pub async fn late_is_below_the_highest_ts_before_and_equal_is_not_late(subject: Subject) {
    let (room, ann, bob) = (subject.channel("late"), subject.user("ann"), subject.user("bob"));
    let script = [
        (5, false),
        (5, false),
        (4, true),
        (4, true),
        (5, false),
        (9, false),
        (8, true),
        (5, true),
        (9, false),
        (0, true),
        (10, false),
    ];
    for (index, (ts, late)) in script.into_iter().enumerate() {
        let sender = if index % 2 == 0 { &ann } else { &bob };
        let sent = send(&subject.engine, room.message(sender, PAST + ts)).await;
        assert_eq!((sent.ts, sent.late), (PAST + ts, late), "message {}", index + 1);
    }
}

pub async fn ts_0_is_a_time_like_any_other(subject: Subject) {
    let (room, ann) = (subject.channel("zero"), subject.user("ann"));
    for (ts, late) in [(0, false), (0, false), (1, false), (0, true)] {
        let sent = send(&subject.engine, room.message(&ann, ts)).await;
        assert_eq!((sent.ts, sent.late), (ts, late));
    }
}

/// Late as the list of `(seq, ts)` says.
fn assert_late_by_list(messages: &[Arc<Message>]) {
    let mut highest_ts = 0;
    for message in messages {
        assert_eq!(message.late, message.ts < highest_ts, "{message:?}");
        highest_ts = highest_ts.max(message.ts);
    }
}

pub async fn late_can_be_recomputed_from_the_list_of_seq_and_ts(subject: Subject) {
    let room = subject.channel("mixed");
    let writers = (0..4u64).map(|writer| {
        let user = subject.user(&format!("user{writer}"));
        let node = if writer % 2 == 0 { &subject.engine } else { &subject.elsewhere };
        let (engine, room) = (Arc::clone(node), room.clone());
        tokio::spawn(async move {
            // Times that cross between the writers: 37 is prime to 101.
            let times = (0..50).map(|step| PAST + (step * 37 + writer * 11) % 101 + step);
            send_all(&engine, room.messages(&user, times)).await
        })
    });
    let mut answered: Vec<_> =
        join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
    answered.sort_by_key(|message| message.seq);
    assert_late_by_list(&answered);
    assert!(answered.iter().any(|message| message.late));
    assert_eq!(everything(&subject.engine, room.conv).await, answered);
}

pub async fn without_ts_it_is_now_or_the_highest_ts_and_never_late(subject: Subject) {
    let (room, ann) = (subject.channel("stamped"), subject.user("ann"));
    let is_now = |sent: &Message, started: u64| {
        (started - CLOCK_SKEW_MS..=unix_ms() + CLOCK_SKEW_MS).contains(&sent.ts)
    };
    let started = unix_ms();
    let first = send(&subject.engine, room.message(&ann, None)).await;
    assert!(is_now(&first, started) && !first.late, "{first:?}");
    assert!(send(&subject.engine, room.message(&ann, PAST)).await.late);
    let second = send(&subject.engine, room.message(&ann, None)).await;
    assert!(is_now(&second, started) && second.ts >= first.ts && !second.late, "{second:?}");
    let ahead = unix_ms() + 6_000;
    assert!(!send(&subject.engine, room.message(&ann, ahead)).await.late);
    let third = send(&subject.elsewhere, room.message(&ann, None)).await;
    assert_eq!((third.ts, third.late), (ahead, false), "the highest ts is above now");
}

pub async fn a_ts_too_far_in_the_future_is_refused_and_leaves_no_trace(subject: Subject) {
    let (room, ann) = (subject.channel("future"), subject.user("ann"));
    send(&subject.engine, room.message(&ann, PAST)).await;
    for ts in [unix_ms() + 10_000 + 60_000, u64::MAX >> 11] {
        let refused = room.named(&ann, "early", "hello", ts);
        let outcome = subject.engine.append(refused).await.expect("the engine works");
        assert!(matches!(outcome, AppendOutcome::TsInFuture), "{outcome:?}");
    }
    let next = send(&subject.engine, room.message(&ann, PAST)).await;
    assert_eq!((next.seq, next.late), (Seq(2), false), "no number and no highest ts was taken");
    let free = send(&subject.engine, room.named(&ann, "early", "other content", PAST)).await;
    assert_eq!(free.seq, Seq(3), "the cid was left free");
    assert!(!send(&subject.engine, room.message(&ann, unix_ms() + 5_000)).await.late);
}

pub async fn a_refused_first_message_makes_no_conversation(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = super::subject::Room::direct(&ann, &bob);
    let refused = room.message(&ann, unix_ms() + 3_600_000);
    let outcome = subject.engine.append(refused).await.expect("the engine works");
    assert!(matches!(outcome, AppendOutcome::TsInFuture), "{outcome:?}");
    assert!(subject.engine.mine(&bob).await.expect("an index").is_empty());
    assert!(everything(&subject.engine, room.conv).await.is_empty());
}
