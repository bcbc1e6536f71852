//! The driver: real clients over real sockets that do everything the protocol allows, and write down
//! what they did and saw.
//!
//! The seed decides what is asked; what is answered, and how the clients interleave, is the
//! server's and the machine's. Clients work at the same time: bursts of sends with on-time, late, equal
//! and no timestamps, retries of answered and unanswered sends by any session of the user, other
//! contents under a used `cid`, one `cid` in two conversations, cuts with commands under way and resumes that
//! must and must not be granted, pages both ways while others write, acknowledgements by cursor and range, people removed from groups
//! and invited again while they read and write there.
//!
//! While they work, a nemesis breaks things, if it was told to (*safety*: whatever is broken, nothing may be wrong). Then everything is
//! healed, and everybody must be let in and answered on every node (*liveness*). At the end: quiet, and everybody reads everything on
//! every node.

mod actor;
mod cast;
mod finale;
mod groups;
mod session;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::actor::{Actor, Stage};
use self::cast::Cast;
use self::session::Session;
use crate::client::{Address, ClientError};
use crate::harness::HarnessError;
use crate::history::{Event, Seen};
use crate::nemesis::Nemesis;

pub use self::actor::Amount;

/// Options of a run.
#[derive(Debug, Clone)]
pub struct DriveOptions {
    /// Where the nodes are, at least one.
    pub addresses: Vec<Address>,
    /// Sessions at a time.
    pub clients: usize,
    /// How much each does.
    pub amount: Amount,
    /// Decides what is asked.
    pub seed: u64,
    /// What names of users and channels begin with; new for every run on one store.
    pub user_prefix: String,
    /// How long one connect may take.
    pub connect_timeout: Duration,
    /// How long a client tries to connect, over and over, before it gives up: longer than anything is broken.
    pub patience: Duration,
}

/// A run that is over.
#[derive(Debug)]
pub struct Driven {
    /// With everything that it broke made whole again.
    pub nemesis: Nemesis,
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
    mut nemesis: Nemesis,
    cancel: &CancellationToken,
) -> Result<Driven, HarnessError> {
    if !(1..=CLIENTS_MAX).contains(&options.clients) {
        let text = format!("--clients must be 1 to {CLIENTS_MAX}, not {}", options.clients);
        return Err(HarnessError::Usage(text));
    }
    if options.amount == Amount::Messages(0) {
        return Err(HarnessError::Usage("--messages must be at least 1".to_owned()));
    }
    let cast = Cast::new(options.clients, &options.user_prefix)?;
    let stage = Arc::new(Stage::new(cast, options.addresses.clone(), options));
    let mut shortfalls = Vec::new();
    let stored_before = nemesis.world().stored_so_far().await;
    groups::make(&stage).await?;
    let sessions = {
        let mut actors = JoinSet::new();
        for number in 0..options.clients {
            let actor =
                Actor::enter(Arc::clone(&stage), number, options.seed, cancel.clone()).await;
            let actor = actor.map_err(HarnessError::client(format!("client {number}")))?;
            actors.spawn(Box::pin(actor.play(options.amount)));
        }
        let over = CancellationToken::new();
        let note = |line| stage.recorder.note(line);
        let playing = async {
            let sessions = sessions_of(actors, &mut shortfalls).await;
            over.cancel();
            sessions
        };
        let (sessions, broken) = tokio::join!(playing, nemesis.run(&note, &over));
        if let Err(error) = broken {
            shortfalls.push(error.to_string());
        }
        // Also where the run was stopped.
        if let Err(error) = nemesis.heal(&note).await {
            shortfalls.push(error.to_string());
        }
        sessions
    };
    if cancel.is_cancelled() {
        shortfalls.push("stopped with Ctrl-C".to_owned());
    } else {
        finale::quiet(&sessions, options.patience).await;
        finale::everybody_is_served(&stage).await;
        finale::quiet(&sessions, options.patience).await;
        if let Err(error) = Box::pin(finale::read_everything(&stage)).await {
            shortfalls.push(format!("a final read: {error}"));
        }
        let stored_after = nemesis.world().stored_so_far().await;
        if let (Some(before), Some(after)) = (stored_before, stored_after) {
            stage.recorder.note(Seen::Counted { messages: after.saturating_sub(before) });
        }
    }
    for session in sessions {
        session.close().await;
    }
    shortfalls.extend(stage.recorder.overflow());
    Ok(Driven { nemesis, events: stage.recorder.take_events(), shortfalls })
}

async fn sessions_of(
    mut actors: JoinSet<Result<Session, ClientError>>,
    shortfalls: &mut Vec<String>,
) -> Vec<Session> {
    let mut sessions = Vec::new();
    while let Some(ended) = actors.join_next().await {
        match ended {
            Ok(Ok(session)) => sessions.push(session),
            Ok(Err(error)) => shortfalls.push(format!("a client gave up: {error}")),
            Err(error) => shortfalls.push(format!("a client failed: {error}")),
        }
    }
    sessions
}
