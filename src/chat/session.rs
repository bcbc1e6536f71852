//! One connected device of a user: from its first frame to its end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::directory::SessionHandle;
use super::methods::Greeted;
use super::pace::{Demand, Pace};
use super::refusals::{already_hello, draining, no_refresh, too_many_sessions};
use super::{ChatService, Outbox, encode};
use crate::model::{AllLimits, LIMITS, SessionId};
use crate::protocol::{
    CloseCode, Command, EngineInfo, ErrorBody, ErrorCode, Hello, HelloReply, PROTOCOL_VERSION,
    Refresh, Rejected, Reply, parse_command,
};

/// `bad_frames_max` within this time close the connection.
const BAD_FRAMES_TIME: Duration = Duration::from_secs(60);

/// A session from its first frame to its end. Frames go in by [`Session::handle`]; everything that
/// the session is told comes out of its [`Outbox`].
pub struct Session {
    service: Arc<ChatService>,
    outbox: Arc<Outbox>,
    greeted: Option<Box<Greeted>>,
    pace: Pace,
    bad_frames: VecDeque<Instant>,
}

impl Session {
    /// A session that has not said `hello` yet.
    pub fn new(service: Arc<ChatService>, outbox: Arc<Outbox>) -> Self {
        let (pace, bad_frames) = (Pace::new(Instant::now()), VecDeque::new());
        Self { service, outbox, greeted: None, pace, bad_frames }
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
        let parsed = parse_command(text);
        if let Some(closes) = self.refuse_too_fast(&parsed, text.len()) {
            return closes.map_or(Ok(()), Err);
        }
        match parsed {
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

    /// Counts a control frame of the client; `Err`: it sends so many that the connection closes.
    pub fn control(&mut self) -> Result<(), CloseCode> {
        self.pace.control(&self.service.rates, Instant::now()).map_or(Ok(()), Err)
    }

    /// Refuses a frame that comes too soon: it is not done. `Some`: it was refused, and closes with this.
    fn refuse_too_fast(
        &mut self,
        parsed: &Result<(u64, Command), Box<Rejected>>,
        bytes: usize,
    ) -> Option<Option<CloseCode>> {
        let (id, command) = match parsed {
            Ok((id, command)) => (Some(*id), Some(command)),
            Err(rejected) => (rejected.id, None),
        };
        let demand = Demand {
            is_send: matches!(
                command,
                Some(
                    Command::Send(_)
                        | Command::Create {}
                        | Command::Invite(_)
                        | Command::Remove(_)
                        | Command::Quit(_)
                )
            ),
            is_page: matches!(
                command,
                Some(Command::Open(_) | Command::Read(_) | Command::List(_) | Command::Roster(_))
            ),
            bytes,
        };
        let replied = self.greeted.as_ref().map(|greeted| greeted.replied());
        let now = Instant::now();
        let refused = self.pace.admit(&self.service.rates, demand, replied, now).err()?;
        self.outbox.push(encode::rejection(id, Reply::Error(refused.error)));
        Some(refused.close)
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
        if self.bad_frames.len() < LIMITS.bad_frames_max {
            Ok(())
        } else {
            Err(CloseCode::BAD_REQUEST)
        }
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
        let limits = service.settings.limits;
        let (session, user) = (SessionId::generate(), standing.pass().user.clone());
        let (outbox, reply_bytes) = (Arc::clone(&self.outbox), service.rates.reply_bytes);
        let handle = SessionHandle::with_standing(session.clone(), standing, outbox, reply_bytes);
        let handle = Arc::new(handle);
        let reply = HelloReply {
            session: session.clone(),
            user: user.clone(),
            node: service.settings.node.clone(),
            protocol: PROTOCOL_VERSION,
            engine: EngineInfo {
                name: service.persistence.name().to_owned(),
                durability: service.persistence.durability(),
            },
            limits: AllLimits { fixed: LIMITS, operator: limits },
            ping_ms: service.settings.ping.as_millis() as u64,
        };
        let greeting = encode::reply(id, Ok(Reply::Hello(Box::new(reply))));
        let sessions_max = limits.connections_per_user_max;
        if !service.directory.add(Arc::clone(&handle), sessions_max, greeting) {
            self.outbox.push(encode::reply(id, Err(too_many_sessions())));
            metrics::counter!("chatctl_refused_total", "reason" => "user").increment(1);
            return Err(CloseCode::TOO_MANY);
        }
        // Set before anything is awaited, so that `end` undoes it wherever this is cut off.
        self.greeted = Some(Box::new(Greeted::new(Arc::clone(service), Arc::clone(&handle))));
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
