//! Convergence: what two nodes say of a conversation in the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::anomaly::Anomaly;
use super::chains::Chain;
use super::conversation::Conversation;
use super::finals::covers_all;
use super::findings::Findings;
use crate::history::{Item, Seen};

/// Compares the final reads of different nodes under the same epoch; the numbers in which they differ.
pub fn judge(
    conversation: &Conversation<'_>,
    chains: &[Chain<'_>],
    findings: &mut Findings,
) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    // Of each epoch, the first one of each node: what one node tells two users is the business of other names.
    let mut finals: BTreeMap<&str, Vec<(&str, &Chain<'_>)>> = BTreeMap::new();
    for chain in chains.iter().filter(|chain| covers_all(chain)) {
        let first = chain.first(conversation);
        let Some(Seen::Read { epoch, .. }) = first.seen() else { continue };
        let node = first.begun.node.as_deref().unwrap_or("");
        let of_epoch = finals.entry(epoch).or_default();
        if of_epoch.iter().all(|(known, _)| *known != node) {
            of_epoch.push((node, chain));
        }
    }
    for of_epoch in finals.into_values() {
        let Some(((one, reference), others)) = of_epoch.split_first() else { continue };
        let reference_items = by_number(reference);
        for (other, chain) in others {
            let items = by_number(chain);
            let highest =
                |items: &HashMap<u64, (&Item, u64)>| items.keys().max().copied().unwrap_or(0);
            // What is stored between two reads has the highest numbers, and only the later one shows it.
            let common = highest(&reference_items).min(highest(&items));
            let in_both = reference_items.keys().chain(items.keys()).filter(|&&seq| seq <= common);
            let seqs: BTreeSet<u64> = in_both.copied().collect();
            let differs = |seq: &u64| {
                let item = |items: &HashMap<u64, (&Item, u64)>| {
                    items.get(seq).map(|(item, _)| (*item).clone())
                };
                item(&reference_items) != item(&items)
            };
            let differing: Vec<u64> = seqs.into_iter().filter(differs).collect();
            let Some(&first) = differing.first() else { continue };
            let line = |items: &HashMap<u64, (&Item, u64)>, chain: &Chain<'_>| {
                items.get(&first).map_or_else(|| chain.ended_at(conversation), |(_, line)| *line)
            };
            let lines = [line(&reference_items, reference), line(&items, chain)];
            findings.add(Anomaly::Diverged, conversation.name, &lines, || {
                format!(
                    "the final reads of nodes {one} and {other} differ in {} messages, first in seq {first}: {} there, {} here",
                    differing.len(),
                    shown(reference_items.get(&first)),
                    shown(items.get(&first)),
                )
            });
            numbers.extend(differing);
        }
    }
    numbers
}

fn by_number<'a>(chain: &Chain<'a>) -> HashMap<u64, (&'a Item, u64)> {
    chain.items.iter().map(|&(item, line)| (item.seq.0, (item, line))).collect()
}

fn shown(item: Option<&(&Item, u64)>) -> String {
    match item {
        Some((item, _)) => {
            let late = if item.late { ", late" } else { "" };
            format!("{} of {} (ts {}, digest {}{late})", item.cid, item.from, item.ts, item.digest)
        }
        None => "nothing".to_owned(),
    }
}
