//! What a client has said and its session has not heard yet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engineioxide::Str;
use tokio::sync::Notify;

use super::line::Gate;
use crate::server::ending::Ending;

/// Above one of these no more is read from the client.
const PACKETS_MAX: usize = 32;
const BYTES_MAX: usize = 64 << 10;

/// The packets of a client, in order. They are handed over without waiting, so this is where reading stops: a WebSocket is not read while it is full, a request not taken. So
/// it holds at most its bounds and the packet, or the request, that goes beyond them.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    packets: VecDeque<Str>,
    bytes: usize,
    ended: Option<Ending>,
    /// Of the WebSocket, when there is one.
    gate: Option<Arc<Gate>>,
}

impl Queue {
    fn is_full(&self) -> bool {
        self.packets.len() >= PACKETS_MAX || self.bytes >= BYTES_MAX
    }
}

/// Something that a client said.
#[derive(Debug)]
pub(super) enum Said {
    /// A packet.
    Packet(Str),
    /// Nothing more comes.
    End(Ending),
}

impl Inbox {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No code under this lock can panic half-way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is read from now on comes through `gate`.
    pub(super) fn read_from(&self, gate: &Arc<Gate>) {
        let mut queue = self.queue();
        if queue.is_full() {
            gate.pause();
        }
        queue.gate = Some(Arc::clone(gate));
    }

    /// A packet came; after the end it is nobody's.
    pub(super) fn push(&self, packet: Str) {
        let mut queue = self.queue();
        if queue.ended.is_some() {
            return;
        }
        queue.bytes += packet.len();
        queue.packets.push_back(packet);
        if queue.is_full()
            && let Some(gate) = &queue.gate
        {
            gate.pause();
        }
        drop(queue);
        self.changed.notify_waiters();
    }

    /// Nothing more comes; the first reason stands.
    pub(super) fn end(&self, ending: Ending) {
        self.queue().ended.get_or_insert(ending);
        self.changed.notify_waiters();
    }

    /// The next; before the end comes what was said before it.
    pub(super) async fn next(&self) -> Said {
        loop {
            let changed = self.changed.notified();
            if let Some(said) = self.try_next() {
                return said;
            }
            changed.await;
        }
    }

    fn try_next(&self) -> Option<Said> {
        let mut queue = self.queue();
        let Some(packet) = queue.packets.pop_front() else { return queue.ended.map(Said::End) };
        queue.bytes -= packet.len();
        if !queue.is_full() {
            if let Some(gate) = &queue.gate {
                gate.resume();
            }
            self.changed.notify_waiters();
        }
        // An idle session keeps no room for a burst that has passed.
        if queue.packets.is_empty() {
            queue.packets.shrink_to(PACKETS_MAX);
        }
        Some(Said::Packet(packet))
    }

    /// The next packet, if it is there.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn try_packet(&self) -> Option<Str> {
        match self.try_next() {
            Some(Said::Packet(packet)) => Some(packet),
            _ => None,
        }
    }

    /// Waits until more may come; `false`: nothing more may.
    pub(super) async fn until_room(&self) -> bool {
        loop {
            let changed = self.changed.notified();
            {
                let queue = self.queue();
                if queue.ended.is_some() {
                    return false;
                }
                if !queue.is_full() {
                    return true;
                }
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;
    use crate::protocol::CloseCode;

    #[tokio::test]
    async fn packets_come_in_order_and_before_the_end() {
        let inbox = Inbox::default();
        inbox.push("a".into());
        inbox.push("b".into());
        inbox.end(Ending::Lost);
        inbox.end(Ending::Code(CloseCode::PROTOCOL));
        inbox.push("c".into());
        assert!(matches!(inbox.next().await, Said::Packet(text) if &*text == "a"));
        assert!(matches!(inbox.next().await, Said::Packet(text) if &*text == "b"));
        assert!(matches!(inbox.next().await, Said::End(Ending::Lost)));
        assert!(!inbox.until_room().await);
    }

    #[tokio::test]
    async fn full_stops_what_comes_until_there_is_room() {
        let inbox = Inbox::default();
        let gate = Arc::new(Gate::default());
        inbox.read_from(&gate);
        for _ in 1..PACKETS_MAX {
            inbox.push("a".into());
        }
        assert!(inbox.until_room().await && !gate.is_paused(), "limit − 1");
        inbox.push("a".into());
        assert!(gate.is_paused(), "limit");
        let mut room = Box::pin(inbox.until_room());
        assert!(poll!(&mut room).is_pending());
        inbox.next().await;
        assert!(room.await && !gate.is_paused());
    }
}
