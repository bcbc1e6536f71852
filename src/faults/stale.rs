//! Fresh reads of an older moment.

use std::sync::Arc;
use std::time::Duration;

use super::Fault;
use super::memory::Shared;
use super::pages::Items;
use crate::clock::unix_ms;
use crate::model::{ConvId, Message, UserName};

/// How many messages a stale read leaves out: its reader's own are likely among them.
const STALE: usize = 3;
/// How long an index stays as it is, ms: shorter than anybody is quiet before the last reads.
const INDEX_MS: u64 = 200;
/// How long what lags is on its way, hints too.
pub const LAG: Duration = Duration::from_millis(100);

/// Breaks a page that holds the newest there is.
pub fn leave_out_newest(shared: &Shared, conv: ConvId, items: &mut Items) {
    match shared.fault {
        Some(Fault::StaleRead) if shared.acts() => hide_newest(items, STALE),
        Some(Fault::HeadBack) if shared.acts() => hide_newest(items, 1),
        // Two, so that one of them is mostly somebody else's.
        Some(Fault::HideCause) if shared.acts() => hide_newest(items, 2),
        Some(Fault::SlowIndex) => {
            let now = index_time();
            let indexed = shared.with(conv, |memory| memory.indexed);
            if let Some((indexed, _)) = indexed.filter(|(_, since)| *since == now) {
                items.retain(|message| message.seq <= indexed);
            }
        }
        Some(Fault::LagClock) if shared.acts() => {
            let is_behind = |message: &Message| message.ts < message.at && is_young(message);
            if let Some(at) = newest(items).filter(|&at| is_behind(&items[at])) {
                items.remove(at);
            }
        }
        Some(Fault::LagSender) => {
            hide_newest_where(items, |message| lags(&message.from) && is_young(message));
        }
        _ => {}
    }
}

/// Every other sender's messages are in a part of the store that comes late.
pub fn lags(sender: &UserName) -> bool {
    sender.as_str().bytes().map(u64::from).sum::<u64>().is_multiple_of(2)
}

fn is_young(message: &Message) -> bool {
    Duration::from_millis(unix_ms().saturating_sub(message.at)) < LAG
}

/// When the index was brought up to date, as a count of such times.
pub fn index_time() -> u64 {
    unix_ms() / INDEX_MS
}

fn hide_newest(items: &mut Items, count: usize) {
    for _ in 0..count {
        if let Some(at) = newest(items) {
            items.remove(at);
        }
    }
}

fn hide_newest_where(items: &mut Items, is_hidden: impl Fn(&Message) -> bool) {
    while let Some(at) = newest(items).filter(|&at| is_hidden(&items[at])) {
        items.remove(at);
    }
}

fn newest(items: &[Arc<Message>]) -> Option<usize> {
    let newest = items.iter().enumerate().max_by_key(|(_, message)| message.seq);
    newest.map(|(at, _)| at)
}
