//! What the next life of the same store remembers. Engines that keep nothing pass without looking.

use super::subject::{
    Ending, PAST, Room, Subject, ack, all_late, all_pages, everything, open, page_of, recovered,
    regrouped, resume, roster, send, send_all, seqs, stored,
};
use crate::model::{GroupAct, Seq};
use crate::persistence::{Append, AppendOutcome};

/// Everything that an engine keeps, before and after.
async fn everything_survives(subject: Subject, ending: Ending) {
    if !subject.survives() {
        return;
    }
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let (chat, channel) = (Room::direct(&ann, &bob), subject.channel("kept"));
    let times = (0..300u64).map(|step| PAST + 100 + step - 60 * u64::from(step % 10 == 9));
    let mut sent = send_all(&subject.engine, chat.messages(&ann, times)).await;
    let named = chat.named(&ann, "named", "hello", PAST + 1);
    sent.push(send(&subject.engine, named.clone()).await);
    send_all(&subject.engine, channel.messages(&ann, vec![PAST; 4])).await;
    open(&subject.engine, &chat, &bob, 0).await;
    open(&subject.engine, &channel, &bob, 0).await;
    let acked = ack(&subject.engine, chat.acking(&bob, 7, &[(10, 11), (20, 40)])).await;
    let before = open(&subject.engine, &chat, &bob, 20).await;
    let late = all_late(&subject.engine, &chat, &bob, Some(Seq::ZERO), 200).await;
    let group = subject.group();
    for act in [GroupAct::Create, GroupAct::Invite(bob.clone())] {
        regrouped(&subject.engine, &group, &ann, act).await;
    }
    send(&subject.engine, group.message(&bob, PAST)).await;
    let members = regrouped(&subject.engine, &group, &bob, GroupAct::Quit).await.0;
    let epoch = subject.engine.epoch(chat.conv);

    let subject = subject.reopen(ending).await;
    let engine = &subject.engine;
    assert_eq!(roster(engine, &group).await, members);
    let outcome = engine.append(group.message(&bob, PAST)).await.expect("the engine works");
    assert!(matches!(outcome, AppendOutcome::NotMember), "{outcome:?}");
    assert_eq!(send(engine, group.message(&ann, PAST)).await.seq, Seq(2));
    assert_eq!(engine.epoch(chat.conv), epoch, "nothing was lost, so it is the same life");
    assert_eq!(everything(engine, chat.conv).await, sent);
    let following = engine.after(chat.conv, Seq(290), 200).await.expect("a page");
    assert_eq!((following.epoch, &following.page.items[..]), (epoch.clone(), &sent[290..]));
    let mut history = sent.clone();
    history.sort_by_key(|message| message.position());
    assert_eq!(all_pages(engine, chat.history()).await, history);
    let after = open(engine, &chat, &bob, 20).await;
    assert_eq!((&after.acked, after.head, after.unread), (&acked, before.head, before.unread));
    assert_eq!((after.became, after.mutual), (false, before.mutual));
    let (after, before) = (page_of(after), page_of(before));
    assert_eq!((after.items, after.late, after.older), (before.items, before.late, before.older));
    assert_eq!(all_late(engine, &chat, &bob, Some(Seq::ZERO), 200).await, late);
    let bridge = recovered(resume(engine, &chat, &bob, &epoch, 290).await);
    assert_eq!(bridge.as_deref(), Some(&sent[290..]));
    // The chat, the channel, and the group that he was in.
    assert_eq!(engine.mine(&bob).await.expect("an index").len(), 3);

    let again = stored(engine, Append { ts: None, ..named.clone() }).await;
    assert!(again.dup && Some(&again.message) == sent.last());
    let conflict = Append { content: "other".to_owned(), ..named };
    let outcome = engine.append(conflict).await.expect("the engine works");
    assert!(matches!(outcome, AppendOutcome::Conflict), "{outcome:?}");

    let highest_ts = history.last().expect("not empty").ts;
    let next = send(engine, chat.message(&bob, highest_ts)).await;
    assert_eq!((next.seq, next.late), (Seq(302), false));
    assert!(send(engine, chat.message(&bob, highest_ts - 1)).await.late);

    send(engine, channel.message(&ann, PAST)).await;
    let joined = open(engine, &channel, &bob, 10).await;
    assert_eq!((joined.acked.up_to, joined.became), (Seq(4), false), "decided once");
    assert_eq!(seqs(&page_of(joined).items), [1, 2, 3, 4, 5]);
}

pub async fn everything_survives_a_clean_end(subject: Subject) {
    everything_survives(subject, Ending::Closed).await;
}

pub async fn everything_that_was_answered_survives_an_engine_that_is_dropped(subject: Subject) {
    everything_survives(subject, Ending::Abandoned).await;
}

pub async fn what_was_called_before_a_close_is_stored_or_refused(subject: Subject) {
    let (room, ann) = (subject.channel("closing"), subject.user("ann"));
    let calls: Vec<_> = (0..50).map(|_| subject.engine.append(room.message(&ann, PAST))).collect();
    subject.engine.close().await;
    let mut stored_seqs = Vec::new();
    for call in calls {
        match call.await {
            Ok(AppendOutcome::Stored(stored)) => stored_seqs.push(stored.message.seq.0),
            Err(error) => assert!(error.is_definite(), "{error:?}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stored_seqs, (1..=stored_seqs.len() as u64).collect::<Vec<_>>());
    if subject.survives() {
        let subject = subject.reopen(Ending::Abandoned).await;
        assert_eq!(seqs(&everything(&subject.engine, room.conv).await), stored_seqs);
    }
}

pub async fn a_closed_engine_stores_nothing_more(subject: Subject) {
    let (room, ann) = (subject.channel("closed"), subject.user("ann"));
    subject.engine.close().await;
    let outcome = subject.engine.append(room.message(&ann, PAST)).await;
    assert!(outcome.is_err(), "{outcome:?}");
}
