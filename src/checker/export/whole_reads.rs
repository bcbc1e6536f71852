//! Which paged reads show all of a conversation: what must be known before the first of their pages is told.

use std::collections::{HashMap, HashSet};

use crate::history::{Act, Asked, Event, ReadKind, Seen};
use crate::model::Seq;

/// The readings (conversation, chain) that begin with the first message and were answered to their end.
#[derive(Debug, Default)]
pub struct WholeReads {
    by_conv: HashMap<String, HashSet<u64>>,
}

impl WholeReads {
    /// Whether a reading is one of them. It is none any more afterwards, so that it is told once.
    pub fn take(&mut self, conv: &str, chain: u64) -> bool {
        self.by_conv.get_mut(conv).is_some_and(|chains| chains.remove(&chain))
    }
}

/// Finds them: takes all lines of a history, in their order.
#[derive(Debug, Default)]
pub struct Survey {
    by_conv: HashMap<String, HashMap<u64, Pages>>,
    /// The page that a process waits for.
    asked: HashMap<u64, (String, u64, u64)>,
}

#[derive(Debug, Default)]
struct Pages {
    answered: u64,
    complete: bool,
}

impl Survey {
    /// Takes a line in.
    pub fn take(&mut self, event: &Event) {
        match &event.act {
            Act::Invoke { asked } => {
                self.asked.remove(&event.process);
                if let (Asked::Read(read), Some(conv)) = (asked, &event.conv)
                    && read.kind == (ReadKind::After { after_seq: Seq::ZERO })
                {
                    self.asked.insert(event.process, (conv.clone(), read.chain, read.page));
                }
            }
            Act::Ok { seen: Seen::Read { complete, .. } } => {
                let Some((conv, chain, page)) = self.asked.remove(&event.process) else { return };
                let pages = self.by_conv.entry(conv).or_default().entry(chain).or_default();
                if page == pages.answered && !pages.complete {
                    pages.answered += 1;
                    pages.complete = *complete;
                }
            }
            Act::Ok { .. } => {}
            Act::Fail { .. } | Act::Info { .. } => drop(self.asked.remove(&event.process)),
        }
    }

    /// What was found.
    pub fn finish(self) -> WholeReads {
        let whole = |chains: HashMap<u64, Pages>| {
            let complete = chains.into_iter().filter(|(_, pages)| pages.complete);
            complete.map(|(chain, _)| chain).collect()
        };
        let by_conv = self.by_conv.into_iter().map(|(conv, chains)| (conv, whole(chains)));
        WholeReads { by_conv: by_conv.collect() }
    }
}
