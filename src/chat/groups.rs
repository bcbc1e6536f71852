//! Groups: who makes one, who comes in and who leaves, and who is told.

use std::sync::Arc;

use super::ChatService;
use super::directory::SessionHandle;
use super::refusals::engine_error;
use crate::distribution::Hint;
use crate::model::{ConvId, GroupAct, GroupId, GroupRefusal, LIMITS, Place, UserName};
use crate::persistence::{GroupOutcome, GroupRequest};
use crate::protocol::{CreateReply, ErrorBody, ErrorCode, Reply, RosterReply};

/// Makes a group.
pub(super) async fn create(
    service: Arc<ChatService>,
    session: Arc<SessionHandle>,
) -> Result<Reply, ErrorBody> {
    let group = GroupId::generate();
    let place = Arc::new(Place::Group(group.clone()));
    let (conv, by, act) = (place.conv_id(), session.user.clone(), GroupAct::Create);
    change(&service, GroupRequest { conv, place, by, act }).await?;
    Ok(Reply::Create(CreateReply { group }))
}

/// Who is in it.
pub(super) async fn roster(
    service: Arc<ChatService>,
    conv: ConvId,
    user: UserName,
) -> Result<Reply, ErrorBody> {
    let roster = service.persistence.roster(conv).await.map_err(engine_error)?.roster;
    // Only of a group that everybody has left is there no owner.
    let owner = roster.owner.clone().filter(|_| roster.membership(&user).is_some());
    let owner = owner.ok_or_else(ErrorBody::not_found)?;
    let members = roster.members.keys().cloned().collect();
    Ok(Reply::Roster(RosterReply { owner, members }))
}

/// Changes who is in a group: durable first, then told.
pub(super) async fn change(service: &ChatService, request: GroupRequest) -> Result<(), ErrorBody> {
    let GroupRequest { conv, place, by, act } = request.clone();
    let now = match service.persistence.regroup(request).await.map_err(engine_error)? {
        GroupOutcome::Done { now, .. } => now,
        GroupOutcome::Refused(refusal) => return Err(refused(refusal)),
    };
    let head = |user| now.roster.membership(user).map(|membership| membership.since);
    let (came, left) = match act {
        GroupAct::Create => (Some(by), None),
        GroupAct::Invite(user) => (Some(user), None),
        GroupAct::Remove(user) => (None, Some(user)),
        GroupAct::Quit => (None, Some(by)),
    };
    // This node need not wait for the bus.
    if let Some(room) = service.rooms.get(conv) {
        room.learn(&now.epoch, &now.roster);
        service.rooms.sweep(conv);
    }
    let (epoch, version) = (now.epoch.clone(), now.roster.version);
    service.distribution.publish(Hint::Regrouped { conv, epoch, version, left });
    if let Some(user) = came
        && let Some(head) = head(&user)
    {
        service.distribution.publish(Hint::Became { conv, place, user, head });
    }
    Ok(())
}

fn refused(refusal: GroupRefusal) -> ErrorBody {
    match refusal {
        GroupRefusal::NotMember => ErrorBody::not_found(),
        GroupRefusal::NotOwner => {
            ErrorBody::new(ErrorCode::NotAllowed, "only the owner of the group removes members")
        }
        GroupRefusal::Full => {
            let message = format!("a group has at most {} members", LIMITS.group_members_max);
            ErrorBody::new(ErrorCode::Limit, message)
        }
        // Of 2¹²⁸ ids this one was taken: another `create` gets another.
        GroupRefusal::Taken => {
            ErrorBody::new(ErrorCode::Overloaded, "the group could not be made; try again")
        }
    }
}
