//! What a judged run leaves behind, so that it can be judged again.

use std::io;

use super::verdict::Verdict;
use crate::harness::{HarnessError, ResultFolder};
use crate::history::{Event, write_event};

/// Writes `history.jsonl`, which `check replay` reads, and `verdict.json`.
pub fn keep(
    folder: &mut ResultFolder,
    events: &[Event],
    verdict: &Verdict,
) -> Result<(), HarnessError> {
    let history = history(events).map_err(|source| folder.error(source))?;
    folder.write("history.jsonl", &history)?;
    let verdict = serde_json::to_vec_pretty(verdict);
    let verdict = verdict.map_err(|error| folder.error(error.into()))?;
    folder.write("verdict.json", &verdict)
}

fn history(events: &[Event]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(events.len() * 256);
    events.iter().try_for_each(|event| write_event(&mut bytes, event))?;
    Ok(bytes)
}
