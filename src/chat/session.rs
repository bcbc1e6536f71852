//! One connected device of a user: from its first frame to its end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::directory::SessionHandle;
use super::methods::Greeted;
use super::refusals::{already_hello, draining, no_refresh};
use super::{ChatService, Outbox, encode};
use crate::model::{LIMITS, SessionId};
use crate::protocol::{
    CloseCode, Command, EngineInfo, ErrorBody, ErrorCode, Hello, HelloReply, PROTOCOL_VERSION,
    Refresh, Reply, parse_command,
};

/// This many bad frames within [`BAD_FRAMES_TIME`] close the connection.
const BAD_FRAMES_MAX: usize = 10;
const BAD_FRAMES_TIME: Duration = Duration::from_secs(60);

/// A session from its first frame to its end. Frames go in by [`Session::handle`]; everything that
/// the session is told comes out of its [`Outbox`].
pub struct Session {
    service: Arc<ChatService>,
    outbox: Arc<Outbox>,
    greeted: Option<Box<Greeted>>,
    bad_frames: VecDeque<Instant>,
}

impl Session {
    /// A session that has not said `hello` yet.
    pub fn new(service: Arc<ChatService>, outbox: Arc<Outbox>) -> Self {
        Self { service, outbox, greeted: None, bad_frames: VecDeque::new() }
    }

    /// Whether `hello` was accepted.
    pub fn is_greeted(&self) -> bool {
        self.greeted.is_some()
    }

    /// Takes one text frame. Returns when the next may be read: at once for most commands, after
    /// the effect for `hello`, `open` and `leave`, later when too much is in flight or unread.
    /// `Err`: close with this code, after what the outbox holds. Cancelling it ends the session's turn: call
    /// [`Session::end`] then.
    pub async fn handle(&mut self, text: &str) -> Result<(), CloseCode> {
        match parse_command(text) {
            Ok((id, Command::Hello(hello))) => Box::pin(self.hello(id, hello)).await?,
            Ok((id, Command::Refresh(refresh))) if self.is_greeted() => {
                Box::pin(self.refresh(id, refresh)).await?;
            }
            Ok((id, command)) => match &mut self.greeted {
                Some(greeted) => greeted.dispatch(id, command).await,
                None => return self.hello_first(Some(id)),
            },
            Err(rejected) => {
                let is_bad_frame = rejected.error.code == ErrorCode::BadFrame;
                let mut error = rejected.error;
                if self.is_greeted() && rejected.is_hello {
                    error = already_hello();
                }
                if !self.is_greeted() && !rejected.is_hello && !is_bad_frame {
                    return self.hello_first(rejected.id);
                }
                self.outbox.push(encode::rejection(rejected.id, Reply::Error(error)));
                if is_bad_frame {
                    self.count_bad_frame()?;
                }
            }
        }
        Ok(())
    }

    fn hello_first(&self, id: Option<u64>) -> Result<(), CloseCode> {
        let error = ErrorBody::new(ErrorCode::HelloFirst, "the first frame must be hello");
        self.outbox.push(encode::rejection(id, Reply::Error(error)));
        Err(CloseCode::BAD_REQUEST)
    }

    fn count_bad_frame(&mut self) -> Result<(), CloseCode> {
        let now = Instant::now();
        self.bad_frames.retain(|&at| now - at < BAD_FRAMES_TIME);
        self.bad_frames.push_back(now);
        if self.bad_frames.len() < BAD_FRAMES_MAX { Ok(()) } else { Err(CloseCode::BAD_REQUEST) }
    }

    async fn hello(&mut self, id: u64, hello: Hello) -> Result<(), CloseCode> {
        let service = &self.service;
        let admitted = match (&self.greeted, service.is_draining()) {
            (Some(_), _) => Err(already_hello()),
            (None, true) => Err(draining()),
            (None, false) => service.admit(&hello).await,
        };
        let standing = match admitted {
            Ok(standing) => standing,
            Err(error) => {
                let end = Self::close_after(&error);
                self.outbox.push(encode::reply(id, Err(error)));
                return end;
            }
        };
        let (session, user) = (SessionId::generate(), standing.pass().user.clone());
        let outbox = Arc::clone(&self.outbox);
        let handle = Arc::new(SessionHandle::with_standing(session.clone(), standing, outbox));
        // Set before anything is awaited, so that `end` undoes it wherever this is cut off.
        self.greeted = Some(Box::new(Greeted::new(Arc::clone(service), Arc::clone(&handle))));
        let reply = HelloReply {
            session: session.clone(),
            user: user.clone(),
            node: service.settings.node.clone(),
            protocol: PROTOCOL_VERSION,
            engine: EngineInfo {
                name: service.persistence.name().to_owned(),
                durability: service.persistence.durability(),
            },
            limits: LIMITS,
            ping_ms: service.settings.ping.as_millis() as u64,
        };
        self.outbox.push(encode::reply(id, Ok(Reply::Hello(Box::new(reply)))));
        service.directory.add(Arc::clone(&handle));
        service.watch(&handle);
        service.registry.connect(&user, &session).await;
        Ok(())
    }

    /// Another token in the place of the one that expires. Waited for: what is written after it is done with it.
    async fn refresh(&mut self, id: u64, refresh: Refresh) -> Result<(), CloseCode> {
        let Some(greeted) = &self.greeted else { return Ok(()) };
        let refreshed = self.service.refresh(greeted.handle(), &refresh.token).await;
        let outcome = refreshed.unwrap_or_else(|| Err(no_refresh()));
        let end = outcome.as_ref().map_or_else(Self::close_after, |_| Ok(()));
        self.outbox.push(encode::reply(id, outcome.map(Reply::Refresh)));
        end
    }

    /// Ends the session: no more pushes, no longer online. Commands in flight still take effect.
    pub async fn end(self) {
        if let Some(greeted) = self.greeted {
            greeted.end().await;
        }
    }
}
