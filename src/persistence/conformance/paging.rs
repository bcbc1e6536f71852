//! Reading history, by time and by number.

use std::sync::Arc;

use super::subject::{PAST, Room, Subject, all_pages, everything, send, send_all, seqs};
use crate::model::{Order, Seq};
use crate::persistence::RangeQuery;

/// Times with many equal ones and many late ones.
fn crossing_times(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|step| PAST + (step * 7) % 20)
}

pub async fn history_is_by_ts_then_seq_in_both_orders(subject: Subject) {
    let (room, ann) = (subject.channel("history"), subject.user("ann"));
    let mut expected = send_all(&subject.engine, room.messages(&ann, crossing_times(60))).await;
    expected.sort_by_key(|message| message.position());
    for limit in [1, 7, 59, 60, 200] {
        let query = RangeQuery { limit, ..room.history() };
        assert_eq!(all_pages(&subject.elsewhere, query.clone()).await, expected, "limit {limit}");
        let query = RangeQuery { order: Order::Desc, ..query };
        let mut descending = all_pages(&subject.engine, query).await;
        descending.reverse();
        assert_eq!(descending, expected, "limit {limit}");
    }
}

pub async fn both_ends_of_a_range_are_inclusive(subject: Subject) {
    let (room, ann) = (subject.channel("ends"), subject.user("ann"));
    // By (ts, seq): 1@10 4@10 2@20 6@20 3@30 5@40
    let times = [10, 20, 30, 10, 40, 20].map(|ts| PAST + ts);
    send_all(&subject.engine, room.messages(&ann, times)).await;
    let cases: [(u64, u64, &[u64]); 8] = [
        (10, 40, &[1, 4, 2, 6, 3, 5]),
        (10, 10, &[1, 4]),
        (20, 30, &[2, 6, 3]),
        (40, 40, &[5]),
        (11, 19, &[]),
        (0, 9, &[]),
        (41, 99, &[]),
        (0, 20, &[1, 4, 2, 6]),
    ];
    for (from, to, expected) in cases {
        let query = RangeQuery { from: PAST + from, to: PAST + to, ..room.history() };
        let page = subject.engine.range(query.clone()).await.expect("a page");
        assert_eq!((seqs(&page.items).as_slice(), page.more), (expected, false), "{from}..={to}");
        let query = RangeQuery { order: Order::Desc, ..query };
        let mut page = subject.elsewhere.range(query).await.expect("a page");
        page.items.reverse();
        assert_eq!((seqs(&page.items).as_slice(), page.more), (expected, false), "{from}..={to}");
    }
}

pub async fn a_page_says_whether_there_is_more(subject: Subject) {
    let (room, ann) = (subject.channel("more"), subject.user("ann"));
    send_all(&subject.engine, room.messages(&ann, vec![PAST; 5])).await;
    for (limit, more) in [(1, true), (4, true), (5, false), (6, false)] {
        for order in [Order::Asc, Order::Desc] {
            let query = RangeQuery { limit, order, ..room.history() };
            let page = subject.engine.range(query).await.expect("a page");
            assert_eq!((page.items.len(), page.more), (limit.min(5), more), "{order:?} {limit}");
        }
        let page = subject.engine.after(room.conv, Seq::ZERO, limit).await.expect("a page").page;
        assert_eq!((page.items.len(), page.more), (limit.min(5), more), "after {limit}");
    }
    // Later messages outside the range are not more of it.
    send(&subject.engine, room.message(&ann, PAST + 1)).await;
    let query = RangeQuery { to: PAST, limit: 5, ..room.history() };
    let page = subject.engine.range(query).await.expect("a page");
    assert_eq!((page.items.len(), page.more), (5, false));
}

pub async fn a_start_among_equal_times_goes_on_right_after_it(subject: Subject) {
    let (room, ann) = (subject.channel("equal"), subject.user("ann"));
    send_all(&subject.engine, room.messages(&ann, vec![PAST; 9])).await;
    for at in 1..=9u64 {
        let start = Some((PAST, Seq(at)));
        let query = RangeQuery { start, ..room.history() };
        let above = subject.engine.range(query.clone()).await.expect("a page");
        assert_eq!(seqs(&above.items), (at + 1..=9).collect::<Vec<_>>());
        let query = RangeQuery { order: Order::Desc, ..query };
        let below = subject.engine.range(query).await.expect("a page");
        assert_eq!(seqs(&below.items), (1..at).rev().collect::<Vec<_>>());
    }
}

pub async fn a_start_outside_the_range_is_no_error(subject: Subject) {
    let (room, ann) = (subject.channel("outside"), subject.user("ann"));
    send_all(&subject.engine, room.messages(&ann, (0..9).map(|ts| PAST + ts))).await;
    let (all, none): (&[u64], &[u64]) = (&[4, 5, 6], &[]);
    for (order, start_ts, expected) in
        [(Order::Asc, 0, all), (Order::Asc, 8, none), (Order::Desc, 8, all), (Order::Desc, 0, none)]
    {
        let start = Some((PAST + start_ts, Seq(start_ts + 1)));
        let (from, to) = (PAST + 3, PAST + 5);
        let query = RangeQuery { from, to, order, start, ..room.history() };
        let mut found = seqs(&subject.engine.range(query).await.expect("a page").items);
        found.sort_unstable();
        assert_eq!(found, expected, "{order:?} {start_ts}");
    }
}

pub async fn inserts_while_paging_cause_no_skip_and_no_repeat(subject: Subject) {
    let (room, ann) = (subject.channel("inserts"), subject.user("ann"));
    let before = send_all(&subject.engine, room.messages(&ann, crossing_times(40))).await;
    for order in [Order::Asc, Order::Desc] {
        let mut query = RangeQuery { order, limit: 3, ..room.history() };
        let mut seen = Vec::new();
        let mut times = crossing_times(u64::MAX >> 8);
        loop {
            let page = subject.engine.range(query.clone()).await.expect("a page");
            query.start = page.items.last().map(|message| message.position());
            seen.extend(page.items);
            if !page.more {
                break;
            }
            let ts = times.next().expect("endless");
            // Each insert is before, at or after the place that was reached.
            if seen.len() < 60 {
                send(&subject.elsewhere, room.message(&ann, ts)).await;
            }
        }
        let mut positions: Vec<_> = seen.iter().map(|message| message.position()).collect();
        if order == Order::Desc {
            positions.reverse();
        }
        assert!(positions.is_sorted_by(|one, other| one < other), "{order:?}: no repeat");
        assert!(before.iter().all(|message| seen.contains(message)), "{order:?}: no skip");
    }
}

pub async fn after_reads_by_number_whatever_the_times(subject: Subject) {
    let (ann, bob) = (subject.user("ann"), subject.user("bob"));
    let room = Room::direct(&ann, &bob);
    let sent = send_all(&subject.engine, room.messages(&ann, crossing_times(450))).await;
    assert_eq!(everything(&subject.elsewhere, room.conv).await, sent);
    for after in [0, 1, 200, 440, 449, 450, 451, 9_999] {
        let page = subject.engine.after(room.conv, Seq(after), 10).await.expect("a page").page;
        let expected: Vec<_> = sent.iter().skip(after as usize).take(10).map(Arc::clone).collect();
        assert_eq!(page.items, expected, "after {after}");
        assert_eq!(page.more, after + 10 < 450, "after {after}");
    }
}

pub async fn a_long_history_is_paged_to_its_beginning(subject: Subject) {
    let (room, ann) = (subject.channel("long"), subject.user("ann"));
    let times = (0..2_500u64).map(|step| PAST + step * 10 - (step % 3) * 25 * u64::from(step > 9));
    let mut sent = send_all(&subject.engine, room.messages(&ann, times)).await;
    sent.sort_by_key(|message| message.position());
    assert_eq!(all_pages(&subject.engine, room.history()).await, sent);
    let query = RangeQuery { order: Order::Desc, limit: 100, ..room.history() };
    let mut descending = all_pages(&subject.elsewhere, query).await;
    descending.reverse();
    assert_eq!(descending, sent);
}
