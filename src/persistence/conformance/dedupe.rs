//! Sending the same message again.

use std::sync::Arc;

use futures_util::future::join_all;

use super::subject::{PAST, Room, Subject, everything, send, send_all, seqs, stored};
use crate::clock::unix_ms;
use crate::model::{MessageType, Seq};
use crate::persistence::{Append, AppendOutcome};

pub async fn a_retry_answers_the_first_outcome_and_its_own_ts_is_ignored(subject: Subject) {
    let (room, ann) = (subject.channel("retry"), subject.user("ann"));
    send(&subject.engine, room.message(&ann, PAST + 10)).await;
    let append = room.named(&ann, "again", "hello", PAST);
    let first = send(&subject.engine, append.clone()).await;
    assert!(first.late);
    send(&subject.engine, room.message(&ann, PAST + 20)).await;
    // A `ts` far in the future would be refused if it were judged.
    for ts in [Some(PAST), Some(PAST + 99), None, Some(unix_ms() + 3_600_000)] {
        let again = stored(&subject.elsewhere, Append { ts, ..append.clone() }).await;
        assert!(again.dup);
        assert_eq!((&again.message, again.became.len()), (&first, 0));
    }
    assert_eq!(seqs(&everything(&subject.engine, room.conv).await), [1, 2, 3]);
    // None of those times counts.
    assert!(!send(&subject.engine, room.message(&ann, PAST + 20)).await.late);
}

pub async fn the_same_cid_with_another_type_or_content_is_a_conflict(subject: Subject) {
    let (room, ann) = (subject.channel("conflict"), subject.user("ann"));
    let append = room.named(&ann, "same", "hello", PAST);
    send(&subject.engine, append.clone()).await;
    let kind = MessageType::new("other").expect("a type");
    let conflicts = [
        Append { content: "hello!".to_owned(), ts: Some(PAST + 9), ..append.clone() },
        Append { kind, ..append.clone() },
        Append { content: String::new(), ts: Some(unix_ms() + 3_600_000), ..append.clone() },
    ];
    for conflict in conflicts {
        let outcome = subject.elsewhere.append(conflict).await.expect("the engine works");
        assert!(matches!(outcome, AppendOutcome::Conflict), "{outcome:?}");
    }
    assert!(stored(&subject.engine, append).await.dup);
    let next = send(&subject.engine, room.message(&ann, PAST)).await;
    assert_eq!((next.seq, next.late), (Seq(2), false), "a conflict takes nothing");
}

pub async fn the_same_cid_of_another_sender_or_elsewhere_is_another_message(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let (room, other) = (Room::direct(&ann, &bob), subject.channel("other"));
    let first = send(&subject.engine, room.named(&ann, "one", "from ann", PAST)).await;
    let second = send(&subject.engine, room.named(&bob, "one", "from bob", PAST)).await;
    let third = send(&subject.engine, other.named(&ann, "one", "to others", PAST)).await;
    assert_eq!((first.seq, second.seq, third.seq), (Seq(1), Seq(2), Seq(1)));
}

pub async fn racing_retries_store_one_copy(subject: Subject) {
    let (room, ann) = (subject.channel("race"), subject.user("ann"));
    for round in 0..10 {
        let append = room.named(&ann, &format!("cid{round}"), "hello", None);
        let racers = (0..8).map(|racer| {
            let engine = if racer % 2 == 0 { &subject.engine } else { &subject.elsewhere };
            let (engine, append) = (Arc::clone(engine), append.clone());
            tokio::spawn(async move { stored(&engine, append).await })
        });
        let outcomes: Vec<_> = join_all(racers).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(outcomes.iter().filter(|stored| !stored.dup).count(), 1);
        assert!(outcomes.iter().all(|stored| stored.message == outcomes[0].message));
    }
    let expected: Vec<u64> = (1..=10).collect();
    assert_eq!(seqs(&everything(&subject.engine, room.conv).await), expected);
}

pub async fn of_racing_conflicts_one_is_stored(subject: Subject) {
    let (room, ann) = (subject.channel("race"), subject.user("ann"));
    let calls = (0..8).map(|racer| {
        let append = room.named(&ann, "one", &format!("content {racer}"), None);
        subject.engine.append(append)
    });
    let outcomes = join_all(calls.collect::<Vec<_>>()).await;
    let is_stored = |outcome: &_| matches!(outcome, Ok(AppendOutcome::Stored(_)));
    assert_eq!(outcomes.iter().filter(|outcome| is_stored(outcome)).count(), 1, "{outcomes:?}");
    let stored = everything(&subject.engine, room.conv).await;
    assert_eq!((stored.len(), stored[0].content.as_str()), (1, "content 0"));
}

pub async fn a_cid_is_known_after_ten_thousand_more_messages(subject: Subject) {
    let (room, ann, bob) = (subject.channel("long"), subject.user("ann"), subject.user("bob"));
    let append = room.named(&ann, "first", "hello", PAST);
    let first = send(&subject.engine, append.clone()).await;
    send_all(&subject.engine, room.messages(&bob, vec![PAST; 10_000])).await;
    let again = stored(&subject.engine, append.clone()).await;
    assert!(again.dup);
    assert_eq!(again.message, first);
    let conflict = Append { content: "other".to_owned(), ..append };
    let outcome = subject.elsewhere.append(conflict).await.expect("the engine works");
    assert!(matches!(outcome, AppendOutcome::Conflict), "{outcome:?}");
}
