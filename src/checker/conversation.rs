//! The history of one conversation: its operations, and the moments in their order.

use std::collections::{BTreeSet, HashMap};

use crate::history::{Act, Asked, Event, Item, OpenSeen, ReadAsked, Seen};
use crate::model::Seq;

/// An operation: its invoke, and its end where there is one.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// The invoke.
    pub begun: &'a Event,
    /// What was asked.
    pub asked: &'a Asked,
    /// The line that ended it; `None`: the history ends before.
    pub ended: Option<&'a Event>,
}

impl<'a> Operation<'a> {
    /// What an `ok` answered.
    pub fn seen(&self) -> Option<&'a Seen> {
        match &self.ended?.act {
            Act::Ok { seen } => Some(seen),
            _ => None,
        }
    }

    /// It certainly did not and will not happen.
    pub fn failed(&self) -> bool {
        matches!(self.ended.map(|event| &event.act), Some(Act::Fail { .. }))
    }

    /// Whose.
    pub fn user(&self) -> &'a str {
        self.begun.user.as_deref().unwrap_or("")
    }

    /// Which session; an operation without one is a session of its own.
    pub fn session(&self) -> u64 {
        session_of(self.begun)
    }

    /// Index of the invoke.
    pub fn begun_at(&self) -> u64 {
        self.begun.index
    }

    /// Index of the end, of whatever kind.
    pub fn ended_at(&self) -> u64 {
        self.ended.map_or(u64::MAX, |event| event.index)
    }

    /// Of an `ok` read: what it asked, its items, and whether nothing follows.
    pub fn read(&self) -> Option<(&'a ReadAsked, &'a [Item], bool)> {
        match (self.asked, self.seen()?) {
            (Asked::Read(asked), Seen::Read { items, complete, .. }) => {
                Some((asked, items, *complete))
            }
            _ => None,
        }
    }

    /// Of an `ok` open: what it saw.
    pub fn open(&self) -> Option<&'a OpenSeen> {
        match self.seen()? {
            Seen::Open(seen) => Some(seen),
            _ => None,
        }
    }

    /// Of an `ok` send: its number, time, late and dup.
    pub fn sent(&self) -> Option<(Seq, u64, bool, bool)> {
        match self.seen()? {
            Seen::Send { seq, ts, late, dup, .. } => Some((*seq, *ts, *late, *dup)),
            _ => None,
        }
    }
}

/// The session of a line; a line without one counts as a session of its process.
pub fn session_of(event: &Event) -> u64 {
    event.session.unwrap_or(u64::MAX - event.process)
}

/// Something at one line.
#[derive(Debug, Clone, Copy)]
pub enum Moment<'a> {
    /// Operation number … begins.
    Begun(usize),
    /// Operation number … ends.
    Ended(usize),
    /// A message is pushed.
    Pushed(&'a Event, &'a str, &'a Item),
    /// The stream of a session is replaced, or its user is a member no more.
    Reset(&'a Event),
    /// A message is seen in a list.
    Listed(&'a Event, &'a Item),
}

/// Everything of one conversation.
#[derive(Debug)]
pub struct Conversation<'a> {
    /// Its id.
    pub name: &'a str,
    /// Its operations, by invoke.
    pub operations: Vec<Operation<'a>>,
    /// What happened, in order.
    pub moments: Vec<Moment<'a>>,
    /// The lives of the store that anybody named.
    pub epochs: BTreeSet<&'a str>,
}

/// Sorts a history by conversation, in the order in which they appear.
pub fn collect(events: &[Event]) -> Vec<Conversation<'_>> {
    let mut all = Vec::new();
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    let mut outstanding: HashMap<u64, (usize, usize)> = HashMap::new();
    for event in events {
        match &event.act {
            Act::Invoke { asked } => {
                outstanding.remove(&event.process);
                let Some(name) = event.conv.as_deref() else { continue };
                let place = place_of(&mut all, &mut by_name, name);
                let conversation: &mut Conversation<'_> = &mut all[place];
                let number = conversation.operations.len();
                outstanding.insert(event.process, (place, number));
                conversation.operations.push(Operation { begun: event, asked, ended: None });
                conversation.moments.push(Moment::Begun(number));
            }
            Act::Ok {
                seen:
                    Seen::Connect { .. }
                    | Seen::Close { .. }
                    | Seen::Nemesis { .. }
                    | Seen::Unreachable { .. }
                    | Seen::Counted { .. },
            } => {}
            Act::Ok { seen: Seen::Recv { epoch, item } } => {
                let Some(name) = event.conv.as_deref() else { continue };
                let place = place_of(&mut all, &mut by_name, name);
                all[place].epochs.insert(epoch);
                all[place].moments.push(Moment::Pushed(event, epoch, item));
            }
            Act::Ok { seen: Seen::Reset { epoch } } => {
                let Some(name) = event.conv.as_deref() else { continue };
                let place = place_of(&mut all, &mut by_name, name);
                all[place].epochs.insert(epoch);
                all[place].moments.push(Moment::Reset(event));
            }
            Act::Ok { seen: Seen::Removed {} } => {
                let Some(name) = event.conv.as_deref() else { continue };
                let place = place_of(&mut all, &mut by_name, name);
                all[place].moments.push(Moment::Reset(event));
            }
            Act::Ok { seen: Seen::List { entries, .. } } => {
                outstanding.remove(&event.process);
                for entry in entries {
                    let place = place_of(&mut all, &mut by_name, &entry.conv);
                    all[place].moments.push(Moment::Listed(event, &entry.newest));
                }
            }
            Act::Ok { .. } | Act::Fail { .. } | Act::Info { .. } => {
                let Some((place, number)) = outstanding.remove(&event.process) else { continue };
                let conversation = &mut all[place];
                conversation.operations[number].ended = Some(event);
                conversation.moments.push(Moment::Ended(number));
                if let Act::Ok { seen } = &event.act {
                    conversation.epochs.extend(epoch_of(seen));
                }
            }
        }
    }
    all
}

fn place_of<'a>(
    all: &mut Vec<Conversation<'a>>,
    by_name: &mut HashMap<&'a str, usize>,
    name: &'a str,
) -> usize {
    *by_name.entry(name).or_insert_with(|| {
        let (operations, moments, epochs) = (Vec::new(), Vec::new(), BTreeSet::new());
        all.push(Conversation { name, operations, moments, epochs });
        all.len() - 1
    })
}

fn epoch_of(seen: &Seen) -> Option<&str> {
    match seen {
        Seen::Send { epoch, .. } | Seen::Read { epoch, .. } => Some(epoch),
        Seen::Open(seen) => Some(&seen.epoch),
        _ => None,
    }
}

impl<'a> Conversation<'a> {
    /// Every item that anybody saw, with its line and the epoch that was named beside it.
    pub fn items(&self, mut each: impl FnMut(&'a Event, Option<&'a str>, &'a Item)) {
        for moment in &self.moments {
            match *moment {
                Moment::Pushed(event, epoch, item) => each(event, Some(epoch), item),
                Moment::Listed(event, item) => each(event, None, item),
                Moment::Ended(number) => {
                    let operation = self.operations[number];
                    let Some(event) = operation.ended else { continue };
                    match operation.seen() {
                        Some(Seen::Read { epoch, items, .. }) => {
                            items.iter().for_each(|item| each(event, Some(epoch), item));
                        }
                        Some(Seen::Open(seen)) => {
                            let items = seen.items.iter().chain(seen.late.iter().flatten());
                            items.for_each(|item| each(event, Some(&seen.epoch), item));
                        }
                        _ => {}
                    }
                }
                Moment::Begun(_) | Moment::Reset(_) => {}
            }
        }
    }
}
