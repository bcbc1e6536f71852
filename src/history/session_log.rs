//! The lines of one session, as they are written down.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::event::{Act, Asked, Failure, Function, Seen};
use super::recorder::{Draft, Identity, Recorder};
use crate::model::ConvId;

/// The lines of one session. Each operation runs on a process of its own: one that is idle, or a new
/// one; a process whose operation did not end for certain never becomes idle again.
#[derive(Debug, Clone)]
pub struct SessionLog {
    pub(super) recorder: Arc<Recorder>,
    pub(super) identity: Arc<Identity>,
    /// The process of what happens by itself.
    pub(super) stream: u64,
    pub(super) lanes: Arc<Mutex<Vec<u64>>>,
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
        let function = asked.function();
        let idle = self.lanes.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let process = idle.unwrap_or_else(|| self.recorder.new_process());
        let draft = self.draft(Instant::now(), process, conv, Act::Invoke { asked });
        self.recorder.push(&mut self.recorder.lock(), draft);
        Operation { log: self.clone(), process, conv, function }
    }

    fn draft(&self, at: Instant, process: u64, conv: Option<ConvId>, act: Act) -> Draft {
        Draft { at, process, session: Some(Arc::clone(&self.identity)), conv, act }
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
    /// The lines that it is among.
    pub fn log(&self) -> &SessionLog {
        &self.log
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::check_rules;

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
}
