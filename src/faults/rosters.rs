//! Faults of groups.

use std::sync::Arc;

use super::Fault;
use super::memory::Shared;
use crate::model::{ConvId, GroupAct, Roster};
use crate::persistence::{AppendOutcome, EngineError, GroupOutcome, GroupRequest, Rostered};

/// Changes a group, and tells of it.
pub async fn regroup(shared: &Shared, request: GroupRequest) -> Result<GroupOutcome, EngineError> {
    let conv = request.conv;
    let ends_one = matches!(request.act, GroupAct::Remove(_) | GroupAct::Quit);
    let before = match shared.has(Fault::UnheardRemoval) && ends_one {
        true => Some(shared.engine.roster(conv).await?),
        false => None,
    };
    let outcome = shared.engine.regroup(request).await?;
    Ok(match (outcome, before) {
        (GroupOutcome::Done { became, .. }, Some(now)) => GroupOutcome::Done { now, became },
        (GroupOutcome::Done { now, became }, None) => {
            GroupOutcome::Done { now: told(shared, conv, now), became }
        }
        (refused, _) => refused,
    })
}

/// Who is said to be in a group.
pub fn told(shared: &Shared, conv: ConvId, now: Rostered) -> Rostered {
    if !shared.has(Fault::NobodyLeaves) {
        return now;
    }
    let members = shared.with(conv, |memory| {
        memory.members.extend(now.roster.members.clone());
        memory.members.clone()
    });
    Rostered { roster: Arc::new(Roster { members, ..(*now.roster).clone() }), ..now }
}

/// What a stored message says of its group.
pub fn spoil_stored(shared: &Shared, outcome: &mut AppendOutcome) {
    if let AppendOutcome::Stored(stored) = outcome
        && shared.has(Fault::UnheardRemoval)
    {
        stored.roster = 0;
    }
}
