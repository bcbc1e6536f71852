//! Which session's token is to be looked at when. One queue for all sessions of a node: a session without a token costs nothing here,
//! and none has a timer of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directory::SessionHandle;
use super::encode;
use super::standing::Due;
use crate::model::SessionId;
use crate::protocol::{CloseCode, NoticePush, Push};

/// Sessions by what is due first, ms since 1970.
#[derive(Debug, Default)]
pub struct Expiries(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    by_time: BTreeMap<(u64, SessionId), Arc<SessionHandle>>,
    times: BTreeMap<SessionId, u64>,
}

impl Queue {
    fn remove(&mut self, id: &SessionId) {
        if let Some(time) = self.times.remove(id) {
            self.by_time.remove(&(time, id.clone()));
        }
    }
}

impl Expiries {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No code under this lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is due in a session, and comes back to it when the next thing is.
    pub fn look_at(&self, session: &Arc<SessionHandle>, now: u64) {
        let next = loop {
            match session.due(now) {
                Due::Later(next) => break next,
                Due::Notice(expires) => {
                    let notice = Push::Notice(NoticePush::token_expiring(expires));
                    session.outbox.push(encode::push(&notice));
                }
                Due::Close => {
                    session.outbox.close(CloseCode::BAD_TOKEN);
                    break None;
                }
            }
        };
        let mut queue = self.queue();
        queue.remove(&session.id);
        if let Some(time) = next.filter(|_| session.outbox.closed().is_none()) {
            queue.times.insert(session.id.clone(), time);
            queue.by_time.insert((time, session.id.clone()), Arc::clone(session));
        }
    }

    /// A session has ended.
    pub fn forget(&self, id: &SessionId) {
        self.queue().remove(id);
    }

    /// Looks at all whose time has come.
    pub fn look(&self, now: u64) {
        let due: Vec<_> = {
            let queue = self.queue();
            let due = queue.by_time.iter().take_while(|((time, _), _)| *time <= now);
            due.map(|(_, session)| Arc::clone(session)).collect()
        };
        for session in due {
            self.look_at(&session, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::standing::Standing;
    use crate::chat::{Outbox, Taken};
    use crate::identity::{Pass, PassEnd};
    use crate::model::UserName;

    fn pass(expires: u64) -> Pass {
        let end = Some(PassEnd { expires, closes: expires + 2_000 });
        Pass { end, ..Pass::unproven(UserName::new("ann").unwrap(), 0) }
    }

    #[test]
    fn a_session_is_told_and_closed_in_time_and_a_refresh_moves_both() {
        let (expiries, outbox) = (Expiries::default(), Arc::new(Outbox::new(1_000)));
        let standing = Standing::new(pass(100_000), 0, 10_000);
        let session = Arc::new(SessionHandle::with_standing(
            SessionId::generate(),
            standing,
            outbox.clone(),
            None,
        ));
        expiries.look_at(&session, 0);
        let mut frames = Vec::new();
        expiries.look(89_999);
        assert_eq!(outbox.try_take(&mut frames), None);
        expiries.look(90_000);
        expiries.look(95_000);
        assert_eq!(outbox.try_take(&mut frames), Some(Taken::Frames));
        assert_eq!(frames.len(), 1, "once");
        assert_eq!(&*frames[0], r#"{"notice":{"code":"token_expiring","expires":100000}}"#);
        session.stand(Standing::new(pass(200_000), 95_000, 10_000));
        expiries.look_at(&session, 95_000);
        expiries.look(189_999);
        assert_eq!((outbox.try_take(&mut frames), outbox.closed()), (None, None));
        expiries.look(202_000);
        assert_eq!(outbox.closed(), Some(CloseCode::BAD_TOKEN));
        assert!(expiries.queue().by_time.is_empty() && expiries.queue().times.is_empty());
    }
}
