//! Where every client of a run writes down what it did and saw.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::event::{Act, Event, Seen};
use super::session_log::SessionLog;
use crate::model::ConvId;

/// Most lines of one history. A run that reaches it loses what follows, and says so.
const EVENTS_MAX: usize = 4_000_000;

/// One line before it has its place.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) at: Instant,
    pub(super) process: u64,
    /// `None`: nobody's, but the run's.
    pub(super) session: Option<Arc<Identity>>,
    pub(super) conv: Option<ConvId>,
    pub(super) act: Act,
}

/// Whose lines they are.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) number: u64,
    pub(super) user: String,
    /// Known from `hello` on.
    pub(super) node: OnceLock<String>,
    /// Nothing arrives any more: set together with the `close` line.
    pub(super) ended: AtomicBool,
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

    /// Something of the run itself: what was broken, what was counted. Its process is 0.
    pub fn note(&self, seen: Seen) {
        let act = Act::Ok { seen };
        let draft = Draft { at: Instant::now(), process: 0, session: None, conv: None, act };
        self.push(&mut self.lock(), draft);
    }

    /// A number for all pages of one read.
    pub fn new_chain(&self) -> u64 {
        self.chain_last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What to say when lines were lost because there were too many.
    pub fn overflow(&self) -> Option<String> {
        let is_over = self.overflowed.load(Ordering::Relaxed);
        is_over.then(|| "the history was too long to be kept whole".to_owned())
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
            session: session.as_ref().map(|session| session.number),
            node: session.as_ref().and_then(|session| session.node.get().cloned()),
            user: session.map(|session| session.user.clone()),
            conv: conv.map(|conv| conv.to_string()),
            act,
        }
    }

    pub(super) fn new_process(&self) -> u64 {
        self.process_last.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Draft>> {
        self.drafts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, drafts: &mut Vec<Draft>, draft: Draft) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::content::tests::conv;
    use crate::history::{Asked, OpenSeen, check_rules};
    use crate::model::Seq;

    fn send() -> Asked {
        Asked::Send { cid: "c".into(), digest: "d".into(), ts: None }
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
        assert!(recorder.overflow().is_some());
        assert_eq!(recorder.take_events().len(), 1);
    }
}
