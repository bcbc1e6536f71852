//! How much a node takes on: what the engine could not do soon waits in its socket, and what would have to wait there for long is refused before the engine hears of it.
//!
//! Without a bound a node that is asked for more than its engine can do takes all of it, answers everything late, and in the end nothing in time. As long as the
//! quickest of all answers is quick, there is none: a burst passes (the idea of CoDel, RFC 8289). When even the quickest had to
//! wait too long for a whole window, no more is under way at a time than the engine has shown to do within that wait (Little's law), and the bound
//! goes up again step by step. Whoever finds no place waits for one, in order, one command a session: that costs nothing, where a refusal costs as much as a good
//! part of the work. Only who would wait too long is turned away.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// What is counted together.
const WINDOW: Duration = Duration::from_millis(100);

/// A window that went on for longer had nothing in it, not even requests: it shows nothing.
const WINDOW_MAX: Duration = Duration::from_millis(300);

/// However slow the engine is, so many may be under way: it could not show otherwise that it is quick again.
const AT_ONCE_MIN: f64 = 64.0;

/// A bound that has grown to this is none: engines have bounds of their own.
const AT_ONCE_MAX: f64 = 65_536.0;

/// How fast a bound goes up, from window to window, when answers are quick again.
const GROWTH: f64 = 1.25;

/// How fast it is forgotten what the engine could do, from window to window.
const FORGETTING: f64 = 0.9;

/// Those turned away are told to come back at this part of the rate at which work gets done: turning them away again takes time from it.
const RETURN_SHARE: f64 = 0.25;

/// Nobody is told to wait for less …
const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);

/// … or for more.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3);

/// A bound on what is under way, that is there when it is needed.
#[derive(Debug)]
pub struct Admission {
    work: &'static str,
    wait_max: Duration,
    state: Mutex<State>,
}

/// A piece of work that was let in; over when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Ticket {
    /// None once it was taken back.
    admission: Option<Arc<Admission>>,
    since: Instant,
}

/// How a kind of work stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkState {
    /// How many may be under way; `None`: as many as come.
    pub at_once: Option<u64>,
    /// How many are.
    pub under_way: u64,
    /// How many wait for a place.
    pub waiting: usize,
}

impl WorkState {
    /// The bound as a number, without end where there is none.
    pub fn bound(&self) -> f64 {
        self.at_once.map_or(f64::INFINITY, |at_once| at_once as f64)
    }
}

#[derive(Debug)]
struct State {
    under_way: u64,
    /// Who waits for a place, in order; some may have gone.
    waiting: VecDeque<oneshot::Sender<Ticket>>,
    /// How many may be; `None`: as many as come.
    at_once: Option<f64>,
    /// What gets done in a second.
    per_s: f64,
    window: Window,
    /// The last answer of all, or when something began after a time in which nothing was under way.
    quiet_since: Instant,
    /// When the last of those turned away was told to come back.
    returns_until: Instant,
}

/// What happened of late.
#[derive(Debug)]
struct Window {
    since: Instant,
    done: u32,
    /// The quickest answer.
    least: Option<Duration>,
}

impl Window {
    fn new(since: Instant) -> Self {
        Self { since, done: 0, least: None }
    }
}

impl Admission {
    /// No bound, as long as the quickest answers take no longer than `wait_max`. `work` names it in metrics.
    pub fn new(work: &'static str, wait_max: Duration) -> Arc<Self> {
        metrics::counter!("chatctl_turned_away_total", "work" => work).increment(0);
        let now = Instant::now();
        let state = State {
            under_way: 0,
            waiting: VecDeque::new(),
            at_once: None,
            per_s: 0.0,
            window: Window::new(now),
            quiet_since: now,
            returns_until: now,
        };
        Arc::new(Self { work, wait_max, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a piece of work in, waits for a place, or says when to come back. Cancelling it gives its place in the order away.
    pub async fn enter(self: &Arc<Self>) -> Result<Ticket, Duration> {
        let turn = match self.enter_now() {
            Ok(ticket) => return Ok(ticket),
            Err(turn) => turn,
        };
        if let Ok(Ok(ticket)) = timeout(self.wait_max, turn).await {
            return Ok(ticket);
        }
        metrics::counter!("chatctl_turned_away_total", "work" => self.work).increment(1);
        let mut state = self.state();
        // Those before it have waited as long.
        while state.waiting.pop_front_if(|waiting| waiting.is_closed()).is_some() {}
        Err(state.turn_away(Instant::now()))
    }

    fn enter_now(self: &Arc<Self>) -> Result<Ticket, oneshot::Receiver<Ticket>> {
        let now = Instant::now();
        let mut state = self.state();
        if state.under_way == 0 {
            state.quiet_since = now;
        }
        state.turn(self.wait_max, now);
        if state.has_place() {
            return Ok(state.ticket(self, now));
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.push_back(sender);
        Err(receiver)
    }

    /// How it stands now.
    pub fn look(&self) -> WorkState {
        let state = self.state();
        let waiting = state.waiting.iter().filter(|waiting| !waiting.is_closed()).count();
        WorkState {
            at_once: state.at_once.map(|it| it as u64),
            under_way: state.under_way,
            waiting,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(admission) = self.admission.take() else { return };
        let now = Instant::now();
        let took = now.saturating_duration_since(self.since);
        let mut state = admission.state();
        state.under_way = state.under_way.saturating_sub(1);
        state.quiet_since = now;
        state.window.done += 1;
        state.window.least = Some(state.window.least.map_or(took, |least| least.min(took)));
        state.turn(admission.wait_max, now);
        state.let_in(&admission, now);
    }
}

impl State {
    fn has_place(&self) -> bool {
        self.at_once.is_none_or(|at_once| (self.under_way as f64) < at_once)
    }

    fn ticket(&mut self, admission: &Arc<Admission>, since: Instant) -> Ticket {
        self.under_way += 1;
        Ticket { admission: Some(Arc::clone(admission)), since }
    }

    /// Gives free places to those that wait.
    fn let_in(&mut self, admission: &Arc<Admission>, now: Instant) {
        while self.has_place()
            && let Some(waiting) = self.waiting.pop_front()
        {
            let ticket = self.ticket(admission, now);
            if let Err(mut ticket) = waiting.send(ticket) {
                // Nobody waits there any more. Its end must not come here again, under the lock.
                ticket.admission = None;
                self.under_way -= 1;
            }
        }
    }

    /// Judges a window that is over, and begins the next one.
    fn turn(&mut self, wait_max: Duration, now: Instant) {
        let length = now.saturating_duration_since(self.window.since);
        if length < WINDOW {
            return;
        }
        let Window { done, least, .. } = std::mem::replace(&mut self.window, Window::new(now));
        if length > WINDOW_MAX {
            // A node that stood still for a moment was not asked too much, and one that nobody asks lets everybody in.
            if self.under_way == 0 {
                self.at_once = None;
            }
            return;
        }
        self.per_s = (f64::from(done) / length.as_secs_f64()).max(self.per_s * FORGETTING);
        // Without any answer it is as slow as the silence is long.
        let silence = now.saturating_duration_since(self.quiet_since);
        let waited = least.unwrap_or(silence);
        if waited > wait_max {
            let places = (self.per_s * wait_max.as_secs_f64()).max(AT_ONCE_MIN);
            self.at_once = Some(self.at_once.map_or(places, |at_once| at_once.min(places)));
        } else if waited <= wait_max / 2 {
            let grown = self.at_once.map(|at_once| at_once * GROWTH);
            self.at_once = grown.filter(|&grown| grown < AT_ONCE_MAX);
        }
    }

    /// The next turn among those that are turned away.
    fn turn_away(&mut self, now: Instant) -> Duration {
        let gap = Duration::from_secs_f64(1.0 / (self.per_s * RETURN_SHARE).max(1.0));
        let turn = self.returns_until.max(now + RETRY_AFTER_MIN) + gap;
        self.returns_until = turn.min(now + RETRY_AFTER_MAX);
        self.returns_until.saturating_duration_since(now)
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
