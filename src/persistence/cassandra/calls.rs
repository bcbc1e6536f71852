//! The way to the session, and the heartbeat that keeps one.
//!
//! The driver waits up to 10 s before it connects again. Here another session is made from the ground up where one fails its
//! heartbeat, four times a second, until one is ready. Meanwhile the old one is withdrawn: at once where there is one copy of each
//! message, otherwise when the first attempt fails, for then too few nodes are there.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::dialer::{DIAL_TIME, DialError, Dialer};
use super::failure;
use super::life;
use super::link::{CallError, Link};
use crate::clock;
use crate::persistence::EngineError;

/// How long a call waits for a session where there is none.
const LINK_WAIT: Duration = Duration::from_secs(1);
/// Every call is answered within this; below `answer_ms_max`.
pub const CALL_TIME: Duration = Duration::from_secs(4);
/// Time between two heartbeats.
const BEAT: Duration = Duration::from_secs(1);
/// A heartbeat without an answer for this long ends the session.
const BEAT_TIME: Duration = Duration::from_secs(2);
/// Pause between two attempts of one heartbeat.
const BEAT_PAUSE: Duration = Duration::from_millis(100);
/// Heartbeats after which the nodes are asked again what they are.
const BEATS_PER_QUESTION: u32 = 10;
/// Pause between two attempts to connect, and to repeat a call.
const PAUSE: Duration = Duration::from_millis(250);

/// What a caller has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    /// A call failed: is the session any good?
    Doubt,
    /// The store is in another life than this session knows.
    Stale(u64),
}

/// The way to the session.
pub struct Calls {
    links: watch::Receiver<Option<Arc<Link>>>,
    reports: mpsc::Sender<Report>,
}

impl Calls {
    /// The way, and the work that keeps the session; it ends with `stop`. `first` is the session to begin with.
    pub fn new(
        dialer: Arc<Dialer>,
        first: Arc<Link>,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (publish, links) = watch::channel(Some(first));
        // A few are enough: more say the same.
        let (reports, receiver) = mpsc::channel(4);
        let keeper = Keeper { dialer, publish, reports: receiver };
        let work = async move {
            stop.run_until_cancelled(Box::pin(keeper.run())).await;
        };
        (Self { links, reports }, work)
    }

    /// The session, or why there is none.
    pub async fn link(&self, deadline: Instant) -> Result<Arc<Link>, EngineError> {
        let mut links = self.links.clone();
        let until = deadline.min(Instant::now() + LINK_WAIT);
        match timeout_at(until, links.wait_for(Option::is_some)).await {
            Ok(Ok(link)) => link.clone().ok_or_else(failure::closed),
            Ok(Err(_)) => Err(failure::closed()),
            Err(_) => Err(failure::down("no answer from the nodes")),
        }
    }

    /// The session as it is now.
    #[cfg(test)]
    pub fn now(&self) -> Option<Arc<Link>> {
        self.links.borrow().clone()
    }

    /// Does what may be done twice, until it is done or time is up.
    pub async fn again<T, F>(
        &self,
        work: impl Fn(Arc<Link>) -> F + Send + Sync,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, CallError>> + Send,
    {
        let deadline = Instant::now() + CALL_TIME;
        let mut last = failure::unanswered("the nodes are slow");
        loop {
            let link = match self.link(deadline).await {
                Ok(link) => link,
                // What was in doubt stays in doubt.
                Err(error) => return Err(if last.is_definite() { error } else { last }),
            };
            match timeout_at(deadline, Box::pin(work(Arc::clone(&link)))).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(CallError::Answer(error))) => return Err(error),
                Ok(Err(error)) => last = self.failed(error, &link, deadline).await,
                Err(_) => {
                    self.doubt();
                    return Err(failure::unanswered("the nodes are slow"));
                }
            }
            if Instant::now() >= deadline {
                return Err(last);
            }
        }
    }

    /// After a call that failed: waits until another attempt makes sense. Answers what the caller would be told.
    pub async fn failed(&self, error: CallError, link: &Link, deadline: Instant) -> EngineError {
        let (error, is_stale) = match error {
            CallError::NotSent(reason) => (failure::down(&reason), false),
            CallError::Doubt(reason) => (failure::unanswered(&reason), false),
            CallError::Stale | CallError::Lost => {
                (failure::down("the store is in another life; it is being looked at"), true)
            }
            CallError::Answer(error) => (error, false),
        };
        if is_stale {
            let _ = self.reports.try_send(Report::Stale(link.number));
            let mut links = self.links.clone();
            let is_other =
                |now: &Option<Arc<Link>>| now.as_ref().is_some_and(|now| now.number != link.number);
            let until = deadline.min(Instant::now() + LINK_WAIT);
            let _ = timeout_at(until, links.wait_for(is_other)).await;
        } else {
            self.doubt();
            let _ = timeout_at(deadline, sleep(PAUSE)).await;
        }
        error
    }

    /// The session may be dead: a heartbeat tells.
    pub fn doubt(&self) {
        let _ = self.reports.try_send(Report::Doubt);
    }
}

/// Why a session is given up.
struct End {
    reason: String,
    /// Nobody answered in time.
    is_silence: bool,
}

/// Keeps a session.
struct Keeper {
    dialer: Arc<Dialer>,
    publish: watch::Sender<Option<Arc<Link>>>,
    reports: mpsc::Receiver<Report>,
}

impl Keeper {
    async fn run(mut self) {
        loop {
            let link = self.publish.borrow().clone();
            let (mut reason, is_of_use) = match link {
                Some(link) => {
                    let end = self.watch(&link).await;
                    // Of several nodes some may only be slow, and one alone can come back, with less, no sooner than
                    // all of them are noticed to be gone. A single one may come back at once.
                    let is_of_use = end.is_silence && link.keyspace.quorum() > 1;
                    (end.reason, is_of_use)
                }
                None => ("it was never made".to_owned(), false),
            };
            if !is_of_use {
                self.publish.send_replace(None);
            }
            loop {
                match self.dialer.dial().await {
                    Ok(link) => {
                        self.dialer.status.up();
                        self.publish.send_replace(Some(link));
                        break;
                    }
                    Err(error) => {
                        reason = format!("{reason}; {error}");
                        self.publish.send_replace(None);
                        self.dialer.status.down(error.to_string());
                        sleep(PAUSE).await;
                    }
                }
            }
            tracing::info!(reason, "cassandra: another session was made");
        }
    }

    /// Until there must be another session.
    async fn watch(&mut self, link: &Link) -> End {
        let stale = || End { reason: "the store is in another life".to_owned(), is_silence: false };
        let mut beats: u32 = 0;
        loop {
            tokio::select! {
                report = self.reports.recv() => match report {
                    Some(Report::Stale(number)) if number == link.number => {
                        return stale();
                    }
                    Some(Report::Stale(_)) => continue,
                    Some(Report::Doubt) | None => {}
                },
                () = sleep(BEAT) => {}
            }
            match timeout(BEAT_TIME, Box::pin(self.beat_patiently(link))).await {
                Ok(true) => self.dialer.status.up(),
                Ok(false) => return stale(),
                Err(_) => {
                    let reason = format!("no answer in {} ms", BEAT_TIME.as_millis());
                    return End { reason, is_silence: true };
                }
            }
            beats += 1;
            if beats.is_multiple_of(BEATS_PER_QUESTION)
                && let Ok(Err(error)) = timeout(DIAL_TIME, Box::pin(self.dialer.ask(link))).await
            {
                tracing::debug!(%error, "cassandra: the nodes do not say what they are");
            }
        }
    }

    /// Asks until there is an answer: one of several nodes may be down.
    async fn beat_patiently(&self, link: &Link) -> bool {
        loop {
            match self.beat(link).await {
                Ok(is_same) => return is_same,
                Err(error) => tracing::debug!(%error, "cassandra: a heartbeat failed"),
            }
            sleep(BEAT_PAUSE).await;
        }
    }

    /// `false` when the store is in another life than the session knows.
    async fn beat(&self, link: &Link) -> Result<bool, DialError> {
        let asked = clock::unix_ms();
        let there = life::clock_ms(&link.session).await?;
        // Its clock was read somewhere between the question and the answer.
        let middle = i64::midpoint(asked.cast_signed(), clock::unix_ms().cast_signed());
        self.dialer.status.saw_clock(there - middle);
        life::is_same(&link.session, &link.statements, &link.life).await
    }
}
