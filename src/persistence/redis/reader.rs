//! The connection that everything but appends goes through, and the heartbeat that watches the server.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::codec::Reply;
use super::dialer::{Dialer, Identity, Link, load};
use super::failure::{self, Failure};
use super::scripts::Scripts;
use crate::clock;
use crate::persistence::EngineError;
use crate::persistence::lineage::Life;

/// How long a call waits for a connection that is down.
const LINK_WAIT: Duration = Duration::from_secs(1);
/// Every call is answered within this; below `answer_ms_max`.
const CALL_TIME: Duration = Duration::from_secs(4);
/// Time between two heartbeats.
const BEAT: Duration = Duration::from_secs(1);
/// A heartbeat without an answer for this long ends the connection.
const BEAT_TIME: Duration = Duration::from_secs(2);
/// Heartbeats after which the server's settings are asked for again.
const BEATS_PER_QUESTION: u32 = 10;
/// Pause between two attempts to connect.
const REDIAL_PAUSE: Duration = Duration::from_millis(100);
/// How often a call is sent that the server certainly did not do.
const SENDS_MAX: u8 = 3;

/// The way to the shared connection.
pub struct Reader {
    scripts: &'static Scripts,
    is_replaceable: bool,
    links: watch::Receiver<Option<Link>>,
    broken: mpsc::Sender<Identity>,
}

impl Reader {
    /// The reader, and the work that keeps its connection; it ends with `stop`. `first` is the connection to begin with.
    pub fn new(
        dialer: Arc<Dialer>,
        first: Link,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (publish, links) = watch::channel(Some(first));
        // One report is enough; more of the same connection are dropped.
        let (broken, reports) = mpsc::channel(1);
        let (scripts, is_replaceable) = (dialer.scripts, dialer.is_replaceable());
        let keeper = Keeper { dialer, publish, reports };
        let work = async move {
            // Boxed: it holds whole connections.
            stop.run_until_cancelled(Box::pin(keeper.run())).await;
        };
        (Self { scripts, is_replaceable, links, broken }, work)
    }

    /// Calls one script.
    pub async fn call(
        &self,
        build: impl Fn(&Life) -> Cmd + Send + Sync,
    ) -> Result<(Reply, Arc<Life>), EngineError> {
        let build = |life: &Life| {
            let mut pipe = redis::pipe();
            pipe.ignore_errors().add_command(build(life));
            pipe
        };
        let (mut results, life) = self.call_all(build).await?;
        let value = results.pop().ok_or_else(failure::unanswered)?;
        Ok((Reply::new(value)?, life))
    }

    /// Sends a pipeline; it must ignore errors. The first error of any call in it is the error of all. What goes through here may be
    /// done twice without harm (reads, and writes that are unions or create-if-absent), so where the
    /// connection breaks off it is sent again on the next one. Silence is not: it would only last.
    pub async fn call_all(
        &self,
        build: impl Fn(&Life) -> Pipeline + Send + Sync,
    ) -> Result<(Vec<Value>, Arc<Life>), EngineError> {
        let deadline = Instant::now() + CALL_TIME;
        let mut sends = 0;
        loop {
            let mut link = self.link(deadline).await?;
            let pipe = build(&link.life);
            let sent: Result<RedisResult<Vec<RedisResult<Value>>>, _> =
                timeout_at(deadline, pipe.query_async(&mut link.connection)).await;
            let results = match sent {
                Ok(Ok(results)) => results,
                Ok(Err(error)) => {
                    self.report(&link);
                    sends += 1;
                    if sends < SENDS_MAX && Instant::now() < deadline {
                        self.next_link(&link, deadline).await;
                        continue;
                    }
                    let text = format!("redis: the connection broke off: {error}");
                    return Err(EngineError::Timeout(text));
                }
                Err(_) => {
                    self.report(&link);
                    return Err(failure::unanswered());
                }
            };
            sends += 1;
            let mut values = Vec::with_capacity(results.len());
            let (mut no_script, mut stale) = (false, false);
            for result in results {
                match result {
                    Ok(value) => {
                        stale |= is_stale(&value);
                        values.push(value);
                    }
                    Err(error) => match failure::of(&error) {
                        Failure::NoScript => no_script = true,
                        Failure::Answer(answer) => {
                            if self.is_replaceable && failure::leads_elsewhere(&error) {
                                self.report(&link);
                            }
                            return Err(answer);
                        }
                    },
                }
            }
            if !no_script && !stale {
                return Ok((values, link.life));
            }
            if sends == SENDS_MAX {
                return Err(failure::down("the server did not have the script, or a newer life"));
            }
            if stale {
                self.report(&link);
                self.next_link(&link, deadline).await;
            } else {
                let _ = timeout_at(deadline, load(&mut link.connection, self.scripts)).await;
            }
        }
    }

    /// The connection, or why there is none.
    async fn link(&self, deadline: Instant) -> Result<Link, EngineError> {
        let mut links = self.links.clone();
        let found = timeout_at(link_deadline(deadline), links.wait_for(Option::is_some)).await;
        match found {
            Ok(Ok(link)) => link.clone().ok_or_else(failure::closed),
            Ok(Err(_)) => Err(failure::closed()),
            Err(_) => Err(failure::down("no answer from the server")),
        }
    }

    /// Waits a while for another connection than this one.
    async fn next_link(&self, old: &Link, deadline: Instant) {
        let mut links = self.links.clone();
        let is_other =
            |link: &Option<Link>| link.as_ref().is_some_and(|link| link.identity != old.identity);
        let _ = timeout_at(link_deadline(deadline), links.wait_for(is_other)).await;
    }

    fn report(&self, link: &Link) {
        // Full: somebody has said so already.
        let _ = self.broken.try_send(link.identity.clone());
    }
}

/// Until when a call with this deadline waits for a connection.
fn link_deadline(deadline: Instant) -> Instant {
    deadline.min(Instant::now() + LINK_WAIT)
}

fn is_stale(value: &Value) -> bool {
    matches!(value, Value::Array(values)
        if matches!(values.first(), Some(Value::BulkString(word)) if word == b"stale"))
}

/// Keeps the shared connection alive.
struct Keeper {
    dialer: Arc<Dialer>,
    publish: watch::Sender<Option<Link>>,
    reports: mpsc::Receiver<Identity>,
}

impl Keeper {
    async fn run(mut self) {
        let mut dialed = Instant::now();
        loop {
            let link = self.publish.borrow().clone();
            let reason = match link {
                Some(link) => self.watch(link).await,
                None => "it was never made".to_owned(),
            };
            self.publish.send_replace(None);
            // A server that refuses what is asked of it is not asked without a pause.
            sleep_until(dialed + REDIAL_PAUSE).await;
            // One broken connection says little: whoever needs another is answered by the next attempt.
            let mut reason = reason;
            loop {
                dialed = Instant::now();
                match self.dialer.dial(None).await {
                    Ok(link) => {
                        self.dialer.status.up();
                        self.publish.send_replace(Some(link));
                        break;
                    }
                    Err(error) => {
                        reason = format!("{reason}; {error}");
                        self.dialer.status.down(error.to_string());
                        sleep(REDIAL_PAUSE).await;
                    }
                }
            }
            tracing::debug!(%reason, "redis: the shared connection was made anew");
        }
    }

    /// Until the connection is of no use any more; the reason.
    async fn watch(&mut self, mut link: Link) -> String {
        let mut beats: u32 = 0;
        loop {
            tokio::select! {
                report = self.reports.recv() => {
                    if report.is_none_or(|broken| broken == link.identity) {
                        return "a call was not answered".to_owned();
                    }
                    continue;
                }
                () = sleep(BEAT) => {}
            }
            beats += 1;
            let with_question = beats.is_multiple_of(BEATS_PER_QUESTION);
            match timeout(BEAT_TIME, self.beat(&mut link, with_question)).await {
                Ok(Ok(true)) => self.dialer.status.up(),
                Ok(Ok(false)) => return "the store is in another life".to_owned(),
                // The server answers, but not with what was asked for: it may be loading, or busy.
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return format!("no answer in {} ms", BEAT_TIME.as_millis()),
            }
        }
    }

    /// `false` when the store is in another life than the connection knows.
    async fn beat(&self, link: &mut Link, with_question: bool) -> RedisResult<bool> {
        let mut pipe = redis::pipe();
        pipe.cmd("HMGET").arg(self.dialer.keys.lineage()).arg("generation").arg("epoch");
        pipe.cmd("TIME");
        let asked = clock::unix_ms();
        let (life, (seconds, micros)): ((Option<u64>, Option<String>), (i64, i64)) =
            pipe.query_async(&mut link.connection).await?;
        // Its clock was read somewhere between the question and the answer.
        let middle = i64::midpoint(asked as i64, clock::unix_ms() as i64);
        self.dialer.status.saw_clock(seconds * 1_000 + micros / 1_000 - middle);
        if with_question {
            let facts = self.dialer.ask(&mut link.connection).await?;
            if facts.is_replica && self.dialer.is_replaceable() {
                // Another one is the primary now.
                return Ok(false);
            }
            self.dialer.status.found(facts.found());
        }
        let known = (Some(link.life.generation), Some(link.life.epoch.to_string()));
        Ok(life == known)
    }
}
