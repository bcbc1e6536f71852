//! Faults of reading.

use std::sync::Arc;

use super::memory::Shared;
use super::{Fault, OWN_CID};
use crate::model::{ConvId, Message, Seq};
use crate::persistence::{OpenQuery, OpenView, Opened};

/// How many messages a stale read leaves out: its reader's own are likely among them.
const STALE: usize = 3;

type Items = Vec<Arc<Message>>;

/// The message as every page shows it; `None` where none does.
pub fn shown(shared: &Shared, conv: ConvId, message: &Arc<Message>) -> Option<Arc<Message>> {
    let picked = shared.picks(message.seq);
    let changed = |change: &dyn Fn(&mut Message)| {
        let mut message = (**message).clone();
        change(&mut message);
        Some(Arc::new(message))
    };
    match shared.fault {
        Some(Fault::DropAcked) if picked => None,
        Some(Fault::Hole) if message.cid.as_str().starts_with(OWN_CID) => None,
        Some(Fault::CorruptContent) if picked => changed(&|message| message.content.push('~')),
        Some(Fault::MisflagLate) if picked => changed(&|message| message.late = !message.late),
        Some(Fault::ReuseSeq) if picked && message.seq.0 > 1 => {
            changed(&|message| message.seq = Seq(message.seq.0 - 1))
        }
        Some(Fault::DoubleRetry) => {
            let alias = shared.with(conv, |memory| memory.aliases.get(&message.cid).cloned());
            match alias {
                Some(cid) => changed(&move |message| message.cid = cid.clone()),
                None => Some(Arc::clone(message)),
            }
        }
        _ => Some(Arc::clone(message)),
    }
}

/// Whether a page begins with a message whose number is not what pages show: a room that is told to go on
/// there would wait for ever, so it is shown the truth.
pub fn blocks_a_room(shared: &Shared, conv: ConvId, items: &[Arc<Message>]) -> bool {
    items
        .first()
        .is_some_and(|first| shown(shared, conv, first).is_none_or(|shown| shown.seq != first.seq))
}

/// Shows messages as every page does.
pub fn show_all(shared: &Shared, conv: ConvId, items: &mut Items) {
    let honest = std::mem::take(items);
    items.extend(honest.iter().filter_map(|message| shown(shared, conv, message)));
}

/// Breaks one page of history; `reaches_newest`: it holds the newest there is.
pub fn spoil_page(shared: &Shared, conv: ConvId, items: &mut Items, reaches_newest: bool) {
    show_all(shared, conv, items);
    match shared.fault {
        Some(Fault::Disagree) => swap_neighbours(shared, items),
        Some(Fault::StaleRead) if reaches_newest && shared.acts() => hide_newest(items, STALE),
        Some(Fault::HeadBack) if reaches_newest && shared.acts() => hide_newest(items, 1),
        // Two, so that one of them is mostly somebody else's.
        Some(Fault::HideCause) if reaches_newest && shared.acts() => hide_newest(items, 2),
        Some(Fault::SkipPageItem) if items.len() >= 3 && shared.acts() => {
            items.remove(items.len() / 2);
        }
        Some(Fault::MisroutePage) if items.len() >= 2 => {
            if let Some(stray) = shared.of_another(conv)
                && shared.acts()
            {
                let at = items.len() / 2 - 1;
                items[at] = astray(&stray, &items[at]);
            }
        }
        _ => {}
    }
}

/// A message in the place of another.
pub fn astray(stray: &Message, instead: &Message) -> Arc<Message> {
    let Message { seq, ts, at, late, .. } = *instead;
    Arc::new(Message { seq, ts, at, late, ..stray.clone() })
}

fn swap_neighbours(shared: &Shared, items: &mut Items) {
    let distance = |one: &Message, other: &Message| one.seq.0.abs_diff(other.seq.0);
    let Some(at) = items.windows(2).position(|pair| distance(&pair[0], &pair[1]) == 1) else {
        return;
    };
    if shared.acts() {
        let (one, other) = (items[at].seq, items[at + 1].seq);
        Arc::make_mut(&mut items[at]).seq = other;
        Arc::make_mut(&mut items[at + 1]).seq = one;
        items.swap(at, at + 1);
    }
}

fn hide_newest(items: &mut Items, count: usize) {
    for _ in 0..count {
        let newest = items.iter().enumerate().max_by_key(|(_, message)| message.seq);
        if let Some((at, _)) = newest {
            items.remove(at);
        }
    }
}

/// Breaks the answer to an `open`.
pub fn spoil_open(shared: &Shared, query: &OpenQuery, opened: &mut Opened) {
    let conv = query.conv;
    match &mut opened.view {
        OpenView::Recovered(items) => {
            show_all(shared, conv, items);
            if shared.has(Fault::PartialResume) && !items.is_empty() && shared.acts() {
                items.remove(0);
            }
        }
        OpenView::Page { items, late, .. } => {
            show_all(shared, conv, items);
            show_all(shared, conv, late);
            if shared.has(Fault::HideGap) && opened.unread.before > 0 && shared.acts() {
                opened.unread.before = 0;
            }
            if shared.has(Fault::ForgetLate) {
                let before = late.len();
                forget_late(shared, late);
                let forgotten = before - late.len();
                opened.unread.late = opened.unread.late.saturating_sub(forgotten);
            }
            if shared.has(Fault::LateZombie) {
                let risen = shared.with(conv, |memory| {
                    let is_zombie = |message: &&Arc<Message>| {
                        message.from != query.user
                            && opened.acked.contains(message.seq)
                            && !items.iter().any(|item| item.seq == message.seq)
                    };
                    memory.late.iter().rev().find(is_zombie).cloned()
                });
                if let Some(risen) = risen.filter(|_| shared.acts()) {
                    late.push(risen);
                    late.sort_by_key(|message| message.seq);
                    opened.unread.late += 1;
                }
            }
        }
    }
}

/// The same ones in every reply: a late message that shows up elsewhere is not forgotten.
pub fn forget_late(shared: &Shared, late: &mut Items) {
    if shared.has(Fault::ForgetLate) {
        late.retain(|message| message.seq.0 % 2 == 1);
    }
}
