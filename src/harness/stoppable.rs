//! A server of our own that can be stopped where it is, and go on.

use rustix::process::{Pid, Signal, kill_process};

/// A process by its number.
#[derive(Debug, Clone, Copy)]
pub struct Stoppable {
    pid: Pid,
}

/// A stopped process; dropped, it goes on.
#[derive(Debug)]
pub struct Stopped {
    pid: Pid,
}

impl Stoppable {
    /// Of a process that runs.
    pub(super) fn new(pid: Pid) -> Self {
        Self { pid }
    }

    /// Stops it (`SIGSTOP`): it keeps its memory and its sockets, and does nothing. `None` when it is gone.
    pub fn stop(&self) -> Option<Stopped> {
        let stopped = Stopped { pid: self.pid };
        kill_process(self.pid, Signal::STOP).ok().map(|()| stopped)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have been killed meanwhile; then there is nobody to go on.
        let _ = kill_process(self.pid, Signal::CONT);
    }
}
