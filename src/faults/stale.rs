//! Fresh reads of an older moment.

use std::sync::Arc;
use std::time::Duration;

use super::Fault;
use super::memory::Shared;
use super::pages::Items;
use crate::clock::unix_ms;
use crate::model::{ConvId, Message};

/// How many messages a stale read leaves out: its reader's own are likely among them.
const STALE: usize = 3;
/// How long an index stays as it is, ms: shorter than anybody is quiet before the last reads.
const INDEX_MS: u64 = 200;
/// How long a message whose clock is behind is on its way.
const CLOCK_LAG: Duration = Duration::from_millis(100);
/// How long a batch that is not full waits, and its hints: shorter than anybody is quiet before the last reads.
pub const BATCH_LAG: Duration = Duration::from_millis(200);

/// Breaks a page that holds the newest there is.
pub fn leave_out_newest(shared: &Shared, conv: ConvId, items: &mut Items) {
    match shared.fault {
        Some(Fault::StaleRead) if shared.acts() => hide_newest(items, STALE),
        Some(Fault::HeadBack) => {
            // Within the time that a push takes to everybody, and no longer than anybody is quiet.
            if let Some(at) = newest(items).filter(|&at| age(&items[at]) < BATCH_LAG)
                && shared.acts()
            {
                items.remove(at);
            }
        }
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
        Some(Fault::ShowInBatches) => {
            let newest = newest(items).map_or(0, |at| items[at].seq.0);
            let shown = newest - newest % shared.every();
            items.retain(|message| message.seq.0 <= shown || age(message) >= BATCH_LAG);
        }
        _ => {}
    }
}

fn is_young(message: &Message) -> bool {
    age(message) < CLOCK_LAG
}

fn age(message: &Message) -> Duration {
    Duration::from_millis(unix_ms().saturating_sub(message.at))
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

fn newest(items: &[Arc<Message>]) -> Option<usize> {
    let newest = items.iter().enumerate().max_by_key(|(_, message)| message.seq);
    newest.map(|(at, _)| at)
}
