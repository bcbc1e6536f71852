//! Who is let in, who may stay, and who may not any more.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::directory::SessionHandle;
use super::expiries::Expiries;
use super::refusals::{token_error, wrong_credential};
use super::standing::Standing;
use super::{ChatService, Session};
use crate::clock;
use crate::distribution::Hint;
use crate::identity::{Pass, RevokedSet, TokenError, Verifier};
use crate::model::{Revocation, Revoked, Token};
use crate::protocol::{CloseCode, ErrorBody, Hello, RefreshReply};
use crate::registry::revocations::local::LocalRevocations;
use crate::registry::revocations::{KeepError, Revocations};

/// Where users show no tokens: how long a revocation is kept for nodes that could not hear of it.
const KEPT_UNPROVEN: Duration = Duration::from_secs(3_600);

/// Whether users must prove who they are, and where revocations are kept.
#[derive(Clone)]
pub struct Access {
    verifier: Option<Arc<Verifier>>,
    revocations: Arc<dyn Revocations>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.verifier.is_some() { "Access(tokens)" } else { "Access(open)" })
    }
}

impl Access {
    /// Everybody is who they say they are.
    pub fn open(revocations: Arc<dyn Revocations>) -> Self {
        Self { verifier: None, revocations }
    }

    /// Everybody shows a token.
    pub fn by_token(verifier: Arc<Verifier>, revocations: Arc<dyn Revocations>) -> Self {
        Self { verifier: Some(verifier), revocations }
    }

    /// Where revocations are kept.
    pub(super) fn revocations(&self) -> &dyn Revocations {
        &*self.revocations
    }

    /// How long a revocation is kept: as long as a token that it concerns may be good.
    pub fn kept(verifier: Option<&Verifier>) -> Duration {
        let kept = |verifier: &Verifier| {
            let config = verifier.config();
            config.life_max + config.leeway
        };
        verifier.map_or(KEPT_UNPROVEN, kept)
    }
}

impl Default for Access {
    /// Everybody is who they say they are, and nothing outlives the process.
    fn default() -> Self {
        Self::open(Arc::new(LocalRevocations::none()))
    }
}

/// What a node knows of those whom it let in.
#[derive(Debug, Default)]
pub(super) struct Gate {
    pub(super) revoked: RevokedSet,
    pub(super) expiries: Expiries,
}

/// What became of a revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokeOutcome {
    /// The revocation.
    pub revocation: Revocation,
    /// Sessions that it ended on this node; on others it ends more.
    pub sessions_here: usize,
}

/// Why a revocation is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// Without tokens there is none to name.
    #[error("authentication is off here, so there are no token ids; revoke the user")]
    NoTokens,
    /// It is done here and told to those who can be reached, and perhaps not kept for the others.
    #[error(
        "sessions on this node were closed ({sessions_here}), but the revocation is not kept for other nodes: {error}"
    )]
    NotKept {
        /// Sessions that were ended on this node.
        sessions_here: usize,
        /// Why it is not kept.
        error: KeepError,
    },
}

impl ChatService {
    fn verifier(&self) -> Option<&Verifier> {
        self.settings.access.verifier.as_deref()
    }

    /// Lets somebody in, by what they show.
    pub(super) async fn admit(&self, hello: &Hello) -> Result<Standing, ErrorBody> {
        let Some(verifier) = self.verifier() else {
            return match (&hello.token, &hello.user) {
                (None, Some(user)) => {
                    let now = clock::unix_ms();
                    Ok(Standing::new(Pass::unproven(user.clone(), now), now, 0))
                }
                (Some(_), _) => Err(wrong_credential(
                    "token",
                    "absent: authentication is off here, name the user",
                )),
                (None, None) => Err(wrong_credential("user", "present")),
            };
        };
        match (&hello.token, &hello.user) {
            (Some(token), None) => self.judge(verifier, token).await.map_err(token_error),
            (_, Some(_)) => Err(wrong_credential(
                "user",
                "absent: authentication is on here, the token says who you are",
            )),
            (None, None) => Err(wrong_credential("token", "present: authentication is on here")),
        }
    }

    async fn judge(&self, verifier: &Verifier, token: &Token) -> Result<Standing, TokenError> {
        let judged = verifier.verify(token).await;
        let judged = judged.and_then(|pass| match self.gate.revoked.forbids(&pass) {
            true => Err(TokenError::Revoked),
            false => Ok(pass),
        });
        if let Err(error) = &judged {
            tracing::debug!(%error, "a token was refused");
            metrics::counter!("chatctl_tokens_refused_total").increment(1);
        }
        let notice_ms = u64::try_from(verifier.config().notice.as_millis()).unwrap_or(u64::MAX);
        Ok(Standing::new(judged?, clock::unix_ms(), notice_ms))
    }

    /// Another token for a session: the session goes on with it. `None`: there is no such thing here.
    pub(super) async fn refresh(
        &self,
        session: &Arc<SessionHandle>,
        token: &Token,
    ) -> Option<Result<RefreshReply, ErrorBody>> {
        let verifier = self.verifier()?;
        let judged = self.judge(verifier, token).await.and_then(|standing| {
            if standing.pass().user == session.user {
                Ok(standing)
            } else {
                Err(TokenError::OtherUser)
            }
        });
        Some(judged.map_err(token_error).map(|standing| {
            let expires = standing.pass().end.map_or(0, |end| end.expires);
            session.stand(standing);
            self.watch(session);
            RefreshReply { expires }
        }))
    }

    /// From now on the session is looked at when its token expires. What was revoked while it was let in ends it here: whoever revokes
    /// either finds it among the sessions, or is found by this.
    pub(super) fn watch(&self, session: &Arc<SessionHandle>) {
        self.gate.expiries.look_at(session, clock::unix_ms());
        if self.is_revoked(session) {
            session.outbox.close(CloseCode::REVOKED);
        }
    }

    fn is_revoked(&self, session: &SessionHandle) -> bool {
        session.with_pass(|pass| self.gate.revoked.forbids(pass))
    }

    /// Takes somebody's access away, on all nodes.
    pub async fn revoke(&self, revoked: Revoked) -> Result<RevokeOutcome, RevokeError> {
        if self.verifier().is_none() && matches!(revoked, Revoked::TokenId(_)) {
            return Err(RevokeError::NoTokens);
        }
        let (at, kept) = (clock::unix_ms(), Access::kept(self.verifier()));
        let until = at.saturating_add(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX));
        let revocation = Revocation { revoked, at, until };
        // Those here and those who hear it first: keeping it may take a second.
        let sessions_here = self.take_away(&revocation);
        self.distribution.publish(Hint::Revoked(revocation.clone()));
        match self.settings.access.revocations.keep(&revocation).await {
            Ok(()) => Ok(RevokeOutcome { revocation, sessions_here }),
            Err(error) => Err(RevokeError::NotKept { sessions_here, error }),
        }
    }

    /// Ends the sessions of this node that a revocation concerns; how many.
    pub(super) fn take_away(&self, revocation: &Revocation) -> usize {
        self.gate.revoked.add(revocation, clock::unix_ms());
        let mut sessions = match &revocation.revoked {
            Revoked::User(user) => self.directory.sessions_of(user),
            Revoked::TokenId(_) => self.directory.all(),
        };
        sessions.retain(|session| session.outbox.closed().is_none() && self.is_revoked(session));
        for session in &sessions {
            session.outbox.close(CloseCode::REVOKED);
        }
        if !sessions.is_empty() {
            metrics::counter!("chatctl_sessions_revoked_total").increment(sessions.len() as u64);
        }
        sessions.len()
    }
}

impl Session {
    /// How a connection ends that is refused like this, if it ends.
    pub(super) fn close_after(error: &ErrorBody) -> Result<(), CloseCode> {
        use crate::protocol::ErrorCode::{BadToken, TokenExpired};
        match error.code {
            BadToken | TokenExpired => Err(CloseCode::BAD_TOKEN),
            _ => Ok(()),
        }
    }
}

/// How often a shared keeper of revocations is looked at: with the time to close, less than the two seconds that are promised.
const LOOK_BEAT: Duration = Duration::from_millis(500);
/// How often it is looked whose token expires.
const EXPIRY_BEAT: Duration = Duration::from_millis(250);

/// Begins what goes on behind the gate for as long as the node does.
pub(super) fn begin(service: &Arc<ChatService>) {
    if service.verifier().is_some() {
        service.spawn(follow_keys(Arc::clone(service)));
        service.spawn(follow_expiries(Arc::clone(service)));
    }
    if service.settings.access.revocations.is_shared() {
        service.spawn(follow_revocations(Arc::clone(service)));
    }
}

async fn follow_keys(service: Arc<ChatService>) {
    if let Some(verifier) = service.verifier() {
        // Boxed: it holds a connection.
        service.until_stop(Box::pin(verifier.follow_keys())).await;
    }
}

async fn follow_expiries(service: Arc<ChatService>) {
    while service.until_stop(tokio::time::sleep(EXPIRY_BEAT)).await.is_some() {
        service.gate.expiries.look(clock::unix_ms());
    }
}

async fn follow_revocations(service: Arc<ChatService>) {
    let mut is_away = false;
    while service.until_stop(tokio::time::sleep(LOOK_BEAT)).await.is_some() {
        let looking = Box::pin(service.settings.access.revocations.look());
        match service.until_stop(looking).await {
            None => return,
            Some(Ok(found)) => {
                is_away = false;
                for revocation in found {
                    service.take_away(&revocation);
                }
            }
            Some(Err(reason)) => {
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!(%reason, "revocations cannot be looked for; those known hold, and new ones come by the bus only");
                }
            }
        }
    }
}
