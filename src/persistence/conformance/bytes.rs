//! No reply is larger than `page_bytes_max`, as [`Message::wire_bytes`](crate::model::Message::wire_bytes) counts.

use std::sync::Arc;

use super::subject::{
    PAST, Room, Subject, all_late, all_pages, everything, open, page_of, recovered, resume,
    send_all, seqs, wire_bytes,
};
use crate::model::{LIMITS, Message, Order, Seq, UserName};
use crate::persistence::{Append, RangeQuery};

/// The largest content there is; each of its bytes takes six in JSON.
fn escaping() -> String {
    "\u{1}".repeat(LIMITS.content_bytes_max)
}

/// The largest content that needs no escapes.
fn plain() -> String {
    "x".repeat(LIMITS.content_bytes_max)
}

fn large(room: &Room, sender: &UserName, content: &str, ts: u64) -> Append {
    Append { content: content.to_owned(), ..room.message(sender, ts) }
}

/// Whether a page ended because the next message would not have fitted.
fn is_full(page: &[Arc<Message>], next: &Arc<Message>) -> bool {
    let bytes = wire_bytes(page);
    bytes <= LIMITS.page_bytes_max && bytes + next.wire_bytes() > LIMITS.page_bytes_max
}

pub async fn history_pages_hold_as_much_as_fits_and_say_that_there_is_more(subject: Subject) {
    for content in [escaping(), plain()] {
        let (room, ann) = (subject.channel(&format!("b{}", content.len())), subject.user("ann"));
        let room = if content.starts_with('x') { subject.channel("plain") } else { room };
        let appends = (0..90).map(|step| large(&room, &ann, &content, PAST + step)).collect();
        let sent = send_all(&subject.engine, appends).await;
        let query = room.history();
        let ascending = subject.engine.range(query.clone()).await.expect("a page");
        let count = ascending.items.len();
        assert!(ascending.more && is_full(&ascending.items, &sent[count]));
        assert_eq!(ascending.items, sent[..count]);
        let by_number = subject.engine.after(room.conv, Seq::ZERO, 200).await.expect("a page").page;
        assert!(by_number.more);
        assert_eq!(by_number.items, sent[..count]);
        let query = RangeQuery { order: Order::Desc, ..query };
        let mut descending = subject.elsewhere.range(query.clone()).await.expect("a page").items;
        descending.reverse();
        assert_eq!(descending, sent[90 - count..]);
        assert_eq!(all_pages(&subject.engine, room.history()).await, sent);
        assert_eq!(all_pages(&subject.engine, query).await.len(), 90);
        assert_eq!(everything(&subject.engine, room.conv).await, sent);
    }
}

pub async fn a_page_that_just_fits_is_complete(subject: Subject) {
    let (room, ann) = (subject.channel("exact"), subject.user("ann"));
    let first = send_all(&subject.engine, vec![large(&room, &ann, "x", PAST)]).await;
    let overhead = first[0].wire_bytes() - 1;
    // The cids of one case differ in length by a digit at most: measured, not assumed.
    let mut left = LIMITS.page_bytes_max - first[0].wire_bytes();
    let mut count = 1u64;
    while left > 0 {
        // The last two share what is left, so that neither is too short or too long.
        let cid = format!("{count:0>10}");
        let fixed = overhead - 2 * first[0].cid.as_str().len() + 2 * cid.len();
        let most = LIMITS.content_bytes_max.min(left - fixed);
        let rest = left - fixed - most;
        let length = if rest > 0 && rest < 2 * fixed { most / 2 } else { most };
        let append = room.named(&ann, &cid, &"x".repeat(length), PAST + count);
        left -= send_all(&subject.engine, vec![append]).await[0].wire_bytes();
        count += 1;
    }
    let page = subject.engine.range(room.history()).await.expect("a page");
    assert_eq!((page.items.len() as u64, page.more), (count, false));
    assert_eq!(wire_bytes(&page.items), LIMITS.page_bytes_max);
    let bob = subject.user("bob");
    let shown = page_of(open(&subject.engine, &room, &bob, 200).await);
    assert!(!shown.older && shown.items.len() as u64 == count);
    let epoch = subject.engine.epoch(room.conv);
    let bridge = recovered(resume(&subject.engine, &room, &bob, &epoch, 0).await);
    assert_eq!(bridge.map(|items| items.len() as u64), Some(count));
    send_all(&subject.engine, vec![room.message(&ann, PAST + count)]).await;
    let page = subject.engine.range(room.history()).await.expect("a page");
    assert_eq!((page.items.len() as u64, page.more), (count, true));
    assert!(recovered(resume(&subject.engine, &room, &bob, &epoch, 0).await).is_none());
}

pub async fn an_open_holds_items_and_late_ones_within_one_page(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    let content = escaping();
    let on_time = (0..6).map(|step| large(&room, &ann, &content, PAST + 100 + step));
    let late = (0..12).map(|step| large(&room, &ann, &content, PAST + step));
    send_all(&subject.engine, on_time.chain(late).collect()).await;
    let shown = page_of(open(&subject.engine, &room, &bob, 6).await);
    assert_eq!(seqs(&shown.items), [1, 2, 3, 4, 5, 6]);
    assert!(shown.older);
    assert!(wire_bytes(shown.items.iter().chain(&shown.late)) <= LIMITS.page_bytes_max);
    let mut reached = seqs(&shown.late);
    let next = shown.late_next.expect("not all of them fit");
    let rest = all_late(&subject.elsewhere, &room, &bob, Some(next), 200).await;
    reached.extend(seqs(&rest));
    assert_eq!(reached, (7..=18).collect::<Vec<_>>());
    let page = subject.engine.unread_late(room.conv, &bob, Seq::ZERO, 200).await.expect("a page");
    assert!(page.next.is_some() && wire_bytes(&page.items) <= LIMITS.page_bytes_max);
    assert!(!page.items.is_empty());

    // A page that the newest messages fill alone leaves no room for late ones, and says so.
    let shown = page_of(open(&subject.engine, &room, &bob, 200).await);
    assert!(wire_bytes(shown.items.iter().chain(&shown.late)) <= LIMITS.page_bytes_max);
    let on_page = seqs(&shown.items);
    let mut reached = seqs(&shown.late);
    reached.extend(seqs(&all_late(&subject.engine, &room, &bob, shown.late_next, 200).await));
    let missed: Vec<u64> =
        (7..=18).filter(|seq| !on_page.contains(seq) && !reached.contains(seq)).collect();
    assert!(missed.is_empty(), "neither shown nor reached: {missed:?}");
    assert!(reached.is_sorted_by(|one, other| one < other));
}

pub async fn a_bridge_that_would_be_too_large_is_a_page(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    let appends = (0..20).map(|step| large(&room, &ann, &escaping(), PAST + step)).collect();
    let sent = send_all(&subject.engine, appends).await;
    let epoch = subject.engine.epoch(room.conv);
    for from in 0..=20u64 {
        let opened = resume(&subject.engine, &room, &bob, &epoch, from).await;
        let missing = &sent[from as usize..];
        let fits = wire_bytes(missing) <= LIMITS.page_bytes_max;
        let bridge = recovered(opened);
        assert_eq!(bridge.as_deref(), fits.then_some(missing), "from {from}");
    }
}
