//! Paged reads put together: the pages of one reading, in order.

use std::collections::BTreeMap;

use super::conversation::{Conversation, Operation};
use crate::history::{Asked, Item, ReadAsked};

/// The answered pages of one reading, without gaps from the first.
#[derive(Debug)]
pub struct Chain<'a> {
    /// What the first page asked.
    pub asked: &'a ReadAsked,
    /// The pages: operation numbers.
    pub pages: Vec<usize>,
    /// Every item with its line.
    pub items: Vec<(&'a Item, u64)>,
    /// The last page had nothing after it.
    pub complete: bool,
    /// It begins with page 0, not somewhere in the middle.
    pub from_start: bool,
}

impl<'a> Chain<'a> {
    /// Its first page.
    pub fn first<'c>(&self, conversation: &'c Conversation<'a>) -> &'c Operation<'a> {
        &conversation.operations[self.pages[0]]
    }

    /// The line of its last answer.
    pub fn ended_at(&self, conversation: &Conversation<'a>) -> u64 {
        self.pages.last().map_or(0, |&number| conversation.operations[number].ended_at())
    }
}

/// All readings of a conversation.
pub fn chains<'a>(conversation: &Conversation<'a>) -> Vec<Chain<'a>> {
    let mut pages: BTreeMap<u64, BTreeMap<u64, usize>> = BTreeMap::new();
    for (number, operation) in conversation.operations.iter().enumerate() {
        if let (Asked::Read(asked), true) = (operation.asked, operation.read().is_some()) {
            // A page that was asked again after an uncertain answer counts once.
            pages.entry(asked.chain).or_default().entry(asked.page).or_insert(number);
        }
    }
    pages.values().filter_map(|pages| chain(conversation, pages)).collect()
}

fn chain<'a>(conversation: &Conversation<'a>, numbers: &BTreeMap<u64, usize>) -> Option<Chain<'a>> {
    let (&start, &first) = numbers.first_key_value()?;
    let (asked, _, _) = conversation.operations[first].read()?;
    let mut chain = Chain {
        asked,
        pages: Vec::new(),
        items: Vec::new(),
        complete: false,
        from_start: start == 0,
    };
    for (expected, (&page, &number)) in (start..).zip(numbers) {
        let operation = &conversation.operations[number];
        let (asked, items, complete) = operation.read()?;
        if page != expected || chain.complete || asked.kind != chain.asked.kind {
            break;
        }
        chain.pages.push(number);
        chain.items.extend(items.iter().map(|item| (item, operation.ended_at())));
        chain.complete = complete;
    }
    Some(chain)
}
