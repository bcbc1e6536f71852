//! The groups of a run: made before anybody plays, with everybody in them.

use super::actor::{Stage, connect};
use super::session::plain_open;
use crate::harness::HarnessError;

/// Makes each group, and invites its members.
pub async fn make(stage: &Stage) -> Result<(), HarnessError> {
    for (number, venue) in stage.cast.venues.iter().enumerate().filter(|(_, venue)| venue.is_group)
    {
        let wrong = |error| HarnessError::client("a group")(error);
        let session = connect(stage, venue.members[0], number).await.map_err(wrong)?;
        venue.made(session.create().await.map_err(wrong)?);
        let owner = &stage.cast.users[venue.members[0]].name;
        let conv = venue.conv.get().copied();
        if let (Some(conv), Some(to)) = (conv, venue.to(owner)) {
            // Whatever is refused is in the history.
            session.open(Some(conv), plain_open(to, 0)).await;
            for &member in &venue.members[1..] {
                session.invite(conv, stage.cast.users[member].name.clone()).await;
            }
        }
        session.close().await;
    }
    Ok(())
}
