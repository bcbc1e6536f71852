//! The history of a simulated run: the same lines as those of real clients, at simulated times and with names that
//! are the same in each run of a seed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::event::{Act, Asked, Event, Failure, Function, Seen};
pub use super::seen::{item_of, seen_of};
use crate::model::ConvId;

/// A clock of a simulation, ns since its beginning.
type Now = Box<dyn Fn() -> u64 + Send + Sync>;

/// Where everybody in one simulated run writes down what they do and see.
pub struct Trace {
    now: Now,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: Vec<Event>,
    process_last: u64,
    session_last: u64,
    chain_last: u64,
}

/// The lines of one session.
pub struct TracedSession {
    trace: Arc<Trace>,
    number: u64,
    user: String,
    node: String,
    /// The process of what happens by itself.
    stream: u64,
    view: Mutex<View>,
}

#[derive(Default)]
struct View {
    idle: Vec<u64>,
    ended: bool,
    /// What the session knows of the life of each conversation: replies and pushes do not carry it.
    epochs: HashMap<ConvId, String>,
}

/// An operation under way.
pub struct TracedOperation {
    process: u64,
    conv: Option<ConvId>,
    function: Function,
}

impl Trace {
    /// An empty history.
    pub fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { now: Box::new(now), state: Mutex::default() })
    }

    /// The lines of a new session.
    pub fn session(self: &Arc<Self>, user: &str, node: &str, durability: &str) -> TracedSession {
        let (number, stream) = {
            let mut state = self.state.lock().unwrap();
            state.session_last += 1;
            state.process_last += 1;
            (state.session_last, state.process_last)
        };
        let session = TracedSession {
            trace: Arc::clone(self),
            number,
            user: user.to_owned(),
            node: node.to_owned(),
            stream,
            view: Mutex::default(),
        };
        let (name, durability) = (format!("s{number}"), durability.to_owned());
        session.happened(None, Seen::Connect { session: name, durability });
        session
    }

    /// Something of the run itself.
    pub fn note(&self, seen: Seen) {
        self.push(0, None, None, Act::Ok { seen });
    }

    /// A number for all pages of one read.
    pub fn new_chain(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.chain_last += 1;
        state.chain_last
    }

    /// Everything so far.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.state.lock().unwrap().events)
    }

    fn new_process(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.process_last += 1;
        state.process_last
    }

    fn push(&self, process: u64, session: Option<&TracedSession>, conv: Option<ConvId>, act: Act) {
        let time_ns = (self.now)();
        let events = &mut self.state.lock().unwrap().events;
        events.push(Event {
            index: events.len() as u64,
            time_ns,
            process,
            session: session.map(|session| session.number),
            node: session.map(|session| session.node.clone()),
            user: session.map(|session| session.user.clone()),
            conv: conv.map(|conv| conv.to_string()),
            act,
        });
    }
}

impl TracedSession {
    /// A number for all pages of one read.
    pub fn new_chain(&self) -> u64 {
        self.trace.new_chain()
    }

    /// What the session knows of a conversation without having opened it.
    pub fn knows(&self, conv: ConvId, epoch: &str) {
        self.view.lock().unwrap().epochs.insert(conv, epoch.to_owned());
    }

    /// Something came by itself; nothing does after the end.
    pub fn happened(&self, conv: Option<ConvId>, seen: Seen) {
        if !self.view.lock().unwrap().ended {
            let seen = self.with_epoch(conv, seen);
            self.trace.push(self.stream, Some(self), conv, Act::Ok { seen });
        }
    }

    /// The session is over. Only the first end counts.
    pub fn closed(&self, code: Option<u16>, by_us: bool) {
        if !std::mem::replace(&mut self.view.lock().unwrap().ended, true) {
            let act = Act::Ok { seen: Seen::Close { code, by_us } };
            self.trace.push(self.stream, Some(self), None, act);
        }
    }

    /// An operation begins.
    pub fn invoke(&self, conv: Option<ConvId>, asked: Asked) -> TracedOperation {
        let function = asked.function();
        let idle = self.view.lock().unwrap().idle.pop();
        let process = idle.unwrap_or_else(|| self.trace.new_process());
        self.trace.push(process, Some(self), conv, Act::Invoke { asked });
        TracedOperation { process, conv, function }
    }

    /// It was answered.
    pub fn ok(&self, operation: TracedOperation, seen: Seen) {
        let TracedOperation { process, conv, .. } = operation;
        let seen = self.with_epoch(conv, seen);
        self.trace.push(process, Some(self), conv, Act::Ok { seen });
        self.view.lock().unwrap().idle.push(process);
    }

    /// It certainly did not and will not happen.
    pub fn fail(&self, operation: TracedOperation, error: Failure) {
        let TracedOperation { process, conv, function: f } = operation;
        self.trace.push(process, Some(self), conv, Act::Fail { f, error });
        self.view.lock().unwrap().idle.push(process);
    }

    /// It may have happened, or may yet.
    pub fn info(&self, operation: TracedOperation, error: Failure) {
        let TracedOperation { process, conv, function: f } = operation;
        self.trace.push(process, Some(self), conv, Act::Info { f, error });
    }

    fn with_epoch(&self, conv: Option<ConvId>, mut seen: Seen) -> Seen {
        let (Some(conv), epochs) = (conv, &mut self.view.lock().unwrap().epochs) else {
            return seen;
        };
        match &mut seen {
            Seen::Open(open) => drop(epochs.insert(conv, open.epoch.clone())),
            Seen::Reset { epoch } => drop(epochs.insert(conv, epoch.clone())),
            Seen::Send { epoch, .. } | Seen::Read { epoch, .. } | Seen::Recv { epoch, .. } => {
                if let Some(known) = epochs.get(&conv) {
                    epoch.clone_from(known);
                }
            }
            _ => {}
        }
        seen
    }
}
