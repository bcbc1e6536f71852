//! Reading the newest page.

use std::sync::Arc;
use std::time::Instant;

use super::line::Line;
use super::sending::{ATTEMPTS_MAX, retry_wait};
use crate::client::{Answered, ClientError};
use crate::history::{Asked, ReadAsked, ReadKind, TOO_FAST_MAX, read_of};
use crate::model::{ConvId, INTEGER_MAX};
use crate::protocol::{Command, ReadReply, Reply};

/// Asks for the newest page of one conversation.
#[derive(Debug, Clone)]
pub(super) struct PageReader {
    pub(super) line: Arc<Line>,
    pub(super) conv: ConvId,
    /// Messages on the page.
    pub(super) limit: usize,
}

/// What asking came to.
#[derive(Debug)]
pub(super) struct PageRead {
    /// When it should have been asked for.
    pub(super) intended: Instant,
    /// Messages that were acknowledged then.
    pub(super) total: u64,
    /// What went wrong on the way.
    pub(super) errors: Vec<ClientError>,
    /// The page, when the last attempt asked for it, and when it was here; `None`: the server would not. An error: the
    /// connection is over.
    pub(super) result: Result<Option<(ReadReply, Instant, Instant)>, ClientError>,
}

impl PageReader {
    /// Reads it, some times if need be. `total` messages are acknowledged.
    pub(super) async fn read(self, intended: Instant, total: u64) -> PageRead {
        let mut errors = Vec::new();
        let result = self.read_page(&mut errors).await;
        PageRead { intended, total, errors, result }
    }

    async fn read_page(
        &self,
        errors: &mut Vec<ClientError>,
    ) -> Result<Option<(ReadReply, Instant, Instant)>, ClientError> {
        let kind = ReadKind::Range { from: 0, to: INTEGER_MAX, descending: true };
        let begun = Instant::now();
        for attempt in 1.. {
            let client = self.line.client().await?;
            let asked = ReadAsked {
                kind: kind.clone(),
                limit: self.limit,
                page: 0,
                chain: client.new_chain(),
                is_final: false,
            };
            let command = Command::Read(read_of(self.conv, &asked, None));
            let asked_at = Instant::now();
            let reading = client.call(Some(self.conv), || Asked::Read(asked), &command);
            let error = match reading.await {
                Ok(Answered { reply: Reply::Read(page), received_at, .. }) => {
                    return Ok(Some((page, asked_at, received_at)));
                }
                Ok(Answered { reply, .. }) => client.wrong_reply("read", &reply),
                Err(error) => error,
            };
            let is_lost = self.line.survives(&error);
            let is_over =
                matches!(error, ClientError::Closed { .. } | ClientError::Protocol { .. });
            if is_over && !is_lost {
                return Err(error);
            }
            let has_time = match self.line.patience() {
                Some(patience) => begun.elapsed() < patience,
                None => attempt < ATTEMPTS_MAX || error.is_turned_away() && attempt < TOO_FAST_MAX,
            };
            let again = has_time && (is_lost || error.is_retryable());
            let wait = error.retry_after().unwrap_or_else(|| retry_wait(attempt));
            errors.push(error);
            if !again {
                break;
            }
            if !is_lost {
                tokio::time::sleep(wait).await;
            }
        }
        Ok(None)
    }
}
