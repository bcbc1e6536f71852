//! What a judged run leaves behind, so that it can be judged again.

use std::io;

use super::timeline::timeline;
use super::verdict::Verdict;
use crate::harness::{HarnessError, ResultFolder};
use crate::history::{Event, write_event};

/// Writes `history.jsonl`, which `check replay` reads, and `verdict.json`; where something is wrong, also `timeline.html`.
pub fn keep(folder: &mut ResultFolder, events: &[Event], of: &Verdict) -> Result<(), HarnessError> {
    let history = history(events).map_err(|source| folder.error(source))?;
    folder.write("history.jsonl", &history)?;
    let verdict = serde_json::to_vec_pretty(of);
    let verdict = verdict.map_err(|error| folder.error(error.into()))?;
    folder.write("verdict.json", &verdict)?;
    match timeline(events, of) {
        Some(page) => folder.write("timeline.html", page.as_bytes()),
        None => Ok(()),
    }
}

fn history(events: &[Event]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(events.len() * 256);
    events.iter().try_for_each(|event| write_event(&mut bytes, event))?;
    Ok(bytes)
}
