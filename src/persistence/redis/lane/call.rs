//! An append as the script takes it, and what the script answers as an outcome.

use std::sync::Arc;

use redis::{Cmd, Value};

use super::Queued;
use crate::model::{Message, Place, Seq, UserName};
use crate::persistence::index::Index;
use crate::persistence::lineage::Life;
use crate::persistence::redis::codec::{Reply, given_text, unnumbered};
use crate::persistence::redis::dialer::Dialer;
use crate::persistence::redis::failure::Failure;
use crate::persistence::redis::index;
use crate::persistence::{Append, AppendOutcome, EngineError, Stored};

/// What became of one call.
pub(super) enum Done {
    /// The server does not have the script: certainly not done.
    NoScript,
    /// The conversation is in a newer life: certainly not done.
    Stale,
    /// The caller's answer.
    Answer(Result<AppendOutcome, EngineError>),
}

impl From<Failure> for Done {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoScript => Self::NoScript,
            Failure::Answer(error) => Self::Answer(Err(error)),
        }
    }
}

/// An append on its way.
pub(super) struct Call {
    pub(super) queued: Queued,
    message: Message,
    /// Before the answer: users whose index is written first. After it: those whose entry was there.
    pub(super) hints: Vec<UserName>,
}

impl Call {
    pub(super) fn new(queued: Queued, index: &Index, life: &Life) -> Self {
        let Append { conv, place, .. } = &queued.append;
        let is_sent = queued.append.restored.is_none();
        let hints = place
            .participants()
            .filter(|_| is_sent)
            .filter(|user| index.is_missing(*conv, user, life))
            .cloned()
            .collect();
        Self { message: unnumbered(&queued.append), queued, hints }
    }

    pub(super) fn command(&self, dialer: &Dialer, life: &Life) -> Cmd {
        let Append { conv, place, sender, cid, ts, future_skew_ms_max, restored, .. } =
            &self.queued.append;
        let mut cmd = dialer.keys.call(&dialer.scripts.append, *conv, life);
        cmd.arg(format!("{sender} {cid}"))
            .arg(self.message.wire_bytes())
            .arg(given_text(&self.message))
            .arg(ts.map(|ts| ts.to_string()).unwrap_or_default())
            .arg(*future_skew_ms_max)
            .arg(sender.as_str())
            .arg(u8::from(matches!(**place, Place::Group(_))))
            .arg(restored.map(|restored| restored.seq.to_string()).unwrap_or_default())
            .arg(restored.map(|restored| restored.at.to_string()).unwrap_or_default());
        if matches!(**place, Place::Direct(..)) && restored.is_none() {
            for user in place.participants() {
                cmd.arg(user.as_str());
            }
        }
        cmd
    }

    pub(super) fn outcome(&self, value: Value, life: &Life) -> Done {
        let read = || -> Result<Done, EngineError> {
            let mut reply = Reply::new(value)?;
            let word = reply.text()?;
            let dup = match word.as_str() {
                "stale" => return Ok(Done::Stale),
                "conflict" => return Ok(Done::Answer(Ok(AppendOutcome::Conflict))),
                "stranger" => return Ok(Done::Answer(Ok(AppendOutcome::NotMember))),
                "elsewhere" => return Ok(Done::Answer(Ok(AppendOutcome::NotNext))),
                "future" => return Ok(Done::Answer(Ok(AppendOutcome::TsInFuture))),
                word => word == "dup",
            };
            let mut message = self.message.clone();
            message.seq = Seq(reply.count()?);
            (message.ts, message.at, message.late) =
                (reply.count()?, reply.count()?, reply.flag()?);
            let roster = reply.count()?;
            let mut became = Vec::new();
            while let Ok(user) = reply.text() {
                became.extend(UserName::new(&user).ok());
            }
            let (message, epoch) = (Arc::new(message), life.epoch.clone());
            let stored = Stored { message, dup, epoch, became, roster };
            Ok(Done::Answer(Ok(AppendOutcome::Stored(stored))))
        };
        read().unwrap_or_else(|error| Done::Answer(Err(error)))
    }

    /// For users that the conversation became theirs only now although their index had it.
    pub(super) fn raises(&self, dialer: &Dialer, stored: &Stored) -> Vec<Cmd> {
        let Append { conv, place, .. } = &self.queued.append;
        let late = stored.became.iter().filter(|user| self.hints.contains(user));
        late.map(|user| index::raise(&dialer.keys, user, *conv, place, self.queued.stamp)).collect()
    }
}
