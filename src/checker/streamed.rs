//! Judges a history in a file without holding all of it: conversation by conversation, on all cores.
//!
//! A first pass notes where the lines of each conversation are and takes in what belongs to none. Then each conversation's lines are read
//! again, judged and forgotten. What is in memory is two numbers per line and the conversations at hand.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use serde::Deserialize;

use super::excerpts::{Excerpts, is_said_of_run};
use super::facts::{Counter, Facts};
use super::sent::{Digests, Elsewhere, note_digest};
use super::timeline::page;
use super::verdict::{Counts, Verdict};
use super::{Part, Whole, conversation, judge_conversation};
use crate::history::{Act, Event, HistoryError, Seen, Sequence};

/// Bytes of lines that may be in work at once; as events they take about four times as much. A larger conversation is in work alone.
const IN_WORK_BYTES_MAX: u64 = 320 << 20;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Lines closer to each other than this are read together.
const APART_BYTES_MAX: u64 = 4 << 10;

/// Where the lines of a conversation are.
#[derive(Debug)]
struct Place {
    name: String,
    /// Offset and length of each line, in their order.
    lines: Vec<(u64, u32)>,
    bytes: u64,
}

/// What the first pass finds.
#[derive(Debug, Default)]
struct Survey {
    places: Vec<Place>,
    facts: Facts,
    /// Of lines without a conversation.
    counter: Counter,
    events: u64,
    /// Everything after the last line that says that all is healed.
    after_healing: Vec<Event>,
}

/// As much of a line as tells whose it is.
#[derive(Debug, Deserialize)]
struct Head<'a> {
    index: u64,
    time_ns: u64,
    #[serde(borrow)]
    conv: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    f: Cow<'a, str>,
}

/// Judges a recorded history: the same verdict as [`judge`](super::judge) of all its events, in a fraction of the memory.
///
/// # Errors
/// A file that cannot be read, or a line that is none of a history, named by its number.
pub fn judge_file(path: &Path) -> Result<Verdict, HistoryError> {
    let survey = survey(path)?;
    let file = File::open(path)?;
    let elsewhere = Elsewhere::new(|| digests(path));
    let Survey { places, facts, counter, events, after_healing } = survey;
    let mut whole = Whole { counts: counter.finish(), ..Whole::default() };
    for (part, counts) in judge_all(&file, &places, &facts, &elsewhere)? {
        whole.take(part);
        whole.counts.add(&counts);
    }
    whole.counts.events = events;
    whole.judge_run(&facts, &after_healing);
    // Of a history in which nothing is wrong, none is read again.
    let texts = texts(path, &whole.findings.lines())?;
    Ok(whole.verdict(|index| texts.get(&index).cloned()))
}

fn survey(path: &Path) -> Result<Survey, HistoryError> {
    let mut survey = Survey::default();
    let mut by_name: HashMap<String, usize> = HashMap::new();
    let (mut offset, mut sequence) = (0, Sequence::default());
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok(survey);
        }
        survey.events += 1;
        let number = survey.events;
        let damaged = |problem: String| HistoryError::Damaged { line: number, problem };
        let head: Head<'_> =
            serde_json::from_slice(&line).map_err(|error| damaged(error.to_string()))?;
        sequence.take(head.index, head.time_ns)?;
        let at = (offset, u32::try_from(length).map_err(|error| damaged(error.to_string()))?);
        offset += length as u64;
        let mut note = |name: &str| {
            let place = by_name.get(name).copied().unwrap_or_else(|| {
                by_name.insert(name.to_owned(), survey.places.len());
                survey.places.push(Place { name: name.to_owned(), lines: Vec::new(), bytes: 0 });
                survey.places.len() - 1
            });
            let place = &mut survey.places[place];
            place.lines.push(at);
            place.bytes += u64::from(at.1);
        };
        let is_of_run = head.kind == "ok"
            && matches!(
                &*head.f,
                "connect" | "close" | "nemesis" | "unreachable" | "counted" | "list"
            );
        if let Some(name) = head.conv.as_deref()
            && !is_of_run
        {
            note(name);
            if survey.facts.run.healed_at().is_none() {
                continue;
            }
        }
        let has_place = head.conv.is_some() && !is_of_run;
        let event: Event =
            serde_json::from_slice(&line).map_err(|error| damaged(error.to_string()))?;
        if !has_place {
            survey.counter.take(&event);
            survey.facts.take(&event);
            if let Act::Ok { seen: Seen::List { entries, .. } } = &event.act {
                let names: BTreeSet<&str> = entries.iter().map(|entry| &*entry.conv).collect();
                names.into_iter().for_each(&mut note);
            }
        }
        if let Some(healed_at) = survey.facts.run.healed_at() {
            if healed_at == event.index {
                survey.after_healing.clear();
            }
            survey.after_healing.push(event);
        }
    }
}

/// Every conversation, in the order in which they appear, with what its lines count.
fn judge_all(
    file: &File,
    places: &[Place],
    facts: &Facts,
    elsewhere: &Elsewhere<'_>,
) -> Result<Vec<(Part, Counts)>, HistoryError> {
    // The largest first, so that none is left for the end.
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(places[at].bytes));
    let queue = Queue { state: Mutex::new((order.into_iter(), 0)), changed: Condvar::new() };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut done = Vec::new();
        while let Some(at) = queue.next(places) {
            let judged = judge_one(file, &places[at], facts, elsewhere);
            queue.done(places[at].bytes);
            done.push((at, judged?));
        }
        Ok::<_, HistoryError>(done)
    };
    let done: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect()
    });
    let mut all = Vec::new();
    for judged in done {
        all.extend(judged?);
    }
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, judged)| judged).collect())
}

/// Conversations that wait, and how much is in work.
struct Queue {
    state: Mutex<(std::vec::IntoIter<usize>, u64)>,
    changed: Condvar,
}

impl Queue {
    /// The next one, as soon as there is room for it.
    fn next(&self, places: &[Place]) -> Option<usize> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let &at = state.0.as_slice().first()?;
            let bytes = places[at].bytes;
            if state.1 == 0 || state.1 + bytes <= IN_WORK_BYTES_MAX {
                state.1 += bytes;
                return state.0.next();
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, bytes: u64) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 -= bytes;
        self.changed.notify_all();
    }
}

fn judge_one(
    file: &File,
    place: &Place,
    facts: &Facts,
    elsewhere: &Elsewhere<'_>,
) -> Result<(Part, Counts), HistoryError> {
    let events = read(file, place)?;
    let mut counter = Counter::default();
    let own = events.iter().filter(|event| event.conv.as_deref() == Some(&place.name));
    own.for_each(|event| counter.take(event));
    let conversations = conversation::collect(&events);
    let own = conversations.iter().find(|conversation| conversation.name == place.name);
    let part = own.map(|own| judge_conversation(own, facts, elsewhere)).unwrap_or_default();
    Ok((part, counter.finish()))
}

/// The lines of a conversation, neighbours together.
fn read(file: &File, place: &Place) -> Result<Vec<Event>, HistoryError> {
    let mut events = Vec::with_capacity(place.lines.len());
    let mut buffer = Vec::new();
    let mut lines = place.lines.as_slice();
    while let Some(&(begin, first)) = lines.first() {
        let mut end = begin + u64::from(first);
        let mut count = 1;
        for &(offset, length) in &lines[1..] {
            let next = offset + u64::from(length);
            if offset - end > APART_BYTES_MAX || next - begin > BUFFER_BYTES as u64 {
                break;
            }
            (end, count) = (next, count + 1);
        }
        buffer.resize(usize::try_from(end - begin).unwrap_or(usize::MAX), 0);
        file.read_exact_at(&mut buffer, begin)?;
        for &(offset, length) in &lines[..count] {
            let from = usize::try_from(offset - begin).unwrap_or(usize::MAX);
            let text = buffer.get(from..from + length as usize).unwrap_or_default();
            match serde_json::from_slice(text) {
                Ok(event) => events.push(event),
                Err(error) => {
                    let (line, problem) = (line_at(file, offset)?, error.to_string());
                    return Err(HistoryError::Damaged { line, problem });
                }
            }
        }
        lines = &lines[count..];
    }
    Ok(events)
}

/// The number, from 1, of the line that begins at `offset`.
fn line_at(file: &File, offset: u64) -> Result<u64, HistoryError> {
    let (mut at, mut line, mut buffer) = (0, 1, vec![0; BUFFER_BYTES]);
    while at < offset {
        let most = usize::try_from(offset - at).unwrap_or(usize::MAX).min(BUFFER_BYTES);
        let count = file.read_at(&mut buffer[..most], at)?;
        if count == 0 {
            break;
        }
        line += buffer[..count].iter().filter(|&&byte| byte == b'\n').count() as u64;
        at += count as u64;
    }
    Ok(line)
}

/// The digests of everything that was sent. A file that cannot be read any more has none: what was asked about is then called a phantom.
fn digests(path: &Path) -> Digests {
    let mut digests = Digests::new();
    let Ok(file) = File::open(path) else { return digests };
    let lines = BufReader::with_capacity(BUFFER_BYTES, file).lines().map_while(Result::ok);
    let sends = lines.filter(|line| line.contains("\"digest\""));
    sends
        .filter_map(|line| serde_json::from_str::<Event>(&line).ok())
        .for_each(|event| note_digest(&mut digests, &event));
    digests
}

/// The page of [`timeline`](super::timeline::timeline) for a file that was judged so: only the lines that are shown are kept.
///
/// # Errors
/// As of [`judge_file`].
pub fn timeline_of_file(path: &Path, verdict: &Verdict) -> Result<Option<String>, HistoryError> {
    if verdict.anomalies.is_empty() {
        return Ok(None);
    }
    let mut excerpts = Excerpts::of(verdict);
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
    let (mut line, mut number) = (Vec::new(), 0);
    while reader.read_until(b'\n', &mut line)? > 0 {
        number += 1;
        let damaged = |error: serde_json::Error| HistoryError::Damaged {
            line: number,
            problem: error.to_string(),
        };
        let head: Head<'_> = serde_json::from_slice(&line).map_err(damaged)?;
        if is_said_of_run(&head.kind, &head.f) || excerpts.want(head.index, head.conv.as_deref()) {
            excerpts.take(&serde_json::from_slice(&line).map_err(damaged)?);
        }
        line.clear();
    }
    Ok(Some(page(verdict, excerpts)))
}

/// The texts of some lines, as an excerpt shows them.
fn texts(path: &Path, wanted: &BTreeSet<u64>) -> Result<HashMap<u64, String>, HistoryError> {
    let Some(&last) = wanted.last() else { return Ok(HashMap::new()) };
    let lines = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?).lines();
    let mut texts = HashMap::new();
    for (index, line) in (0..=last).zip(lines) {
        if wanted.contains(&index) {
            texts.insert(index, line?);
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::judge;
    use crate::checker::tests::histories;
    use crate::checker::timeline::timeline;
    use crate::history::write_event;

    fn file(events: &[Event]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        events.iter().for_each(|event| write_event(&mut file, event).unwrap());
        file
    }

    #[test]
    fn a_file_is_judged_as_its_events_are() {
        let mut invalid = 0;
        for events in histories(60) {
            let (whole, streamed) = (judge(&events), judge_file(file(&events).path()).unwrap());
            invalid += usize::from(!whole.anomalies.is_empty());
            assert_eq!(streamed, whole);
            let page = timeline_of_file(file(&events).path(), &streamed).unwrap();
            assert_eq!(page, timeline(&events, &whole));
        }
        assert!(invalid > 10, "{invalid} broken ones");
    }

    /// No recorder writes it: processes of one conversation that have the names of another's, so that sends begin before others have ended.
    #[test]
    fn what_is_counted_is_the_same_where_operations_of_a_process_overlap() {
        for mut events in histories(20) {
            events.iter_mut().for_each(|event| event.process %= 1_000_000);
            let (whole, streamed) = (judge(&events), judge_file(file(&events).path()).unwrap());
            assert_eq!(streamed.counts, whole.counts);
        }
    }

    #[test]
    fn a_damaged_line_is_named_wherever_it_is_noticed() {
        let events = histories(1).remove(0);
        let mut lines: Vec<String> =
            events.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        // Its head is one of a history.
        lines[4] = lines[4].replace("\"value\"", "\"worth\"");
        let damaged = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(damaged.path(), lines.join("\n")).unwrap();
        let error = judge_file(damaged.path()).unwrap_err().to_string();
        assert!(error.starts_with("line 5 of the history is damaged"), "{error}");
        lines[2].truncate(20);
        std::fs::write(damaged.path(), lines.join("\n")).unwrap();
        let error = judge_file(damaged.path()).unwrap_err().to_string();
        assert!(error.starts_with("line 3 of the history is damaged"), "{error}");
    }
}
