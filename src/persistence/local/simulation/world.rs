//! A machine, the engine on it from one life to the next, and those who ask it; a seed decides all of it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::SmallRng;
use tokio::sync::oneshot;

use super::caller::Caller;
use super::flaw::Flaw;
use super::inspection::inspect;
use super::machine::{Disk, DiskTables, Fate};
use crate::harness::seeds::dice;
use crate::history::Event;
use crate::history::simulated::Trace;
use crate::model::{ChannelName, Cid, ConvId, Epoch, Place, Seq, UserName};
use crate::persistence::local::committer::Committer;
use crate::persistence::local::folder::Marker;
use crate::persistence::local::queue::Source;
use crate::persistence::local::recent::Recents;
use crate::persistence::local::request::Request;
use crate::persistence::local::{SyncPolicy, bring_in_line};

/// When every world begins, µs since 1970.
const BEGINS_US: u64 = 1_700_000_000_000_000;
/// Of the policy `interval`.
const INTERVAL: Duration = Duration::from_millis(20);
/// Longer than a write and a sync together, µs.
const STEP_US_MAX: u64 = 8_000;

/// How a life of the engine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It is told to.
    Clean,
    /// Its process is killed.
    Kill,
    /// A write fails.
    Failure,
    /// The power is gone.
    PowerCut,
}

/// What a process that was cut off unwinds with.
struct CutOff;

/// A message that somebody was answered is stored.
#[derive(Debug, Clone)]
pub struct Promise {
    /// Where.
    pub conv: ConvId,
    /// Whose.
    pub from: UserName,
    /// Its name.
    pub cid: Cid,
    /// Its number.
    pub seq: Seq,
    /// It was there before.
    pub dup: bool,
}

/// A promise that was made.
#[derive(Debug)]
struct Kept {
    promise: Promise,
    at_us: u64,
    /// It survives a power cut.
    is_on_disk: bool,
}

/// One process.
pub struct Life {
    /// Its name.
    pub name: String,
    /// The epoch as it goes by.
    pub epoch: Epoch,
    /// The epoch, by a name that is the same in each run.
    pub epoch_name: String,
    /// Its tables.
    pub tables: Arc<DiskTables>,
    /// Its newest messages.
    pub recents: Arc<Recents>,
    /// Where it is all written down.
    pub trace: Arc<Trace>,
}

/// Everything that there is.
pub struct World {
    clock_us: Arc<AtomicU64>,
    trace: Arc<Trace>,
    flaw: Option<Flaw>,
    began: Instant,
    state: Mutex<State>,
}

/// What changes.
pub struct State {
    dice: SmallRng,
    /// What outlives a process.
    pub disk: Disk,
    /// The write of this life failed.
    pub has_failed: bool,
    callers: Vec<Caller>,
    inbox: std::collections::VecDeque<Request>,
    life: Option<Arc<Life>>,
    ending: Ending,
    ends_at_us: u64,
    is_closing: bool,
    closed: Option<oneshot::Receiver<Result<(), crate::persistence::EngineError>>>,
    kept: BTreeMap<(ConvId, UserName, Cid), Kept>,
    epochs: u64,
    policy: SyncPolicy,
    problems: Vec<String>,
}

impl World {
    /// What happens in the world of a seed, and what is wrong with it beyond what its history shows.
    pub fn history(seed: u64, flaw: Option<Flaw>) -> (Vec<Event>, Vec<String>) {
        let mut dice = dice(seed, "machine");
        let user = |name: &str| UserName::new(name).unwrap();
        let (ann, bob) = (user("ann"), user("bob"));
        let places = vec![
            Arc::new(Place::direct(ann.clone(), bob.clone())),
            Arc::new(Place::Channel(ChannelName::new("lobby").unwrap())),
        ];
        let callers = ["ann-phone", "bob-phone", "ann-desk", "bob-desk"];
        let callers = callers.map(|name| Caller::new(name, user(&name[..3]), places.clone(), seed));
        let clock_us = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&clock_us);
        let policies = [SyncPolicy::Always, SyncPolicy::Interval(INTERVAL), SyncPolicy::Never];
        let policy = policies[dice.random_range(0..3)];
        let (lives, is_moody) = (dice.random_range(2..=5), dice.random_bool(0.3));
        let world = Arc::new(Self {
            trace: Trace::new(move || clock.load(Ordering::Relaxed) * 1_000),
            clock_us,
            flaw,
            began: Instant::now(),
            state: Mutex::new(State {
                dice,
                disk: Disk::default(),
                has_failed: false,
                callers: callers.into(),
                inbox: std::collections::VecDeque::new(),
                life: None,
                ending: Ending::Clean,
                ends_at_us: 0,
                is_closing: false,
                closed: None,
                kept: BTreeMap::new(),
                epochs: 0,
                policy,
                problems: Vec::new(),
            }),
        });
        for number in 1..=lives {
            world.live(number, number == lives, is_moody);
        }
        let problems = std::mem::take(&mut world.state().problems);
        (world.trace.take(), problems)
    }

    /// All of it that changes.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_us(&self) -> u64 {
        self.clock_us.load(Ordering::Relaxed)
    }

    /// One process, from its start to its end.
    fn live(self: &Arc<Self>, number: u64, is_last: bool, is_moody: bool) {
        {
            let state = &mut *self.state();
            if is_moody && number > 1 {
                let policies =
                    [SyncPolicy::Always, SyncPolicy::Interval(INTERVAL), SyncPolicy::Never];
                state.policy = policies[state.dice.random_range(0..3)];
            }
            let endings = [Ending::Clean, Ending::Kill, Ending::Failure, Ending::PowerCut];
            state.ending =
                if is_last { Ending::Clean } else { endings[state.dice.random_range(0..4)] };
            let shortest = if is_last { 50_000 } else { 0 };
            state.ends_at_us = self.now_us() + state.dice.random_range(shortest..150_000);
            (state.has_failed, state.is_closing) = (false, false);
        }
        let ran = catch_unwind(AssertUnwindSafe(|| self.run(number, is_moody)));
        if let Err(cut) = ran
            && !cut.is::<CutOff>()
        {
            resume_unwind(cut);
        }
        let state = &mut *self.state();
        let failed = state.has_failed;
        self.hear(state);
        state.callers.iter_mut().for_each(Caller::leave);
        state.inbox.clear();
        state.life = None;
        let closed = state.closed.take().and_then(|mut closed| closed.try_recv().ok());
        match state.ending {
            Ending::Clean if failed => {}
            Ending::Clean => {
                if !matches!(closed, Some(Ok(()))) {
                    state.problems.push("an engine that was told to close did not".to_owned());
                }
                if let Some(marker) = &mut state.disk.marker {
                    marker.clean = true;
                }
                state.kept.values_mut().for_each(|kept| kept.is_on_disk = true);
            }
            Ending::Kill | Ending::Failure => {}
            Ending::PowerCut => state.disk.lose_power(&mut state.dice, self.flaw),
        }
        if self.flaw == Some(Flaw::ForgottenCids) {
            state.disk.forget_cids();
        }
    }

    /// Opens the store as the engine does, and commits.
    fn run(self: &Arc<Self>, number: u64, is_moody: bool) {
        let (policy, boot, last) = {
            let state = self.state();
            (state.policy, state.disk.boot(), state.disk.marker.clone())
        };
        let last = last.map(|mut last| {
            last.clean |= self.flaw == Some(Flaw::KeptEpoch);
            last
        });
        let tables = DiskTables::open(self, policy, self.flaw);
        let (marker, renewed) = Marker::of_next_life(last, policy, boot);
        let Ok(()) = bring_in_line(&*tables, renewed) else { return };
        *tables.is_opening.lock().unwrap() = false;
        let (epoch, recents) = (marker.epoch().clone(), Arc::new(Recents::new(1 << 20)));
        let life = {
            let state = &mut *self.state();
            state.epochs += u64::from(renewed || number == 1);
            state.disk.marker = Some(marker);
            self.find(state, &tables, renewed);
            let life = Arc::new(Life {
                name: format!("n{number}"),
                epoch: epoch.clone(),
                epoch_name: format!("e{}", state.epochs),
                tables: Arc::clone(&tables),
                recents: Arc::clone(&recents),
                trace: Arc::clone(&self.trace),
            });
            let is_disk = policy == SyncPolicy::Always && !is_moody;
            for caller in &mut state.callers {
                caller.arrive(&life, if is_disk { "disk" } else { "process" });
                caller.wakes_at_us = self.now_us() + state.dice.random_range(0..5_000);
            }
            state.life = Some(Arc::clone(&life));
            life
        };
        drop(life);
        let (fatal, _told) = oneshot::channel();
        let committer = Committer { tables, recents, epoch, space: None, sync: policy, fatal };
        committer.run(&mut Requests(Arc::clone(self)));
    }

    /// What a new life finds must be whole, and all that was promised.
    fn find(&self, state: &mut State, tables: &DiskTables, renewed: bool) {
        let found = match inspect(tables) {
            Ok(found) => found,
            Err(problem) => {
                state.problems.push(problem);
                return;
            }
        };
        let (problems, now_us) = (&mut state.problems, self.now_us());
        state.kept.retain(|key, kept| {
            let is_there = found.get(key) == Some(&kept.promise.seq);
            if !is_there && (!renewed || kept.is_on_disk) {
                problems.push(format!("{kept:?} is missing at {now_us} µs; renewed: {renewed}"));
            }
            // All that is found is forced to the disk before anybody is let in.
            kept.is_on_disk = true;
            is_there
        });
    }

    fn hear(&self, state: &mut State) {
        let Some(life) = state.life.clone() else { return };
        let (now_us, policy) = (self.now_us(), state.policy);
        for at in 0..state.callers.len() {
            for promise in state.callers[at].hear(&life) {
                if state.has_failed {
                    state.problems.push(format!("{promise:?} was answered after a failed write"));
                }
                let key = (promise.conv, promise.from.clone(), promise.cid.clone());
                let is_on_disk = policy == SyncPolicy::Always;
                match state.kept.get(&key) {
                    Some(kept) if !promise.dup || kept.promise.seq != promise.seq => {
                        state.problems.push(format!("{promise:?} was {kept:?} before"));
                    }
                    Some(_) => {}
                    None => {
                        let kept = Kept { promise, at_us: now_us, is_on_disk };
                        state.kept.insert(key, kept);
                    }
                }
            }
        }
        if let SyncPolicy::Interval(interval) = policy {
            let longest_us = interval.as_micros() as u64 + 3 * STEP_US_MAX;
            let old_us = now_us.saturating_sub(longest_us);
            for kept in state.kept.values_mut() {
                kept.is_on_disk |= kept.at_us < old_us;
            }
        }
    }

    /// How the next write or sync goes.
    pub fn fate(&self) -> Fate {
        let state = &mut *self.state();
        let dice = &mut state.dice;
        let mut some = |most| dice.random_range(0..=most);
        let (write_us, sync_us, known_us) = (some(500), some(5_000), some(200));
        let is_over = self.now_us() >= state.ends_at_us;
        let fails = (state.ending == Ending::Failure && is_over).then(|| dice.random());
        Fate { write_us, sync_us, known_us, fails }
    }

    /// Time passes, and callers ask. Unwinds when the process is cut off.
    pub fn pass(&self, us: u64) {
        let until = self.now_us() + us;
        loop {
            let state = &mut *self.state();
            let is_cut = matches!(state.ending, Ending::Kill | Ending::PowerCut);
            let (next_at, who) = next_caller(state);
            let ends_at = if is_cut { state.ends_at_us } else { u64::MAX };
            if ends_at <= until.min(next_at) {
                self.clock_us.store(ends_at.max(self.now_us()), Ordering::Relaxed);
                break;
            }
            if next_at > until {
                self.clock_us.store(until, Ordering::Relaxed);
                return;
            }
            self.clock_us.store(next_at.max(self.now_us()), Ordering::Relaxed);
            self.wake(state, who);
        }
        // Not `panic!`: nothing is wrong, and nothing is to be printed.
        resume_unwind(Box::new(CutOff));
    }

    fn wake(&self, state: &mut State, who: usize) {
        let Some(life) = state.life.clone() else { return };
        let now_ms = (BEGINS_US + self.now_us()) / 1_000;
        let caller = &mut state.callers[who];
        state.inbox.extend(caller.ask(&life, &mut state.dice, now_ms));
        caller.wakes_at_us = self.now_us() + state.dice.random_range(1..=10_000);
    }

    /// The callers are quiet from now on, and the engine is told to end.
    fn close(&self, state: &mut State) {
        state.is_closing = true;
        if let Some(life) = state.life.clone() {
            for caller in &mut state.callers {
                caller.wakes_at_us = u64::MAX;
                caller.read_everything(&life, &mut state.dice);
            }
        }
        let (answer, receiver) = oneshot::channel();
        state.closed = Some(receiver);
        state.inbox.push_back(Request::Close(answer));
    }
}

impl State {
    /// A failure that ended nothing: the power does, later.
    pub fn goes_on_for_a_while(&mut self) {
        self.ending = Ending::PowerCut;
        self.ends_at_us += 50_000;
    }
}

/// Who asks next, and when; nobody without a process.
fn next_caller(state: &State) -> (u64, usize) {
    if state.life.is_none() {
        return (u64::MAX, 0);
    }
    let times = state.callers.iter().enumerate().map(|(who, caller)| (caller.wakes_at_us, who));
    times.min().unwrap_or((u64::MAX, 0))
}

/// The requests of the callers, and the clocks of the machine.
struct Requests(Arc<World>);

impl Source for Requests {
    fn next(&mut self, until: Option<Instant>) -> Result<Request, RecvTimeoutError> {
        let world = &self.0;
        let until_us = until.map_or(u64::MAX, |until| {
            until.saturating_duration_since(world.began).as_micros() as u64
        });
        loop {
            let wait_us = {
                let state = &mut *world.state();
                world.hear(state);
                if let Some(request) = state.inbox.pop_front() {
                    return Ok(request);
                }
                let now_us = world.now_us();
                if now_us >= until_us {
                    return Err(RecvTimeoutError::Timeout);
                }
                let is_over = state.ending == Ending::Clean && now_us >= state.ends_at_us;
                if is_over && !state.is_closing {
                    world.close(state);
                    continue;
                }
                let ends_at = if is_over { u64::MAX } else { state.ends_at_us.max(now_us + 1) };
                next_caller(state).0.min(until_us).min(ends_at).saturating_sub(now_us)
            };
            world.pass(wait_us);
        }
    }

    fn waiting(&mut self) -> Option<Request> {
        self.0.state().inbox.pop_front()
    }

    fn took(&mut self, _: usize, _: usize) {}

    fn now(&self) -> Instant {
        self.0.began + Duration::from_micros(self.0.now_us())
    }

    fn unix_us(&self) -> u64 {
        BEGINS_US + self.0.now_us()
    }
}
