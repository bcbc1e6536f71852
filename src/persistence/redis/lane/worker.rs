//! The work behind a lane: its connection, one pipeline after the other, and what becomes of each call in it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{RedisResult, Value};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::Queued;
use super::call::{Call, Done};
use crate::persistence::index::Index;
use crate::persistence::lineage::Life;
use crate::persistence::redis::dialer::{Dialer, Identity, Link, load};
use crate::persistence::redis::failure;
use crate::persistence::redis::index;
use crate::persistence::{Append, AppendOutcome, EngineError};

/// Requests in one pipeline: bounds how long the first waits for the last.
const BATCH_REQUESTS_MAX: usize = 256;
/// Content bytes after which a pipeline takes no more.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// How long a request may wait to be sent. With [`SENT_TIME`] it stays below `answer_ms_max`.
const QUEUED_TIME: Duration = Duration::from_secs(1);
/// How long an answer is waited for.
const SENT_TIME: Duration = Duration::from_secs(3);
/// Pause between two attempts to connect.
const REDIAL_PAUSE: Duration = Duration::from_millis(100);
/// An idle connection is asked this often whether it lives.
const IDLE_BEAT: Duration = Duration::from_secs(1);
/// How often a call is sent that the server certainly did not do.
const SENDS_MAX: u8 = 3;

/// The work behind a lane.
pub(super) struct Worker {
    dialer: Arc<Dialer>,
    index: Arc<Index>,
    receiver: mpsc::Receiver<Queued>,
    waiting: VecDeque<Queued>,
    link: Option<Link>,
    previous: Option<Identity>,
    dialed: Option<Instant>,
}

impl Worker {
    pub(super) fn new(
        dialer: Arc<Dialer>,
        index: Arc<Index>,
        receiver: mpsc::Receiver<Queued>,
    ) -> Self {
        let (waiting, link, previous, dialed) = (VecDeque::new(), None, None, None);
        Self { dialer, index, receiver, waiting, link, previous, dialed }
    }

    /// Until there will be nothing more, and everything is answered.
    pub(super) async fn run(mut self) {
        while self.gather().await {
            self.expire();
            if self.waiting.is_empty() {
                continue;
            }
            match self.link.take() {
                Some(link) => {
                    let batch = self.take_batch();
                    self.link = self.send(link, batch).await;
                }
                None => self.connect().await,
            }
        }
    }

    /// Takes what waits; `false` when there will be nothing more.
    async fn gather(&mut self) -> bool {
        while self.waiting.is_empty() {
            match timeout(IDLE_BEAT, self.receiver.recv()).await {
                Ok(Some(queued)) => self.waiting.push_back(queued),
                Ok(None) => return false,
                Err(_) => self.check_idle().await,
            }
        }
        while let Ok(queued) = self.receiver.try_recv() {
            self.waiting.push_back(queued);
        }
        true
    }

    /// So that a dead connection is found before a message is lost on it.
    async fn check_idle(&mut self) {
        let Some(mut link) = self.link.take() else { return };
        let ping = redis::cmd("PING");
        let alive = timeout(IDLE_BEAT, link.connection.send_packed_command(&ping)).await;
        match alive {
            Ok(Ok(_)) => self.link = Some(link),
            _ => self.previous = Some(link.identity),
        }
    }

    /// Refuses what has waited too long: it was never sent.
    fn expire(&mut self) {
        // In order of arrival, so the oldest are in front.
        while self.waiting.front().is_some_and(|queued| queued.since.elapsed() > QUEUED_TIME) {
            let Some(queued) = self.waiting.pop_front() else { return };
            let error = match self.dialer.status.down_reason() {
                Some(reason) => failure::down(&reason),
                None if self.link.is_none() => failure::down("it was lost"),
                None => EngineError::Overloaded("redis: too many messages wait".to_owned()),
            };
            queued.answer(Err(error));
        }
    }

    async fn connect(&mut self) {
        if let Some(dialed) = self.dialed.replace(Instant::now()) {
            // A server that refuses what is asked of it is not asked without a pause.
            sleep(REDIAL_PAUSE.saturating_sub(dialed.elapsed())).await;
        }
        match self.dialer.dial(self.previous.as_ref()).await {
            Ok(link) => {
                self.previous = None;
                self.link = Some(link);
            }
            Err(reason) => {
                tracing::debug!(%reason, "redis: a lane cannot connect");
                sleep(REDIAL_PAUSE).await;
            }
        }
    }

    fn take_batch(&mut self) -> Vec<Queued> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_REQUESTS_MAX && bytes < BATCH_BYTES_MAX {
            let Some(mut queued) = self.waiting.pop_front() else { break };
            bytes += queued.append.content.len();
            queued.sends += 1;
            batch.push(queued);
        }
        batch
    }

    /// Sends a batch and answers it; gives the connection back if it can be used again.
    async fn send(&mut self, mut link: Link, batch: Vec<Queued>) -> Option<Link> {
        let started = Instant::now();
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        let mut calls = Vec::with_capacity(batch.len());
        for queued in batch {
            let call = Call::new(queued, &self.index, &link.life);
            for user in &call.hints {
                let Append { conv, place, .. } = &call.queued.append;
                let stamp = call.queued.stamp;
                pipe.add_command(index::add(&self.dialer.keys, user, *conv, place, stamp));
            }
            pipe.add_command(call.command(&self.dialer, &link.life));
            calls.push(call);
        }
        let lineage = self.dialer.keys.lineage();
        pipe.cmd("HINCRBY").arg(&lineage).arg("beat").arg(1);
        pipe.cmd("HMGET").arg(&lineage).arg("generation").arg("epoch");
        let sent: Result<RedisResult<Vec<RedisResult<Value>>>, _> =
            timeout(SENT_TIME, pipe.query_async(&mut link.connection)).await;
        let results = match sent {
            Ok(Ok(results)) => results,
            Ok(Err(error)) => {
                let text = format!("redis: the connection broke off: {error}");
                refuse_all(calls, &EngineError::Timeout(text));
                self.previous = Some(link.identity);
                return None;
            }
            Err(_) => {
                refuse_all(calls, &failure::unanswered());
                self.previous = Some(link.identity);
                return None;
            }
        };
        metrics::counter!("chatctl_commits_total").increment(1);
        metrics::histogram!("chatctl_commit_seconds").record(started.elapsed().as_secs_f64());
        self.settle(link, calls, results).await
    }

    /// Answers each call as the server answered it.
    async fn settle(
        &mut self,
        mut link: Link,
        calls: Vec<Call>,
        results: Vec<RedisResult<Value>>,
    ) -> Option<Link> {
        let mut results = results.into_iter();
        let mut outcomes = Vec::with_capacity(calls.len());
        for mut call in calls {
            for user in std::mem::take(&mut call.hints) {
                match results.next() {
                    Some(Ok(Value::Int(1))) => {
                        self.index.note(call.queued.append.conv, &user, &link.life)
                    }
                    Some(Ok(_)) => {
                        self.index.note(call.queued.append.conv, &user, &link.life);
                        call.hints.push(user);
                    }
                    _ => {}
                }
            }
            let outcome = match results.next() {
                Some(Ok(value)) => call.outcome(value, &link.life),
                Some(Err(error)) => Done::from(failure::of(&error)),
                None => Done::Answer(Err(failure::unanswered())),
            };
            outcomes.push((call, outcome));
        }
        let beat = results.next();
        let same_life = is_same_life(results.next(), &link.life);
        if let Some(Ok(Value::Int(beat))) = &beat {
            self.dialer.lineage.acknowledge(&link.life, beat.unsigned_abs());
        }
        // A primary that became a replica, or gave the slot away; another one may be found.
        let is_demoted = matches!(&beat, Some(Err(error)) if failure::leads_elsewhere(error));
        let mut redial = !same_life || is_demoted;
        let mut reload = false;
        // From the last to the first: a call is only sent again when nothing of its conversation came after it.
        let (mut done_after, mut again) = (HashSet::new(), Vec::new());
        let mut raises = Vec::new();
        for (call, outcome) in outcomes.into_iter().rev() {
            let conv = call.queued.append.conv;
            let outcome = match outcome {
                Done::NoScript | Done::Stale => {
                    redial |= matches!(outcome, Done::Stale);
                    reload |= matches!(outcome, Done::NoScript);
                    if call.queued.sends < SENDS_MAX && !done_after.contains(&conv) {
                        again.push(call.queued);
                        continue;
                    }
                    Err(failure::down("the server did not have the script, or a newer life"))
                }
                Done::Answer(outcome) => outcome,
            };
            if !matches!(&outcome, Err(error) if error.is_definite()) {
                done_after.insert(conv);
            }
            let outcome = match outcome {
                // Whatever was stored may be in a store that has since been emptied.
                Ok(AppendOutcome::Stored(_)) if !same_life => {
                    Err(EngineError::Timeout("redis: the store was replaced meanwhile".to_owned()))
                }
                other => other,
            };
            if let Ok(AppendOutcome::Stored(stored)) = &outcome {
                raises.extend(call.raises(&self.dialer, stored));
            }
            if matches!(&outcome, Ok(AppendOutcome::Stored(stored)) if !stored.dup) {
                metrics::counter!("chatctl_messages_appended_total").increment(1);
            }
            call.queued.answer(outcome);
        }
        for queued in again {
            self.waiting.push_front(queued);
        }
        if !raises.is_empty() {
            let mut pipe = redis::pipe();
            pipe.ignore_errors();
            for raise in raises {
                pipe.add_command(raise);
            }
            // Best effort: it only moves entries within the list.
            let sent = timeout(SENT_TIME, pipe.exec_async(&mut link.connection)).await;
            redial |= !matches!(sent, Ok(Ok(())));
        }
        if reload && !redial {
            let loaded = timeout(SENT_TIME, load(&mut link.connection, self.dialer.scripts)).await;
            redial |= !matches!(loaded, Ok(Ok(())));
        }
        if redial {
            self.previous = Some(link.identity);
            return None;
        }
        Some(link)
    }
}

fn refuse_all(calls: Vec<Call>, error: &EngineError) {
    for call in calls {
        call.queued.answer(Err(error.clone()));
    }
}

/// Asked after the calls of a pipeline: a store that was emptied before one of them shows it here.
fn is_same_life(answer: Option<RedisResult<Value>>, life: &Life) -> bool {
    let Some(Ok(value)) = answer else { return false };
    let found: Result<(Option<u64>, Option<String>), _> = redis::from_redis_value(value);
    matches!(found, Ok((Some(generation), Some(epoch)))
        if generation == life.generation && epoch == life.epoch.as_str())
}
