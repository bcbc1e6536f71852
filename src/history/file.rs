//! Histories as files: one line of JSON per event.

use std::io::{self, BufRead, Write};

use super::event::Event;

/// Why a file is no history.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum HistoryError {
    #[error("the history cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("line {line} of the history is damaged: {problem}")]
    Damaged { line: u64, problem: String },
}

/// Writes one line.
pub fn write_event(writer: &mut impl Write, event: &Event) -> io::Result<()> {
    serde_json::to_writer(&mut *writer, event)?;
    writer.write_all(b"\n")
}

/// Reads a whole history; a line that is not one is named by its number, from 1.
pub fn read_history(reader: impl BufRead) -> Result<Vec<Event>, HistoryError> {
    events(reader).collect()
}

/// The lines of a history, one at a time; one that is none is named by its number, from 1, and what comes after it means nothing.
pub fn events(reader: impl BufRead) -> impl Iterator<Item = Result<Event, HistoryError>> {
    let mut sequence = Sequence::default();
    reader.lines().enumerate().map(move |(at, line)| {
        let number = at as u64 + 1;
        let damaged = |problem: String| HistoryError::Damaged { line: number, problem };
        let line = line.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => damaged(error.to_string()),
            _ => HistoryError::Io(error),
        })?;
        let event: Event =
            serde_json::from_str(&line).map_err(|error| damaged(error.to_string()))?;
        sequence.take(event.index, event.time_ns)?;
        Ok(event)
    })
}

/// Where the lines of a history must go on.
#[derive(Debug, Default)]
pub struct Sequence {
    next: u64,
    time_ns: u64,
}

impl Sequence {
    /// Takes the next line: its index is the next one, its time not before that of the last.
    pub fn take(&mut self, index: u64, time_ns: u64) -> Result<(), HistoryError> {
        let Self { next, time_ns: last_ns } = *self;
        let damaged = |problem: String| Err(HistoryError::Damaged { line: next + 1, problem });
        if index != next {
            return damaged(format!("index {index} where {next} follows"));
        }
        if time_ns < last_ns {
            return damaged("time goes backwards".to_owned());
        }
        *self = Self { next: next + 1, time_ns };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Act, Asked, Failure, Function, Item, Seen};
    use crate::model::Seq;
    use crate::protocol::ErrorCode;

    #[test]
    fn a_history_comes_back_as_it_was_and_a_damaged_line_is_named() {
        let item = Item {
            seq: Seq(1),
            cid: "c".into(),
            digest: "d".into(),
            ts: 5,
            late: false,
            from: "ann".into(),
        };
        let acts = vec![
            Act::Invoke { asked: Asked::Send { cid: "c".into(), digest: "d".into(), ts: Some(5) } },
            Act::Ok {
                seen: Seen::Send { seq: Seq(1), ts: 5, late: false, dup: false, epoch: "e".into() },
            },
            Act::Ok { seen: Seen::Recv { epoch: "e".into(), item } },
            Act::Invoke { asked: Asked::Leave {} },
            Act::Info {
                f: Function::Leave,
                error: Failure { code: Some(ErrorCode::Timeout), message: "?".into() },
            },
        ];
        let (session, node) = (Some(7), Some("n".to_owned()));
        let (user, conv) = (Some("ann".to_owned()), Some("C".to_owned()));
        let events: Vec<Event> = (0u64..)
            .zip(acts)
            .map(|(index, act)| Event {
                index,
                time_ns: index * 10,
                process: 1,
                session,
                node: node.clone(),
                user: user.clone(),
                conv: conv.clone(),
                act,
            })
            .collect();
        let mut bytes = Vec::new();
        events.iter().for_each(|event| write_event(&mut bytes, event).unwrap());
        let text = String::from_utf8(bytes).unwrap();
        let first = r#"{"index":0,"time_ns":0,"process":1,"session":7,"node":"n","user":"ann","conv":"C","type":"invoke","f":"send","value":{"cid":"c","digest":"d","ts":5}}"#;
        assert_eq!(text.lines().next(), Some(first));
        assert_eq!(read_history(text.as_bytes()).unwrap(), events);

        let damaged = text.replacen("\"recv\"", "\"recieve\"", 1);
        let error = read_history(damaged.as_bytes()).unwrap_err();
        assert!(matches!(error, HistoryError::Damaged { line: 3, .. }), "{error}");
        let without_second = text.lines().enumerate().filter(|(at, _)| *at != 1);
        let cut: Vec<&str> = without_second.map(|(_, line)| line).collect();
        let error = read_history(cut.join("\n").as_bytes()).unwrap_err();
        assert!(matches!(error, HistoryError::Damaged { line: 2, .. }), "{error}");
    }
}
