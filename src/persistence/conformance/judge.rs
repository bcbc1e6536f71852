//! Compares an engine's answer with the specification's. Where the contract leaves an engine a
//! choice, every choice that it allows is accepted.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::model::Conversation;
use super::subject::wire_bytes;
use crate::model::{AckSet, Count, LIMITS, Limits, Message, Seq, UnreadCounts, UserName};
use crate::persistence::{LatePage, OpenView, Opened, Page};

/// A page is what the specification says.
pub fn page(actual: &Page, expected: &Page) {
    assert_eq!(actual.items, expected.items);
    assert_eq!(actual.more, expected.more);
}

/// An opened conversation is what the specification says.
pub fn opened(actual: &Opened, expected: &Opened, conversation: &Conversation, user: &UserName) {
    assert_eq!(actual.epoch, expected.epoch);
    assert_eq!(actual.head, expected.head);
    assert_eq!(actual.became, expected.became);
    assert_eq!(actual.mutual, expected.mutual);
    acked(&actual.acked, conversation, user);
    view(&actual.view, &expected.view, conversation, user);
    let exact = conversation.unread_counts(user, &actual.view);
    unread(&actual.unread, &exact, conversation, user);
}

fn view(actual: &OpenView, expected: &OpenView, conversation: &Conversation, user: &UserName) {
    match (actual, expected) {
        (OpenView::Recovered(actual), OpenView::Recovered(expected)) => {
            assert_eq!(actual, expected);
        }
        (
            OpenView::Page { items, older, late, late_next },
            OpenView::Page { items: expected, older: expected_older, .. },
        ) => {
            assert_eq!((items, older), (expected, expected_older));
            let bytes_left = LIMITS.page_bytes_max.saturating_sub(wire_bytes(items));
            let mut elsewhere = conversation.unread_late(user, Seq::ZERO);
            elsewhere.retain(|message| !items.contains(message));
            let page = LatePage { items: late.clone(), next: *late_next };
            let limit = LIMITS.late_max;
            late_part(&page, &elsewhere, limit, bytes_left, conversation, Seq::ZERO);
        }
        _ => panic!("a bridge for a page, or a page for a bridge: {actual:?}\n{expected:?}"),
    }
}

/// A page of unread late messages is what the specification says.
pub fn late_page(
    actual: &LatePage,
    conversation: &Conversation,
    user: &UserName,
    after: Seq,
    limit: usize,
) {
    let expected = conversation.unread_late(user, after);
    late_part(actual, &expected, limit, LIMITS.page_bytes_max, conversation, after);
}

/// The beginning of `wanted`; a short one only where a bound ends it, and then with a place to go
/// on that skips nothing.
fn late_part(
    actual: &LatePage,
    wanted: &[Arc<Message>],
    limit: usize,
    bytes_max: usize,
    conversation: &Conversation,
    after: Seq,
) {
    let shown = actual.items.len();
    assert!(shown <= limit && wire_bytes(&actual.items) <= bytes_max);
    assert!(wanted.starts_with(&actual.items), "{:?}\n{wanted:?}", actual.items);
    let is_late_above = |message: &&Arc<Message>| message.late && message.seq > after;
    let scan_may_end =
        conversation.messages.iter().filter(is_late_above).count() > Limits::SCAN_MAX;
    match (actual.next, wanted.get(shown)) {
        (None, missing) => assert_eq!(missing, None, "more than is shown, and nobody says so"),
        (Some(_), None) => assert!(scan_may_end, "all is shown, and more is promised"),
        (Some(next), Some(missing)) => {
            assert!(next >= after && actual.items.last().is_none_or(|last| next >= last.seq));
            assert!(next < missing.seq, "{next} skips {}", missing.seq);
            let bytes = wire_bytes(&actual.items) + missing.wire_bytes();
            assert!(
                shown == limit || bytes > bytes_max || scan_may_end,
                "a page is short without a reason"
            );
        }
    }
}

/// The acknowledged numbers are the same, own messages aside (an engine may fold those in), and
/// written in their normal form.
pub fn acked(actual: &AckSet, conversation: &Conversation, user: &UserName) {
    let head = conversation.head();
    let mut end = actual.up_to.next();
    for &(lo, hi) in &actual.ranges {
        assert!(lo > end && hi > lo, "ranges are ascending and apart: {actual:?}");
        end = hi;
    }
    assert!(end <= head.next(), "nothing above the head: {actual:?}");
    let expected = conversation.acked_by(user);
    let of_others = |set: &AckSet| -> BTreeSet<Seq> {
        let others = conversation.messages.iter().filter(|message| message.from != *user);
        others.map(|message| message.seq).filter(|&seq| set.contains(seq)).collect()
    };
    assert_eq!(of_others(actual), of_others(&expected));
}

/// The counts are exact up to their cap, unless counting may stop before.
fn unread(
    actual: &UnreadCounts,
    exact: &UnreadCounts,
    conversation: &Conversation,
    user: &UserName,
) {
    unread_count(actual.unread, exact.unread, conversation, user);
    if scan_may_end(conversation, user) {
        assert!(actual.late >= exact.late.min(1) && actual.late <= exact.late.max(1));
        assert!(actual.before >= exact.before.min(1) && actual.before <= exact.before.max(1));
    } else {
        assert_eq!(actual, exact);
    }
}

/// One count.
pub fn unread_count(actual: Count, exact: Count, conversation: &Conversation, user: &UserName) {
    if scan_may_end(conversation, user) {
        assert!(actual.count <= exact.count && (actual.more || actual == exact), "{actual:?}");
    } else {
        assert_eq!(actual, exact);
    }
}

/// Whether there are more messages above `up_to` than counting must look at.
fn scan_may_end(conversation: &Conversation, user: &UserName) -> bool {
    let up_to = conversation.acked_by(user).up_to;
    conversation.head().0 - up_to.0 > Limits::SCAN_MAX as u64
}
