//! From the lines of a history to operations on lists.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use super::lanes::Lanes;
use super::names::Names;
use super::step::{Moment, Operation, Step};
use super::summary::{Summary, kind_of, kind_of_line};
use super::whole_reads::WholeReads;
use crate::checker::conversation::session_of;
use crate::history::{Act, Asked, Event, Item, ReadAsked, Seen};
use crate::model::Seq;

/// Takes the lines of a history in, in their order, and gives out steps; see the [rules](super).
#[derive(Debug)]
pub struct Translation {
    whole: WholeReads,
    names: Names,
    lanes: Lanes,
    /// What a process of the history waits for.
    outstanding: HashMap<u64, Outstanding>,
    /// Appends without an end yet, by element.
    appends: BTreeMap<u64, Append>,
    /// Readings between their first page and their last, by conversation and chain.
    readings: BTreeMap<(Arc<str>, u64), Reading>,
    time_ns: u64,
    epoch: String,
    summary: Summary,
}

#[derive(Debug)]
enum Outstanding {
    Send { element: u64 },
    Page { conv: Arc<str>, chain: u64, page: u64 },
}

#[derive(Debug)]
struct Append {
    operation: Operation,
    /// Sends under its name without an end.
    outstanding: u64,
    /// One of them ended, and nobody knows how.
    is_unknown: bool,
}

#[derive(Debug)]
struct Reading {
    operation: Operation,
    answered: u64,
    elements: Vec<u64>,
}

impl Translation {
    /// Of a history in which these are the whole reads.
    pub fn new(whole: WholeReads) -> Self {
        Self {
            whole,
            names: Names::default(),
            lanes: Lanes::default(),
            outstanding: HashMap::new(),
            appends: BTreeMap::new(),
            readings: BTreeMap::new(),
            time_ns: 0,
            epoch: String::new(),
            summary: Summary::default(),
        }
    }

    /// Takes a line in.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn take(
        &mut self,
        event: &Event,
        each: &mut impl FnMut(&Step<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.time_ns = event.time_ns;
        match &event.act {
            Act::Invoke { asked } => {
                self.outstanding.remove(&event.process);
                match (asked, &event.conv) {
                    (Asked::Send { cid, .. }, Some(conv)) => self.send(event, conv, cid, each),
                    (Asked::Read(read), Some(conv)) => self.page(event, conv, read, each),
                    _ => {
                        self.summary.leave_out(kind_of(asked));
                        Ok(())
                    }
                }
            }
            Act::Ok { seen } => {
                if let Some(kind) = kind_of_line(seen) {
                    self.summary.leave_out(kind);
                    if matches!(seen, Seen::Close { .. }) {
                        self.lanes.close(session_of(event));
                    }
                    return Ok(());
                }
                match (self.outstanding.remove(&event.process), seen) {
                    (Some(Outstanding::Send { element }), Seen::Send { seq, epoch, .. }) => {
                        self.note_epoch(epoch);
                        self.stored(element, *seq, each)
                    }
                    (
                        Some(Outstanding::Page { conv, chain, page }),
                        Seen::Read { items, complete, epoch },
                    ) => {
                        self.note_epoch(epoch);
                        self.shown((conv, chain), page, items, *complete, each)
                    }
                    _ => Ok(()),
                }
            }
            Act::Fail { .. } => {
                self.send_ended(event.process, false);
                Ok(())
            }
            Act::Info { .. } => {
                self.send_ended(event.process, true);
                Ok(())
            }
        }
    }

    /// The history ends: so does everything that has not.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn finish(
        mut self,
        each: &mut impl FnMut(&Step<'_>) -> io::Result<()>,
    ) -> io::Result<Summary> {
        let time_ns = self.time_ns;
        for append in self.appends.values() {
            let has_failed = append.outstanding == 0 && !append.is_unknown;
            let (moment, count) = match has_failed {
                true => (Moment::Failed, &mut self.summary.failed),
                false => (Moment::Unknown, &mut self.summary.unknown),
            };
            *count += 1;
            each(&Step { operation: &append.operation, time_ns, moment })?;
        }
        // Only where the file is not the one any more that was surveyed.
        for reading in self.readings.values() {
            each(&Step { operation: &reading.operation, time_ns, moment: Moment::Unknown })?;
        }
        Ok(self.summary)
    }

    fn send(
        &mut self,
        event: &Event,
        conv: &str,
        cid: &str,
        each: &mut impl FnMut(&Step<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let conv = self.names.conv(conv);
        let name = self.names.send(&conv, event.user.as_deref().unwrap_or(""), cid);
        let element = name.element;
        self.outstanding.insert(event.process, Outstanding::Send { element });
        if name.is_sent {
            self.summary.repeated += 1;
            if let Some(append) = self.appends.get_mut(&element) {
                append.outstanding += 1;
            }
            return Ok(());
        }
        self.summary.appends += 1;
        let operation = self.begin(event, conv, Some(element), each)?;
        self.appends.insert(element, Append { operation, outstanding: 1, is_unknown: false });
        Ok(())
    }

    fn stored(
        &mut self,
        element: u64,
        seq: Seq,
        each: &mut impl FnMut(&Step<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        match self.appends.remove(&element) {
            Some(append) => self.end(&append.operation, Moment::Stored(seq), each),
            // Another send under its name was answered before.
            None => Ok(()),
        }
    }

    /// A send ended without an `ok`; of anything else that says nothing here.
    fn send_ended(&mut self, process: u64, is_unknown: bool) {
        if let Some(Outstanding::Send { element }) = self.outstanding.remove(&process)
            && let Some(append) = self.appends.get_mut(&element)
        {
            append.outstanding -= 1;
            append.is_unknown |= is_unknown;
        }
    }

    fn page(
        &mut self,
        event: &Event,
        conv: &str,
        read: &ReadAsked,
        each: &mut impl FnMut(&Step<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let conv = self.names.conv(conv);
        let (chain, page) = (read.chain, read.page);
        let key = (conv, chain);
        if page == 0 && self.whole.take(&key.0, chain) {
            self.summary.reads += 1;
            let operation = self.begin(event, Arc::clone(&key.0), None, each)?;
            let reading = Reading { operation, answered: 0, elements: Vec::new() };
            self.readings.insert(key.clone(), reading);
        } else if !self.readings.contains_key(&key) {
            self.summary.leave_out(kind_of(&Asked::Read(read.clone())));
            return Ok(());
        }
        let (conv, chain) = key;
        self.outstanding.insert(event.process, Outstanding::Page { conv, chain, page });
        Ok(())
    }

    fn shown(
        &mut self,
        key: (Arc<str>, u64),
        page: u64,
        items: &[Item],
        complete: bool,
        each: &mut impl FnMut(&Step<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(reading) = self.readings.get_mut(&key) else { return Ok(()) };
        // A page that was asked for again after an uncertain answer counts once.
        if reading.answered != page {
            return Ok(());
        }
        reading.answered += 1;
        let elements = items.iter().map(|item| self.names.element(&key.0, &item.from, &item.cid));
        reading.elements.extend(elements);
        if complete && let Some(reading) = self.readings.remove(&key) {
            return self.end(&reading.operation, Moment::Shown(&reading.elements), each);
        }
        Ok(())
    }

    fn begin(
        &mut self,
        event: &Event,
        conv: Arc<str>,
        element: Option<u64>,
        each: &mut impl FnMut(&Step<'_>) -> io::Result<()>,
    ) -> io::Result<Operation> {
        let session = session_of(event);
        let process = self.lanes.take(session);
        let operation = Operation { process, session, conv, element, begun_ns: event.time_ns };
        let time_ns = event.time_ns;
        each(&Step { operation: &operation, time_ns, moment: Moment::Begun })?;
        Ok(operation)
    }

    fn end(
        &mut self,
        operation: &Operation,
        moment: Moment<'_>,
        each: &mut impl FnMut(&Step<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.lanes.give_back(operation.session, operation.process);
        each(&Step { operation, time_ns: self.time_ns, moment })
    }

    fn note_epoch(&mut self, epoch: &str) {
        if self.epoch.is_empty() {
            epoch.clone_into(&mut self.epoch);
        } else if !epoch.is_empty() && epoch != self.epoch {
            self.summary.several_epochs = true;
        }
    }
}
