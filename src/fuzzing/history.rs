//! A history that somebody gives us to judge.

use std::collections::HashMap;
use std::path::PathBuf;
use std::thread::{ThreadId, current};
use std::time::{Duration, Instant};
use std::{env, fs, io, process};

use crate::checker::export::{Form, Source};
use crate::checker::verdict::Verdict;
use crate::checker::{judge, judge_file, timeline_of_file};
use crate::history::{Act, Event, check_rules, read_history, write_event};

/// A history of so few lines is judged within this time, however slow the machine.
const JUDGED_WITHIN: Duration = Duration::from_secs(5);

/// The lines of a history: one that is damaged is named; all others have a verdict, always the same one, read as a whole and from a
/// file. Lines that could not follow each other are also judged as if they did, so that not only what is whole comes to the checker.
pub fn history(input: &[u8]) {
    if let Ok(events) = read_history(input) {
        let mut bytes = Vec::new();
        for event in &events {
            assert!(write_event(&mut bytes, event).is_ok(), "a line that was read can be written");
        }
        let again = read_history(&*bytes);
        assert!(again.is_ok_and(|again| again == events), "lines come back as they were");
        of_file(input, Some(&events));
    } else {
        of_file(input, None);
    }
    let mut events: Vec<Event> = input
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let mut time_ns = 0;
    for (index, event) in (0..).zip(&mut events) {
        time_ns = event.time_ns.max(time_ns);
        (event.index, event.time_ns) = (index, time_ns);
    }
    let began = Instant::now();
    let verdict = judge(&events);
    let took = began.elapsed();
    assert!(took < JUDGED_WITHIN, "judged within {took:?}");
    assert_eq!(judge(&events), verdict, "the same history has the same verdict");
}

/// The same from a file, line by line, and in the forms of others. `events`: what it holds; `None`: it is damaged.
fn of_file(input: &[u8], events: Option<&[Event]>) {
    let file = TemporaryFile::of_thread(current().id());
    if fs::write(&file.0, input).is_err() {
        return;
    }
    let verdict = judge_file(&file.0);
    match (verdict, events) {
        (Ok(verdict), Some(events)) => {
            // What no recorder writes is judged by whoever comes first.
            if check_rules(events).is_ok() && ends_stay_in_place(events) {
                let whole = without_texts(judge(events));
                let of_file = without_texts(verdict.clone());
                assert_eq!(of_file, whole, "from a file it has the same verdict");
            }
            let page = timeline_of_file(&file.0, &verdict);
            assert!(page.is_ok(), "what was judged can be shown: {page:?}");
        }
        (Err(_), None) => {}
        (verdict, events) => {
            panic!("read as a whole: {}, from a file: {verdict:?}", events.is_some());
        }
    }
    for form in [Form::Elle, Form::Porcupine] {
        let survey = Source::survey(&file.0);
        assert_eq!(survey.is_ok(), events.is_some(), "a damaged history is told to nobody");
        if let Ok(source) = survey {
            let written = source.write(form, &mut io::sink());
            assert!(written.is_ok(), "what is whole can be told: {written:?}");
        }
    }
}

/// Whether operations end in the conversation in which they began.
fn ends_stay_in_place(events: &[Event]) -> bool {
    let mut begun = HashMap::new();
    events.iter().all(|event| match event.act {
        Act::Invoke { .. } => {
            begun.insert(event.process, &event.conv);
            true
        }
        _ => begun.remove(&event.process).is_none_or(|conv| *conv == event.conv),
    })
}

/// The lines of an excerpt are as they stand in the file, which may say the same in other words.
fn without_texts(mut verdict: Verdict) -> Verdict {
    let examples = verdict.anomalies.iter_mut().flat_map(|broken| &mut broken.examples);
    examples.flat_map(|example| &mut example.lines).for_each(|line| line.text.clear());
    verdict
}

/// A file that goes away with its name.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn of_thread(thread: ThreadId) -> Self {
        let name = format!("chatctl-fuzz-{}-{thread:?}.jsonl", process::id());
        Self(env::temp_dir().join(name))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
