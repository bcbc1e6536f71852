//! Faults of reading.

use std::sync::Arc;

use super::memory::Shared;
use super::{Fault, OWN_CID, losses, stale};
use crate::model::{ConvId, Message, Seq, UserName};

pub type Items = Vec<Arc<Message>>;

/// The message as every page shows it; `None` where none does.
pub fn shown(shared: &Shared, conv: ConvId, message: &Arc<Message>) -> Option<Arc<Message>> {
    let picked = shared.picks(message.seq);
    let changed = |change: &dyn Fn(&mut Message)| {
        let mut message = (**message).clone();
        change(&mut message);
        Some(Arc::new(message))
    };
    match shared.fault {
        Some(Fault::DropAcked | Fault::ForkMissing) if picked => None,
        Some(
            Fault::TrimOldest | Fault::DropBatchHalf | Fault::LoseTail | Fault::LoseConversation,
        ) if losses::is_gone(shared, conv, message.seq) => None,
        Some(Fault::Hole | Fault::BurnNumber) if message.cid.as_str().starts_with(OWN_CID) => None,
        Some(Fault::CorruptContent | Fault::ForkContent) if picked => {
            changed(&|message| message.content.push('~'))
        }
        Some(Fault::ShiftTs) if picked => {
            changed(&|message| message.ts = message.ts.saturating_sub(1))
        }
        Some(Fault::WrongSender) if picked => {
            let is_other = |user: &&UserName| **user != message.from;
            match shared.with(conv, |memory| memory.senders.iter().find(is_other).cloned()) {
                Some(other) => changed(&move |message| message.from = other.clone()),
                None => Some(Arc::clone(message)),
            }
        }
        Some(Fault::EqualIsLate)
            if shared.with(conv, |memory| memory.equal.contains(&message.seq)) =>
        {
            changed(&|message| message.late = true)
        }
        Some(Fault::MisflagLate) if picked => changed(&|message| message.late = !message.late),
        Some(Fault::ReuseSeq) if picked && message.seq.0 > 1 => {
            changed(&|message| message.seq = Seq(message.seq.0 - 1))
        }
        Some(Fault::DoubleRetry | Fault::ForgetCid) => {
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
    if reaches_newest {
        stale::leave_out_newest(shared, conv, items);
    }
    match shared.fault {
        Some(Fault::Disagree) => swap_neighbours(shared, items),
        Some(Fault::ForkOrder) => swap_picked(shared, items),
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

/// The same ones in every page that holds both.
fn swap_picked(shared: &Shared, items: &mut Items) {
    for at in 1..items.len() {
        let (one, other) = (items[at - 1].seq, items[at].seq);
        if other == one.next() && shared.picks(one) {
            Arc::make_mut(&mut items[at - 1]).seq = other;
            Arc::make_mut(&mut items[at]).seq = one;
            items.swap(at - 1, at);
        }
    }
}
