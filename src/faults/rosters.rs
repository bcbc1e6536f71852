//! Faults of groups.

use std::sync::Arc;

use super::Fault;
use super::memory::Shared;
use crate::model::{ConvId, Roster};
use crate::persistence::{AppendOutcome, EngineError, GroupOutcome, GroupRequest, Rostered};

/// Changes a group, and tells of it.
pub async fn regroup(shared: &Shared, request: GroupRequest) -> Result<GroupOutcome, EngineError> {
    let conv = request.conv;
    Ok(match shared.engine.regroup(request).await? {
        GroupOutcome::Done { now, became }
            if shared.has(Fault::NobodyLeaves) || shared.has(Fault::UnheardRemoval) =>
        {
            GroupOutcome::Done { now: with_everybody(shared, conv, now), became }
        }
        outcome => outcome,
    })
}

/// Who is said to be in a group.
pub fn told(shared: &Shared, conv: ConvId, now: Rostered) -> Rostered {
    if shared.has(Fault::NobodyLeaves) { with_everybody(shared, conv, now) } else { now }
}

/// The same with whoever was ever in it.
fn with_everybody(shared: &Shared, conv: ConvId, now: Rostered) -> Rostered {
    let members = shared.with(conv, |memory| {
        memory.members.extend(now.roster.members.clone());
        memory.members.clone()
    });
    Rostered { roster: Arc::new(Roster { members, ..(*now.roster).clone() }), ..now }
}

/// What a message says of its group, and its refusal.
pub fn spoil_append(shared: &Shared, outcome: &mut Result<AppendOutcome, EngineError>) {
    if !shared.has(Fault::UnheardRemoval) {
        return;
    }
    match outcome {
        Ok(AppendOutcome::Stored(stored)) => stored.roster = 0,
        Ok(AppendOutcome::NotMember) => {
            *outcome = Err(EngineError::Unavailable("a fault".to_owned()));
        }
        _ => {}
    }
}
