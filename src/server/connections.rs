//! Who is connected to this node, and how many.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ServerSettings;
use crate::chat::Outbox;
use crate::protocol::CloseCode;

/// Every WebSocket of the node.
pub(super) struct Connections {
    table: Mutex<Table>,
    count: AtomicUsize,
    greeted: AtomicUsize,
    connections_max: usize,
    refusals_max: usize,
}

#[derive(Default)]
struct Table {
    next_id: u64,
    outboxes: HashMap<u64, Arc<Outbox>>,
    /// Whoever comes now is closed with this.
    closing: Option<CloseCode>,
}

/// A place among the connections; given back when it is dropped.
pub(super) struct Slot {
    connections: Arc<Connections>,
    /// There was no place left: only tell the client so.
    pub(super) refused: bool,
    id: Option<u64>,
    greeted: bool,
}

impl Connections {
    pub(super) fn new(settings: &ServerSettings) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::default(),
            count: AtomicUsize::new(0),
            greeted: AtomicUsize::new(0),
            connections_max: settings.connections_max,
            refusals_max: settings.refusals_max,
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No code under this lock can panic half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// WebSockets now, those being refused included.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Those that said `hello`.
    pub(super) fn greeted(&self) -> usize {
        self.greeted.load(Ordering::Relaxed)
    }

    /// Bytes that wait to be written, of all of them.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.table().outboxes.values().map(|outbox| outbox.waiting_bytes()).sum()
    }

    /// A place, a place only to be refused in, or not even that.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Slot> {
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        if before >= self.connections_max.saturating_add(self.refusals_max) {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let refused = before >= self.connections_max;
        Some(Slot { connections: Arc::clone(self), refused, id: None, greeted: false })
    }

    /// Closes everyone who comes from now on with `code`; those who are there are for the caller.
    pub(super) fn close_newcomers(&self, code: CloseCode) -> Vec<Arc<Outbox>> {
        let mut table = self.table();
        table.closing = Some(code);
        table.outboxes.values().cloned().collect()
    }
}

impl Slot {
    /// Makes the connection known by its outbox, so that it can be told to close.
    pub(super) fn attach(&mut self, outbox: &Arc<Outbox>) {
        let mut table = self.connections.table();
        if let Some(code) = table.closing {
            outbox.close(code);
            return;
        }
        let id = table.next_id;
        table.next_id += 1;
        table.outboxes.insert(id, Arc::clone(outbox));
        drop(table);
        self.id = Some(id);
    }

    /// Counts it among those that said `hello`.
    pub(super) fn greet(&mut self) {
        if !std::mem::replace(&mut self.greeted, true) {
            self.connections.greeted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.connections.table().outboxes.remove(&id);
        }
        if self.greeted {
            self.connections.greeted.fetch_sub(1, Ordering::Relaxed);
        }
        self.connections.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let settings =
            ServerSettings { connections_max: 1, refusals_max: 1, ..ServerSettings::default() };
        let connections = Connections::new(&settings);
        let first = connections.admit().unwrap();
        assert!(!first.refused);
        let second = connections.admit().unwrap();
        assert!(second.refused);
        assert!(connections.admit().is_none());
        drop((first, second));
        assert_eq!(connections.count(), 0);
        assert!(!connections.admit().unwrap().refused);
    }

    #[test]
    fn whoever_comes_while_closing_is_closed() {
        let connections = Connections::new(&ServerSettings::default());
        let outbox = || Arc::new(Outbox::new(10));
        let (mut early, there) = (connections.admit().unwrap(), outbox());
        early.attach(&there);
        assert_eq!(connections.close_newcomers(CloseCode::SHUTDOWN).len(), 1);
        let (mut late, newcomer) = (connections.admit().unwrap(), outbox());
        late.attach(&newcomer);
        assert_eq!(there.closed(), None);
        assert_eq!(newcomer.closed(), Some(CloseCode::SHUTDOWN));
    }
}
