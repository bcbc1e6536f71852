//! A user's index of conversations.

use std::collections::HashSet;

use super::subject::{PAST, Room, Subject, open, send, send_all};
use crate::model::{ConvId, LIMITS, UserName};

async fn mine(subject: &Subject, user: &UserName) -> HashSet<ConvId> {
    let mine = subject.elsewhere.mine(user).await.expect("an index");
    let convs: HashSet<_> = mine.iter().map(|entry| entry.conv).collect();
    assert_eq!(convs.len(), mine.len(), "each once");
    convs
}

pub async fn the_index_holds_what_was_opened_or_written_to_but_not_what_is_empty(subject: Subject) {
    let (ann, bob, eve) = (subject.user("ann"), subject.user("bob"), subject.user("eve"));
    let (chat, notes) = (Room::direct(&ann, &bob), Room::direct(&ann, &ann));
    let (channel, other) = (subject.channel("opened"), subject.channel("other"));
    assert!(mine(&subject, &ann).await.is_empty());
    for room in [&chat, &notes, &channel] {
        open(&subject.engine, room, &ann, 10).await;
    }
    assert!(mine(&subject, &ann).await.is_empty(), "all of them are empty");
    send(&subject.engine, chat.message(&bob, PAST)).await;
    assert_eq!(mine(&subject, &ann).await, HashSet::from([chat.conv]));
    assert_eq!(mine(&subject, &bob).await, HashSet::from([chat.conv]));
    send(&subject.engine, notes.message(&ann, PAST)).await;
    send(&subject.engine, channel.message(&eve, PAST)).await;
    send(&subject.engine, other.message(&eve, PAST)).await;
    let expected = HashSet::from([chat.conv, notes.conv, channel.conv]);
    assert_eq!(mine(&subject, &ann).await, expected);
    assert!(mine(&subject, &eve).await.is_empty(), "writing in a channel does not open it");
}

pub async fn an_entry_has_the_place_and_the_newest_commit_time(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    for ts in [PAST + 9, PAST] {
        let sent = send(&subject.engine, room.message(&ann, ts)).await;
        let mine = subject.elsewhere.mine(&bob).await.expect("an index");
        assert_eq!((mine.len(), mine[0].at, &mine[0].place), (1, sent.at, &room.place));
    }
}

pub async fn a_summary_shows_the_highest_seq_and_what_is_unread(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    let sent = send_all(&subject.engine, room.messages(&ann, [PAST + 9, PAST])).await;
    let summary = subject.elsewhere.summary(room.conv, &bob).await.expect("a summary");
    assert_eq!(summary.newest.as_ref(), sent.last(), "by number, late or not");
    assert_eq!((summary.unread.count, summary.unread.more), (2, false));
    let summary = subject.engine.summary(room.conv, &ann).await.expect("a summary");
    assert_eq!(summary.unread.count, 0);
}

pub async fn the_index_holds_the_last_thousand_that_became_yours(subject: Subject) {
    const BEYOND: usize = 20;
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let rooms: Vec<Room> = (0..LIMITS.list_max + BEYOND)
        .map(|index| Room::direct(&ann, &subject.user(&format!("u{index}"))))
        .collect();
    // Called in this order, many at once: the order of becoming is that of the messages.
    let appends = rooms.iter().map(|room| {
        let peer = room.place.peer_of(&ann).expect("a direct chat");
        room.message(peer, PAST)
    });
    send_all(&subject.engine, appends.collect()).await;
    let last: HashSet<ConvId> = rooms[BEYOND..].iter().map(|room| room.conv).collect();
    assert_eq!(mine(&subject, &ann).await, last);
    // Only becoming counts: a message in an old one moves nothing.
    send(&subject.engine, rooms[0].message(&ann, PAST)).await;
    assert_eq!(mine(&subject, &ann).await, last);
    let chat = Room::direct(&ann, &bob);
    send(&subject.engine, chat.message(&bob, PAST)).await;
    let now = mine(&subject, &ann).await;
    assert!(now.contains(&chat.conv) && !now.contains(&rooms[BEYOND].conv));
    assert_eq!(now.len(), LIMITS.list_max);
}
