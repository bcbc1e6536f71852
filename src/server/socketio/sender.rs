//! Packets into the engine's queue of a connection.

use std::sync::Arc;
use std::time::Duration;

use engineioxide::Socket;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::engine::Data;

/// Packets that the engine takes for one client before its socket, or its next request, takes them.
pub(super) const QUEUE_MAX: usize = 64;
/// Of these, kept free for what must not find it full: the engine's ping (it would end the session), `closing`, a disconnect and the
/// engine's own close.
const KEPT_FREE: usize = 4;
/// Looks at a full queue. There is nothing to wait on: the engine tells nobody when it takes something.
const LOOK_MIN: Duration = Duration::from_millis(1);
const LOOK_MAX: Duration = Duration::from_millis(50);
/// Looks without a pause: the task that takes from the queue is often just about to run.
const YIELDS: u32 = 4;

/// The way to one client.
#[derive(Debug)]
pub(super) struct Sender {
    socket: Arc<Socket<Data>>,
}

/// The client is not there any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// How long to wait before the next look.
#[derive(Debug, Default)]
struct Looks(u32);

impl Looks {
    async fn wait(&mut self) {
        self.0 += 1;
        match self.0.checked_sub(YIELDS) {
            None | Some(0) => yield_now().await,
            Some(count) => {
                sleep(LOOK_MIN.saturating_mul(1 << (count - 1).min(16)).min(LOOK_MAX)).await;
            }
        }
    }
}

impl Sender {
    pub(super) fn new(socket: Arc<Socket<Data>>) -> Self {
        Self { socket }
    }

    /// Gives a packet to the engine when its queue has room. Cancelling gives nothing.
    pub(super) async fn send(&self, packet: String) -> Result<(), Gone> {
        let mut looks = Looks::default();
        loop {
            if self.has_room::<{ KEPT_FREE + 1 }>()? {
                return self.send_now(packet);
            }
            looks.wait().await;
        }
    }

    /// The same in the places kept free.
    pub(super) fn send_now(&self, packet: String) -> Result<(), Gone> {
        match self.socket.emit(packet) {
            Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(Gone),
        }
    }

    /// Waits until the engine has taken all.
    pub(super) async fn until_taken(&self) -> Result<(), Gone> {
        let mut looks = Looks::default();
        while !self.is_taken()? {
            looks.wait().await;
        }
        Ok(())
    }

    /// Whether the engine has taken all.
    pub(super) fn is_taken(&self) -> Result<bool, Gone> {
        self.has_room::<QUEUE_MAX>()
    }

    fn has_room<const PLACES: usize>(&self) -> Result<bool, Gone> {
        // All of them are given back at the end.
        let held: [_; PLACES] = std::array::from_fn(|_| self.socket.reserve());
        match held.last() {
            Some(Err(TrySendError::Closed(()))) => Err(Gone),
            Some(Err(TrySendError::Full(()))) => Ok(false),
            _ => Ok(true),
        }
    }
}
