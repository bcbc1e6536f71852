//! Faults of opening a conversation, and of what is late and unread.

use std::sync::Arc;

use super::memory::Shared;
use super::pages::Items;
use super::{Fault, acks, pages};
use crate::model::{ConvId, Message};
use crate::persistence::{LatePage, OpenQuery, OpenView, Opened};

/// Breaks the answer to an `open`.
pub fn spoil_open(shared: &Shared, query: &OpenQuery, opened: &mut Opened) {
    let conv = query.conv;
    match &mut opened.view {
        OpenView::Recovered(items) => {
            pages::show_all(shared, conv, items);
            if shared.has(Fault::PartialResume) && !items.is_empty() && shared.acts() {
                items.remove(0);
            }
        }
        OpenView::Page { items, late, .. } => {
            pages::show_all(shared, conv, items);
            pages::show_all(shared, conv, late);
            if shared.has(Fault::HideGap) && opened.unread.before > 0 && shared.acts() {
                opened.unread.before = 0;
            }
            if shared.has(Fault::ForgetLate) {
                let before = late.len();
                forget_late(shared, late);
                let forgotten = before - late.len();
                opened.unread.late = opened.unread.late.saturating_sub(forgotten);
            }
            let risen = match shared.fault {
                Some(Fault::LateZombie) => late_of(shared, query, |message| {
                    message.from != query.user
                        && opened.acked.contains(message.seq)
                        && !items.iter().any(|item| item.seq == message.seq)
                }),
                Some(Fault::OwnLate) => late_of(shared, query, |message| {
                    message.from == query.user
                        && message.seq <= opened.head
                        && !items.iter().any(|item| item.seq == message.seq)
                }),
                _ => None,
            };
            if let Some(risen) = risen.filter(|_| shared.acts()) {
                late.push(risen);
                late.sort_by_key(|message| message.seq);
                opened.unread.late += 1;
            }
        }
    }
    acks::spoil_open(shared, query, opened);
}

/// The newest late message of this kind.
fn late_of(
    shared: &Shared,
    query: &OpenQuery,
    is_wanted: impl Fn(&Message) -> bool,
) -> Option<Arc<Message>> {
    shared.with(query.conv, |memory| {
        memory.late.iter().rev().find(|message| is_wanted(message)).cloned()
    })
}

/// Breaks a page of unread late messages.
pub fn spoil_late(shared: &Shared, conv: ConvId, page: &mut LatePage) {
    pages::show_all(shared, conv, &mut page.items);
    forget_late(shared, &mut page.items);
    if shared.has(Fault::EndLateEarly) && shared.acts() {
        page.next = None;
    }
}

/// The same ones in every reply: a late message that shows up elsewhere is not forgotten.
fn forget_late(shared: &Shared, late: &mut Items) {
    if shared.has(Fault::ForgetLate) {
        late.retain(|message| message.seq.0 % 2 == 1);
    }
}
