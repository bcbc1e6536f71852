//! How a session stands: the pass that it was let in by, and what is due because of it.

use crate::identity::Pass;

/// A pass, and what its session was told of it.
#[derive(Debug)]
pub struct Standing {
    pass: Pass,
    /// When the session is to be told that its token expires; `None`: it was, or there is no need.
    notice_at: Option<u64>,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing before this time, ms since 1970; `None`: never.
    Later(Option<u64>),
    /// The session is to be told that its token expires then, ms since 1970.
    Notice(u64),
    /// The token counts no more.
    Close,
}

impl Standing {
    /// With a pass that was shown at `now`, of whose end the session is to be told `notice_ms` before; where less than twice that is left,
    /// at half of what is left.
    pub fn new(pass: Pass, now: u64, notice_ms: u64) -> Self {
        let notice_at = pass.end.map(|end| {
            let left = end.expires.saturating_sub(now);
            end.expires - notice_ms.min(left / 2)
        });
        Self { pass, notice_at }
    }

    /// The pass.
    pub fn pass(&self) -> &Pass {
        &self.pass
    }

    /// What is due at `now`. A notice is due once.
    pub fn due(&mut self, now: u64) -> Due {
        let Some(end) = self.pass.end else { return Due::Later(None) };
        if now >= end.closes {
            return Due::Close;
        }
        if self.notice_at.take_if(|at| *at <= now).is_some() {
            return Due::Notice(end.expires);
        }
        Due::Later(Some(self.notice_at.unwrap_or(end.closes)))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::identity::PassEnd;
    use crate::model::UserName;

    fn pass(end: Option<PassEnd>) -> Pass {
        Pass { end, ..Pass::unproven(UserName::new("ann").unwrap(), 0) }
    }

    #[rstest]
    #[case::long(1_000_000, 60_000, 940_000)]
    #[case::short(30_000, 60_000, 15_000)]
    #[case::none_left(0, 60_000, 0)]
    fn a_session_is_told_once_and_closed(
        #[case] expires: u64,
        #[case] notice_ms: u64,
        #[case] notice_at: u64,
    ) {
        let closes = expires + 2_000;
        let mut standing = Standing::new(pass(Some(PassEnd { expires, closes })), 0, notice_ms);
        if notice_at > 0 {
            assert_eq!(standing.due(notice_at - 1), Due::Later(Some(notice_at)));
        }
        assert_eq!(standing.due(notice_at), Due::Notice(expires));
        assert_eq!(standing.due(notice_at), Due::Later(Some(closes)));
        assert_eq!(standing.due(closes - 1), Due::Later(Some(closes)));
        assert_eq!(standing.due(closes), Due::Close);
    }

    #[test]
    fn without_a_token_nothing_ends() {
        let mut standing = Standing::new(pass(None), 0, 60_000);
        assert_eq!(standing.due(u64::MAX), Due::Later(None));
    }
}
