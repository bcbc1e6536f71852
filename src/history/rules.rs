//! What every history keeps, whoever recorded it.

use std::collections::HashMap;

use super::event::{Act, Event, Seen};

/// Whether `events` keep the rules of a history; the text names the first line that does not.
pub fn check_rules(events: &[Event]) -> Result<(), String> {
    let mut outstanding: HashMap<u64, bool> = HashMap::new();
    let mut time_ns = 0;
    for (at, event) in events.iter().enumerate() {
        let wrong = |what: &str| Err(format!("line {}: {what}: {event:?}", at + 1));
        if event.index != at as u64 || event.time_ns < time_ns {
            return wrong("out of its place");
        }
        time_ns = event.time_ns;
        let in_progress = outstanding.get(&event.process).copied();
        match &event.act {
            Act::Invoke { .. } if in_progress.is_some() => {
                return wrong("its process is not idle");
            }
            Act::Invoke { .. } => drop(outstanding.insert(event.process, true)),
            Act::Ok {
                seen:
                    Seen::Recv { .. }
                    | Seen::Connect { .. }
                    | Seen::Close { .. }
                    | Seen::Reset { .. }
                    | Seen::Removed {}
                    | Seen::Nemesis { .. }
                    | Seen::Unreachable { .. }
                    | Seen::Counted { .. },
            } => {
                if in_progress.is_some() {
                    return wrong("something arrived on the process of an operation");
                }
            }
            Act::Ok { .. } | Act::Fail { .. } | Act::Info { .. } if in_progress != Some(true) => {
                return wrong("an end without a beginning");
            }
            Act::Ok { .. } | Act::Fail { .. } => drop(outstanding.remove(&event.process)),
            // Never idle again.
            Act::Info { .. } => drop(outstanding.insert(event.process, false)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Asked, Failure, Recorder};

    #[test]
    fn broken_rules_are_noticed() {
        let recorder = Recorder::new();
        let log = recorder.session("ann");
        let asked = Asked::Send { cid: "c".into(), digest: "d".into(), ts: None };
        log.invoke(None, asked).fail(Failure { code: None, message: "cut".into() });
        let good = recorder.take_events();
        check_rules(&good).unwrap();
        let mut twice = good.clone();
        twice.push(Event { index: 2, ..good[1].clone() });
        assert!(check_rules(&twice).unwrap_err().contains("line 3"));
        let mut backwards = good;
        backwards[0].time_ns = u64::MAX;
        assert!(check_rules(&backwards).is_err());
    }
}
