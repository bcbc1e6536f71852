//! The end of a run: everybody is served on every node; quiet; everybody reads everything on every node.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::actor::{Stage, connect};
use super::session::{Session, plain_open};
use crate::client::ClientError;
use crate::harness::{own_cid, text_message};
use crate::history::{FINAL_PAGES_MAX, ReadKind, Seen};
use crate::model::{ConvId, Seq};

/// How long nothing may have moved before it is quiet: far longer than a hint or a commit takes.
const QUIET: Duration = Duration::from_millis(250);

/// How long streams may stand still below their heads where nothing was broken: a repair takes some ten milliseconds. Those
/// that do not come up are the checker's to judge.
const STALLED_MIN: Duration = Duration::from_millis(1_500);

/// Messages that are sent on each node when everything is whole again.
const LIVENESS_SENDS: u64 = 3;

/// Messages on a page of a final read.
const FINAL_LIMIT: usize = 50;

/// Waits until every stream is up to the highest number that anybody has heard of, and nothing
/// moves any more; `patience` decides for how long at most.
pub async fn quiet(sessions: &[Session], patience: Duration) {
    let begun = Instant::now();
    let (mut heads, mut seen, mut still_since) = (HashMap::<ConvId, Seq>::new(), 0, begun);
    let stalled_max = STALLED_MIN.max(patience / 2);
    let quiet_max = 6 * stalled_max;
    while begun.elapsed() < quiet_max && still_since.elapsed() < stalled_max {
        // A connection that is over gets nothing more.
        let sessions = || sessions.iter().filter(|session| !session.is_closed());
        sessions().for_each(|session| session.raise(&mut heads));
        let movement: u64 = sessions().map(Session::movement).sum();
        let moves = movement + heads.values().map(|head| head.0).sum::<u64>();
        if moves != seen {
            (seen, still_since) = (moves, Instant::now());
        }
        let all_there = sessions().all(|session| session.is_up_to(&heads));
        if all_there && still_since.elapsed() >= QUIET {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A user of each node by turns comes to it anew, and opens, sends, reads and acknowledges in each of its conversations. Whoever is
/// not let in is noted; what became of the rest is in the history.
pub async fn everybody_is_served(stage: &Arc<Stage>) {
    let mut serving = tokio::task::JoinSet::new();
    for node in 0..stage.addresses.len() {
        let (stage, user) = (Arc::clone(stage), node % stage.cast.users.len());
        serving.spawn(async move {
            if let Err(error) = is_served(&stage, user, node).await {
                note_unreachable(&stage, node, &error);
            }
        });
    }
    while serving.join_next().await.is_some() {}
}

/// Nothing is broken any more, and a node does not let somebody in.
fn note_unreachable(stage: &Stage, node: usize, error: &ClientError) {
    let address = stage.addresses[node].to_string();
    stage.recorder.note(Seen::Unreachable { address, error: error.to_string() });
}

async fn is_served(stage: &Stage, user: usize, node: usize) -> Result<(), ClientError> {
    let session = connect(stage, user, node).await?;
    let name = &stage.cast.users[user].name;
    for &venue in &stage.cast.users[user].venues {
        let venue = &stage.cast.venues[venue];
        let Some(to) = venue.to(name) else { continue };
        let open = plain_open(to, 10);
        let Some(open) = session.open(venue.conv.get().copied(), open).await else { continue };
        for number in 0..LIVENESS_SENDS {
            let cid = own_cid(&format!("live-{node}-{number}"));
            let content = stage.contents.make(open.conv, name, &cid, number);
            let send = text_message(open.conv, cid, content, None);
            // What became of it is in the history.
            let _ = session.begin_send(&send).await.end().await;
        }
        session.read(open.conv, ReadKind::After { after_seq: open.head }, 10, 1, false).await;
        session.ack(open.conv, Some(open.head), Vec::new()).await;
    }
    session.close().await;
    Ok(())
}

/// Every user opens each of its conversations on every node, reads what is late, and then all of it. Whoever is not let in is noted.
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
    let connected = connect(&stage, user, node).await;
    let session = connected.inspect_err(|error| note_unreachable(&stage, node, error))?;
    for &venue in &stage.cast.users[user].venues {
        let venue = &stage.cast.venues[venue];
        let Some(to) = venue.to(&stage.cast.users[user].name) else { continue };
        let Some(open) = session.open(venue.conv.get().copied(), plain_open(to, 10)).await else {
            continue;
        };
        session.read(open.conv, ReadKind::Late {}, FINAL_LIMIT, FINAL_PAGES_MAX, false).await;
        session.read_everything(open.conv, FINAL_LIMIT).await;
    }
    session.close().await;
    Ok(())
}
