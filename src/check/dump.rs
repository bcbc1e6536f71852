//! What the store has, beside what servers say of it.

use std::collections::BTreeSet;

use crate::harness::Targets;
use crate::history::{Act, Asked, Dumped, Event, ReadAsked, ReadKind, Seen};
use crate::model::Seq;

/// The node that the reads of a dump are told of.
const STORE: &str = "store";

/// Reads every conversation of a history from the store of servers that were stopped, and writes it down as one more final read, of a node of
/// its own: what differs from what servers said is `diverged`. The error is for people; nothing is done where the servers are somebody else's.
pub async fn take_dump(targets: &Targets, events: &mut Vec<Event>) -> Result<(), String> {
    let convs: BTreeSet<&str> = events.iter().filter_map(|event| event.conv.as_deref()).collect();
    let Some(lines) = targets.dump(&convs).await else { return Ok(()) };
    let lines = lines?;
    let mut free = Free::after(events);
    for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let dumped: Dumped = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        append(events, dumped, &mut free);
    }
    Ok(())
}

/// Numbers that nobody in the history has.
struct Free {
    process: u64,
    chain: u64,
}

impl Free {
    fn after(events: &[Event]) -> Self {
        let process = events.iter().map(|event| event.process).max().unwrap_or(0) + 1;
        let chains = events.iter().filter_map(|event| match &event.act {
            Act::Invoke { asked: Asked::Read(asked) } => Some(asked.chain),
            _ => None,
        });
        Self { process, chain: chains.max().unwrap_or(0) + 1 }
    }
}

fn append(events: &mut Vec<Event>, dumped: Dumped, free: &mut Free) {
    let Dumped { conv, epoch, items, .. } = dumped;
    let time_ns = events.last().map_or(0, |event| event.time_ns);
    let Free { process, chain } = *free;
    *free = Free { process: process + 1, chain: chain + 1 };
    let asked = ReadAsked {
        kind: ReadKind::After { after_seq: Seq::ZERO },
        limit: items.len(),
        page: 0,
        chain,
        is_final: true,
    };
    let seen = Seen::Read { epoch, items, complete: true };
    for act in [Act::Invoke { asked: Asked::Read(asked) }, Act::Ok { seen }] {
        events.push(Event {
            index: events.len() as u64,
            time_ns,
            process,
            session: None,
            node: Some(STORE.to_owned()),
            user: Some(STORE.to_owned()),
            conv: Some(conv.clone()),
            act,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tests::histories;
    use crate::checker::verdict::Outcome;
    use crate::checker::{Anomaly, judge};
    use crate::history::hash_chain;

    #[test]
    fn a_store_that_differs_from_its_servers_is_diverged() {
        for events in histories(20).into_iter().step_by(2) {
            let finals = events.iter().rev().find_map(|event| match &event.act {
                Act::Ok { seen: Seen::Read { epoch, items, .. } } if items.len() > 2 => {
                    Some((event.conv.clone().unwrap(), epoch.clone(), items.clone()))
                }
                _ => None,
            });
            let Some((conv, epoch, items)) = finals else { continue };
            let judged = |change: fn(&mut Vec<crate::history::Item>)| {
                let (mut events, mut items) = (events.clone(), items.clone());
                change(&mut items);
                let (conv, epoch, chain) = (conv.clone(), epoch.clone(), hash_chain(&items));
                let mut free = Free::after(&events);
                append(&mut events, Dumped { conv, epoch, items, chain }, &mut free);
                judge(&events)
            };
            assert_eq!(judged(|_| ()).outcome, Outcome::Valid);
            assert!(judged(|items| drop(items.remove(1))).has(Anomaly::Diverged));
            assert!(judged(|items| items[1].digest.push('x')).has(Anomaly::Diverged));
        }
    }
}
