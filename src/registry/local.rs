//! The registry of a single node: a map in memory, exact, gone with the process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::Registry;
use crate::model::{SessionId, UserName};

/// Counts the sessions of each connected user.
#[derive(Default)]
pub struct LocalRegistry {
    sessions: Mutex<HashMap<UserName, usize>>,
}

impl LocalRegistry {
    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<UserName, usize>> {
        // No code under this lock can panic half-way through a change.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Registry for LocalRegistry {
    fn name(&self) -> &'static str {
        "LOCAL"
    }

    async fn connect(&self, user: &UserName, _session: &SessionId) -> bool {
        let mut sessions = self.sessions();
        let count = sessions.entry(user.clone()).or_default();
        *count += 1;
        *count == 1
    }

    async fn disconnect(&self, user: &UserName, _session: &SessionId) -> bool {
        let mut sessions = self.sessions();
        let Some(count) = sessions.get_mut(user) else { return false };
        *count -= 1;
        let last = *count == 0;
        if last {
            sessions.remove(user);
        }
        last
    }

    async fn online(&self, user: &UserName) -> bool {
        self.sessions().contains_key(user)
    }
}
