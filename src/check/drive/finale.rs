//! The end of a run: quiet, then everybody reads everything on every node.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::actor::{Stage, connect};
use super::session::{Session, plain_open};
use crate::client::ClientError;
use crate::history::{FINAL_PAGES_MAX, ReadKind};
use crate::model::{ConvId, Seq};

/// How long nothing may have moved before it is quiet: far longer than a hint or a commit takes.
const QUIET: Duration = Duration::from_millis(250);

/// How long streams may stand still below their heads: a repair takes some ten milliseconds. Those
/// that do not come up are the checker's to judge.
const STALLED_MAX: Duration = Duration::from_millis(1_500);

/// How long it may take in all.
const QUIET_MAX: Duration = Duration::from_secs(30);

/// Messages on a page of a final read.
const FINAL_LIMIT: usize = 50;

/// Waits until every stream is up to the highest number that anybody has heard of, and nothing
/// moves any more.
pub async fn quiet(sessions: &[Session]) {
    let begun = Instant::now();
    let (mut heads, mut seen, mut still_since) = (HashMap::<ConvId, Seq>::new(), 0, begun);
    while begun.elapsed() < QUIET_MAX && still_since.elapsed() < STALLED_MAX {
        sessions.iter().for_each(|session| session.raise(&mut heads));
        let movement: u64 = sessions.iter().map(Session::movement).sum();
        let moves = movement + heads.values().map(|head| head.0).sum::<u64>();
        if moves != seen {
            (seen, still_since) = (moves, Instant::now());
        }
        let all_there = sessions.iter().all(|session| session.is_up_to(&heads));
        if all_there && still_since.elapsed() >= QUIET {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Every user opens each of its conversations on every node, reads what is late, and then all of it.
pub async fn read_everything(stage: &Arc<Stage>) -> Result<(), ClientError> {
    let mut reading = tokio::task::JoinSet::new();
    for node in 0..stage.addresses.len() {
        for user in 0..stage.cast.users.len() {
            reading.spawn(read_all_of(Arc::clone(stage), user, node));
        }
    }
    let mut first_error = Ok(());
    while let Some(read) = reading.join_next().await {
        if let Ok(Err(error)) = read {
            first_error = first_error.and(Err(error));
        }
    }
    first_error
}

async fn read_all_of(stage: Arc<Stage>, user: usize, node: usize) -> Result<(), ClientError> {
    let session = connect(&stage, user, node).await?;
    for &venue in &stage.cast.users[user].venues {
        let venue = &stage.cast.venues[venue];
        let to = venue.to(&stage.cast.users[user].name);
        let Some(open) = session.open(venue.conv.get().copied(), plain_open(to, 10)).await else {
            continue;
        };
        session.read(open.conv, ReadKind::Late {}, FINAL_LIMIT, FINAL_PAGES_MAX, false).await;
        session.read_everything(open.conv, FINAL_LIMIT).await;
    }
    session.close().await;
    Ok(())
}
