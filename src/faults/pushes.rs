//! Faults of the way from a room to a session, behind everything that repairs.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::{Fault, OWN_CID};
use crate::chat::Frame;
use crate::model::{ConvId, Message, SessionId, UserName};

/// The one of this process: rooms are made deep inside the chat, which knows nothing of faults.
static PUSHES: OnceLock<Pushes> = OnceLock::new();

/// Breaks the pushes of this process from now on.
pub fn install(fault: Fault) {
    // A second fault would be a mistake of our own; the first stays.
    let _ = PUSHES.set(Pushes::new(fault, fault.every()));
}

/// What is queued for a session of `user` in place of one push. Where there is no fault this allocates nothing: the same build counts what a
/// server allocates.
pub fn before_push(
    (session, user): (&SessionId, &UserName),
    conv: ConvId,
    message: &Message,
    frame: Frame,
) -> impl Iterator<Item = Frame> {
    let (honest, broken) = match PUSHES.get() {
        Some(pushes) => (None, pushes.before((session, user), conv, message, frame)),
        None => (Some(frame), Vec::new()),
    };
    honest.into_iter().chain(broken)
}

/// The pushes of each session, stream by stream.
pub(super) struct Pushes {
    fault: Fault,
    every: u64,
    streams: Mutex<HashMap<(SessionId, ConvId), Stream>>,
}

#[derive(Default)]
struct Stream {
    occasions: u64,
    held: Vec<Frame>,
    last: Option<Frame>,
}

impl Pushes {
    pub(super) fn new(fault: Fault, every: u64) -> Self {
        Self { fault, every, streams: Mutex::default() }
    }

    pub(super) fn before(
        &self,
        (session, user): (&SessionId, &UserName),
        conv: ConvId,
        message: &Message,
        frame: Frame,
    ) -> Vec<Frame> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = streams.entry((session.clone(), conv)).or_default();
        let is_meant = match self.fault {
            Fault::MissOwn => message.from == *user,
            Fault::MissLate => message.late,
            _ => true,
        };
        stream.occasions += u64::from(is_meant);
        let acts = is_meant && stream.occasions.is_multiple_of(self.every);
        match self.fault {
            // The number was given to nothing: nothing is pushed.
            Fault::Hole | Fault::BurnNumber if message.cid.as_str().starts_with(OWN_CID) => {
                Vec::new()
            }
            // It has the number of another now.
            Fault::ReuseSeq if message.seq.0 % self.every == self.every / 4 => Vec::new(),
            Fault::MissPush | Fault::MissOwn | Fault::MissLate if acts => Vec::new(),
            Fault::DoublePush if acts => vec![frame.clone(), frame],
            Fault::RepeatPush => {
                let last = stream.last.replace(frame.clone()).filter(|_| acts);
                std::iter::once(frame).chain(last).collect()
            }
            Fault::SwapPushes if acts && stream.held.is_empty() => {
                stream.held.push(frame);
                Vec::new()
            }
            Fault::HoldLatePush if message.late => {
                stream.held.push(frame);
                Vec::new()
            }
            Fault::SwapPushes | Fault::HoldLatePush => {
                std::iter::once(frame).chain(stream.held.drain(..)).collect()
            }
            _ => vec![frame],
        }
    }
}
