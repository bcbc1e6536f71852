//! Where every client of a run writes down what it did and saw.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use crate::check::history::{Act, Asked, Event, Failure, Function, Seen};
use crate::model::ConvId;

/// Most lines of one history. A run that reaches it loses what follows, and says so.
const EVENTS_MAX: usize = 4_000_000;

/// One line before it has its place.
#[derive(Debug)]
struct Draft {
    at: Instant,
    process: u64,
    session: Arc<Identity>,
    conv: Option<ConvId>,
    act: Act,
}

/// Whose lines they are.
#[derive(Debug)]
struct Identity {
    number: u64,
    user: String,
    /// Known from `hello` on.
    node: OnceLock<String>,
    /// Nothing arrives any more: set together with the `close` line.
    ended: AtomicBool,
}

/// The one recorder of a run, with its one clock.
#[derive(Debug)]
pub struct Recorder {
    started: Instant,
    drafts: Mutex<Vec<Draft>>,
    events_max: usize,
    overflowed: AtomicBool,
    process_last: AtomicU64,
    session_last: AtomicU64,
    chain_last: AtomicU64,
}

impl Recorder {
    /// An empty history whose clock begins now.
    pub fn new() -> Arc<Self> {
        Self::with_room(EVENTS_MAX)
    }

    fn with_room(events_max: usize) -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            drafts: Mutex::default(),
            events_max,
            overflowed: AtomicBool::new(false),
            process_last: AtomicU64::new(0),
            session_last: AtomicU64::new(0),
            chain_last: AtomicU64::new(0),
        })
    }

    /// The lines of a new session of `user`.
    pub fn session(self: &Arc<Self>, user: &str) -> SessionLog {
        let identity = Arc::new(Identity {
            number: self.session_last.fetch_add(1, Ordering::Relaxed) + 1,
            user: user.to_owned(),
            node: OnceLock::new(),
            ended: AtomicBool::new(false),
        });
        let stream = self.new_process();
        SessionLog { recorder: Arc::clone(self), identity, stream, lanes: Arc::default() }
    }

    /// A number for all pages of one read.
    pub fn new_chain(&self) -> u64 {
        self.chain_last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether lines were lost because there were too many.
    pub fn has_overflowed(&self) -> bool {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// Everything recorded so far, in the order of time, as a history. Lines of one moment keep the
    /// order in which they were written down.
    pub fn take_events(&self) -> Vec<Event> {
        let mut drafts = std::mem::take(&mut *self.lock());
        drafts.sort_by_key(|draft| draft.at);
        let mut events: Vec<Event> =
            (0u64..).zip(drafts).map(|(index, draft)| self.event(index, draft)).collect();
        fill_in(&mut events);
        events
    }

    fn event(&self, index: u64, draft: Draft) -> Event {
        let Draft { at, process, session, conv, act } = draft;
        let time = at.saturating_duration_since(self.started);
        Event {
            index,
            time_ns: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
            process,
            session: Some(session.number),
            node: session.node.get().cloned(),
            user: Some(session.user.clone()),
            conv: conv.map(|conv| conv.to_string()),
            act,
        }
    }

    fn new_process(&self) -> u64 {
        self.process_last.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Draft>> {
        self.drafts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, drafts: &mut Vec<Draft>, draft: Draft) {
        if drafts.len() < self.events_max {
            drafts.push(draft);
        } else {
            self.overflowed.store(true, Ordering::Relaxed);
        }
    }
}

/// What only the rest of the history tells: the conversation that a first `open` asks for, and the epoch
/// of what carries none on the wire, which is that of the session's last `open` of the conversation.
fn fill_in(events: &mut [Event]) {
    let mut nameless: HashMap<u64, usize> = HashMap::new();
    let mut epochs: HashMap<(Option<u64>, Option<String>), String> = HashMap::new();
    for at in 0..events.len() {
        let (before, rest) = events.split_at_mut(at);
        let Some(event) = rest.first_mut() else { return };
        if matches!(event.act, Act::Invoke { .. }) {
            if event.conv.is_none() {
                nameless.insert(event.process, at);
            }
            continue;
        }
        if let Some(invoke) = nameless.remove(&event.process).and_then(|at| before.get_mut(at)) {
            invoke.conv.clone_from(&event.conv);
        }
        let Act::Ok { seen } = &mut event.act else { continue };
        let key = (event.session, event.conv.clone());
        match seen {
            Seen::Open(open) => drop(epochs.insert(key, open.epoch.clone())),
            Seen::Reset { epoch } => drop(epochs.insert(key, epoch.clone())),
            Seen::Send { epoch, .. } | Seen::Read { epoch, .. } | Seen::Recv { epoch, .. } => {
                if let Some(known) = epochs.get(&key) {
                    epoch.clone_from(known);
                }
            }
            _ => {}
        }
    }
}

/// The lines of one session. Each operation runs on a process of its own: one that is idle, or a new
/// one; a process whose operation did not end for certain never becomes idle again.
#[derive(Debug, Clone)]
pub struct SessionLog {
    recorder: Arc<Recorder>,
    identity: Arc<Identity>,
    /// The process of what happens by itself.
    stream: u64,
    lanes: Arc<Mutex<Vec<u64>>>,
}

impl SessionLog {
    /// The recorder behind it.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// `hello` was answered.
    pub fn connected(&self, node: &str, session: String, durability: String) {
        // Said once; a second hello does not exist.
        let _ = self.identity.node.set(node.to_owned());
        self.happened(Instant::now(), None, Seen::Connect { session, durability });
    }

    /// Something came by itself; nothing does after [`SessionLog::closed`].
    pub fn happened(&self, at: Instant, conv: Option<ConvId>, seen: Seen) {
        let draft = self.draft(at, self.stream, conv, Act::Ok { seen });
        let mut drafts = self.recorder.lock();
        if !self.identity.ended.load(Ordering::Relaxed) {
            self.recorder.push(&mut drafts, draft);
        }
    }

    /// The session is over. Only the first end counts.
    pub fn closed(&self, code: Option<u16>, by_us: bool) {
        let mut drafts = self.recorder.lock();
        if !self.identity.ended.swap(true, Ordering::Relaxed) {
            let act = Act::Ok { seen: Seen::Close { code, by_us } };
            let draft = self.draft(Instant::now(), self.stream, None, act);
            self.recorder.push(&mut drafts, draft);
        }
    }

    /// An operation begins now.
    pub fn invoke(&self, conv: Option<ConvId>, asked: Asked) -> Operation {
        let function = match &asked {
            Asked::Send { .. } => Function::Send,
            Asked::Read(_) => Function::Read,
            Asked::Open { .. } => Function::Open,
            Asked::Ack { .. } => Function::Ack,
            Asked::List { .. } => Function::List,
            Asked::Leave {} => Function::Leave,
        };
        let idle = self.lanes.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let process = idle.unwrap_or_else(|| self.recorder.new_process());
        let draft = self.draft(Instant::now(), process, conv, Act::Invoke { asked });
        self.recorder.push(&mut self.recorder.lock(), draft);
        Operation { log: self.clone(), process, conv, function }
    }

    fn draft(&self, at: Instant, process: u64, conv: Option<ConvId>, act: Act) -> Draft {
        Draft { at, process, session: Arc::clone(&self.identity), conv, act }
    }
}

/// An operation under way. It ends at most once; dropped, it has no end in the history and its
/// process is not used again, which says the same as an `info`.
#[derive(Debug)]
pub struct Operation {
    log: SessionLog,
    process: u64,
    conv: Option<ConvId>,
    function: Function,
}

impl Operation {
    /// It was answered at `at`; `conv` is what the answer names, where the request could not.
    pub fn ok(self, at: Instant, conv: Option<ConvId>, seen: Seen) {
        let conv = self.conv.or(conv);
        self.end(at, conv, Act::Ok { seen });
        self.give_back();
    }

    /// It certainly did not and will not happen.
    pub fn fail(self, error: Failure) {
        let act = Act::Fail { f: self.function, error };
        self.end(Instant::now(), self.conv, act);
        self.give_back();
    }

    /// It may have happened, or may yet.
    pub fn info(self, error: Failure) {
        let act = Act::Info { f: self.function, error };
        self.end(Instant::now(), self.conv, act);
    }

    fn end(&self, at: Instant, conv: Option<ConvId>, act: Act) {
        let draft = self.log.draft(at, self.process, conv, act);
        self.log.recorder.push(&mut self.log.recorder.lock(), draft);
    }

    fn give_back(&self) {
        self.log.lanes.lock().unwrap_or_else(PoisonError::into_inner).push(self.process);
    }
}

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
                    | Seen::Nemesis { .. },
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
    use crate::check::history::OpenSeen;
    use crate::harness::content::tests::conv;
    use crate::model::Seq;

    fn send() -> Asked {
        Asked::Send { cid: "c".into(), digest: "d".into(), ts: None }
    }

    fn failure() -> Failure {
        Failure { code: None, message: "cut".into() }
    }

    #[test]
    fn a_process_is_used_again_only_after_a_certain_end() {
        let recorder = Recorder::new();
        let log = recorder.session("ann");
        let (first, second) = (log.invoke(None, send()), log.invoke(None, send()));
        assert_ne!(first.process, second.process, "two outstanding, two processes");
        let (first_process, second_process) = (first.process, second.process);
        first.fail(failure());
        second.info(failure());
        let third = log.invoke(None, send());
        assert_eq!(third.process, first_process);
        drop(third);
        let fourth = log.invoke(None, send());
        assert!(![first_process, second_process].contains(&fourth.process));
        check_rules(&recorder.take_events()).unwrap();
    }

    #[test]
    fn nothing_arrives_after_the_end_and_lines_are_in_the_order_of_time() {
        let recorder = Recorder::new();
        let log = recorder.session("ann");
        let early = Instant::now();
        log.connected("n1", "s".into(), "disk".into());
        log.happened(early, None, Seen::Reset { epoch: "e".into() });
        log.closed(None, true);
        log.happened(Instant::now(), None, Seen::Reset { epoch: "f".into() });
        log.closed(Some(4001), false);
        let events = recorder.take_events();
        check_rules(&events).unwrap();
        let acts: Vec<_> = events.iter().map(|event| &event.act).collect();
        assert!(
            matches!(
                acts[..],
                [
                    Act::Ok { seen: Seen::Reset { .. } },
                    Act::Ok { seen: Seen::Connect { .. } },
                    Act::Ok { seen: Seen::Close { code: None, by_us: true } },
                ]
            ),
            "{acts:?}"
        );
        assert!(events.iter().all(|event| event.node.as_deref() == Some("n1")));
    }

    #[test]
    fn epochs_and_the_names_of_first_opens_are_filled_in() {
        let recorder = Recorder::new();
        let (log, place) = (recorder.session("ann"), conv("ann", "bob"));
        let asked = Asked::Open { limit: 1, resume: None, echo: true, push: true };
        let open = log.invoke(None, asked);
        let seen = OpenSeen { epoch: "e7".into(), ..OpenSeen::default() };
        open.ok(Instant::now(), Some(place), Seen::Open(Box::new(seen)));
        let seen = Seen::Send { seq: Seq(1), ts: 1, late: false, dup: false, epoch: String::new() };
        log.invoke(Some(place), send()).ok(Instant::now(), None, seen);
        let events = recorder.take_events();
        assert!(events.iter().all(|event| event.conv == Some(place.to_string())), "{events:?}");
        let Act::Ok { seen: Seen::Send { epoch, .. } } = &events[3].act else { panic!() };
        assert_eq!(epoch, "e7");
    }

    #[test]
    fn a_full_recorder_says_so() {
        let recorder = Recorder::with_room(1);
        let log = recorder.session("ann");
        drop((log.invoke(None, send()), log.invoke(None, send())));
        assert!(recorder.has_overflowed());
        assert_eq!(recorder.take_events().len(), 1);
    }

    #[test]
    fn broken_rules_are_noticed() {
        let recorder = Recorder::new();
        let log = recorder.session("ann");
        log.invoke(None, send()).fail(failure());
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
