//! Sending: messages prepared, handed to the connection in batches, repeated where that helps.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use rand::Rng;
use tokio_util::task::AbortOnDropHandle;

use super::super::delivery_checker::{DeliveryChecker, SentAt};
use super::books::Books;
use super::chatter::Chatter;
use super::inbox::Inbox;
use super::line::Line;
use super::options::cid;
use crate::client::{Answered, ClientError};
use crate::harness::text_message;
use crate::history::RecordedAnswer;
use crate::model::Cid;
use crate::protocol::{Command, ErrorCode, Reply, SendReply};

/// Times that something is asked for before it is given up.
pub(super) const ATTEMPTS_MAX: u32 = 5;

/// For so long a message is sent again that the server refuses because it is asked too much.
const TOO_FAST_PATIENCE: Duration = Duration::from_secs(60);

/// First wait before a repetition where the server names none; doubles each time, up to a point.
const RETRY_WAIT: Duration = Duration::from_millis(50);

/// How often it doubles at most.
const RETRY_DOUBLINGS_MAX: u32 = 4;

/// How much older than now the `ts` of a late message is, ms.
const LATE_MS: std::ops::RangeInclusive<u64> = 1_000..=3_600_000;

/// A message on its way.
#[derive(Debug)]
pub(super) struct Outgoing {
    cid: Cid,
    command: Command,
    sent: SentAt,
    attempts: u32,
    /// An earlier attempt may have stored it.
    uncertain: bool,
}

/// One attempt: it was sent, or is to be sent after a wait.
#[derive(Debug)]
pub(super) struct Attempt {
    line: Arc<Line>,
    outgoing: Outgoing,
    answer: Option<RecordedAnswer>,
    wait: Duration,
}

/// What one attempt came to.
pub(super) type Attempted = (Outgoing, Result<Answered, ClientError>);

impl Chatter {
    /// Sends `count` messages to `peer`, at most `in_flight` of them unanswered, and waits for all
    /// answers. The first of them were meant to start at `intended`.
    pub(super) async fn send_chunk(
        &mut self,
        count: u64,
        intended: Instant,
        peer: &Inbox,
        books: &mut Books,
    ) -> Result<(), ClientError> {
        let mut unsent = count;
        let mut started_at = Some(intended);
        let mut unanswered = FuturesUnordered::new();
        loop {
            let fresh = ((self.in_flight - unanswered.len()) as u64).min(unsent);
            unsent -= fresh;
            if fresh > 0 {
                let intended = started_at.take().unwrap_or_else(Instant::now);
                let sent = SentAt { intended, really: intended };
                let attempts = self.begin(vec![sent; fresh as usize], peer, books).await?;
                unanswered.extend(attempts.into_iter().map(attempt));
            }
            let Some(mut attempted) = unanswered.next().await else { return Ok(()) };
            // All that is there is taken before more is sent, so that sends go out in batches too.
            loop {
                unanswered.extend(self.answered(attempted, peer, books)?.map(attempt));
                match unanswered.next().now_or_never() {
                    Some(Some(next)) => attempted = next,
                    Some(None) | None => break,
                }
            }
        }
    }

    /// Hands the next messages to the connection, one for each of `sent`.
    pub(super) async fn begin(
        &mut self,
        sent: Vec<SentAt>,
        peer: &Inbox,
        books: &mut Books,
    ) -> Result<Vec<Attempt>, ClientError> {
        let (cids, commands): (Vec<_>, Vec<_>) = sent.iter().map(|_| self.prepare()).unzip();
        peer.with(|checker| {
            cids.iter().zip(&sent).for_each(|(cid, sent)| checker.expect(cid.clone(), *sent));
        });
        books.tally.begun += sent.len() as u64;
        // While it is not connected each waits for itself, so that the other side of the pair does not wait, too.
        let mut answers = None;
        let mut lost = false;
        if let Some(client) = self.line.connected().await? {
            match client.submit_sends(&commands).await {
                Ok(submitted) => answers = Some(submitted),
                Err(error) if self.line.survives(&error) => lost = true,
                Err(error) => return Err(error),
            }
        }
        let mut answers = answers.into_iter().flatten();
        let outgoing = cids.into_iter().zip(commands).zip(sent);
        let attempts = outgoing.map(|((cid, command), sent)| Attempt {
            line: Arc::clone(&self.line),
            // What went down with its connection may have been stored.
            outgoing: Outgoing {
                cid,
                command,
                sent,
                attempts: 1 + u32::from(lost),
                uncertain: lost,
            },
            answer: answers.next(),
            wait: Duration::ZERO,
        });
        Ok(attempts.collect())
    }

    /// The next message.
    pub(super) fn prepare(&mut self) -> (Cid, Command) {
        let cid = cid(self.seed, self.head, self.number);
        let content = self.maker.make(self.conv, &self.user, &cid, self.number);
        self.number += 1;
        let now = now_ms();
        let late = self.late_ratio > 0.0 && self.random.random_bool(self.late_ratio);
        let ts = if late { now.saturating_sub(self.random.random_range(LATE_MS)) } else { now };
        let send = text_message(self.conv, cid.clone(), content, Some(ts));
        (cid, Command::Send(send))
    }

    /// Takes an answer into account; `Some` when the message is to be sent again.
    pub(super) fn answered(
        &self,
        (mut outgoing, result): Attempted,
        peer: &Inbox,
        books: &mut Books,
    ) -> Result<Option<Attempt>, ClientError> {
        let error = match result {
            Ok(Answered { reply: Reply::Send(reply), sent_at, received_at }) => {
                // A server is not slow that said when to come again, and a repetition is timed from itself.
                let sent = SentAt { really: sent_at, ..outgoing.sent };
                books.written(sent, received_at);
                self.stored(outgoing, &reply, peer, books);
                return Ok(None);
            }
            Ok(Answered { reply, .. }) => self.line.wrong_reply("send", &reply),
            Err(error) => error,
        };
        books.tally.error(&error);
        outgoing.uncertain |= !error.is_definite();
        let is_lost = self.line.survives(&error);
        if self.may_try_again(&outgoing, &error) && (is_lost || self.is_retryable(&error)) {
            let wait = match &error {
                // Whoever waits for the next connection has waited enough.
                _ if is_lost => Some(Duration::ZERO),
                error => error.retry_after(),
            };
            let wait = wait.unwrap_or_else(|| retry_wait(outgoing.attempts));
            outgoing.attempts += 1;
            books.tally.retries += 1;
            let line = Arc::clone(&self.line);
            return Ok(Some(Attempt { line, outgoing, answer: None, wait }));
        }
        if !is_lost && !matches!(error, ClientError::Refused(_) | ClientError::Timeout { .. }) {
            return Err(error);
        }
        books.tally.given_up += 1;
        peer.with(|checker| checker.given_up(&outgoing.cid, !outgoing.uncertain));
        if outgoing.uncertain {
            self.inbox.with(DeliveryChecker::own_uncertain);
        }
        Ok(None)
    }

    /// Whether there is time for one attempt more: beside a nemesis, as long as everything takes to be whole again.
    fn may_try_again(&self, outgoing: &Outgoing, error: &ClientError) -> bool {
        match self.line.patience() {
            Some(patience) => outgoing.sent.really.elapsed() < patience,
            // A server that allows less than is asked for is no failing one: the run takes longer.
            None if error.is_turned_away() => outgoing.sent.really.elapsed() < TOO_FAST_PATIENCE,
            None => outgoing.attempts < ATTEMPTS_MAX,
        }
    }

    /// Whether the same may be sent again. To a server whose clock is wrong for a while, a right time lies in the future for as long.
    fn is_retryable(&self, error: &ClientError) -> bool {
        let is_ahead = |code| code == ErrorCode::TsInFuture;
        let clock = matches!(error, ClientError::Refused(error) if is_ahead(error.code));
        error.is_retryable() || clock && self.line.patience().is_some()
    }

    fn stored(&self, outgoing: Outgoing, reply: &SendReply, peer: &Inbox, books: &mut Books) {
        let tally = &mut books.tally;
        tally.sent += 1;
        tally.late += u64::from(reply.late);
        // Nobody else has this cid, so a first attempt cannot be a duplicate.
        tally.correctness.contradicted += u64::from(reply.dup && outgoing.attempts == 1);
        peer.with(|checker| checker.acknowledged(&outgoing.cid, reply));
        self.inbox.with(|checker| checker.own_stored(reply.seq));
        books.pages.acknowledged(outgoing.cid, reply);
    }
}

/// Waits for an answer within the answer timeout; where none is under way, waits and sends again.
pub(super) async fn attempt(attempt: Attempt) -> Attempted {
    let Attempt { line, outgoing, answer, wait } = attempt;
    if let Some(answer) = answer {
        return (outgoing, answer.end().await);
    }
    // A task of its own: whoever waits for room in a connection gets it in turn, and a pair that waits itself does not look after those
    // that wait before it.
    let again = tokio::spawn(async move {
        tokio::time::sleep(wait).await;
        let result = match line.client().await {
            Ok(client) => client.send_again(&outgoing.command).await,
            Err(error) => Err(error),
        };
        (outgoing, result)
    });
    AbortOnDropHandle::new(again).await.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => unreachable!("it is aborted only when nobody waits for it any more"),
    })
}

/// The wait after this attempt, counted from 1, where the server names none.
pub(super) fn retry_wait(attempt: u32) -> Duration {
    RETRY_WAIT * (1 << attempt.saturating_sub(1).min(RETRY_DOUBLINGS_MAX))
}

/// The wall clock, ms since 1970 UTC.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
