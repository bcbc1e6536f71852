//! Who is in a group: the rules are applied here, and the script takes the result if nobody was faster.

use std::sync::Arc;

use redis::Value;

use super::codec::Reply;
use super::{RedisPersistence, failure, index};
use crate::model::{ConvId, GroupAct, GroupRefusal, Roster, Seq, UserName};
use crate::persistence::lineage::Life;
use crate::persistence::{EngineError, GroupOutcome, GroupRequest, Rostered};

/// How often a change is tried beside others.
const TRIES: usize = 32;

impl RedisPersistence {
    /// The roster of a moment, with the head of that moment.
    pub(super) async fn read_roster(
        &self,
        conv: ConvId,
    ) -> Result<(Arc<Roster>, Seq, Arc<Life>), EngineError> {
        let (mut reply, life) = self.call(&self.scripts.roster, conv, Vec::new()).await?;
        reply.text()?;
        let head = Seq(reply.count()?);
        Ok((Arc::new(reply.roster()?), head, life))
    }

    /// Tries until nobody else has changed the roster in between.
    pub(super) async fn change_group(
        &self,
        request: &GroupRequest,
    ) -> Result<GroupOutcome, EngineError> {
        let GroupRequest { conv, by, act, .. } = request;
        let mut is_again = false;
        for _ in 0..TRIES {
            let (before, head, life) = self.read_roster(*conv).await?;
            let done = |roster, life: &Life, became| {
                let now = Rostered { epoch: life.epoch.clone(), roster };
                Ok(GroupOutcome::Done { now, became })
            };
            let changed = match before.after(by, act, (head, &life.epoch)) {
                Ok(Some(changed)) => Arc::new(changed),
                Ok(None) => return done(before, &life, None),
                // The connection may have broken off after the change: whatever did it, it is done.
                Err(GroupRefusal::NotMember) if is_again && *act == GroupAct::Quit => {
                    return done(before, &life, None);
                }
                Err(refusal) => return Ok(GroupOutcome::Refused(refusal)),
            };
            if let Some(became) = self.set_roster(request, &before, &changed).await? {
                return done(changed, &life, became);
            }
            is_again = true;
        }
        Err(EngineError::Overloaded("redis: many change this group at once".to_owned()))
    }

    /// Answers whom the conversation became theirs by it; `None` when the roster is another by now.
    async fn set_roster(
        &self,
        request: &GroupRequest,
        before: &Roster,
        changed: &Roster,
    ) -> Result<Option<Option<UserName>>, EngineError> {
        let GroupRequest { conv, place, .. } = request;
        let (came, left) = (changed.joined_since(before).next(), changed.left_since(before).next());
        let stamp = self.index.stamp(self.status.ahead_ms());
        let build = |life: &Life| {
            let mut pipe = redis::pipe();
            pipe.ignore_errors();
            if let Some(user) = came {
                pipe.add_command(index::add(&self.keys, user, *conv, place, stamp));
            }
            let membership = came.and_then(|user| changed.membership(user));
            let mut cmd = self.keys.call(&self.scripts.regroup, *conv, life);
            cmd.arg(before.version)
                .arg(changed.version)
                .arg(changed.owner.as_ref().map_or("", UserName::as_str))
                .arg(left.map_or("", UserName::as_str))
                .arg(came.map_or("", UserName::as_str))
                .arg(membership.map_or_else(String::new, |membership| {
                    format!("{} {} {}", membership.joined, membership.since, membership.life)
                }));
            pipe.add_command(cmd);
            pipe
        };
        let (mut values, _) = self.reader.call_all(build).await?;
        let mut reply = Reply::new(values.pop().ok_or_else(failure::unanswered)?)?;
        if reply.text()? == "moved" {
            return Ok(None);
        }
        let is_new = matches!(values.pop(), Some(Value::Int(1)));
        Ok(Some(came.filter(|_| is_new).cloned()))
    }
}
