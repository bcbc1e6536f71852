//! The driver: real clients over real sockets that do everything the protocol allows, and write down
//! what they did and saw.
//!
//! The seed decides what is asked; what is answered, and how the clients interleave, is the
//! server's and the machine's. Clients work at the same time: bursts of sends with on-time, late, equal
//! and no timestamps, retries of answered and unanswered sends by any session of the user, other
//! contents under a used `cid`, one `cid` in two conversations, cuts with commands under way and resumes that
//! must and must not be granted, pages both ways while others write, acknowledgements by cursor and range.
//! At the end: quiet, then everybody reads everything on every node.

mod actor;
mod cast;
mod finale;
mod session;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::actor::{Actor, Stage};
use self::cast::Cast;
use crate::client::Address;
use crate::harness::HarnessError;
use crate::history::Event;

/// Options of a run.
#[derive(Debug, Clone)]
pub struct DriveOptions {
    /// Where the nodes are, at least one.
    pub addresses: Vec<Address>,
    /// Sessions at a time.
    pub clients: usize,
    /// Sends of each.
    pub messages: u64,
    /// Decides what is asked.
    pub seed: u64,
    /// What names of users and channels begin with; new for every run on one store.
    pub user_prefix: String,
    /// How long one connect may take.
    pub connect_timeout: Duration,
}

/// A run that is over.
#[derive(Debug)]
pub struct Driven {
    /// What happened.
    pub events: Vec<Event>,
    /// Why the history is less than it should be; empty when it is all there.
    pub shortfalls: Vec<String>,
}

/// Most clients of a run: each is a task and a socket, and more prove nothing more.
const CLIENTS_MAX: usize = 1_000;

/// Runs the workload. An error is a failure of the harness before anything was recorded; from then
/// on, whatever goes wrong is part of the history.
pub async fn drive(
    options: &DriveOptions,
    cancel: &CancellationToken,
) -> Result<Driven, HarnessError> {
    if !(1..=CLIENTS_MAX).contains(&options.clients) {
        let text = format!("--clients must be 1 to {CLIENTS_MAX}, not {}", options.clients);
        return Err(HarnessError::Usage(text));
    }
    if options.messages == 0 {
        return Err(HarnessError::Usage("--messages must be at least 1".to_owned()));
    }
    let cast = Cast::new(options.clients, &options.user_prefix)?;
    let addresses = options.addresses.clone();
    let stage = Arc::new(Stage::new(cast, addresses, options.connect_timeout, options.seed));
    let mut actors = JoinSet::new();
    for number in 0..options.clients {
        let actor = Actor::enter(Arc::clone(&stage), number, options.seed, cancel.clone()).await;
        let actor = actor.map_err(HarnessError::client(format!("client {number}")))?;
        actors.spawn(Box::pin(actor.play(options.messages)));
    }
    let (mut sessions, mut shortfalls) = (Vec::new(), Vec::new());
    while let Some(ended) = actors.join_next().await {
        match ended {
            Ok(Ok(session)) => sessions.push(session),
            Ok(Err(error)) => shortfalls.push(format!("a client gave up: {error}")),
            Err(error) => shortfalls.push(format!("a client failed: {error}")),
        }
    }
    if cancel.is_cancelled() {
        shortfalls.push("stopped with Ctrl-C".to_owned());
    } else {
        finale::quiet(&sessions).await;
        if let Err(error) = Box::pin(finale::read_everything(&stage)).await {
            shortfalls.push(format!("a final read: {error}"));
        }
    }
    for session in sessions {
        session.close().await;
    }
    shortfalls.extend(stage.recorder.overflow());
    Ok(Driven { events: stage.recorder.take_events(), shortfalls })
}
