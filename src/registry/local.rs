//! The registry of a single node: a map in memory, exact, gone with the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;

use super::{Change, PresenceSink, Registry, StartError};
use crate::model::{SessionId, UserName};

/// The sessions of each connected user.
#[derive(Default)]
pub struct LocalRegistry {
    state: Mutex<State>,
    sink: OnceLock<Arc<dyn PresenceSink>>,
}

#[derive(Default)]
struct State {
    sessions: HashMap<UserName, Vec<SessionId>>,
    version: u64,
}

impl LocalRegistry {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // No code under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, user: &UserName, online: bool, version: u64) {
        if let Some(sink) = self.sink.get() {
            sink.changed(Change { user: user.clone(), online, version });
        }
    }
}

#[async_trait]
impl Registry for LocalRegistry {
    fn name(&self) -> &'static str {
        "LOCAL"
    }

    async fn start(&self, sink: Arc<dyn PresenceSink>) -> Result<(), StartError> {
        // A second start would be a mistake of our own; the first sink stays.
        let _ = self.sink.set(sink);
        Ok(())
    }

    async fn connect(&self, user: &UserName, session: &SessionId) {
        let mut state = self.state();
        let sessions = state.sessions.entry(user.clone()).or_default();
        let came = sessions.is_empty();
        if !sessions.contains(session) {
            sessions.push(session.clone());
        }
        if came {
            state.version += 1;
            let version = state.version;
            drop(state);
            self.tell(user, true, version);
        }
    }

    async fn disconnect(&self, user: &UserName, session: &SessionId) {
        let mut state = self.state();
        let Some(sessions) = state.sessions.get_mut(user) else { return };
        sessions.retain(|kept| kept != session);
        if sessions.is_empty() {
            state.sessions.remove(user);
            state.version += 1;
            let version = state.version;
            drop(state);
            self.tell(user, false, version);
        }
    }

    async fn online(&self, user: &UserName) -> bool {
        self.state().sessions.contains_key(user)
    }
}
